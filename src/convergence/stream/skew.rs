//! Actors whose clocks seem to be ahead.
//!
//! Why it exists: a write from the future would win against every concurrent one. Such an actor's
//! operations wait until the time has come, or they have waited long enough for an operator to hear of
//! it; they are never dropped, since that would be divergence. Promises: an actor
//! that is within bounds again starts anew. Relies on stamps for ranking only: what is let through
//! too early wins against concurrent writes, and each of those is on record.

use std::collections::BTreeMap;

use crate::model::eventual::{Actor, Op};
use crate::runtime::Moment;
use crate::runtime::limits::{MAX_DRIFT_MS, SKEW_PAUSE_MAX};

/// One actor that is ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skewed {
    /// Since when it waits.
    pub since: Moment,
    /// By how much its newest operation is ahead.
    pub ahead_ms: u64,
    /// Whether its operations pass nevertheless.
    pub passes: bool,
}

/// The actors that are ahead, of one namespace.
#[derive(Debug, Default)]
pub(super) struct Skew {
    ahead: BTreeMap<Actor, Skewed>,
}

impl Skew {
    /// Whether an operation must wait.
    pub(super) fn must_wait(&mut self, op: &Op, now: Moment, wall_ms: u64) -> bool {
        let actor = op.dot.actor;
        let ahead_ms = (op.hlc.ms()).saturating_sub(wall_ms);
        if ahead_ms <= MAX_DRIFT_MS {
            self.ahead.remove(&actor);
            return false;
        }
        let skewed = self.ahead.entry(actor).or_insert_with(|| {
            tracing::warn!(%actor, ahead_ms, "writes from the future wait");
            Skewed { since: now, ahead_ms, passes: false }
        });
        skewed.ahead_ms = ahead_ms;
        if !skewed.passes && now.since(skewed.since) >= SKEW_PAUSE_MAX {
            tracing::warn!(%actor, ahead_ms, "writes from the future have waited long enough");
            skewed.passes = true;
        }
        !skewed.passes
    }

    /// Who is ahead.
    pub(super) const fn ahead(&self) -> &BTreeMap<Actor, Skewed> {
        &self.ahead
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::eventual::{Act, Dot, Hlc, Vector};
    use std::time::Duration;

    fn op(stamp_ms: u64) -> Op {
        let dot = Dot { actor: Actor::default(), counter: 1 };
        Op {
            dot,
            hlc: Hlc(stamp_ms << 16),
            act: Act::Beat { vector: Vector::default(), members: 0 },
        }
    }

    #[test]
    fn an_operation_from_the_future_waits_until_its_time_has_come() {
        let mut skew = Skew::default();
        let now = Moment(0);
        assert!(!skew.must_wait(&op(1_000 + MAX_DRIFT_MS), now, 1_000));
        assert!(skew.must_wait(&op(6_000), now, 1_000));
        assert_eq!(skew.ahead().len(), 1);
        assert!(!skew.must_wait(&op(6_000), now, 5_500));
        assert!(skew.ahead().is_empty());
    }

    #[test]
    fn it_passes_when_it_has_waited_long_enough() {
        let mut skew = Skew::default();
        let hour = op(3_600_000);
        assert!(skew.must_wait(&hour, Moment(0), 0));
        assert!(skew.must_wait(&hour, Moment(0) + (SKEW_PAUSE_MAX - Duration::from_nanos(1)), 0));
        assert!(!skew.must_wait(&hour, Moment(0) + SKEW_PAUSE_MAX, 0));
        assert!(!skew.must_wait(&op(1), Moment(0) + SKEW_PAUSE_MAX, 0));
        assert!(skew.must_wait(&hour, Moment(0) + SKEW_PAUSE_MAX, 0), "it starts anew");
    }
}
