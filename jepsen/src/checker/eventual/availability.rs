//! Whether every node that runs has answered, whoever it could hear.
//!
//! Why it exists: this is what is bought with eventual consistency. While nothing but links between
//! nodes is broken, a node has no reason to refuse or to be late.
//!
//! Promises: an operation that was refused or got no answer is an anomaly, unless its own node was
//! killed, stopped or stood still then or just before, or something else was broken that concerns all, or
//! the refusal is about what was asked for. Of a wrong clock only the refusal of a write is to be expected.
//! Where partitions were made and nothing was answered meanwhile it is unknown, and so it is where nothing was answered at all. Latencies while links
//! were broken, and of nodes that were cut off from a majority, are told beside those of before
//! (`cut_off`), and not judged: other things run on the machine, too.

use serde_json::{Value as Json, json};

use super::cut_off::CutOff;
use super::doubts::nodes;
use crate::checker::{Budget, Checker};
use crate::history::{Event, History, Kind, Operation, Value};
use crate::report::{Window, windows};
use crate::verdict::Verdict;
use crate::workload::finding::{Findings, ended, extra, extra_number, shows};

/// Faults that leave each node by itself whole.
const LINKS: &[&str] = &["partition", "packet"];
/// Faults that concern only the nodes that they name.
const OWN: &[&str] = &["kill", "pause", "restarts", "transfer"];
/// What is noted and breaks nothing.
const NOTES: &[&str] = &["heal", "link-delay"];
/// A node that was down or stood still needs so long until it answers as before, in nanoseconds.
const AFTERMATH: u64 = 10_000_000_000;
/// What happens at once is noted when it is done: requests may have felt it for so long before.
const LEAD: u64 = 5_000_000_000;
/// A clock that was wrong is compared with the others' for so long.
const AFTERMATH_OF_CLOCKS: u64 = 45_000_000_000;
/// What a node says that refuses to write because its clock leads.
const CLOCK_LEADS: &str = "unavailable";
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
        let (mut calm, mut cut) = (Vec::new(), Vec::new());
        let (mut answered, mut answered_cut, mut excused) = (0_u64, 0_u64, 0_u64);
        let mut sides = CutOff::of(&windows);
        for operation in history.operations() {
            if *extra(operation.invoke, "final") != Value::Nil {
                continue;
            }
            let is_excused = others.iter().any(|window| excuses(window, &operation));
            let within = |window: &&&Window| {
                operation.invoke.time <= window.end && ended(&operation) >= window.begin
            };
            let is_cut = links.iter().any(|window| within(&window));
            match operation.complete.filter(|event| answers(event)) {
                Some(_) => {
                    answered += 1;
                    answered_cut += u64::from(is_cut);
                    if is_excused {
                        continue;
                    }
                    let took = took(&operation);
                    let times = if is_cut { &mut cut } else { &mut calm };
                    times.push(took);
                    sides.add(&operation, took, is_cut);
                }
                None if is_excused => excused += 1,
                None => refused(&operation, is_cut, &mut findings),
            }
        }
        let figures = json!({
            "answered": answered, "answered_while_cut": answered_cut, "excused": excused,
            "quiet": latencies(&mut calm), "links_broken": latencies(&mut cut),
            "cut_off": sides.figures(),
        });
        let fine = format!(
            "{answered} operations were answered by the node that they were sent to, {answered_cut} of them \
             while links were broken; {excused} were not, for which there was another reason{}",
            sides.words()
        );
        let blind = answered_cut == 0 && links.iter().any(|window| window.name == "partition");
        findings.verdict(self.name(), if blind { 0 } else { answered }, fine, figures)
    }
}

/// Whether it may be why an operation was not answered; the end of all faults is noted among them.
fn is_fault(window: &Window) -> bool {
    window.bites() && !NOTES.contains(&window.name.as_str())
}

/// Whether a fault other than of links allows that this operation was not answered.
fn excuses(window: &Window, operation: &Operation<'_>) -> bool {
    let is_clock = window.name == "clock";
    let after = if is_clock { AFTERMATH_OF_CLOCKS } else { AFTERMATH };
    let touches = operation.invoke.time <= window.end.saturating_add(after)
        && ended(operation) >= window.begin.saturating_sub(LEAD);
    if is_clock {
        let said = operation.complete.filter(|event| event.kind == Kind::Fail);
        let leads = said.and_then(|event| event.error.as_deref()) == Some(CLOCK_LEADS);
        return touches && leads && operation.invoke.f != "read";
    }
    let node = operation.complete.and_then(|event| event.node).map(i64::from);
    let named = nodes(&window.value);
    let spares = OWN.contains(&window.name.as_str())
        && node.is_some_and(|node| !named.is_empty() && !named.contains(&node));
    touches && !spares
}

/// How long a node took to answer: without what the client did before it asked for the last time.
fn took(operation: &Operation<'_>) -> u64 {
    let before = operation.complete.and_then(|event| extra_number(event, "sent-us")).unwrap_or(0);
    let all = ended(operation).saturating_sub(operation.invoke.time);
    all.saturating_sub(before.saturating_mul(1000))
}

/// Whether it is an answer: done, or refused for what was asked.
fn answers(event: &Event) -> bool {
    event.kind == Kind::Ok || event.error.as_deref().is_some_and(|error| EARNED.contains(&error))
}

fn refused(operation: &Operation<'_>, is_cut: bool, findings: &mut Findings) {
    let error = operation.complete.and_then(|event| event.error.clone()).unwrap_or_default();
    let when = if is_cut { "while only links were broken" } else { "while nothing was broken" };
    let node = operation.complete.and_then(|event| event.node).unwrap_or_default();
    let words = format!(
        "node {node} did not answer :{} {} {when}: {error}",
        operation.invoke.f, operation.invoke.value
    );
    findings.add("unavailable", words, shows([operation]));
}

pub(super) fn latencies(times: &mut [u64]) -> Json {
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
        let event = script.event(0, Kind::Info, f, vec![1_i64].into());
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

    #[test]
    fn only_the_node_that_was_killed_is_excused() {
        for (at_node, found) in [(1, Validity::Valid), (2, Validity::Invalid)] {
            let mut script = Script::default();
            script.operation("read", 1, Kind::Ok, 1);
            fault(&mut script, "start-kill");
            script.operation("write", 1, Kind::Info, 1).node = Some(at_node);
            assert_eq!(Availability.check(&script.history(), Budget::default()).validity, found);
        }
    }

    #[test]
    fn of_a_wrong_clock_only_refused_writes_are_expected() {
        assert_eq!(verdict("clock", Kind::Fail, "unavailable").validity, Validity::Valid);
        assert_eq!(verdict("clock", Kind::Fail, "overloaded").validity, Validity::Invalid);
        assert_eq!(verdict("clock", Kind::Info, "timeout").validity, Validity::Invalid);
    }

    #[test]
    fn a_run_in_which_nothing_was_answered_during_a_partition_says_so() {
        let mut script = Script::default();
        script.operation("read", 1, Kind::Ok, 1);
        fault(&mut script, "start-partition");
        fault(&mut script, "power");
        script.operation("read", 1, Kind::Fail, 1);
        fault(&mut script, "stop-partition");
        let verdict = Availability.check(&script.history(), Budget::default());
        assert_eq!(verdict.validity, Validity::Unknown, "{}", verdict.reason);
        let mut script = Script::default();
        fault(&mut script, "power");
        script.operation("read", 1, Kind::Info, 1);
        let verdict = Availability.check(&script.history(), Budget::default());
        assert_eq!(verdict.validity, Validity::Unknown, "{}", verdict.reason);
    }
}
