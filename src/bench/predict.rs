//! What a model says is lost of the writes to last-writer-wins registers.
//!
//! Why it exists: a measured loss that agrees with a model that was written without looking at the
//! store is evidence that both count right; where they differ there is something to explain.
//!
//! The model: `sites` replicas, at each of which writes arrive independently of each other at `rate`;
//! its parent is the newest write that its replica showed when the writer looked. A write shows at the
//! other replicas one of the measured `lags` after its writer looked, and at its own `own` later. A
//! write is lost **directly** when nobody who wrote later had known it and it is not the last one; it is
//! lost **effectively** when it is not among the ancestors of the last one, as an addition by reading
//! and writing back would be. Clocks are perfect, nothing fails.
//!
//! Why the lags are measured and not half the round trip: that is what light would need. A write is on
//! its way while it is synced, batched, sent, and taken in, and at a short distance that is most of it.
//! How long it takes is an input; what is lost by it is what the model and the measurement must agree on.
//!
//! Promises: the same seed gives the same. The spread is that of the model's own runs, each as long as
//! the measurement, so it is what chance does to one of them. Relies on: [`super::draw`].

use std::collections::BTreeMap;
use std::time::Duration;

use super::draw::{Zipf, arrivals};
use crate::runtime::Rng;

/// How often the model is run: its mean is then known four times as well as one measurement.
const RUNS: u64 = 16;

/// What is modelled.
#[derive(Clone, Debug)]
pub struct Traffic {
    /// How many replicas.
    pub sites: u64,
    /// Writes a second at each of them.
    pub rate: f64,
    /// Which keys they are for.
    pub keys: Zipf,
    /// From when a writer looks until its write shows at its own replica.
    pub own: Duration,
    /// Samples of the time from when a writer looks until its write shows at another replica.
    pub lags: Vec<Duration>,
    /// For how long.
    pub lasts: Duration,
}

impl Traffic {
    /// How long a write is on its way, on average.
    pub fn mean_lag(&self) -> Duration {
        let count = u32::try_from(self.lags.len()).unwrap_or(u32::MAX).max(1);
        self.lags.iter().sum::<Duration>() / count
    }
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
    /// Standard deviation of the first, from run to run.
    pub direct_spread: f64,
    /// Standard deviation of the second.
    pub effective_spread: f64,
}

/// Runs the model.
#[allow(clippy::cast_precision_loss, reason = "there is a handful of runs")]
pub fn predict(traffic: &Traffic, seed: u64) -> Predicted {
    let rng = Rng::seeded(seed);
    let runs: Vec<_> = (0..RUNS).map(|_| once(traffic, &rng)).collect();
    let middle = |of: fn(&(u64, f64, f64)) -> f64| {
        let mean = runs.iter().map(of).sum::<f64>() / RUNS as f64;
        let squares = runs.iter().map(|run| (of(run) - mean).powi(2)).sum::<f64>();
        (mean, (squares / (RUNS - 1) as f64).sqrt())
    };
    let ((direct, direct_spread), (effective, effective_spread)) =
        (middle(|run| run.1), middle(|run| run.2));
    let writes = runs.iter().map(|run| run.0).sum();
    Predicted { writes, direct, effective, direct_spread, effective_spread }
}

/// A write of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Event {
    at: Duration,
    site: u64,
    /// When it shows elsewhere.
    shows: Duration,
}

#[allow(clippy::cast_precision_loss, reason = "counts of writes are far below what a float holds")]
fn once(traffic: &Traffic, rng: &Rng) -> (u64, f64, f64) {
    let mut by_key: BTreeMap<u64, Vec<Event>> = BTreeMap::new();
    let many = u64::try_from(traffic.lags.len()).unwrap_or(u64::MAX);
    for site in 0..traffic.sites {
        for at in arrivals(rng, traffic.rate, traffic.lasts) {
            let lag = usize::try_from(rng.below(many.max(1))).unwrap_or(0);
            let shows = at + traffic.lags.get(lag).copied().unwrap_or_default();
            let key = traffic.keys.draw(rng);
            by_key.entry(key).or_default().push(Event { at, site, shows });
        }
    }
    let (mut writes, mut direct, mut effective) = (0u64, 0u64, 0u64);
    for mut events in by_key.into_values() {
        events.sort_unstable();
        let lost = lost_of_key(&events, traffic.own);
        writes += u64::try_from(events.len()).unwrap_or(u64::MAX);
        direct += lost.0;
        effective += lost.1;
    }
    let share = |count: u64| count as f64 / writes.max(1) as f64;
    (writes, share(direct), share(effective))
}

/// Of the writes to one key, in their order: how many are lost directly, and effectively.
fn lost_of_key(events: &[Event], own: Duration) -> (u64, u64) {
    let mut parents: Vec<Option<usize>> = Vec::with_capacity(events.len());
    let mut has_child = vec![false; events.len()];
    for (number, event) in events.iter().enumerate() {
        // The newest that had the time to get here. Only what is under way is looked at in vain.
        let before = events.get(..number).unwrap_or_default();
        let parent = before.iter().rposition(|other| {
            let own = other.site == event.site && other.at + own <= event.at;
            own || other.shows <= event.at
        });
        if let Some(child) = parent.and_then(|parent| has_child.get_mut(parent)) {
            *child = true;
        }
        parents.push(parent);
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

    fn traffic(rate: f64, keys: u64, lag_ms: u64) -> Traffic {
        Traffic {
            sites: 3,
            rate,
            keys: Zipf::new(keys, ZIPF),
            own: Duration::ZERO,
            lags: vec![Duration::from_millis(lag_ms)],
            lasts: Duration::from_secs(30),
        }
    }

    fn of(rate: f64, keys: u64, rtt_ms: u64) -> Predicted {
        predict(&traffic(rate, keys, rtt_ms / 2), 7)
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
    fn what_takes_longer_on_its_way_or_at_home_loses_more() {
        let short = predict(&traffic(50.0, 100, 5), 3);
        let late = Traffic {
            lags: vec![Duration::ZERO, Duration::from_millis(40)],
            ..traffic(50.0, 100, 5)
        };
        assert_eq!(late.mean_lag(), Duration::from_millis(20));
        let slow = Traffic { own: Duration::from_millis(5), ..traffic(50.0, 100, 5) };
        for worse in [predict(&late, 3), predict(&slow, 3)] {
            assert!(worse.direct > short.direct + 2.0 * short.direct_spread, "{worse:?} {short:?}");
        }
        assert!(short.direct_spread > 0.0 && short.direct_spread < short.direct);
    }

    #[test]
    fn two_writes_that_did_not_know_of_each_other_lose_one() {
        let ms = Duration::from_millis;
        // One parent, two children at different sites within the delay, and one that saw the last.
        let events = |lag: u64| {
            let event = |(at, site)| Event { at: ms(at), site, shows: ms(at + lag) };
            [(0, 0), (100, 1), (110, 2), (200, 1)].map(event)
        };
        assert_eq!(lost_of_key(&events(20), Duration::ZERO), (1, 1));
        assert_eq!(lost_of_key(&events(5), Duration::ZERO), (0, 0));
        // Two of one site, the second of which looked before the first was there.
        let one = [(0, 0), (3, 0), (50, 0)];
        let one = one.map(|(at, site)| Event { at: ms(at), site, shows: ms(at + 20) });
        assert_eq!(lost_of_key(&one, ms(4)), (1, 1));
        assert_eq!(lost_of_key(&[], ms(5)), (0, 0));
    }
}
