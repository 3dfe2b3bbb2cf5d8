//! A comparison measures real nodes with distance and faults between them, and checks what it measured.
//!
//! What is asserted are the promises: nothing is wrong when all is read back, a cut site of a
//! linearizable namespace answers nothing, nothing arrives before the distance allows it, and the same
//! command does not measure twice.

use std::path::Path;
use std::process::Command;

use tetrarch::bench::figures::Report;

fn compare(out: &Path, choice: &[&str]) -> Report {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tetrarch"));
    command.args(["bench", "compare", "--quick", "--json", "--seed", "5", "--out"]).arg(out);
    let done = command.args(choice).output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{said}");
    let report: Report = serde_json::from_slice(&done.stdout).unwrap();
    for run in &report.runs {
        assert_eq!((run.trouble.as_deref(), run.verified.wrong), (None, 0), "{said}");
        assert!(run.verified.checked > 0, "{}", run.name);
    }
    report
}

#[test]
fn nothing_arrives_before_the_distance_allows_it_and_nothing_is_measured_twice() {
    let dir = tempfile::tempdir().unwrap();
    let choice = ["--modes", "lww", "--workloads", "ycsb-f", "--rtt-ms", "80", "--duration", "2s"];
    let report = compare(dir.path(), &choice);
    let [run] = report.runs.as_slice() else { panic!("{} runs", report.runs.len()) };
    let seen = run.visibility.as_ref().unwrap();
    // 40 ms one way; the clock starts when the client has its answer, some time after the write left.
    assert!(seen.cdf.first().is_some_and(|(ms, _)| *ms > 20.0), "{:?}", seen.cdf.first());
    let again = compare(dir.path(), &choice);
    assert_eq!(again.runs, report.runs);
    assert!(!dir.path().join("nodes/1/node-1").exists(), "the nodes' data is removed");
}

#[test]
fn a_cut_site_answers_on_one_side_of_cap_only() {
    let dir = tempfile::tempdir().unwrap();
    let choice = ["--faults", "partition", "--duration", "4s", "--rate", "60"];
    let report = compare(dir.path(), &choice);
    let during = |mode: &str| {
        let run = report.runs.iter().find(|run| run.mode == mode).unwrap();
        assert_eq!(run.fault_sites, [3]);
        println!("{mode}: {:?}", run.availability);
        run.per_second
            .iter()
            // The first second of the cut may still see what was under way.
            .filter(|second| (4..7).contains(&second.t))
            .filter_map(|second| second.sites.get(&3))
            .fold((0, 0), |(ok, failed), at| (ok + at.in_time, failed + at.failed))
    };
    let (ok, _) = during("linearizable");
    assert_eq!(ok, 0, "a minority has no quorum");
    let (ok, failed) = during("lww");
    assert!(ok > 0 && failed == 0, "{ok} {failed}");
}
