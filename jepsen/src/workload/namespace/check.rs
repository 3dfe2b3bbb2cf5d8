//! Judges what was seen under names that come and go.
//!
//! Promises: the lives of a name are bounded by the answers to its making and its deletion; what is
//! between the question and the answer, and everything after an unanswered one, accuses nobody.

use std::collections::BTreeMap;

use serde_json::json;

use super::super::finding::{Findings, at, ended, shows, text};
use crate::checker::{Budget, Checker};
use crate::history::{History, Kind, Operation, Value};
use crate::verdict::Verdict;

/// Judges `namespace` histories.
#[derive(Debug)]
pub(super) struct NamespaceChecker;

/// Everything about one name.
#[derive(Debug, Default)]
struct Story<'a> {
    /// Makings and deletions that took effect or may have, in their order.
    turns: Vec<Operation<'a>>,
    /// Reads and writes, whatever became of them.
    uses: Vec<Operation<'a>>,
}

impl Checker for NamespaceChecker {
    fn name(&self) -> &'static str {
        "namespace"
    }

    fn check(&self, history: &History, _: Budget) -> Verdict {
        let operations = history.operations();
        let mut stories: BTreeMap<&str, Story<'_>> = BTreeMap::new();
        for operation in &operations {
            let asked = &operation.invoke.value;
            let Some(name) = asked.as_text().or_else(|| text(asked, 0)) else { continue };
            let story = stories.entry(name).or_default();
            match operation.invoke.f.as_str() {
                "create" | "delete" if operation.kind() != Kind::Fail => {
                    story.turns.push(*operation);
                }
                "read" | "write" => story.uses.push(*operation),
                _ => {}
            }
        }
        let mut findings = Findings::default();
        for (name, story) in &stories {
            story.existence(name, &mut findings);
            story.contents(name, &mut findings);
        }
        let turns: usize = stories.values().map(|story| story.turns.len()).sum();
        let uses: usize = stories.values().map(|story| story.uses.len()).sum();
        let figures = json!({ "names": stories.len(), "turns": turns, "uses": uses });
        let fine = "every name showed what was written in its present life, and nothing else";
        findings.verdict(self.name(), u64::try_from(turns).unwrap_or(u64::MAX), fine, figures)
    }
}

fn error<'a>(operation: &Operation<'a>) -> Option<&'a str> {
    operation.complete?.error.as_deref()
}

/// Whether an operation lies wholly between two others.
fn between(use_: &Operation<'_>, before: &Operation<'_>, after: Option<&Operation<'_>>) -> bool {
    ended(before) < use_.invoke.time && after.is_none_or(|after| ended(use_) < after.invoke.time)
}

impl<'a> Story<'a> {
    /// A name is there from its making to its deletion, and not after.
    fn existence(&self, name: &str, findings: &mut Findings) {
        for (place, turn) in self.turns.iter().enumerate() {
            if turn.kind() != Kind::Ok {
                return;
            }
            let next = self.turns.get(place + 1);
            for use_ in self.uses.iter().filter(|use_| between(use_, turn, next)) {
                let no_name = error(use_) == Some("namespace_not_found");
                if turn.invoke.f == "create" && no_name {
                    let words = format!("namespace {name} was made, and is not there");
                    findings.add("not-there", words, shows([turn, use_]));
                }
                // A key that is missing is missing in a namespace that is there.
                let there = use_.kind() == Kind::Ok;
                if turn.invoke.f == "delete" && there {
                    let words = format!("namespace {name} was deleted, and still answers");
                    findings.add("alive-after-deletion", words, shows([turn, use_]));
                }
            }
        }
    }

    fn contents(&self, name: &str, findings: &mut Findings) {
        let mut writes: BTreeMap<&str, &Operation<'a>> = BTreeMap::new();
        for write in self.uses.iter().filter(|write| write.invoke.f == "write") {
            if let Some(key) = text(&write.invoke.value, 1) {
                writes.insert(key, write);
            }
        }
        for read in self.uses.iter().filter(|read| read.invoke.f == "read") {
            let Some(answer) = read.complete.filter(|event| event.kind == Kind::Ok) else {
                continue;
            };
            let Some(key) = text(&answer.value, 1) else { continue };
            let there = *at(&answer.value, 2) == Value::Bool(true);
            match writes.get(key) {
                Some(write) if there => self.seen(name, (key, write, read), findings),
                Some(write) => self.missing(name, (key, write, read), findings),
                None if there => {
                    let words = format!("nobody wrote key {key} of namespace {name}");
                    findings.add("unwritten", words, shows([read]));
                }
                None => {}
            }
        }
    }

