//! Whether what was deleted stays deleted, and what was not stays.
//!
//! Promises: needs no clock, and holds whatever was away for however long:
//!
//! * what an acknowledged deletion certainly took (its node had taken it before, or showed it just before)
//!   is not shown by that node afterwards, and by no node in the end;
//! * an item that was created and that nobody tried to delete is there in the end, and so is one that was
//!   created after every deletion of it had been answered, wherever that was;
//! * what is shown was created.
//!
//! Elements of sets have no numbers, so that it is not known which creation is shown: of those a
//! deletion counts if all creations were certainly taken.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::doubts::Doubts;
use crate::checker::{Budget, Checker};
use crate::history::{Event, History, Kind, Operation, Value};
use crate::report::windows;
use crate::verdict::Verdict;
use crate::workload::finding::{Findings, at, ended, extra, number, shows, text};

/// The checker.
#[derive(Clone, Copy, Debug)]
pub struct Deletions;

/// What was done with an item.
#[derive(Default)]
struct Item<'a> {
    creates: Vec<(Operation<'a>, Kind)>,
    deletes: Vec<(Operation<'a>, Kind)>,
    reads: Vec<(Operation<'a>, &'a Event)>,
}

impl Checker for Deletions {
    fn name(&self) -> &'static str {
        "deletions"
    }

    fn check(&self, history: &History, _: Budget) -> Verdict {
        let doubts = Doubts::of(history);
        let mut findings = Findings::default();
        let (items, ends, syncs) = gather(history, &doubts);
        let mut judged = 0;
        for end in &ends {
            judged += 1;
            finally(&items, end, &mut findings);
        }
        let mut deleted = 0;
        for ((data_type, name), item) in &items {
            deleted += item.deletes.iter().filter(|(_, kind)| *kind == Kind::Ok).count();
            for (operation, read) in &item.reads {
                let shown = numbers(at(&read.value, 2));
                for taken in item.taken_at(read.node, operation.invoke.time, &shown) {
                    let words = format!(
                        "{data_type} {name} was deleted at node {}, which shows it again later",
                        read.node.unwrap_or_default()
                    );
                    findings.add("deleted-and-shown", words, shows([taken, operation]));
                }
            }
        }
        let [whole, cut] = [2, 3]
            .map(|place| syncs.iter().filter_map(|event| number(&event.value, place)).sum::<u64>());
        let fine = format!(
            "{deleted} deletions of {} items hold at all nodes; {whole} state syncs ended and {cut} were \
             cut since the nodes' last starts",
            items.len()
        );
        let figures = json!({
            "items": items.len(), "deletions": deleted, "state_syncs": whole, "state_syncs_cut": cut,
        });
        // A state sync that never ran brings nothing back: whoever breaks nodes wants to see one.
        let broken = windows(history).iter().any(|window| window.bites() && window.name != "heal");
        let untried = broken && !syncs.is_empty() && whole + cut == 0;
        if untried && findings.is_empty() {
            let words =
                "faults were in force, and no state sync ran that could bring anything back";
            return Verdict::unknown(self.name(), words).with_figures(figures);
        }
        findings.verdict(self.name(), judged, fine, figures)
    }
}

type Items<'a> = BTreeMap<(&'a str, i64), Item<'a>>;

fn gather<'a>(
    history: &'a History,
    doubts: &Doubts,
) -> (Items<'a>, Vec<&'a Event>, Vec<&'a Event>) {
    let mut items: Items<'a> = BTreeMap::new();
    let (mut ends, mut syncs) = (Vec::new(), Vec::new());
    for operation in history.operations() {
        let done = operation.complete.filter(|event| event.kind == Kind::Ok);
        match (operation.invoke.f.as_str(), done) {
            ("items", Some(event)) => ends.push(event),
            ("syncs", Some(event)) => syncs.push(event),
            _ => {}
        }
        let value = &operation.invoke.value;
        let (Some(data_type), Some(name)) = (text(value, 0), at(value, 1).as_int()) else {
            continue;
        };
        let item = items.entry((data_type, name)).or_default();
        let kind = doubts.kind(&operation);
        match (operation.invoke.f.as_str(), done) {
            (_, None) if kind == Kind::Fail => {}
            ("create", _) => item.creates.push((operation, kind)),
            ("delete", _) => item.deletes.push((operation, kind)),
            ("read", Some(event)) => item.reads.push((operation, event)),
            _ => {}
        }
    }
    (items, ends, syncs)
}

