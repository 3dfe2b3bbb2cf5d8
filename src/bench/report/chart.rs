//! Lines by a number, as SVG.
//!
//! Promises: each line is one role of the style sheet, so a mode has one colour on the whole page, in
//! light and in dark; each point tells its figure when pointed at; a line of one point is seen. The
//! same lines give the same bytes.
//!
//! Relies on: plotters for scales, axes and their numbers. It paints with fixed colours; each stands
//! for a role, and the page's style sheet gives the role its colour. The lines themselves are written
//! here, over the axes, since plotters knows no roles.

use maud::{Markup, PreEscaped, html};
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;

use super::PageError;

const AXIS: RGBColor = RGBColor(1, 0, 1);
const GRID: RGBColor = RGBColor(1, 0, 2);
const TEXT: RGBColor = RGBColor(1, 0, 3);

const LEFT: u32 = 62;
const BOTTOM: u32 = 26;
const TOP: u32 = 10;
const RIGHT: u32 = 24;
/// More points than this are drawn without a mark for each.
const MARKED_MAX: usize = 24;

/// One line.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Line {
    /// What the legend says.
    pub(super) name: String,
    /// The class that the style sheet colours.
    pub(super) ink: String,
    /// Whether it is expected, not measured.
    pub(super) dashed: bool,
    /// Its points, in the order of x.
    pub(super) points: Vec<(f64, f64)>,
}

/// One axis.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    /// Whether each step multiplies.
    pub(super) log: bool,
    /// How its figures read.
    pub(super) words: fn(f64) -> String,
    /// The least that its end must reach; of no meaning to one that multiplies.
    pub(super) least: f64,
}

/// A picture.
#[derive(Debug)]
pub(super) struct Chart<'a> {
    pub(super) lines: &'a [Line],
    pub(super) x: Axis,
    pub(super) y: Axis,
    /// From where to where on x it is shaded.
    pub(super) shade: Option<(f64, f64)>,
    /// Width and height, in pixels of its own; the page scales it.
    pub(super) size: (u32, u32),
}

