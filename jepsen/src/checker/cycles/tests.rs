//! Transactions over lists with known verdicts, and random ones against brute force.

use crate::checker::cycles::Cycles;
use crate::checker::{Budget, Checker};
use crate::history::History;
use crate::verdict::{Validity, Verdict};

mod random;

/// Who, from when, until when, how it ended, what it did.
type Txn<'a> = (u64, u64, u64, &'a str, &'a str);

/// The history of these transactions, each with events at two times; reads say what was answered.
fn history(txns: &[Txn<'_>]) -> History {
    let mut lines: Vec<(u64, String)> = Vec::new();
    for (process, from, to, kind, micros) in txns {
        let line = |kind| format!("{{:process {process} :type :{kind} :f :txn :value {micros}}}");
        lines.push((*from, line("invoke")));
        if *kind != "open" {
            lines.push((*to, line(kind)));
        }
    }
    lines.sort();
    let text: Vec<String> = lines.into_iter().map(|(_, line)| line).collect();
    // That an invocation's reads hold what was answered disturbs nobody: only answers are looked at.
    History::read_edn(text.join("\n").as_bytes()).unwrap()
}

fn judged(txns: &[Txn<'_>]) -> Verdict {
    Cycles.check(&history(txns), Budget::default())
}

fn invalid(txns: &[Txn<'_>], kind: &str) -> String {
    let verdict = judged(txns);
    assert_eq!(verdict.validity, Validity::Invalid, "{verdict:#?}");
    let found = verdict.anomalies.iter().find(|anomaly| anomaly.kind == kind);
    let found = found.unwrap_or_else(|| panic!("no {kind} in {verdict:#?}"));
    assert!(!found.events.is_empty(), "{found:#?}");
    found.words.clone()
}

fn valid(txns: &[Txn<'_>]) {
    let verdict = judged(txns);
    assert_eq!(verdict.validity, Validity::Valid, "{verdict:#?}");
}

#[test]
fn what_happened_one_after_the_other_is_fine() {
    valid(&[
        (0, 0, 1, "ok", "[[:append 1 1] [:append 2 2]]"),
        (1, 2, 3, "ok", "[[:r 1 [1]] [:append 1 3]]"),
        (2, 4, 5, "ok", "[[:r 1 [1 3]] [:r 2 [2]]]"),
    ]);
}

#[test]
fn two_who_overwrite_each_other_are_a_g0() {
    let words = invalid(
        &[
            (0, 0, 10, "ok", "[[:append 1 1] [:append 2 2]]"),
            (1, 1, 11, "ok", "[[:append 1 3] [:append 2 4]]"),
            (2, 12, 13, "ok", "[[:r 1 [1 3]] [:r 2 [4 2]]]"),
        ],
        "G0",
    );
    assert!(words.contains("the transaction of process 0 (events 0-2)"), "{words}");
}

#[test]
fn reading_what_failed_is_a_g1a() {
    invalid(&[(0, 0, 1, "fail", "[[:append 1 1]]"), (1, 2, 3, "ok", "[[:r 1 [1]]]")], "G1a");
}

#[test]
fn reading_between_two_appends_of_one_transaction_is_a_g1b() {
    invalid(
        &[
            (0, 0, 4, "ok", "[[:append 1 1] [:append 1 2]]"),
            (1, 1, 3, "ok", "[[:r 1 [1]]]"),
            (2, 5, 6, "ok", "[[:r 1 [1 2]]]"),
        ],
        "G1b",
    );
}

#[test]
fn two_who_read_from_each_other_are_a_g1c() {
    invalid(
        &[
            (0, 0, 10, "ok", "[[:append 1 1] [:r 2 [2]]]"),
            (1, 1, 11, "ok", "[[:append 2 2] [:r 1 [1]]]"),
        ],
        "G1c",
    );
}

#[test]
fn seeing_one_half_of_a_transaction_is_a_g_single() {
    invalid(
        &[
            (0, 0, 10, "ok", "[[:append 1 1] [:append 2 2]]"),
            (1, 1, 11, "ok", "[[:r 1 [1]] [:r 2 nil]]"),
            (2, 12, 13, "ok", "[[:r 1 [1]] [:r 2 [2]]]"),
        ],
        "G-single-item",
    );
}

#[test]
fn write_skew_is_a_g2() {
    invalid(
        &[
            (0, 0, 10, "ok", "[[:r 1 nil] [:append 2 2]]"),
            (1, 1, 11, "ok", "[[:r 2 nil] [:append 1 1]]"),
            (2, 12, 13, "ok", "[[:r 1 [1]] [:r 2 [2]]]"),
        ],
        "G2-item",
    );
}

#[test]
fn missing_what_was_done_before_is_an_anomaly_of_real_time() {
    let txns = [
        (0, 0, 1, "ok", "[[:append 1 1]]"),
        (1, 2, 3, "ok", "[[:r 1 nil]]"),
        (2, 4, 5, "ok", "[[:r 1 [1]]]"),
    ];
    let words = invalid(&txns, "G-single-item-realtime");
    assert!(words.contains("before the invocation"), "{words}");
    invalid(&txns, "stale-read");
    // Had the read begun before the append was done, it would have been fine.
    valid(&[txns[0], (1, 0, 3, "ok", "[[:r 1 nil]]"), txns[2]]);
}

#[test]
fn lists_that_cannot_be_of_one_history_are_named() {
    let one = (0, 0, 1, "ok", "[[:append 1 1]]");
    let two = (0, 2, 9, "ok", "[[:append 1 2]]");
    invalid(&[one, two, (1, 10, 11, "ok", "[[:r 1 [1 2 1]]]")], "duplicate-elements");
    invalid(&[one, two, (1, 10, 11, "ok", "[[:r 1 [2]]]")], "lost-element");
    invalid(&[one, two, (1, 10, 11, "ok", "[[:r 1 [1 2 3]]]")], "phantom-element");
    invalid(
        &[one, two, (1, 3, 11, "ok", "[[:r 1 [1 2]]]"), (2, 3, 12, "ok", "[[:r 1 [2 1]]]")],
        "incompatible-order",
    );
}

#[test]
fn what_was_never_answered_may_have_happened_or_not() {
    for kind in ["info", "open"] {
        let first = (0, 0, 1, kind, "[[:append 1 1]]");
        valid(&[first, (1, 2, 3, "ok", "[[:r 1 nil]]"), (1, 4, 5, "ok", "[[:append 1 2]]")]);
        valid(&[first, (1, 2, 3, "ok", "[[:r 1 [1]]]"), (1, 4, 5, "ok", "[[:append 1 2]]")]);
    }
}

#[test]
fn what_is_no_list_append_is_not_passed() {
    let verdict = |edn: &str| {
        let history = History::read_edn(edn.as_bytes()).unwrap();
        Cycles.check(&history, Budget::default()).validity
    };
    assert_eq!(verdict(""), Validity::Unknown);
    assert_eq!(verdict("{:process 0 :type :invoke :f :read}"), Validity::Unknown);
    let twice = "{:process 0 :type :invoke :f :txn :value [[:append 1 1] [:append 1 1]]}";
    assert_eq!(verdict(twice), Validity::Unknown);
}
