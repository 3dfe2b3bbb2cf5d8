//! What a model says is lost of the writes to last-writer-wins registers.
//!
//! Why it exists: a measured loss that agrees with a model that was written without looking at the
//! store is evidence that both count right; where they differ there is something to explain.
//!
//! The model: `sites` replicas, at each of which writes arrive independently of each other at `rate`; a
//! write reaches the others half a round trip later; its parent is the newest write that its replica
//! knew. A write is lost **directly** when nobody who wrote later had known it and it is not the last
//! one; it is lost **effectively** when it is not among the ancestors of the last one, as an
//! addition by reading and writing back would be. Clocks are perfect, nothing fails.
//!
//! Promises: the same seed gives the same. Relies on: [`super::draw`].

use std::collections::BTreeMap;
use std::time::Duration;

use super::draw::{Zipf, arrivals};
use crate::runtime::Rng;

/// What is modelled.
#[derive(Clone, Debug)]
pub struct Traffic {
    /// How many replicas.
    pub sites: u64,
    /// Writes a second at each of them.
    pub rate: f64,
    /// Which keys they are for.
    pub keys: Zipf,
    /// Time from one replica to another and back.
    pub rtt: Duration,
    /// For how long.
    pub lasts: Duration,
}

/// Shares of all writes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Predicted {
    /// How many writes the model made.
    pub writes: u64,
    /// Lost without anyone having seen them.
    pub direct: f64,
    /// Without effect on what is there at the end.
    pub effective: f64,
}

/// Runs the model.
#[allow(clippy::cast_precision_loss, reason = "counts of writes are far below what a float holds")]
pub fn predict(traffic: &Traffic, seed: u64) -> Predicted {
    let rng = Rng::seeded(seed);
    let mut by_key: BTreeMap<u64, Vec<(Duration, u64)>> = BTreeMap::new();
    for site in 0..traffic.sites {
        for at in arrivals(&rng, traffic.rate, traffic.lasts) {
            by_key.entry(traffic.keys.draw(&rng)).or_default().push((at, site));
        }
    }
    let (mut writes, mut direct, mut effective) = (0u64, 0u64, 0u64);
    for mut events in by_key.into_values() {
        events.sort_unstable();
        let lost = lost_of_key(&events, traffic.rtt / 2);
        writes += u64::try_from(events.len()).unwrap_or(u64::MAX);
        direct += lost.0;
        effective += lost.1;
    }
    let share = |count: u64| count as f64 / writes.max(1) as f64;
    Predicted { writes, direct: share(direct), effective: share(effective) }
}

/// Of the writes to one key, in their order: how many are lost directly, and effectively.
fn lost_of_key(events: &[(Duration, u64)], delay: Duration) -> (u64, u64) {
    let mut parents: Vec<Option<usize>> = Vec::with_capacity(events.len());
    let mut has_child = vec![false; events.len()];
    let mut own: BTreeMap<u64, usize> = BTreeMap::new();
    for (number, (at, site)) in events.iter().enumerate() {
        // Of what others wrote, the newest that has had the time to get here.
        let heard = events.partition_point(|(other, _)| *other + delay <= *at).min(number);
        let parent = heard.checked_sub(1).max(own.get(site).copied());
        if let Some(child) = parent.and_then(|parent| has_child.get_mut(parent)) {
            *child = true;
        }
        parents.push(parent);
        own.insert(*site, number);
    }
    let last = events.len().checked_sub(1);
    let mut alive = 0u64;
    let mut at = last;
    while let Some(number) = at {
        alive += 1;
        at = parents.get(number).copied().flatten();
    }
    let leaves = has_child.iter().filter(|has| !**has).count().saturating_sub(1);
    let all = u64::try_from(events.len()).unwrap_or(u64::MAX);
    (u64::try_from(leaves).unwrap_or(u64::MAX), all.saturating_sub(alive))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::draw::ZIPF;

    fn of(rate: f64, keys: u64, rtt_ms: u64) -> Predicted {
        let traffic = Traffic {
            sites: 3,
            rate,
            keys: Zipf::new(keys, ZIPF),
            rtt: Duration::from_millis(rtt_ms),
            lasts: Duration::from_secs(30),
        };
        predict(&traffic, 7)
    }

    fn near(got: f64, percent: f64, by: f64) -> bool {
        (got * 100.0 - percent).abs() <= by
    }

    #[test]
    fn without_distance_nothing_is_lost() {
        let none = of(100.0, 1_000, 0);
        assert!(none.writes > 8_000);
        assert_eq!((none.direct, none.effective), (0.0, 0.0));
    }

    #[test]
    fn it_agrees_with_the_published_table_of_the_model() {
        // Keys, writes a second and replica, round trip, direct and effective loss in percent.
        for (keys, rate, rtt, direct, effective) in [
            (1_000, 100.0, 10, 2.5, 2.6),
            (1_000, 100.0, 80, 9.4, 12.4),
            (1_000, 100.0, 200, 11.4, 19.9),
            (1_000, 1_000.0, 80, 11.1, 32.1),
            (100_000, 100.0, 80, 4.7, 5.5),
        ] {
            let got = of(rate, keys, rtt);
            assert!(
                near(got.direct, direct, 0.6) && near(got.effective, effective, 1.2),
                "{keys} keys, {rate}/s, {rtt} ms: {got:?}"
            );
        }
    }

    #[test]
    fn a_hot_counter_loses_up_to_all_but_one_site() {
        assert!(near(of(10.0, 1, 80).effective, 39.8, 4.0));
        assert!(near(of(100.0, 1, 200).effective, 66.7, 1.5));
    }

    #[test]
    fn two_writes_that_did_not_know_of_each_other_lose_one() {
        let ms = Duration::from_millis;
        // One parent, two children at different sites within the delay, and one that saw the last.
        let events = [(ms(0), 0), (ms(100), 1), (ms(110), 2), (ms(200), 1)];
        assert_eq!(lost_of_key(&events, ms(20)), (1, 1));
        assert_eq!(lost_of_key(&events, ms(5)), (0, 0));
        assert_eq!(lost_of_key(&[], ms(5)), (0, 0));
    }
}
