//! Windows of our own histories and of other people's; what clients saw of them.

use std::collections::BTreeMap;

use super::*;
use crate::history::Process;

fn nemesis(time: u64, f: &str, effect: Option<&str>) -> Event {
    let mut extra = BTreeMap::new();
    if let Some(effect) = effect {
        extra.insert("effect".to_owned(), Value::Keyword(effect.to_owned()));
        extra.insert("why".to_owned(), "because".into());
    }
    Event {
        index: 0,
        time,
        kind: Kind::Info,
        process: Process::Nemesis,
        f: f.to_owned(),
        value: Value::Nil,
        node: None,
        witness: None,
        error: None,
        extra,
    }
}

fn history(events: Vec<Event>) -> History {
    let events =
        (0..).zip(events).map(|(index, event)| Event { index, ..event }).collect::<Vec<_>>();
    History { events }
}

fn short(history: &History) -> Vec<(String, u64, u64, bool)> {
    windows(history).into_iter().map(|w| (w.name, w.begin, w.end, w.ended)).collect()
}

#[test]
fn a_fault_lasts_from_its_start_to_its_stop_and_an_open_one_to_the_end() {
    let history = history(vec![
        nemesis(10, "start-partition", Some("installed")),
        nemesis(20, "start-kill", Some("installed")),
        nemesis(30, "stop-partition", Some("installed")),
        nemesis(40, "power-cut", Some("installed")),
        nemesis(50, "power-cut", Some("installed")),
    ]);
    assert_eq!(
        short(&history),
        [
            ("partition".to_owned(), 10, 30, true),
            ("kill".to_owned(), 20, 50, false),
            ("power-cut".to_owned(), 40, 40, true),
            ("power-cut".to_owned(), 50, 50, true),
        ]
    );
}

#[test]
fn what_was_not_in_force_is_kept_with_its_reason_and_has_no_length() {
    let history = history(vec![
        nemesis(10, "start-clock", Some("skipped")),
        nemesis(20, "stop-clock", Some("skipped")),
        nemesis(30, "start-disk", Some("failed")),
    ]);
    let windows = windows(&history);
    assert_eq!(windows.len(), 2);
    assert!(windows.iter().all(|window| !window.bites() && !window.lasts()));
    assert_eq!(windows[0].why.as_deref(), Some("because"));
    assert_eq!(windows[1].outcome, Outcome::Failed);
}

#[test]
fn jepsens_own_histories_write_every_nemesis_operation_twice() {
    let history = history(vec![
        nemesis(10, "start", None),
        nemesis(11, "start", None),
        nemesis(20, "stop", None),
        nemesis(21, "stop", None),
        nemesis(30, "kill", None),
        nemesis(31, "kill", None),
        nemesis(40, "start", None),
        nemesis(41, "start", None),
        nemesis(50, "bump", None),
        nemesis(51, "bump", None),
    ]);
    assert_eq!(
        short(&history),
        [
            ("fault".to_owned(), 10, 20, true),
            ("kill".to_owned(), 30, 40, true),
            ("bump".to_owned(), 50, 51, true),
        ]
    );
}

/// One operation takes effect every 10 ms, except from 5 s to 9.5 s.
fn with_an_outage() -> History {
    let mut events = vec![nemesis(5 * SECOND, "start-kill", Some("installed"))];
    events.push(nemesis(8 * SECOND, "stop-kill", Some("installed")));
    for turn in (0..2_000).filter(|turn| !(500..950).contains(turn)) {
        for (kind, after) in [(Kind::Invoke, 0), (Kind::Ok, 1_000_000)] {
            let mut event = nemesis(turn * SECOND / 100 + after, "read", None);
            event.process = Process::Client(1);
            event.kind = kind;
            events.push(event);
        }
    }
    events.sort_by_key(|event| event.time);
    history(events)
}

#[test]
fn silence_and_recovery_are_measured_from_what_took_effect() {
    let history = with_an_outage();
    let windows = windows(&history);
    let meter = Meter::new(&history, &windows);
    assert_eq!(meter.calm(), 100.0);
    let impact = meter.impact(&windows[0]);
    assert_eq!(impact.ok_per_second, Some(0.0));
    // Half the usual rate within a second: from 9.0 s on, 50 of 100 are in the second that follows.
    let recovered = impact.recovered.unwrap();
    assert!((900_000_000..=1_100_000_000).contains(&recovered), "{recovered}");
    assert!((4_490_000_000..=4_510_000_000).contains(&impact.silence), "{}", impact.silence);
}

#[test]
fn a_run_that_ends_before_it_recovers_says_so() {
    let mut history = with_an_outage();
    history.events.retain(|event| event.time <= 8 * SECOND);
    let windows = windows(&history);
    assert_eq!(Meter::new(&history, &windows).impact(&windows[0]).recovered, None);
}

#[test]
fn an_empty_history_has_neither_windows_nor_rates() {
    let history = History::default();
    assert_eq!(windows(&history), []);
    assert_eq!(Meter::new(&history, &[]).calm(), 0.0);
}
