//! One good history, and one bad one for each kind of anomaly.

use super::super::super::hand::{Done, Hand, list};
use super::super::key;
use super::*;
use crate::history::Value;
use crate::verdict::Validity;

/// Tags 0 and 2 of one group: 1 and 2 at 3 and 4, then 3 and 4 at 5 and 6.
fn written() -> Hand {
    let mut hand = Hand::default();
    for (at, tag, number, index) in [(0, 0, 1, 3), (10, 2, 2, 4), (100, 0, 3, 5), (110, 2, 4, 6)] {
        let asked = Value::keyed(tag, number);
        hand.op((at, at + 5), 0, "put", asked.clone(), Done::ok(asked).at(1, index));
    }
    hand
}

fn items(tag: i64, number: i64, index: i64) -> Vec<Value> {
    let item = |place| list([key(tag, place).into(), number.into(), 1.into(), index.into()]);
    (0..KEYS).map(item).collect()
}

fn scan(hand: &mut Hand, span: (u64, u64), items: Vec<Value>) {
    let done = Done::ok(Value::List(items)).with("view", vec!["v", "v"]);
    let after = i64::try_from((span.1 - span.0) * 1_000_000 / 2).unwrap();
    hand.op(span, 1, "pages", Value::keyed(0, 3), done.with("after-first-ns", after));
}

fn verdict(hand: &Hand) -> Verdict {
    ScanChecker.check(&hand.history(), Budget::default())
}

fn kinds(hand: &Hand) -> Vec<String> {
    let kinds: BTreeSet<String> =
        verdict(hand).anomalies.into_iter().map(|anomaly| anomaly.kind).collect();
    kinds.into_iter().collect()
}

#[test]
fn scans_of_states_that_existed_are_fine() {
    let mut hand = written();
    scan(&mut hand, (20, 40), [items(0, 1, 3), items(2, 2, 4)].concat());
    scan(&mut hand, (95, 115), [items(0, 3, 5), items(2, 2, 4)].concat());
    scan(&mut hand, (200, 220), [items(0, 3, 5), items(2, 4, 6)].concat());
    let found = verdict(&hand);
    assert_eq!(found.validity, Validity::Valid, "{found:?}");
}

#[test]
fn a_tag_with_two_numbers_is_torn() {
    let mut hand = written();
    let mut mixed = items(0, 1, 3);
    mixed[2..].clone_from_slice(&items(0, 3, 5)[2..]);
    scan(&mut hand, (90, 120), [mixed, items(2, 2, 4)].concat());
    assert_eq!(kinds(&hand), ["torn"]);
}

#[test]
fn a_tag_that_is_half_there_is_torn() {
    let mut hand = written();
    scan(&mut hand, (20, 40), [items(0, 1, 3)[..2].to_vec(), items(2, 2, 4)].concat());
    assert_eq!(kinds(&hand), ["torn"]);
}

#[test]
fn two_tags_of_different_times_are_no_state() {
    let mut hand = written();
    scan(&mut hand, (95, 300), [items(0, 1, 3), items(2, 4, 6)].concat());
    assert_eq!(kinds(&hand), ["no-such-state"]);
}

#[test]
fn a_view_older_than_what_was_acknowledged_is_found() {
    let mut hand = written();
    scan(&mut hand, (200, 220), [items(0, 1, 3), items(2, 2, 4)].concat());
    assert_eq!(kinds(&hand), ["stale-view"]);
}

#[test]
fn a_view_newer_than_its_first_page_is_found() {
    let mut hand = written();
    scan(&mut hand, (20, 120), [items(0, 3, 5), items(2, 2, 4)].concat());
    assert_eq!(kinds(&hand), ["too-new"]);
}

#[test]
fn pages_of_two_views_are_found() {
    let mut hand = Hand::default();
    let done = Done::ok(Value::List(Vec::new())).with("view", vec!["v", "w"]);
    hand.op((0, 5), 1, "pages", Value::keyed(0, 3), done);
    assert_eq!(kinds(&hand), ["views-mixed"]);
}

#[test]
fn a_key_that_comes_twice_is_found() {
    let mut hand = written();
    scan(&mut hand, (200, 220), [items(2, 4, 6), items(0, 3, 5)].concat());
    assert_eq!(kinds(&hand), ["out-of-order"]);
}

#[test]
fn a_number_that_nobody_wrote_is_found() {
    let mut hand = written();
    scan(&mut hand, (200, 220), [items(0, 9, 7), items(2, 4, 6)].concat());
    assert_eq!(kinds(&hand), ["unwritten"]);
}

#[test]
fn a_deleted_tag_may_be_gone_and_one_that_was_not_may_not() {
    let mut hand = written();
    let asked = Value::keyed(0, Value::Nil);
    hand.op((130, 135), 0, "delete", asked.clone(), Done::ok(asked).at(1, 7));
    scan(&mut hand, (200, 220), items(2, 4, 6));
    assert_eq!(verdict(&hand).validity, Validity::Valid, "{:?}", verdict(&hand));
    scan(&mut hand, (230, 240), Vec::new());
    assert_eq!(kinds(&hand), ["stale-view"]);
}
