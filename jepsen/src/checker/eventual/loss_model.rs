//! How many writes are lost where the last one wins, by a model: without a store, only with a delay.
//!
//! Why it exists: an account of losses can agree with itself and still be of a store that loses too much.
//! What must be lost follows from who wrote when and from how long news takes.
//!
//! The model: each node applies its own writes at once and all others `delay` later; clocks are right, and
//! what is shown is the newest write that is known. A write stands on what its node showed: its **parent**
//! is the newer of its node's own last write and the newest of all that is at least `delay` old. The last write
//! wins. **Direct** loss are writes that nobody stands on, but for the winner; **effective** loss are those that the
//! winner does not stand on: all but its parent, the parent's parent, and so on. With writes of a rate `r` for each of `n`
//! nodes, others come in during a delay with the chance `1 - exp(-(n - 1) r delay)`, which is about the share
//! of writes that are concurrent with another.
//!
//! A store takes longer than its links: a write leaves when it is flushed, and is shown when it is flushed there.
//! So the model is asked twice: with the delay of the links, and with two writes' time more.
//!
//! Promises: a function of its arguments. [`predicted`] takes the writes as they were made; [`drawn`] takes only the
//! rates of the keys, and has writes come by chance.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::fates::percent;
use super::record::Key;
use crate::history::{History, Value};
use crate::workload::finding::extra;

/// How often writes are drawn for each key.
const ROUNDS: u64 = 20;

/// What a number of writes came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Predicted {
    pub(super) writes: u64,
    pub(super) direct: u64,
    pub(super) effective: u64,
}

/// What becomes of writes of a key, each with its time and node, when news takes so long.
pub(super) fn predicted(mut writes: Vec<(u64, u32)>, delay: u64) -> Predicted {
    writes.sort_unstable();
    let times: Vec<u64> = writes.iter().map(|(time, _)| *time).collect();
    let mut last: BTreeMap<u32, usize> = BTreeMap::new();
    let mut parents: Vec<Option<usize>> = Vec::new();
    let mut has_child = vec![false; writes.len()];
    for (place, (time, node)) in writes.iter().enumerate() {
        let heard = time.checked_sub(delay).map_or(0, |then| times.partition_point(|t| *t <= then));
        let newest = heard.min(place).checked_sub(1);
        let parent = newest.max(last.insert(*node, place));
        if let Some(is_parent) = parent.and_then(|parent| has_child.get_mut(parent)) {
            *is_parent = true;
        }
        parents.push(parent);
    }
    let mut next = writes.len().checked_sub(1);
    let mut chain = 0;
    while let Some(place) = next {
        chain += 1;
        next = parents.get(place).copied().flatten();
    }
    let leaves = has_child.iter().filter(|is_parent| !**is_parent).count();
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    Predicted {
        writes: count(writes.len()),
        direct: count(leaves.saturating_sub(1)),
        effective: count(writes.len().saturating_sub(chain)),
    }
}

/// The same of writes that come by chance, each node's at a rate of its own (by node: writes in all), for
/// `length`, on the average of so many rounds.
pub(super) fn drawn(
    rates: &BTreeMap<u32, u64>,
    (length, delay): (u64, u64),
    rounds: u64,
    rng: &mut fastrand::Rng,
) -> Predicted {
    let mut sum = Predicted::default();
    for _ in 0..rounds {
        let mut writes = Vec::new();
        for (node, count) in rates {
            // So many at independent times is what a Poisson process is when their number is known.
            writes.extend((0..*count).map(|_| (rng.u64(..length.max(1)), *node)));
        }
        sum.add(predicted(writes, delay));
    }
    let rounds = rounds.max(1);
    let mean = |sum: u64| (sum + rounds / 2) / rounds;
    Predicted { writes: mean(sum.writes), direct: mean(sum.direct), effective: mean(sum.effective) }
}

impl Predicted {
    /// Adds another key's.
    pub(super) fn add(&mut self, other: Self) {
        self.writes += other.writes;
        self.direct += other.direct;
        self.effective += other.effective;
    }
}

