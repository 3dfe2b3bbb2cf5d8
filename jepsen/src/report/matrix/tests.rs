//! The three tables of the same runs.

use super::*;
use crate::report::{Ended, FaultSummary, OperationSummary};

fn run(workload: &str, nemesis: &str, validity: Validity) -> RunSummary {
    let ok = Ended { count: 1_200, latency: None };
    RunSummary {
        workload: workload.to_owned(),
        nemesis: nemesis.to_owned(),
        seed: 7,
        seconds: 30.2,
        validity,
        reason: "because of a | and a <b>".to_owned(),
        operations: vec![OperationSummary { f: "read".to_owned(), ok, ..Default::default() }],
        faults: vec![FaultSummary { name: "kill".to_owned(), installed: 3, ..Default::default() }],
        dir: format!("{workload}-{nemesis}-7"),
        ..RunSummary::default()
    }
}

fn runs() -> Vec<RunSummary> {
    vec![
        run("register", "none", Validity::Valid),
        run("register", "partition,kill", Validity::Valid),
        run("register", "partition,kill", Validity::Invalid),
        run("set", "none", Validity::Unknown),
    ]
}

#[test]
fn markdown_shows_the_worst_of_each_cell_and_why() {
    let expected = "\
4 runs: 2 valid, 1 unknown, 1 invalid; 4,800 operations and 12 faults in 121 s.

| workload | none | partition,kill |
|---|---|---|
| register | valid: 1,200 ops, 3 faults, 30 s | **invalid**: 2 runs, 2,400 ops, 6 faults, 60 s |
| set | **unknown**: 1,200 ops, 3 faults, 30 s | – |

* register under partition,kill, seed 7: **invalid**: because of a \\| and a &lt;b>
* set without faults, seed 7: **unknown**: because of a \\| and a &lt;b>
";
    assert_eq!(markdown(&runs()), expected);
}

#[test]
fn the_page_links_to_each_run_and_escapes() {
    let page = html(&runs());
    assert!(page.contains("href=\"./register-none-7/index.html\""), "{page}");
    assert!(page.contains("href=\"./register-partition%2Ckill-7/index.html\""), "{page}");
    assert!(page.contains("Invalid</h1>"));
    assert!(!page.contains("<b>\""), "{page}");
    assert_eq!(page, html(&runs()));
}

#[test]
fn the_terminal_has_one_row_for_each_workload() {
    let table = terminal(&runs(), false).to_string();
    assert!(table.contains("│ register"), "{table}");
    assert!(table.contains("invalid"), "{table}");
    assert!(!table.contains('\u{1b}'), "{table}");
}

#[test]
fn no_runs_are_not_a_pass() {
    assert_eq!(validity(&[]), Validity::Unknown);
    assert!(html(&[]).contains("Unknown</h1>"));
    assert!(markdown(&[]).starts_with("0 runs"));
    assert_eq!(terminal(&[], true).row_count(), 0);
}
