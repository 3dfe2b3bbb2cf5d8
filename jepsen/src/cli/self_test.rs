//! `self-test`: finds the bugs that a server was built with.
//!
//! Promises: `valid` only when every bug was found and every control came out as it must; `invalid`
//! when one did not. Relies on [`crate::selftest`].

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::args::duration;
use super::print;
use crate::cluster::Backend;
use crate::progress::Progress;
use crate::selftest::{Line, SelfTest, table};
use crate::verdict::Validity;

/// The flags of `self-test`.
#[derive(Debug, Args)]
pub(super) struct SelfTestArgs {
    /// A server built with `--features planted-bugs`
    #[arg(long, value_name = "FILE")]
    binary: PathBuf,
    /// Only these bugs
    #[arg(long, value_name = "NAME,..", value_delimiter = ',')]
    only: Vec<String>,
    /// How long each bug may take to find, with starts and verdicts
    #[arg(long, default_value = "180s", value_parser = duration)]
    time_limit: Duration,
    /// Nodes of each cluster
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=7))]
    nodes: u32,
    /// Leaves out the same tests without bugs
    #[arg(long)]
    no_controls: bool,
    /// Where all randomness comes from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where runs are kept
    #[arg(long, default_value = "store")]
    store: PathBuf,
    /// Where the table is written as Markdown
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs it, and prints the table.
pub(super) async fn self_test(args: SelfTestArgs) -> Result<Validity, String> {
    let test = SelfTest {
        // Processes are started from other directories.
        binary: args.binary.canonicalize().unwrap_or_else(|_| args.binary.clone()),
        only: args.only,
        time_limit: args.time_limit,
        nodes: args.nodes,
        backend: Backend::Proxy,
        controls: !args.no_controls,
        seed: args.seed,
        store: args.store,
    };
    let progress = Progress::new(!args.json);
    let lines = test.run(&progress, |line| print::complain(told(line))).await;
    progress.done();
    let lines = lines.map_err(|error| error.to_string())?;
    if let Some(path) = &args.markdown {
        std::fs::write(path, table::markdown(&lines))
            .map_err(|error| format!("{}: {error}", path.display()))?;
    }
    let passed = lines.iter().all(Line::is_passed);
    if args.json {
        print::line(json!({ "passed": passed, "lines": lines }));
    } else {
        print::line(table::text(&lines));
    }
    Ok(if passed { Validity::Valid } else { Validity::Invalid })
}

/// What came of a row, in one line.
fn told(line: &Line) -> String {
    let mark = if line.is_passed() { "ok" } else { "MISSED" };
    let name = if line.bug.is_empty() { &line.what } else { &line.bug };
    let Line { workload, nemesis, checker, reason, .. } = line;
    format!("{mark:<6} {name:<28} {workload} under {nemesis}: {checker}: {reason}")
}
