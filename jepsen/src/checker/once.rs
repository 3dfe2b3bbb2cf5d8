//! Judges repeated requests: each is done at most once, and every answer is the first answer.
//!
//! Promises: linear time. Reads `:once [text id]`, `:repeat [text id]`, `:clash [text id]` and final
//! `:read [number …]`; of answers the `etag`, `length`, `replayed` and `refused` in `extra`.

use std::collections::BTreeMap;

use serde_json::json;

use super::{Budget, Checker};
use crate::history::{Event, History, Kind, Operation, Value};
use crate::verdict::{Anomaly, Verdict};

/// The checker.
#[derive(Clone, Copy, Debug)]
pub struct Once;

const NAME: &str = "idempotency";

impl Checker for Once {
    fn name(&self) -> &'static str {
        NAME
    }

    fn check(&self, history: &History, _: Budget) -> Verdict {
        let mut requests: BTreeMap<i64, Vec<Operation<'_>>> = BTreeMap::new();
        let mut reads = Vec::new();
        for operation in history.operations() {
            match operation.invoke.value.as_keyed().and_then(|(_, id)| id.as_int()) {
                Some(id) => requests.entry(id).or_default().push(operation),
                None => reads.extend(operation.complete.filter(|event| event.kind == Kind::Ok)),
            }
        }
        let mut anomalies = Vec::new();
        let mut replayed = 0_u64;
        for (id, attempts) in &requests {
            replayed += answers(*id, attempts, &mut anomalies);
        }
        for read in &reads {
            effects(read, &requests, &mut anomalies);
        }
        let attempts: usize = requests.values().map(Vec::len).sum();
        let figures = json!({
            "requests": requests.len(), "attempts": attempts, "replayed": replayed,
            "reads": reads.len(), "anomalies": anomalies.len(),
        });
        let verdict = if let Some(first) = anomalies.first() {
            let reason = first.words.clone();
            anomalies.truncate(10);
            Verdict::invalid(NAME, reason, anomalies)
        } else if reads.is_empty() || replayed == 0 {
            let reason = format!("{} final reads, {replayed} replayed answers", reads.len());
            Verdict::unknown(NAME, reason)
        } else {
            let reason = format!(
                "{} requests in {attempts} attempts were done once each; {replayed} answers replayed",
                requests.len()
            );
            Verdict::valid(NAME, reason)
        };
        verdict.with_figures(figures)
    }
}

fn flag(event: &Event, name: &str) -> bool {
    event.extra.get(name) == Some(&Value::Bool(true))
}

fn anomaly(kind: &str, words: String, events: &[&Event]) -> Anomaly {
    let mut events: Vec<u64> = events.iter().map(|event| event.index).collect();
    events.sort_unstable();
    Anomaly { kind: kind.into(), words, events }
}

