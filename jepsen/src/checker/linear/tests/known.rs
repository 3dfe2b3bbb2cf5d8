//! Histories whose verdicts are known, through the front door.

use crate::checker::linear::Linear;
use crate::checker::{Budget, Checker};
use crate::history::History;
use crate::verdict::{Validity, Verdict};

fn judged(edn: &str) -> Verdict {
    let history = History::read_edn(edn.as_bytes()).unwrap();
    Linear.check(&history, Budget::default())
}

/// The verdict must be invalid, for one anomaly of this kind over these events.
fn invalid(edn: &str, kind: &str, events: &[u64]) -> String {
    let verdict = judged(edn);
    assert_eq!(verdict.validity, Validity::Invalid, "{verdict:#?}");
    let anomaly = &verdict.anomalies[0];
    assert_eq!((anomaly.kind.as_str(), anomaly.events.as_slice()), (kind, events), "{verdict:#?}");
    anomaly.words.clone()
}

fn valid(edn: &str) -> Verdict {
    let verdict = judged(edn);
    assert_eq!(verdict.validity, Validity::Valid, "{verdict:#?}");
    verdict
}

#[test]
fn herlihy_and_wings_overlapping_writes_may_be_read_in_either_order() {
    // Two writes overlap; whoever reads later settles which was first.
    let history = |seen: u64| {
        format!(
            "{{:process 0 :type :invoke :f :write :value 1}}
             {{:process 1 :type :invoke :f :write :value 2}}
             {{:process 0 :type :ok :f :write :value 1}}
             {{:process 1 :type :ok :f :write :value 2}}
             {{:process 2 :type :invoke :f :read :value nil}}
             {{:process 2 :type :ok :f :read :value {seen}}}"
        )
    };
    valid(&history(1));
    valid(&history(2));
    invalid(&history(3), "phantom-read", &[4, 5]);
}

#[test]
fn a_read_may_not_go_back_behind_one_that_was_done() {
    // New-old inversion: regular registers allow it, atomic ones do not (Lamport; Herlihy and Wing).
    let words = invalid(
        "{:process 0 :type :invoke :f :write :value 1}
         {:process 0 :type :ok :f :write :value 1}
         {:process 0 :type :invoke :f :write :value 2}
         {:process 1 :type :invoke :f :read}
         {:process 1 :type :ok :f :read :value 2}
         {:process 2 :type :invoke :f :read}
         {:process 2 :type :ok :f :read :value 1}
         {:process 0 :type :ok :f :write :value 2}",
        "not-linearizable",
        &[0, 1, 2, 3, 4, 5, 6, 7],
    );
    assert!(words.contains("process 2 read 1"), "{words}");
}

#[test]
fn a_stale_read_is_shown_with_the_write_that_it_missed_and_nothing_else() {
    let words = invalid(
        "{:process 0 :type :invoke :f :write :value [7 1]}
         {:process 0 :type :ok :f :write :value [7 1]}
         {:process 3 :type :invoke :f :write :value [8 1]}
         {:process 3 :type :ok :f :write :value [8 1]}
         {:process 0 :type :invoke :f :write :value [7 2]}
         {:process 0 :type :ok :f :write :value [7 2]}
         {:process 1 :type :invoke :f :read :value [7 nil]}
         {:process 1 :type :ok :f :read :value [7 2]}
         {:process 2 :type :invoke :f :read :value [7 nil]}
         {:process 2 :type :ok :f :read :value [7 1]}
         {:process 1 :type :invoke :f :read :value [7 nil]}
         {:process 1 :type :ok :f :read :value [7 2]}",
        "stale-read",
        &[0, 1, 4, 5, 8, 9],
    );
    assert!(words.starts_with("key 7: the read of process 2 (events 8-9) saw 1"), "{words}");
}

#[test]
fn a_write_that_nobody_answered_may_take_effect_late_but_not_twice() {
    // Knossos' README: a crashed write may show up at any later time.
    let history = |more: &str| {
        format!(
            "{{:process 0 :type :invoke :f :write :value 1}}
             {{:process 0 :type :info :f :write :value 1}}
             {{:process 1 :type :invoke :f :write :value 2}}
             {{:process 1 :type :ok :f :write :value 2}}
             {{:process 1 :type :invoke :f :read}}
             {{:process 1 :type :ok :f :read :value 2}}
             {{:process 1 :type :invoke :f :read}}
             {{:process 1 :type :ok :f :read :value 1}}
             {more}"
        )
    };
    valid(&history(""));
    let again = "{:process 2 :type :invoke :f :read} {:process 2 :type :ok :f :read :value 2}";
    invalid(&history(again), "not-linearizable", &[0, 1, 2, 3, 6, 7, 8, 9]);
}

#[test]
fn what_failed_must_not_be_seen() {
    let words = invalid(
        "{:process 0 :type :invoke :f :write :value 1}
         {:process 0 :type :fail :f :write :value 1}
         {:process 1 :type :invoke :f :read}
         {:process 1 :type :ok :f :read :value 1}",
        "aborted-read",
        &[2, 3],
    );
    assert!(words.contains("the write of process 0 (events 0-1)"), "{words}");
}

