//! Whether every acknowledged write is accounted for, and every loss is counted.
//!
//! Promises: judges what nodes say at the end against the harness's own record of who replaced what:
//!
//! * each acknowledged write is `current`, `superseded` or `lost`, the same at all nodes; one is current,
//!   and it is what is shown;
//! * `superseded` only if a writer may have been shown it when its write was made; never `lost` if one
//!   certainly was, and then to a write that there is;
//! * what is on record as lost is what the fates call lost, with its value, at all nodes;
//! * the totals are the record's count (direct loss) and the number of writes that the shown values do
//!   not stand on (effective loss): exactly, where it is certain what each write replaced, else within
//!   the bounds that what is certain leaves;
//! * a restored write is shown again.
//!
//! Relies on `record` for what is certain, and on writes of which nobody knows being few.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::doubts::Doubts;
use super::loss_model;
use super::record::{Key, keys};
use crate::checker::{Budget, Checker};
use crate::history::{Event, History, Kind, Value};
use crate::verdict::Verdict;
use crate::workload::finding::{Findings, at, number, shows, text};

mod effect;

use effect::Bounds;

/// The checker.
#[derive(Clone, Copy, Debug)]
pub struct Fates;

/// What a node says of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Fate<'a> {
    word: &'a str,
    by: Option<&'a str>,
    is_final: bool,
}

/// A loss on record: key, value, by.
type Lost<'a> = (i64, Option<i64>, Option<&'a str>);

/// What was asked at the end.
#[derive(Default)]
struct End<'a> {
    /// By key and receipt: what each node says.
    fates: BTreeMap<(i64, &'a str), Vec<(u64, Fate<'a>)>>,
    /// By key: what each node shows.
    shown: BTreeMap<i64, Vec<(u64, Option<&'a str>)>>,
    conflicts: Vec<(&'a Event, BTreeMap<&'a str, Lost<'a>>)>,
    totals: Vec<&'a Event>,
    restored: Vec<&'a Event>,
}

impl Checker for Fates {
    fn name(&self) -> &'static str {
        "fates"
    }

    fn check(&self, history: &History, _: Budget) -> Verdict {
        let doubts = Doubts::of(history);
        let keys = keys(history, &doubts);
        let end = gather(history);
        let mut findings = Findings::default();
        let mut bounds = Bounds::default();
        for (key, record) in &keys {
            one_current(*key, record, &end, &mut findings);
            for place in 0..record.writes.len() {
                accounted(*key, record, place, &end, &mut findings);
            }
            bounds.add(
                record,
                |receipt| end.said(*key, receipt).map(|fate| (fate.word, fate.by)),
                end.current(*key),
                &end.recorded(),
            );
        }
        conflicts(&keys, &end, &mut findings);
        totals(&end, &bounds, &mut findings);
        restored(&end, &mut findings);
        let writes = keys.values().flat_map(|key| &key.writes);
        let count = |wanted: fn(&super::record::Write<'_>) -> bool| {
            writes.clone().filter(|write| wanted(write)).count()
        };
        let acknowledged = count(|write| write.kind == Kind::Ok);
        let direct = end.conflicts.first().map_or(0, |(_, lost)| lost.len());
        let said = end.totals.first().and_then(|event| number(&event.value, 3));
        let figures = json!({
            "acknowledged": acknowledged, "unknown": count(|write| write.kind == Kind::Info),
            "uncertain": count(|write| write.kind == Kind::Ok && !write.is_certain()),
            "direct_loss": direct, "effective_loss": said,
            "effective_at_least": bounds.least, "effective_at_most": bounds.most,
            "direct_percent": percent(wide(direct), wide(acknowledged)),
            "effective_percent": percent(said.unwrap_or(0), wide(acknowledged)),
            "model": loss_model::of(history, &keys),
            "restored": end.restored.iter().filter(|event| text_of(event).is_some()).count(),
        });
        let own = if bounds.least == bounds.most {
            "exactly what the record says".to_owned()
        } else {
            format!("and {} to {} by the record", bounds.least, bounds.most)
        };
        let fine = format!(
            "{acknowledged} acknowledged writes are accounted for at all nodes; {direct} were lost, and \
             {} have no effect, {own}",
            said.unwrap_or(0)
        );
        let judged = end.fates.len().min(end.totals.len()).min(end.conflicts.len());
        findings.verdict(self.name(), u64::try_from(judged).unwrap_or(0), fine, figures)
    }
}

fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

fn text_of(event: &Event) -> Option<i64> {
    at(&event.value, 2).as_int()
}

/// Of a hundred, with two digits behind the point.
pub(super) fn percent(part: u64, whole: u64) -> f64 {
    let of = |count: u64| u32::try_from(count).map_or(f64::MAX, f64::from);
    (10_000.0 * of(part) / of(whole.max(1))).round() / 100.0
}