/// Compares the answers to one request. Returns how many of them were replayed.
fn answers(id: i64, attempts: &[Operation<'_>], anomalies: &mut Vec<Anomaly>) -> u64 {
    let mut first: Option<&Event> = None;
    let mut fresh: Option<&Event> = None;
    let mut replayed = 0;
    let mut ended: Vec<_> =
        attempts.iter().filter_map(|attempt| Some((attempt.invoke, attempt.complete?))).collect();
    ended.sort_unstable_by_key(|(_, answer)| answer.index);
    for (invoke, answer) in ended {
        if invoke.f == "clash" {
            if answer.kind == Kind::Ok && !flag(answer, "refused") {
                let words = format!(
                    "event {}: another request under the key of request {id} was taken",
                    answer.index
                );
                anomalies.push(anomaly("clash-taken", words, &[invoke, answer]));
            }
            continue;
        }
        if answer.kind != Kind::Ok {
            if answer.error.as_deref() == Some("idempotency_mismatch") {
                let words =
                    format!("event {}: request {id} was taken for another request", answer.index);
                anomalies.push(anomaly("false-mismatch", words, &[invoke, answer]));
            }
            continue;
        }
        let said =
            |event: &Event| (event.extra.get("etag").cloned(), event.extra.get("length").cloned());
        if let Some(first) = first
            && said(first) != said(answer)
        {
            let words = format!(
                "request {id} was answered in two ways: event {} says {:?}, event {} says {:?}",
                first.index,
                said(first),
                answer.index,
                said(answer)
            );
            anomalies.push(anomaly("second-result", words, &[first, invoke, answer]));
        }
        if flag(answer, "replayed") {
            replayed += 1;
        } else {
            // The one that did it may be answered after its repeats, so only two that say so, or one
            // that began after another's answer, are wrong.
            let late = first.filter(|first| first.index < invoke.index);
            if let Some(other) = fresh.or(late) {
                let words = format!(
                    "request {id} was done again: event {} is not marked as replayed, and event {} was \
                     its answer before",
                    answer.index, other.index
                );
                anomalies.push(anomaly("done-again", words, &[other, invoke, answer]));
            }
            fresh = Some(answer);
        }
        first = first.or(Some(answer));
    }
    replayed
}

/// What the texts say at the end: each number once.
fn effects(
    read: &Event,
    requests: &BTreeMap<i64, Vec<Operation<'_>>>,
    anomalies: &mut Vec<Anomaly>,
) {
    let mut times: BTreeMap<i64, u32> = BTreeMap::new();
    for number in read.value.as_list().unwrap_or_default().iter().filter_map(Value::as_int) {
        *times.entry(number).or_default() += 1;
    }
    for (id, attempts) in requests {
        let acknowledged = attempts
            .iter()
            .filter(|attempt| attempt.invoke.f != "clash")
            .find_map(|attempt| attempt.complete.filter(|event| event.kind == Kind::Ok));
        let refused = attempts.iter().all(|attempt| attempt.kind() == Kind::Fail);
        let (kind, words) = match (times.remove(id).unwrap_or_default(), acknowledged) {
            (0, Some(done)) => (
                "lost-request",
                format!("was acknowledged (event {}) and is not there", done.index),
            ),
            (times @ 2.., _) => ("done-twice", format!("is there {times} times")),
            (1, _) if refused => ("refused-request", "was always refused and is there".to_owned()),
            _ => continue,
        };
        let mut events: Vec<&Event> = attempts.iter().map(|attempt| attempt.invoke).collect();
        events.extend(attempts.iter().filter_map(|attempt| attempt.complete));
        events.push(read);
        let words = format!("request {id} {words} in the read of event {}", read.index);
        anomalies.push(anomaly(kind, words, &events));
    }
    if let Some((number, _)) = times.first_key_value() {
        let words =
            format!("number {number} is there in event {}, and nobody wrote it", read.index);
        anomalies.push(anomaly("unexpected-number", words, &[read]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::Validity;
    use crate::workload::tests_history::Script;

    fn attempt(script: &mut Script, f: &str, etag: &str, replayed: bool) {
        let value = Value::keyed(1, 7);
        let answer = script.operation(f, value.clone(), Kind::Ok, value);
        answer.with("etag", etag).with("replayed", replayed);
    }

    fn kinds(mut script: Script, read: &[i64]) -> Vec<String> {
        script.operation("read", Value::Nil, Kind::Ok, read.to_vec());
        let verdict = Once.check(&script.history(), Budget::default());
        assert_eq!(verdict.validity == Validity::Invalid, !verdict.anomalies.is_empty());
        verdict.anomalies.into_iter().map(|anomaly| anomaly.kind).collect()
    }

    #[test]
    fn a_repeat_answers_what_the_first_answered() {
        let script = |etag, replayed| {
            let mut script = Script::default();
            attempt(&mut script, "once", "3-4", false);
            attempt(&mut script, "repeat", etag, replayed);
            script
        };
        assert!(kinds(script("3-4", true), &[7]).is_empty());
        assert_eq!(kinds(script("3-9", true), &[7]), ["second-result"]);
        assert_eq!(
            kinds(script("3-9", false), &[7, 7]),
            ["second-result", "done-again", "done-twice"]
        );
        assert_eq!(kinds(script("3-4", true), &[]), ["lost-request"]);
        assert_eq!(kinds(script("3-4", true), &[0, 7]), ["unexpected-number"]);
    }

    #[test]
    fn the_one_that_did_it_may_be_answered_after_its_repeat() {
        let mut script = Script::default();
        let value = Value::keyed(1, 7);
        script.event(100, Kind::Invoke, "once", value.clone());
        attempt(&mut script, "repeat", "3-4", true);
        script.event(100, Kind::Ok, "once", value).with("etag", "3-4").with("replayed", false);
        assert!(kinds(script, &[7]).is_empty());
    }

    #[test]
    fn a_clash_must_be_refused() {
        let mut script = Script::default();
        attempt(&mut script, "once", "3-4", false);
        attempt(&mut script, "repeat", "3-4", true);
        attempt(&mut script, "clash", "3-4", true);
        assert_eq!(kinds(script, &[7]), ["clash-taken"]);
    }
}
