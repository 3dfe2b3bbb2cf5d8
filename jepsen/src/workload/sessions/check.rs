//! Judges the four guarantees of a session.
//!
//! Promises: everything is judged per group, by the indices that the answers say, as the documents
//! promise it: read your writes, monotonic reads, monotonic writes, writes follow reads. What threads
//! without a session saw is counted by the same rules and judged by none. Relies on: `order`, which
//! judges whether those indices are true.

use std::collections::BTreeMap;

use serde_json::json;

use super::super::finding::{Findings, extra_number, shows};
use super::super::order::{Order, Read};
use crate::checker::{Budget, Checker};
use crate::history::{History, Kind, Operation};
use crate::verdict::Verdict;

/// Judges `sessions` histories.
#[derive(Debug)]
pub(super) struct SessionChecker;

const GUARANTEES: [&str; 4] =
    ["read-your-writes", "monotonic-reads", "monotonic-writes", "writes-follow-reads"];

/// What one thread has seen so far of one group, or of one key: the highest index, and where.
#[derive(Clone, Copy, Debug)]
struct Mark<'a> {
    index: u64,
    by: Operation<'a>,
}

#[derive(Debug, Default)]
struct Seen<'a> {
    /// Highest index of a group that a read reflected.
    reflected: BTreeMap<u64, Mark<'a>>,
    /// Highest index of a write in a group that a read showed.
    shown: BTreeMap<u64, Mark<'a>>,
    /// Own writes of a group.
    wrote: BTreeMap<u64, Mark<'a>>,
    /// Newest write of a key that a read showed, and own newest write of a key.
    key_shown: BTreeMap<i64, Mark<'a>>,
    key_wrote: BTreeMap<i64, Mark<'a>>,
}

fn raise<'a, K: Ord>(marks: &mut BTreeMap<K, Mark<'a>>, key: K, index: u64, by: Operation<'a>) {
    let mark = marks.entry(key).or_insert(Mark { index, by });
    if index > mark.index {
        *mark = Mark { index, by };
    }
}

impl Checker for SessionChecker {
    fn name(&self) -> &'static str {
        "sessions"
    }

    fn check(&self, history: &History, _: Budget) -> Verdict {
        let mut findings = Findings::default();
        let order = Order::of(history);
        order.judge(&mut findings);
        let mut without = Findings::default();
        let mut seen: BTreeMap<u64, Seen<'_>> = BTreeMap::new();
        let reads: BTreeMap<u64, Read<'_>> =
            order.reads.iter().map(|read| (read.operation.invoke.index, *read)).collect();
        let mut judged = 0_u64;
        for operation in history.operations() {
            let Some(complete) = operation.complete.filter(|event| event.kind == Kind::Ok) else {
                continue;
            };
            let Some(thread) = extra_number(complete, "thread") else { continue };
            let session = complete.extra.contains_key("session");
            judged += u64::from(session);
            let into = if session { &mut findings } else { &mut without };
            let seen = seen.entry(thread).or_default();
            match reads.get(&operation.invoke.index) {
                Some(read) => seen.read(read, into),
                None => seen.write(operation, into),
            }
        }
        let count = |findings: &Findings| {
            let of = |name: &str| (name.to_owned(), json!(findings.count(name)));
            serde_json::Value::Object(GUARANTEES.iter().map(|name| of(name)).collect())
        };
        let figures = json!({
            "with_session": count(&findings),
            "without_session": count(&without),
        });
        let fine = "no session saw less than it had seen or written";
        findings.verdict(self.name(), judged, fine, figures)
    }
}

