//! Judges what watchers saw against what writers did.
//!
//! Promises: the union of what all watchers saw is the truth of each group; every watcher must have
//! seen a piece of it without a hole, every acknowledged write must be in it at its index, everything
//! in it must have been written, and each previous value must be the one before. A hole behind a 410
//! with a cursor to go on from is announced, hence counted and not judged.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use serde_json::json;

use super::super::finding::{Findings, extra, extra_number, number, shows, text};
use crate::checker::{Budget, Checker};
use crate::history::{History, Kind, Operation, Value};
use crate::verdict::Verdict;

/// Group, index, place within the entry.
type At = (u64, u64, u64);

/// Judges `watch` histories.
#[derive(Debug)]
pub(super) struct WatchChecker;

/// A change as a watcher told it.
#[derive(Clone, Debug, PartialEq)]
struct Change {
    kind: String,
    key: String,
    value: Option<String>,
    previous: Option<String>,
}

/// What is known about one life of one watcher while its connections are walked through.
#[derive(Debug, Default)]
struct Life {
    begin: String,
    /// The last change handled, by group.
    position: BTreeMap<u64, At>,
    /// The keys of the view that it began with: value by (group, key).
    initial: BTreeMap<(u64, String), String>,
    /// Groups whose part of the view was compared.
    compared: BTreeSet<u64>,
    /// When its first connection ended.
    settled: u64,
    /// The event that says that it drained, and when that began.
    drained: Option<(u64, u64)>,
    begun: bool,
}

struct Judge<'a> {
    operations: Vec<Operation<'a>>,
    truth: BTreeMap<At, (Change, u64)>,
    writes: BTreeMap<i64, Operation<'a>>,
    trimmed: u64,
    lives: BTreeMap<u64, Life>,
    findings: Findings,
}

impl Checker for WatchChecker {
    fn name(&self) -> &'static str {
        "watch"
    }

    fn check(&self, history: &History, _: Budget) -> Verdict {
        let mut judge = Judge::new(history);
        judge.gather();
        judge.walk();
        judge.ends();
        judge.entries();
        judge.acknowledged();
        judge.keys();
        let drained = judge.lives.values().filter(|life| life.drained.is_some()).count();
        let figures = json!({
            "changes": judge.truth.len(),
            "writes": judge.writes.len(),
            "watchers_lives": judge.lives.len(),
            "drained": drained,
            "history_trimmed": judge.trimmed,
        });
        let judged = if drained == 0 { 0 } else { u64::try_from(judge.truth.len()).unwrap_or(0) };
        let fine = "every change was seen once, in order, without a hole, after the right value";
        judge.findings.verdict(self.name(), judged, fine, figures)
    }
}

/// Group, index and seq of an event, and what it says; `None` for a key of a view.
fn change(event: &Value) -> Option<(At, Change)> {
    let kind = text(event, 0)?;
    let place = (number(event, 1)?, number(event, 2)?, number(event, 3)?);
    let owned = |place| text(event, place).map(str::to_owned);
    let change =
        Change { kind: kind.to_owned(), key: owned(4)?, value: owned(5), previous: owned(6) };
    Some((place, change))
}

/// Keys and number of a write.
fn asked(operation: &Operation<'_>) -> Option<(Vec<String>, Option<i64>)> {
    let (target, number) = operation.invoke.value.as_keyed()?;
    let keys = match target.as_list() {
        Some(keys) => keys.iter().filter_map(|key| key.as_text().map(str::to_owned)).collect(),
        None => vec![target.as_text()?.to_owned()],
    };
    Some((keys, number.as_int()))
}

/// The number that the write of this value has.
fn last_number(value: &str) -> Option<i64> {
    value.rsplit(',').next()?.parse().ok()
}

impl<'a> Judge<'a> {
    fn new(history: &'a History) -> Self {
        let operations = history.operations();
        let mut writes = BTreeMap::new();
        let trimmed =
            operations.iter().filter_map(|operation| operation.complete?.error.as_deref());
        let trimmed = trimmed.filter(|error| *error == "history_trimmed").count();
        let trimmed = u64::try_from(trimmed).unwrap_or(u64::MAX);
        for operation in &operations {
            if let Some((_, Some(number))) = asked(operation) {
                writes.insert(number, *operation);
            }
        }
        Self {
            operations,
            truth: BTreeMap::new(),
            writes,
            trimmed,
            lives: BTreeMap::new(),
            findings: Findings::default(),
        }
    }

