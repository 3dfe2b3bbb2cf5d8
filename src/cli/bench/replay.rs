//! `tetrarch bench replay`: a recorded trace, driven through each mode on nodes of this machine.
//!
//! Promises: as `bench compare`: nodes of this same executable run for it and end with it, results are
//! kept after each run, everything is read back. The cluster that was recorded is not touched.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use super::super::Failure;
use super::super::import::open;
use super::compare::{MakingArgs, make};
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
    #[command(flatten)]
    making: MakingArgs,
}

pub(in crate::cli) async fn run(args: ReplayArgs, env: &Env) -> Result<(), Failure> {
    if !(args.speed > 0.0 && args.speed.is_finite()) {
        return Err(Failure::usage("--speed must be above 0"));
    }
    let mut file = open(&args.trace)?;
    let by = (args.sites, args.making.nodes);
    let trace = Replay::load(&mut file, by, args.speed)
        .map_err(|error| Failure::usage(format!("{}: {error}", args.trace.display())))?;
    let trace = Arc::new(trace);
    let rtts: Vec<_> = args.rtt_ms.iter().map(|ms| Duration::from_millis(*ms)).collect();
    let runs = plan::replay(&trace, &args.modes, &rtts, args.making.seed);
    make(runs, args.making, args.out, vec![trace.to_string()], env).await
}
