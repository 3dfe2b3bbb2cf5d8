//! Judges how long leases lived, and what hung on them.
//!
//! Promises: only certain answers count, and each for the shortest life that it proves: a grant or
//! renewal that was answered proves that the lease lives at least its ttl from the moment it was
//! *asked for*. A lease must not be gone within that time, must not come back, and must have ended
//! when everything has settled; its keys likewise.

use std::collections::BTreeMap;

use serde_json::json;

use super::super::finding::{Findings, at, shows, text};
use crate::checker::{Budget, Checker};
use crate::history::{History, Kind, Operation, Value};
use crate::verdict::Verdict;

const NANOS_PER_MS: u64 = 1_000_000;

/// Judges `lease` histories.
#[derive(Debug)]
pub(super) struct LeaseChecker;

/// Everything about one lease.
#[derive(Debug, Default)]
struct Story<'a> {
    ttl: u64,
    /// Answered grants and renewals.
    renewed: Vec<Operation<'a>>,
    /// Answers that show that it lived: the lease itself.
    alive: Vec<Operation<'a>>,
    /// Answers that show that it was gone.
    gone: Vec<Operation<'a>>,
    /// Requests that may have ended it.
    ends: Vec<Operation<'a>>,
    keys: BTreeMap<String, Key<'a>>,
    /// The answer at the end, and whether it was still there.
    settled: Option<(Operation<'a>, bool)>,
}

/// Everything about one key.
#[derive(Debug, Default)]
struct Key<'a> {
    attached: Option<Operation<'a>>,
    there: Vec<Operation<'a>>,
    absent: Vec<Operation<'a>>,
}

impl Checker for LeaseChecker {
    fn name(&self) -> &'static str {
        "lease"
    }

    fn check(&self, history: &History, _: Budget) -> Verdict {
        let operations = history.operations();
        let (stories, leftovers) = tell(&operations);
        let mut findings = Findings::default();
        for (lease, story) in &stories {
            story.judge(lease, &mut findings);
        }
        if let Some(leftovers) = leftovers.and_then(|operation| operation.complete) {
            for key in leftovers.value.as_list().unwrap_or_default() {
                let lease = stories.iter().find(|(_, story)| {
                    key.as_text().is_some_and(|key| story.keys.contains_key(key))
                });
                let words = format!("key {key} of {:?} never vanished", lease.map(|(id, _)| id));
                findings.add("orphan-key", words, [leftovers.index]);
            }
        }
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let figures = json!({
            "leases": stories.len(),
            "renewals": stories.values().map(|story| story.renewed.len()).sum::<usize>(),
            "keys": stories.values().map(|story| story.keys.len()).sum::<usize>(),
            "seen_gone": stories.values().map(|story| story.gone.len()).sum::<usize>(),
            "settled": leftovers.is_some(),
        });
        let judged = if leftovers.is_some() { count(stories.len()) } else { 0 };
        let fine = "no lease ended early, outlived its time or came back, and no key did";
        findings.verdict(self.name(), judged, fine, figures)
    }
}

