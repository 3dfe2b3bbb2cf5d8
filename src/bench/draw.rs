//! Chance: which key, which operation, when.
//!
//! Promises: the same seed draws the same. Keys follow Zipf's law exactly, by a table of its sums (the
//! approximation that YCSB uses is off by some percent for small sets, and the model of what is lost
//! uses the table too).

use std::sync::Arc;
use std::time::Duration;

use crate::runtime::Rng;

/// The skew of YCSB.
pub const ZIPF: f64 = 0.99;

/// Key numbers from 0, of which the first is drawn most often.
#[derive(Clone, Debug)]
pub struct Zipf {
    /// Share of all draws that fall on this key or one before it.
    sums: Arc<[f64]>,
}

impl Zipf {
    /// Of so many keys (at least one), with this skew; 0 draws all alike.
    #[allow(clippy::cast_precision_loss, reason = "there are far fewer keys than a float counts")]
    pub fn new(keys: u64, skew: f64) -> Self {
        let mut sum = 0.0;
        let weight = |rank: u64| (rank as f64).powf(-skew);
        let sums: Vec<f64> = (1..=keys.max(1))
            .map(|rank| {
                sum += weight(rank);
                sum
            })
            .collect();
        Self { sums: sums.into_iter().map(|one| one / sum).collect() }
    }

    /// Draws a key.
    pub fn draw(&self, rng: &Rng) -> u64 {
        let at = unit(rng);
        let rank = self.sums.partition_point(|sum| *sum <= at);
        let last = self.sums.len().saturating_sub(1);
        u64::try_from(rank.min(last)).unwrap_or(u64::MAX)
    }

    /// How many keys there are.
    pub fn keys(&self) -> u64 {
        u64::try_from(self.sums.len()).unwrap_or(u64::MAX)
    }
}

/// A number from 0, below 1.
#[allow(clippy::cast_precision_loss, reason = "53 bits are what a float holds exactly")]
pub fn unit(rng: &Rng) -> f64 {
    (rng.next() >> 11) as f64 / (1u64 << 53) as f64
}

/// How long until the next of so many a second that arrive independently of each other.
pub fn gap(rng: &Rng, rate: f64) -> Duration {
    let wait = -(1.0 - unit(rng)).ln() / rate;
    Duration::try_from_secs_f64(wait).unwrap_or(Duration::MAX)
}

/// The moments, from zero on, of arrivals at this rate within this time.
pub fn arrivals(rng: &Rng, rate: f64, within: Duration) -> Vec<Duration> {
    let mut at = Duration::ZERO;
    let mut all = Vec::new();
    if rate <= 0.0 {
        return all;
    }
    loop {
        at = at.saturating_add(gap(rng, rate));
        if at >= within {
            return all;
        }
        all.push(at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_drawn_by_zipf_and_the_same_for_the_same_seed() {
        let zipf = Zipf::new(1_000, ZIPF);
        let draw = |seed| {
            let rng = Rng::seeded(seed);
            (0..100_000).map(|_| zipf.draw(&rng)).collect::<Vec<_>>()
        };
        let drawn = draw(7);
        assert_eq!(drawn, draw(7));
        assert_ne!(drawn, draw(8));
        let share = |key| drawn.iter().filter(|drawn| **drawn == key).count();
        // The sum of 1/i^0.99 for i to 1,000 is 7.73: 12.9 % fall on the first key.
        assert!((12_400..13_500).contains(&share(0)), "{}", share(0));
        assert!(share(0) > share(1) && share(1) > share(20));
        assert!(drawn.iter().all(|key| *key < 1_000));
    }

    #[test]
    fn without_skew_all_are_alike() {
        let (zipf, rng) = (Zipf::new(4, 0.0), Rng::seeded(1));
        let mut counts = [0u32; 4];
        for _ in 0..40_000 {
            counts[usize::try_from(zipf.draw(&rng)).unwrap()] += 1;
        }
        assert!(counts.iter().all(|count| (9_500..10_500).contains(count)), "{counts:?}");
        assert_eq!(Zipf::new(0, ZIPF).keys(), 1);
    }

    #[test]
    fn arrivals_come_at_the_rate_and_in_order() {
        let all = arrivals(&Rng::seeded(3), 1_000.0, Duration::from_secs(20));
        assert!((19_400..20_600).contains(&all.len()), "{}", all.len());
        assert!(all.is_sorted());
        assert!(arrivals(&Rng::seeded(3), 0.0, Duration::from_secs(1)).is_empty());
    }
}
