//! What it costs: bytes between nodes, one trace through every mode, and every run in one table.
//!
//! Promises: modes stand beside each other under the same load only; a figure that was not measured is a
//! dash.

use maud::{Markup, html};

use super::faults::bar;
use super::not_measured;
use super::picks::{all_who, calm, cells, ink, is_mesh, median, usual_load, who, whole, workloads};
use super::words::{self, count, digits, ms, or_dash, part, share};
use crate::bench::figures::{Report, Run};
use crate::bench::wanted::TRACE;

/// Bytes between nodes for one operation.
pub(super) fn bytes(report: &Report) -> Markup {
    let known = || calm(report).filter(|run| run.wire_bytes_per_op.is_some());
    let workloads = workloads(known());
    html! {
        h2 { "Bytes between nodes" }
        @if workloads.is_empty() { (not_measured("Bytes per operation")) }
        @for workload in workloads {
            @let here = || known().filter(move |run| run.workload == workload);
            @let load = usual_load(here());
            @let found = cells(here().filter(move |run| Some(run.load) == load), |run| run.wire_bytes_per_op);
            @let longest = found.values().copied().fold(0.0, f64::max);
            @let nodes = here().map(|run| run.nodes).max().unwrap_or(0);
            div.card {
                p { b { (workload) } span.soft { " · for one acknowledged operation, " (nodes) " nodes, each with links to all others" } }
                div.wide { table {
                    tr { th { "mode" } th.n { "round trip" } th.n { "bytes" } th {} }
                    @for mode in all_who(here()) {
                        @for ((_, rtt), value) in found.iter().filter(|((of, _), _)| *of == mode) {
                            tr { td { (mode) } td.n { (rtt) " ms" } td.n { (words::bytes(*value)) } (bar(*value, longest, &ink(&mode))) }
                        }
                    }
                } }
            }
        }
        (by_topology(report))
    }
}

/// The same by how the nodes are linked, where they are enough for that to differ.
fn by_topology(report: &Report) -> Markup {
    let linked = || {
        let nodes = whole(report).filter(|run| !is_mesh(run)).map(|run| run.nodes).max();
        whole(report)
            .filter(move |run| Some(run.nodes) == nodes && !run.topology.is_empty())
            .filter(|run| run.wire_bytes_per_op.is_some() && run.mode != "linearizable")
    };
    let longest = linked().filter_map(|run| run.wire_bytes_per_op).fold(0.0, f64::max);
    html! {
        @if linked().next().is_none() { (not_measured("Bytes per operation by topology")) } @else {
            div.card {
                p {
                    b { "By topology" }
                    span.soft { " · for one acknowledged operation, each reaching all nodes; the time is until half of the others show a write" }
                }
                div.wide { table {
                    tr { th { "links" } th.n { "nodes" } th { "mode" } th { "workload" } th.n { "bytes" } th {} th.n { "visible p50" } th.n { "until all agreed" } }
                    @for run in linked() {
                        @let value = run.wire_bytes_per_op.unwrap_or(0.0);
                        tr {
                            td { (run.topology) } td.n { (run.nodes) } td { (who(run)) } td { (run.workload) }
                            td.n { (words::bytes(value)) } (bar(value, longest, &ink(&who(run))))
                            td.n { (or_dash(visible(run), ms)) } td.n { (or_dash(run.converge_ms, ms)) }
                        }
                    }
                } }
            }
        }
    }
}

/// When half of the other sites showed a write.
fn visible(run: &Run) -> Option<f64> {
    run.visibility.as_ref()?.at(0.5)
}

