//! Latencies and rates over time, as SVG.
//!
//! Promises: all plots of a page share one time axis, to the pixel; a million operations make no
//! bigger a picture than a thousand pixels can show: points that fall into one cell are drawn once,
//! the darker the more there are. The same history gives the same bytes. Windows in which a fault was
//! in force are shaded and named.
//!
//! Relies on: plotters for scales, axes and lines. It paints with fixed colours; each stands for a
//! role, and the page's style sheet gives the role its colour in light and in dark.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;

use maud::{Markup, PreEscaped, html};
use plotters::coord::ranged1d::ValueFormatter;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;

use super::faults::Window;
use super::words;
use crate::history::{History, Kind};

/// Width of every plot, in pixels of its own; the page scales it.
pub(super) const WIDTH: u32 = 1000;
const HEIGHT: u32 = 240;
/// Space left of the plots: wide enough for the names of the faults in their rows.
pub(super) const LEFT: u32 = 112;
/// Space right of the plots: half of the last number under the axis.
pub(super) const RIGHT: u32 = 18;
const TOP: u32 = 18;
const BOTTOM: u32 = 26;
/// Points of a scatter plot that fall into a square of so many pixels are one.
const CELL: i32 = 3;
/// How many points in time a line has at most.
const BUCKETS_MAX: u64 = 160;

const AXIS: RGBColor = RGBColor(1, 0, 1);
const GRID: RGBColor = RGBColor(1, 0, 2);
const TEXT: RGBColor = RGBColor(1, 0, 3);

/// A line or a cloud of points.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ink {
    /// What the legend says.
    pub(super) name: &'static str,
    /// The class that the style sheet colours.
    pub(super) class: &'static str,
    color: RGBColor,
}

const OK: Ink = Ink { name: "ok", class: "ok", color: RGBColor(2, 0, 1) };
const FAIL: Ink = Ink { name: "fail", class: "fail", color: RGBColor(2, 0, 2) };
const INFO: Ink = Ink { name: "info", class: "info", color: RGBColor(2, 0, 3) };
/// How operations end, in the order in which they are painted.
pub(super) const ENDINGS: [Ink; 3] = [OK, FAIL, INFO];

/// The lines of the latency plot.
pub(super) const QUANTILES: [Ink; 4] = [
    Ink { name: "median", class: "q50", color: RGBColor(3, 0, 1) },
    Ink { name: "95 of 100", class: "q95", color: RGBColor(3, 0, 2) },
    Ink { name: "99 of 100", class: "q99", color: RGBColor(3, 0, 3) },
    Ink { name: "longest", class: "q100", color: RGBColor(3, 0, 4) },
];

type PlotError = DrawingAreaErrorKind<io::Error>;

/// What the plots show, taken from a history once.
#[derive(Debug)]
pub(super) struct Series {
    /// When an operation completed, how long it took and how it ended.
    points: Vec<(u64, u64, Kind)>,
    /// The end of the time axis.
    end: u64,
    bucket: u64,
}

impl Series {
    /// Of this history.
    pub(super) fn of(history: &History) -> Self {
        let mut points: Vec<(u64, u64, Kind)> = history
            .operations()
            .iter()
            .filter_map(|operation| {
                let complete = operation.complete?;
                let took = complete.time.saturating_sub(operation.invoke.time);
                Some((complete.time, took, complete.kind))
            })
            .collect();
        points.sort_unstable();
        let end = history.events.iter().map(|event| event.time).max().unwrap_or(0).max(1_000_000);
        Self { points, end, bucket: bucket(end) }
    }

    /// Whether there is nothing to plot: no operation completed, or nobody took the time.
    pub(super) fn is_empty(&self) -> bool {
        self.points.iter().all(|(time, _, _)| *time == 0)
    }

    /// The end of the time axis, in nanoseconds.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// How long each point of a line stands for.
    pub(super) fn bucket(&self) -> u64 {
        self.bucket
    }
}

/// A round length of time of which the whole has few enough.
fn bucket(end: u64) -> u64 {
    let mut size = 1_000;
    for factor in [2, 5, 10].into_iter().cycle() {
        if end / size < BUCKETS_MAX {
            break;
        }
        size = match factor {
            2 => size * 2,
            5 => size / 2 * 5,
            _ => size * 2,
        };
    }
    size
}

fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