/// Sorts the answers by lease.
fn tell<'a>(operations: &[Operation<'a>]) -> (BTreeMap<String, Story<'a>>, Option<Operation<'a>>) {
    let mut stories: BTreeMap<String, Story<'a>> = BTreeMap::new();
    let mut leftovers = None;
    for operation in operations.iter().copied() {
        let asked = &operation.invoke.value;
        let lease = asked.as_text().or_else(|| text(asked, 0)).unwrap_or_default().to_owned();
        let not_found = operation.kind() == Kind::Fail
            && operation.complete.and_then(|event| event.error.as_deref())
                == Some("lease_not_found");
        let ok = operation.kind() == Kind::Ok;
        let answer = operation.complete.map_or(&Value::Nil, |event| &event.value);
        match operation.invoke.f.as_str() {
            "grant" if ok => {
                let story = stories.entry(text(answer, 0).unwrap_or_default().into()).or_default();
                story.ttl = super::super::finding::number(answer, 1).unwrap_or(0);
                story.renewed.push(operation);
                story.alive.push(operation);
            }
            "renew" if ok => {
                let story = stories.entry(lease).or_default();
                story.renewed.push(operation);
                story.alive.push(operation);
            }
            "renew" if not_found => stories.entry(lease).or_default().gone.push(operation),
            "end" => {
                let story = stories.entry(lease).or_default();
                if ok || not_found {
                    story.gone.push(operation);
                }
                if operation.kind() != Kind::Fail {
                    story.ends.push(operation);
                }
            }
            "look" if ok => {
                let story = stories.entry(lease).or_default();
                let there = *at(answer, 1) == Value::Bool(true);
                if there { &mut story.alive } else { &mut story.gone }.push(operation);
            }
            "attach" if ok || not_found => {
                let story = stories.entry(lease).or_default();
                if not_found {
                    story.gone.push(operation);
                } else {
                    story.alive.push(operation);
                    let key = text(asked, 1).unwrap_or_default().to_owned();
                    story.keys.entry(key).or_default().attached = Some(operation);
                }
            }
            "read" if ok => {
                let story = stories.entry(lease).or_default();
                let key = story.keys.entry(text(asked, 1).unwrap_or_default().into()).or_default();
                let there = *at(answer, 2) == Value::Bool(true);
                if there { &mut key.there } else { &mut key.absent }.push(operation);
            }
            "settle" if ok => {
                for item in answer.as_list().unwrap_or_default() {
                    let story =
                        stories.entry(text(item, 0).unwrap_or_default().into()).or_default();
                    story.settled = Some((operation, *at(item, 1) == Value::Bool(true)));
                }
            }
            "leftovers" if ok => leftovers = Some(operation),
            _ => {}
        }
    }
    (stories, leftovers)
}

/// When it ended; only for operations that have an answer.
fn complete_time(operation: &Operation<'_>) -> u64 {
    super::super::finding::ended(operation)
}

impl<'a> Story<'a> {
    fn judge(&self, lease: &str, findings: &mut Findings) {
        for gone in &self.gone {
            self.too_early(lease, "the lease", gone, findings);
            if let Some(back) = later(&self.alive, gone) {
                let words = format!("lease {lease} was gone, and alive again later");
                findings.add("came-back", words, shows([gone, back]));
            }
        }
        for (name, key) in &self.keys {
            self.judge_key(lease, name, key, findings);
        }
        if let Some((settled, true)) = &self.settled {
            let words = format!("lease {lease} never ended, long after nobody renewed it any more");
            findings.add("outlived", words, shows([settled]));
        }
    }

    fn judge_key(&self, lease: &str, name: &str, key: &Key<'a>, findings: &mut Findings) {
        for absent in &key.absent {
            let after = |operation: &&Operation<'a>| complete_time(operation) < absent.invoke.time;
            // Before it was surely there its absence says nothing.
            let surely = key.attached.as_ref().filter(after);
            let surely = surely.or_else(|| key.there.iter().find(after));
            let Some(surely) = surely else { continue };
            self.too_early(lease, &format!("key {name}"), absent, findings);
            if let Some(back) = later(&key.there, absent) {
                let words = format!("key {name} of lease {lease} vanished and came back");
                findings.add("resurrected", words, shows([surely, absent, back]));
            }
        }
    }

    /// Whether something was gone at a time to which the lease surely had to live.
    fn too_early(&self, lease: &str, what: &str, gone: &Operation<'a>, findings: &mut Findings) {
        let seen = complete_time(gone);
        if self.ends.iter().any(|end| end.invoke.time < seen) {
            return;
        }
        let broken = self.renewed.iter().find(|renewal| {
            let until = renewal.invoke.time + self.ttl * NANOS_PER_MS;
            renewal.invoke.time < seen && seen < until
        });
        if let Some(renewal) = broken {
            let after = (seen - renewal.invoke.time) / NANOS_PER_MS;
            let words = format!(
                "{what} of lease {lease} was gone {after} ms after a renewal was asked for that was \
                 answered; its ttl is {} ms",
                self.ttl
            );
            findings.add("ended-early", words, shows([renewal, gone]));
        }
    }
}

/// The first of these operations that began after another had ended.
fn later<'b, 'a>(
    operations: &'b [Operation<'a>],
    than: &Operation<'a>,
) -> Option<&'b Operation<'a>> {
    operations.iter().find(|operation| operation.invoke.time > complete_time(than))
}

#[cfg(test)]
mod tests {
    use super::super::super::hand::{Done, Hand, list};
    use super::*;
    use crate::verdict::Validity;

