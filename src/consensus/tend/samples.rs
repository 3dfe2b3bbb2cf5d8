//! How old the entries of a group are, by this node's own clock.
//!
//! Why it exists: records of retried requests and the history for watches are kept for a time, but
//! no entry carries a time that may be trusted. So each node notes about once a second how far a
//! group was applied; a sample says that entries up to its index were applied by then, hence are at
//! least as old.
//!
//! Promises: never calls an entry older than it is here; bounded ([`SAMPLES_MAX`]): when there are
//! too many, every other one goes and from then on they are taken half as often, so that any answer
//! is late by less than a hundredth of the longest time that is asked for, or by seconds. After a
//! restart everything counts as new.

use std::collections::VecDeque;
use std::time::Duration;

use crate::runtime::Moment;
use crate::runtime::limits::{SAMPLE_TICK, SAMPLES_MAX};

/// Samples of one group.
#[derive(Debug, Default)]
pub struct Samples {
    ring: VecDeque<(Moment, u64)>,
    /// The least time between two samples.
    apart: Duration,
}

impl Samples {
    /// Everything up to `applied` is applied by `now`.
    pub fn note(&mut self, now: Moment, applied: u64) {
        // Without news the older sample says more.
        if self.ring.back().is_some_and(|(_, index)| *index >= applied) {
            return;
        }
        if self.ring.back().is_some_and(|(last, _)| now.since(*last) < self.apart) {
            return;
        }
        if self.ring.len() >= SAMPLES_MAX {
            let mut is_kept = false;
            self.ring.retain(|_| {
                is_kept = !is_kept;
                is_kept
            });
            self.apart = (self.apart * 2).max(SAMPLE_TICK * 2);
        }
        self.ring.push_back((now, applied));
    }

    /// The newest index of which all entries up to it are at least `age` old.
    pub fn older_than(&self, now: Moment, age: Duration) -> Option<u64> {
        let young = self.ring.partition_point(|(moment, _)| now.since(*moment) >= age);
        let newest = young.checked_sub(1)?;
        self.ring.get(newest).map(|(_, index)| *index)
    }

    /// Drops what nobody will ask for: all but the newest sample of those older than `age`.
    pub fn trim(&mut self, now: Moment, age: Duration) {
        let old = self.ring.partition_point(|(moment, _)| now.since(*moment) >= age);
        self.ring.drain(..old.saturating_sub(1));
        if self.ring.len() < SAMPLES_MAX / 4 {
            self.apart /= 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::default() + Duration::from_secs(seconds)
    }

    fn older(samples: &Samples, now: u64, age: u64) -> Option<u64> {
        samples.older_than(at(now), Duration::from_secs(age))
    }

    #[test]
    fn an_entry_is_as_old_as_the_first_sample_that_covers_it() {
        let mut samples = Samples::default();
        assert_eq!(older(&samples, 100, 1), None);
        samples.note(at(10), 5);
        samples.note(at(20), 5);
        samples.note(at(30), 9);
        assert_eq!(older(&samples, 19, 10), None);
        assert_eq!(older(&samples, 20, 10), Some(5), "idle seconds do not make it younger");
        assert_eq!(older(&samples, 39, 10), Some(5));
        assert_eq!(older(&samples, 40, 10), Some(9));
        samples.trim(at(40), Duration::from_secs(10));
        assert_eq!(samples.ring.len(), 1);
        assert_eq!(older(&samples, 40, 10), Some(9));
    }

    #[test]
    fn many_samples_stay_few_and_never_make_an_entry_older() {
        let mut samples = Samples::default();
        for second in 0..100_000 {
            // Entry n is applied in second n.
            samples.note(at(second), second);
            samples.trim(at(second), Duration::from_secs(3600));
            assert!(samples.ring.len() <= SAMPLES_MAX);
        }
        for age in [0, 1, 10, 100, 1000, 3600] {
            let index = older(&samples, 99_999, age).unwrap();
            assert!(index + age <= 99_999, "entry {index} is not {age} s old");
            assert!(index + age + 36 > 99_999, "entry {index} is much older than {age} s");
        }
        // Asked for less from now on, they are taken more often again.
        for second in 100_000..101_000 {
            samples.note(at(second), second);
            samples.trim(at(second), Duration::from_secs(60));
        }
        assert_eq!(older(&samples, 100_999, 10), Some(100_989));
    }
}
