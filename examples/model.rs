//! The model of the eventual core over many histories, the design and each broken variant.
//!
//! ```text
//! cargo run --release --example model -- 100000          and so many of each broken variant / 5
//! cargo run --release --example model -- 300000 only     the design alone
//! ```
//!
//! Exits with 1 when the design was wrong, or a broken variant never. The histories are those of
//! `cargo test --test model`: the design's begin with seed 0, those of a broken variant with one that is known to
//! find it out.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    unreachable_pub,
    dead_code,
    reason = "it is no part of a node, and talks to whoever runs it"
)]

#[path = "../tests/model/asks.rs"]
mod asks;
#[path = "../tests/model/history.rs"]
mod history;
#[path = "../tests/model/judge.rs"]
mod judge;
#[path = "../tests/model/replica.rs"]
mod replica;
#[path = "../tests/model/rules.rs"]
mod rules;
#[path = "../tests/model/sweep.rs"]
mod sweep;
#[path = "../tests/model/verdict.rs"]
mod verdict;

use std::process::ExitCode;

use comfy_table::Table;
use indicatif::{ProgressBar, ProgressStyle};
use rules::{BROKEN, Broken};

/// Of the design's histories, the part that each broken variant runs.
const PART: u64 = 5;

/// How many histories, and whether the design's alone.
fn asked() -> Result<(u64, bool), String> {
    let mut args = std::env::args().skip(1);
    let runs = args.next().map_or(Ok(20_000), |text| {
        text.parse().map_err(|error| format!("{text:?} is no number of histories: {error}"))
    })?;
    match (args.next().as_deref(), args.next()) {
        (None, _) => Ok((runs, false)),
        (Some("only"), None) => Ok((runs, true)),
        _ => Err("give a number of histories, and perhaps `only`".to_owned()),
    }
}

fn main() -> ExitCode {
    let (runs, only) = match asked() {
        Ok(asked) => asked,
        Err(why) => {
            eprintln!("{why}");
            return ExitCode::from(2);
        }
    };
    let mut table = Table::new();
    table.set_header(["variant", "histories", "diverged", "wrong rows", "wrong fates", "first"]);
    let mut as_expected = true;
    for broken in [Broken::Nothing].into_iter().chain(BROKEN) {
        if only && broken != Broken::Nothing {
            continue;
        }
        let part = if broken == Broken::Nothing { runs } else { (runs / PART).max(1) };
        let from = broken.first_seed();
        let style = ProgressStyle::with_template("{msg:20} {wide_bar} {pos}/{len} {eta}").unwrap();
        let bar = ProgressBar::new(part).with_style(style).with_message(format!("{broken:?}"));
        let total = sweep::sweep(broken, from..from + part, u64::MAX, || bar.inc(1));
        bar.finish_and_clear();
        as_expected &= (total.wrong == 0) == (broken == Broken::Nothing);
        let number = |number: u64| number.to_string();
        table.add_row([
            format!("{broken:?}"),
            number(total.runs),
            number(total.diverged),
            number(total.wrong_rows),
            number(total.wrong_fates),
            total.first.as_ref().map_or_else(String::new, |(seed, _)| format!("seed {seed}")),
        ]);
        if broken == Broken::Nothing {
            println!("{:?}", total.counts);
            if let Some((seed, why)) = total.first {
                println!("seed {seed}: {why}");
            }
        }
    }
    println!("{table}");
    if as_expected { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
