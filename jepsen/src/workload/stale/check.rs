//! Judges how old reads were against how old they said they were.
//!
//! Promises: a read that says an age, or was given a bound, must show a value that was current at some
//! moment not longer ago, counted from its invocation: a later write that was answered before that
//! moment began proves it too old. Ages count whole milliseconds, so one is granted. Relies on:
//! `order` for what holds for every read.

use serde_json::json;

use super::super::finding::{Findings, ended, extra_number, shows};
use super::super::order::{Order, Read};
use crate::checker::{Budget, Checker};
use crate::history::History;
use crate::verdict::Verdict;

const NANOS_PER_MS: u64 = 1_000_000;

/// Judges `stale` histories.
#[derive(Debug)]
pub(super) struct StaleChecker;

impl Checker for StaleChecker {
    fn name(&self) -> &'static str {
        "staleness"
    }

    fn check(&self, history: &History, _: Budget) -> Verdict {
        let order = Order::of(history);
        let mut findings = Findings::default();
        order.judge(&mut findings);
        let (mut unknown, mut oldest, mut bounded, mut behind) = (0_u64, 0_u64, 0_u64, 0_u64);
        for read in &order.reads {
            let said = Order::age(read);
            let bound = read.operation.complete.and_then(|event| extra_number(event, "bound"));
            unknown += u64::from(said.is_none());
            bounded += u64::from(bound.is_some());
            oldest = oldest.max(said.unwrap_or(0));
            if let Some(bound) = bound
                && said.is_none_or(|said| said > bound)
            {
                let words = format!("a read with a bound of {bound} ms says {said:?} ms");
                findings.add("bound-broken", words, shows([&read.operation]));
            }
            behind += u64::from(is_behind(&order, read));
            if let Some(age) = said.into_iter().chain(bound).min() {
                judge(&order, read, age, &mut findings);
            }
        }
        let figures = json!({
            "reads": order.reads.len(),
            "bounded": bounded,
            "age_unknown": unknown,
            "oldest_age_ms": oldest,
            "behind": behind,
        });
        let judged = u64::try_from(order.reads.len()).unwrap_or(u64::MAX);
        let fine = "no read was older than its answer said or its bound allowed";
        findings.verdict(self.name(), judged, fine, figures)
    }
}

/// Whether a read missed something that was answered before it began; no fault, a figure.
fn is_behind(order: &Order<'_>, read: &Read<'_>) -> bool {
    order.writes(read.key).iter().any(|write| {
        write.index.is_some_and(|index| index > read.written)
            && ended(&write.operation) < read.operation.invoke.time
    })
}

fn judge(order: &Order<'_>, read: &Read<'_>, age: u64, findings: &mut Findings) {
    let Some(horizon) = read.operation.invoke.time.checked_sub((age + 1) * NANOS_PER_MS) else {
        return;
    };
    let newer = order.writes(read.key).iter().find(|write| {
        write.index.is_some_and(|index| index > read.written) && ended(&write.operation) < horizon
    });
    if let Some(newer) = newer {
        let since = (read.operation.invoke.time - ended(&newer.operation)) / NANOS_PER_MS;
        let words = format!(
            "a read of key {} may be {age} ms old, and does not show value {} that was acknowledged \
             {since} ms before it began",
            read.key, newer.value
        );
        findings.add("too-old", words, shows([&newer.operation, &read.operation]));
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::hand::{Done, Hand};
    use super::*;
    use crate::history::Value;
    use crate::verdict::Validity;

    fn written() -> Hand {
        let mut hand = Hand::default();
        for (at, value, index) in [(0, 1, 3), (1000, 2, 4)] {
            let asked = Value::keyed(1, value);
            hand.op((at, at + 5), 0, "write", asked.clone(), Done::ok(asked).at(1, index));
        }
        hand
    }

    fn read(hand: &mut Hand, at: u64, value: i64, (written, index): (u64, u64), age: Option<i64>) {
        let done = Done::ok(Value::keyed(1, value)).at(1, index);
        let done = done.with("etag", format!("\"1-{written}\""));
        let done = if let Some(age) = age { done.with("age-ms", age) } else { done };
        hand.op((at, at + 2), 1, "read", Value::keyed(1, Value::Nil), done);
    }

    fn verdict(hand: &Hand) -> Verdict {
        StaleChecker.check(&hand.history(), Budget::default())
    }

    fn kinds(hand: &Hand) -> Vec<String> {
        verdict(hand).anomalies.into_iter().map(|anomaly| anomaly.kind).collect()
    }

    #[test]
    fn old_reads_that_say_so_are_fine() {
        let mut hand = written();
        read(&mut hand, 1100, 1, (3, 3), Some(150));
        read(&mut hand, 1200, 1, (3, 3), None);
        read(&mut hand, 1300, 2, (4, 7), Some(10));
        assert_eq!(verdict(&hand).validity, Validity::Valid, "{:?}", verdict(&hand));
        assert_eq!(verdict(&hand).figures["behind"], 2);
    }

    #[test]
    fn a_read_that_is_older_than_it_says_is_found() {
        let mut hand = written();
        read(&mut hand, 1100, 1, (3, 3), Some(50));
        assert_eq!(kinds(&hand), ["too-old"]);
    }

    #[test]
    fn a_bound_that_is_not_kept_is_found() {
        let mut hand = written();
        let done = Done::ok(Value::keyed(1, 1)).at(1, 3).with("etag", "\"1-3\"");
        let done = done.with("age-ms", 300).with("bound", 250);
        hand.op((1100, 1102), 1, "read", Value::keyed(1, Value::Nil), done);
        assert_eq!(kinds(&hand), ["bound-broken"]);
    }

    #[test]
    fn a_read_that_does_not_show_its_own_index_is_found() {
        let mut hand = written();
        read(&mut hand, 1100, 1, (3, 4), None);
        assert_eq!(kinds(&hand), ["wrong-at-index"]);
    }

    #[test]
    fn a_value_that_nobody_wrote_is_found() {
        let mut hand = written();
        read(&mut hand, 1100, 9, (4, 4), None);
        assert_eq!(kinds(&hand), ["unwritten"]);
    }

    #[test]
    fn a_value_under_another_writes_etag_is_found() {
        let mut hand = written();
        read(&mut hand, 1100, 1, (4, 4), None);
        assert_eq!(kinds(&hand), ["wrong-etag"]);
    }

    #[test]
    fn a_value_from_the_future_is_found() {
        let mut hand = Hand::default();
        let asked = Value::keyed(1, 1);
        hand.op((100, 105), 0, "write", asked, Done::info());
        read(&mut hand, 50, 1, (3, 3), None);
        assert_eq!(kinds(&hand), ["from-the-future"]);
    }
}
