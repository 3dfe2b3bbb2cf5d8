//! `tetrarch bench load`: one workload on a running cluster, in a namespace of its own.
//!
//! Promises: the namespace is made for the run and removed after it; nothing else of the cluster is
//! touched. Each endpoint is a site: its clients ask it alone.

use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::super::{Failure, duration, print};
use super::progress::Drawn;
use super::{command_line, judge, table};
use crate::bench::compare::{self, Settings, open};
use crate::bench::figures::Load;
use crate::bench::mode::Mode;
use crate::bench::run::{Ground, run as measure};
use crate::bench::store;
use crate::bench::wanted::Wanted;
use crate::bench::workload::Workload;
use crate::runtime::Env;

/// A load.
#[derive(Debug, Args)]
pub(in crate::cli) struct LoadArgs {
    /// Base URLs of nodes, separated by commas or given several times; each is a site.
    #[arg(long = "endpoint", env = "TETRARCH_ENDPOINTS", value_delimiter = ',')]
    #[arg(default_value = "http://127.0.0.1:7101")]
    endpoints: Vec<String>,
    /// What the namespace promises: linearizable, linearizable-session, lww, lww-ack2, mv, counter, set
    /// or map.
    #[arg(long, default_value = "linearizable")]
    mode: Mode,
    /// What is done: ycsb-a, ycsb-b, ycsb-c, ycsb-d, ycsb-f, counter, cart, profile or inventory.
    #[arg(long, default_value = "ycsb-a")]
    workload: Workload,
    /// Operations a second, all sites together, whatever the store answers.
    #[arg(long, default_value_t = 300.0)]
    rate: f64,
    /// So many connections instead, each of which asks again when it is answered.
    #[arg(long, conflicts_with = "rate")]
    connections: Option<u64>,
    /// How many keys [default: by workload].
    #[arg(long)]
    keys: Option<u64>,
    /// Bytes of a value.
    #[arg(long, default_value_t = 128)]
    value_size: usize,
    /// Share of reads, from 0 to 1 [default: by workload].
    #[arg(long)]
    reads: Option<f64>,
    /// How long it is measured.
    #[arg(long, default_value = "20s", value_parser = duration)]
    duration: Duration,
    /// How long it runs before that.
    #[arg(long, default_value = "2s", value_parser = duration)]
    warmup: Duration,
    /// The time between the sites, there and back, in milliseconds: for the model only.
    #[arg(long, default_value_t = 0)]
    rtt_ms: u64,
    /// The seed of all choices [default: by chance].
    #[arg(long)]
    seed: Option<u64>,
    /// Prints the report as JSON.
    #[arg(long)]
    json: bool,
}

pub(in crate::cli) async fn run(args: LoadArgs, env: &Env) -> Result<(), Failure> {
    let load = match args.connections {
        Some(connections) => Load::Closed { connections },
        None => open(args.rate),
    };
    let usual = Wanted::usual(args.mode, args.workload, load, args.duration);
    let wanted = Wanted {
        rtt: Duration::from_millis(args.rtt_ms),
        keys: args.keys.unwrap_or(usual.keys),
        value_bytes: args.value_size,
        reads: args.reads.unwrap_or(usual.reads),
        warmup: args.warmup,
        seed: args.seed.unwrap_or_else(|| env.rng.next()),
        ..usual
    };
    if let Some(objection) = wanted.objection() {
        return Err(Failure::usage(objection));
    }
    let clients =
        store::clients(&args.endpoints, env).map_err(|error| Failure::usage(error.to_string()))?;
    let settings = Settings {
        seed: wanted.seed,
        runs: vec![wanted.clone()],
        nodes: u64::try_from(clients.len()).unwrap_or(u64::MAX),
        groups: None,
        out: std::path::PathBuf::from("."),
        command: command_line(),
        remarks: Vec::new(),
    };
    let mut report = compare::begin(&settings, env).await;
    // Where those nodes keep their data is not known here.
    report.machine.disk = String::new();
    let drawn = Drawn::new();
    let ground = Ground { env, clients, faulty: None, progress: &drawn };
    report.runs.push(measure(&ground, &wanted).await);
    drawn.end();
    if args.json {
        print::json(&json!(report));
    } else {
        print::line(table::draw(&report));
    }
    judge(&report.runs)
}
