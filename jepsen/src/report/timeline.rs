//! The smallest history around an anomaly, as a picture.
//!
//! Why it exists: who asked what while whom else's request was under way is what an anomaly is about,
//! and a list of events does not show it.
//!
//! Promises: one row per process, one bar per operation from its invocation to its completion; the
//! order of all ends of bars is the history's own. Distances are stretched so that every label fits,
//! and long waits are cut; the page says so. Of the surroundings only operations that overlap the
//! anomaly on the same keys are shown, the nearest first, at most [`NEAR_MAX`] and [`FAR_MAX`].

use std::collections::{BTreeMap, BTreeSet};

use maud::{Markup, html};

use super::faults::Window;
use super::plots::tenths;
use super::words;
use crate::history::{Kind, Operation, Process, Value};
use crate::verdict::Anomaly;

/// Operations of the anomaly itself that are drawn; a thousand lost elements need no thousand bars.
pub(super) const NEAR_MAX: usize = 40;
/// Operations around it that are drawn.
pub(super) const FAR_MAX: usize = 24;

const ROW: f64 = 30.0;
const BAR: f64 = 20.0;
const HEAD: f64 = 26.0;
const FOOT: f64 = 10.0;
const CHAR: f64 = 6.7;
const LABEL_CHARS_MAX: usize = 36;
/// Least distance between two ends of bars.
const STEP: f64 = 9.0;
/// Most that a wait adds to it.
const STRETCH: f64 = 60.0;
/// A wait so much longer than the usual one is cut, and says how long it was.
const CUT_FACTOR: u64 = 30;
const CUT: f64 = 84.0;

/// What is drawn.
#[derive(Debug)]
pub(super) struct Scene<'a> {
    /// The operations of the anomaly, in the order of their invocations.
    pub(super) near: Vec<Operation<'a>>,
    /// How many of them are not drawn.
    pub(super) near_left_out: usize,
    /// Operations around it.
    pub(super) far: Vec<Operation<'a>>,
    /// How many of these are not drawn.
    pub(super) far_left_out: usize,
    /// The keys that it is about; empty when operations have none.
    pub(super) keys: BTreeSet<&'a Value>,
    /// Faults that were in force meanwhile.
    pub(super) windows: Vec<&'a Window>,
}

impl<'a> Scene<'a> {
    /// Of this anomaly; `None` when none of its events is an operation's.
    pub(super) fn of(
        anomaly: &Anomaly,
        operations: &[Operation<'a>],
        windows: &'a [Window],
    ) -> Option<Self> {
        let wanted: BTreeSet<u64> = anomaly.events.iter().copied().collect();
        let belongs = |operation: &Operation<'_>| {
            wanted.contains(&operation.invoke.index)
                || operation.complete.is_some_and(|event| wanted.contains(&event.index))
        };
        let mut near: Vec<Operation<'a>> =
            operations.iter().copied().filter(|operation| belongs(operation)).collect();
        let near_left_out = near.len().saturating_sub(NEAR_MAX);
        near.truncate(NEAR_MAX);
        let from = near.iter().map(|operation| operation.invoke.index).min()?;
        let to = near.iter().map(last_index).max()?;
        let keys: BTreeSet<&Value> = near.iter().flat_map(words::keys).collect();
        let mut far: Vec<Operation<'a>> = operations
            .iter()
            .copied()
            .filter(|operation| !belongs(operation) && operation.invoke.index <= to)
            .filter(|operation| reach(operation) >= from)
            .filter(|operation| {
                keys.is_empty() || words::keys(operation).iter().any(|key| keys.contains(key))
            })
            .collect();
        far.sort_by_key(|operation| (distance(operation, &near), operation.invoke.index));
        let far_left_out = far.len().saturating_sub(FAR_MAX);
        far.truncate(FAR_MAX);
        far.sort_by_key(|operation| operation.invoke.index);
        let begin = near.iter().map(|operation| operation.invoke.time).min()?;
        let end = near.iter().filter_map(|operation| operation.complete).map(|e| e.time).max();
        let end = end.unwrap_or(begin);
        let windows = windows
            .iter()
            .filter(|window| window.bites() && window.begin <= end && window.end >= begin)
            .collect();
        Some(Self { near, near_left_out, far, far_left_out, keys, windows })
    }

    fn all(&self) -> impl Iterator<Item = (&Operation<'a>, bool)> {
        let near = self.near.iter().map(|operation| (operation, true));
        near.chain(self.far.iter().map(|operation| (operation, false)))
    }
}

fn last_index(operation: &Operation<'_>) -> u64 {
    operation.complete.unwrap_or(operation.invoke).index
}

/// Until when it may matter: what nobody knows may take effect at any later time.
fn reach(operation: &Operation<'_>) -> u64 {
    match operation.kind() {
        Kind::Info | Kind::Invoke if !words::only_reads(operation) => u64::MAX,
        _ => last_index(operation),
    }
}

