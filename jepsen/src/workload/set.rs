//! `set`: elements are added, and at the end everything is read at each node.
//!
//! Why it exists: the plainest question to a store: is what it acknowledged still there? An element is
//! appended to one of sixteen texts in use by a PATCH, so that a write that is done twice shows up as
//! an element that is there twice; the texts lie in different groups and give way to new ones.
//!
//! Promises: elements are unique. The final read is a scan of all texts at the node of its thread.
//! Judged as Jepsen's set: lost, unexpected, duplicated and recovered elements.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::json;

use super::make;
use crate::api::{Api, ApiError};
use crate::checker::{Budget, Checker};
use crate::history::{Event, History, Kind, Value};
use crate::verdict::{Anomaly, Verdict};
use crate::workload::{Asker, Completion, Task, Workload};

/// Texts in use at a time.
const ACTIVE: i64 = 16;
/// Elements of a text.
const TEXT: i64 = 200;
/// Nodes that are read at the end, at most: a thread's node is its number modulo the nodes.
const READERS: u64 = 7;

/// The workload.
#[derive(Debug, Default)]
pub struct Set {
    next: Mutex<i64>,
}

#[async_trait]
impl Workload for Set {
    fn name(&self) -> &'static str {
        "set"
    }

    async fn prepare(&self, api: &Api) -> Result<(), ApiError> {
        make::namespace(api, &api.own("set"), json!({})).await
    }

    fn next(&self, _: Asker, _: &mut fastrand::Rng) -> Option<Task> {
        let mut next = self.next.lock();
        *next += 1;
        Some(Task { f: "add".into(), value: (*next).into() })
    }

    async fn invoke(&self, api: &Api, node: u32, _: Asker, task: &Task) -> Completion {
        let space = api.own("set");
        let Some(element) = task.value.as_int() else {
            return make::all_numbers(api, node, &space, "s").await;
        };
        let text = element / (TEXT * ACTIVE) * ACTIVE + element % ACTIVE;
        let path = make::key(&space, &format!("s{text}"));
        let append = make::operate(path, &json!({"append": format!("{element},")}));
        Completion { value: element.into(), ..api.send(node, append).await.completion() }
    }

    fn last(&self, threads: u64) -> Vec<(u64, Task)> {
        let read = || Task { f: "read".into(), value: Value::Nil };
        (0..threads.min(READERS)).map(|thread| (thread, read())).collect()
    }

    fn checkers(&self) -> Vec<Box<dyn Checker>> {
        vec![Box::new(Elements)]
    }

    fn needed(&self) -> Vec<(&'static str, u64)> {
        vec![("add", 100)]
    }
}

/// Judges the set.
#[derive(Clone, Copy, Debug)]
pub struct Elements;

/// What became of the adds.
#[derive(Default)]
struct Adds<'a> {
    /// Every element that was tried, with its events and how it ended.
    tried: BTreeMap<i64, (Vec<u64>, Kind)>,
    reads: Vec<(&'a Event, &'a Event)>,
}

impl Checker for Elements {
    fn name(&self) -> &'static str {
        "set"
    }

    fn check(&self, history: &History, _: Budget) -> Verdict {
        let adds = gather(history);
        if adds.reads.is_empty() {
            return Verdict::unknown("set", "the set was never read");
        }
        let mut anomalies = Vec::new();
        let mut recovered = BTreeSet::new();
        for (invoke, read) in &adds.reads {
            judge(&adds, invoke, read, &mut anomalies, &mut recovered);
        }
        let acknowledged = adds.tried.values().filter(|(_, kind)| *kind == Kind::Ok).count();
        let figures = json!({
            "attempts": adds.tried.len(), "acknowledged": acknowledged, "reads": adds.reads.len(),
            "recovered": recovered.len(), "anomalies": anomalies.len(),
        });
        let verdict = if anomalies.is_empty() {
            let reason = format!(
                "all {acknowledged} acknowledged elements are there, once, in {} final reads",
                adds.reads.len()
            );
            Verdict::valid("set", reason)
        } else {
            let reason = anomalies.first().map(|first| first.words.clone()).unwrap_or_default();
            anomalies.truncate(10);
            Verdict::invalid("set", reason, anomalies)
        };
        verdict.with_figures(figures)
    }
}

