//! One good history, and one bad one for each kind of anomaly.

use super::super::super::hand::{Done, Hand, list};
use super::*;
use crate::history::Value;
use crate::verdict::Validity;

/// An event of group 1.
fn seen(kind: &str, index: i64, key: &str, value: Option<&str>, previous: Option<&str>) -> Value {
    list([kind.into(), 1.into(), index.into(), 0.into(), key.into(), value.into(), previous.into()])
}

fn put(index: i64, value: &str, previous: Option<&str>) -> Value {
    seen("put", index, "k1", Some(value), previous)
}

/// The changes of the writes in `writers`, in order.
fn truth() -> Vec<Value> {
    vec![
        put(3, "1", None),
        put(4, "1,2", Some("1")),
        seen("delete", 5, "k1", None, Some("1,2")),
        put(6, "4", None),
    ]
}

fn writers() -> Hand {
    let mut hand = Hand::default();
    let keyed = |number: i64| Value::keyed("k1", number);
    hand.op((1, 2), 0, "put", keyed(1), Done::ok(keyed(1)).at(1, 3))
        .op((3, 4), 0, "append", keyed(2), Done::ok(keyed(2)).at(1, 4))
        .op((5, 6), 0, "delete", Value::keyed("k1", Value::Nil), Done::ok(Value::Nil).at(1, 5))
        .op((7, 8), 0, "put", keyed(3), Done::fail("unavailable"))
        .op((9, 10), 0, "put", keyed(4), Done::ok(keyed(4)).at(1, 6));
    hand
}

fn connection(events: Vec<Value>, begin: &str, life: i64, kept: i64) -> Done {
    Done::ok(Value::List(events))
        .with("begin", begin)
        .with("life", life)
        .with("kept", kept)
        .with("ended", "enough")
}

/// A watcher from the start that drains with these events.
fn watched(events: Vec<Value>) -> Hand {
    let mut hand = writers();
    let kept = i64::try_from(events.len()).unwrap();
    hand.op((20, 30), 7, "drain", Value::Nil, connection(events, "start", 7, kept));
    hand
}

fn verdict(hand: &Hand) -> Verdict {
    WatchChecker.check(&hand.history(), Budget::default())
}

fn kinds(hand: &Hand) -> Vec<String> {
    let verdict = verdict(hand);
    let kinds: BTreeSet<String> = verdict.anomalies.into_iter().map(|found| found.kind).collect();
    kinds.into_iter().collect()
}

#[test]
fn a_watcher_that_saw_everything_is_fine() {
    let verdict = verdict(&watched(truth()));
    assert_eq!(verdict.validity, Validity::Valid, "{verdict:?}");
}

#[test]
fn going_on_from_a_cursor_after_forgetting_is_fine() {
    let mut hand = writers();
    let [one, two, three, four] = truth().try_into().unwrap();
    let first = connection(vec![one, two.clone(), three.clone()], "start", 7, 1);
    hand.op((20, 30), 7, "follow", Value::Nil, first).op(
        (31, 40),
        7,
        "drain",
        Value::Nil,
        connection(vec![two, three, four], "cursor", 7, 3),
    );
    assert_eq!(verdict(&hand).validity, Validity::Valid, "{:?}", verdict(&hand));
}

#[test]
fn without_a_drain_nothing_is_proved() {
    assert_eq!(verdict(&writers()).validity, Validity::Unknown);
}

#[test]
fn a_change_that_one_watcher_skips_is_a_gap() {
    let mut hand = watched(truth());
    let mut events = truth();
    events.remove(1);
    hand.op((20, 31), 8, "drain", Value::Nil, connection(events, "start", 8, 3));
    assert_eq!(kinds(&hand), ["gap"]);
}

#[test]
fn a_change_that_comes_again_is_found() {
    let mut hand = watched(truth());
    hand.op((31, 40), 7, "drain", Value::Nil, connection(truth(), "cursor", 7, 4));
    assert_eq!(kinds(&hand), ["repeated"]);
}

#[test]
fn an_acknowledged_write_that_nobody_saw_is_found() {
    let mut events = truth();
    events.remove(0);
    assert_eq!(kinds(&watched(events)), ["lost-change"]);
}

#[test]
fn a_watcher_that_stops_short_has_missed_something() {
    let mut hand = watched(truth());
    let events = truth().into_iter().take(2).collect();
    hand.op((20, 31), 8, "drain", Value::Nil, connection(events, "start", 8, 2));
    assert_eq!(kinds(&hand), ["missed"]);
}

#[test]
fn a_watch_from_now_shows_what_is_written_later() {
    let mut hand = watched(truth());
    hand.op((1, 5), 8, "follow", Value::Nil, connection(Vec::new(), "now", 8, 0)).op(
        (20, 31),
        8,
        "drain",
        Value::Nil,
        connection(Vec::new(), "cursor", 8, 0),
    );
    assert_eq!(kinds(&hand), ["missed"]);
}

#[test]
fn a_wrong_previous_value_is_found() {
    let mut events = truth();
    events[3] = put(6, "4", Some("1,2"));
    assert_eq!(kinds(&watched(events)), ["wrong-previous"]);
}

#[test]
fn what_certainly_failed_must_not_be_seen() {
    let mut events = truth();
    events.push(put(7, "3", Some("4")));
    assert_eq!(kinds(&watched(events)), ["unwritten"]);
}

#[test]
fn a_delete_that_nobody_asked_for_is_found() {
    let mut events = truth();
    events.push(seen("delete", 7, "k1", None, Some("4")));
    assert_eq!(kinds(&watched(events)), ["unwritten"]);
}

#[test]
fn two_watchers_that_contradict_each_other_are_found() {
    let mut hand = watched(truth());
    let mut events = truth();
    events[0] = put(3, "9", None);
    hand.op((20, 31), 8, "drain", Value::Nil, connection(events, "start", 8, 4));
    assert_eq!(kinds(&hand), ["disagree"]);
}

#[test]
fn a_write_that_is_seen_twice_was_applied_twice() {
    let mut events = truth();
    events.push(put(7, "4", Some("4")));
    assert_eq!(kinds(&watched(events)), ["applied-twice"]);
}

#[test]
fn half_a_transaction_is_torn() {
    let mut events = truth();
    events.push(seen("put", 7, "ka", Some("8"), None));
    let mut hand = watched(events);
    let pair = Value::keyed(vec!["ka", "kb"], 8);
    hand.op((11, 12), 1, "pair", pair, Done::info());
    assert_eq!(kinds(&hand), ["torn-entry"]);
}

#[test]
fn a_view_that_never_was_is_found() {
    let mut hand = watched(truth());
    let events =
        vec![seen("initial", 4, "k1", Some("1"), None), truth().remove(2), truth().remove(3)];
    hand.op((20, 31), 8, "drain", Value::Nil, connection(events, "initial", 8, 3));
    assert_eq!(kinds(&hand), ["wrong-view"]);
}

#[test]
fn a_gap_that_was_announced_is_counted_and_not_judged() {
    let mut hand = watched(truth());
    hand.op((12, 13), 8, "follow", Value::Nil, Done::fail("history_trimmed")).op(
        (20, 31),
        8,
        "drain",
        Value::Nil,
        connection(truth().split_off(2), "cursor", 9, 2),
    );
    let verdict = verdict(&hand);
    assert_eq!(verdict.validity, Validity::Valid, "{verdict:?}");
    assert_eq!(verdict.figures["history_trimmed"], 1);
}
