//! Whether types that merge have lost nothing.
//!
//! Promises: every rule holds whatever was delayed or cut, and none needs a clock.
//!
//! * Counters: in the end the sum is that of the acknowledged additions, and of some of those of which
//!   nobody knows. Before, a node shows at least what it took itself.
//! * Sets: an element whose insertion no removal can have seen is there. One of which every insertion
//!   was seen by an acknowledged removal is gone: a removal sees what its own node took before, and
//!   what its node showed it just before, if that was inserted once only.
//! * Maps: a field that one thread writes at one node has its last acknowledged value, or one of which
//!   nobody knows; `hits` is a counter and `tags` a set; nothing of it is counted as lost.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value as Json, json};

use super::doubts::Doubts;
use crate::checker::{Budget, Checker};
use crate::history::{Event, History, Kind, Operation, Value};
use crate::verdict::Verdict;
use crate::workload::eventual::crdt::fields;
use crate::workload::finding::{Findings, at, ended, extra, number, shows, text};

/// The checker.
#[derive(Clone, Copy, Debug)]
pub struct Merging;

type Ops<'a> = Vec<(Operation<'a>, Kind)>;

/// What was done to one namespace's keys: by type, key and, of sets, element.
#[derive(Default)]
struct Done<'a> {
    adds: BTreeMap<&'a Value, Ops<'a>>,
    inserts: BTreeMap<(&'a Value, i64), Ops<'a>>,
    removes: BTreeMap<(&'a Value, i64), Ops<'a>>,
    fields: BTreeMap<&'a Value, Ops<'a>>,
    hits: BTreeMap<&'a Value, Ops<'a>>,
    tags: BTreeMap<&'a Value, Ops<'a>>,
    reads: Vec<(Operation<'a>, &'a Event)>,
    states: Vec<&'a Event>,
    totals: Vec<&'a Event>,
}

impl Checker for Merging {
    fn name(&self) -> &'static str {
        "merging"
    }

    fn check(&self, history: &History, _: Budget) -> Verdict {
        let doubts = Doubts::of(history);
        let done = gather(history, &doubts);
        let mut findings = Findings::default();
        for (operation, read) in &done.reads {
            match text(&read.value, 0) {
                Some("counter") => own_additions(&done, operation, read, &mut findings),
                _ => own_elements(&done, operation, read, &mut findings),
            }
        }
        let mut judged = 0;
        for event in &done.states {
            for pair in at(&event.value, 2).as_list().unwrap_or_default() {
                judged += 1;
                let (key, contents) = (at(pair, 0), at(pair, 1));
                match text(&event.value, 1) {
                    Some("counter") => {
                        let sum = contents.as_int().map(i128::from);
                        counter(&done.adds, key, sum, event, &mut findings);
                    }
                    Some("set") => set(&done, key, contents, event, &mut findings),
                    _ => map(&done, key, &fields(contents), event, &mut findings),
                }
            }
        }
        for event in done.totals.iter().filter(|_| doubts.is_empty()) {
            let count = |place| number(&event.value, place);
            if (count(2), count(3)) != (Some(0), Some(0)) {
                let words = format!(
                    "each field has one writer at one node, and yet there are losses: {}",
                    event.value
                );
                findings.add("conflict-between-fields", words, [event.index]);
            }
        }
        let unknown = all(&done).filter(|(_, kind)| *kind == Kind::Info).count();
        let fine = format!(
            "{judged} keys hold what was acknowledged{}",
            if unknown == 0 { ", exactly" } else { " and no more than was tried" }
        );
        let figures = json!({
            "additions": done.adds.values().map(Vec::len).sum::<usize>(),
            "elements": done.inserts.len(), "unknown": unknown, "reads": done.reads.len(),
        });
        findings.verdict(self.name(), judged, fine, figures)
    }
}

fn all<'a, 'b>(done: &'b Done<'a>) -> impl Iterator<Item = &'b (Operation<'a>, Kind)> {
    let by_key = [&done.adds, &done.fields, &done.hits, &done.tags];
    let by_element = [&done.inserts, &done.removes];
    let keyed = by_key.into_iter().flat_map(|ops| ops.values().flatten());
    keyed.chain(by_element.into_iter().flat_map(|ops| ops.values().flatten()))
}

