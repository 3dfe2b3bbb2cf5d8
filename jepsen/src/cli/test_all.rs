//! `test-all`: every workload under every nemesis, one after the other, and one table.
//!
//! Promises: goes on after failures; what is not possible here is left out and named with its reason;
//! the table is on disk after each run, as `matrix.md`, `matrix.json` and `matrix.html` in the store.

use std::collections::BTreeMap;
use std::path::Path;

use clap::Args;
use serde_json::json;

use super::args::RunArgs;
use super::print;
use super::test::{known_nemesis, known_workload};
use crate::nemesis;
use crate::progress::Progress;
use crate::report::{RunSummary, matrix};
use crate::run::{self, RunError};
use crate::verdict::Validity;
use crate::workload;

/// Composed plans that are tried besides each fault alone.
const COMPOSED: &[&str] = &["partition,kill", "partition,pause", "kill,pause,packet", "all"];

/// The flags of `test-all`.
#[derive(Debug, Args)]
pub(super) struct TestAllArgs {
    /// Workloads, separated by commas; all when left out
    #[arg(short, long, value_delimiter = ',', value_parser = known_workload)]
    workloads: Vec<String>,
    /// A nemesis, as for `test`; may be given several times. When left out: none, each fault alone,
    /// some together, and all
    #[arg(short, long, value_parser = known_nemesis)]
    nemesis: Vec<String>,
    #[command(flatten)]
    run: RunArgs,
}

/// What a cell of the table came to when there is no verdict.
#[derive(Clone, Debug)]
struct Without {
    workload: String,
    nemesis: String,
    why: String,
    /// Not possible here, rather than failed.
    skipped: bool,
}

/// All that was found so far.
#[derive(Debug, Default)]
struct Found {
    runs: Vec<RunSummary>,
    without: Vec<Without>,
}

/// Runs them, and prints the table.
pub(super) async fn test_all(args: TestAllArgs) -> Result<Validity, String> {
    args.run.check()?;
    let workloads = if args.workloads.is_empty() {
        workload::all().iter().map(|workload| workload.name().to_owned()).collect()
    } else {
        args.workloads.clone()
    };
    let nemeses = nemeses(&args);
    let seed = args.run.seed();
    let mut found = Found::default();
    // What this machine cannot do for one workload it cannot do for the next.
    let mut impossible: BTreeMap<String, String> = BTreeMap::new();
    let mut turn = 0;
    for workload in &workloads {
        for nemesis in &nemeses {
            turn += 1;
            if let Some(why) = impossible.get(nemesis) {
                found.lacks(workload, nemesis, why.clone(), true);
                continue;
            }
            let options = args.run.options(workload, nemesis, seed + turn - 1);
            let progress = Progress::new(!args.run.json);
            let done = run::run(&options, &progress).await;
            progress.done();
            match done {
                Ok(finished) => {
                    if !args.run.json {
                        print::finished(&finished);
                    }
                    found.runs.push(finished.summary);
                }
                Err(RunError::Unavailable(why)) => {
                    impossible.insert(nemesis.clone(), why.clone());
                    found.lacks(workload, nemesis, why, true);
                }
                Err(error) => {
                    print::complain(format!("{workload} under {nemesis}: {error}"));
                    found.lacks(workload, nemesis, error.to_string(), false);
                }
            }
            found.keep(args.run.store()).map_err(|error| format!("the store: {error}"))?;
        }
    }
    found.show(args.run.json);
    found.ending()
}

fn nemeses(args: &TestAllArgs) -> Vec<String> {
    if !args.nemesis.is_empty() {
        return args.nemesis.clone();
    }
    if args.run.is_attached() {
        return vec!["none".to_owned()];
    }
    let alone = nemesis::faults().iter().map(|kind| kind.name.to_owned());
    let composed = COMPOSED.iter().map(|spec| (*spec).to_owned());
    std::iter::once("none".to_owned()).chain(alone).chain(composed).collect()
}

impl Found {
    fn lacks(&mut self, workload: &str, nemesis: &str, why: String, skipped: bool) {
        let (workload, nemesis) = (workload.to_owned(), nemesis.to_owned());
        self.without.push(Without { workload, nemesis, why, skipped });
    }

    fn keep(&self, store: &Path) -> std::io::Result<()> {
        std::fs::write(store.join("matrix.md"), self.markdown())?;
        std::fs::write(store.join("matrix.html"), matrix::html(&self.runs))?;
        std::fs::write(store.join("matrix.json"), format!("{:#}\n", self.json()))
    }

    fn markdown(&self) -> String {
        let mut text = matrix::markdown(&self.runs);
        if !self.without.is_empty() {
            text.push_str("\nWithout a verdict:\n\n");
            for cell in &self.without {
                let how = if cell.skipped { "skipped" } else { "failed" };
                let Without { workload, nemesis, why, .. } = cell;
                text.push_str(&format!("* {workload} under {nemesis}: {how}, {why}\n"));
            }
        }
        text
    }

    fn json(&self) -> serde_json::Value {
        let without: Vec<_> = self
            .without
            .iter()
            .map(|cell| {
                json!({
                    "workload": cell.workload, "nemesis": cell.nemesis, "why": cell.why,
                    "skipped": cell.skipped,
                })
            })
            .collect();
        json!({ "runs": self.runs, "without_verdict": without })
    }

    fn show(&self, as_json: bool) {
        if as_json {
            print::line(self.json());
            return;
        }
        let colours =
            anstream::AutoStream::choice(&std::io::stdout()) != anstream::ColorChoice::Never;
        print::line(matrix::terminal(&self.runs, colours));
        for cell in &self.without {
            let how = if cell.skipped { "skipped" } else { "failed" };
            print::line(format!("{} under {}: {how}, {}", cell.workload, cell.nemesis, cell.why));
        }
        print::line(matrix::sentence(&self.runs));
    }

    /// An anomaly weighs most, then a failure of the harness, then what is not known.
    fn ending(&self) -> Result<Validity, String> {
        let worst = matrix::validity(&self.runs);
        let failed = self.without.iter().filter(|cell| !cell.skipped).count();
        if worst != Validity::Invalid && failed > 0 {
            return Err(format!("{failed} runs have no verdict"));
        }
        Ok(worst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(validity: Validity) -> Found {
        let run = RunSummary { workload: "set".into(), validity, ..RunSummary::default() };
        Found { runs: vec![run], without: Vec::new() }
    }

    #[test]
    fn an_anomaly_weighs_more_than_a_run_that_failed() {
        let mut good = found(Validity::Valid);
        good.lacks("bank", "namespaces", "root is needed".into(), true);
        assert_eq!(good.ending(), Ok(Validity::Valid));
        good.lacks("bank", "kill", "the cluster did not start".into(), false);
        assert!(good.ending().is_err());
        let mut bad = found(Validity::Invalid);
        bad.lacks("bank", "kill", "the cluster did not start".into(), false);
        assert_eq!(bad.ending(), Ok(Validity::Invalid));
        assert!(bad.markdown().contains("bank under kill: failed"));
    }
}
