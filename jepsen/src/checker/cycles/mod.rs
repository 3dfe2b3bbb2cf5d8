//! Transactions over lists: cycles among them, and elements that are lost, doubled or out of order.
//!
//! Why lists: a read shows the order of all appends before it, so that who came before whom can be
//! told from outside. From it follow the edges between transactions (who overwrote, who read, who
//! missed what), and with the order of real time, any cycle refutes strict serializability.
//!
//! The search for cycles is the crate `adya`, a port of Elle that agreed with it on every history
//! tried. It is young: what can be seen without a graph is checked here as well (`lists`), and what
//! it says is held against a brute-force search in the tests.

mod lists;
mod txns;

use std::collections::BTreeMap;
use std::time::Duration;

use adya::{Opts, Valid, Workload};
use serde_json::json;

use self::txns::{Txn, Txns};
use super::{Budget, Checker};
use crate::clock::Clock;
use crate::history::{History, Kind};
use crate::verdict::{Anomaly, Verdict};

/// Longest search in one tangle of transactions.
const TANGLE: Duration = Duration::from_secs(10);
/// Anomalies that are told.
const TOLD: usize = 8;
/// What `adya` finds too, in other words.
const OURS: &[&str] = &["duplicate-elements", "incompatible-order"];

/// The checker of list-append.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cycles;

impl Checker for Cycles {
    fn name(&self) -> &'static str {
        "cycles"
    }

    fn check(&self, history: &History, budget: Budget) -> Verdict {
        let clock = Clock::default();
        let judged = Txns::of(history).and_then(|txns| judge(&txns, budget, &clock));
        judged.unwrap_or_else(|why| {
            Verdict::unknown("cycles", format!("not a history of list-append: {why}"))
        })
    }
}

fn judge(txns: &Txns, budget: Budget, clock: &Clock) -> Result<Verdict, String> {
    let count = |kind| txns.all.iter().filter(|txn| txn.kind == kind).count();
    let mut anomalies = lists::anomalies(txns);
    let (history, by_index) = txns.for_adya()?;
    let opts = Opts { timeout: TANGLE.min(budget.time), ..Opts::default() };
    let report = adya::check(&history, Workload::ListAppend, &opts);
    let mut unknown = Vec::new();
    for (kind, found) in &report.anomalies {
        if matches!(kind.as_str(), "empty-transaction-graph" | "cycle-search-timeout") {
            unknown.extend(found.iter().map(|one| one.explanation.clone()));
        } else if !OURS.contains(&kind.as_str()) {
            anomalies.extend(found.iter().map(|one| told(txns, &by_index, one)));
        }
    }
    let verdict = if !anomalies.is_empty() {
        let reason = format!("not strictly serializable: {}", counted(&anomalies));
        anomalies.sort_by_key(|anomaly| (anomaly.events.len(), anomaly.kind.clone()));
        anomalies.truncate(TOLD);
        Verdict::invalid("cycles", reason, anomalies)
    } else if report.valid == Valid::True {
        let reason = format!("{} transactions are strictly serializable", txns.all.len());
        Verdict::valid("cycles", reason)
    } else {
        // Nothing but what is unknown, or something that has only a name.
        unknown.extend(report.anomaly_types.first().cloned());
        Verdict::unknown("cycles", unknown.into_iter().next().unwrap_or_default())
    };
    Ok(verdict.with_figures(json!({
        "transactions": txns.all.len(),
        "ok": count(Kind::Ok),
        "fail": count(Kind::Fail),
        "info": count(Kind::Info),
        "milliseconds": clock.now() / 1_000_000,
    })))
}

fn counted(anomalies: &[Anomaly]) -> String {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for anomaly in anomalies {
        *counts.entry(anomaly.kind.as_str()).or_default() += 1;
    }
    counts.iter().map(|(kind, count)| format!("{count} {kind}")).collect::<Vec<_>>().join(", ")
}

/// An anomaly of `adya` with all events, and with who stands behind its names.
fn told(
    txns: &Txns,
    by_index: &std::collections::HashMap<u64, usize>,
    found: &adya::Anomaly,
) -> Anomaly {
    let txn = |index: &u64| by_index.get(index).and_then(|place| txns.all.get(*place));
    let involved: Vec<(&u64, &Txn)> =
        found.ops.iter().filter_map(|index| Some((index, txn(index)?))).collect();
    let mut events: Vec<u64> = involved.iter().flat_map(|(_, txn)| txn.events()).collect();
    events.sort_unstable();
    events.dedup();
    let mut words = found.explanation.trim_end().to_owned();
    for (index, txn) in involved {
        words.push_str(&format!("\n  T{index} is {}", txn.named()));
    }
    Anomaly { kind: found.kind.clone(), words, events }
}

#[cfg(test)]
mod tests;
