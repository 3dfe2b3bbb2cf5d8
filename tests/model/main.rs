//! The eventual core under everything that can happen to replicas, against an oracle.
//!
//! Why it exists: convergence and the naming of losses are promises over all histories; examples prove
//! nothing. Seeded histories of 2 to 6 replicas drive the real functions: writes of all types, streams
//! in the order of the log and out of it, truncation, state syncs that are cut anywhere and narrowed to
//! buckets that differ, crashes that lose what was not flushed, clocks that are off, members that come
//! and go. Each rule that carries the design is then broken, and must be found out.
//!
//! `TETRARCH_MODEL_RUNS` sets how many histories the design must pass; `TETRARCH_MODEL_SEED` runs one.
//! `cargo run --release --example model -- 100000` runs the full number.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    unreachable_pub,
    reason = "it is a test"
)]

mod asks;
mod history;
mod judge;
mod others;
mod replica;
mod rules;
mod sweep;
mod verdict;

use rules::{BROKEN, Broken};

/// Histories of the design for a quick look.
const RUNS: u64 = 1500;
/// Most histories of a broken variant; each is found out long before.
const BROKEN_RUNS: u64 = 20_000;

#[test]
fn replicas_that_met_hold_the_same_and_name_the_same_losses() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
    if let Some(seed) = number("TETRARCH_MODEL_SEED") {
        let (verdict, counts) = history::run(seed, Broken::Nothing);
        assert!(verdict.is_right(), "seed {seed}, {counts:?}: {verdict:?}");
        return;
    }
    let runs = number("TETRARCH_MODEL_RUNS").unwrap_or(RUNS);
    let total = sweep::sweep(Broken::Nothing, 0..runs, 1, || {});
    println!("{total:?}");
    if let Some((seed, why)) = total.first {
        panic!("seed {seed} (replay: TETRARCH_MODEL_SEED={seed} cargo test --test model): {why}");
    }
}

#[test]
fn each_rule_that_is_broken_is_found_out() {
    for broken in BROKEN {
        let from = broken.first_seed();
        let total = sweep::sweep(broken, from..from + BROKEN_RUNS, 1, || {});
        println!("{broken:?}: {total:?}");
        assert!(total.wrong > 0, "{broken:?} passed {} histories", total.runs);
    }
}