/// What had to be lost in a history whose links had a constant delay: by the writes as they were made
/// (`by_writes`; with two writes' time more `by_writes_flushed`), and by how many there were of each key and
/// node (`by_rates`). What was written
/// when all was over is left out: it was concurrent with nothing.
pub(super) fn of(history: &History, keys: &BTreeMap<i64, Key<'_>>) -> Json {
    let noted = history.events.iter().find(|event| event.f == "link-delay");
    let Some(millis) = noted.and_then(|event| u64::try_from(event.value.as_int()?).ok()) else {
        return Json::Null;
    };
    let delay = millis.saturating_mul(1_000_000);
    let made = |key: &Key<'_>| -> Vec<(u64, u32)> {
        let operations = key.writes.iter().map(|write| write.operation);
        let own = operations.filter(|write| *extra(write.invoke, "final") == Value::Nil);
        own.filter_map(|write| write.complete.and_then(|e| Some((e.time, e.node?)))).collect()
    };
    let all: Vec<Vec<(u64, u32)>> = keys.values().map(made).collect();
    let length = all.iter().flatten().map(|(time, _)| *time).max().unwrap_or(0);
    let mut rng = fastrand::Rng::with_seed(1);
    let flushes = median(keys).saturating_mul(2);
    let [mut by_writes, mut flushed, mut by_rates] = [Predicted::default(); 3];
    for writes in all {
        let mut rates: BTreeMap<u32, u64> = BTreeMap::new();
        for (_, node) in &writes {
            *rates.entry(*node).or_default() += 1;
        }
        flushed.add(predicted(writes.clone(), delay + flushes));
        by_writes.add(predicted(writes, delay));
        by_rates.add(drawn(&rates, (length, delay), ROUNDS, &mut rng));
    }
    let told = |found: Predicted| {
        let share = |part| percent(part, found.writes);
        json!({
            "direct": found.direct, "effective": found.effective,
            "direct_percent": share(found.direct), "effective_percent": share(found.effective),
        })
    };
    json!({
        "delay_ms": millis, "flushes_ms": flushes / 1_000_000, "by_writes": told(by_writes),
        "by_writes_flushed": told(flushed), "by_rates": told(by_rates),
    })
}

/// Half of all writes were answered within this.
fn median(keys: &BTreeMap<i64, Key<'_>>) -> u64 {
    let writes = keys.values().flat_map(|key| &key.writes);
    let mut took: Vec<u64> = writes
        .filter_map(|write| Some(write.operation.complete?.time.saturating_sub(write.sent())))
        .collect();
    took.sort_unstable();
    took.get(took.len() / 2).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(writes: &[(u64, u32)], delay: u64) -> (u64, u64) {
        let predicted = predicted(writes.to_vec(), delay);
        (predicted.direct, predicted.effective)
    }

    #[test]
    fn a_fork_loses_its_shorter_memory() {
        assert_eq!(of(&[], 5), (0, 0));
        assert_eq!(of(&[(1, 1), (2, 2), (3, 1)], 0), (0, 0));
        // Node 2 has not heard of the first write when it writes, and wins.
        assert_eq!(of(&[(10, 1), (12, 2)], 5), (1, 1));
        // What node 1 wrote before was heard of; its two later ones are lost, one of them has a child.
        assert_eq!(of(&[(0, 1), (10, 1), (11, 1), (12, 2)], 5), (1, 2));
        // News that is exactly as old as the delay is there.
        assert_eq!(of(&[(10, 1), (15, 2)], 5), (0, 0));
    }

    #[test]
    fn chance_loses_about_as_much_as_the_formula_says() {
        let rates = BTreeMap::from([(1, 100), (2, 100), (3, 100)]);
        let mut rng = fastrand::Rng::with_seed(7);
        // 100 writes of each node in 100 s, and 0.1 s of delay: about 18 % are concurrent with another.
        let found = drawn(&rates, (100_000, 100), 50, &mut rng);
        assert!((20..45).contains(&found.direct), "{found:?}");
        assert!(found.effective >= found.direct);
    }
}
