//! The books of sums: what was added to each key.
//!
//! Promises: additions of unknown outcome are kept apart, by which a sum may differ; one that was not
//! closed is known.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use super::End;
use crate::bench::target::{Acked, Failed};

/// What was added to one key.
#[derive(Debug, Default)]
struct Sum {
    acked: AtomicI64,
    /// Additions of unknown outcome, each of one or minus one.
    unknown: AtomicU64,
}

/// All sums.
#[derive(Debug)]
pub struct Sums {
    keys: Box<[Sum]>,
    acked: AtomicU64,
    open: AtomicU64,
}

impl Sums {
    /// Of so many keys.
    pub fn new(keys: u64) -> Self {
        Self {
            keys: (0..keys).map(|_| Sum::default()).collect(),
            acked: AtomicU64::new(0),
            open: AtomicU64::new(0),
        }
    }

    /// An addition is sent.
    pub fn begin(&self) {
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    /// It is answered.
    pub fn end(&self, key: u64, amount: i64, answer: Result<&Acked, &Failed>) {
        let at = usize::try_from(key).unwrap_or(usize::MAX);
        let sum = self.keys.get(at).expect("a key's number is below the number of keys");
        match End::of(answer) {
            End::Acked => {
                sum.acked.fetch_add(amount, Ordering::Relaxed);
                self.acked.fetch_add(1, Ordering::Relaxed);
            }
            End::Unknown => drop(sum.unknown.fetch_add(1, Ordering::Relaxed)),
            End::NotApplied => {}
        }
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    /// Of a key: the sum of what was acknowledged, and how many additions nobody knows of.
    pub fn of(&self, key: u64) -> (i64, u64) {
        let at = usize::try_from(key).unwrap_or(usize::MAX);
        self.keys.get(at).map_or((0, 0), |sum| {
            (sum.acked.load(Ordering::Relaxed), sum.unknown.load(Ordering::Relaxed))
        })
    }

    /// Additions that were acknowledged.
    pub fn acked(&self) -> u64 {
        self.acked.load(Ordering::Relaxed)
    }

    /// Additions under way.
    pub fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_acknowledged_is_in_the_sum() {
        let sums = Sums::new(2);
        for answer in [
            Ok(&Acked::default()),
            Err(&Failed::Unmet),
            Err(&Failed::Unknown("silence".into())),
            Ok(&Acked::default()),
        ] {
            sums.begin();
            sums.end(1, -1, answer);
        }
        sums.begin();
        assert_eq!((sums.of(1), sums.of(0)), ((-2, 1), (0, 0)));
        assert_eq!((sums.acked(), sums.open()), (2, 1));
    }
}