/// Every operation as a point: when it completed and how long it took, coloured by its ending.
///
/// # Errors
///
/// When plotters could not draw.
pub(super) fn points(series: &Series, windows: &[Window]) -> io::Result<Markup> {
    let scale = latency_scale(series.points.iter().map(|(_, took, _)| *took));
    plot(series, windows, scale.log_scale(), words::milliseconds, |chart| {
        let mut cells: BTreeMap<(usize, i32, i32), u32> = BTreeMap::new();
        for (time, took, kind) in &series.points {
            let place = chart.backend_coord(&(seconds(*time), *took as f64 / 1e6));
            let ink = ENDINGS.iter().position(|ink| ink.name == name(*kind)).unwrap_or(0);
            *cells.entry((ink, place.0 / CELL, place.1 / CELL)).or_default() += 1;
        }
        Ok(dots(&cells))
    })
}

fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Ok => "ok",
        Kind::Fail => "fail",
        Kind::Info | Kind::Invoke => "info",
    }
}

/// One path for each ending and density: a dot is a line of no length with round ends.
fn dots(cells: &BTreeMap<(usize, i32, i32), u32>) -> String {
    let mut paths: BTreeMap<(usize, u8), String> = BTreeMap::new();
    for ((ink, x, y), count) in cells {
        let density = match count {
            1 => 1,
            2..=5 => 2,
            _ => 3,
        };
        let path = paths.entry((*ink, density)).or_default();
        path.push_str(&format!("M{} {}h0", x * CELL + 1, y * CELL + 1));
    }
    let markup = html! {
        @for ((ink, density), path) in &paths {
            path class={ "dot d" (density) " " (ENDINGS.get(*ink).map_or("", |ink| ink.class)) } d=(path) {}
        }
    };
    markup.into_string()
}

/// Quantiles of the latency of what took effect, as lines.
///
/// # Errors
///
/// When plotters could not draw.
pub(super) fn quantiles(series: &Series, windows: &[Window]) -> io::Result<Markup> {
    let mut buckets: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for (time, took, kind) in &series.points {
        if *kind == Kind::Ok {
            buckets.entry(time / series.bucket).or_default().push(*took);
        }
    }
    let lines: Vec<(u64, [f64; 4])> = buckets
        .into_iter()
        .filter_map(|(place, took)| {
            let q = super::quantiles::Quantiles::of(took)?;
            Some((place, [q.p50_ms, q.p95_ms, q.p99_ms, q.max_ms]))
        })
        .collect();
    let ok = series.points.iter().filter(|point| point.2 == Kind::Ok).map(|point| point.1);
    let scale = latency_scale(ok);
    plot(series, windows, scale.log_scale(), words::milliseconds, |chart| {
        for (place, ink) in QUANTILES.iter().enumerate().rev() {
            let values = lines
                .iter()
                .filter_map(|(bucket, values)| Some((*bucket, values.get(place)?.max(1e-3))));
            for piece in pieces(values, series) {
                chart.draw_series(LineSeries::new(piece, ink.color.stroke_width(2)))?;
            }
        }
        Ok(String::new())
    })
}

/// Operations per second by how they ended, as lines.
///
/// # Errors
///
/// When plotters could not draw.
pub(super) fn rates(series: &Series, windows: &[Window]) -> io::Result<Markup> {
    let buckets = series.end / series.bucket + 1;
    let mut counts: BTreeMap<(&str, u64), u64> = BTreeMap::new();
    for (time, _, kind) in &series.points {
        *counts.entry((name(*kind), time / series.bucket)).or_default() += 1;
    }
    let per_second = 1e9 / series.bucket as f64;
    let most = counts.values().max().copied().unwrap_or(1) as f64 * per_second * 1.05;
    plot(series, windows, 0.0..most, thousands, |chart| {
        for ink in ENDINGS.iter().filter(|ink| counts.keys().any(|(name, _)| *name == ink.name)) {
            let line = (0..buckets).map(|place| {
                let count = counts.get(&(ink.name, place)).copied().unwrap_or(0);
                (middle(place, series), count as f64 * per_second)
            });
            chart.draw_series(LineSeries::new(line, ink.color.stroke_width(2)))?;
        }
        Ok(String::new())
    })
}

fn middle(place: u64, series: &Series) -> f64 {
    seconds((place * series.bucket + series.bucket / 2).min(series.end))
}

