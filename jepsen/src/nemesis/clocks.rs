//! Wall clocks that jump, flicker and drift.
//!
//! Promises: installed means that a node has read a wrong time.

use std::time::Duration;

use async_trait::async_trait;
use fastrand::Rng;
use futures_util::future::join_all;
use tokio::time::{sleep, timeout};

use super::{Effect, Fault, aim, map, nodes, word};
use crate::cluster::{ClockFault, Cluster, Miss};
use crate::history::Value;

/// What a clock does that chance chooses from.
const USUAL: usize = 3;
/// All that it can do: those that are off by exactly so much, ahead or behind, by name only.
pub(super) const VARIANTS: &[&str] = &["jump", "strobe", "drift", "5s", "1h"];

/// A node under load reads the time far more often than this.
const BITES_WITHIN: Duration = Duration::from_secs(5);
/// How often counts are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Jumps are at most two to the power of this in milliseconds: about nine minutes.
const JUMP_BITS: u32 = 19;

/// Wrong clocks.
#[derive(Debug)]
pub(super) struct Clock {
    fixed: Option<&'static str>,
    wrong: Vec<u32>,
    value: Value,
}

impl Clock {
    pub(super) fn new(fixed: Option<&'static str>) -> Self {
        Self { fixed, wrong: Vec::new(), value: Value::Nil }
    }
}

#[async_trait]
impl Fault for Clock {
    fn name(&self) -> &'static str {
        "clock"
    }

    async fn begin(&mut self, cluster: &Cluster, rng: &mut Rng) -> Effect {
        let kind = aim::variant(self.fixed, VARIANTS.get(..USUAL).unwrap_or(VARIANTS), rng);
        let mut targets = aim::shuffled(cluster, rng);
        targets.truncate(rng.usize(1..=targets.len().max(1)));
        let mut before = 0;
        let mut results = Vec::new();
        for node in &targets {
            before += cluster.shim_counts(*node).await.clocks_moved;
            results.push((*node, cluster.set_clock(*node, fault(kind, rng)).await));
        }
        self.wrong = results.iter().filter(|(_, r)| r.is_ok()).map(|(node, _)| *node).collect();
        self.value = map([("kind", word(kind)), ("nodes", nodes(&self.wrong))]);
        if self.wrong.is_empty() {
            return Effect::of_nodes(results);
        }
        let seen = async {
            loop {
                let asked = targets.iter().map(|node| cluster.shim_counts(*node));
                let moved =
                    join_all(asked).await.iter().map(|counts| counts.clocks_moved).sum::<i64>();
                if moved > before {
                    return;
                }
                sleep(LOOK_EVERY).await;
            }
        };
        if timeout(BITES_WITHIN, seen).await.is_ok() {
            return Effect::installed(self.value.clone());
        }
        let value = self.value.clone();
        drop(self.end(cluster).await);
        Effect::failed(value, "no node has looked at the time")
    }

    async fn end(&mut self, cluster: &Cluster) -> Effect {
        let wrong = std::mem::take(&mut self.wrong);
        let right = ClockFault::default();
        let righting =
            wrong.iter().map(async |node| (*node, cluster.set_clock(*node, right).await));
        let results: Vec<(u32, Result<(), Miss>)> = join_all(righting).await;
        match results.iter().find_map(|(_, result)| result.as_ref().err()) {
            Some(miss) => Effect::failed(self.value.clone(), miss.to_string()),
            None => Effect::installed(self.value.clone()),
        }
    }
}

/// Each node's own; all numbers are drawn for every kind. Jumps are as often small as large.
fn fault(kind: &str, rng: &mut Rng) -> ClockFault {
    let size = (1i64 << rng.u32(2..JUMP_BITS)) + rng.i64(0..1000);
    let jump = if rng.bool() { size } else { -size };
    let rate = rng.i64(-900_000..4_000_000);
    let period = Duration::from_millis(rng.u64(1..1000));
    let right = ClockFault::default();
    let exactly = |size: i64| ClockFault { offset_ms: size * jump.signum(), ..right };
    match kind {
        "5s" => exactly(5_000),
        "1h" => exactly(3_600_000),
        "jump" => ClockFault { offset_ms: jump, ..right },
        "strobe" => ClockFault { strobe_ms: jump, strobe_period: period, ..right },
        _ => ClockFault { rate_ppm: rate, ..right },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_are_off_by_exactly_what_a_plan_names_ahead_and_behind() {
        let mut rng = Rng::with_seed(1);
        for (kind, size) in [("5s", 5_000), ("1h", 3_600_000)] {
            let offsets: std::collections::BTreeSet<i64> =
                (0..50).map(|_| fault(kind, &mut rng).offset_ms).collect();
            assert_eq!(offsets.into_iter().collect::<Vec<_>>(), [-size, size]);
        }
    }
}
