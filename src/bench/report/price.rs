//! The one picture, and what belongs to it: price and loss by distance, time to visibility, loss by rate.
//!
//! Promises: price and loss of a workload stand side by side in the same colours; what the model says is
//! dashed beside what was measured.

use maud::{Markup, html};

use super::chart::{Axis, Chart, Line, legend};
use super::picks::{calm, different, lines, usual_load, workloads};
use super::words::{axis_ms, axis_rate, axis_share, count};
use super::{PageError, not_measured};
use crate::bench::figures::{Load, Loss, Report, Run};

const HALF: (u32, u32) = (540, 300);

const BY_MS: Axis = Axis { log: false, words: axis_ms, least: 10.0 };
const LONG_MS: Axis = Axis { log: true, words: axis_ms, least: 0.0 };
const SHARE: Axis = Axis { log: false, words: axis_share, least: 0.01 };

/// Which loss a picture shows.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// Of what builds on what was there.
    Effective,
    /// Of what does not: nothing depends on what was lost.
    Direct,
}

impl Kind {
    /// The one that says something of these runs.
    fn of<'a>(mut runs: impl Iterator<Item = &'a Run>) -> Self {
        let builds =
            runs.any(|run| run.loss.as_ref().is_some_and(|loss| loss.effective > loss.direct));
        if builds { Self::Effective } else { Self::Direct }
    }

    fn measured(self, loss: &Loss) -> f64 {
        match self {
            Self::Effective => loss.effective,
            Self::Direct => loss.direct,
        }
    }

    fn predicted(self, loss: &Loss) -> Option<f64> {
        match self {
            Self::Effective => loss.predicted_effective,
            Self::Direct => loss.predicted_direct,
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Effective => "Effective loss",
            Self::Direct => "Direct loss",
        }
    }

    /// Measured lines, and dashed ones for what the model says.
    fn lines<'a>(
        self,
        runs: impl Iterator<Item = &'a Run> + Clone,
        x: impl Fn(&Run) -> Option<f64> + Copy,
    ) -> Vec<Line> {
        let mut all =
            lines(runs.clone(), x, |run| run.loss.as_ref().map(|loss| self.measured(loss)));
        let model = lines(runs, x, |run| self.predicted(run.loss.as_ref()?));
        all.extend(model.into_iter().map(|line| {
            let name = format!("{}, model", line.name);
            Line { name, dashed: true, ..line }
        }));
        all
    }
}

#[allow(clippy::unnecessary_wraps, reason = "the form that lines are asked for in")]
fn rtt(run: &Run) -> Option<f64> {
    Some(count(run.rtt_ms))
}

fn p99(run: &Run) -> Option<f64> {
    run.writes().filter(|op| op.latency.count > 0).map(|op| op.latency.p99)
}

/// Latency and loss by distance, a row for each workload.
///
/// # Errors
///
/// When plotters could not draw.
pub(super) fn section(report: &Report) -> Result<Markup, PageError> {
    let mut rows = Vec::new();
    let distances = |workload: &&str| {
        different(calm(report).filter(|run| run.workload == **workload).map(|run| run.rtt_ms)).len()
    };
    let all = workloads(calm(report));
    let most = all.iter().map(distances).max().unwrap_or(0);
    // What was measured at one distance only has no line, and is in the tables below.
    for workload in all.into_iter().filter(|workload| most == 1 || distances(workload) > 1) {
        if let Some(row) = row(report, workload)? {
            rows.push(row);
        }
    }
    Ok(html! {
        h2 { "The price and the loss" }
        p.soft {
            "Left: how long a write takes, 99 of 100, by the time from one site to another and back. Right: \
             which share of the acknowledged writes was lost. " b { "Direct" } " loss: never seen by a later \
             writer, and not what is shown. " b { "Effective" } " loss: without effect on what is shown, also \
             through a chain of writers who built on something else. Dashed: what the model expects."
        }
        @if rows.is_empty() { (not_measured("Latency and loss by distance")) }
        @for row in rows { (row) }
    })
}

fn row(report: &Report, workload: &str) -> Result<Option<Markup>, PageError> {
    let here = || calm(report).filter(move |run| run.workload == workload);
    let load = usual_load(here());
    let runs = || here().filter(move |run| Some(run.load) == load);
    let latency = lines(runs(), rtt, p99);
    if latency.is_empty() {
        return Ok(None);
    }
    let kind = Kind::of(runs());
    let loss = kind.lines(runs(), rtt);
    let left = Chart { lines: &latency, x: BY_MS, y: LONG_MS, shade: None, size: HALF }.draw()?;
    let right = Chart { lines: &loss, x: BY_MS, y: SHARE, shade: None, size: HALF }.draw()?;
    let load = load.map(super::how::load).unwrap_or_default();
    Ok(Some(html! {
        div.card {
            p { b { (workload) } span.soft { " · " (load) } }
            (legend(latency.iter().chain(&loss)))
            div.pair {
                div { p.small { "Write latency, p99, logarithmic" } (left) }
                div {
                    p.small { (kind.title()) ", share of acknowledged writes" }
                    @if loss.is_empty() { (not_measured("Loss")) } @else { (right) }
                }
            }
            p.small.soft.axis { "x: round-trip time between sites" }
        }
    }))
}