/// Lines that break where nothing is known.
fn pieces(values: impl Iterator<Item = (u64, f64)>, series: &Series) -> Vec<Vec<(f64, f64)>> {
    let mut pieces: Vec<Vec<(f64, f64)>> = Vec::new();
    let mut before = None;
    for (place, value) in values {
        let point = (middle(place, series), value);
        match pieces.last_mut() {
            Some(piece) if before == place.checked_sub(1) => piece.push(point),
            _ => pieces.push(vec![point]),
        }
        before = Some(place);
    }
    // A lone point would be a line of no length, which nobody sees.
    let width = seconds(series.bucket) / 2.0;
    for piece in &mut pieces {
        if let [(x, y)] = piece.as_slice() {
            *piece = vec![(x - width, *y), (x + width, *y)];
        }
    }
    pieces
}

/// From the power of ten below the shortest to a little above the longest, in milliseconds.
fn latency_scale(took: impl Iterator<Item = u64> + Clone) -> Range<f64> {
    let shortest = took.clone().min().unwrap_or(1_000_000).max(1_000) as f64 / 1e6;
    let longest = took.max().unwrap_or(10_000_000) as f64 / 1e6;
    let floor = 10f64.powf(shortest.log10().floor());
    floor..longest.max(floor * 10.0) * 1.3
}

fn thousands(rate: f64) -> String {
    if rate >= 10_000.0 { format!("{:.0}k", rate / 1e3) } else { format!("{rate:.0}") }
}

type Chart<'a, 'b, Y> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, Y>>;

/// Axes, shades, then whatever `draw` paints; what it returns lies beneath the shades' names.
fn plot<R, Y, D>(
    series: &Series,
    windows: &[Window],
    scale: R,
    number: fn(f64) -> String,
    draw: D,
) -> io::Result<Markup>
where
    R: plotters::coord::ranged1d::AsRangedCoord<CoordDescType = Y, Value = f64>,
    Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
    D: FnOnce(&mut Chart<'_, '_, Y>) -> Result<String, PlotError>,
{
    let mut svg = String::new();
    let over = paint(&mut svg, series, windows, scale, number, draw).map_err(io::Error::other)?;
    let inner = svg.split_once('>').map_or("", |(_, rest)| rest);
    let inner = inner.rsplit_once("</svg>").map_or(inner, |(body, _)| body);
    Ok(html! {
        svg.plot viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" {
            (PreEscaped(inner)) (PreEscaped(over))
        }
    })
}

fn paint<R, Y, D>(
    svg: &mut String,
    series: &Series,
    windows: &[Window],
    scale: R,
    number: fn(f64) -> String,
    draw: D,
) -> Result<String, PlotError>
where
    R: plotters::coord::ranged1d::AsRangedCoord<CoordDescType = Y, Value = f64>,
    Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
    D: FnOnce(&mut Chart<'_, '_, Y>) -> Result<String, PlotError>,
{
    let root = SVGBackend::with_string(svg, (WIDTH, HEIGHT)).into_drawing_area();
    let mut chart = ChartBuilder::on(&root)
        .margin_top(TOP)
        .margin_right(RIGHT)
        .x_label_area_size(BOTTOM)
        .y_label_area_size(LEFT)
        .build_cartesian_2d(0.0..seconds(series.end), scale)?;
    let area = chart.plotting_area().get_pixel_range();
    let text = ("sans-serif", 14).into_font().color(&TEXT);
    chart
        .configure_mesh()
        .disable_x_mesh()
        .bold_line_style(GRID)
        .max_light_lines(1)
        .light_line_style(TRANSPARENT)
        .axis_style(AXIS)
        .label_style(text)
        .x_labels(10)
        .y_labels(6)
        .x_label_formatter(&|at| format!("{at} s"))
        .y_label_formatter(&|at| number(*at))
        .draw()?;
    let under = draw(&mut chart)?;
    drop(chart);
    root.present()?;
    drop(root);
    Ok(under + &shades(series, windows, &area).into_string())
}

/// Where a time lies on the axis that all plots share.
pub(super) fn across(nanos: u64, end: u64) -> f64 {
    let width = f64::from(WIDTH - LEFT - RIGHT);
    f64::from(LEFT) + width * (nanos as f64 / end.max(1) as f64).min(1.0)
}

