//! Histories made by hand, in which nodes tell the truth about losses, or one untruth.

use super::*;
use crate::verdict::Validity;
use crate::workload::tests_history::Script;

/// A write of `value` at a node, which was shown another value.
fn write(script: &mut Script, value: i64, at_node: u32, shown: Option<i64>) {
    let task = Value::keyed(1, value);
    let event = script.operation("write", task.clone(), Kind::Ok, task);
    event.node = Some(at_node);
    event.with("receipt", format!("r{value}")).with("context", shown.is_some());
    if let Some(shown) = shown {
        event.with("shown", format!("r{shown}")).with("shown-value", shown);
    }
}

/// What nodes say in the end.
#[derive(Clone)]
struct Said {
    fates: Vec<(i64, &'static str, Option<&'static str>)>,
    other_fates: Option<Vec<(i64, &'static str, Option<&'static str>)>>,
    shown: &'static str,
    conflicts: Vec<(&'static str, i64, &'static str)>,
    totals: (i64, i64, i64),
    restored: Option<(i64, i64)>,
}

fn fates(said: &[(i64, &'static str, Option<&'static str>)]) -> Value {
    Value::list(said.iter().map(|(value, word, by)| {
        let is_final = *word != "current";
        Value::list([
            format!("r{value}").into(),
            (*word).into(),
            by.map(str::to_owned).into(),
            is_final.into(),
        ])
    }))
}

fn verdict(script: &Script, said: &Said) -> Verdict {
    let mut script = Script::clone(script);
    for node in 1..=2_i64 {
        let of = if node == 2 { said.other_fates.as_ref() } else { None };
        let list = Value::list([node.into(), 1.into(), fates(of.unwrap_or(&said.fates))]);
        script.operation("fates", 1, Kind::Ok, list);
        let shown = Value::list([node.into(), 1.into(), said.shown.into(), Value::Nil]);
        script.operation("shown", 1, Kind::Ok, shown);
        let lost = said.conflicts.iter().map(|(receipt, value, by)| {
            Value::list([(*receipt).into(), "k1".into(), value.to_string().into(), (*by).into()])
        });
        let lost = Value::list([node.into(), "lww".into(), Value::list(lost)]);
        script.operation("conflicts", 1, Kind::Ok, lost);
        let (lost, effective, pending) = said.totals;
        let totals =
            Value::list([node.into(), "lww".into(), lost.into(), effective.into(), pending.into()]);
        script.operation("totals", 1, Kind::Ok, totals);
    }
    if let Some((value, seen)) = said.restored {
        let seen = Value::list([Value::keyed(1, seen)]);
        let restored = Value::list([1.into(), 1.into(), value.into(), seen]);
        script.operation("restore", 1, Kind::Ok, restored);
    }
    Fates.check(&script.history(), Budget::default())
}

/// Node 2 writes 20 over node 1's 10; node 1, which does not know that yet, writes 11 over it.
fn forked() -> (Script, Said) {
    let mut script = Script::default();
    write(&mut script, 10, 1, None);
    write(&mut script, 20, 2, Some(10));
    write(&mut script, 11, 1, Some(10));
    let said = Said {
        fates: vec![(10, "superseded", None), (11, "lost", Some("r20")), (20, "current", None)],
        other_fates: None,
        shown: "r20",
        conflicts: vec![("r11", 11, "r20")],
        totals: (1, 1, 0),
        restored: Some((11, 11)),
    };
    (script, said)
}

fn kinds(script: &Script, said: &Said) -> Vec<String> {
    let verdict = verdict(script, said);
    let mut kinds: Vec<String> =
        verdict.anomalies.iter().map(|anomaly| anomaly.kind.clone()).collect();
    kinds.sort();
    kinds.dedup();
    kinds
}

#[test]
fn a_fork_whose_loser_is_named_and_counted_is_valid() {
    let (script, said) = forked();
    let verdict = verdict(&script, &said);
    assert_eq!(verdict.validity, Validity::Valid, "{}", verdict.reason);
    assert_eq!(verdict.figures["effective_at_least"], 1);
    assert_eq!(verdict.figures["effective_at_most"], 1);
}