fn numbers(value: &Value) -> BTreeSet<i64> {
    value.as_list().unwrap_or_default().iter().filter_map(Value::as_int).collect()
}

fn node(operation: &Operation<'_>) -> Option<u32> {
    operation.complete.and_then(|event| event.node)
}

impl<'a> Item<'a> {
    /// Whether a deletion certainly took a creation.
    fn takes(
        &self,
        (delete, kind): &(Operation<'a>, Kind),
        create: &(Operation<'a>, Kind),
    ) -> bool {
        let began = delete.invoke.time;
        let own =
            create.1 == Kind::Ok && node(&create.0) == node(delete) && ended(&create.0) < began;
        let shown = delete.complete.map(|event| numbers(extra(event, "shown"))).unwrap_or_default();
        let number = at(&create.0.invoke.value, 2).as_int();
        let named = number.is_some_and(|number| shown.contains(&number));
        let until = ended(delete);
        let earlier = || self.creates.iter().filter(|(other, _)| other.invoke.time < until).count();
        let only = shown.contains(&-1) && create.0.invoke.time < until && earlier() == 1;
        *kind == Kind::Ok && (own || named || only)
    }

    /// The deletions that make it wrong to show these numbers; at a node only its own, and only those
    /// that were answered by then.
    fn taken_at(
        &self,
        at_node: Option<u32>,
        began: u64,
        shown: &BTreeSet<i64>,
    ) -> Vec<&Operation<'a>> {
        let counts = |delete: &&(Operation<'a>, Kind)| {
            at_node.is_none() || (node(&delete.0) == at_node && ended(&delete.0) < began)
        };
        let taking = |create: &(Operation<'a>, Kind)| {
            self.deletes.iter().filter(counts).find(|delete| self.takes(delete, create))
        };
        let mut taken = Vec::new();
        for create in &self.creates {
            let number = at(&create.0.invoke.value, 2).as_int();
            if number.is_some_and(|number| shown.contains(&number)) {
                taken.extend(taking(create).map(|(delete, _)| delete));
            }
        }
        // A creation that begins only now may be what is shown.
        let is_all =
            !self.creates.is_empty() && self.creates.iter().all(|create| taking(create).is_some());
        if shown.contains(&-1) && is_all {
            taken.extend(self.deletes.last().map(|(delete, _)| delete));
        }
        taken
    }

    /// A creation that must be there in the end: no deletion can have taken it.
    fn untouched(&self) -> Option<&Operation<'a>> {
        let before = |create: &Operation<'a>| {
            self.deletes.iter().all(|(delete, _)| ended(delete) < create.invoke.time)
        };
        self.creates
            .iter()
            .find(|(create, kind)| *kind == Kind::Ok && before(create))
            .map(|(create, _)| create)
    }
}