impl<'a> End<'a> {
    /// What the first node that was asked says.
    fn said<'s>(&'s self, key: i64, receipt: &'s str) -> Option<&'s Fate<'s>> {
        self.fates.get(&(key, receipt))?.first().map(|(_, fate)| fate)
    }

    fn fate<'s>(&'s self, key: i64, receipt: &'s str) -> Option<&'s str> {
        self.said(key, receipt).map(|fate| fate.word)
    }

    fn current(&self, key: i64) -> Option<&'a str> {
        self.shown.get(&key)?.first()?.1
    }

    /// All values on record as lost, by key.
    fn recorded(&self) -> BTreeSet<(i64, i64)> {
        let all = self.conflicts.iter().flat_map(|(_, lost)| lost.values());
        all.filter_map(|(key, value, _)| Some((*key, (*value)?))).collect()
    }
}

fn gather(history: &History) -> End<'_> {
    let mut end = End::default();
    for event in history.events.iter().filter(|event| event.kind == Kind::Ok) {
        let node = || number(&event.value, 0).unwrap_or_default();
        let key = || at(&event.value, 1).as_int().unwrap_or_default();
        match event.f.as_str() {
            "fates" => {
                for said in at(&event.value, 2).as_list().unwrap_or_default() {
                    let (Some(receipt), Some(word)) = (text(said, 0), text(said, 1)) else {
                        continue;
                    };
                    let is_final = *at(said, 3) == Value::Bool(true);
                    let fate = Fate { word, by: text(said, 2), is_final };
                    end.fates.entry((key(), receipt)).or_default().push((node(), fate));
                }
            }
            "shown" => end.shown.entry(key()).or_default().push((node(), text(&event.value, 2))),
            "conflicts" => {
                let lost = at(&event.value, 2).as_list().unwrap_or_default().iter();
                let lost = lost.filter_map(|lost| {
                    let key = text(lost, 1)?.strip_prefix('k')?.parse().ok()?;
                    let value = text(lost, 2).and_then(|value| value.parse().ok());
                    Some((text(lost, 0)?, (key, value, text(lost, 3))))
                });
                end.conflicts.push((event, lost.collect()));
            }
            "totals" => end.totals.push(event),
            "restore" => end.restored.push(event),
            _ => {}
        }
    }
    end
}

/// One write is current, and all nodes show it.
fn one_current(key: i64, record: &Key<'_>, end: &End<'_>, findings: &mut Findings) {
    let shown: BTreeSet<Option<&str>> =
        end.shown.get(&key).into_iter().flatten().map(|(_, receipt)| *receipt).collect();
    let acknowledged = record.writes.iter().any(|write| write.kind == Kind::Ok);
    if shown.len() > 1 {
        findings.add(
            "shown-otherwise",
            format!("nodes show different writes of {key}: {shown:?}"),
            [],
        );
    } else if acknowledged && !shown.is_empty() && shown.contains(&None) {
        findings.add("lost-key", format!("key {key} was written, never deleted, and is gone"), []);
    }
    let current = end.current(key);
    for write in &record.writes {
        let Some(receipt) = write.receipt else { continue };
        let is_current = end.fate(key, receipt) == Some("current");
        if is_current && current != Some(receipt) {
            let words = format!("{receipt} of key {key} is current, and {current:?} is shown");
            findings.add("current-and-not-shown", words, shows([&write.operation]));
        }
        let fate = end.fate(key, receipt).filter(|_| current == Some(receipt));
        if let Some(fate) = fate.filter(|fate| *fate != "current") {
            let words = format!("{receipt} of key {key} is shown, and its fate is {fate}");
            findings.add("shown-and-not-current", words, shows([&write.operation]));
        }
    }
}

/// What became of a write is one of the things that can have become of it.
fn accounted(key: i64, record: &Key<'_>, place: usize, end: &End<'_>, findings: &mut Findings) {
    let Some(write) = record.writes.get(place) else { return };
    let Some(said) = write.receipt.and_then(|receipt| end.fates.get(&(key, receipt))) else {
        // Who lost all nodes before the end has asked nothing.
        if write.kind == Kind::Ok && !end.fates.is_empty() {
            let words = format!(
                "write {} of key {key} was acknowledged, and no node was asked",
                write.value
            );
            findings.add("unaccounted", words, shows([&write.operation]));
        }
        return;
    };
    let receipt = write.receipt.unwrap_or_default();
    let mut tell = |kind: &str, words: String| {
        findings.add(
            kind,
            format!("write {} of key {key} ({receipt}) {words}", write.value),
            shows([&write.operation]),
        );
    };
    let Some((_, first)) = said.first() else { return };
    if said.iter().any(|(_, fate)| fate != first) {
        return tell("fates-differ", format!("has different fates at different nodes: {said:?}"));
    }
    let seen_by = |certain: bool| {
        record.writes.iter().find(|later| {
            if certain {
                later.is_certain() && later.shown == Some(place)
            } else {
                later.may_have_seen(place)
            }
        })
    };
    match first.word {
        "current" if seen_by(true).is_some() => {
            tell("replaced-and-current", "is current, and a later write replaced it".into());
        }
        "current" => {}
        "superseded" => {
            if seen_by(false).is_none() {
                tell(
                    "lost-in-silence",
                    "is called superseded, and no writer had been shown it".into(),
                );
            } else if !first.is_final {
                tell("never-final", "is superseded, and that is not final".into());
            }
        }
        "lost" => {
            let by = first.by.unwrap_or("nobody");
            let winner = record.writes.iter().position(|other| other.receipt == Some(by));
            let unnamed = record.writes.iter().any(|other| other.receipt.is_none());
            if let Some(later) = seen_by(true) {
                let words =
                    format!("is called lost, and {} was written by who had seen it", later.value);
                tell("seen-and-lost", words);
            } else if winner == Some(place) || (winner.is_none() && !unnamed) {
                tell("lost-to-nobody", format!("is lost to {by}, which is no write of this key"));
            } else if !first.is_final {
                tell("never-final", "is lost, and that is not final".into());
            }
        }
        other if write.kind == Kind::Ok => {
            tell("unaccounted", format!("was acknowledged, and its fate is {other}"));
        }
        _ => {}
    }
}

