//! Judges locks by their fencing tokens, and by the time that each holder surely had.
//!
//! Promises: only certain answers count. A holder surely holds from the answer to its acquisition
//! until its ttl after the last answered renewal was *asked for*, or until it began to give up.

use std::collections::BTreeMap;

use serde_json::json;

use super::super::finding::{Findings, at, ended, number, shows, text};
use crate::checker::{Budget, Checker};
use crate::history::{History, Kind, Operation, Value};
use crate::verdict::Verdict;

const NANOS_PER_MS: u64 = 1_000_000;

/// Judges `lock` histories.
#[derive(Debug)]
pub(super) struct LockChecker;

/// One answered acquisition.
#[derive(Debug)]
struct Hold<'a> {
    token: u64,
    acquired: Operation<'a>,
    /// Until then it surely held the lock.
    until: u64,
}

/// Everything about one lock.
#[derive(Debug, Default)]
struct Story<'a> {
    holds: Vec<Hold<'a>>,
    /// Tokens that were certainly given out, with what shows it.
    looks: Vec<(Option<u64>, Operation<'a>)>,
    /// Writes that the register took.
    writes: Vec<(u64, Operation<'a>)>,
    reads: Vec<(u64, Operation<'a>)>,
}

impl Checker for LockChecker {
    fn name(&self) -> &'static str {
        "lock"
    }

    fn check(&self, history: &History, _: Budget) -> Verdict {
        let operations = history.operations();
        let stories = tell(&operations);
        let mut findings = Findings::default();
        for (lock, story) in &stories {
            story.tokens(*lock, &mut findings);
            story.holders(*lock, &mut findings);
            story.register(*lock, &mut findings);
        }
        let holds: usize = stories.values().map(|story| story.holds.len()).sum();
        let figures = json!({
            "locks": stories.len(),
            "acquired": holds,
            "register_writes": stories.values().map(|story| story.writes.len()).sum::<usize>(),
        });
        let fine =
            "tokens grew, no two held a lock at once, and the register took no smaller token";
        let judged = u64::try_from(holds).unwrap_or(u64::MAX);
        findings.verdict(self.name(), judged, fine, figures)
    }
}

fn tell<'a>(operations: &[Operation<'a>]) -> BTreeMap<i64, Story<'a>> {
    let mut stories: BTreeMap<i64, Story<'a>> = BTreeMap::new();
    for operation in operations.iter().copied() {
        let Some(lock) = at(&operation.invoke.value, 0).as_int() else { continue };
        let Some(complete) = operation.complete.filter(|event| event.kind == Kind::Ok) else {
            continue;
        };
        let story = stories.entry(lock).or_default();
        let token = number(&complete.value, 1);
        match (operation.invoke.f.as_str(), token) {
            ("acquire", Some(token)) => {
                let ttl = number(&complete.value, 3).unwrap_or(0) * NANOS_PER_MS;
                let lease = text(&complete.value, 2).unwrap_or_default();
                let until = held_until(operations, &operation, (lock, token, lease), ttl);
                story.holds.push(Hold { token, acquired: operation, until });
            }
            ("look", token) => story.looks.push((token, operation)),
            ("write", Some(token)) if *at(&complete.value, 2) == Value::Bool(true) => {
                story.writes.push((token, operation));
            }
            ("read", Some(token)) => story.reads.push((token, operation)),
            _ => {}
        }
    }
    stories
}

