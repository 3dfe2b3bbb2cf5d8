//! Histories made by hand: sums, sets and maps as they must be, and with one thing lost.

use super::*;
use crate::verdict::Validity;
use crate::workload::tests_history::Script;

/// An operation at a node.
fn op(script: &mut Script, (f, data_type): (&str, &str), argument: i64, kind: Kind, at_node: u32) {
    let value = Value::list([data_type.into(), 1.into(), argument.into()]);
    let event = script.operation(f, value.clone(), kind, value);
    event.node = Some(at_node);
    match f {
        "field" => {
            event.with("field", "t1n1");
        }
        "remove" => {
            event.with("shown", true);
        }
        _ => {}
    }
}

fn state(script: &mut Script, data_type: &str, contents: impl Into<Value>) -> Verdict {
    let value =
        Value::list([1.into(), data_type.into(), Value::list([Value::keyed(1, contents.into())])]);
    script.operation("state", 1, Kind::Ok, value);
    Merging.check(&script.history(), Budget::default())
}

fn kind(verdict: &Verdict) -> &str {
    verdict.anomalies.first().map_or("none", |first| first.kind.as_str())
}

#[test]
fn a_sum_is_exact_but_for_what_nobody_knows() {
    let sum = |with_unknown: bool, sum: i64| {
        let mut script = Script::default();
        op(&mut script, ("add", "counter"), 5, Kind::Ok, 1);
        op(&mut script, ("add", "counter"), -2, Kind::Ok, 2);
        op(&mut script, ("add", "counter"), 100, Kind::Fail, 2);
        if with_unknown {
            op(&mut script, ("add", "counter"), 10, Kind::Info, 2);
        }
        state(&mut script, "counter", sum)
    };
    assert_eq!(sum(false, 3).validity, Validity::Valid, "{}", sum(false, 3).reason);
    assert_eq!(kind(&sum(false, 5)), "wrong-sum");
    assert_eq!(kind(&sum(false, 13)), "wrong-sum");
    assert_eq!(sum(true, 13).validity, Validity::Valid);
    assert_eq!(kind(&sum(true, 14)), "wrong-sum");
}

#[test]
fn a_node_shows_what_it_took_itself() {
    let read = |at_node: u32, sum: i64| {
        let mut script = Script::default();
        op(&mut script, ("add", "counter"), 5, Kind::Ok, 1);
        let value = Value::list(["counter".into(), 1.into(), sum.into()]);
        script.operation("read", value.clone(), Kind::Ok, value).node = Some(at_node);
        state(&mut script, "counter", 5)
    };
    assert_eq!(read(1, 5).validity, Validity::Valid);
    assert_eq!(read(2, 0).validity, Validity::Valid);
    assert_eq!(kind(&read(1, 0)), "own-addition-missing");
    assert_eq!(kind(&read(2, 6)), "own-addition-missing");
}

#[test]
fn an_insertion_after_all_removals_stays_and_one_that_was_seen_goes() {
    let set = |ops: &[(&str, Kind, u32)], shown: &[i64]| {
        let mut script = Script::default();
        for (f, kind, at_node) in ops {
            op(&mut script, (f, "set"), 7, *kind, *at_node);
        }
        state(&mut script, "set", shown.to_vec())
    };
    let added = [("insert", Kind::Ok, 1)];
    assert_eq!(set(&added, &[7]).validity, Validity::Valid);
    assert_eq!(kind(&set(&added, &[])), "lost-element");
    assert_eq!(kind(&set(&added, &[7, 8])), "unexpected-element");
    let removed = [("insert", Kind::Ok, 1), ("remove", Kind::Ok, 2)];
    assert_eq!(set(&removed, &[]).validity, Validity::Valid);
    assert_eq!(kind(&set(&removed, &[7])), "removed-element");
    let unknown = [("insert", Kind::Ok, 1), ("remove", Kind::Info, 2)];
    for shown in [&[7][..], &[]] {
        assert_eq!(set(&unknown, shown).validity, Validity::Valid);
    }
    // The second insertion was made at another node after the removal: whatever node 3 knew then,
    // the removal did not see it.
    let again = [("insert", Kind::Ok, 1), ("remove", Kind::Ok, 1), ("insert", Kind::Ok, 3)];
    assert_eq!(set(&again, &[7]).validity, Validity::Valid);
    assert_eq!(kind(&set(&again, &[])), "lost-element");
    // Of two insertions the removal's node was shown one at least, and nobody knows which.
    let both = [("insert", Kind::Ok, 1), ("insert", Kind::Ok, 2), ("remove", Kind::Ok, 3)];
    for shown in [&[7][..], &[]] {
        assert_eq!(set(&both, shown).validity, Validity::Valid);
    }
}

#[test]
fn a_node_does_not_forget_an_element_that_it_took() {
    let mut script = Script::default();
    op(&mut script, ("insert", "set"), 7, Kind::Ok, 1);
    let value = Value::list(["set".into(), 1.into(), Vec::<i64>::new().into()]);
    script.operation("read", value.clone(), Kind::Ok, value).node = Some(1);
    assert_eq!(kind(&state(&mut script, "set", vec![7_i64])), "own-element-missing");
}

#[test]
fn a_map_keeps_each_writers_last_word() {
    let map = |last: Kind, text: &str| {
        let mut script = Script::default();
        op(&mut script, ("field", "map"), 30, Kind::Ok, 1);
        op(&mut script, ("field", "map"), 31, last, 1);
        op(&mut script, ("hit", "map"), 2, Kind::Ok, 2);
        op(&mut script, ("tag", "map"), 40, Kind::Ok, 2);
        state(&mut script, "map", text)
    };
    let good = r#"{"t1n1":31,"hits":2,"tags":["40"]}"#;
    assert_eq!(map(Kind::Ok, good).validity, Validity::Valid, "{}", map(Kind::Ok, good).reason);
    let older = r#"{"t1n1":30,"hits":2,"tags":["40"]}"#;
    assert_eq!(kind(&map(Kind::Ok, older)), "lost-field");
    assert_eq!(map(Kind::Info, older).validity, Validity::Valid);
    assert_eq!(kind(&map(Kind::Ok, r#"{"t1n1":31,"hits":1,"tags":["40"]}"#)), "wrong-sum");
    assert_eq!(kind(&map(Kind::Ok, r#"{"t1n1":31,"hits":2}"#)), "lost-element");
}

#[test]
fn two_fields_are_no_conflict() {
    let mut script = Script::default();
    op(&mut script, ("field", "map"), 30, Kind::Ok, 1);
    let totals = Value::list([1.into(), "map".into(), 1.into(), 0.into(), 0.into()]);
    script.operation("totals", 1, Kind::Ok, totals);
    assert_eq!(kind(&state(&mut script, "map", r#"{"t1n1":30}"#)), "conflict-between-fields");
}