fn gather(history: &History) -> Adds<'_> {
    let mut adds = Adds::default();
    for operation in history.operations() {
        let events = [Some(operation.invoke.index), operation.complete.map(|event| event.index)];
        match (operation.invoke.f.as_str(), operation.invoke.value.as_int(), operation.complete) {
            ("add", Some(element), _) => {
                let events = events.into_iter().flatten().collect();
                adds.tried.insert(element, (events, operation.kind()));
            }
            ("read", _, Some(read)) if read.kind == Kind::Ok => {
                adds.reads.push((operation.invoke, read));
            }
            _ => {}
        }
    }
    adds
}

fn judge(
    adds: &Adds<'_>,
    invoke: &Event,
    read: &Event,
    anomalies: &mut Vec<Anomaly>,
    recovered: &mut BTreeSet<i64>,
) {
    let mut seen = BTreeMap::<i64, u32>::new();
    for element in read.value.as_list().unwrap_or_default().iter().filter_map(Value::as_int) {
        *seen.entry(element).or_default() += 1;
    }
    let node = read.node.unwrap_or_default();
    let mut tell = |kind: &str, words: String, mut events: Vec<u64>| {
        events.extend([invoke.index, read.index]);
        anomalies.push(Anomaly { kind: kind.into(), words, events });
    };
    for (element, (events, kind)) in &adds.tried {
        let acknowledged = events.last().copied().unwrap_or_default();
        let before = *kind == Kind::Ok && acknowledged < invoke.index;
        match (seen.get(element), kind) {
            (None, _) if before => {
                let words = format!(
                    "element {element} was acknowledged (event {acknowledged}), and is not in the \
                     read at node {node} (event {})",
                    read.index
                );
                tell("lost-element", words, events.clone());
            }
            (Some(times), _) if *times > 1 => {
                let words = format!(
                    "element {element} was added once and is there {times} times in the read at \
                     node {node} (event {})",
                    read.index
                );
                tell("duplicated-element", words, events.clone());
            }
            (Some(_), Kind::Fail) => {
                let words = format!(
                    "element {element} was refused for certain (event {acknowledged}), and is in the \
                     read at node {node} (event {})",
                    read.index
                );
                tell("refused-element", words, events.clone());
            }
            (Some(_), Kind::Info) => {
                recovered.insert(*element);
            }
            _ => {}
        }
    }
    for element in seen.keys().filter(|element| !adds.tried.contains_key(element)) {
        let words = format!(
            "element {element} is in the read at node {node} (event {}), and nobody added it",
            read.index
        );
        tell("unexpected-element", words, Vec::new());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::Validity;
    use crate::workload::tests_history::Script;

    fn verdict(adds: &[(i64, Kind)], read: &[i64]) -> Verdict {
        let mut script = Script::default();
        for (element, kind) in adds {
            script.operation("add", *element, *kind, *element);
        }
        script.operation("read", Value::Nil, Kind::Ok, read.to_vec());
        Elements.check(&script.history(), Budget::default())
    }

    fn kinds(verdict: &Verdict) -> Vec<&str> {
        verdict.anomalies.iter().map(|anomaly| anomaly.kind.as_str()).collect()
    }

    #[test]
    fn each_way_to_be_wrong_has_its_name() {
        let adds = [(1, Kind::Ok), (2, Kind::Info), (3, Kind::Fail), (4, Kind::Info)];
        assert_eq!(verdict(&adds, &[1, 2]).validity, Validity::Valid);
        assert_eq!(verdict(&adds, &[1, 2]).figures["recovered"], 1);
        assert_eq!(kinds(&verdict(&adds, &[2])), ["lost-element"]);
        assert_eq!(kinds(&verdict(&adds, &[1, 1])), ["duplicated-element"]);
        assert_eq!(kinds(&verdict(&adds, &[1, 3])), ["refused-element"]);
        assert_eq!(kinds(&verdict(&adds, &[1, 9])), ["unexpected-element"]);
    }

    #[test]
    fn a_set_that_was_never_read_is_not_known() {
        let mut script = Script::default();
        script.operation("add", 1, Kind::Ok, 1);
        assert_eq!(
            Elements.check(&script.history(), Budget::default()).validity,
            Validity::Unknown
        );
    }
}
