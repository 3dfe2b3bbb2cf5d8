//! Latencies of nodes that were cut off from a majority, beside those of the same nodes before.
//!
//! Why it exists: that a minority goes on serving is judged by its answers; that it does so as fast as ever
//! can only be told by figures, side by side, for reads and for writes.
//!
//! Promises: a node is cut off while it can reach, both ways, fewer nodes than a majority; an operation counts
//! there if it began and ended meanwhile. *Before* are operations at the same node while no link was broken,
//! before its last cut. Nothing here is judged.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value as Json, json};

use super::availability::latencies;
use crate::history::{Operation, Value};
use crate::report::Window;
use crate::workload::finding::ended;

/// Latencies in nanoseconds.
#[derive(Debug, Default)]
struct Sides {
    before: Vec<u64>,
    cut: Vec<u64>,
}

/// The latencies of nodes on the smaller side.
#[derive(Debug, Default)]
pub(super) struct CutOff {
    /// When each node was cut off.
    times: BTreeMap<u32, Vec<(u64, u64)>>,
    reads: Sides,
    writes: Sides,
}

impl CutOff {
    /// Which nodes these faults cut off, and when.
    pub(super) fn of(windows: &[Window]) -> Self {
        let mut times: BTreeMap<u32, Vec<(u64, u64)>> = BTreeMap::new();
        for window in windows.iter().filter(|window| window.name == "partition") {
            for node in alone(&window.value) {
                times.entry(node).or_default().push((window.begin, window.end));
            }
        }
        Self { times, ..Self::default() }
    }

    /// Takes an answered operation into account; whether any link was broken meanwhile is known.
    pub(super) fn add(&mut self, operation: &Operation<'_>, took: u64, is_cut: bool) {
        let node = operation.complete.and_then(|event| event.node);
        let Some(times) = node.and_then(|node| self.times.get(&node)) else { return };
        let (begin, end) = (operation.invoke.time, ended(operation));
        let sides = if operation.invoke.f == "read" { &mut self.reads } else { &mut self.writes };
        if times.iter().any(|(from, to)| *from <= begin && end <= *to) {
            sides.cut.push(took);
        } else if !is_cut && times.iter().any(|(from, _)| end < *from) {
            sides.before.push(took);
        }
    }

    /// All figures.
    pub(super) fn figures(&mut self) -> Json {
        let told = |sides: &mut Sides| json!({ "before": latencies(&mut sides.before), "cut_off": latencies(&mut sides.cut) });
        json!({
            "nodes": self.times.keys().collect::<Vec<_>>(), "reads": told(&mut self.reads),
            "writes": told(&mut self.writes),
        })
    }

    /// Both sides in words, or nothing when nobody was cut off.
    pub(super) fn words(&self) -> String {
        let side = |name: &str, sides: &Sides| {
            let [before, cut] = [&sides.before, &sides.cut].map(|times| {
                let at = |permille: usize| {
                    let place = (times.len() * permille / 1000).min(times.len().saturating_sub(1));
                    let micros = times.get(place).map_or(0, |nanos| nanos / 1000);
                    format!("{}.{} ms", micros / 1000, micros % 1000 / 100)
                };
                format!("{} (p99 {})", at(500), at(990))
            });
            format!("{name} in {cut}, before in {before}")
        };
        if self.reads.cut.is_empty() && self.writes.cut.is_empty() {
            return String::new();
        }
        format!(
            "; who was cut off from a majority answered {}; {}",
            side("reads", &self.reads),
            side("writes", &self.writes)
        )
    }
}

/// The nodes that reach no majority, themselves included, by what is cut: `{from [to …]}`.
fn alone(value: &Value) -> Vec<u32> {
    let Value::Map(pairs) = value else { return Vec::new() };
    let cut = pairs.iter().find(|(name, _)| name.as_text() == Some("cut")).map(|(_, cut)| cut);
    let Some(Value::Map(cut)) = cut else { return Vec::new() };
    let node = |value: &Value| match value {
        Value::Text(text) => text.parse().ok(),
        value => u32::try_from(value.as_int()?).ok(),
    };
    let mut deaf: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
    for (from, to) in cut {
        for to in to.as_list().unwrap_or_default() {
            let (Some(from), Some(to)) = (node(from), node(to)) else { continue };
            deaf.entry(from).or_default().insert(to);
            deaf.entry(to).or_default().insert(from);
        }
    }
    // Whoever is cut from nobody is in no pair: the largest number is a lower bound of how many there are.
    let nodes = usize::try_from(deaf.keys().last().copied().unwrap_or(0)).unwrap_or(0);
    let small = |deaf: &BTreeSet<u32>| nodes.saturating_sub(deaf.len()) <= nodes / 2;
    deaf.iter().filter(|(_, deaf)| small(deaf)).map(|(node, _)| *node).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Kind, Process};
    use crate::report::windows;
    use crate::workload::tests_history::Script;

    fn cut(pairs: &[(&str, &[i64])]) -> Value {
        let pairs = pairs.iter().map(|(from, to)| (Value::from(*from), Value::from(to.to_vec())));
        Value::Map(vec![(Value::Keyword("cut".into()), Value::Map(pairs.collect()))])
    }

    #[test]
    fn who_reaches_no_majority_is_cut_off() {
        assert_eq!(alone(&cut(&[("1", &[2, 3]), ("2", &[1]), ("3", &[1])])), [1]);
        assert_eq!(alone(&cut(&[("1", &[2, 3]), ("2", &[1, 3]), ("3", &[1, 2])])), [1, 2, 3]);
        // One way is none: what it sends does not arrive.
        assert_eq!(alone(&cut(&[("3", &[1, 2])])), [3]);
        assert_eq!(alone(&Value::Nil), [0_u32; 0]);
    }

    #[test]
    fn each_side_has_the_operations_of_its_time() {
        let mut script = Script::default();
        script.operation("read", 1, Kind::Ok, 1);
        let value = cut(&[("1", &[2, 3]), ("2", &[1]), ("3", &[1])]);
        for f in ["start-partition", "stop-partition"] {
            let event = script.event(0, Kind::Info, f, value.clone());
            event.process = Process::Nemesis;
            script.operation("read", 1, Kind::Ok, 1);
        }
        let history = script.history();
        let mut sides = CutOff::of(&windows(&history));
        let operations = history.operations();
        for (operation, is_cut) in operations.iter().zip([false, true, false]) {
            sides.add(operation, 1_000_000, is_cut);
        }
        assert_eq!((sides.reads.before.len(), sides.reads.cut.len()), (1, 1));
        sides.figures();
        assert!(sides.words().contains("reads in 1.0 ms (p99 1.0 ms), before in 1.0 ms"));
    }
}
