//! Judges counters: every sum that was read must be the sum of adds that can have happened.
//!
//! Promises: linear time. Two judges that know nothing of each other: real time (an add that was
//! acknowledged before the read began counts; one that began after the read's answer does not; others
//! may), and the group's order (the adds up to the index that the answer reflects, exactly, but for adds
//! of which nobody knows what became). Reads `:add [k n]`, `:read [k sum]`; the `sum` in an add's
//! `extra` is judged like a read.

use std::collections::BTreeMap;

use serde_json::json;

use super::{Budget, Checker};
use crate::history::{Event, History, Kind, Operation, Value};
use crate::verdict::{Anomaly, Verdict};

/// The checker.
#[derive(Clone, Copy, Debug)]
pub struct Sums;

/// Sums of what may count and of what must.
#[derive(Clone, Copy, Debug, Default)]
struct Running {
    /// Adds that were acknowledged.
    sure: i64,
    /// Of them, the negative and the positive ones.
    sure_minus: i64,
    sure_plus: i64,
    /// Everything that was begun and did not surely fail.
    begun_minus: i64,
    begun_plus: i64,
}

/// What an answer said.
struct Seen {
    /// Group and index that it reflects.
    place: Option<(u64, u64)>,
    sum: i64,
    invoked: u64,
    completed: u64,
}

/// One counter.
#[derive(Default)]
struct Counter<'a> {
    running: Running,
    /// Acknowledged adds by (group, index) with their number and event.
    order: BTreeMap<(u64, u64), (i64, &'a Event)>,
    /// Adds of which nobody knows: when begun, and how much.
    unknown: Vec<(u64, i64)>,
    seen: Vec<Seen>,
}

impl Checker for Sums {
    fn name(&self) -> &'static str {
        "counter"
    }

    fn check(&self, history: &History, _: Budget) -> Verdict {
        let operations = history.operations();
        let mut counters: BTreeMap<&Value, Counter<'_>> = BTreeMap::new();
        let mut anomalies = by_time(history, &operations, &mut counters);
        for (key, counter) in &counters {
            by_order(key, counter, &mut anomalies);
        }
        let reads: usize = counters.values().map(|counter| counter.seen.len()).sum();
        let adds: usize = counters.values().map(|counter| counter.order.len()).sum();
        let unknown: usize = counters.values().map(|counter| counter.unknown.len()).sum();
        let figures = json!({
            "counters": counters.len(), "sums": reads, "acknowledged_adds": adds,
            "unknown_adds": unknown, "anomalies": anomalies.len(),
        });
        let verdict = if let Some(first) = anomalies.first() {
            let reason = first.words.clone();
            anomalies.truncate(10);
            Verdict::invalid("counter", reason, anomalies)
        } else if reads == 0 {
            Verdict::unknown("counter", "no counter was ever read")
        } else {
            let reason =
                format!("{reads} sums of {adds} adds agree with real time and with the log");
            Verdict::valid("counter", reason)
        };
        verdict.with_figures(figures)
    }
}

/// Sweeps the history once. Fills `counters` for the second judge.
fn by_time<'a>(
    history: &'a History,
    operations: &[Operation<'a>],
    counters: &mut BTreeMap<&'a Value, Counter<'a>>,
) -> Vec<Anomaly> {
    // Each event's operation, by the event's index.
    let mut of = BTreeMap::new();
    for (place, operation) in operations.iter().enumerate() {
        of.insert(operation.invoke.index, place);
        if let Some(complete) = operation.complete {
            of.insert(complete.index, place);
        }
    }
    let mut anomalies = Vec::new();
    let mut begun: BTreeMap<u64, Running> = BTreeMap::new();
    for event in &history.events {
        let Some(operation) = of.get(&event.index).and_then(|place| operations.get(*place)) else {
            continue;
        };
        let Some((key, number)) = operation.invoke.value.as_keyed() else { continue };
        let counter = counters.entry(key).or_default();
        let (add, kind) = (number.as_int().unwrap_or_default(), operation.kind());
        if event.kind == Kind::Invoke {
            begun.insert(event.index, counter.running);
            if operation.invoke.f == "add" && kind != Kind::Fail {
                counter.running.begun_minus += add.min(0);
                counter.running.begun_plus += add.max(0);
                if kind == Kind::Info {
                    counter.unknown.push((event.index, add));
                }
            }
            continue;
        }
        let Some(before) = begun.remove(&operation.invoke.index) else { continue };
        if event.kind != Kind::Ok {
            continue;
        }
        let place = event.witness.map(|witness| (witness.group, witness.index));
        if operation.invoke.f == "add" {
            counter.running.sure += add;
            counter.running.sure_minus += add.min(0);
            counter.running.sure_plus += add.max(0);
            if let Some(place) = place
                && let Some((_, other)) = counter.order.insert(place, (add, event))
            {
                anomalies.push(same_place(place, other, event));
            }
        }
        let Some(sum) = sum_of(operation, event) else { continue };
        let (invoked, completed) = (operation.invoke.index, event.index);
        counter.seen.push(Seen { place, sum, invoked, completed });
        let now = counter.running;
        let own = if operation.invoke.f == "add" { add } else { 0 };
        // The sum after an own add has it for certain, and real time knows that only from now on.
        let least = before.sure + own + now.begun_minus - before.sure_minus - own.min(0);
        let most = before.sure + own + now.begun_plus - before.sure_plus - own.max(0);
        if sum < least || sum > most {
            let words = format!(
                "event {} says that counter {key} is {sum}, and by what was acknowledged before and \
                 begun until then it is from {least} to {most}",
                event.index
            );
            let events = vec![operation.invoke.index, event.index];
            anomalies.push(Anomaly { kind: "impossible-sum".into(), words, events });
        }
    }
    anomalies
}