impl Chart<'_> {
    /// Draws it.
    ///
    /// # Errors
    ///
    /// When plotters could not.
    pub(super) fn draw(&self) -> Result<Markup, PageError> {
        let (x, y) = (self.range(|point| point.0, self.x), self.range(|point| point.1, self.y));
        let mut svg = String::new();
        let drawn = match (self.x.log, self.y.log) {
            (false, false) => self.paint(&mut svg, x.0..x.1, y.0..y.1),
            (false, true) => self.paint(&mut svg, x.0..x.1, (y.0..y.1).log_scale()),
            (true, false) => self.paint(&mut svg, (x.0..x.1).log_scale(), y.0..y.1),
            (true, true) => self.paint(&mut svg, (x.0..x.1).log_scale(), (y.0..y.1).log_scale()),
        };
        let over = drawn.map_err(|error| PageError::Plot(error.to_string()))?;
        let inner = svg.split_once('>').map_or("", |(_, rest)| rest);
        let inner = inner.rsplit_once("</svg>").map_or(inner, |(body, _)| body);
        let (width, height) = self.size;
        Ok(html! {
            svg.plot viewBox={ "0 0 " (width) " " (height) } role="img" {
                (PreEscaped(inner)) (over)
            }
        })
    }

    /// From where to where an axis goes.
    fn range(&self, of: fn(&(f64, f64)) -> f64, axis: Axis) -> (f64, f64) {
        let values = || self.lines.iter().flat_map(|line| &line.points).map(of);
        let most = values().fold(f64::MIN, f64::max);
        if !axis.log {
            return (0.0, most.max(0.0).max(axis.least));
        }
        let least = values().filter(|value| *value > 0.0).fold(f64::MAX, f64::min);
        let least = if least < f64::MAX { least } else { 1.0 };
        // Whole powers of ten, at least one: so the axis has a number at each end.
        let from = 10_f64.powf((least * 1.000_001).log10().floor());
        let to = 10_f64.powf((most.max(least) * 0.999_999).log10().ceil());
        (from, to.max(from * 10.0))
    }

    fn paint<X, Y, A, B>(
        &self,
        svg: &mut String,
        x: A,
        y: B,
    ) -> Result<Markup, DrawingAreaErrorKind<std::io::Error>>
    where
        A: AsRangedCoord<CoordDescType = X, Value = f64>,
        B: AsRangedCoord<CoordDescType = Y, Value = f64>,
        X: Ranged<ValueType = f64> + ValueFormatter<f64>,
        Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
    {
        let root = SVGBackend::with_string(svg, self.size).into_drawing_area();
        let mut chart = ChartBuilder::on(&root)
            .margin_top(TOP)
            .margin_right(RIGHT)
            .x_label_area_size(BOTTOM)
            .y_label_area_size(LEFT)
            .build_cartesian_2d(x, y)?;
        let text = ("sans-serif", 13).into_font().color(&TEXT);
        chart
            .configure_mesh()
            .disable_x_mesh()
            .bold_line_style(GRID)
            .max_light_lines(1)
            .light_line_style(TRANSPARENT)
            .axis_style(AXIS)
            .label_style(text)
            .x_labels(if self.size.0 > 700 { 10 } else { 6 })
            .y_labels(6)
            .x_label_formatter(&|at| (self.x.words)(*at))
            .y_label_formatter(&|at| (self.y.words)(*at))
            .draw()?;
        let area = chart.plotting_area().get_pixel_range();
        // What lies outside a scale that multiplies, a zero, lies on its edge.
        let at = |(x, y): (f64, f64)| {
            let x = if self.x.log { x.max(f64::MIN_POSITIVE) } else { x };
            let y = if self.y.log { y.max(f64::MIN_POSITIVE) } else { y };
            let (x, y) = chart.backend_coord(&(x, y));
            (x.clamp(area.0.start, area.0.end), y.clamp(area.1.start, area.1.end))
        };
        let shade = self.shade.map(|(from, to)| (at((from, 0.0)).0, at((to, 0.0)).0));
        let over = html! {
            @if let Some((from, to)) = shade {
                rect.shade x=(from) y=(area.1.start) width=(to - from) height=(area.1.end - area.1.start) {}
            }
            @for line in self.lines { (self.line(line, &at)) }
        };
        drop(chart);
        root.present()?;
        drop(root);
        Ok(over)
    }

    fn line(&self, line: &Line, at: &dyn Fn((f64, f64)) -> (i32, i32)) -> Markup {
        let places: Vec<_> = line.points.iter().map(|point| (at(*point), point)).collect();
        let path: Vec<_> = places.iter().map(|((x, y), _)| format!("{x},{y}")).collect();
        let dashed = if line.dashed { " dashed" } else { "" };
        html! {
            g class={ (line.ink) (dashed) } {
                polyline points=(path.join(" ")) {}
                @if places.len() <= MARKED_MAX {
                    @for ((x, y), (of, value)) in &places {
                        circle cx=(x) cy=(y) r="3.5" {
                            title { (line.name) ": " ((self.y.words)(*value)) " at " ((self.x.words)(*of)) }
                        }
                    }
                }
            }
        }
    }
}

/// What the colours of lines mean: each name once.
pub(super) fn legend<'a>(lines: impl IntoIterator<Item = &'a Line>) -> Markup {
    let mut seen: Vec<(&str, &str, bool)> = Vec::new();
    for line in lines {
        let entry = (line.name.as_str(), line.ink.as_str(), line.dashed);
        if !seen.contains(&entry) {
            seen.push(entry);
        }
    }
    html! {
        p.legend {
            @for (name, ink, dashed) in seen {
                span.key { i class={ (ink) @if dashed { " dashed" } } {} (name) }
            }
        }
    }
}
