//! Whether every node that runs has answered, whoever it could hear.
//!
//! Why it exists: this is what is bought with eventual consistency. While nothing but links between
//! nodes is broken, a node has no reason to refuse or to be late.
//!
//! Promises: an operation that was refused or got no answer is an anomaly, unless some other fault was
//! in force, or just before, or the refusal is about what was asked for. Latencies of the time when
//! links were broken are told beside those of quiet times, and not judged: other things run on the
//! machine, too.

use serde_json::{Value as Json, json};

use crate::checker::{Budget, Checker};
use crate::history::{History, Kind, Operation};
use crate::report::{Window, windows};
use crate::verdict::Verdict;
use crate::workload::finding::{Findings, ended, extra, shows};

/// Faults that leave each node by itself whole.
const LINKS: &[&str] = &["partition", "packet"];
/// A node that was down or stood still needs so long until it answers as before, in nanoseconds.
const AFTERMATH: u64 = 10_000_000_000;
/// What happens at once is noted when it is done: requests may have felt it for so long before.
const LEAD: u64 = 5_000_000_000;
/// A clock that was wrong is compared with the others' for so long.
const AFTERMATH_OF_CLOCKS: u64 = 45_000_000_000;
/// Refusals of what makes no sense, wherever it is asked.
const EARNED: &[&str] = &["too_many_siblings"];

/// The checker.
#[derive(Clone, Copy, Debug)]
pub struct Availability;

impl Checker for Availability {
    fn name(&self) -> &'static str {
        "availability"
    }

    fn check(&self, history: &History, _: Budget) -> Verdict {
        let windows: Vec<Window> = windows(history).into_iter().filter(is_fault).collect();
        let (links, others): (Vec<_>, Vec<_>) =
            windows.iter().partition(|window| LINKS.contains(&window.name.as_str()));
        let mut findings = Findings::default();
        let (mut calm, mut cut, mut excused) = (Vec::new(), Vec::new(), 0_u64);
        for operation in history.operations() {
            if extra(operation.invoke, "final").clone() != crate::history::Value::Nil {
                continue;
            }
            let touches = |window: &&Window| {
                let after = match window.name.as_str() {
                    "clock" => AFTERMATH_OF_CLOCKS,
                    _ => AFTERMATH,
                };
                operation.invoke.time <= window.end.saturating_add(after)
                    && ended(&operation) >= window.begin.saturating_sub(LEAD)
            };
            if others.iter().any(touches) {
                excused += 1;
                continue;
            }
            let within = |window: &&&Window| {
                operation.invoke.time <= window.end && ended(&operation) >= window.begin
            };
            let is_cut = links.iter().any(|window| within(&window));
            match operation.complete.filter(|event| event.kind == Kind::Ok) {
                Some(event) => {
                    let took = event.time.saturating_sub(operation.invoke.time);
                    if is_cut { cut.push(took) } else { calm.push(took) }
                }
                None => refused(&operation, is_cut, &mut findings),
            }
        }
        let judged = u64::try_from(calm.len() + cut.len()).unwrap_or(u64::MAX);
        let figures = json!({
            "quiet": latencies(&mut calm), "links_broken": latencies(&mut cut), "excused": excused,
        });
        let fine = format!(
            "each of {judged} operations was answered by the node that it was sent to, {} of them while \
             links were broken",
            cut.len()
        );
        // Where something else was broken all the time there is nothing to say against it either.
        findings.verdict(self.name(), judged.max(excused), fine, figures)
    }
}

/// Whether it may be why an operation was not answered; the end of all faults is noted among them.
fn is_fault(window: &Window) -> bool {
    window.bites() && window.name != "heal"
}

fn refused(operation: &Operation<'_>, is_cut: bool, findings: &mut Findings) {
    let error = operation.complete.and_then(|event| event.error.clone()).unwrap_or_default();
    if EARNED.contains(&error.as_str()) {
        return;
    }
    let when = if is_cut { "while only links were broken" } else { "while nothing was broken" };
    let node = operation.complete.and_then(|event| event.node).unwrap_or_default();
    let words = format!(
        "node {node} did not answer :{} {} {when}: {error}",
        operation.invoke.f, operation.invoke.value
    );
    findings.add("unavailable", words, shows([operation]));
}

fn latencies(times: &mut [u64]) -> Json {
    times.sort_unstable();
    let at = |of: usize| {
        let place = (times.len() * of / 1000).min(times.len().saturating_sub(1));
        times.get(place).map(|nanos| nanos / 1000)
    };
    json!({
        "operations": times.len(), "median_us": at(500), "p99_us": at(990),
        "slowest_us": times.last().map(|nanos| nanos / 1000),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Process, Value};
    use crate::verdict::Validity;
    use crate::workload::tests_history::Script;

    fn fault(script: &mut Script, f: &str) {
        let event = script.event(0, Kind::Info, f, Value::Nil);
        event.process = Process::Nemesis;
        event.extra.insert("effect".into(), Value::Keyword("installed".into()));
    }

    fn verdict(fault_name: &str, kind: Kind, error: &str) -> Verdict {
        let mut script = Script::default();
        script.operation("read", 1, Kind::Ok, 1);
        fault(&mut script, &format!("start-{fault_name}"));
        script.operation("write", 1, kind, 1).error = (!error.is_empty()).then(|| error.to_owned());
        fault(&mut script, &format!("stop-{fault_name}"));
        Availability.check(&script.history(), Budget::default())
    }

    #[test]
    fn a_node_that_only_lost_its_links_must_answer() {
        let good = verdict("partition", Kind::Ok, "");
        assert_eq!(good.validity, Validity::Valid);
        assert_eq!(good.figures["links_broken"]["operations"], 1);
        for kind in [Kind::Fail, Kind::Info] {
            let bad = verdict("partition", kind, "unavailable");
            assert_eq!(bad.validity, Validity::Invalid);
            assert_eq!(bad.anomalies[0].kind, "unavailable");
        }
    }

    #[test]
    fn a_killed_node_need_not_and_nobody_must_take_a_hundred_siblings() {
        assert_eq!(verdict("kill", Kind::Info, "connection-lost").validity, Validity::Valid);
        assert_eq!(verdict("partition", Kind::Fail, "too_many_siblings").validity, Validity::Valid);
    }
}
