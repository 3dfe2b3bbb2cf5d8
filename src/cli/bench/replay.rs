//! `tetrarch bench replay`: a recorded trace, driven through each mode on nodes of this machine.
//!
//! Promises: as `bench compare`: nodes of this same executable run for it and end with it, results are
//! kept after each run, everything is read back. The cluster that was recorded is not touched.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use super::super::import::open;
use super::super::{Failure, print};
use super::command_line;
use super::compare::{check, drive};
use crate::bench::compare::Settings;
use crate::bench::mode::Mode;
use crate::bench::plan;
use crate::bench::replay::{Replay, Sites};
use crate::runtime::Env;

/// A replay.
#[derive(Debug, Args)]
pub(in crate::cli) struct ReplayArgs {
    /// What `bench record` wrote.
    #[arg(value_name = "FILE")]
    trace: PathBuf,
    /// Where the report goes; results that are there are kept, and not measured again.
    #[arg(long, default_value = "./bench-replay", value_name = "DIR")]
    out: PathBuf,
    /// Only these modes [default: all that the trace's changes make sense in].
    #[arg(long, value_delimiter = ',')]
    modes: Vec<Mode>,
    /// Times between sites, there and back, in milliseconds.
    #[arg(long, value_delimiter = ',', default_value = "0,80")]
    rtt_ms: Vec<u64>,
    /// So many times as fast as it was.
    #[arg(long, default_value_t = 1.0)]
    speed: f64,
    /// What makes a site: the node that was asked, the client, or the first of them that says more than one.
    #[arg(long, default_value = "auto", value_name = "auto|node|client")]
    sites: Sites,
    /// How many nodes.
    #[arg(long, default_value_t = 3)]
    nodes: u64,
    /// Groups of the linearizable namespaces [default: as `serve` has it].
    #[arg(long)]
    groups: Option<u64>,
    /// The seed of all choices.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Says what would be driven, and measures nothing.
    #[arg(long)]
    plan: bool,
    /// Prints the report as JSON.
    #[arg(long)]
    json: bool,
}

pub(in crate::cli) async fn run(args: ReplayArgs, env: &Env) -> Result<(), Failure> {
    if !(args.speed > 0.0 && args.speed.is_finite()) {
        return Err(Failure::usage("--speed must be above 0"));
    }
    let mut file = open(&args.trace)?;
    let by = (args.sites, args.nodes);
    let trace = Replay::load(&mut file, by, args.speed)
        .map_err(|error| Failure::usage(format!("{}: {error}", args.trace.display())))?;
    let trace = Arc::new(trace);
    let rtts: Vec<_> = args.rtt_ms.iter().map(|ms| Duration::from_millis(*ms)).collect();
    let runs = plan::replay(&trace, &args.modes, &rtts, args.seed);
    check(&runs, args.nodes)?;
    if args.plan {
        print::line(&*trace);
        super::compare::list(&runs);
        return Ok(());
    }
    let settings = Settings {
        runs,
        nodes: args.nodes,
        groups: args.groups,
        out: args.out,
        seed: args.seed,
        command: command_line(),
        remarks: vec![trace.to_string()],
    };
    drive(settings, args.json, env).await
}
