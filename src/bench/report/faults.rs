//! What a fault does: availability second by second, and how long nodes need to agree again.
//!
//! Promises: every site has a line of its own, so that nobody's outage hides in an average; the time of
//! the fault is shaded.

use maud::{Markup, html};

use super::chart::{Axis, Chart, Line, legend};
use super::picks::{lines, sound, who};
use super::words::{axis_ms, axis_s, axis_share, count, ms, or_dash, part, share};
use super::{PageError, not_measured};
use crate::bench::figures::{Report, Run};

const HALF: (u32, u32) = (540, 220);

fn faulty(report: &Report) -> impl Iterator<Item = &Run> + Clone {
    sound(report).filter(|run| run.fault_s.is_some() && run.fault != "none")
}

/// Answers in time, second by second, a picture for each run with a fault.
///
/// # Errors
///
/// When plotters could not draw.
pub(super) fn availability(report: &Report) -> Result<Markup, PageError> {
    let mut runs: Vec<&Run> = faulty(report).filter(|run| !run.per_second.is_empty()).collect();
    // What was done under the same fault stands side by side.
    runs.sort_by_key(|run| (run.fault != "partition", run.fault.clone(), run.workload.clone()));
    let mut pictures = Vec::new();
    for run in &runs {
        pictures.push(picture(run)?);
    }
    Ok(html! {
        h2 { "Through a fault" }
        @if pictures.is_empty() {
            (not_measured("Availability through a fault"))
        } @else {
            div.card {
                p.soft {
                    "Share of the operations wanted in each second that were answered with success within a \
                     second, by site. Shaded: the fault."
                }
                div.pair { @for picture in &pictures { (picture) } }
                (during(&runs))
            }
        }
    })
}

fn picture(run: &Run) -> Result<Markup, PageError> {
    let mut sites: Vec<u64> =
        run.per_second.iter().flat_map(|second| second.sites.keys().copied()).collect();
    sites.sort_unstable();
    sites.dedup();
    let line = |site: u64| {
        let points = run.per_second.iter().filter_map(|second| {
            let here = second.sites.get(&site).filter(|here| here.wanted > 0)?;
            // In the middle of its second.
            Some((count(second.t) + 0.5, part(here.in_time, here.wanted)))
        });
        let hit = if run.fault_sites.contains(&site) { " (hit)" } else { "" };
        let name = format!("site {site}{hit}");
        Line { name, ink: format!("s-{}", site.min(6)), dashed: false, points: points.collect() }
    };
    let lines: Vec<Line> = sites.into_iter().map(line).collect();
    let x = Axis { log: false, words: axis_s, least: 1.0 };
    let y = Axis { log: false, words: axis_share, least: 1.0 };
    let chart = Chart { lines: &lines, x, y, shade: run.fault_s, size: HALF }.draw()?;
    Ok(html! {
        div {
            p.small { b { (who(run)) } ", " (run.workload) ", " (run.fault) ", round trip " (run.rtt_ms) " ms" }
            (legend(&lines))
            (chart)
        }
    })
}

fn during(runs: &[&Run]) -> Markup {
    html! {
        div.wide { table {
            tr {
                th { "fault" } th { "workload" } th { "mode" } th { "site" }
                th.n { "answered in time while it lasted" } th.n { "longest time without an answer" }
            }
            @for run in runs {
                @for (site, answered) in &run.availability.during_fault {
                    @let gap = run.availability.longest_gap_ms.get(site).copied();
                    tr {
                        td { (run.fault) } td { (run.workload) } td { (who(run)) }
                        td { (site) @if run.fault_sites.contains(site) { " (hit)" } }
                        td.n { (share(*answered)) } td.n { (or_dash(gap, ms)) }
                    }
                }
            }
        } }
    }
}

/// How long nodes needed to agree after the last write or the end of the fault.
///
/// # Errors
///
/// When plotters could not draw.
pub(super) fn converge(report: &Report) -> Result<Markup, PageError> {
    let length = |run: &Run| run.fault_s.map(|(from, to)| to - from);
    let partitions = || faulty(report).filter(|run| run.fault == "partition");
    let by_length = lines(partitions(), length, |run| run.converge_ms);
    let chart = if by_length.iter().any(|line| line.points.len() > 1) {
        let x = Axis { log: false, words: axis_s, least: 1.0 };
        let y = Axis { log: true, words: axis_ms, least: 0.0 };
        Some(Chart { lines: &by_length, x, y, shade: None, size: HALF }.draw()?)
    } else {
        None
    };
    let known: Vec<&Run> = sound(report).filter(|run| run.converge_ms.is_some()).collect();
    let longest = known.iter().filter_map(|run| run.converge_ms).fold(0.0, f64::max);
    Ok(html! {
        h2 { "Until all agree" }
        @if known.is_empty() {
            (not_measured("Time to converge"))
        } @else {
            div.card {
                p.soft { "From the last operation (or the end of the fault, if that was later) until all nodes held the same." }
                @if let Some(chart) = chart {
                    p.small { "By the length of the partition, logarithmic" }
                    (legend(&by_length))
                    div.pair { div { (chart) } }
                }
                div.wide { table {
                    tr { th { "workload" } th { "mode" } th { "fault" } th.n { "lasted" } th.n { "round trip" } th.n { "until all agreed" } th {} }
                    @for run in known {
                        @let lasted = length(run).map(|s| s * 1_000.0);
                        @let took = run.converge_ms.unwrap_or(0.0);
                        tr {
                            td { (run.workload) } td { (who(run)) } td { (run.fault) }
                            td.n { (or_dash(lasted, ms)) } td.n { (run.rtt_ms) " ms" } td.n { (ms(took)) }
                            (bar(took, longest, &super::picks::ink(&who(run))))
                        }
                    }
                } }
            }
        }
    })
}

/// A cell with a bar as long as the figure.
pub(super) fn bar(value: f64, longest: f64, ink: &str) -> Markup {
    let width = if longest > 0.0 { (value / longest * 100.0).clamp(0.0, 100.0) } else { 0.0 };
    html! {
        td.bar { span class=(ink) style={ "width:" (format!("{width:.1}")) "%" } {} }
    }
}
