//! The harness's own record of who replaced what.
//!
//! Why it exists: what a node says about lost writes must be held against something that no node has
//! had a hand in: what each writer had been shown before it wrote.
//!
//! A write takes the place of what it was shown, if its node still shows that when it is made. Between
//! the two only writes from other nodes can come in, since writers of one key at one node take turns.
//! So a write's *rivals* are those that had begun by then and of which nothing proves that its node
//! knew them already; without rivals its parent is certain. A node knows what it took, what it showed,
//! and, since a write is never applied before what it replaces, all that these had been shown.
//!
//! Answers name what their node had heard of (`heard`): rivals are only those that it had not heard of when
//! it showed something to the writer, and had heard of when it had written.
//!
//! A rival may have been sent long before and still not be there, as while links are cut. So rivals are
//! left out of which it is proved that they had not come: a node that shows what a write `y` has certainly
//! replaced does not have `y`, and hence nothing that was sent later to `y`'s node, since each node's
//! writes come in their order. (Only where no node was started again: a new start is a new writer.)
//!
//! Promises: what is called certain is so however the network behaved and whatever clocks said. Relies
//! on nobody deleting.

use std::collections::{BTreeMap, BTreeSet};

use super::doubts::Doubts;
use super::heard::{Dot, Heard};
use crate::history::{Event, History, Kind, Operation, Value};
use crate::report::{Outcome, windows};
use crate::workload::finding::{at, ended, extra, extra_number, text};

/// A write that was not refused.
#[derive(Clone, Debug)]
pub(super) struct Write<'a> {
    pub(super) operation: Operation<'a>,
    pub(super) kind: Kind,
    pub(super) value: i64,
    /// Its name, if it is known.
    pub(super) receipt: Option<&'a str>,
    /// The write that it was shown.
    pub(super) shown: Option<usize>,
    /// Whether it said so.
    pub(super) context: bool,
    /// Which others may have come in between.
    pub(super) rivals: BTreeSet<usize>,
}

impl Write<'_> {
    /// Whether it is known what it replaced.
    pub(super) fn is_certain(&self) -> bool {
        self.kind == Kind::Ok && self.rivals.is_empty()
    }

    /// When it was sent, or soon before.
    pub(super) fn sent(&self) -> u64 {
        let told = self.operation.complete.and_then(|event| extra_number(event, "sent-us"));
        let nanos = told.unwrap_or(0).saturating_mul(1000);
        self.operation.invoke.time.saturating_add(nanos)
    }

    /// Whether it may have replaced this one, having been shown it.
    pub(super) fn may_have_seen(&self, other: usize) -> bool {
        self.shown == Some(other) || (!self.context && self.rivals.contains(&other))
    }
}

/// The writes to one key.
#[derive(Debug, Default)]
pub(super) struct Key<'a> {
    pub(super) writes: Vec<Write<'a>>,
    /// Where each value is.
    pub(super) values: BTreeMap<i64, usize>,
}

/// All keys.
pub(super) fn keys<'a>(history: &'a History, doubts: &Doubts) -> BTreeMap<i64, Key<'a>> {
    let operations = history.operations();
    let mut keys: BTreeMap<i64, Key<'a>> = BTreeMap::new();
    let mut glances: BTreeMap<i64, Vec<Glance>> = BTreeMap::new();
    for operation in operations.iter().filter(|operation| operation.invoke.f == "write") {
        let value = &operation.invoke.value;
        let (Some(key), Some(value)) = (at(value, 0).as_int(), at(value, 1).as_int()) else {
            continue;
        };
        let kind = doubts.kind(operation);
        if kind != Kind::Fail {
            let key = keys.entry(key).or_default();
            key.values.insert(value, key.writes.len());
            key.writes.push(Write {
                operation: *operation,
                kind,
                value,
                receipt: operation.complete.and_then(|event| extra(event, "receipt").as_text()),
                shown: None,
                context: told(operation, "context") == Some(&Value::Bool(true)),
                rivals: BTreeSet::new(),
            });
        }
    }
    for operation in &operations {
        let Some(event) = operation.complete else { continue };
        let key = at(&operation.invoke.value, 0).as_int().unwrap_or_default();
        let Some(known) = keys.get_mut(&key) else { continue };
        if let ("read" | "write", Some(node)) = (operation.invoke.f.as_str(), event.node) {
            let shown = known.shown_by(event);
            let began = operation.invoke.time;
            glances.entry(key).or_default().push(Glance { began, time: event.time, node, shown });
        }
    }
    for event in history.events.iter().filter(|e| e.f == "shown" && e.kind == Kind::Ok) {
        let (key, value) = (at(&event.value, 1).as_int(), at(&event.value, 3).as_int());
        if let (Some(key), Some(value)) = (key.and_then(|key| keys.get_mut(&key)), value) {
            key.name(value, text(&event.value, 2));
        }
    }
    for (key, known) in &mut keys {
        known.find_parents();
        known.find_rivals(glances.get(key).map(Vec::as_slice).unwrap_or_default());
        known.ask_vectors();
    }
    if doubts.is_empty() && !starts_again(history) {
        for _ in 0..ROUNDS {
            let lacks = Lacks::of(&keys, &glances);
            keys.values_mut().for_each(|key| lacks.sharpen(key));
        }
    }
    keys
}

