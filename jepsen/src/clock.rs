//! The run's one monotonic clock.
//!
//! Why it exists: real-time order is judged between operations of different clients, so that all of
//! them, and the nemesis, must read the same clock. Promises: it never goes back; it starts at 0.

use std::sync::Arc;
use std::time::Instant;

/// Nanoseconds since the run began. Cheap to clone; clones share their start.
#[derive(Clone, Debug)]
pub struct Clock {
    start: Arc<Instant>,
}

impl Default for Clock {
    #[allow(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    fn default() -> Self {
        Self { start: Arc::new(Instant::now()) }
    }
}

impl Clock {
    /// Nanoseconds since the start.
    pub fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}