/// One workload at one distance through every mode: a recorded one, else the one that most modes went
/// through, at the furthest.
pub(super) fn trace(report: &Report) -> Markup {
    let modes_of =
        |workload: &str| all_who(calm(report).filter(|run| run.workload == workload)).len();
    let best = workloads(calm(report))
        .into_iter()
        .rev()
        .max_by_key(|workload| (*workload == TRACE, modes_of(workload)));
    let Some(workload) = best else {
        return html! { h2 { "One trace, every mode" } (not_measured("One trace through every mode")) };
    };
    let here = || calm(report).filter(move |run| run.workload == workload);
    let rtt = here().map(|run| run.rtt_ms).max().unwrap_or(0);
    let load = usual_load(here());
    let runs = || here().filter(move |run| run.rtt_ms == rtt && Some(run.load) == load);
    html! {
        h2 { "One trace, every mode" }
        div.card {
            p {
                b { (workload) }
                span.soft { " · round trip " (rtt) " ms, " (load.map(super::how::load).unwrap_or_default()) ", the same operations for all" }
            }
            div.wide { table {
                tr {
                    th { "mode" } th.n { "write p50" } th.n { "p99" } th.n { "read p50" } th.n { "refused" }
                    th.n { "direct loss" } th.n { "effective" } th.n { "stale reads" } th.n { "siblings" }
                    th.n { "bytes/op" } th.n { "fsyncs/op" } th.n { "CPU/op" }
                }
                @for mode in all_who(runs()) {
                    (trace_row(&mode, &runs().filter(|run| who(run) == mode).collect::<Vec<_>>()))
                }
            } }
        }
    }
}

fn trace_row(mode: &str, runs: &[&Run]) -> Markup {
    let middle =
        |of: &dyn Fn(&Run) -> Option<f64>| median(runs.iter().filter_map(|run| of(run)).collect());
    let write = |of: fn(&Run) -> Option<f64>| middle(&of);
    html! {
        tr {
            td { i class={ "dot " (ink(mode)) } {} (mode) }
            td.n { (or_dash(write(|run| run.writes().map(|op| op.latency.p50)), ms)) }
            td.n { (or_dash(write(|run| run.writes().map(|op| op.latency.p99)), ms)) }
            td.n { (or_dash(write(|run| run.ops.get("read").map(|op| op.latency.p50)), ms)) }
            td.n { (or_dash(write(refused), share)) }
            td.n { (or_dash(write(|run| run.loss.as_ref().map(|loss| loss.direct)), share)) }
            td.n { (or_dash(write(|run| run.loss.as_ref().map(|loss| loss.effective)), share)) }
            td.n { (or_dash(write(|run| run.staleness.as_ref().map(|stale| 1.0 - stale.fresh)), share)) }
            td.n { (or_dash(write(|run| run.siblings.map(|siblings| siblings.mean)), digits)) }
            td.n { (or_dash(write(|run| run.wire_bytes_per_op), words::bytes)) }
            td.n { (or_dash(write(|run| run.fsyncs_per_op), digits)) }
            td.n { (or_dash(write(|run| run.cpu_us_per_op), |us| ms(us / 1_000.0))) }
        }
    }
}

#[allow(clippy::unnecessary_wraps, reason = "the form that figures are asked for in")]
fn refused(run: &Run) -> Option<f64> {
    let (wanted, _, not_applied, unknown) = run.totals();
    Some(part(not_applied.saturating_add(unknown), wanted))
}

/// Every run.
pub(super) fn all(report: &Report) -> Markup {
    html! {
        h2 { "Every run" }
        @if report.runs.is_empty() { (not_measured("Every run")) } @else {
            details.card {
                summary { (report.runs.len()) " runs" }
                div.wide { table.tight {
                    tr {
                        th { "run" } th { "load" } th.n { "ok/s" } th.n { "write p50" } th.n { "p99" } th.n { "p99.9" }
                        th.n { "available" } th.n { "visible p50" } th.n { "RSS" } th.n { "checked" } th.n { "wrong" }
                    }
                    @for run in &report.runs { (row(run)) }
                } }
            }
        }
    }
}

fn row(run: &Run) -> Markup {
    let (_, ok, _, _) = run.totals();
    let write = run.writes().map(|op| op.latency).filter(|latency| latency.count > 0);
    let visible = visible(run);
    html! {
        tr.bad[run.trouble.is_some() || run.verified.wrong > 0] {
            td { (run.name) @if let Some(trouble) = &run.trouble { br; span.invalid { (trouble) } } }
            td { (super::how::load(run.load)) }
            td.n { (digits(count(ok) / run.seconds.max(1e-9))) }
            td.n { (or_dash(write.map(|t| t.p50), ms)) } td.n { (or_dash(write.map(|t| t.p99), ms)) }
            td.n { (or_dash(write.map(|t| t.p999), ms)) }
            td.n { (share(run.availability.share)) }
            td.n { (or_dash(visible, ms)) }
            td.n { (or_dash(run.rss_bytes.map(count), words::bytes)) }
            td.n { (run.verified.checked) } td.n { (run.verified.wrong) }
        }
    }
}