/// What is certain once makes more certain.
const ROUNDS: usize = 3;
/// Faults after which all writers are who they were.
const KEEPING: &[&str] = &["partition", "packet", "pause", "clock", "heal", "link-delay"];

/// Whether nodes may have been started again.
fn starts_again(history: &History) -> bool {
    windows(history).iter().any(|window| {
        window.outcome != Outcome::Skipped && !KEEPING.contains(&window.name.as_str())
    })
}

/// A node has shown a write.
struct Glance {
    /// The request was sent no earlier, ...
    began: u64,
    /// ... and answered by then.
    time: u64,
    node: u32,
    shown: Option<usize>,
}

/// What nodes certainly lacked: by reader and writer, when, and from which time on the writer's writes.
#[derive(Default)]
struct Lacks(BTreeMap<(u32, u32), BTreeMap<u64, u64>>);

impl Lacks {
    fn of(keys: &BTreeMap<i64, Key<'_>>, glances: &BTreeMap<i64, Vec<Glance>>) -> Self {
        let mut all: BTreeMap<(u32, u32), Vec<(u64, u64)>> = BTreeMap::new();
        for (key, known) in keys {
            // By the write that was replaced: who replaced it, and when that was answered.
            let mut replaced: BTreeMap<usize, Vec<(u32, u64)>> = BTreeMap::new();
            for write in known.writes.iter().filter(|write| write.is_certain()) {
                if let (Some(shown), Some(node)) = (write.shown, node_of(write)) {
                    replaced.entry(shown).or_default().push((node, ended(&write.operation)));
                }
            }
            for glance in glances.get(key).into_iter().flatten() {
                let replaced = glance.shown.and_then(|shown| replaced.get(&shown));
                for (writer, answered) in replaced.into_iter().flatten() {
                    let pair = (glance.node, *writer);
                    all.entry(pair).or_default().push((glance.began, *answered));
                }
            }
        }
        // What was lacking at one time was lacking before.
        let least = |mut seen: Vec<(u64, u64)>| {
            seen.sort_unstable_by(|a, b| b.cmp(a));
            let mut least = u64::MAX;
            let down = seen.into_iter().map(|(at, since)| {
                least = least.min(since);
                (at, least)
            });
            down.collect::<BTreeMap<u64, u64>>()
        };
        Self(all.into_iter().map(|(pair, seen)| (pair, least(seen))).collect())
    }

    /// Leaves out rivals that had not come by the time of the answer.
    fn sharpen(&self, key: &mut Key<'_>) {
        let sent: Vec<(Option<u32>, u64, Kind)> =
            key.writes.iter().map(|write| (node_of(write), write.sent(), write.kind)).collect();
        for write in key.writes.iter_mut().filter(|write| write.kind == Kind::Ok) {
            let (node, answered) = (node_of(write), ended(&write.operation));
            write.rivals.retain(|rival| {
                let Some((Some(writer), sent, _)) = sent.get(*rival) else { return true };
                let lacks = node.and_then(|node| self.0.get(&(node, *writer)));
                let lacks = lacks.and_then(|lacks| lacks.range(answered..).next());
                lacks.is_none_or(|(_, since)| sent < since)
            });
        }
    }
}

fn told<'a>(operation: &Operation<'a>, name: &str) -> Option<&'a Value> {
    operation.complete.map(|event| extra(event, name))
}

/// What happens, in order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    /// A writer is about to be shown what its node has.
    Looks(usize),
    /// A write is sent, and may be applied anywhere from now on.
    Begins(usize),
    /// A writer has its answer.
    Ends(usize),
    /// A node has shown something.
    Showed(usize),
}

impl<'a> Key<'a> {
    /// The write that an answer had shown; its receipt is known from now on.
    fn shown_by(&mut self, event: &'a Event) -> Option<usize> {
        self.name(extra(event, "shown-value").as_int()?, extra(event, "shown").as_text())
    }

    /// Names the write of a value, which got no answer perhaps.
    fn name(&mut self, value: i64, receipt: Option<&'a str>) -> Option<usize> {
        let place = self.values.get(&value).copied()?;
        self.writes.get_mut(place)?.receipt.get_or_insert(receipt?);
        Some(place)
    }

    fn find_parents(&mut self) {
        let parents: Vec<Option<usize>> = self
            .writes
            .iter()
            .map(|write| {
                let value = told(&write.operation, "shown-value")?.as_int()?;
                self.values.get(&value).copied()
            })
            .collect();
        for (write, parent) in self.writes.iter_mut().zip(parents) {
            write.shown = parent;
        }
    }