fn gather<'a>(history: &'a History, doubts: &Doubts) -> Done<'a> {
    let mut done = Done::default();
    for operation in history.operations() {
        let (key, kind) = (at(&operation.invoke.value, 1), doubts.kind(&operation));
        let element = (key, at(&operation.invoke.value, 2).as_int().unwrap_or_default());
        let ended = operation.complete.filter(|event| event.kind == Kind::Ok);
        let taken = (operation, kind);
        match (operation.invoke.f.as_str(), ended) {
            (_, None) if kind == Kind::Fail => {}
            ("add", _) => done.adds.entry(key).or_default().push(taken),
            ("insert", _) => done.inserts.entry(element).or_default().push(taken),
            ("remove", _) => done.removes.entry(element).or_default().push(taken),
            ("field", _) => done.fields.entry(key).or_default().push(taken),
            ("hit", _) => done.hits.entry(key).or_default().push(taken),
            ("tag", _) => done.tags.entry(key).or_default().push(taken),
            ("read", Some(event)) => done.reads.push((operation, event)),
            ("state", Some(event)) => done.states.push(event),
            ("totals", Some(event)) => done.totals.push(event),
            _ => {}
        }
    }
    done
}

fn amount(operation: &Operation<'_>) -> i128 {
    at(&operation.invoke.value, 2).as_int().map_or(0, i128::from)
}

fn node(operation: &Operation<'_>) -> Option<u32> {
    operation.complete.and_then(|event| event.node)
}

