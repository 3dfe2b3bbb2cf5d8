//! How it was measured, and whether it counts.
//!
//! Promises: a report with anything wrong in it says so before anything else. What must be known to
//! judge and to repeat the figures is on the page: machine, build, command, seed, the rules, what the
//! load generator itself costs, and the report as it was kept.

use std::time::{Duration, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use maud::{Markup, html};

use super::words::{bytes, count, digits};
use crate::bench::figures::{FILE, Load, Report, Run};

/// Larger reports are beside the page only.
const KEPT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The last second that a date has words for.
const LAST_SECOND: u64 = 253_402_300_799;

/// Rules that every report keeps.
const ALWAYS: &[&str] = &[
    "Latency counts from the moment at which an operation was meant to begin, not from when there was a \
     place for it.",
    "What was written is read back at the end; a run whose figures do not fit what is there is marked.",
];

/// Rules that a report's remarks say, when it has any.
const UNSAID: &[&str] = &[
    "All modes run on the same binary, with the same storage, durability and batching: every acknowledged \
     write is synced to disk first.",
    "The load generator runs on the same machine as all nodes, and competes with them for its processors.",
    "An eventual namespace answers before it replicates: that is where it wins.",
];

/// How a system was loaded, in words.
pub(super) fn load(load: Load) -> String {
    match load {
        Load::Open { rate } => format!("{} operations/s (open loop)", digits(rate)),
        Load::Closed { connections } => format!("{connections} connections (closed loop)"),
    }
}

fn is_bad(run: &Run) -> bool {
    run.trouble.is_some() || run.verified.wrong > 0
}

/// What it is, and whether it counts.
pub(super) fn banner(report: &Report) -> Markup {
    let done = report.runs.len();
    let bad: Vec<&Run> = report.runs.iter().filter(|run| is_bad(run)).collect();
    let checked =
        report.runs.iter().fold(0_u64, |sum, run| sum.saturating_add(run.verified.checked));
    let tone = match (bad.is_empty(), done) {
        (_, 0) => "unknown",
        (true, _) => "valid",
        (false, _) => "invalid",
    };
    html! {
        header class={ "banner " (tone) } {
            h1 { "What linearizability costs, and what is lost without it" }
            p.reason {
                @if done == 0 {
                    "Nothing has been measured yet."
                } @else if bad.is_empty() {
                    "Every run was verified: " (checked) " statements checked, none wrong."
                } @else {
                    (bad.len()) " of " (done) " runs cannot be relied on:"
                }
            }
            @if !bad.is_empty() {
                ul { @for run in bad { li { (run.name) ": " (why(run)) } } }
            }
            p.facts {
                "Tetrarch " (report.build.version) " (" (report.build.profile) ")"
                @if let Some(commit) = &report.build.commit { ", commit " code { (commit) } }
                " · " (date(report.started_ms)) " · " (done) " of " (report.planned) " runs"
                " · " (report.machine.cores) " cores, " (report.machine.cpu)
            }
        }
    }
}

fn why(run: &Run) -> String {
    run.trouble.clone().unwrap_or_else(|| {
        let found = &run.verified;
        format!(
            "{} of {} statements wrong: {}",
            found.wrong,
            found.checked,
            found.examples.join("; ")
        )
    })
}

fn date(ms: u64) -> String {
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs((ms / 1000).min(LAST_SECOND)))
}

/// How it was measured.
pub(super) fn section(report: &Report) -> Markup {
    let machine = &report.machine;
    let mut rules: Vec<&str> = report.remarks.iter().map(String::as_str).collect();
    if rules.is_empty() {
        rules.extend(UNSAID);
    }
    rules.extend(ALWAYS);
    html! {
        h2 { "How it was measured" }
        div.card {
            ul { @for rule in rules { li { (rule) } } }
            table.facts {
                tr { td.soft { "command" } td { code { (report.command) } } }
                tr { td.soft { "build" } td { (report.build.version) ", " (report.build.profile) ", commit " (report.build.commit.as_deref().unwrap_or("not known to the build")) } }
                tr { td.soft { "machine" } td { (machine.cores) " cores, " (machine.cpu) ", " (bytes(count(machine.memory))) " of memory, Linux " (machine.kernel) } }
                tr { td.soft { "data on" } td { (machine.disk) } }
                tr { td.soft { "seed" } td { (report.seed) } }
                tr {
                    td.soft { "load generator" }
                    td {
                        @match &report.generator {
                            Some(cost) => { (digits(cost.cpu_us_per_op)) " µs of CPU an operation without a store, " (digits(cost.ops_per_s)) " operations/s on one processor" }
                            None => "its own cost was not measured in this run",
                        }
                    }
                }
                tr { td.soft { "all figures" } td { (kept(report)) } }
            }
        }
    }
}

/// The report, to be taken out of the page.
fn kept(report: &Report) -> Markup {
    let text = serde_json::to_vec(report).unwrap_or_default();
    html! {
        @if text.is_empty() || text.len() > KEPT_BYTES_MAX {
            "in " code { (FILE) } " beside this page"
        } @else {
            a download=(FILE) href={ "data:application/json;base64," (STANDARD.encode(&text)) } { (FILE) }
            " (in this page, " (bytes(count(u64::try_from(text.len()).unwrap_or(0)))) ")"
        }
    }
}
