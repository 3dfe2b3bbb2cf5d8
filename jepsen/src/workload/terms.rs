//! `terms`: what a replica has promised, it has promised for good.
//!
//! Why it exists: a vote that a crash undoes shows itself to clients only when two elections meet at
//! the wrong moment, which no run can wait for. But the term that a replica says it is in is the vote
//! made visible: it may never fall, whatever crashes. So clients write a little, to keep the groups
//! busy, and look at every node again and again, also while it starts.
//!
//! ```text
//! observe   value nil -> {group term ...} of the asked node's own replicas
//! write     value [key number]
//! ```
//!
//! Promises: an anomaly only where one look had ended before the other began. Relies on
//! `GET /v1/cluster`, of which only what the answering node says of itself is taken.

use std::collections::BTreeMap;

use async_trait::async_trait;
use reqwest::Method;
use serde_json::Value as Json;

use crate::api::{Api, ApiError, Outcome, Request};
use crate::checker::{Budget, Checker};
use crate::history::{Event, History, Kind, Value};
use crate::verdict::{Anomaly, Verdict};
use crate::workload::{Asker, Completion, Ending, Task, Workload};

/// Keys that are written, so that every group has something to do.
const KEYS: i64 = 64;
/// Looks at the nodes that a run needs to say anything.
const LOOKS_NEEDED: u64 = 50;
/// Anomalies that are shown.
const SHOWN: usize = 4;

/// The workload.
#[derive(Clone, Copy, Debug, Default)]
pub struct Terms;

#[async_trait]
impl Workload for Terms {
    fn name(&self) -> &'static str {
        "terms"
    }

    async fn prepare(&self, _: &Api) -> Result<(), ApiError> {
        Ok(())
    }

    fn next(&self, _: Asker, rng: &mut fastrand::Rng) -> Option<Task> {
        Some(if rng.bool() {
            Task { f: "observe".into(), value: Value::Nil }
        } else {
            let number = rng.i64(0..1 << 30);
            Task { f: "write".into(), value: Value::keyed(rng.i64(0..KEYS), number) }
        })
    }

    async fn invoke(&self, api: &Api, node: u32, _: Asker, task: &Task) -> Completion {
        if task.f == "write" {
            let (key, number) = task.value.as_keyed().unwrap_or((&Value::Nil, &Value::Nil));
            let path = format!("/v1/ns/default/keys/terms-{key}");
            let reply = api.send(node, Request::new(Method::PUT, path).body(number.to_string()));
            let done = reply.await.completion();
            return Completion { value: task.value.clone(), ..done };
        }
        let reply = api.send(node, Request::new(Method::GET, "/v1/cluster")).await;
        let mut done = reply.completion();
        if reply.outcome == Outcome::Applied {
            done.value = own_terms(&reply.json(), node);
        } else {
            // A look changes nothing: that it failed is certain.
            done.ending = Ending::Fail(reply.error.unwrap_or_default());
        }
        done
    }

    fn last(&self, threads: u64) -> Vec<(u64, Task)> {
        let look = Task { f: "observe".into(), value: Value::Nil };
        (0..threads).map(|thread| (thread, look.clone())).collect()
    }

    fn checkers(&self) -> Vec<Box<dyn Checker>> {
        vec![Box::new(TermsNeverFall)]
    }

    fn needed(&self) -> Vec<(&'static str, u64)> {
        vec![("observe", LOOKS_NEEDED), ("write", LOOKS_NEEDED)]
    }
}

/// Group and term of each replica of the node that answered.
fn own_terms(view: &Json, node: u32) -> Value {
    let list = |of: &Json, name: &str| of[name].as_array().cloned().unwrap_or_default();
    let mut terms = Vec::new();
    for group in list(view, "groups") {
        for replica in list(&group, "replicas") {
            if replica.get("node").and_then(Json::as_u64) == Some(u64::from(node))
                && let (Some(id), Some(term)) = (
                    group.get("id").and_then(Json::as_i64),
                    replica.get("term").and_then(Json::as_i64),
                )
            {
                terms.push((Value::Int(id), Value::Int(term)));
            }
        }
    }
    Value::Map(terms)
}

/// A look that was answered.
struct Look<'a> {
    began: u64,
    done: &'a Event,
    node: u32,
    terms: &'a [(Value, Value)],
}

/// Holds looks at the same replica against each other.
#[derive(Clone, Copy, Debug)]
pub struct TermsNeverFall;

