//! Time as the node sees it, behind one trait.
//!
//! Why it exists: tests and the simulation must move time; code that reads `Instant::now` cannot
//! be moved. Monotonic time is a `Moment` (nanoseconds since an arbitrary start), so that it can be
//! made up; wall time is milliseconds since the Unix epoch and is used for display only.
//!
//! Promises: `now` never goes backwards. Relies on: the operating system, through tokio's clock, so
//! that `tokio::time::pause` moves both together.

use std::fmt::Debug;
use std::ops::Add;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A point of monotonic time: nanoseconds since the clock's own, arbitrary start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub u64);

impl Moment {
    /// Time from `earlier` to `self`; zero when `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, time: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// Where a node reads the time.
pub trait Clock: Send + Sync + Debug + 'static {
    /// Monotonic time.
    fn now(&self) -> Moment;

    /// Wall time, milliseconds since the Unix epoch. For people, never for decisions.
    fn wall_ms(&self) -> u64;
}

/// The machine's clocks.
#[derive(Debug)]
pub struct SystemClock {
    start: tokio::time::Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self { start: tokio::time::Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Moment {
        Moment(u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    #[allow(clippy::disallowed_methods, reason = "this is the one place that reads the wall clock")]
    fn wall_ms(&self) -> u64 {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
    }
}

/// The machine's clocks, of which the wall clock can be set wrong.
#[derive(Debug, Default)]
pub struct ShiftedClock {
    machine: SystemClock,
    ahead_ms: std::sync::atomic::AtomicI64,
}

impl ShiftedClock {
    /// Sets how far the wall clock is ahead of the machine's.
    pub fn shift(&self, ahead_ms: i64) {
        self.ahead_ms.store(ahead_ms, std::sync::atomic::Ordering::SeqCst);
    }
}

impl Clock for ShiftedClock {
    fn now(&self) -> Moment {
        self.machine.now()
    }

    fn wall_ms(&self) -> u64 {
        let ahead_ms = self.ahead_ms.load(std::sync::atomic::Ordering::SeqCst);
        self.machine.wall_ms().saturating_add_signed(ahead_ms)
    }
}

/// A clock that moves only when told to.
#[derive(Debug, Default)]
pub struct ManualClock {
    nanos: std::sync::atomic::AtomicU64,
}

impl ManualClock {
    /// Moves the time forward.
    pub fn advance(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.nanos.fetch_add(nanos, std::sync::atomic::Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Moment {
        Moment(self.nanos.load(std::sync::atomic::Ordering::SeqCst))
    }

    fn wall_ms(&self) -> u64 {
        self.nanos.load(std::sync::atomic::Ordering::SeqCst) / 1_000_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_only_when_told_to() {
        let clock = ManualClock::default();
        let start = clock.now();
        clock.advance(Duration::from_millis(5));
        assert_eq!(clock.now().since(start), Duration::from_millis(5));
        assert_eq!(start.since(clock.now()), Duration::ZERO);
        assert_eq!(clock.wall_ms(), 5);
    }

    #[test]
    fn the_system_clock_does_not_go_backwards() {
        let clock = SystemClock::default();
        let a = clock.now();
        let b = clock.now();
        assert!(b >= a);
        assert!(clock.wall_ms() > 1_600_000_000_000, "wall time is after 2020");
    }
}
