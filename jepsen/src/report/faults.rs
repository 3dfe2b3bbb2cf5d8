//! When what was broken, and what it did to the clients.
//!
//! Why it exists: plots shade these windows, the table of faults measures them. Ours are
//! `start-X`/`stop-X` with an `effect`; other people's histories also say `start`/`stop`, `pause`/
//! `resume`, `kill`/`start`, and write every nemesis operation twice, when it begins and when it is
//! done.
//!
//! Promises: every nemesis event that begins something is in exactly one window; a window whose end
//! is not in the history lasts to its end. What had no effect is kept, and says so.

use crate::history::{Event, History, Kind, Value};

/// Whether a fault was in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// It was, or nothing says otherwise.
    Installed,
    /// There was nothing to do it to.
    Skipped,
    /// It could not be done.
    Failed,
}

/// From the beginning of a fault to its end.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    /// Which fault, without `start-`.
    pub name: String,
    /// What exactly, as the nemesis described it.
    pub value: Value,
    /// When it began, in nanoseconds.
    pub begin: u64,
    /// When it ended; for what happens at once the same as `begin`.
    pub end: u64,
    /// Whether its end is in the history, or it ended at once.
    pub ended: bool,
    /// Whether it was in force.
    pub outcome: Outcome,
    /// Why it was not.
    pub why: Option<String>,
    /// The indices of its events.
    pub events: Vec<u64>,
}

impl Window {
    /// Whether it was in force, so that what clients saw may come from it.
    pub fn bites(&self) -> bool {
        self.outcome == Outcome::Installed
    }

    /// Whether it has a length.
    pub fn lasts(&self) -> bool {
        self.end > self.begin || !self.ended
    }
}

enum Edge<'a> {
    Begin(&'a str),
    End(&'a str),
    Once(&'a str),
}

fn edge(f: &str) -> Edge<'_> {
    if let Some(name) = f.strip_prefix("start-") {
        return Edge::Begin(name);
    }
    if let Some(name) = f.strip_prefix("stop-") {
        return Edge::End(name);
    }
    match f {
        "pause" => Edge::Begin("pause"),
        "resume" => Edge::End("pause"),
        "kill" => Edge::Begin("kill"),
        // Bare `start` heals a `kill`; without one before it, it begins what a bare `stop` ends.
        "start" => Edge::End("kill"),
        "stop" => Edge::End("fault"),
        other => Edge::Once(other),
    }
}

/// All windows, in the order of their beginnings.
pub fn windows(history: &History) -> Vec<Window> {
    let last = history.events.iter().map(|event| event.time).max().unwrap_or(0);
    let paired = history.nemesis().any(|event| matches!(event.f.as_str(), "resume" | "start"));
    let mut windows: Vec<Window> = Vec::new();
    let mut before: Option<&Event> = None;
    for event in history.nemesis() {
        let repeats = before.is_some_and(|previous| {
            previous.f == event.f && effect(previous).is_none() && event.kind == Kind::Info
        });
        match edge(&event.f) {
            Edge::Begin(name) | Edge::Once(name) if repeats => grow(&mut windows, name, event),
            Edge::Begin("kill" | "pause") if !event.f.starts_with("start-") && !paired => {
                windows.push(window(&event.f, event, true));
            }
            Edge::Begin(name) => windows.push(window(name, event, false)),
            Edge::Once(name) => windows.push(window(name, event, true)),
            Edge::End(name) => {
                let closed = close(&mut windows, name, event);
                if !closed && !repeats && event.f == "start" {
                    windows.push(window("fault", event, false));
                }
            }
        }
        before = Some(event);
    }
    for window in windows.iter_mut().filter(|window| !window.ended) {
        window.end = last.max(window.begin);
    }
    windows
}

fn window(name: &str, event: &Event, once: bool) -> Window {
    let (outcome, why) = said(event);
    Window {
        name: name.to_owned(),
        value: event.value.clone(),
        begin: event.time,
        end: event.time,
        // What had no effect has no length either.
        ended: once || outcome != Outcome::Installed,
        outcome,
        why,
        events: vec![event.index],
    }
}

/// The second of two events of one nemesis operation says what came of it.
fn grow(windows: &mut [Window], name: &str, event: &Event) {
    if let Some(window) = windows.iter_mut().rev().find(|window| window.name == name) {
        let (outcome, why) = said(event);
        window.value = event.value.clone();
        window.outcome = outcome;
        window.why = why;
        window.events.push(event.index);
        if window.ended {
            window.end = event.time;
        }
    }
}

fn close(windows: &mut [Window], name: &str, event: &Event) -> bool {
    let mut closed = false;
    for window in windows.iter_mut().filter(|window| !window.ended && window.name == name) {
        window.end = event.time;
        window.ended = true;
        window.events.push(event.index);
        closed = true;
    }
    closed
}

fn effect(event: &Event) -> Option<&str> {
    event.extra.get("effect").and_then(Value::as_text)
}

fn said(event: &Event) -> (Outcome, Option<String>) {
    let outcome = match effect(event) {
        Some("skipped") => Outcome::Skipped,
        Some("failed") => Outcome::Failed,
        _ => Outcome::Installed,
    };
    let why = event.extra.get("why").and_then(Value::as_text).map(str::to_owned);
    (outcome, why.or_else(|| event.error.clone()))
}

/// What clients saw of a fault.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Impact {
    /// Operations that took effect per second while it lasted; `None` for what happens at once.
    pub(super) ok_per_second: Option<f64>,
    /// The longest time without any operation taking effect, from its beginning to the recovery.
    pub(super) silence: u64,
    /// From its end until half the calm rate was reached for a second; `None`: not before the end.
    pub(super) recovered: Option<u64>,
}