/// How many events lie between this operation and the nearest of these.
fn distance(operation: &Operation<'_>, near: &[Operation<'_>]) -> u64 {
    let (from, to) = (operation.invoke.index, last_index(operation));
    near.iter()
        .map(|other| {
            let before = other.invoke.index.saturating_sub(to);
            let after = from.saturating_sub(last_index(other));
            before.max(after)
        })
        .min()
        .unwrap_or(0)
}

/// Where each event lies from left to right, and where waits were cut.
struct Axis {
    places: BTreeMap<u64, f64>,
    /// Index, time and place of each event, in order.
    ends: Vec<(u64, u64, f64)>,
    cuts: Vec<(f64, u64)>,
    width: f64,
}

impl Axis {
    fn of(scene: &Scene<'_>) -> Self {
        let mut times: BTreeMap<u64, u64> = BTreeMap::new();
        let mut opens: BTreeMap<u64, (u64, f64)> = BTreeMap::new();
        let mut rights: Vec<(u64, f64)> = Vec::new();
        for (operation, _) in scene.all() {
            let need = width_of(&text_of(operation, scene));
            times.insert(operation.invoke.index, operation.invoke.time);
            rights.push((operation.invoke.index, need));
            if let Some(complete) = operation.complete {
                times.insert(complete.index, complete.time);
                opens.insert(complete.index, (operation.invoke.index, need));
            }
        }
        let usual = usual_wait(&times);
        let mut axis =
            Self { places: BTreeMap::new(), ends: Vec::new(), cuts: Vec::new(), width: 0.0 };
        let mut before: Option<(u64, f64)> = None;
        for (index, time) in times {
            let mut place = 12.0;
            if let Some((previous, at)) = before {
                let wait = time.saturating_sub(previous);
                if wait > usual.saturating_mul(CUT_FACTOR) {
                    axis.cuts.push((at + CUT / 2.0, wait));
                    place = at + CUT;
                } else {
                    let ratio = wait as f64 / usual as f64;
                    place = at + STEP + (ratio.ln_1p() * 14.0).min(STRETCH);
                }
            }
            // A bar is at least as long as what is written on it.
            if let Some((invoke, need)) = opens.get(&index)
                && let Some(from) = axis.places.get(invoke)
            {
                place = place.max(from + need);
            }
            axis.places.insert(index, place);
            axis.ends.push((index, time, place));
            before = Some((time, place));
        }
        let right = before.map_or(0.0, |(_, place)| place);
        let open = rights.iter().filter_map(|(index, need)| Some(axis.places.get(index)? + need));
        axis.width = open.fold(right, f64::max) + 40.0;
        axis
    }

    fn place(&self, index: u64) -> f64 {
        self.places.get(&index).copied().unwrap_or(0.0)
    }

    /// Where a moment between the events lies.
    fn at(&self, time: u64) -> f64 {
        let after = self.ends.partition_point(|(_, t, _)| *t < time);
        let left = after.checked_sub(1).and_then(|place| self.ends.get(place));
        match (left, self.ends.get(after)) {
            (Some((_, t0, x0)), Some((_, t1, x1))) => {
                x0 + (x1 - x0) * (time - t0) as f64 / (t1 - t0).max(1) as f64
            }
            (None, _) => 0.0,
            (Some(_), None) => self.width,
        }
    }
}

fn usual_wait(times: &BTreeMap<u64, u64>) -> u64 {
    let times: Vec<u64> = times.values().copied().collect();
    let mut waits: Vec<u64> = times
        .windows(2)
        .map(|pair| pair.iter().copied().fold(0, |a, b| b.saturating_sub(a)))
        .collect();
    waits.sort_unstable();
    waits.get(waits.len() / 2).copied().unwrap_or(1).max(1_000_000)
}

fn text_of(operation: &Operation<'_>, scene: &Scene<'_>) -> String {
    let label = words::label(operation);
    let text = match operation.kind() {
        Kind::Ok => label,
        Kind::Fail => format!("{label} ✗"),
        Kind::Info | Kind::Invoke => format!("{label} ?"),
    };
    // One key is named above the picture; repeating it on every bar would hide the values.
    let one = scene.keys.iter().next().filter(|_| scene.keys.len() == 1);
    let f = &operation.invoke.f;
    let short = one
        .map(|key| format!("{f} {}", words::value(key)))
        .and_then(|start| text.strip_prefix(&start).map(|rest| format!("{f}{rest}")));
    words::shortened(&short.unwrap_or(text), LABEL_CHARS_MAX)
}

fn width_of(text: &str) -> f64 {
    text.chars().count() as f64 * CHAR + 14.0
}

