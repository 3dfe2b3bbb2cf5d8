//! How old a local read can be at most.
//!
//! A replica asks the leader's node for its commit mark and for how long ago a quorum last confirmed
//! that leader. If the answer to a question asked at `t0` says "committed `c`, confirmed `a` ago",
//! then everything committed anywhere before `t0 - a` is at or below `c`: a newer leader could not
//! have existed then. Once this replica has applied `c`, a read here is no older than `now - (t0 -
//! a)`.
//!
//! Promises: the bound holds whatever the network does; it assumes only that the clocks of two nodes
//! run at the same rate. Relies on: `marks`, which asks.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::Mutex;

use crate::runtime::clock::Moment;
use crate::runtime::limits::FRESHNESS_MARKS_MAX;
use crate::runtime::planted::{self, Bug};

/// What one replica knows of its own age.
#[derive(Debug, Default)]
pub struct Freshness {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    confirmed: Option<Moment>,
    pending: VecDeque<(u64, Moment)>,
}

impl Freshness {
    /// The leader said that all that was committed before `moment` is at or below `committed`.
    pub fn mark(&self, committed: u64, moment: Moment) {
        let mut inner = self.inner.lock();
        if inner.pending.len() == FRESHNESS_MARKS_MAX {
            // A replica that cannot keep up keeps the oldest mark: it will reach that one first.
            inner.pending.pop_back();
        }
        inner.pending.push_back((committed, moment));
    }

    /// The age bound of a read that reflects `applied`; `None` when nothing is known.
    pub fn age(&self, applied: Option<u64>, now: Moment) -> Option<Duration> {
        let mut inner = self.inner.lock();
        while let Some((committed, moment)) = inner.pending.front().copied() {
            if applied.is_none_or(|applied| applied < committed) {
                break;
            }
            inner.confirmed = inner.confirmed.max(Some(moment));
            inner.pending.pop_front();
        }
        let age = inner.confirmed.map(|moment| now.since(moment));
        if planted::active(Bug::AgeUnderstated) { age.map(|age| age / 16) } else { age }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::default() + Duration::from_secs(seconds)
    }

    #[test]
    fn a_replica_that_never_heard_of_a_leader_knows_no_bound() {
        assert_eq!(Freshness::default().age(Some(5), at(9)), None);
    }

    #[test]
    fn a_mark_counts_only_once_it_is_applied() {
        let freshness = Freshness::default();
        freshness.mark(10, at(1));
        freshness.mark(20, at(2));
        assert_eq!(freshness.age(Some(9), at(5)), None);
        assert_eq!(freshness.age(Some(10), at(5)), Some(Duration::from_secs(4)));
        assert_eq!(freshness.age(Some(10), at(6)), Some(Duration::from_secs(5)));
        assert_eq!(freshness.age(Some(25), at(6)), Some(Duration::from_secs(4)));
    }

    #[test]
    fn a_replica_that_lags_keeps_the_mark_that_it_reaches_first() {
        let freshness = Freshness::default();
        for i in 0..100 {
            freshness.mark(10 + i, at(i));
        }
        assert_eq!(freshness.age(Some(10), at(200)), Some(Duration::from_secs(200)));
    }
}
