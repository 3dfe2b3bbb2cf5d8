//! The time that the driver of upkeep was awake: the clock by which leases end.
//!
//! Why it exists: a node that was stopped (SIGSTOP, a frozen machine, a debugger) and goes on sees
//! its clock jump. Renewals that were sent to it in time lie unread in its sockets; to end leases by
//! the jumped clock would punish clients that did everything right. So leases are timed by a clock
//! that stands still while nobody looks: a wake-up that comes late by more than [`TEND_LATE`] adds
//! nothing to it, and until the next one, a tick later, the sockets are read.
//!
//! Promises: it never runs faster than the node's monotonic clock, so what is due by it is due; and
//! it never stands still for ever: of two late wake-ups in a row the second counts as one tick.

use std::time::Duration;

use crate::runtime::Moment;
use crate::runtime::limits::{TEND_LATE, TEND_TICK};

/// A clock that moves while the driver is awake.
#[derive(Clone, Copy, Debug)]
pub struct Awake {
    seen: Moment,
    time: Moment,
    was_late: bool,
}

impl Awake {
    /// Begins now.
    pub fn new(now: Moment) -> Self {
        Self { seen: now, time: Moment::default(), was_late: false }
    }

    /// The driver is awake at `now`; returns the time by which leases are measured.
    pub fn wake(&mut self, now: Moment) -> Moment {
        let gap = now.since(self.seen);
        self.seen = self.seen.max(now);
        let is_late = gap > TEND_TICK + TEND_LATE;
        let counted = match (is_late, self.was_late) {
            (false, _) => gap,
            (true, false) => Duration::ZERO,
            (true, true) => TEND_TICK,
        };
        self.was_late = is_late;
        self.time = self.time + counted;
        self.time
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Moment = Moment(77);

    #[test]
    fn awake_time_runs_with_the_clock() {
        let mut awake = Awake::new(START);
        let mut now = START;
        for _ in 0..10 {
            now = now + TEND_TICK;
            awake.wake(now);
        }
        assert_eq!(awake.wake(now), Moment::default() + TEND_TICK * 10);
        assert_eq!(awake.wake(START), Moment::default() + TEND_TICK * 10, "never backwards");
    }

    #[test]
    fn a_pause_does_not_count() {
        let mut awake = Awake::new(START);
        let before = awake.wake(START + TEND_TICK);
        let late = START + TEND_TICK + Duration::from_secs(30);
        assert_eq!(awake.wake(late), before);
        assert_eq!(awake.wake(late + TEND_TICK), before + TEND_TICK, "and then it goes on");
    }

    #[test]
    fn a_node_that_is_always_late_still_gets_on() {
        let mut awake = Awake::new(START);
        let slow = TEND_TICK + TEND_LATE + Duration::from_millis(1);
        let mut now = START;
        for _ in 0..11 {
            now = now + slow;
            awake.wake(now);
        }
        assert_eq!(awake.wake(now), Moment::default() + TEND_TICK * 10);
    }
}