#[test]
fn each_untruth_about_a_fork_has_its_name() {
    let (script, good) = forked();
    let says = |change: fn(&mut Said), kind: &str| {
        let mut said = good.clone();
        change(&mut said);
        let found = kinds(&script, &said);
        assert!(found.iter().any(|found| found == kind), "{kind}: {found:?}");
    };
    says(|s| s.fates[1] = (11, "superseded", None), "lost-in-silence");
    says(|s| s.fates[0] = (10, "lost", Some("r20")), "seen-and-lost");
    says(|s| s.fates[1] = (11, "unknown", None), "unaccounted");
    says(|s| s.fates[1] = (11, "lost", Some("r99")), "lost-to-nobody");
    says(|s| s.fates[0] = (10, "current", None), "replaced-and-current");
    says(|s| s.fates[0] = (10, "current", None), "current-and-not-shown");
    says(|s| s.fates[2] = (20, "superseded", None), "shown-and-not-current");
    says(|s| s.fates.truncate(2), "unaccounted");
    says(|s| s.other_fates = Some(vec![(11, "superseded", None)]), "fates-differ");
    says(|s| s.conflicts.clear(), "loss-not-recorded");
    says(|s| s.conflicts.push(("r10", 10, "r20")), "recorded-and-not-lost");
    says(|s| s.conflicts.push(("r77", 77, "r20")), "conflict-of-nobody");
    says(|s| s.conflicts[0].1 = 10, "misquoted-conflict");
    says(|s| s.totals.0 = 0, "wrong-direct-loss");
    says(|s| s.totals.1 = 2, "wrong-effective-loss");
    says(|s| s.totals.2 = 1, "never-final");
    says(|s| s.restored = Some((11, 20)), "not-restored");
}

#[test]
fn what_came_in_between_is_allowed_for_and_bounds_the_effect() {
    let mut script = Script::default();
    write(&mut script, 5, 1, None);
    write(&mut script, 20, 2, Some(5));
    write(&mut script, 10, 1, Some(5));
    // Node 1 was shown 10; node 2's write may have come before this one was made.
    write(&mut script, 11, 1, Some(10));
    let said = |fate: &'static str, by: Option<&'static str>, effective: i64| Said {
        fates: vec![
            (5, "superseded", None),
            (10, fate, by),
            (20, "lost", Some("r11")),
            (11, "current", None),
        ],
        other_fates: None,
        shown: "r11",
        conflicts: [("r10", 10, "r11"), ("r20", 20, "r11")]
            .into_iter()
            .filter(|(receipt, _, _)| *receipt != "r10" || by.is_some())
            .collect(),
        totals: (1 + i64::from(by.is_some()), effective, 0),
        restored: None,
    };
    for (fate, by, effective) in [("superseded", None, 2), ("lost", Some("r11"), 3)] {
        let verdict = verdict(&script, &said(fate, by, effective));
        assert_eq!(verdict.validity, Validity::Valid, "{fate}: {}", verdict.reason);
    }
    assert_eq!(kinds(&script, &said("superseded", None, 3)), ["wrong-effective-loss"]);
}

/// A write that got no answer, and is what all nodes show in the end: it is counted, and what it was
/// shown stands in its chain.
#[test]
fn a_write_without_an_answer_that_is_current_is_named_by_what_is_shown() {
    let mut script = Script::default();
    write(&mut script, 10, 1, None);
    let task = Value::keyed(1, 30);
    let event = script.operation("write", task.clone(), Kind::Info, task);
    event.node = Some(1);
    event.with("context", true).with("shown", "r10").with("shown-value", 10);
    for node in 1..=2_i64 {
        let fates = fates(&[(10, "superseded", None)]);
        script.operation("fates", 1, Kind::Ok, Value::list([node.into(), 1.into(), fates]));
        let shown = Value::list([node.into(), 1.into(), "r30".into(), 30.into()]);
        script.operation("shown", 1, Kind::Ok, shown);
        let none = Value::list([node.into(), "lww".into(), Value::list([])]);
        script.operation("conflicts", 1, Kind::Ok, none);
        let totals = [node.into(), "lww".into(), 0.into(), 0.into(), 0.into()];
        script.operation("totals", 1, Kind::Ok, Value::list(totals));
    }
    let verdict = Fates.check(&script.history(), Budget::default());
    assert_eq!(verdict.validity, Validity::Valid, "{}", verdict.reason);
}

/// Node 1 takes node 2's 20, which replaced 10, and then a write by who was shown 10: that sweeps 20, and
/// stands on nothing.
#[test]
fn what_a_swept_rival_had_replaced_is_nobodys_ground() {
    let mut script = Script::default();
    write(&mut script, 10, 1, None);
    write(&mut script, 20, 2, Some(10));
    write(&mut script, 11, 1, Some(10));
    write(&mut script, 12, 1, Some(11));
    let said = |effective| Said {
        fates: vec![
            (10, "superseded", None),
            (20, "lost", Some("r11")),
            (11, "superseded", None),
            (12, "current", None),
        ],
        other_fates: None,
        shown: "r12",
        conflicts: vec![("r20", 20, "r11")],
        totals: (1, effective, 0),
        restored: None,
    };
    let verdict = verdict(&script, &said(2));
    assert_eq!(verdict.validity, Validity::Valid, "{}", verdict.reason);
    assert_eq!(verdict.figures["effective_at_least"], 2);
    assert_eq!(kinds(&script, &said(1)), ["wrong-effective-loss"]);
}