impl Checker for TermsNeverFall {
    fn name(&self) -> &'static str {
        "terms"
    }

    fn check(&self, history: &History, _: Budget) -> Verdict {
        let operations = history.operations();
        let looks = operations.iter().filter_map(|operation| {
            let done = operation.complete.filter(|event| event.kind == Kind::Ok)?;
            let (Value::Map(terms), Some(node)) = (&done.value, done.node) else { return None };
            (done.f == "observe").then_some(Look {
                began: operation.invoke.index,
                done,
                node,
                terms,
            })
        });
        let mut looks: Vec<Look<'_>> = looks.collect();
        if looks.is_empty() {
            return Verdict::unknown(self.name(), "no node was looked at");
        }
        let anomalies = falls(&mut looks);
        let figures = serde_json::json!({ "looks": looks.len(), "falls": anomalies.len() });
        let verdict = if anomalies.is_empty() {
            Verdict::valid(self.name(), "no replica's term ever fell")
        } else {
            let shown = anomalies.into_iter().take(SHOWN).collect();
            Verdict::invalid(self.name(), "a replica went back to an earlier term", shown)
        };
        verdict.with_figures(figures)
    }
}

/// Terms that fell from one look to a later one.
fn falls(looks: &mut [Look<'_>]) -> Vec<Anomaly> {
    let mut ends: Vec<usize> = (0..looks.len()).collect();
    ends.sort_by_key(|at| looks.get(*at).map(|look| look.done.index));
    let mut ended = ends.into_iter().peekable();
    // The newest term of each replica among the looks that have ended, and which look saw it.
    let mut highest: BTreeMap<(u32, i64), (i64, u64)> = BTreeMap::new();
    let mut anomalies = Vec::new();
    for look in looks.iter() {
        while let Some(earlier) = ended
            .next_if(|at| looks.get(*at).is_some_and(|other| other.done.index < look.began))
            .and_then(|at| looks.get(at))
        {
            for (group, term) in numbers(earlier) {
                let known = highest.entry((earlier.node, group)).or_insert((term, 0));
                if term >= known.0 {
                    *known = (term, earlier.done.index);
                }
            }
        }
        for (group, term) in numbers(look) {
            let Some((before, seen)) = highest.get(&(look.node, group)) else { continue };
            if term < *before {
                anomalies.push(Anomaly {
                    kind: "term-fell".into(),
                    words: format!(
                        "node {} said it was in term {before} of group {group} (event {seen}), and \
                         in term {term} when it was asked again (event {}): what it had promised \
                         in between is forgotten",
                        look.node, look.done.index
                    ),
                    events: vec![*seen, look.began, look.done.index],
                });
            }
        }
    }
    anomalies
}

fn numbers<'a>(look: &'a Look<'_>) -> impl Iterator<Item = (i64, i64)> + 'a {
    look.terms.iter().filter_map(|(group, term)| Some((group.as_int()?, term.as_int()?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Process;
    use crate::verdict::Validity;

    fn event(index: u64, kind: Kind, process: u64, terms: &[(i64, i64)]) -> Event {
        let pair = |(group, term): &(i64, i64)| (Value::Int(*group), Value::Int(*term));
        let value = Value::Map(terms.iter().map(pair).collect());
        Event {
            index,
            time: index,
            kind,
            process: Process::Client(process),
            f: "observe".into(),
            value: if kind == Kind::Invoke { Value::Nil } else { value },
            node: Some(2),
            witness: None,
            error: None,
            extra: BTreeMap::new(),
        }
    }

    fn judged(events: Vec<Event>) -> Verdict {
        TermsNeverFall.check(&History { events }, Budget::default())
    }

    #[test]
    fn a_term_that_falls_from_one_look_to_the_next_is_an_anomaly() {
        let look = |at, terms: &[(i64, i64)]| {
            [event(at, Kind::Invoke, 1, &[]), event(at + 1, Kind::Ok, 1, terms)]
        };
        let events = [look(0, &[(1, 5), (2, 9)]), look(2, &[(1, 6)]), look(4, &[(1, 5), (2, 9)])];
        let verdict = judged(events.into_iter().flatten().collect());
        assert_eq!(verdict.validity, Validity::Invalid);
        assert_eq!(verdict.anomalies[0].events, [3, 4, 5]);
        let rising = [look(0, &[(1, 5)]), look(2, &[(1, 5)]), look(4, &[(1, 7)])];
        assert_eq!(judged(rising.into_iter().flatten().collect()).validity, Validity::Valid);
        assert_eq!(judged(Vec::new()).validity, Validity::Unknown);
    }

    #[test]
    fn looks_that_overlap_say_nothing_about_each_other() {
        let events = vec![
            event(0, Kind::Invoke, 1, &[]),
            event(1, Kind::Invoke, 2, &[]),
            event(2, Kind::Ok, 1, &[(1, 6)]),
            event(3, Kind::Ok, 2, &[(1, 5)]),
        ];
        assert_eq!(judged(events).validity, Validity::Valid);
    }

    #[test]
    fn only_what_the_asked_node_says_of_itself_is_taken() {
        let view = serde_json::json!({"groups": [{"id": 3, "replicas": [
            {"node": 1, "term": 4}, {"node": 2, "term": 5}, {"node": 2, "term": null}]}]});
        assert_eq!(own_terms(&view, 2), Value::Map(vec![(Value::Int(3), Value::Int(5))]));
    }
}