/// The picture: the processes' names stay, the rest scrolls.
pub(super) fn picture(scene: &Scene<'_>) -> Markup {
    let axis = Axis::of(scene);
    let processes: BTreeSet<Process> = scene.all().map(|(op, _)| op.invoke.process).collect();
    let rows: BTreeMap<Process, usize> =
        processes.into_iter().enumerate().map(|(row, process)| (process, row)).collect();
    let head = if scene.windows.is_empty() { HEAD } else { HEAD + 18.0 };
    let top = |row: usize| head + row as f64 * ROW;
    let height = top(rows.len()) + FOOT;
    html! {
        div.timeline {
            svg width="92" height=(tenths(height)) {
                @for (process, row) in &rows {
                    text x="10" y=(tenths(top(*row) + 19.0)) { (name(*process)) }
                }
            }
            div {
                svg width=(tenths(axis.width)) height=(tenths(height)) role="img" {
                    (shades(scene, &axis, height))
                    @for row in rows.values() {
                        @let y = tenths(top(*row) + ROW / 2.0);
                        line.row x1="0" x2=(tenths(axis.width)) y1=(y) y2=(y) {}
                    }
                    (ticks(scene, &axis, height))
                    @for (operation, near) in scene.all() {
                        (bar(operation, near, scene, &axis, top(rows.get(&operation.invoke.process).copied().unwrap_or(0))))
                    }
                }
            }
        }
    }
}

/// A process as rows and tables name it.
pub(super) fn name(process: Process) -> String {
    match process {
        Process::Client(number) => format!("process {number}"),
        Process::Nemesis => "nemesis".to_owned(),
    }
}

fn bar(operation: &Operation<'_>, near: bool, scene: &Scene<'_>, axis: &Axis, top: f64) -> Markup {
    let from = axis.place(operation.invoke.index);
    let text = text_of(operation, scene);
    let open = operation.kind() == Kind::Info;
    // What nobody knows has no end: its bar is as long as its words, and goes on as a dashed line.
    let known = operation.complete.map_or(from, |event| axis.place(event.index));
    let to = known.max(from + width_of(&text));
    let y = top + (ROW - BAR) / 2.0;
    let class = format!("op {} {}", words::ending(operation), if near { "near" } else { "far" });
    html! {
        g class=(class) {
            title { (words::story(operation)) }
            @if open {
                line.open x1=(tenths(to)) x2=(tenths(axis.width)) y1=(tenths(y + BAR / 2.0)) y2=(tenths(y + BAR / 2.0)) {}
            }
            rect x=(tenths(from)) y=(tenths(y)) width=(tenths(to - from)) height=(tenths(BAR)) rx="3" {}
            text x=(tenths(from + 7.0)) y=(tenths(y + 14.0)) { (text) }
        }
    }
}

/// Times of the anomaly's own invocations and completions, as far as there is room.
fn ticks(scene: &Scene<'_>, axis: &Axis, height: f64) -> Markup {
    let mut marked: BTreeSet<u64> = BTreeSet::new();
    for operation in &scene.near {
        marked.insert(operation.invoke.index);
        marked.extend(operation.complete.map(|event| event.index));
    }
    let begin = axis.ends.first().map_or(0, |end| end.1);
    let timed = axis.ends.iter().any(|(_, time, _)| *time != begin);
    let mut free = 0.0;
    let mut labels: Vec<(f64, String)> = Vec::new();
    let first = axis.ends.first().map(|end| end.0);
    let chosen = axis.ends.iter().filter(|end| marked.contains(&end.0) || Some(end.0) == first);
    for (_, time, x) in chosen.filter(|_| timed) {
        let text = match labels.is_empty() {
            true => words::moment(*time),
            false => format!("+{}", words::duration(time - begin)),
        };
        if *x >= free {
            free = x + width_of(&text);
            labels.push((*x, text));
        }
    }
    html! {
        @for (x, text) in labels {
            line.tick x1=(tenths(x)) x2=(tenths(x)) y1="18" y2=(tenths(height)) {}
            text.soft x=(tenths(x)) y="13" { (text) }
        }
        @for (x, wait) in &axis.cuts {
            path.break d={ "M" (tenths(x - 3.0)) " " (tenths(height)) "l4 -10l-4 -10M" (tenths(x + 3.0)) " " (tenths(height)) "l4 -10l-4 -10" } {}
            text.soft x=(tenths(*x)) y=(tenths(height - 24.0)) text-anchor="middle" { (words::duration(*wait)) }
        }
    }
}

fn shades(scene: &Scene<'_>, axis: &Axis, height: f64) -> Markup {
    let mut free = f64::MIN;
    let mut named: Vec<(f64, f64, &Window, Option<String>)> = Vec::new();
    for window in &scene.windows {
        let from = axis.at(window.begin);
        let label = words::shortened(&window.name, LABEL_CHARS_MAX);
        let room = from >= free;
        if room {
            free = from + width_of(&label);
        }
        named.push((from, axis.at(window.end), window, room.then_some(label)));
    }
    html! {
        @for (from, to, window, label) in named {
            rect.shade x=(tenths(from)) y=(tenths(HEAD - 6.0)) width=(tenths((to - from).max(2.0))) height=(tenths(height - HEAD + 6.0)) {
                title { (window.name) " " (words::value(&window.value)) }
            }
            @if let Some(label) = label {
                text.soft x=(tenths(from + 4.0)) y=(tenths(HEAD + 7.0)) { (label) }
            }
        }
    }
}

#[cfg(test)]
mod tests;
