//! What the commands print.
//!
//! Promises: results go to standard output, complaints to standard error; colours only where the
//! terminal shows them; a reader that goes away is no error.

use std::io::Write;

use anstyle::{AnsiColor, Style};

use crate::run::Finished;
use crate::verdict::{Validity, Verdict};

/// A line on standard output.
pub(super) fn line(text: impl std::fmt::Display) {
    drop(writeln!(anstream::stdout().lock(), "{text}"));
}

/// A line on standard error.
pub(super) fn complain(text: impl std::fmt::Display) {
    drop(writeln!(anstream::stderr().lock(), "tetrarch-jepsen: {text}"));
}

/// The word for a verdict.
pub(super) fn word(validity: Validity) -> &'static str {
    match validity {
        Validity::Valid => "valid",
        Validity::Unknown => "unknown",
        Validity::Invalid => "INVALID",
    }
}

/// The word in its colour.
fn painted(validity: Validity) -> String {
    let colour = match validity {
        Validity::Valid => AnsiColor::Green,
        Validity::Unknown => AnsiColor::Yellow,
        Validity::Invalid => AnsiColor::Red,
    };
    let style = Style::new().bold().fg_color(Some(colour.into()));
    format!("{style}{:<8}{style:#}", word(validity))
}

/// A run: the verdict and its reason first.
pub(super) fn finished(run: &Finished) {
    let summary = &run.summary;
    line(format!(
        "{}{} under {}: {}",
        painted(summary.validity),
        summary.workload,
        summary.nemesis,
        summary.reason
    ));
    for verdict in &run.verdicts {
        each(verdict);
    }
    let operations: Vec<String> = summary
        .operations
        .iter()
        .map(|of| {
            format!("{} {} ok, {} fail, {} info", of.f, of.ok.count, of.fail.count, of.info.count)
        })
        .collect();
    line(format!("  operations in {:.0} s: {}", summary.seconds, operations.join("; ")));
    let faults: Vec<String> =
        summary.faults.iter().map(|fault| format!("{} {}", fault.installed, fault.name)).collect();
    if !faults.is_empty() {
        line(format!("  faults: {}", faults.join(", ")));
    }
    line(format!("  again:  {}", summary.replay));
    line(format!("  page:   {}", run.dir.join("index.html").display()));
}

fn each(verdict: &Verdict) {
    line(format!("  {}{}: {}", painted(verdict.validity), verdict.checker, verdict.reason));
    for anomaly in &verdict.anomalies {
        line(format!("    {}: {} {:?}", anomaly.kind, anomaly.words, anomaly.events));
    }
}
