//! Where all clients and the nemesis write their events.
//!
//! Promises: indices and times rise together: an event's time is read under the same lock that gives
//! it its index, so that the order of the list is the order of the clock. An invocation is recorded
//! before its request is sent, a completion after its answer was read.

use parking_lot::Mutex;

use super::{Event, History};
use crate::clock::Clock;

/// Takes events from many tasks.
#[derive(Debug)]
pub struct Recorder {
    clock: Clock,
    events: Mutex<Vec<Event>>,
}

impl Recorder {
    /// An empty history on this clock.
    pub fn new(clock: Clock) -> Self {
        Self { clock, events: Mutex::new(Vec::new()) }
    }

    /// Adds an event; its `index` and `time` are set here. Returns its index.
    pub fn record(&self, mut event: Event) -> u64 {
        let mut events = self.events.lock();
        event.index = u64::try_from(events.len()).unwrap_or(u64::MAX);
        event.time = self.clock.now();
        let index = event.index;
        events.push(event);
        index
    }

    /// Events so far.
    pub fn len(&self) -> usize {
        self.events.lock().len()
    }

    /// Whether nothing was recorded.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The history so far, which this gives away: a copy of a million operations costs as much memory
    /// again.
    pub fn take(&self) -> History {
        History { events: std::mem::take(&mut *self.events.lock()) }
    }

    /// The history so far.
    pub fn snapshot(&self) -> History {
        History { events: self.events.lock().clone() }
    }
}
