//! Judges of histories.
//!
//! Promises: a checker reads the history and nothing else; it never says `valid` of what it could not
//! finish.

pub mod cycles;
pub mod eventual;
pub mod ledger;
pub mod linear;
pub mod logs;
pub mod once;
pub mod replicas;
pub mod sums;

use std::time::Duration;

use crate::history::History;
use crate::verdict::Verdict;

/// What a checker may use up.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Time after which it answers `unknown`.
    pub time: Duration,
}

impl Default for Budget {
    fn default() -> Self {
        Self { time: Duration::from_secs(120) }
    }
}

/// Judges a history.
pub trait Checker: Send + Sync {
    /// Its name in results.
    fn name(&self) -> &'static str;

    /// Its verdict.
    fn check(&self, history: &History, budget: Budget) -> Verdict;
}
