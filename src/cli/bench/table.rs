//! The table of a report: what each mode costs and what it loses, a line for each run.
//!
//! Promises: what was not measured is a dash, never a zero.

use comfy_table::{CellAlignment, Table, presets};

use crate::bench::figures::{Report, Run};

const HEADERS: &[&str] = &[
    "workload",
    "rtt",
    "fault",
    "mode",
    "ok/s",
    "change p50",
    "p99",
    "read p50",
    "avail",
    "direct",
    "effective",
    "(model)",
    "error",
    "gone/back",
    "stale",
    "visible p50",
    "fsyncs",
    "cpu us",
    "wrong",
];

/// Draws it.
pub(super) fn draw(report: &Report) -> String {
    let mut runs: Vec<&Run> = report.runs.iter().collect();
    let key = |run: &&Run| (run.fault != "none", run.workload.clone(), run.rtt_ms);
    runs.sort_by_key(key);
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(HEADERS);
    for run in runs {
        table.add_row(row(run));
    }
    for column in table.column_iter_mut().skip(4) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.to_string()
}

fn row(run: &Run) -> Vec<String> {
    let dash = || "-".to_owned();
    let ms = |value: Option<f64>| value.map_or_else(dash, |ms| format!("{ms:.2}"));
    let share =
        |value: Option<f64>| value.map_or_else(dash, |share| format!("{:.1} %", share * 100.0));
    let (_, ok, _, _) = run.totals();
    let change = run.writes().map(|op| op.latency).filter(|times| times.count > 0);
    let read = run.ops.get("read").map(|op| op.latency).filter(|times| times.count > 0);
    let loss = run.loss.as_ref();
    let predicted = loss.and_then(|loss| {
        let (_, spread) = loss.predicted_spread.unwrap_or_default();
        let by = if spread > 0.0 { format!(" ± {:.1}", spread * 100.0) } else { String::new() };
        Some(format!("{:.1}{by} %", loss.predicted_effective? * 100.0))
    });
    let visible = run.visibility.as_ref().and_then(|visibility| visibility.at(0.5));
    let gone = run.cart.as_ref().map(|cart| format!("{}/{}", cart.lost, cart.resurrected));
    let gone = gone.or_else(|| run.profile_fields_lost.map(|lost| format!("{lost}/-")));
    let gone = gone.or_else(|| run.invariant_breaks.map(|sold| format!("{sold} oversold")));
    let wrong = match &run.trouble {
        Some(_) => "failed".to_owned(),
        None => format!("{} of {}", run.verified.wrong, run.verified.checked),
    };
    vec![
        laid_out(run),
        format!("{} ms", run.rtt_ms),
        run.fault.clone(),
        run.mode.clone(),
        format!("{:.0}", per_second(ok, run.seconds)),
        ms(change.map(|times| times.p50)),
        ms(change.map(|times| times.p99)),
        ms(read.map(|times| times.p50)),
        share(Some(run.availability.share)),
        share(loss.map(|loss| loss.direct)),
        share(loss.map(|loss| loss.effective)),
        predicted.unwrap_or_else(dash),
        share(run.counter.as_ref().map(|sum| sum.error)),
        gone.unwrap_or_else(dash),
        share(run.staleness.as_ref().map(|stale| 1.0 - stale.fresh)),
        ms(visible),
        ms(run.fsyncs_per_op),
        run.cpu_us_per_op.map_or_else(dash, |us| format!("{us:.0}")),
        wrong,
    ]
}

/// The workload, and how the nodes were connected where that is not three of them in a mesh.
fn laid_out(run: &Run) -> String {
    match (run.topology.as_str(), run.nodes) {
        ("mesh" | "", 3) => run.workload.clone(),
        (topology, nodes) => format!("{} {topology}{nodes}", run.workload),
    }
}

#[allow(clippy::cast_precision_loss, reason = "a figure for display needs no more digits")]
fn per_second(count: u64, seconds: f64) -> f64 {
    count as f64 / seconds.max(1e-9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_measured_is_a_dash() {
        let run = Run { workload: "cart".into(), mode: "set".into(), ..Run::default() };
        let row = row(&run);
        assert_eq!(row.len(), HEADERS.len());
        assert_eq!(row.iter().filter(|cell| *cell == "-").count(), 12);
        let report = Report { runs: vec![run], ..Report::default() };
        assert!(draw(&report).contains("cart"));
    }
}