/// The windows in which faults were in force, with their names where there is room for them.
fn shades(series: &Series, windows: &[Window], area: &(Range<i32>, Range<i32>)) -> Markup {
    let height = area.1.end - area.1.start;
    let names = bands(series, windows);
    html! {
        @for window in windows.iter().filter(|window| window.bites()) {
            @let from = across(window.begin, series.end);
            @let width = (across(window.end, series.end) - from).max(1.0);
            rect.shade x=(tenths(from)) y=(area.1.start) width=(tenths(width)) height=(height) {
                title {
                    (window.name) " from " (words::moment(window.begin))
                    @if window.lasts() { " to " (words::moment(window.end)) }
                    " " (words::value(&window.value))
                }
            }
        }
        @for (from, name) in names {
            text.band x=(tenths(from)) y=(area.1.start - 5) { (name) }
        }
    }
}

/// Pixels, without digits that nobody sees.
pub(super) fn tenths(pixels: f64) -> String {
    let text = format!("{pixels:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

/// Names of overlapping windows together, left out where they would run into the one before.
fn bands(series: &Series, windows: &[Window]) -> Vec<(f64, String)> {
    const CHAR: f64 = 6.2;
    let mut bands: Vec<(u64, u64, Vec<&str>)> = Vec::new();
    for window in windows.iter().filter(|window| window.bites()) {
        match bands.last_mut() {
            Some((_, end, names)) if window.begin <= *end => {
                *end = window.end.max(*end);
                if !names.contains(&window.name.as_str()) {
                    names.push(&window.name);
                }
            }
            _ => bands.push((window.begin, window.end, vec![&window.name])),
        }
    }
    let places: Vec<f64> = bands.iter().map(|band| across(band.0, series.end)).collect();
    let mut free = 0.0;
    let mut labels = Vec::new();
    for (place, (_, _, names)) in bands.iter().enumerate() {
        let from = places.get(place).copied().unwrap_or(0.0);
        let until = places.get(place + 1).copied().unwrap_or(f64::from(WIDTH));
        let whole = names.join(" + ");
        let room = ((until - from) / CHAR).floor();
        let fits = |text: &str| text.chars().count() as f64 <= room;
        let count = format!("{} faults", names.len());
        let label = [whole, count].into_iter().find(|text| fits(text));
        if let Some(label) = label.filter(|_| from >= free) {
            free = from + CHAR * label.chars().count() as f64;
            labels.push((from, label));
        }
    }
    labels
}

/// One row for each kind of fault, on the same time axis as the plots.
pub(super) fn lanes(series: &Series, windows: &[Window]) -> Markup {
    const ROW: usize = 18;
    let mut rows: BTreeMap<&str, Vec<&Window>> = BTreeMap::new();
    for window in windows {
        rows.entry(&window.name).or_default().push(window);
    }
    let height = rows.len() * ROW + 4;
    html! {
        svg.plot.lanes viewBox={ "0 0 " (WIDTH) " " (height) } role="img" {
            @for (row, (name, windows)) in rows.iter().enumerate() {
                @let y = row * ROW + 2;
                text.lane x=(LEFT - 8) y=(y + 12) { (words::shortened(name, 17)) }
                line.lane x1=(LEFT) x2=(WIDTH - RIGHT) y1=(y + ROW / 2) y2=(y + ROW / 2) {}
                @for window in windows {
                    (lane_bar(series, window, y))
                }
            }
        }
    }
}

fn lane_bar(series: &Series, window: &Window, y: usize) -> Markup {
    let from = across(window.begin, series.end);
    let width = across(window.end, series.end) - from;
    let class = if window.bites() { "installed" } else { "skipped" };
    html! {
        @if window.lasts() {
            rect class=(class) x=(tenths(from)) y=(y + 3) width=(tenths(width.max(2.0))) height="12" rx="2" {
                title { (lane_title(window)) }
            }
        } @else {
            circle class=(class) cx=(tenths(from)) cy=(y + 9) r="4.5" { title { (lane_title(window)) } }
        }
    }
}

fn lane_title(window: &Window) -> String {
    let mut text = format!("{} at {}", window.name, words::moment(window.begin));
    if window.lasts() {
        text.push_str(&format!(" for {}", words::duration(window.end - window.begin)));
    }
    text.push_str(&format!("\n{}", words::value(&window.value)));
    if !window.bites() {
        let why = window.why.as_deref().unwrap_or("no reason given");
        text.push_str(&format!("\nnot in force: {}", words::shortened(why, 120)));
    }
    text
}

#[cfg(test)]
mod tests;