/// When other sites show a write, as a distribution; a picture for each distance.
///
/// # Errors
///
/// When plotters could not draw.
pub(super) fn visibility(report: &Report) -> Result<Markup, PageError> {
    let seen =
        || calm(report).filter(|run| run.visibility.as_ref().is_some_and(|v| v.cdf.len() > 1));
    let workload = workloads(seen()).first().copied().map(str::to_owned);
    let runs = || seen().filter(|run| Some(&run.workload) == workload.as_ref());
    let load = usual_load(runs());
    let runs = || runs().filter(|run| Some(run.load) == load);
    let mut pictures = Vec::new();
    for distance in different(runs().map(|run| run.rtt_ms)) {
        let there = runs().filter(|run| run.rtt_ms == distance);
        let lines: Vec<Line> = distributions(there);
        let x = Axis { log: true, words: axis_ms, least: 0.0 };
        let y = Axis { log: false, words: axis_share, least: 1.0 };
        let chart = Chart { lines: &lines, x, y, shade: None, size: HALF }.draw()?;
        pictures.push((distance, lines, chart));
    }
    Ok(html! {
        h2 { "When others see a write" }
        @if pictures.is_empty() {
            (not_measured("Time to visibility"))
        } @else {
            div.card {
                p {
                    b { (workload.unwrap_or_default()) }
                    span.soft {
                        " · share of writes that another site shows, by the time since their \
                         acknowledgement; one clock for all, so measured and not estimated"
                    }
                }
                (legend(pictures.iter().flat_map(|(_, lines, _)| lines)))
                div.pair {
                    @for (distance, _, chart) in &pictures {
                        div { p.small { "Round trip " (distance) " ms" } (chart) }
                    }
                }
            }
        }
    })
}

fn distributions<'a>(runs: impl Iterator<Item = &'a Run>) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for run in runs {
        let name = super::picks::who(run);
        let points = run.visibility.as_ref().map(|seen| thinned(&seen.cdf)).unwrap_or_default();
        // Of repeated runs the first: distributions have no median.
        if lines.iter().all(|line| line.name != name) {
            lines.push(Line { ink: super::picks::ink(&name), name, dashed: false, points });
        }
    }
    lines
}

/// No more points than a picture can show, the last one among them.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    const MOST: usize = 120;
    let step = points.len().div_ceil(MOST).max(1);
    let last = points.len().saturating_sub(1);
    let kept = points.iter().enumerate().filter(|(at, _)| at % step == 0 || *at == last);
    // A scale that multiplies has no place for nothing.
    kept.map(|(_, (ms, share))| (ms.max(0.05), *share)).collect()
}

/// Loss by the rate of writing, with what the model says; a picture for each workload.
///
/// # Errors
///
/// When plotters could not draw.
pub(super) fn by_rate(report: &Report) -> Result<Markup, PageError> {
    let rate = |run: &Run| match run.load {
        Load::Open { rate } => Some(rate),
        Load::Closed { .. } => None,
    };
    let mut pictures = Vec::new();
    let lossy = || calm(report).filter(|run| run.loss.is_some());
    for (workload, distance) in different(lossy().map(|run| (run.workload.as_str(), run.rtt_ms))) {
        let runs = || lossy().filter(move |run| run.workload == workload && run.rtt_ms == distance);
        let several = |line: &Line| line.points.len() > 1;
        let lines: Vec<Line> =
            Kind::of(runs()).lines(runs(), rate).into_iter().filter(several).collect();
        if lines.is_empty() {
            continue;
        }
        let x = Axis { log: true, words: axis_rate, least: 0.0 };
        let chart = Chart { lines: &lines, x, y: SHARE, shade: None, size: HALF }.draw()?;
        let title = Kind::of(runs()).title();
        pictures.push(html! {
            div {
                p.small { (workload) ", round trip " (distance) " ms: " (title.to_lowercase()) }
                (legend(&lines))
                (chart)
            }
        });
    }
    Ok(html! {
        h2 { "Loss by the rate of operations" }
        @if pictures.is_empty() {
            (not_measured("Loss by rate"))
        } @else {
            div.card { div.pair { @for picture in &pictures { (picture) } } }
        }
    })
}