/// What is on record as lost is what is lost, at each node.
fn conflicts(keys: &BTreeMap<i64, Key<'_>>, end: &End<'_>, findings: &mut Findings) {
    let mut lost: BTreeMap<&str, (i64, Option<&str>)> = BTreeMap::new();
    for ((key, receipt), said) in &end.fates {
        if let Some((_, fate)) = said.first().filter(|(_, fate)| fate.word == "lost") {
            lost.insert(receipt, (*key, fate.by));
        }
    }
    let first = end.conflicts.first().map(|(_, recorded)| recorded);
    for (event, recorded) in &end.conflicts {
        let node = number(&event.value, 0).unwrap_or_default();
        if first != Some(recorded) {
            let words = format!("node {node} has other conflicts on record than another node");
            findings.add("conflicts-differ", words, [event.index]);
        }
        for (receipt, (key, by)) in &lost {
            match recorded.get(receipt) {
                None => {
                    let words = format!("node {node} calls {receipt} lost and has no record of it");
                    findings.add("loss-not-recorded", words, [event.index]);
                }
                Some((at_key, _, by_then)) if (at_key, by_then) != (key, by) => {
                    let words =
                        format!("node {node}: {receipt} was lost to {by:?} and to {by_then:?}");
                    findings.add("misquoted-conflict", words, [event.index]);
                }
                Some(_) => {}
            }
        }
        for (receipt, (key, value, _)) in recorded {
            let write = value.and_then(|value| {
                let record = keys.get(key)?;
                record.writes.get(*record.values.get(&value)?)
            });
            let named = write.and_then(|write| write.receipt);
            let words =
                || format!("node {node} has a conflict {receipt} of key {key} with {value:?}");
            match write {
                None => findings.add("conflict-of-nobody", words(), [event.index]),
                Some(_) if named.is_some_and(|named| named != *receipt) => {
                    findings.add("misquoted-conflict", words(), [event.index]);
                }
                Some(write) if write.kind == Kind::Ok && !lost.contains_key(receipt) => {
                    let words = format!("{}, which its fate does not call lost", words());
                    findings.add("recorded-and-not-lost", words, [event.index]);
                }
                Some(_) => {}
            }
        }
    }
}

/// The totals are the record's.
fn totals(end: &End<'_>, bounds: &Bounds, findings: &mut Findings) {
    for event in &end.totals {
        let node = number(&event.value, 0).unwrap_or_default();
        let [lost, effective, pending] = [2, 3, 4].map(|place| number(&event.value, place));
        if pending != Some(0) {
            let words = format!("node {node} still has {pending:?} losses that are not final");
            findings.add("never-final", words, [event.index]);
        }
        let own = end
            .conflicts
            .iter()
            .find(|(other, _)| number(&other.value, 0) == Some(node))
            .and_then(|(_, recorded)| u64::try_from(recorded.len()).ok());
        if lost != own {
            let words =
                format!("node {node} counts {lost:?} lost writes, and {own:?} are on record");
            findings.add("wrong-direct-loss", words, [event.index]);
        }
        if !effective.is_some_and(|effective| (bounds.least..=bounds.most).contains(&effective)) {
            let words = format!(
                "node {node} counts {effective:?} writes without effect; by what writers had been shown it \
                 is {} to {}",
                bounds.least, bounds.most
            );
            findings.add("wrong-effective-loss", words, [event.index]);
        }
    }
}

/// A restored value is shown, here at once and everywhere in the end.
fn restored(end: &End<'_>, findings: &mut Findings) {
    for event in &end.restored {
        let Some(value) = text_of(event) else { continue };
        for seen in at(&event.value, 3).as_list().unwrap_or_default() {
            if at(seen, 1).as_int() != Some(value) {
                let words =
                    format!("{value} was restored, and node {} shows {}", at(seen, 0), at(seen, 1));
                findings.add("not-restored", words, [event.index]);
            }
        }
    }
}

#[cfg(test)]
mod tests;