    /// A key that is there was not written in an earlier life, and did not certainly fail.
    fn seen(
        &self,
        name: &str,
        (key, write, read): (&str, &Operation<'a>, &Operation<'a>),
        findings: &mut Findings,
    ) {
        if write.kind() == Kind::Fail || write.invoke.time > ended(read) {
            let words = format!("key {key} of namespace {name} was not written when it was read");
            findings.add("unwritten", words, shows([write, read]));
        }
        // An unanswered write may arrive in a later life.
        let ghost = self.turns.iter().find(|turn| {
            turn.invoke.f == "delete"
                && turn.kind() == Kind::Ok
                && write.kind() == Kind::Ok
                && ended(write) < turn.invoke.time
                && ended(turn) < read.invoke.time
        });
        if let Some(deletion) = ghost {
            let words = format!(
                "key {key} was written in namespace {name} before it was deleted, and is there after"
            );
            findings.add("ghost", words, shows([write, deletion, read]));
        }
    }

    /// A key that was written in the present life is there.
    fn missing(
        &self,
        name: &str,
        (key, write, read): (&str, &Operation<'a>, &Operation<'a>),
        findings: &mut Findings,
    ) {
        if write.kind() != Kind::Ok || ended(write) >= read.invoke.time {
            return;
        }
        let life = self.turns.iter().rev().find(|turn| ended(turn) < write.invoke.time);
        let Some(life) = life.filter(|turn| turn.invoke.f == "create") else { return };
        // Deletions of before may still be on their way only when nobody answered them.
        let deleted = self.turns.iter().any(|turn| {
            turn.invoke.f == "delete"
                && turn.invoke.time < ended(read)
                && (turn.kind() != Kind::Ok || turn.invoke.time > life.invoke.time)
        });
        if !deleted {
            let words = format!("key {key} was written in namespace {name}, and is not there");
            findings.add("lost", words, shows([write, read]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::hand::{Done, Hand, list};
    use super::*;
    use crate::verdict::Validity;

    fn turn(hand: &mut Hand, at: u64, f: &str, done: Done) {
        hand.op((at, at + 5), 0, f, "n".into(), done);
    }

    fn key() -> Value {
        list(["n".into(), "k".into()])
    }

    fn write(hand: &mut Hand, at: u64, done: Done) {
        hand.op((at, at + 5), 1, "write", key(), done);
    }

    fn read(hand: &mut Hand, at: u64, there: bool) {
        let answer = list(["n".into(), "k".into(), there.into()]);
        hand.op((at, at + 5), 2, "read", key(), Done::ok(answer));
    }

    fn fine() -> Done {
        Done::ok(Value::Nil)
    }

    /// Made at 0, written at 10, deleted at 100, made again at 200.
    fn twice() -> Hand {
        let mut hand = Hand::default();
        turn(&mut hand, 0, "create", fine());
        write(&mut hand, 10, fine());
        turn(&mut hand, 100, "delete", fine());
        turn(&mut hand, 200, "create", fine());
        hand
    }

    fn kinds(hand: &Hand) -> Vec<String> {
        let verdict = NamespaceChecker.check(&hand.history(), Budget::default());
        verdict.anomalies.into_iter().map(|anomaly| anomaly.kind).collect()
    }

    #[test]
    fn a_name_that_begins_anew_is_fine() {
        let mut hand = twice();
        read(&mut hand, 50, true);
        hand.op((150, 155), 2, "read", key(), Done::fail("namespace_not_found"));
        read(&mut hand, 210, false);
        let verdict = NamespaceChecker.check(&hand.history(), Budget::default());
        assert_eq!(verdict.validity, Validity::Valid, "{verdict:?}");
    }

    #[test]
    fn what_was_there_before_the_deletion_is_a_ghost() {
        let mut hand = twice();
        read(&mut hand, 210, true);
        assert_eq!(kinds(&hand), ["ghost"]);
    }

    #[test]
    fn an_acknowledged_write_that_is_not_there_is_lost() {
        let mut hand = twice();
        read(&mut hand, 50, false);
        assert_eq!(kinds(&hand), ["lost"]);
    }

    #[test]
    fn a_deleted_name_that_answers_is_found() {
        let mut hand = twice();
        read(&mut hand, 150, false);
        assert_eq!(kinds(&hand), ["alive-after-deletion"]);
    }

    #[test]
    fn a_name_that_was_made_and_is_not_there_is_found() {
        let mut hand = twice();
        hand.op((50, 55), 2, "read", key(), Done::fail("namespace_not_found"));
        assert_eq!(kinds(&hand), ["not-there"]);
    }

    #[test]
    fn a_write_that_certainly_failed_must_not_be_seen() {
        let mut hand = Hand::default();
        turn(&mut hand, 0, "create", fine());
        write(&mut hand, 10, Done::fail("unavailable"));
        read(&mut hand, 50, true);
        assert_eq!(kinds(&hand), ["unwritten"]);
    }

    #[test]
    fn an_unanswered_deletion_excuses_what_follows() {
        let mut hand = Hand::default();
        turn(&mut hand, 0, "create", fine());
        write(&mut hand, 10, fine());
        turn(&mut hand, 20, "delete", Done::info());
        read(&mut hand, 50, false);
        assert_eq!(kinds(&hand), Vec::<String>::new());
    }
}