/// Whether an operation was acknowledged by a node before another one began.
fn taken_before(first: &(Operation<'_>, Kind), at_node: Option<u32>, began: u64) -> bool {
    first.1 == Kind::Ok && node(&first.0) == at_node && ended(&first.0) < began
}

/// A sum in the end.
fn counter(
    adds: &BTreeMap<&Value, Ops<'_>>,
    key: &Value,
    sum: Option<i128>,
    event: &Event,
    findings: &mut Findings,
) {
    let ops = adds.get(key).map(Vec::as_slice).unwrap_or_default();
    let (mut least, mut most) = (0, 0);
    for (operation, kind) in ops {
        let by = amount(operation);
        least += if *kind == Kind::Ok { by } else { by.min(0) };
        most += if *kind == Kind::Ok { by } else { by.max(0) };
    }
    let sum = sum.unwrap_or(0);
    if !(least..=most).contains(&sum) {
        let is = if least == most { format!("{least}") } else { format!("{least} to {most}") };
        let words = format!(
            "the counter {key} is {sum} at the end ({}), and the additions make {is}",
            event.value.as_list().and_then(|items| items.first()).unwrap_or(&Value::Nil)
        );
        findings.add("wrong-sum", words, [event.index]);
    }
}

/// What a node shows of a counter has at least what the node itself had acknowledged.
fn own_additions(
    done: &Done<'_>,
    operation: &Operation<'_>,
    read: &Event,
    findings: &mut Findings,
) {
    let key = at(&read.value, 1);
    let Some(sum) = at(&read.value, 2).as_int().map(i128::from) else { return };
    let (mut least, mut most) = (0, 0);
    for add in done.adds.get(key).into_iter().flatten() {
        let by = amount(&add.0);
        if taken_before(add, read.node, operation.invoke.time) {
            least += by;
            most += by;
        } else if add.0.invoke.time < read.time {
            least += by.min(0);
            most += by.max(0);
        }
    }
    if !(least..=most).contains(&sum) {
        let words = format!(
            "node {} shows {sum} of counter {key}; with what it took itself before it must be {least} \
             to {most}",
            read.node.unwrap_or_default()
        );
        findings.add("own-addition-missing", words, shows([operation]));
    }
}

/// A node shows the elements that it took itself, if nobody tried to remove them.
fn own_elements(done: &Done<'_>, operation: &Operation<'_>, read: &Event, findings: &mut Findings) {
    let key = at(&read.value, 1);
    let shown = elements(at(&read.value, 2));
    for ((_, element), inserts) in done.inserts.range((key, i64::MIN)..=(key, i64::MAX)) {
        let removes = done.removes.get(&(key, *element)).into_iter().flatten();
        let touched = removes.into_iter().any(|(remove, _)| remove.invoke.time < read.time);
        let own = inserts.iter().find(|i| taken_before(i, read.node, operation.invoke.time));
        if let (Some((insert, _)), false, false) = (own, touched, shown.contains(element)) {
            let words = format!(
                "node {} took the element {element} of {key}, and does not show it later",
                read.node.unwrap_or_default()
            );
            findings.add("own-element-missing", words, shows([insert, operation]));
        }
    }
    for element in &shown {
        let inserts = done.inserts.get(&(key, *element)).into_iter().flatten();
        if !inserts.into_iter().any(|(insert, _)| insert.invoke.time < read.time) {
            let words = format!("the element {element} of {key} is shown, and nobody inserted it");
            findings.add("unexpected-element", words, shows([operation]));
        }
    }
}

fn elements(value: &Value) -> BTreeSet<i64> {
    value.as_list().unwrap_or_default().iter().filter_map(Value::as_int).collect()
}

/// A set in the end.
fn set(done: &Done<'_>, key: &Value, contents: &Value, event: &Event, findings: &mut Findings) {
    let shown = elements(contents);
    let none = Vec::new();
    let at_node = number(&event.value, 0).unwrap_or_default();
    for ((_, element), inserts) in done.inserts.range((key, i64::MIN)..=(key, i64::MAX)) {
        let removes = done.removes.get(&(key, *element)).unwrap_or(&none);
        let unseen = inserts.iter().find(|(insert, kind)| {
            let before = |(remove, _): &(Operation<'_>, Kind)| ended(remove) < insert.invoke.time;
            *kind == Kind::Ok && removes.iter().all(before)
        });
        if let (Some((insert, _)), false) = (unseen, shown.contains(element)) {
            let words = format!(
                "the element {element} of {key} is not there at node {at_node}, though no removal can \
                 have seen its insertion"
            );
            findings.add("lost-element", words, shows([insert]).chain([event.index]));
        }
        let removed = |insert: &(Operation<'_>, Kind)| {
            removes.iter().any(|remove| surely_saw(remove, insert, inserts))
        };
        if shown.contains(element) && inserts.iter().all(removed) {
            let words = format!(
                "the element {element} of {key} is there at node {at_node}, though each insertion was \
                 seen by a removal"
            );
            let all = inserts.iter().chain(removes).map(|(operation, _)| operation);
            findings.add("removed-element", words, shows(all).chain([event.index]));
        }
    }
    for element in shown.iter().filter(|element| !done.inserts.contains_key(&(key, **element))) {
        let words = format!("the element {element} of {key} is there, and nobody inserted it");
        findings.add("unexpected-element", words, [event.index]);
    }
}

/// Whether a removal certainly took this insertion away.
fn surely_saw(
    (remove, kind): &(Operation<'_>, Kind),
    insert: &(Operation<'_>, Kind),
    inserts: &[(Operation<'_>, Kind)],
) -> bool {
    let shown = remove.complete.is_some_and(|event| *extra(event, "shown") == Value::Bool(true));
    let until = ended(remove);
    let only = inserts.iter().filter(|(other, _)| other.invoke.time < until).count() == 1
        && insert.0.invoke.time < until;
    let own = taken_before(insert, node(remove), remove.invoke.time);
    *kind == Kind::Ok && (own || (shown && only))
}

/// A map in the end.
fn map(done: &Done<'_>, key: &Value, contents: &Json, event: &Event, findings: &mut Findings) {
    let mut last: BTreeMap<&str, (Option<i64>, &Operation<'_>)> = BTreeMap::new();
    let mut unknown: BTreeSet<i64> = BTreeSet::new();
    for (operation, kind) in done.fields.get(key).into_iter().flatten() {
        let value = at(&operation.invoke.value, 2).as_int();
        match operation.complete.and_then(|event| extra(event, "field").as_text()) {
            Some(field) if *kind == Kind::Ok => {
                last.insert(field, (value, operation));
            }
            _ => unknown.extend(value),
        }
    }
    for (field, (value, operation)) in last {
        let found = contents.get(field).and_then(Json::as_i64);
        if found != value && !found.is_some_and(|found| unknown.contains(&found)) {
            let words = format!(
                "the field {field} of {key} is {found:?}, and its only writer was told {value:?} last"
            );
            findings.add("lost-field", words, shows([operation]).chain([event.index]));
        }
    }
    counter(
        &done.hits,
        key,
        contents.get("hits").and_then(Json::as_i64).map(i128::from),
        event,
        findings,
    );
    let tags = contents.get("tags").and_then(Json::as_array).cloned().unwrap_or_default();
    let tags: BTreeSet<i64> =
        tags.iter().filter_map(|tag| tag.as_str().and_then(|tag| tag.parse().ok())).collect();
    for (operation, kind) in done.tags.get(key).into_iter().flatten() {
        let tag = at(&operation.invoke.value, 2).as_int();
        if *kind == Kind::Ok && tag.is_some_and(|tag| !tags.contains(&tag)) {
            let words = format!("the tag {tag:?} of {key} is not there, and nobody removes tags");
            findings.add("lost-element", words, shows([operation]).chain([event.index]));
        }
    }
}

#[cfg(test)]
mod tests;