/// Measures faults by the operations that took effect.
#[derive(Debug)]
pub(super) struct Meter {
    ok: Vec<u64>,
    calm: f64,
}

const SECOND: u64 = 1_000_000_000;
const STEP: u64 = SECOND / 10;

impl Meter {
    /// Of this history and its windows.
    pub(super) fn new(history: &History, windows: &[Window]) -> Self {
        let mut ok: Vec<u64> = history
            .operations()
            .iter()
            .filter(|operation| operation.kind() == Kind::Ok)
            .filter_map(|operation| operation.complete.map(|event| event.time))
            .collect();
        ok.sort_unstable();
        let meter = Self { ok, calm: 0.0 };
        let calm = meter.calm_rate(windows);
        Self { calm, ..meter }
    }

    /// Operations per second that took effect in a usual second without faults.
    pub(super) fn calm(&self) -> f64 {
        self.calm
    }

    fn calm_rate(&self, windows: &[Window]) -> f64 {
        let seconds = self.ok.last().map_or(0, |last| last / SECOND);
        let usual = |calm_only: bool| {
            let mut counts: Vec<usize> = (0..seconds)
                .map(|second| (second * SECOND, (second + 1) * SECOND))
                .filter(|(from, to)| {
                    !calm_only
                        || !windows.iter().any(|w| w.bites() && w.begin < *to && w.end >= *from)
                })
                .map(|(from, to)| self.count(from, to))
                .collect();
            counts.sort_unstable();
            counts.get(counts.len() / 2).map(|count| *count as f64)
        };
        usual(true).or_else(|| usual(false)).unwrap_or(self.ok.len() as f64)
    }

    fn count(&self, from: u64, to: u64) -> usize {
        self.ok.partition_point(|t| *t < to) - self.ok.partition_point(|t| *t < from)
    }

    /// What clients saw of this one.
    pub(super) fn impact(&self, window: &Window) -> Impact {
        let recovered = self.recovered(window.end);
        let until = window.end + recovered.unwrap_or(0);
        let seconds = (window.end - window.begin) as f64 / 1e9;
        let ok_per_second = window
            .lasts()
            .then(|| self.count(window.begin, window.end) as f64 / seconds.max(0.001));
        Impact { ok_per_second, silence: self.silence(window.begin, until), recovered }
    }

    fn recovered(&self, end: u64) -> Option<u64> {
        let last = *self.ok.last()?;
        let mut from = end;
        while from <= last {
            if self.count(from, from + SECOND) as f64 >= self.calm / 2.0 {
                return Some(from - end);
            }
            from += STEP;
        }
        None
    }

    fn silence(&self, from: u64, to: u64) -> u64 {
        let first = self.ok.partition_point(|t| *t < from);
        let mut quiet = 0;
        let mut previous = from;
        for time in self.ok.iter().skip(first).copied().take_while(|t| *t <= to) {
            quiet = quiet.max(time - previous);
            previous = time;
        }
        // What follows after `to` ends the last silence, however late.
        let next = self.ok.get(self.ok.partition_point(|t| *t <= to)).copied().unwrap_or(to);
        quiet.max(next.saturating_sub(previous))
    }
}

#[cfg(test)]
mod tests;