#[test]
fn a_lost_write_is_called_one() {
    invalid(
        "{:process 0 :type :invoke :f :write :value 1}
         {:process 0 :type :ok :f :write :value 1}
         {:process 1 :type :invoke :f :read}
         {:process 1 :type :ok :f :read :value nil}",
        "lost-write",
        &[0, 1, 2, 3],
    );
}

#[test]
fn two_who_compare_and_set_the_same_value_cannot_both_succeed() {
    let history = |second: &str| {
        format!(
            "{{:process 0 :type :invoke :f :write :value 1}}
             {{:process 0 :type :ok :f :write :value 1}}
             {{:process 1 :type :invoke :f :cas :value [1 2]}}
             {{:process 2 :type :invoke :f :cas :value [1 3]}}
             {{:process 1 :type :ok :f :cas :value [1 2]}}
             {{:process 2 :type {second} :f :cas :value [1 3]}}"
        )
    };
    valid(&history(":fail"));
    valid(&history(":info"));
    invalid(&history(":ok"), "not-linearizable", &[0, 1, 2, 3, 4, 5]);
}

#[test]
fn a_deleted_key_is_absent_until_it_is_written_again() {
    let history = |seen: &str| {
        format!(
            "{{:process 0 :type :invoke :f :write :value [1 4]}}
             {{:process 0 :type :ok :f :write :value [1 4]}}
             {{:process 0 :type :invoke :f :delete :value [1 nil]}}
             {{:process 0 :type :ok :f :delete :value [1 nil]}}
             {{:process 0 :type :invoke :f :cas :value [1 [nil 5]]}}
             {{:process 0 :type :ok :f :cas :value [1 [nil 5]]}}
             {{:process 1 :type :invoke :f :read :value [1 nil]}}
             {{:process 1 :type :ok :f :read :value [1 {seen}]}}"
        )
    };
    valid(&history("5"));
    invalid(&history("4"), "stale-read", &[0, 1, 2, 3, 6, 7]);
}

#[test]
fn the_servers_order_proves_what_it_claims_only_if_it_is_true() {
    let history = |first: u64, second: u64| {
        format!(
            "{{:process 0 :type :invoke :f :write :value 1}}
             {{:process 0 :type :ok :f :write :value 1 :group 3 :log-index {first}}}
             {{:process 1 :type :invoke :f :write :value 2}}
             {{:process 1 :type :ok :f :write :value 2 :group 3 :log-index {second}}}"
        )
    };
    assert_eq!(valid(&history(5, 6)).figures["proved_by_witness"], 1);
    let words = invalid(&history(6, 5), "false-witness", &[0, 1, 2, 3]);
    assert!(words.contains("index 6 of group 3"), "{words}");
}

#[test]
fn a_read_that_claims_a_place_at_which_the_register_held_something_else_is_a_false_witness() {
    invalid(
        "{:process 0 :type :invoke :f :write :value 1}
         {:process 1 :type :invoke :f :read}
         {:process 0 :type :ok :f :write :value 1 :group 3 :log-index 5}
         {:process 1 :type :ok :f :read :value nil :group 3 :log-index 5}",
        "false-witness",
        &[0, 1, 2, 3],
    );
}

#[test]
fn what_is_no_register_is_not_passed() {
    let verdict = judged("{:process 0 :type :invoke :f :enqueue :value 1}");
    assert_eq!(verdict.validity, Validity::Unknown);
    assert_eq!(judged("").validity, Validity::Unknown);
    let orphan = judged("{:process 0 :type :ok :f :read :value 1}");
    assert_eq!(orphan.validity, Validity::Unknown);
}

#[test]
fn without_time_nothing_that_needs_a_search_is_passed() {
    let mut edn = String::new();
    // Many writes of few values that overlap altogether, and reads that contradict at the end.
    for process in 0..24 {
        edn += &format!("{{:process {process} :type :invoke :f :write :value {}}}\n", process % 5);
    }
    for process in 30..54 {
        edn += &format!("{{:process {process} :type :invoke :f :read}}\n");
    }
    for process in 30..54 {
        edn += &format!("{{:process {process} :type :ok :f :read :value {}}}\n", process % 5);
    }
    for round in 0..12 {
        let value = round % 5;
        edn += "{:process 60 :type :invoke :f :read}\n";
        edn += &format!("{{:process 60 :type :ok :f :read :value {value}}}\n");
    }
    edn += "{:process 60 :type :invoke :f :write :value 9} {:process 60 :type :ok :f :write}
            {:process 61 :type :invoke :f :read} {:process 61 :type :ok :f :read :value 7}";
    let history = History::read_edn(edn.as_bytes()).unwrap();
    let verdict = Linear.check(&history, Budget { time: std::time::Duration::ZERO });
    assert_ne!(verdict.validity, Validity::Valid, "{verdict:#?}");
}
