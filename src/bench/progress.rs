//! How a measurement tells how it goes.
//!
//! Promises: whoever listens must not block: it is told in the middle of the measurement.

use super::figures::Run;

/// What is told.
#[derive(Clone, Debug)]
pub enum Step<'a> {
    /// So many runs are planned, of so many seconds.
    Planned {
        /// Runs.
        runs: u64,
        /// Seconds of all of them, by estimate.
        seconds: f64,
    },
    /// A run begins.
    Began {
        /// Which one, from 1.
        number: u64,
        /// Its name.
        name: &'a str,
    },
    /// What is done beside the load.
    Doing(String),
    /// A load is under way.
    Second {
        /// At this second.
        second: f64,
        /// Of so many.
        of: f64,
        /// Answered with success.
        ok: u64,
        /// Refused, or unknown.
        failed: u64,
    },
    /// Something worth a line.
    Remark(String),
    /// A run is over.
    Ended(&'a Run),
}

/// Who listens.
pub trait Progress: Send + Sync {
    /// Takes note.
    fn say(&self, step: Step<'_>);
}

/// Nobody.
#[derive(Debug)]
pub struct Silence;

impl Progress for Silence {
    fn say(&self, _step: Step<'_>) {}
}
