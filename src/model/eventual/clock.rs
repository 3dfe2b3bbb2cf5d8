//! The hybrid clock: stamps that follow the wall clock and never go back.
//!
//! Why it exists: among concurrent writes the later one should win, as far as clocks can tell, and a
//! write must rank above what its client had seen. Overwriting does not compare stamps, so a wrong
//! clock can only win where writes were concurrent, and each loss is on record.
//!
//! Promises: every tick is above all ticks before it and, within the drift, above all that was
//! observed; a clock that is wrong elsewhere never pulls this one ahead by more than the drift.
//! Relies on its owner for the wall time and for keeping the highest stamp across restarts.

use super::dot::Hlc;

/// Bits of the counter below the milliseconds.
const COUNTER_BITS: u32 = 16;

impl Hlc {
    /// The first stamp of a millisecond.
    pub const fn at_ms(ms: u64) -> Self {
        Self(ms << COUNTER_BITS)
    }

    /// Its milliseconds since 1970.
    pub const fn ms(self) -> u64 {
        self.0 >> COUNTER_BITS
    }
}

/// A hybrid clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HybridClock {
    last: Hlc,
    drift_ms: u64,
}

impl HybridClock {
    /// A clock that has given `last`, or something below it, and lets others pull it ahead of the
    /// wall clock by this much.
    pub const fn new(last: Hlc, drift_ms: u64) -> Self {
        Self { last, drift_ms }
    }

    /// The next stamp.
    pub fn tick(&mut self, wall_ms: u64) -> Hlc {
        // 2^64 stamps do not run out: the milliseconds alone last until the year 10,889.
        self.last = Hlc(self.last.0.saturating_add(1)).max(Hlc::at_ms(wall_ms));
        self.last
    }

    /// Heard of a stamp. Says whether it was so far ahead of the wall clock that it was not followed.
    pub fn observe(&mut self, hlc: Hlc, wall_ms: u64) -> bool {
        let ahead = hlc.ms() > wall_ms.saturating_add(self.drift_ms);
        if !ahead {
            self.last = self.last.max(hlc);
        }
        ahead
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_go_up_even_when_the_wall_clock_goes_back() {
        let mut clock = HybridClock::new(Hlc::default(), 500);
        let first = clock.tick(1000);
        let second = clock.tick(900);
        assert!(first < second);
        assert_eq!((first.ms(), second.ms()), (1000, 1000));
        assert_eq!(clock.tick(1001), Hlc::at_ms(1001));
    }

    #[test]
    fn a_write_ranks_above_what_was_observed() {
        let mut clock = HybridClock::new(Hlc::default(), 500);
        assert!(!clock.observe(Hlc::at_ms(1400), 1000));
        assert!(clock.tick(1000) > Hlc::at_ms(1400));
    }

    #[test]
    fn a_stamp_from_the_far_future_pulls_nobody_along() {
        let mut clock = HybridClock::new(Hlc::at_ms(1000), 500);
        assert!(clock.observe(Hlc::at_ms(1501), 1000));
        assert_eq!(clock.last, Hlc::at_ms(1000));
        assert!(clock.observe(Hlc(u64::MAX), u64::MAX >> COUNTER_BITS) || clock.last.0 == u64::MAX);
    }

    #[test]
    fn a_restart_goes_on_where_the_clock_was() {
        let mut clock = HybridClock::new(Hlc::at_ms(5000), 500);
        assert!(clock.tick(10) > Hlc::at_ms(5000));
    }
}