/// What a node shows in the end.
fn finally(items: &Items<'_>, end: &Event, findings: &mut Findings) {
    let at_node = number(&end.value, 0).unwrap_or_default();
    let data_type = text(&end.value, 1).unwrap_or_default();
    let mut shown: BTreeMap<i64, BTreeSet<i64>> = BTreeMap::new();
    for pair in at(&end.value, 2).as_list().unwrap_or_default() {
        shown.insert(at(pair, 0).as_int().unwrap_or_default(), numbers(at(pair, 1)));
    }
    for ((of_type, name), item) in items.iter().filter(|((of_type, _), _)| *of_type == data_type) {
        let none = BTreeSet::new();
        let numbers = shown.remove(name).unwrap_or(none);
        for delete in item.taken_at(None, 0, &numbers) {
            let words =
                format!("{of_type} {name} was deleted, and node {at_node} has it in the end");
            findings.add("resurrected", words, shows([delete]).chain([end.index]));
        }
        if let (Some(create), true) = (item.untouched(), numbers.is_empty()) {
            let words = format!(
                "{of_type} {name} was created and no deletion can have taken it, and node {at_node} \
                 has it not in the end"
            );
            findings.add("lost-item", words, shows([create]).chain([end.index]));
        }
        for number in numbers.iter().filter(|number| **number != -1) {
            let is_created = |(create, _): &(Operation<'_>, Kind)| {
                at(&create.invoke.value, 2).as_int() == Some(*number)
            };
            if !item.creates.iter().any(is_created) {
                let words =
                    format!("node {at_node} has {of_type} {name} as {number}, as nobody made it");
                findings.add("unwritten-value", words, [end.index]);
            }
        }
    }
    for name in shown.keys() {
        let words = format!("node {at_node} has {data_type} {name}, which nobody created");
        findings.add("unwritten-value", words, [end.index]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::Validity;
    use crate::workload::tests_history::Script;

    fn op(script: &mut Script, f: &str, data_type: &str, number: i64, at_node: u32) {
        let value = Value::list([data_type.into(), 5.into(), number.into()]);
        script.operation(f, value.clone(), Kind::Ok, value).node = Some(at_node);
    }

    fn delete(script: &mut Script, data_type: &str, shown: &[i64], kind: Kind, at_node: u32) {
        let value = Value::list([data_type.into(), 5.into(), Value::Nil]);
        let event = script.operation("delete", value.clone(), kind, value);
        event.node = Some(at_node);
        event.with("shown", shown.to_vec());
    }

    fn kinds(script: &Script, data_type: &str, shown: Option<&[i64]>) -> Vec<String> {
        let mut script = Script::clone(script);
        let items = shown.map(|numbers| Value::keyed(5, numbers.to_vec()));
        let end = Value::list([1.into(), data_type.into(), Value::list(items)]);
        script.operation("items", 1, Kind::Ok, end);
        let verdict = Deletions.check(&script.history(), Budget::default());
        assert_ne!(verdict.validity, Validity::Unknown);
        verdict.anomalies.into_iter().map(|anomaly| anomaly.kind).collect()
    }

    #[test]
    fn what_was_deleted_stays_away_and_what_was_not_stays() {
        let none: [&str; 0] = [];
        let mut script = Script::default();
        op(&mut script, "create", "lww", 7, 1);
        assert_eq!(kinds(&script, "lww", Some(&[7])), none);
        assert_eq!(kinds(&script, "lww", None), ["lost-item"]);
        assert_eq!(kinds(&script, "lww", Some(&[8])), ["unwritten-value"]);
        delete(&mut script, "lww", &[7], Kind::Ok, 2);
        assert_eq!(kinds(&script, "lww", None), none);
        assert_eq!(kinds(&script, "lww", Some(&[7])), ["resurrected"]);
        // Created again by who may not have heard of the deletion.
        op(&mut script, "create", "lww", 9, 3);
        assert_eq!(kinds(&script, "lww", Some(&[9])), none);
        assert_eq!(kinds(&script, "lww", Some(&[7, 9])), ["resurrected"]);
        assert_eq!(kinds(&script, "lww", None), ["lost-item"]);
    }

    #[test]
    fn a_deletion_that_had_not_seen_it_or_got_no_answer_proves_nothing() {
        for (shown, kind) in [(&[][..], Kind::Ok), (&[7][..], Kind::Info)] {
            let mut script = Script::default();
            op(&mut script, "create", "mv", 7, 1);
            delete(&mut script, "mv", shown, kind, 2);
            for end in [None, Some(&[7][..])] {
                assert_eq!(kinds(&script, "mv", end), [""; 0]);
            }
        }
    }

    #[test]
    fn an_element_is_gone_when_every_insertion_was_taken() {
        let mut script = Script::default();
        op(&mut script, "create", "set", 7, 1);
        delete(&mut script, "set", &[-1], Kind::Ok, 2);
        assert_eq!(kinds(&script, "set", Some(&[-1])), ["resurrected"]);
        op(&mut script, "create", "set", 8, 3);
        assert_eq!(kinds(&script, "set", Some(&[-1])), [""; 0]);
        assert_eq!(kinds(&script, "set", None), ["lost-item"]);
        delete(&mut script, "set", &[-1], Kind::Ok, 3);
        assert_eq!(kinds(&script, "set", Some(&[-1])), ["resurrected"]);
    }

    #[test]
    fn a_node_does_not_show_again_what_it_deleted() {
        let mut script = Script::default();
        op(&mut script, "create", "map", 7, 1);
        delete(&mut script, "map", &[7], Kind::Ok, 2);
        for (at_node, found) in [(1, &[][..]), (2, &["deleted-and-shown"])] {
            let mut script = Script::clone(&script);
            let task = Value::list(["map".into(), 5.into(), Value::Nil]);
            let shown = Value::list(["map".into(), 5.into(), vec![7_i64].into()]);
            script.operation("read", task, Kind::Ok, shown).node = Some(at_node);
            assert_eq!(kinds(&script, "map", None), found);
        }
    }
}
