//! Which runs stand beside each other, and their figures as lines.
//!
//! Promises: runs are put into one line only when they differ in nothing but what x shows; of runs that
//! were repeated the median stands. Runs without figures take no part. Modes come in the order of their
//! strength, workloads in the order of the first run.

use std::collections::BTreeMap;

use super::chart::Line;
use crate::bench::figures::{Load, Report, Run};
use crate::bench::mode::Mode;

/// Runs that have figures.
pub(super) fn sound(report: &Report) -> impl Iterator<Item = &Run> + Clone {
    report.runs.iter().filter(|run| run.trouble.is_none())
}

/// Runs that have figures and in which nothing went wrong, on nodes as most of the runs had them.
pub(super) fn calm(report: &Report) -> impl Iterator<Item = &Run> + Clone {
    let nodes = usual_nodes(report);
    whole(report).filter(move |run| run.nodes == nodes && is_mesh(run))
}

/// The same, however many nodes there were and however they were linked.
pub(super) fn whole(report: &Report) -> impl Iterator<Item = &Run> + Clone {
    sound(report).filter(|run| run.fault == "none" || run.fault.is_empty())
}

/// Whether each node had links to all others.
pub(super) fn is_mesh(run: &Run) -> bool {
    run.topology.is_empty() || run.topology == "mesh"
}

/// How many nodes most of the runs had: what was measured on others stands for itself.
fn usual_nodes(report: &Report) -> u64 {
    let mut counts: BTreeMap<u64, usize> = BTreeMap::new();
    for run in &report.runs {
        *counts.entry(run.nodes).or_default() += 1;
    }
    counts.into_iter().max_by_key(|(_, count)| *count).map_or(0, |(nodes, _)| nodes)
}

/// Different values, in the order in which they come.
pub(super) fn different<T: PartialEq>(values: impl Iterator<Item = T>) -> Vec<T> {
    let mut found = Vec::new();
    for value in values {
        if !found.contains(&value) {
            found.push(value);
        }
    }
    found
}

/// Workloads of runs.
pub(super) fn workloads<'a>(runs: impl Iterator<Item = &'a Run>) -> Vec<&'a str> {
    different(runs.map(|run| run.workload.as_str()))
}

/// Who was measured, the strongest first: the mode, and before it the system when it is not ours.
pub(super) fn who(run: &Run) -> String {
    if run.system.is_empty() || run.system == "tetrarch" {
        run.mode.clone()
    } else {
        format!("{} {}", run.system, run.mode)
    }
}

/// All who were measured, the strongest first.
pub(super) fn all_who<'a>(runs: impl Iterator<Item = &'a Run>) -> Vec<String> {
    let mut all = different(runs.map(who));
    let rank = |name: &String| Mode::ALL.iter().position(|mode| mode.name() == name);
    all.sort_by_key(|name| rank(name).unwrap_or(usize::MAX));
    all
}

/// The class that colours them.
pub(super) fn ink(who: &str) -> String {
    let known = Mode::ALL.iter().any(|mode| mode.name() == who);
    if known { format!("m-{who}") } else { "m-other".to_owned() }
}

/// The rate that most of the runs have: lines by distance must not mix rates.
pub(super) fn usual_load<'a>(runs: impl Iterator<Item = &'a Run>) -> Option<Load> {
    let mut counts: Vec<(Load, usize)> = Vec::new();
    for run in runs {
        match counts.iter_mut().find(|(load, _)| *load == run.load) {
            Some((_, count)) => *count += 1,
            None => counts.push((run.load, 1)),
        }
    }
    // The first of those that are as frequent.
    counts.into_iter().rev().max_by_key(|(_, count)| *count).map(|(load, _)| load)
}

/// One line for each of those measured: a figure of their runs by another one.
#[allow(clippy::needless_pass_by_value, reason = "iterators are handed over")]
pub(super) fn lines<'a>(
    runs: impl Iterator<Item = &'a Run> + Clone,
    x: impl Fn(&Run) -> Option<f64>,
    y: impl Fn(&Run) -> Option<f64>,
) -> Vec<Line> {
    let line = |who_it_is: String| {
        let mut found: Vec<(f64, Vec<f64>)> = Vec::new();
        for run in runs.clone().filter(|run| who(run) == who_it_is) {
            let Some((x, y)) = x(run).zip(y(run)) else { continue };
            match found.iter_mut().find(|(known, _)| known.total_cmp(&x).is_eq()) {
                Some((_, values)) => values.push(y),
                None => found.push((x, vec![y])),
            }
        }
        found.sort_by(|a, b| a.0.total_cmp(&b.0));
        let points: Vec<_> =
            found.into_iter().filter_map(|(x, values)| Some((x, median(values)?))).collect();
        let ink = ink(&who_it_is);
        (!points.is_empty()).then_some(Line { name: who_it_is, ink, dashed: false, points })
    };
    all_who(runs.clone()).into_iter().filter_map(line).collect()
}

/// The one in the middle; of two the mean.
pub(super) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    if values.len() % 2 == 1 {
        return Some(upper);
    }
    let lower = *values.get(middle.checked_sub(1)?)?;
    Some(f64::midpoint(lower, upper))
}

/// Runs by workload, distance and those measured, for tables: the median of a figure of the repeated.
pub(super) fn cells<'a>(
    runs: impl Iterator<Item = &'a Run>,
    y: impl Fn(&Run) -> Option<f64>,
) -> BTreeMap<(String, u64), f64> {
    let mut found: BTreeMap<(String, u64), Vec<f64>> = BTreeMap::new();
    for run in runs {
        if let Some(value) = y(run) {
            found.entry((who(run), run.rtt_ms)).or_default().push(value);
        }
    }
    found.into_iter().filter_map(|(key, values)| Some((key, median(values)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(mode: &str, rtt_ms: u64, converge_ms: f64) -> Run {
        Run { mode: mode.into(), rtt_ms, converge_ms: Some(converge_ms), ..Run::default() }
    }

    #[test]
    fn repeated_runs_are_one_point_and_modes_come_by_strength() {
        let runs = [
            run("lww", 80, 3.0),
            run("lww", 80, 9.0),
            run("lww", 80, 4.0),
            run("lww", 0, 1.0),
            run("linearizable", 0, 7.0),
        ];
        let rtt = |run: &Run| Some(super::super::words::count(run.rtt_ms));
        let lines = lines(runs.iter(), rtt, |run| run.converge_ms);
        let names: Vec<_> = lines.iter().map(|line| line.name.as_str()).collect();
        assert_eq!(names, ["linearizable", "lww"]);
        assert_eq!(lines[1].points, [(0.0, 1.0), (80.0, 4.0)]);
    }

    #[test]
    fn the_usual_load_is_that_of_most_runs() {
        let of = |rate| Run { load: Load::Open { rate }, ..Run::default() };
        let runs = [of(30.0), of(300.0), of(300.0), of(30.0), of(300.0)];
        assert_eq!(usual_load(runs.iter()), Some(Load::Open { rate: 300.0 }));
        assert_eq!(median(vec![4.0, 1.0]), Some(2.5));
        assert_eq!(median(Vec::new()), None);
    }
}