impl<'a> Seen<'a> {
    fn read(&mut self, read: &Read<'a>, findings: &mut Findings) {
        let Some(witness) = read.operation.complete.and_then(|event| event.witness) else { return };
        let mut check = |kind: &str, mark: Option<&Mark<'a>>, index: u64, what: &str| {
            if let Some(mark) = mark.filter(|mark| mark.index > index) {
                let words = format!(
                    "key {}: {what} {index} of group {}, after the session had seen {}",
                    read.key, witness.group, mark.index
                );
                findings.add(kind, words, shows([&mark.by, &read.operation]));
            }
        };
        let group = witness.group;
        check("read-your-writes", self.wrote.get(&group), witness.index, "a read reflects");
        check("read-your-writes", self.key_wrote.get(&read.key), read.written, "a read shows");
        check("monotonic-reads", self.reflected.get(&group), witness.index, "a read reflects");
        check("monotonic-reads", self.key_shown.get(&read.key), read.written, "a read shows");
        raise(&mut self.reflected, group, witness.index, read.operation);
        raise(&mut self.shown, group, read.written, read.operation);
        raise(&mut self.key_shown, read.key, read.written, read.operation);
    }

    fn write(&mut self, operation: Operation<'a>, findings: &mut Findings) {
        let Some(witness) = operation.complete.and_then(|event| event.witness) else { return };
        let key = operation.invoke.value.as_keyed().and_then(|(key, _)| key.as_int());
        let mut check = |kind: &str, mark: Option<&Mark<'a>>| {
            if let Some(mark) = mark.filter(|mark| mark.index >= witness.index) {
                let words = format!(
                    "a write stands at index {} of group {}, after the session had come to {}",
                    witness.index, witness.group, mark.index
                );
                findings.add(kind, words, shows([&mark.by, &operation]));
            }
        };
        check("monotonic-writes", self.wrote.get(&witness.group));
        check("writes-follow-reads", self.shown.get(&witness.group));
        raise(&mut self.wrote, witness.group, witness.index, operation);
        if let Some(key) = key {
            raise(&mut self.key_wrote, key, witness.index, operation);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::hand::{Done, Hand};
    use super::*;
    use crate::history::Value;
    use crate::verdict::Validity;

    fn wrote(hand: &mut Hand, at: u64, thread: u64, value: i64, index: u64) {
        let asked = Value::keyed(1, value);
        let thread_value = i64::try_from(thread).unwrap();
        let done = Done::ok(asked.clone()).at(1, index).with("thread", thread_value);
        hand.op((at, at + 5), thread, "write", asked, done.with("session", thread_value));
    }

    fn read(
        at: u64,
        thread: u64,
        value: Option<i64>,
        written: u64,
        index: u64,
    ) -> (u64, u64, Done) {
        let done = Done::ok(Value::keyed(1, value))
            .at(1, index)
            .with("thread", i64::try_from(thread).unwrap());
        let done =
            if value.is_some() { done.with("etag", format!("\"1-{written}\"")) } else { done };
        (at, thread, done)
    }

    fn reads(hand: &mut Hand, (at, thread, done): (u64, u64, Done), session: bool) {
        let thread_value = i64::try_from(thread).unwrap();
        let done = if session { done.with("session", thread_value) } else { done };
        hand.op((at, at + 5), thread, "read", Value::keyed(1, Value::Nil), done);
    }

    fn kinds(hand: &Hand) -> Vec<String> {
        let verdict = SessionChecker.check(&hand.history(), Budget::default());
        verdict.anomalies.into_iter().map(|anomaly| anomaly.kind).collect()
    }

    fn written() -> Hand {
        let mut hand = Hand::default();
        wrote(&mut hand, 0, 0, 1, 3);
        wrote(&mut hand, 10, 0, 2, 4);
        hand
    }

    #[test]
    fn a_session_that_sees_what_it_has_seen_is_fine() {
        let mut hand = written();
        reads(&mut hand, read(20, 0, Some(2), 4, 5), true);
        reads(&mut hand, read(20, 1, Some(1), 3, 3), true);
        let verdict = SessionChecker.check(&hand.history(), Budget::default());
        assert_eq!(verdict.validity, Validity::Valid, "{verdict:?}");
    }

    #[test]
    fn not_seeing_ones_own_write_is_found() {
        let mut hand = written();
        reads(&mut hand, read(20, 0, Some(1), 3, 3), true);
        assert!(kinds(&hand).contains(&"read-your-writes".to_owned()));
    }

    #[test]
    fn seeing_less_than_before_is_found() {
        let mut hand = written();
        reads(&mut hand, read(20, 1, Some(2), 4, 4), true);
        reads(&mut hand, read(30, 1, Some(1), 3, 3), true);
        assert!(kinds(&hand).iter().all(|kind| kind == "monotonic-reads"));
        assert!(!kinds(&hand).is_empty());
    }

    #[test]
    fn without_a_session_it_is_only_counted() {
        let mut hand = written();
        reads(&mut hand, read(20, 1, Some(2), 4, 4), false);
        reads(&mut hand, read(30, 1, Some(1), 3, 3), false);
        let verdict = SessionChecker.check(&hand.history(), Budget::default());
        assert_eq!(verdict.validity, Validity::Valid);
        assert_eq!(verdict.figures["without_session"]["monotonic-reads"], 2);
    }

    #[test]
    fn a_write_before_an_earlier_one_is_found() {
        let mut hand = written();
        wrote(&mut hand, 20, 0, 3, 2);
        assert!(kinds(&hand).contains(&"monotonic-writes".to_owned()));
    }

    #[test]
    fn a_write_before_what_was_read_is_found() {
        let mut hand = written();
        reads(&mut hand, read(20, 1, Some(2), 4, 4), true);
        wrote(&mut hand, 30, 1, 3, 2);
        assert!(kinds(&hand).contains(&"writes-follow-reads".to_owned()));
    }
}