fn same_place(place: (u64, u64), first: &Event, second: &Event) -> Anomaly {
    let words = format!(
        "the adds of events {} and {} both claim entry {} of group {}",
        first.index, second.index, place.1, place.0
    );
    Anomaly { kind: "same-place".into(), words, events: vec![first.index, second.index] }
}

/// The sum that an answer tells.
fn sum_of(operation: &Operation<'_>, event: &Event) -> Option<i64> {
    if operation.invoke.f == "add" {
        event.extra.get("sum")?.as_int()
    } else {
        event.value.as_keyed()?.1.as_int()
    }
}

/// Replays the adds in the group's order.
fn by_order(key: &Value, counter: &Counter<'_>, anomalies: &mut Vec<Anomaly>) {
    let mut total = 0;
    let mut sums: BTreeMap<(u64, u64), i64> = BTreeMap::new();
    for (place, (add, _)) in &counter.order {
        total += add;
        sums.insert(*place, total);
    }
    for Seen { place, sum, invoked, completed } in &counter.seen {
        let Some(place) = place else { continue };
        let expected = sums.range(..=place).next_back().map_or(0, |(_, sum)| *sum);
        let possible = counter.unknown.iter().filter(|(begun, _)| begun < completed);
        let (minus, plus) = possible
            .fold((0, 0), |(minus, plus), (_, add)| (minus + add.min(&0), plus + add.max(&0)));
        if *sum < expected + minus || *sum > expected + plus {
            let words = format!(
                "event {completed} says that counter {key} is {sum} as of entry {} of group {}, and \
                 the adds that were acknowledged up to there make {expected}",
                place.1, place.0
            );
            let near =
                counter.order.range(..=place).rev().take(2).map(|(_, (_, event))| event.index);
            let mut events: Vec<u64> = near.chain([*invoked, *completed]).collect();
            events.sort_unstable();
            events.dedup();
            anomalies.push(Anomaly { kind: "wrong-sum".into(), words, events });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::Validity;
    use crate::workload::tests_history::Script;

    fn keyed(number: impl Into<Value>) -> Value {
        Value::keyed(1, number)
    }

    fn judged(script: &Script) -> (Validity, Vec<String>) {
        let verdict = Sums.check(&script.history(), Budget::default());
        let kinds = verdict.anomalies.into_iter().map(|anomaly| anomaly.kind).collect();
        (verdict.validity, kinds)
    }

    #[test]
    fn a_sum_has_what_was_acknowledged_and_may_have_what_is_unknown() {
        for (sum, good) in [(5, true), (8, true), (3, false), (9, false)] {
            let mut script = Script::default();
            script.operation("add", keyed(5), Kind::Ok, keyed(5)).at(3);
            script.operation("add", keyed(3), Kind::Info, keyed(3));
            script.operation("add", keyed(1), Kind::Fail, keyed(1));
            script.operation("read", keyed(Value::Nil), Kind::Ok, keyed(sum)).at(9);
            assert_eq!(judged(&script).0 == Validity::Valid, good, "{sum}");
        }
    }

    #[test]
    fn an_add_that_is_open_during_the_read_may_count() {
        for (sum, good) in [(0, true), (-4, true), (4, false), (-5, false)] {
            let mut script = Script::default();
            script.event(1, Kind::Invoke, "add", keyed(-4));
            script.event(2, Kind::Invoke, "read", keyed(Value::Nil));
            script.event(2, Kind::Ok, "read", keyed(sum));
            script.event(1, Kind::Ok, "add", keyed(-4));
            assert_eq!(judged(&script).0 == Validity::Valid, good, "{sum}");
        }
    }

    #[test]
    fn the_log_says_more_than_time_does() {
        let mut script = Script::default();
        script.event(1, Kind::Invoke, "add", keyed(4));
        script.event(2, Kind::Invoke, "read", keyed(Value::Nil));
        script.event(2, Kind::Ok, "read", keyed(0)).at(7);
        script.event(1, Kind::Ok, "add", keyed(4)).at(6);
        assert_eq!(judged(&script).1, ["wrong-sum"]);
    }

    #[test]
    fn the_sum_that_an_add_answers_counts_itself() {
        for (sum, good) in [(7, true), (5, false), (9, false)] {
            let mut script = Script::default();
            script.operation("add", keyed(5), Kind::Ok, keyed(5)).at(3).with("sum", 5);
            script.operation("add", keyed(2), Kind::Ok, keyed(2)).at(4).with("sum", sum);
            assert_eq!(judged(&script).0 == Validity::Valid, good, "{sum}");
        }
    }
}
