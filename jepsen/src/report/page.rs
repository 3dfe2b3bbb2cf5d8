//! The page as a whole: which section follows which, and the style that all share.
//!
//! Promises: the verdict comes first, what it rests on second, what it looked like third; nothing on
//! the page needs a script.

use std::io;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::faults::{self, Meter};
use super::plots::{self, Series};
use super::{sections, words};
use crate::history::History;
use crate::report::RunSummary;
use crate::verdict::{Validity, Verdict};

const STYLE: &str = include_str!("style.css");

/// The page of a run.
///
/// # Errors
///
/// When a plot could not be drawn.
pub(super) fn page(
    summary: &RunSummary,
    history: &History,
    verdicts: &[Verdict],
) -> io::Result<String> {
    let windows = faults::windows(history);
    let operations = history.operations();
    let series = Series::of(history);
    let meter = Meter::new(history, &windows);
    let title = format!(
        "{} · {}",
        word(summary.validity),
        [summary.workload.as_str(), summary.nemesis.as_str()].join(" under ")
    );
    let body = html! {
        (sections::banner(summary))
        (sections::why(verdicts))
        (sections::anomalies(verdicts, &operations, &windows))
        @if !series.is_empty() { (over_time(&series, &windows)?) }
        (sections::operations(summary, &operations))
        (sections::faults(&windows, &meter))
        (sections::findings(summary))
        (sections::run(summary))
    };
    Ok(document(&title, &body))
}

/// A whole document around this body, with the style sheet in it.
pub(super) fn document(title: &str, body: &Markup) -> String {
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body { (body) }
        }
    };
    markup.into_string()
}

/// A verdict in one word.
pub(super) fn word(validity: Validity) -> &'static str {
    match validity {
        Validity::Valid => "valid",
        Validity::Unknown => "unknown",
        Validity::Invalid => "invalid",
    }
}

fn over_time(series: &Series, windows: &[faults::Window]) -> io::Result<Markup> {
    let bites = windows.iter().any(faults::Window::bites);
    let per = words::duration(series.bucket());
    Ok(html! {
        h2 { "Over time" }
        @if !windows.is_empty() {
            div.card {
                p.small.soft { "Faults: what was broken and when. Hover for details; dashed outlines had no effect." }
                (plots::lanes(series, windows))
            }
        }
        div.card {
            p { b { "Latency of every operation" } span.soft { " · by the time of its completion, logarithmic" } }
            p {
                @for ink in plots::ENDINGS { span.key { i class=(ink.class) {} (ink.name) } }
                @if bites { span.key { i.shaded {} "a fault in force" } }
            }
            (plots::points(series, windows)?)
        }
        div.card {
            p { b { "Latency of what took effect" } span.soft { " · per " (per) ", logarithmic" } }
            p { @for ink in plots::QUANTILES { span.key { i.line class=(ink.class) {} (ink.name) } } }
            (plots::quantiles(series, windows)?)
        }
        div.card {
            p { b { "Operations per second" } span.soft { " · by how they ended, per " (per) } }
            p { @for ink in plots::ENDINGS { span.key { i.line class=(ink.class) {} (ink.name) } } }
            (plots::rates(series, windows)?)
        }
    })
}

#[cfg(test)]
mod tests;
