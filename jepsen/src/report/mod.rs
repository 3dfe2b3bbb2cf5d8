//! One page per run: what was found, why, and what it looked like.
//!
//! Why it exists: a verdict is believed when its reader can see what it rests on. The page opens with
//! the verdict and its reason; then come the checkers' own words, the smallest history around each
//! anomaly, latencies and rates with the faults that were in force, tables, and how to do it again.
//!
//! Promises: one file that needs no other and no network, in light and dark; the same run gives the
//! same bytes; whatever a history holds is text on it, never markup; a million operations stay under
//! three megabytes. Any history will do: empty, without faults, from another harness.
//! Relies on: maud for markup that escapes by itself, plotters for axes and lines.

mod faults;
pub mod matrix;
mod page;
mod plots;
mod quantiles;
mod sections;
mod summary;
mod timeline;
mod words;

use std::io;
use std::path::Path;

pub use faults::{Outcome, Window, windows};
pub use quantiles::Quantiles;
pub use summary::{Ended, FaultSummary, LogFinding, OperationSummary, RunSummary};

use crate::history::History;
use crate::verdict::Verdict;

/// Writes `index.html` into this directory.
///
/// # Errors
///
/// When the directory or the file could not be written.
pub fn write(
    dir: &Path,
    summary: &RunSummary,
    history: &History,
    verdicts: &[Verdict],
) -> io::Result<()> {
    std::fs::create_dir_all(dir)?;
    std::fs::write(dir.join("index.html"), page::page(summary, history, verdicts)?)
}
