//! `test`: one run.

use clap::Args;
use serde_json::json;

use super::args::RunArgs;
use super::print;
use crate::nemesis;
use crate::progress::Progress;
use crate::run::{self, RunError};
use crate::verdict::Validity;
use crate::workload;

/// The flags of `test`.
#[derive(Debug, Args)]
pub(super) struct TestArgs {
    /// What the clients do
    #[arg(short, long, value_parser = known_workload)]
    workload: String,
    /// What is broken: names separated by commas, each perhaps with `:variant`; `all`; `none`
    #[arg(short, long, default_value = "none", value_parser = known_nemesis)]
    nemesis: String,
    #[command(flatten)]
    run: RunArgs,
}

/// The name of a workload that there is.
pub(super) fn known_workload(name: &str) -> Result<String, String> {
    let names: Vec<&str> = workload::all().iter().map(|workload| workload.name()).collect();
    if names.contains(&name) {
        return Ok(name.to_owned());
    }
    Err(format!("there is no workload {name}; use {}", names.join(", ")))
}

/// A plan that can be read.
pub(super) fn known_nemesis(spec: &str) -> Result<String, String> {
    nemesis::parse(spec).map(|_| spec.to_owned())
}

/// Runs it, and prints the verdict.
pub(super) async fn test(args: TestArgs) -> Result<Validity, String> {
    args.run.check()?;
    let options = args.run.options(&args.workload, &args.nemesis, args.run.seed());
    let progress = Progress::new(!args.run.json);
    let done = run::run(&options, &progress).await;
    progress.done();
    let finished = done.map_err(|error: RunError| format!("{error} (seed {})", options.seed))?;
    if args.run.json {
        print::line(json!({
            "dir": finished.dir, "summary": finished.summary, "verdicts": finished.verdicts,
        }));
    } else {
        print::finished(&finished);
    }
    Ok(finished.summary.validity)
}
