//! Size, determinism, and histories that have little to plot.

use std::collections::BTreeMap;

use super::*;
use crate::history::{Event, Process, Value};

fn history(operations: u64, rate: u64) -> History {
    let mut rng = fastrand::Rng::with_seed(3);
    let mut events = Vec::new();
    for turn in 0..operations {
        let begin = turn * 1_000_000_000 / rate;
        let took = 10f64.powf(5.5 + 3.5 * rng.f64());
        let took =
            u64::try_from(std::time::Duration::from_secs_f64(took / 1e9).as_nanos()).unwrap();
        let ending = [Kind::Ok, Kind::Ok, Kind::Fail, Kind::Info][rng.usize(0..4)];
        for (kind, time) in [(Kind::Invoke, begin), (ending, begin + took)] {
            events.push(Event {
                index: 0,
                time,
                kind,
                process: Process::Client(turn),
                f: "read".to_owned(),
                value: Value::Nil,
                node: None,
                witness: None,
                error: None,
                extra: BTreeMap::new(),
            });
        }
    }
    History { events }
}

fn all(history: &History, windows: &[Window]) -> String {
    let series = Series::of(history);
    let plots =
        [points, quantiles, rates].map(|plot| plot(&series, windows).unwrap().into_string());
    plots.concat() + &lanes(&series, windows).into_string()
}

#[test]
fn many_operations_make_no_big_picture() {
    let plotted = all(&history(200_000, 2_000), &[]);
    assert!(plotted.len() < 1_200_000, "{} bytes", plotted.len());
}

#[test]
fn the_same_history_gives_the_same_bytes() {
    let history = history(2_000, 100);
    assert_eq!(all(&history, &[]), all(&history, &[]));
}

#[test]
fn a_history_of_nothing_or_without_times_plots_nothing_and_breaks_nothing() {
    assert!(Series::of(&History::default()).is_empty());
    all(&History::default(), &[]);
    let mut timeless = history(10, 10);
    timeless.events.iter_mut().for_each(|event| event.time = 0);
    assert!(Series::of(&timeless).is_empty());
    all(&timeless, &[]);
}

#[test]
fn only_what_was_in_force_is_shaded_and_its_name_is_only_text() {
    let window = Window {
        name: "<b>cut".to_owned(),
        value: Value::Text("\"><script>".to_owned()),
        begin: 1_000_000_000,
        end: 5_000_000_000,
        ended: true,
        outcome: super::super::Outcome::Installed,
        why: None,
        events: vec![],
    };
    let history = history(2_000, 100);
    let shaded = all(&history, std::slice::from_ref(&window));
    assert_eq!(shaded.matches("class=\"shade\"").count(), 3);
    assert!(shaded.contains("&lt;b&gt;cut"));
    assert!(!shaded.contains("<b>") && !shaded.contains("<script"));
    let skipped = Window { outcome: super::super::Outcome::Skipped, end: window.begin, ..window };
    let plain = all(&history, &[skipped]);
    assert_eq!(plain.matches("class=\"shade\"").count(), 0);
    assert_eq!(plain.matches("class=\"skipped\"").count(), 1);
}

#[test]
fn buckets_are_round_and_few_enough() {
    assert_eq!(bucket(60_000_000_000), 500_000_000);
    assert_eq!(bucket(3_600_000_000_000), 50_000_000_000);
    for end in [1_000_000, 7_000_000, 123_456_789, 3_600_000_000_000, u64::MAX / 4] {
        let size = bucket(end);
        assert!(end / size < BUCKETS_MAX && end / size >= BUCKETS_MAX / 5 - 1, "{end} by {size}");
    }
}

#[test]
fn lines_break_where_nothing_took_effect() {
    let series = Series { points: vec![], end: 10_000_000_000, bucket: 1_000_000_000 };
    let values = [(0, 1.0), (1, 2.0), (4, 3.0)];
    let pieces = pieces(values.into_iter(), &series);
    assert_eq!(pieces, [vec![(0.5, 1.0), (1.5, 2.0)], vec![(4.0, 3.0), (5.0, 3.0)]]);
}