    /// Connections that were answered.
    fn connections(&self) -> Vec<Operation<'a>> {
        let watching = |operation: &&Operation<'_>| {
            ["follow", "drain"].contains(&operation.invoke.f.as_str())
                && operation.kind() == Kind::Ok
        };
        self.operations.iter().filter(watching).copied().collect()
    }

    /// Puts together what all watchers saw; they must not contradict each other.
    fn gather(&mut self) {
        for connection in self.connections() {
            let Some(complete) = connection.complete else { continue };
            for event in complete.value.as_list().unwrap_or_default() {
                let Some((place, change)) = change(event) else { continue };
                if change.kind == "initial" {
                    continue;
                }
                let (known, first) =
                    self.truth.entry(place).or_insert_with(|| (change.clone(), complete.index));
                if *known != change {
                    let words = format!(
                        "at {place:?} one watcher saw {known:?} (event {first}), another {change:?} \
                         (event {})",
                        complete.index
                    );
                    self.findings.add("disagree", words, [*first, complete.index]);
                }
            }
        }
    }

    /// Goes with each watcher from change to change.
    fn walk(&mut self) {
        for connection in self.connections() {
            let Some(complete) = connection.complete else { continue };
            let Some(id) = extra_number(complete, "life") else { continue };
            let mut life = self.lives.remove(&id).unwrap_or_default();
            let begin = extra(complete, "begin").as_text().unwrap_or_default();
            if begin != "cursor" || !life.begun {
                let begin = begin.to_owned();
                life = Life { begin, settled: complete.time, begun: true, ..Life::default() };
            }
            let kept = extra_number(complete, "kept").unwrap_or(u64::MAX);
            self.follow(&mut life, &connection, usize::try_from(kept).unwrap_or(usize::MAX));
            if connection.invoke.f == "drain" {
                let whole = ["drained", "enough"]
                    .contains(&extra(complete, "ended").as_text().unwrap_or_default());
                life.drained = whole.then_some((complete.index, connection.invoke.time));
            }
            self.lives.insert(id, life);
        }
    }

    fn follow(&mut self, life: &mut Life, connection: &Operation<'a>, kept: usize) {
        let Some(complete) = connection.complete else { return };
        let mut position = life.position.clone();
        for (turn, event) in complete.value.as_list().unwrap_or_default().iter().enumerate() {
            let Some((place, change)) = change(event) else { continue };
            if change.kind == "initial" {
                if turn < kept {
                    let value = change.value.unwrap_or_default();
                    life.initial.insert((place.0, change.key), value);
                }
                continue;
            }
            if !position.contains_key(&place.0) && life.begin == "initial" {
                self.compare_view(life, place, complete.index);
            }
            self.step(life, position.get(&place.0).copied(), place, complete.index);
            position.insert(place.0, place);
            if turn < kept {
                life.position.insert(place.0, place);
            }
        }
    }

    /// A change after another: nothing may be skipped, nothing may come again.
    fn step(&mut self, life: &Life, last: Option<At>, place: At, event: u64) {
        let from = match last {
            Some(last) if place <= last => {
                let words = format!(
                    "a watcher got {place:?} in event {event} although it had handled {last:?} before"
                );
                self.findings.add("repeated", words, [event]);
                return;
            }
            Some(last) => Bound::Excluded(last),
            None if life.begin == "start" => Bound::Included((place.0, 0, 0)),
            None => return,
        };
        for (missing, (change, seen_in)) in self.truth.range((from, Bound::Excluded(place))) {
            let words = format!(
                "a watcher went to {place:?} in event {event} without {missing:?} ({} of {:?}), \
                 which event {seen_in} shows",
                change.kind, change.key
            );
            self.findings.add("gap", words, [event, *seen_in]);
        }
    }

    /// The view that a watcher began with must be the state just before its first change.
    fn compare_view(&mut self, life: &mut Life, place: At, event: u64) {
        if self.trimmed > 0 || !life.compared.insert(place.0) {
            return;
        }
        let mut state: BTreeMap<String, String> = BTreeMap::new();
        for (_, (change, _)) in self.truth.range((place.0, 0, 0)..place) {
            match &change.value {
                Some(value) => state.insert(change.key.clone(), value.clone()),
                None => state.remove(&change.key),
            };
        }
        let view = life.initial.iter().filter(|((group, _), _)| *group == place.0);
        let view: BTreeMap<String, String> =
            view.map(|((_, key), value)| (key.clone(), value.clone())).collect();
        // Without a watcher from the start the truth may begin after the first writes.
        if self.lives.values().any(|life| life.begin == "start") && view != state {
            let words = format!(
                "the view of group {} is {view:?}, and the first change after it, {place:?} in event \
                 {event}, comes after {state:?}",
                place.0
            );
            self.findings.add("wrong-view", words, [event]);
        }
    }

    /// Highest index of a write that was acknowledged before a time, by group.
    fn certain(&self, before: u64) -> BTreeMap<u64, u64> {
        let mut certain: BTreeMap<u64, u64> = BTreeMap::new();
        for operation in &self.operations {
            let Some(complete) = operation.complete else { continue };
            if let (Kind::Ok, Some(witness)) = (complete.kind, complete.witness)
                && complete.time < before
            {
                let highest = certain.entry(witness.group).or_default();
                *highest = witness.index.max(*highest);
            }
        }
        certain
    }

    /// Whoever drained has seen everything certain.
    fn ends(&mut self) {
        let lives = std::mem::take(&mut self.lives);
        for life in lives.values() {
            let Some((event, began)) = life.drained else { continue };
            for (group, index) in &self.certain(began) {
                let from = match life.position.get(group) {
                    Some(last) => Bound::Excluded(*last),
                    None if life.begin == "start" => Bound::Included((*group, 0, 0)),
                    None => continue,
                };
                let to = Bound::Included((*group, *index, u64::MAX));
                if matches!(from, Bound::Excluded(last) if last >= (*group, *index, u64::MAX)) {
                    continue;
                }
                for (missing, (_, seen_in)) in self.truth.range((from, to)) {
                    let words =
                        format!("a watcher that drained in event {event} never got {missing:?}");
                    self.findings.add("missed", words, [event, *seen_in]);
                }
            }
            if life.begin == "now" {
                self.missed_from_now(life, (event, began));
            }
        }
        self.lives = lives;
    }

    /// What was asked for after a watch from now had begun must have come.
    fn missed_from_now(&mut self, life: &Life, (drained, began): (u64, u64)) {
        for operation in &self.operations {
            let Some(complete) = operation.complete else { continue };
            let (Kind::Ok, Some(witness)) = (complete.kind, complete.witness) else { continue };
            if operation.invoke.time <= life.settled || complete.time >= began {
                continue;
            }
            let first = (witness.group, witness.index, 0);
            // Holes behind the position are found by the walk; here only what the watch began behind.
            if life.position.get(&witness.group).is_none_or(|last| *last < first) {
                let words = format!(
                    "a watch from now began before event {}, and never showed its change at {first:?}",
                    operation.invoke.index
                );
                self.findings.add("missed", words, shows([operation]).chain([drained]));
            }
        }
    }

    /// A transaction is seen whole, and nothing is applied twice.
    fn entries(&mut self) {
        let mut places: BTreeMap<i64, BTreeMap<(u64, u64), BTreeSet<String>>> = BTreeMap::new();
        for ((group, index, _), (change, _)) in &self.truth {
            if let Some(number) = change.value.as_deref().and_then(last_number) {
                let entries = places.entry(number).or_default();
                entries.entry((*group, *index)).or_default().insert(change.key.clone());
            }
        }
        for (number, entries) in places {
            let Some(operation) = self.writes.get(&number).copied() else { continue };
            if entries.len() > 1 {
                let words = format!("write {number} changed keys in several entries: {entries:?}");
                self.findings.add("applied-twice", words, shows([&operation]));
            }
            let Some((keys, _)) = asked(&operation) else { continue };
            for (entry, seen) in entries {
                if !keys.iter().all(|key| seen.contains(key)) {
                    let words =
                        format!("of write {number} to {keys:?} {entry:?} shows only {seen:?}");
                    self.findings.add("torn-entry", words, shows([&operation]));
                }
            }
        }
    }

    /// Every acknowledged write is seen at its index.
    fn acknowledged(&mut self) {
        let from_start = self.lives.values().filter(|life| life.begin == "start");
        let drained = from_start.filter_map(|life| Some(life.drained?.1)).max();
        for operation in &self.operations {
            let Some(complete) = operation.complete else { continue };
            let (Kind::Ok, Some(witness)) = (complete.kind, complete.witness) else { continue };
            let Some((keys, number)) = asked(operation) else { continue };
            let entry =
                (witness.group, witness.index, 0)..=(witness.group, witness.index, u64::MAX);
            let seen: Vec<&Change> =
                self.truth.range(entry).map(|(_, (change, _))| change).collect();
            let covered = |from: At, to: At| self.truth.range(from..to).next().is_some();
            let passed = covered((witness.group, 0, 0), (witness.group, witness.index, 0))
                && covered((witness.group, witness.index + 1, 0), (witness.group + 1, 0, 0));
            let matches = |key: &String| {
                seen.iter().any(|change| {
                    change.key == *key
                        && change.value.as_deref().and_then(last_number) == number
                        && (number.is_none()) == (change.kind == "delete")
                })
            };
            let shown = self.trimmed == 0 && drained.is_some_and(|began| complete.time < began);
            if (shown || passed || !seen.is_empty()) && !keys.iter().all(matches) {
                let words = format!(
                    "the acknowledged {} of {keys:?} at {witness:?} is shown as {seen:?}",
                    operation.invoke.f
                );
                let kind = if seen.is_empty() { "lost-change" } else { "wrong-change" };
                self.findings.add(kind, words, shows([operation]));
            }
        }
    }

    /// Each key, from change to change: written by somebody, after the right value.
    fn keys(&mut self) {
        let mut deletes: BTreeMap<String, (BTreeSet<(u64, u64)>, usize)> = BTreeMap::new();
        for operation in self.operations.iter().filter(|operation| operation.invoke.f == "delete") {
            let Some((keys, _)) = asked(operation) else { continue };
            for key in keys {
                let (certain, unknown) = deletes.entry(key).or_default();
                match (operation.kind(), operation.complete.and_then(|event| event.witness)) {
                    (Kind::Ok, Some(witness)) => {
                        certain.insert((witness.group, witness.index));
                    }
                    (Kind::Fail, _) => {}
                    _ => *unknown += 1,
                }
            }
        }
        let mut state: BTreeMap<String, Option<String>> = BTreeMap::new();
        let truth = std::mem::take(&mut self.truth);
        for (place, (change, event)) in &truth {
            let before = state.get(&change.key);
            if self.trimmed == 0 && before.is_some_and(|before| *before != change.previous) {
                let words = format!(
                    "{place:?} says that {:?} was {:?} before; it was {before:?}",
                    change.key, change.previous
                );
                self.findings.add("wrong-previous", words, [*event]);
            }
            let written = match change.kind.as_str() {
                "expire" => change.key.starts_with("kbrief"),
                "delete" => deletes.get_mut(&change.key).is_some_and(|(certain, unknown)| {
                    certain.contains(&(place.0, place.1)) || {
                        let some = *unknown > 0;
                        *unknown = unknown.saturating_sub(1);
                        some
                    }
                }),
                _ => self.was_written(change),
            };
            if !written {
                let words = format!("nobody did what {place:?} shows: {change:?}");
                self.findings.add("unwritten", words, [*event]);
            }
            state.insert(change.key.clone(), change.value.clone());
        }
        self.truth = truth;
    }

    fn was_written(&self, change: &Change) -> bool {
        let Some(value) = change.value.as_deref() else { return false };
        let Some(number) = last_number(value) else { return false };
        let Some(operation) = self.writes.get(&number) else { return false };
        let Some((keys, _)) = asked(operation) else { return false };
        let expected = if operation.invoke.f == "append" {
            format!("{},{number}", change.previous.as_deref().unwrap_or_default())
        } else {
            number.to_string()
        };
        operation.kind() != Kind::Fail && keys.contains(&change.key) && value == expected
    }
}

#[cfg(test)]
mod tests;
