//! Seeded runs of whole clusters in one thread; see `simulation.rs`.
//!
//! `TETRARCH_SIM_SEEDS` says how many seeds, `TETRARCH_SIM_FROM` with which one to begin. What fails prints
//! its seed, the faults that matter, and the command that repeats it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    unreachable_pub,
    reason = "a test fails by panicking, talks to whoever runs it, and is no part of a node"
)]

#[path = "simulation.rs"]
mod simulation;

use std::process::Command;

use simulation::child::{self, Order};
use simulation::shrink::shrink;
use simulation::sweep::Sweep;

/// Seeds of an ordinary run.
const SEEDS: u64 = 20;

fn command() -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["one_seed", "--exact", "--nocapture"]);
    command
}

fn number(variable: &str, usual: u64) -> u64 {
    std::env::var(variable).ok().map_or(usual, |text| text.parse().unwrap())
}

/// The part of a run's own process: `TETRARCH_SIM_SEED` says which run, and without it there is none.
#[test]
fn one_seed() {
    let Some(order) = child::asked() else { return };
    let outcome = child::serve(&order);
    assert!(outcome.broken.is_none(), "{outcome:?}");
}

#[test]
fn no_seed_breaks_a_promise() {
    let sweep = Sweep::new(command);
    let from = number("TETRARCH_SIM_FROM", 1);
    let seeds = from..from + number("TETRARCH_SIM_SEEDS", SEEDS);
    let total = sweep.run(seeds, None, 1, |seed, outcome| {
        let verdict = outcome.broken.as_deref().unwrap_or("kept");
        println!(
            "seed {seed}: {:016x}, {} of {} requests done, {:.0?}: {verdict}",
            outcome.hash, outcome.requests.0, outcome.requests.1, outcome.lasted
        );
    });
    println!("{} seeds, {} requests done, {:.0?}", total.seeds, total.done, total.lasted);
    if let Some((seed, outcome)) = total.failed.first() {
        let (faults, smallest) = shrink(&sweep, *seed, outcome, 20);
        let plan = Order { faults: Some(faults.clone()), ..Order::of(*seed) }.plan();
        panic!(
            "seed {seed} broke a promise: {}\nwith fewer faults: {}\n{plan}\nrepeat with: cargo run \
             --release --example sim -- --seed {seed} --faults {} --trace trace.txt",
            outcome.broken.as_deref().unwrap_or_default(),
            smallest.broken.as_deref().unwrap_or_default(),
            faults.iter().map(usize::to_string).collect::<Vec<_>>().join(",")
        );
    }
}

#[test]
fn a_seed_that_is_run_twice_is_the_same_run() {
    let sweep = Sweep::new(command);
    if sweep.entropy.is_none() {
        println!("skipped: without a C compiler runs are seeded, but not repeated exactly");
        return;
    }
    for seed in [3, 4] {
        let (one, other) = (sweep.one(&Order::of(seed)), sweep.one(&Order::of(seed)));
        assert_eq!((one.hash, one.lines), (other.hash, other.lines), "seed {seed}: {other:?}");
    }
}

/// Bugs that are found, each by a seed; `docs/testing.md` says by which check. Code that changes lets a
/// seed take another way, so the next few seeds may find it as well.
#[cfg(feature = "planted-bugs")]
const FOUND: &[(&str, u64)] = &[
    ("ack-before-flush", 1),
    ("ack-before-commit", 1),
    ("skip-vote-fsync", 1),
    ("forget-vote", 1),
    ("lose-last-of-group-commit", 1),
    ("cas-old-value", 2),
    ("read-index-without-quorum", 2),
    ("swapped-answers", 2),
    ("once-lost-on-failover", 3),
];

#[cfg(feature = "planted-bugs")]
const SEEDS_OF_A_BUG: u64 = 6;

#[cfg(feature = "planted-bugs")]
#[test]
fn each_planted_bug_is_found_by_its_seed() {
    let sweep = Sweep::new(command);
    let mut missed = Vec::new();
    for (bug, first) in FOUND {
        let found = (*first..first + SEEDS_OF_A_BUG).any(|seed| {
            let outcome = sweep.one(&Order { bug: Some(bug), ..Order::of(seed) });
            println!("{bug}, seed {seed}: {}", outcome.broken.as_deref().unwrap_or("not found"));
            outcome.broken.is_some()
        });
        if !found {
            missed.push(bug);
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}