/// The moment to which a holder surely held its lock.
fn held_until(
    operations: &[Operation<'_>],
    acquired: &Operation<'_>,
    (lock, token, lease): (i64, u64, &str),
    ttl: u64,
) -> u64 {
    let mut until = acquired.invoke.time + ttl;
    let mut given_up = u64::MAX;
    for operation in operations {
        let asked = &operation.invoke.value;
        let kind = operation.kind();
        match operation.invoke.f.as_str() {
            "renew" if kind == Kind::Ok && text(asked, 2) == Some(lease) => {
                until = until.max(operation.invoke.time + ttl);
            }
            "release"
                if kind != Kind::Fail
                    && at(asked, 0).as_int() == Some(lock)
                    && number(asked, 1) == Some(token) =>
            {
                given_up = given_up.min(operation.invoke.time);
            }
            _ => {}
        }
    }
    until.min(given_up)
}

/// Of items in the order of their completion, each with the larger before it in real time: calls
/// `found` for every item that began after one with a larger token had ended.
fn shrinking<'b, 'a>(
    items: impl Iterator<Item = (u64, &'b Operation<'a>)>,
    mut found: impl FnMut((u64, &'b Operation<'a>), (u64, &'b Operation<'a>)),
) where
    'a: 'b,
{
    let items: Vec<_> = items.collect();
    let mut by_end = items.clone();
    by_end.sort_by_key(|(_, operation)| ended(operation));
    let mut by_begin = items;
    by_begin.sort_by_key(|(_, operation)| operation.invoke.time);
    let mut ends = by_end.into_iter().peekable();
    let mut largest: Option<(u64, &'b Operation<'a>)> = None;
    for item in by_begin {
        while let Some(before) = ends.next_if(|(_, end)| ended(end) < item.1.invoke.time) {
            if largest.is_none_or(|(token, _)| token < before.0) {
                largest = Some(before);
            }
        }
        if let Some(largest) = largest
            && largest.0 > item.0
        {
            found(largest, item);
        }
    }
}

impl<'a> Story<'a> {
    /// Tokens are given out once and grow, by the clock and by the group's order.
    fn tokens(&self, lock: i64, findings: &mut Findings) {
        let mut by_token: BTreeMap<u64, &Hold<'a>> = BTreeMap::new();
        for hold in &self.holds {
            if let Some(other) = by_token.insert(hold.token, hold) {
                let words = format!("token {} of lock {lock} was given out twice", hold.token);
                findings.add("token-twice", words, shows([&other.acquired, &hold.acquired]));
            }
        }
        // What a look shows was given out before it ended, so that it counts like an acquisition.
        let given = self.holds.iter().map(|hold| (hold.token, &hold.acquired));
        let shown = self.looks.iter().filter_map(|(token, look)| Some(((*token)?, look)));
        shrinking(given.chain(shown), |(larger, before), (smaller, after)| {
            let words =
                format!("lock {lock} was held with token {larger}, and later with {smaller}");
            findings.add("token-went-back", words, shows([before, after]));
        });
        let mut placed: Vec<(u64, &Hold<'a>)> = self
            .holds
            .iter()
            .filter_map(|hold| Some((hold.acquired.complete?.witness?.index, hold)))
            .collect();
        placed.sort_by_key(|(index, _)| *index);
        for (before, after) in placed.iter().zip(placed.iter().skip(1)) {
            if before.0 < after.0 && before.1.token > after.1.token {
                let words = format!(
                    "lock {lock} gave token {} at index {} and the smaller {} at {}",
                    before.1.token, before.0, after.1.token, after.0
                );
                let shown = shows([&before.1.acquired, &after.1.acquired]);
                findings.add("token-went-back", words, shown);
            }
        }
    }

    /// Nobody gets the lock, or is shown with it, while another surely holds it.
    fn holders(&self, lock: i64, findings: &mut Findings) {
        let mut holds: Vec<&Hold<'a>> = self.holds.iter().collect();
        holds.sort_by_key(|hold| hold.token);
        for (before, after) in holds.iter().zip(holds.iter().skip(1)) {
            // Tokens that shrink are found elsewhere; here the smaller one came first.
            let in_order =
                before.token < after.token && before.acquired.invoke.time < ended(&after.acquired);
            if in_order && ended(&after.acquired) < before.until {
                let words = format!(
                    "lock {lock} was given to token {} while token {} surely held it",
                    after.token, before.token
                );
                findings.add("two-holders", words, shows([&before.acquired, &after.acquired]));
            }
        }
        for (token, look) in &self.looks {
            let wrong = self.holds.iter().find(|hold| {
                ended(&hold.acquired) < look.invoke.time
                    && ended(look) < hold.until
                    && *token != Some(hold.token)
            });
            if let Some(hold) = wrong {
                let words = format!(
                    "lock {lock} shows {token:?} while token {} surely held it",
                    hold.token
                );
                findings.add("lost-hold", words, shows([&hold.acquired, look]));
            }
        }
    }

    /// The register behind the lock never takes a smaller token after a larger one.
    fn register(&self, lock: i64, findings: &mut Findings) {
        let writes = || self.writes.iter().map(|(token, write)| (*token, write));
        shrinking(writes(), |(larger, before), (smaller, after)| {
            let words = format!("register {lock} took token {smaller} after {larger}");
            findings.add("fenced-write-accepted", words, shows([before, after]));
        });
        let mut placed: Vec<(u64, u64, &Operation<'a>)> = self
            .writes
            .iter()
            .filter_map(|(token, write)| Some((write.complete?.witness?.index, *token, write)))
            .collect();
        placed.sort_by_key(|(index, ..)| *index);
        for (before, after) in placed.iter().zip(placed.iter().skip(1)) {
            if before.1 > after.1 {
                let words = format!(
                    "register {lock} took token {} at index {} after {} at {}",
                    after.1, after.0, before.1, before.0
                );
                findings.add("fenced-write-accepted", words, shows([before.2, after.2]));
            }
        }
        let reads = self.reads.iter().map(|(token, read)| (*token, read));
        shrinking(writes().chain(reads), |(larger, before), (smaller, after)| {
            if after.invoke.f == "read" {
                let words = format!("register {lock} showed {smaller} after {larger}");
                findings.add("register-went-back", words, shows([before, after]));
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::hand::{Done, Hand, list};
    use super::*;
    use crate::verdict::Validity;

    fn acquire(hand: &mut Hand, span: (u64, u64), process: u64, token: i64) {
        let lease = format!("L{token}");
        let answer = list([0.into(), token.into(), lease.into(), 2000.into()]);
        hand.op(span, process, "acquire", list([0.into(), 0.into()]), Done::ok(answer));
    }

    fn on(hand: &mut Hand, span: (u64, u64), process: u64, f: &str, token: Option<i64>) {
        let value = list([0.into(), token.into()]);
        hand.op(span, process, f, value.clone(), Done::ok(value));
    }

    fn write(hand: &mut Hand, span: (u64, u64), process: u64, token: i64, index: u64) {
        let answer = list([0.into(), token.into(), true.into()]);
        let asked = list([0.into(), token.into()]);
        hand.op(span, process, "write", asked, Done::ok(answer).at(1, index));
    }

    fn verdict(hand: &Hand) -> Verdict {
        LockChecker.check(&hand.history(), Budget::default())
    }

    fn kinds(hand: &Hand) -> Vec<String> {
        verdict(hand).anomalies.into_iter().map(|anomaly| anomaly.kind).collect()
    }

    #[test]
    fn holders_one_after_the_other_are_fine() {
        let mut hand = Hand::default();
        acquire(&mut hand, (0, 5), 0, 3);
        write(&mut hand, (6, 8), 0, 3, 10);
        on(&mut hand, (7, 9), 1, "look", Some(3));
        on(&mut hand, (100, 105), 0, "release", Some(3));
        acquire(&mut hand, (102, 110), 1, 5);
        write(&mut hand, (111, 112), 1, 5, 12);
        on(&mut hand, (120, 121), 0, "read", Some(5));
        // Its lease was never renewed: the next one comes after the ttl.
        acquire(&mut hand, (2200, 2210), 2, 6);
        assert_eq!(verdict(&hand).validity, Validity::Valid, "{:?}", verdict(&hand));
    }

    #[test]
    fn a_lock_that_is_given_away_too_early_has_two_holders() {
        let mut hand = Hand::default();
        acquire(&mut hand, (0, 5), 0, 3);
        let renewed = list([0.into(), 3.into(), "L3".into()]);
        hand.op((1000, 1005), 0, "renew", renewed, Done::ok(Value::Nil));
        acquire(&mut hand, (2500, 2510), 1, 5);
        assert_eq!(kinds(&hand), ["two-holders"]);
    }

    #[test]
    fn a_token_that_is_given_out_twice_is_found() {
        let mut hand = Hand::default();
        acquire(&mut hand, (0, 5), 0, 3);
        acquire(&mut hand, (3000, 3005), 1, 3);
        assert_eq!(kinds(&hand), ["token-twice"]);
    }

    #[test]
    fn a_token_that_shrinks_is_found() {
        let mut hand = Hand::default();
        acquire(&mut hand, (0, 5), 0, 3);
        acquire(&mut hand, (3000, 3005), 1, 2);
        assert_eq!(kinds(&hand), ["token-went-back"]);
    }

    #[test]
    fn a_holder_that_is_not_shown_has_lost_its_lock() {
        let mut hand = Hand::default();
        acquire(&mut hand, (0, 5), 0, 3);
        on(&mut hand, (10, 12), 1, "look", None);
        assert_eq!(kinds(&hand), ["lost-hold"]);
    }

    #[test]
    fn a_register_that_takes_a_smaller_token_is_found() {
        let mut hand = Hand::default();
        acquire(&mut hand, (0, 5), 0, 3);
        acquire(&mut hand, (2500, 2505), 1, 4);
        write(&mut hand, (2600, 2610), 1, 4, 10);
        write(&mut hand, (2605, 2620), 0, 3, 11);
        assert_eq!(kinds(&hand), ["fenced-write-accepted"]);
    }

    #[test]
    fn a_register_that_goes_back_is_found() {
        let mut hand = Hand::default();
        acquire(&mut hand, (0, 5), 0, 3);
        write(&mut hand, (10, 20), 0, 3, 10);
        on(&mut hand, (30, 31), 1, "read", Some(0));
        assert_eq!(kinds(&hand), ["register-went-back"]);
    }
}
