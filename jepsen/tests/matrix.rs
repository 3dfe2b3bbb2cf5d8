//! The short matrix: real clusters, broken for some seconds each, judged as a user would have it judged.
//!
//! Why it exists: the harness and the store must fit each other at every commit; the full matrix and the
//! soak take hours and run elsewhere (docs/testing.md).
//!
//! Promises: an anomaly fails at once. A run that covered too little (`unknown`: so short a run may end
//! before enough was done while something was broken) proves nothing either way and is made again, with
//! another seed, unless `TETRARCH_SEED` says one, at most [`TRIES`] times; if it never becomes `valid`, that
//! fails too. Stale reads passed off as linearizable must be found. Relies on: the server's binary beside the harness' own, as `cargo test --workspace`
//! builds it, or `TETRARCH_BINARY`. The seed is printed with each run's command line, which repeats it.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "what the runs say belongs to the test's output"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What runs together with what: the promise most likely to break under that fault.
const CELLS: &[(&str, &str, &str)] = &[
    ("register", "partition,kill", "12s"),
    ("append", "pause,kill", "12s"),
    ("counter", "kill", "10s"),
    ("namespace", "partition,pause", "12s"),
    ("converge", "partition", "8s"),
    ("loss", "partition", "8s"),
];

/// Runs of a cell before it fails for want of coverage.
const TRIES: usize = 3;
/// Exit code of the harness for `unknown`.
const UNKNOWN: Option<i32> = Some(2);

fn server() -> PathBuf {
    if let Some(given) = std::env::var_os("TETRARCH_BINARY") {
        return given.into();
    }
    let own = Path::new(env!("CARGO_BIN_EXE_tetrarch-jepsen"));
    own.parent().expect("a binary is in a directory").join("tetrarch")
}

fn judged(workload: &str, nemesis: &str, time: &str) -> Output {
    let store = tempfile::tempdir().expect("a directory for the run");
    let mut command = Command::new(env!("CARGO_BIN_EXE_tetrarch-jepsen"));
    command
        .args(["test", "-w", workload, "-n", nemesis, "--time-limit", time, "--nodes", "3"])
        .args(["--rate", "150", "--interval", "4s", "--concurrency", "10n"])
        .arg("--binary")
        .arg(server())
        .arg("--store")
        .arg(store.path());
    if let Ok(seed) = std::env::var("TETRARCH_SEED") {
        command.args(["--seed", &seed]);
    }
    let output = command.output().expect("the harness starts");
    println!("{}", String::from_utf8_lossy(&output.stdout));
    eprintln!("{}", String::from_utf8_lossy(&output.stderr));
    if output.status.code() != Some(0) {
        // What shows the anomaly must outlive the test.
        println!("the run is kept in {}", store.keep().display());
    }
    output
}

#[test]
fn short_runs_of_the_matrix_are_valid_and_a_stale_register_is_not() {
    let what = "cargo test --workspace builds it, or name one by TETRARCH_BINARY";
    assert!(server().exists(), "no server at {}: {what}", server().display());
    let wrong: Vec<String> = CELLS
        .iter()
        .filter_map(|(workload, nemesis, time)| {
            let mut output = judged(workload, nemesis, time);
            for _ in 1..TRIES {
                if output.status.code() == UNKNOWN {
                    output = judged(workload, nemesis, time);
                }
            }
            let said = String::from_utf8_lossy(&output.stdout);
            let first = said.lines().next().unwrap_or_default();
            (output.status.code() != Some(0)).then(|| format!("{workload}/{nemesis}: {first}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    // Whether a stale read is made at all is chance; within a minute of faults one is.
    let seen = (0..TRIES)
        .any(|_| judged("register-stale", "partition,pause", "15s").status.code() == Some(1));
    assert!(seen, "the harness did not see stale reads");
}
