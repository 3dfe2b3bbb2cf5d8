//! What is drawn around an anomaly, in which order, and how much of it.

use std::collections::BTreeMap as Map;

use super::*;
use crate::history::{Event, History};

/// Events of a hand-made history: time in ms, kind, process, f, value.
fn history(events: &[(u64, Kind, u64, &str, Value)]) -> History {
    let events = (0..).zip(events).map(|(index, (ms, kind, process, f, value))| Event {
        index,
        time: ms * 1_000_000,
        kind: *kind,
        process: Process::Client(*process),
        f: (*f).to_owned(),
        value: value.clone(),
        node: None,
        witness: None,
        error: None,
        extra: Map::new(),
    });
    History { events: events.collect() }
}

fn anomaly(events: &[u64]) -> Anomaly {
    Anomaly { kind: "stale-read".to_owned(), words: String::new(), events: events.to_vec() }
}

fn stale() -> History {
    use Kind::{Info, Invoke, Ok};
    let at = |key: i64, value: i64| Value::keyed(key, value);
    let asked = |key: i64| Value::keyed(key, Value::Nil);
    history(&[
        (0, Invoke, 9, "write", at(1, 7)),
        (1, Info, 9, "write", at(1, 7)),
        (2, Invoke, 8, "read", asked(1)),
        (3, Info, 8, "read", asked(1)),
        (10, Invoke, 1, "write", at(1, 2)),
        (11, Invoke, 2, "read", asked(2)),
        (12, Ok, 2, "read", at(2, 5)),
        (15, Ok, 1, "write", at(1, 2)),
        (9_000, Invoke, 3, "read", asked(1)),
        (9_001, Ok, 3, "read", at(1, 1)),
    ])
}

#[test]
fn the_scene_is_the_anomaly_and_what_shared_its_keys() {
    let history = stale();
    let operations = history.operations();
    let scene = Scene::of(&anomaly(&[4, 7, 9]), &operations, &[]).unwrap();
    let near: Vec<u64> = scene.near.iter().map(|operation| operation.invoke.index).collect();
    let far: Vec<u64> = scene.far.iter().map(|operation| operation.invoke.index).collect();
    assert_eq!(near, [4, 8]);
    // Not the read of another key, nor the read that nobody knows; the unknown write may matter.
    assert_eq!(far, [0]);
    assert_eq!(scene.keys, [&Value::Int(1)].into());
}

#[test]
fn places_follow_the_order_of_events_and_labels_fit_on_their_bars() {
    let history = stale();
    let operations = history.operations();
    let scene = Scene::of(&anomaly(&[4, 7, 8, 9]), &operations, &[]).unwrap();
    let axis = Axis::of(&scene);
    let places: Vec<f64> = axis.places.values().copied().collect();
    assert!(places.windows(2).all(|pair| pair[0] + STEP <= pair[1]), "{places:?}");
    for operation in &scene.near {
        let length = axis.place(last_index(operation)) - axis.place(operation.invoke.index);
        assert!(length >= width_of(&text_of(operation, &scene)));
    }
    assert_eq!(axis.cuts.len(), 1, "the nine seconds of waiting are cut");
    let drawn = picture(&scene).into_string();
    assert!(drawn.contains("8.98 s"), "{drawn}");
    assert!(drawn.contains("write = 7 ?"), "{drawn}");
    assert!(drawn.contains("+9.001 s"), "{drawn}");
}

#[test]
fn a_huge_anomaly_is_cut_short_and_counted() {
    let mut events = Vec::new();
    for turn in 0..500_u64 {
        let value = Value::Int(i64::try_from(turn).unwrap());
        events.push((2 * turn, Kind::Invoke, turn, "add", value.clone()));
        events.push((2 * turn + 1, Kind::Ok, turn, "add", value));
    }
    let history = history(&events);
    let operations = history.operations();
    let wanted: Vec<u64> = (0..1_000).filter(|index| index % 4 == 0).collect();
    let scene = Scene::of(&anomaly(&wanted), &operations, &[]).unwrap();
    assert_eq!((scene.near.len(), scene.near_left_out), (NEAR_MAX, 250 - NEAR_MAX));
    assert_eq!(scene.far.len(), FAR_MAX);
    assert!(picture(&scene).into_string().len() < 100_000);
}

#[test]
fn events_that_are_nobodys_make_no_picture() {
    let history = stale();
    assert!(Scene::of(&anomaly(&[]), &history.operations(), &[]).is_none());
    assert!(Scene::of(&anomaly(&[4_000]), &history.operations(), &[]).is_none());
    assert!(Scene::of(&anomaly(&[1]), &[], &[]).is_none());
}

#[test]
fn a_history_without_times_is_drawn_by_its_order() {
    let mut history = stale();
    history.events.iter_mut().for_each(|event| event.time = 0);
    let operations = history.operations();
    let drawn = picture(&Scene::of(&anomaly(&[4, 7, 9]), &operations, &[]).unwrap()).into_string();
    assert!(!drawn.contains("class=\"tick\""), "{drawn}");
    assert_eq!(drawn.matches("class=\"op ").count(), 3);
}
