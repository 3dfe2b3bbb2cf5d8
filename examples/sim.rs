//! Seeded runs of whole clusters, by the hour.
//!
//! ```text
//! cargo run --release --example sim -- --hours 1            seeds from the clock on, all processors
//! cargo run --release --example sim -- --seeds 1000 --from 1
//! cargo run --release --example sim -- --seed 17            one seed, with its plan
//! cargo run --release --example sim -- --seed 17 --faults 2,5 --trace trace.txt
//! cargo run --release --example sim -- --seed 17 --shrink   the faults that matter
//! ```
//!
//! Exits with 1 when a promise was broken. `TETRARCH_SIM_LOG=info` shows the nodes' logs of one seed, which
//! then runs in this process. The runs themselves are those of `cargo test --test sim`.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    unreachable_pub,
    reason = "it is no part of a node, and talks to whoever runs it"
)]

#[path = "../tests/sim/simulation.rs"]
mod simulation;

use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use clap::Parser;
use simulation::child::{self, Order};
use simulation::run::Outcome;
use simulation::shrink::shrink;
use simulation::sweep::Sweep;

/// Runs of a child process for one shrinking.
const SHRINK_TRIES: usize = 60;

#[derive(Debug, Parser)]
struct Args {
    /// Run seeds for this many hours.
    #[arg(long)]
    hours: Option<f64>,
    /// Run this many seeds.
    #[arg(long)]
    seeds: Option<u64>,
    /// Begin with this seed.
    #[arg(long)]
    from: Option<u64>,
    /// Run this seed only.
    #[arg(long)]
    seed: Option<u64>,
    /// Only these faults of its plan, by number, between commas.
    #[arg(long)]
    faults: Option<String>,
    /// Write what happens to this file.
    #[arg(long)]
    trace: Option<String>,
    /// Look for the faults of the seed that matter.
    #[arg(long)]
    shrink: bool,
    /// Run a seed so many times, and compare.
    #[arg(long, default_value_t = 1)]
    times: u64,
    /// Go on until so many seeds have failed.
    #[arg(long, default_value_t = 1)]
    failures: usize,
    /// Seeds at a time.
    #[arg(long)]
    jobs: Option<usize>,
}

fn command() -> Command {
    Command::new(std::env::current_exe().unwrap())
}

fn main() -> ExitCode {
    if let Some(order) = child::asked() {
        return code(child::serve(&order).broken.is_none());
    }
    let args = Args::parse();
    let mut sweep = Sweep::new(command);
    if sweep.entropy.is_none() {
        println!("without a C compiler (cc): runs are seeded, but not repeated exactly");
    }
    sweep.jobs = args.jobs.unwrap_or(sweep.jobs).max(1);
    match args.seed {
        Some(seed) => code(one(&sweep, seed, &args)),
        None => code(many(&sweep, &args)),
    }
}

fn code(kept: bool) -> ExitCode {
    if kept { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn one(sweep: &Sweep, seed: u64, args: &Args) -> bool {
    let faults = args.faults.as_deref().map(child::numbers);
    let order = Order { faults, trace: args.trace.clone(), ..Order::of(seed) };
    println!("{}", order.plan());
    if std::env::var("TETRARCH_SIM_LOG").is_ok() {
        return child::serve(&order).broken.is_none();
    }
    let mut kept = true;
    for _ in 0..args.times {
        let outcome = sweep.one(&order);
        say(seed, &outcome);
        kept &= outcome.broken.is_none();
        if args.shrink && !kept {
            explain(sweep, seed, &outcome);
        }
    }
    kept
}

fn many(sweep: &Sweep, args: &Args) -> bool {
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let from = args.from.unwrap_or_else(|| clock.map_or(1, |time| time.as_secs() * 1000));
    let until = args.hours.map(|hours| Instant::now() + Duration::from_secs_f64(hours * 3600.0));
    let count = args.seeds.unwrap_or(if until.is_some() { u64::MAX - from } else { 20 });
    let started = Instant::now();
    let total =
        sweep.run(from..from.saturating_add(count), until, args.failures, |seed, outcome| {
            say(seed, outcome);
        });
    println!(
        "{} seeds, {} requests done, {:.0?} in the clusters, {:.0?} here, {} failed",
        total.seeds,
        total.done,
        total.lasted,
        started.elapsed(),
        total.failed.len()
    );
    for (seed, outcome) in &total.failed {
        say(*seed, outcome);
    }
    if let Some((seed, outcome)) = total.failed.first() {
        explain(sweep, *seed, outcome);
    }
    total.failed.is_empty()
}

fn say(seed: u64, outcome: &Outcome) {
    println!(
        "seed {seed}: {:016x}, {} of {} requests done, {:.0?}: {}",
        outcome.hash,
        outcome.requests.0,
        outcome.requests.1,
        outcome.lasted,
        outcome.broken.as_deref().unwrap_or("kept")
    );
}

fn explain(sweep: &Sweep, seed: u64, outcome: &Outcome) {
    let (faults, smallest) = shrink(sweep, seed, outcome, SHRINK_TRIES);
    let order = Order { faults: Some(faults.clone()), ..Order::of(seed) };
    let numbers: Vec<String> = faults.iter().map(usize::to_string).collect();
    println!("\nwith fewer faults: {}", smallest.broken.as_deref().unwrap_or_default());
    println!("{}", order.plan());
    println!(
        "repeat with: cargo run --release --example sim -- --seed {seed} --faults {} --trace trace.txt",
        numbers.join(",")
    );
}
