//! What people read, for the shapes of value that workloads and other harnesses write.

use std::collections::BTreeMap;

use super::*;
use crate::history::{Event, Process, Witness};

fn event(kind: Kind, f: &str, value: Value) -> Event {
    Event {
        index: if kind == Kind::Invoke { 4 } else { 9 },
        time: if kind == Kind::Invoke { 1_000_000_000 } else { 1_004_200_000 },
        kind,
        process: Process::Client(3),
        f: f.to_owned(),
        value,
        node: None,
        witness: None,
        error: None,
        extra: BTreeMap::new(),
    }
}

fn labelled(f: &str, asked: Value, answered: Option<Value>) -> String {
    let invoke = event(Kind::Invoke, f, asked);
    let complete = answered.map(|value| event(Kind::Ok, f, value));
    label(&Operation { invoke: &invoke, complete: complete.as_ref() })
}

fn list(items: &[i64]) -> Value {
    Value::list(items.iter().copied().map(Value::Int))
}

fn step(f: &str, key: i64, value: Value) -> Value {
    Value::list([Value::Keyword(f.to_owned()), Value::Int(key), value])
}

#[test]
fn registers_read_as_sentences() {
    let keyed = Value::keyed(5, Value::Nil);
    assert_eq!(labelled("read", keyed.clone(), Some(Value::keyed(5, 3))), "read 5 → 3");
    assert_eq!(labelled("read", keyed.clone(), None), "read 5");
    assert_eq!(labelled("read", keyed.clone(), Some(keyed.clone())), "read 5");
    assert_eq!(labelled("delete", keyed.clone(), Some(keyed)), "delete 5");
    let write = Value::keyed(5, 3);
    assert_eq!(labelled("write", write.clone(), Some(write)), "write 5 = 3");
    let cas = Value::keyed(5, list(&[1, 2]));
    assert_eq!(labelled("cas", cas.clone(), Some(cas)), "cas 5 from 1 to 2");
}

#[test]
fn a_lone_register_has_no_key() {
    assert_eq!(labelled("cas", list(&[1, 2]), Some(list(&[1, 2]))), "cas from 1 to 2");
    assert_eq!(labelled("read", Value::Nil, Some(list(&[1, 2]))), "read → [1 2]");
    assert_eq!(labelled("add", Value::Int(7), Some(Value::Int(7))), "add 7");
}

#[test]
fn transactions_read_step_by_step_and_name_all_their_keys() {
    let asked = Value::list([step("append", 5, Value::Int(1)), step("r", 6, Value::Nil)]);
    let answer = Value::list([step("append", 5, Value::Int(1)), step("r", 6, list(&[1, 2]))]);
    assert_eq!(labelled("txn", asked.clone(), Some(answer)), "append 5 1 · r 6 → [1 2]");
    assert_eq!(labelled("txn", asked.clone(), None), "append 5 1 · r 6");
    let invoke = event(Kind::Invoke, "txn", asked);
    let operation = Operation { invoke: &invoke, complete: None };
    assert_eq!(keys(&operation), [&Value::Int(5), &Value::Int(6)].into());
    assert!(!only_reads(&operation));
}

#[test]
fn maps_and_long_values_stay_short() {
    let transfer = Value::Map(vec![(Value::Keyword("from".to_owned()), Value::Int(1))]);
    assert_eq!(labelled("transfer", transfer.clone(), Some(transfer)), "transfer {:from 1}");
    let long = labelled("read", Value::Nil, Some(list(&(0..500).collect::<Vec<_>>())));
    assert!(long.chars().count() < 80, "{long}");
    assert!(long.ends_with('…'), "{long}");
}

#[test]
fn a_story_says_when_where_and_with_what_error() {
    let invoke = event(Kind::Invoke, "read", Value::Nil);
    let mut complete = event(Kind::Fail, "read", Value::Nil);
    complete.node = Some(2);
    complete.witness = Some(Witness { group: 5, index: 17 });
    complete.error = Some("not-leader".to_owned());
    complete.extra.insert("etag".to_owned(), "a".into());
    let told = story(&Operation { invoke: &invoke, complete: Some(&complete) });
    assert_eq!(
        told,
        "read\nasked at 1.000 s (event 4)\nfail after 4.2 ms (event 9)\nat node 2\ngroup 5, index 17\nnot-leader\netag: \"a\""
    );
}

#[test]
fn lengths_of_time_have_three_digits_and_a_unit() {
    let said: Vec<String> = [
        0,
        900,
        1_500,
        4_200_000,
        99_960_000,
        999_999_999,
        1_000_000_000,
        75_300_000_000,
        185_000_000_000,
        7_260_000_000_000,
    ]
    .into_iter()
    .map(duration)
    .collect();
    assert_eq!(
        said,
        [
            "0",
            "900 ns",
            "1.5 µs",
            "4.2 ms",
            "100 ms",
            "1000 ms",
            "1 s",
            "75.3 s",
            "3 min 5 s",
            "2 h 1 min"
        ]
    );
    assert_eq!(milliseconds(0.25), "250 µs");
    assert_eq!(milliseconds(1_250.0), "1.25 s");
}

#[test]
fn counts_are_grouped_by_thousands() {
    assert_eq!([0, 999, 1_000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
    assert_eq!(counted(1, "fault", "faults"), "1 fault");
    assert_eq!(counted(2_000, "fault", "faults"), "2,000 faults");
}