    /// A lease of two seconds from 0 that is renewed at 1000.
    fn lease() -> Hand {
        let mut hand = Hand::default();
        let key = || list(["L".into(), "k1".into()]);
        hand.op((0, 5), 0, "grant", Value::Nil, Done::ok(Value::keyed("L", 2000)))
            .op((10, 15), 0, "attach", key(), Done::ok(key()))
            .op((1000, 1005), 0, "renew", "L".into(), Done::ok("L".into()));
        hand
    }

    fn read(hand: &mut Hand, from: u64, there: bool) {
        let asked = list(["L".into(), "k1".into()]);
        let answer = list(["L".into(), "k1".into(), there.into()]);
        hand.op((from, from + 5), 1, "read", asked, Done::ok(answer));
    }

    fn look(hand: &mut Hand, from: u64, there: bool) {
        let answer = list(["L".into(), there.into()]);
        hand.op((from, from + 5), 2, "look", "L".into(), Done::ok(answer));
    }

    fn verdict(mut hand: Hand, there: bool, left: &[&str]) -> Verdict {
        let leases = list([list(["L".into(), there.into()])]);
        hand.op((60_000, 60_005), 0, "settle", Value::Nil, Done::ok(leases));
        let left = list(left.iter().map(|key| Value::from(*key)));
        hand.op((60_010, 60_015), 0, "leftovers", Value::Nil, Done::ok(left));
        LeaseChecker.check(&hand.history(), Budget::default())
    }

    fn kinds(verdict: &Verdict) -> Vec<&str> {
        verdict.anomalies.iter().map(|anomaly| anomaly.kind.as_str()).collect()
    }

    #[test]
    fn a_lease_that_ends_after_its_time_is_fine() {
        let mut hand = lease();
        read(&mut hand, 2900, true);
        read(&mut hand, 3100, false);
        look(&mut hand, 3200, false);
        let verdict = verdict(hand, false, &[]);
        assert_eq!(verdict.validity, Validity::Valid, "{verdict:?}");
    }

    #[test]
    fn a_key_that_vanishes_before_its_lease_may_end_is_found() {
        let mut hand = lease();
        read(&mut hand, 2900, false);
        assert_eq!(kinds(&verdict(hand, false, &[])), ["ended-early"]);
    }

    #[test]
    fn a_lease_that_is_gone_early_is_found() {
        let mut hand = lease();
        look(&mut hand, 2900, false);
        assert_eq!(kinds(&verdict(hand, false, &[])), ["ended-early"]);
    }

    #[test]
    fn a_lease_that_somebody_ended_may_be_gone() {
        let mut hand = lease();
        hand.op((2000, 2005), 3, "end", "L".into(), Done::info());
        read(&mut hand, 2900, false);
        assert_eq!(verdict(hand, false, &[]).validity, Validity::Valid);
    }

    #[test]
    fn a_renewal_that_nobody_answered_proves_nothing() {
        let mut hand = lease();
        hand.op((2500, 2505), 3, "renew", "L".into(), Done::info());
        look(&mut hand, 3100, false);
        assert_eq!(verdict(hand, false, &[]).validity, Validity::Valid);
    }

    #[test]
    fn a_lease_that_comes_back_is_found() {
        let mut hand = lease();
        look(&mut hand, 3100, false);
        hand.op((3200, 3205), 3, "renew", "L".into(), Done::ok("L".into()));
        assert!(kinds(&verdict(hand, false, &[])).contains(&"came-back"));
    }

    #[test]
    fn a_key_that_comes_back_is_found() {
        let mut hand = lease();
        read(&mut hand, 3100, false);
        read(&mut hand, 3200, true);
        assert_eq!(kinds(&verdict(hand, false, &[])), ["resurrected"]);
    }

    #[test]
    fn a_lease_that_never_ends_is_found() {
        assert_eq!(kinds(&verdict(lease(), true, &[])), ["outlived"]);
    }

    #[test]
    fn a_key_that_stays_without_its_lease_is_found() {
        assert_eq!(kinds(&verdict(lease(), false, &["k1"])), ["orphan-key"]);
    }

    #[test]
    fn without_the_end_nothing_is_proved() {
        let verdict = LeaseChecker.check(&lease().history(), Budget::default());
        assert_eq!(verdict.validity, Validity::Unknown);
    }
}
