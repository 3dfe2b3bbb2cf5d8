//! How long operations took, in a handful of numbers.
//!
//! Promises: exact for what it is given (nothing is put in buckets), so that two reports of one
//! history agree to the last digit.

use serde::{Deserialize, Serialize};

/// Latencies in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Quantiles {
    /// Half took no longer.
    pub p50_ms: f64,
    /// 95 of 100 took no longer.
    pub p95_ms: f64,
    /// 99 of 100 took no longer.
    pub p99_ms: f64,
    /// 999 of 1,000 took no longer.
    pub p999_ms: f64,
    /// The longest.
    pub max_ms: f64,
}

impl Quantiles {
    /// Of these nanoseconds; `None` of nothing.
    pub fn of(mut nanos: Vec<u64>) -> Option<Self> {
        nanos.sort_unstable();
        Some(Self {
            p50_ms: at(&nanos, 500)?,
            p95_ms: at(&nanos, 950)?,
            p99_ms: at(&nanos, 990)?,
            p999_ms: at(&nanos, 999)?,
            max_ms: at(&nanos, 1_000)?,
        })
    }
}

/// The smallest value that this many of a thousand do not exceed.
fn at(sorted: &[u64], permille: usize) -> Option<f64> {
    let rank = (sorted.len() * permille).div_ceil(1_000).max(1);
    sorted.get(rank - 1).map(|nanos| *nanos as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_were_seen() {
        let quantiles = Quantiles::of((1..=100).map(|n| n * 1_000_000).collect()).unwrap();
        assert_eq!(quantiles.p50_ms, 50.0);
        assert_eq!(quantiles.p95_ms, 95.0);
        assert_eq!(quantiles.p99_ms, 99.0);
        assert_eq!(quantiles.p999_ms, 100.0);
        assert_eq!(quantiles.max_ms, 100.0);
    }

    #[test]
    fn one_value_is_every_quantile_and_none_has_none() {
        let quantiles = Quantiles::of(vec![2_500_000]).unwrap();
        assert_eq!((quantiles.p50_ms, quantiles.max_ms), (2.5, 2.5));
        assert_eq!(Quantiles::of(Vec::new()), None);
    }
}
