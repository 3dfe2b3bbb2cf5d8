//! `tetrarch bench compare`: what each mode costs and loses, measured on this machine.
//!
//! Promises: nodes of this same executable run for it and end with it; the results so far are in the
//! output directory after each run, and the same command goes on behind them.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::super::{Failure, duration, print};
use super::progress::Drawn;
use super::{command_line, judge, stopped, table};
use crate::bench::compare::{Settings, compare};
use crate::bench::fault::Fault;
use crate::bench::figures::{AGREES_SHARE, AGREES_SPREADS, FILE, Report};
use crate::bench::mode::Mode;
use crate::bench::plan::{Choices, estimate, full, quick};
use crate::bench::report::{PAGE, write_page};
use crate::bench::wanted::Wanted;
use crate::bench::workload::Workload;
use crate::runtime::{Env, limits};

/// A comparison.
#[derive(Debug, Args)]
pub(in crate::cli) struct CompareArgs {
    /// The short list: less than five minutes.
    #[arg(long)]
    quick: bool,
    /// Where the report goes; results that are there are kept, and not measured again.
    #[arg(long, default_value = "./bench-report", value_name = "DIR")]
    out: PathBuf,
    /// Only these modes.
    #[arg(long, value_delimiter = ',')]
    modes: Vec<Mode>,
    /// Only these workloads.
    #[arg(long, value_delimiter = ',')]
    workloads: Vec<Workload>,
    /// Only these times between sites, there and back, in milliseconds: 0, 10, 80, 200.
    #[arg(long, value_delimiter = ',')]
    rtt_ms: Vec<u64>,
    /// Only these faults: none, partition, partition-1-1-1, node-down, clock-off.
    #[arg(long, value_delimiter = ',')]
    faults: Vec<Fault>,
    /// Operations a second, all sites together [default: 300; 150 for counters and stocks].
    #[arg(long)]
    rate: Option<f64>,
    /// How long each run is measured; those with a fault three times as long [default: 3.5s
    /// with --quick, else 20s].
    #[arg(long, value_parser = duration)]
    duration: Option<Duration>,
    /// How often each run is made.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    times: u64,
    #[command(flatten)]
    making: MakingArgs,
}

/// How the runs of a list are made, whatever the list.
#[derive(Debug, Args)]
pub(super) struct MakingArgs {
    /// How many nodes.
    #[arg(long, default_value_t = 3)]
    pub(super) nodes: u64,
    /// Groups of the linearizable namespaces [default: as `serve` has it].
    #[arg(long)]
    groups: Option<u64>,
    /// The seed of all choices.
    #[arg(long, default_value_t = 1)]
    pub(super) seed: u64,
    /// Prints the list with its estimate, and measures nothing.
    #[arg(long)]
    plan: bool,
    /// Prints the report as JSON.
    #[arg(long)]
    json: bool,
}

pub(in crate::cli) async fn run(args: CompareArgs, env: &Env) -> Result<(), Failure> {
    let choices = Choices {
        modes: args.modes,
        workloads: args.workloads,
        rtts: args.rtt_ms.iter().map(|ms| Duration::from_millis(*ms)).collect(),
        faults: args.faults,
        rate: args.rate,
        seconds: args.duration,
        times: args.times,
        seed: args.making.seed,
    };
    let runs = if args.quick { quick(&choices) } else { full(&choices) };
    make(runs, args.making, args.out, Vec::new(), env).await
}

/// Makes the runs, or lists them.
pub(super) async fn make(
    runs: Vec<Wanted>,
    args: MakingArgs,
    out: PathBuf,
    remarks: Vec<String>,
    env: &Env,
) -> Result<(), Failure> {
    check(&runs, args.nodes)?;
    if args.plan {
        remarks.iter().for_each(print::line);
        list(&runs);
        return Ok(());
    }
    let MakingArgs { nodes, groups, seed, json, .. } = args;
    let settings = Settings { runs, nodes, groups, out, seed, command: command_line(), remarks };
    drive(settings, json, env).await
}

/// Refuses a list that makes no sense.
fn check(runs: &[Wanted], nodes: u64) -> Result<(), Failure> {
    if runs.is_empty() {
        return Err(Failure::usage("no run of the list is among those; leave a filter out"));
    }
    for run in runs {
        if let Some(objection) = run.objection() {
            return Err(Failure::usage(format!("{}: {objection}", run.name())));
        }
    }
    let most = limits::DEV_NODES_MAX;
    if !(2..=most).contains(&nodes) {
        return Err(Failure::usage(format!("--nodes must be from 2 to {most}")));
    }
    Ok(())
}

/// Prints a list with its estimate.
fn list(runs: &[Wanted]) {
    let minutes = estimate(runs.iter()) / 60.0;
    runs.iter().for_each(|run| print::line(run.name()));
    print::note(format!("{} runs, about {minutes:.1} minutes", runs.len()));
}

/// Makes the runs and shows what they came to.
async fn drive(settings: Settings, as_json: bool, env: &Env) -> Result<(), Failure> {
    let drawn = Drawn::new();
    let compared = tokio::select! {
        compared = compare(&settings, env, &drawn) => compared,
        // Dropped children are killed; what was measured is kept.
        () = stopped() => {
            drawn.end();
            let out = settings.out.display();
            return Err(Failure::failed(format!("stopped; what was measured is in {out}")));
        }
    };
    drawn.end();
    let report = compared.map_err(|error| Failure::failed(error.to_string()))?;
    let page = settings.out.join(PAGE);
    write_page(&page, &report).map_err(|error| Failure::failed(error.to_string()))?;
    if as_json {
        print::json(&json!(report));
    } else {
        print::line(table::draw(&report));
        report.remarks.iter().for_each(print::note);
        if let Some(cost) = &report.generator {
            print::note(format!(
                "The load generator itself costs {:.1} us of CPU an operation ({} build).",
                cost.cpu_us_per_op, report.build.profile
            ));
        }
        if let Some(said) = model(&report) {
            print::note(said);
        }
        print::note(format!("All figures: {}", settings.out.join(FILE).display()));
        print::note(format!("With pictures: {}", page.display()));
    }
    judge(&report.runs)
}

/// Whether what was lost is what the model says.
fn model(report: &Report) -> Option<String> {
    let judged = report.runs.iter().filter_map(|run| Some((run, run.loss.as_ref()?.agrees()?)));
    let (right, wrong): (Vec<_>, Vec<_>) = judged.partition(|(_, agrees)| *agrees);
    let all = right.len() + wrong.len();
    let names: Vec<_> = wrong.iter().map(|(run, _)| run.name.as_str()).collect();
    let but = if names.is_empty() { String::new() } else { format!("; not {}", names.join(", ")) };
    (all > 0).then(|| {
        format!(
            "Measured loss agrees with the model in {} of {all} runs (within {AGREES_SPREADS} standard \
             deviations and {:.1} points){but}.",
            right.len(),
            AGREES_SHARE * 100.0
        )
    })
}