    fn find_rivals(&mut self, glances: &[Glance]) {
        let mut steps: Vec<(u64, Step)> = Vec::new();
        for (place, write) in self.writes.iter().enumerate() {
            let after = |name| {
                let told = write.operation.complete.and_then(|event| extra_number(event, name));
                let nanos = told.unwrap_or(0).saturating_mul(1000);
                write.operation.invoke.time.saturating_add(nanos)
            };
            steps.push((after("sent-us"), Step::Begins(place)));
            steps.push((after("waited-us"), Step::Looks(place)));
            // Nobody knows when one without an answer is applied, if it is.
            let is_over = write.kind == Kind::Ok;
            let ends = if is_over { ended(&write.operation) } else { u64::MAX };
            steps.push((ends, Step::Ends(place)));
        }
        let showed = glances.iter().enumerate();
        steps.extend(showed.map(|(place, glance)| (glance.time, Step::Showed(place))));
        steps.sort_unstable();
        let mut unseen = Unseen::default();
        for (_, step) in steps {
            match step {
                Step::Begins(place) => {
                    unseen.begin(place);
                    for other in &unseen.open {
                        self.add_rival(*other, place);
                    }
                }
                Step::Looks(place) => {
                    let Some(write) = self.writes.get(place) else { continue };
                    let node = node_of(write);
                    if let Some(shown) = write.shown {
                        unseen.know(node, shown, &self.writes);
                    }
                    for rival in unseen.at(node).clone() {
                        self.add_rival(place, rival);
                    }
                    unseen.open.insert(place);
                }
                Step::Ends(place) => {
                    unseen.open.remove(&place);
                    if let Some(write) = self.writes.get(place).filter(|w| w.kind == Kind::Ok) {
                        unseen.know(node_of(write), place, &self.writes);
                    }
                }
                Step::Showed(place) => {
                    if let Some(Glance { node, shown: Some(shown), .. }) = glances.get(place) {
                        unseen.know(Some(*node), *shown, &self.writes);
                    }
                }
            }
        }
    }
}

impl Key<'_> {
    /// Leaves out rivals that the node had heard of when it showed something, and those that it had not
    /// heard of when it had written.
    fn ask_vectors(&mut self) {
        let dots: Vec<Option<Dot>> =
            self.writes.iter().map(|write| write.receipt.and_then(Dot::read)).collect();
        for write in self.writes.iter_mut().filter(|write| write.kind == Kind::Ok) {
            let heard = |name| told(&write.operation, name)?.as_text().and_then(Heard::read);
            let (Some(before), Some(after)) = (heard("heard-before"), heard("heard")) else {
                continue;
            };
            write.rivals.retain(|rival| match dots.get(*rival).copied().flatten() {
                Some(dot) => after.has(dot) && !before.has(dot),
                None => true,
            });
        }
    }

    /// Notes a rival, unless it is of the same node, whose writers take turns.
    fn add_rival(&mut self, place: usize, rival: usize) {
        let takes_turns = |rival: &Write<'_>, write: &Write<'_>| {
            rival.kind == Kind::Ok && node_of(rival) == node_of(write)
        };
        let is_rival = match (self.writes.get(rival), self.writes.get(place)) {
            (Some(other), Some(write)) => rival != place && !takes_turns(other, write),
            _ => false,
        };
        if let (true, Some(write)) = (is_rival, self.writes.get_mut(place)) {
            write.rivals.insert(rival);
        }
    }
}

fn node_of(write: &Write<'_>) -> Option<u32> {
    write.operation.complete.and_then(|event| event.node)
}

/// What each node is not known to have.
#[derive(Default)]
struct Unseen {
    begun: BTreeSet<usize>,
    nodes: BTreeMap<u32, BTreeSet<usize>>,
    /// Writers between their look and their answer.
    open: BTreeSet<usize>,
}

impl Unseen {
    fn begin(&mut self, place: usize) {
        self.begun.insert(place);
        for unseen in self.nodes.values_mut() {
            unseen.insert(place);
        }
    }

    fn at(&mut self, node: Option<u32>) -> &BTreeSet<usize> {
        match node {
            Some(node) => self.nodes.entry(node).or_insert_with(|| self.begun.clone()),
            None => &self.begun,
        }
    }

    /// A node has this write, and hence all that it stands on.
    fn know(&mut self, node: Option<u32>, place: usize, writes: &[Write<'_>]) {
        let Some(node) = node else { return };
        let unseen = self.nodes.entry(node).or_insert_with(|| self.begun.clone());
        let mut next = Some(place);
        while let Some(place) = next {
            // What is known already has been followed before.
            if !unseen.remove(&place) {
                return;
            }
            next = writes.get(place).and_then(|write| write.shown);
        }
    }
}

#[cfg(test)]
mod tests;
