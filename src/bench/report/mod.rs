//! One page for a comparison: the price and the loss, and what they rest on.
//!
//! Why it exists: a table of sixty lines answers no question. The page opens with the one picture that
//! a reader wants, what each mode costs and loses by distance; then come the fault, visibility, rate,
//! counters and carts, traffic, one trace through every mode, every run, and how it was measured.
//!
//! Promises: one file that needs nothing else, no script, no network; it follows the reader's light or
//! dark. The same report gives the same bytes. A section without figures says that they were not
//! measured. The report itself is in the page, to be taken out of it again.
//!
//! Relies on: [`super::figures`] for what is known, plotters for axes, maud for markup.

mod chart;
mod costs;
mod faults;
mod how;
mod picks;
mod price;
mod words;
mod wrong;

use std::io;
use std::path::{Path, PathBuf};

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::figures::Report;

/// The page in the output directory.
pub const PAGE: &str = "report.html";

const STYLE: &str = include_str!("style.css");

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// A picture could not be drawn.
    #[error("a picture could not be drawn: {0}")]
    Plot(String),
    /// The file cannot be written.
    #[error("{} cannot be written: {source}", path.display())]
    Output {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The page of a report.
///
/// # Errors
///
/// When a picture could not be drawn.
pub fn page(report: &Report) -> Result<String, PageError> {
    let body = html! {
        (how::banner(report))
        (price::section(report)?)
        (faults::availability(report)?)
        (price::visibility(report)?)
        (price::by_rate(report)?)
        (wrong::section(report))
        (faults::converge(report)?)
        (costs::bytes(report))
        (costs::trace(report))
        (costs::all(report))
        (how::section(report))
    };
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "Tetrarch: the price and the loss" }
                style { (PreEscaped(STYLE)) }
            }
            body { (body) }
        }
    };
    Ok(markup.into_string())
}

/// Writes the page, whole or not at all.
///
/// # Errors
///
/// When it could not be drawn or written.
#[allow(clippy::disallowed_methods, reason = "a report for people, not a node's data")]
pub fn write_page(path: &Path, report: &Report) -> Result<(), PageError> {
    let text = page(report)?;
    let new = path.with_extension("html.new");
    let unwritten = |source| PageError::Output { path: path.to_owned(), source };
    std::fs::write(&new, text).map_err(unwritten)?;
    std::fs::rename(&new, path).map_err(unwritten)
}

/// What stands where figures would.
fn not_measured(what: &str) -> Markup {
    html! { div.card.none { p.soft { (what) ": not measured in this run." } } }
}

#[cfg(test)]
mod tests;
