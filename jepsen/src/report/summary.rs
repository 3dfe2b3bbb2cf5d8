//! What one run was and how it ended, in a form that other programs read too.
//!
//! Why it exists: the page, `results.json`, the table of `test-all` and whoever compares runs by the
//! week need the same facts about a run; they are gathered once, here.
//!
//! Promises: what is counted is counted from the history and from nothing else, so that a history
//! judged later gives the same figures; a field that a reader of an older file lacks has a default.
//! Relies on: the verdicts combining by the worst.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::faults::{self, Outcome};
use super::quantiles::Quantiles;
use crate::history::{History, Kind};
use crate::verdict::{Validity, Verdict};

/// One run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunSummary {
    /// What the clients did.
    pub workload: String,
    /// What was broken meanwhile, as on the command line; `none` for nothing.
    pub nemesis: String,
    /// All randomness of the run came from it.
    pub seed: u64,
    /// The harness's own git revision; empty when unknown.
    pub revision: String,
    /// What the server's binary says of itself.
    pub version: String,
    /// How many nodes.
    pub nodes: u32,
    /// How links were broken: `proxy`, `namespaces`, `attached`.
    pub backend: String,
    /// Wall time of the beginning, as RFC 3339.
    pub started: String,
    /// From the first event to the last.
    pub seconds: f64,
    /// Operations per second that were asked for; 0 for as fast as they go.
    pub rate: f64,
    /// Clients at a time.
    pub concurrency: u64,
    /// Events in the history.
    pub events: u64,
    /// What was done, by `f`.
    pub operations: Vec<OperationSummary>,
    /// What was broken, by name.
    pub faults: Vec<FaultSummary>,
    /// The worst of the verdicts.
    pub validity: Validity,
    /// One sentence that says why.
    pub reason: String,
    /// What the search of the node logs found.
    pub findings: Vec<LogFinding>,
    /// The command line that does this run again.
    pub replay: String,
    /// The run's directory within the store, for links from other pages.
    pub dir: String,
    /// Files beside the page to link to, relative to it (`history.edn`, `nodes/1.log`, …).
    pub files: Vec<String>,
}

/// What came of the operations of one `f`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct OperationSummary {
    /// Which.
    pub f: String,
    /// Those that took effect.
    pub ok: Ended,
    /// Those that certainly did not.
    pub fail: Ended,
    /// Those of which nobody knows, the ones still open at the end included.
    pub info: Ended,
}

/// How many operations ended one way, and how long they took.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ended {
    /// How many.
    pub count: u64,
    /// From invocation to completion; absent when none completed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency: Option<Quantiles>,
}

/// What came of one kind of fault.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FaultSummary {
    /// Which.
    pub name: String,
    /// How often it was in force.
    pub installed: u64,
    /// How often there was nothing to do it to.
    pub skipped: u64,
    /// How often it could not be done.
    pub failed: u64,
}

/// A line in a node's log that should not be there.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LogFinding {
    /// Whose log.
    pub node: u32,
    /// Which line, from 1; 0 when unknown.
    pub line: u64,
    /// What it says.
    pub text: String,
}

impl Default for RunSummary {
    fn default() -> Self {
        Self {
            workload: String::new(),
            nemesis: "none".to_owned(),
            seed: 0,
            revision: String::new(),
            version: String::new(),
            nodes: 0,
            backend: String::new(),
            started: String::new(),
            seconds: 0.0,
            rate: 0.0,
            concurrency: 0,
            events: 0,
            operations: Vec::new(),
            faults: Vec::new(),
            // What was never judged is not a pass.
            validity: Validity::Unknown,
            reason: "no checker has judged this history".to_owned(),
            findings: Vec::new(),
            replay: String::new(),
            dir: String::new(),
            files: Vec::new(),
        }
    }
}

impl RunSummary {
    /// The same summary with what the history says: events, seconds, operations and faults.
    #[must_use]
    pub fn counted(self, history: &History) -> Self {
        let last = history.events.iter().map(|event| event.time).max().unwrap_or(0);
        let first = history.events.iter().map(|event| event.time).min().unwrap_or(0);
        Self {
            events: u64::try_from(history.events.len()).unwrap_or(u64::MAX),
            seconds: (last - first) as f64 / 1e9,
            operations: operations(history),
            faults: fault_counts(history),
            ..self
        }
    }

    /// The same summary with the verdict that these add up to.
    #[must_use]
    pub fn judged(self, verdicts: &[Verdict]) -> Self {
        let Some(validity) = verdicts.iter().map(|verdict| verdict.validity).max() else {
            return Self { validity: Validity::Unknown, ..self };
        };
        let deciding: Vec<&Verdict> =
            verdicts.iter().filter(|verdict| verdict.validity == validity).collect();
        let reason = match (validity, deciding.as_slice()) {
            (Validity::Valid, [_, _, ..]) => {
                format!("all {} checkers proved it", deciding.len())
            }
            (_, [first, others @ ..]) => {
                let more = match others.len() {
                    0 => String::new(),
                    1 => " (and one other checker)".to_owned(),
                    many => format!(" (and {many} other checkers)"),
                };
                format!("{}: {}{more}", first.checker, first.reason)
            }
            (_, []) => String::new(),
        };
        Self { validity, reason, ..self }
    }

    /// How many operations were begun.
    pub fn operation_count(&self) -> u64 {
        self.operations.iter().map(OperationSummary::count).sum()
    }

    /// How many faults were in force.
    pub fn installed_count(&self) -> u64 {
        self.faults.iter().map(|fault| fault.installed).sum()
    }
}

impl OperationSummary {
    /// How many were begun.
    pub fn count(&self) -> u64 {
        self.ok.count + self.fail.count + self.info.count
    }
}

#[derive(Default)]
struct Tally {
    count: u64,
    latencies: Vec<u64>,
}

impl From<Tally> for Ended {
    fn from(tally: Tally) -> Self {
        Self { count: tally.count, latency: Quantiles::of(tally.latencies) }
    }
}

fn operations(history: &History) -> Vec<OperationSummary> {
    let mut by_f: BTreeMap<&str, [Tally; 3]> = BTreeMap::new();
    for operation in history.operations() {
        let [ok, fail, info] = by_f.entry(&operation.invoke.f).or_default();
        let tally = match operation.kind() {
            Kind::Ok => ok,
            Kind::Fail => fail,
            Kind::Info | Kind::Invoke => info,
        };
        tally.count += 1;
        if let Some(complete) = operation.complete {
            tally.latencies.push(complete.time.saturating_sub(operation.invoke.time));
        }
    }
    by_f.into_iter()
        .map(|(f, [ok, fail, info])| OperationSummary {
            f: f.to_owned(),
            ok: ok.into(),
            fail: fail.into(),
            info: info.into(),
        })
        .collect()
}

fn fault_counts(history: &History) -> Vec<FaultSummary> {
    let mut by_name: BTreeMap<String, FaultSummary> = BTreeMap::new();
    for window in faults::windows(history) {
        let counts = by_name
            .entry(window.name.clone())
            .or_insert_with(|| FaultSummary { name: window.name, ..FaultSummary::default() });
        match window.outcome {
            Outcome::Installed => counts.installed += 1,
            Outcome::Skipped => counts.skipped += 1,
            Outcome::Failed => counts.failed += 1,
        }
    }
    by_name.into_values().collect()
}
