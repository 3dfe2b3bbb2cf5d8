//! Anomalies of a register, in words.
//!
//! Promises: names every operation by its events' indices, and says what would have had to be true.

use super::ops::{Action, NIL, OPEN, Op, Register, Val};
use super::witness::Contradiction;
use crate::history::{Event, History, Process, Value};
use crate::verdict::Anomaly;

/// Operations that are told in full; more are counted.
const TOLD: usize = 20;

/// What the smallest failing part of a key's history shows.
pub(super) fn anomaly(history: &History, register: &Register, kept: &[Op]) -> Anomaly {
    let teller = Teller { history, register };
    let mut observers: Vec<&Op> =
        kept.iter().filter(|op| op.ret != OPEN && op.action.observes().is_some()).collect();
    observers.sort_by_key(|op| std::cmp::Reverse(op.ret));
    let (kind, why) =
        observers.iter().find_map(|op| teller.reason(op, kept)).unwrap_or_else(|| {
            let why = "no order of these operations gives every answer that was given".to_owned();
            ("not-linearizable", why)
        });
    let mut words = format!("{}{why}. The operations that show it:", teller.where_it_is());
    for op in kept.iter().take(TOLD) {
        words.push_str(&format!("\n  {}", teller.told(op)));
    }
    if kept.len() > TOLD {
        words.push_str(&format!("\n  and {} more", kept.len() - TOLD));
    }
    Anomaly { kind: kind.to_owned(), words, events: teller.events(kept) }
}

/// What a claim of the server shows that is impossible.
pub(super) fn false_claim(
    history: &History,
    register: &Register,
    (op, with): (Op, Option<Op>),
    why: Contradiction,
) -> Anomaly {
    let teller = Teller { history, register };
    let index = |op: &Op| {
        op.witness.map_or_else(String::new, |witness| {
            format!(" (index {} of group {})", witness.index, witness.group)
        })
    };
    let mut words = format!("{}the server's own order is impossible: ", teller.where_it_is());
    words.push_str(&teller.told(&op));
    words.push_str(&index(&op));
    match (why, with) {
        (Contradiction::Value(held), with) => {
            words.push_str(&format!(
                ", but at that index the register held {}",
                register.show(held)
            ));
            if let Some(with) = with {
                words.push_str(&format!(", left by: {}{}", teller.told(&with), index(&with)));
            }
        }
        (Contradiction::RealTime, Some(with)) => words.push_str(&format!(
            ", and had returned before another began that stands before it: {}{}",
            teller.told(&with),
            index(&with)
        )),
        (Contradiction::RealTime, None) => {}
    }
    let ops: Vec<Op> = std::iter::once(op).chain(with).collect();
    Anomaly { kind: "false-witness".to_owned(), words, events: teller.events(&ops) }
}

struct Teller<'a> {
    history: &'a History,
    register: &'a Register,
}

impl Teller<'_> {
    fn where_it_is(&self) -> String {
        match &self.register.key {
            Value::Nil => String::new(),
            key => format!("key {key}: "),
        }
    }

    /// Why an operation cannot have seen what it saw, if there is a short reason.
    fn reason(&self, op: &Op, kept: &[Op]) -> Option<(&'static str, String)> {
        let value = op.action.observes()?;
        let shown = self.register.show(value);
        let who = self.named(op);
        let wrote = |op: &&Op| op.action.produces() == Some(value);
        let writers: Vec<&Op> =
            self.register.ops.iter().filter(wrote).filter(|other| other.call != op.call).collect();
        if value != NIL && writers.is_empty() {
            let failed = self.register.failed.iter().find(wrote);
            return Some(match failed {
                Some(failed) => {
                    let by = self.named(failed);
                    (
                        "aborted-read",
                        format!("{who} saw {shown}, which only {by} wrote, and failed"),
                    )
                }
                None => ("phantom-read", format!("{who} saw {shown}, which nobody ever wrote")),
            });
        }
        if value != NIL && writers.iter().all(|writer| writer.call > op.ret) {
            let why = format!("{who} saw {shown}, which was written only after that");
            return Some(("future-read", why));
        }
        let over = self.overwritten(op, value, kept)?;
        let by = self.named(over);
        Some(if writers.is_empty() {
            ("lost-write", format!("{who} found nothing, though {by} had completed before"))
        } else {
            let why = format!(
                "{who} saw {shown}, which {by} had replaced by {} before",
                over.action.produces().map_or_else(String::new, |value| self.register.show(value))
            );
            ("stale-read", why)
        })
    }

    /// A change that was complete before the operation began, with every change to the value it saw
    /// complete before that change began.
    fn overwritten<'b>(&self, op: &Op, value: Val, kept: &'b [Op]) -> Option<&'b Op> {
        let other = |over: &&Op| {
            over.ret < op.call && over.action.produces().is_some_and(|left| left != value)
        };
        kept.iter().filter(other).find(|over| {
            kept.iter()
                .filter(|writer| writer.action.produces() == Some(value) && writer.call != op.call)
                .all(|writer| writer.ret < over.call)
        })
    }

    fn at(&self, place: usize) -> Option<&Event> {
        self.history.events.get(place)
    }

    fn named(&self, op: &Op) -> String {
        let Some(invoke) = self.at(op.call) else { return String::new() };
        let end = op.end.and_then(|place| self.at(place));
        let until = end.map_or_else(String::new, |event| format!("-{}", event.index));
        format!("the {} of {} (events {}{until})", invoke.f, process(invoke.process), invoke.index)
    }

    fn told(&self, op: &Op) -> String {
        let Some(invoke) = self.at(op.call) else { return String::new() };
        let end = op.end.and_then(|place| self.at(place));
        let show = |value| self.register.show(value);
        let what = match op.action {
            Action::Read(value) => format!("read {}", show(value)),
            Action::Write(NIL) => "deleted".to_owned(),
            Action::Write(value) => format!("wrote {}", show(value)),
            Action::Cas(old, new) => format!("changed {} to {}", show(old), show(new)),
        };
        let who = process(invoke.process);
        let from = format!("from event {} at {}", invoke.index, seconds(invoke.time));
        let how = match end {
            Some(event) if op.ret != OPEN => {
                format!("to event {} at {}", event.index, seconds(event.time))
            }
            Some(event) => format!("and had no answer before event {}", event.index),
            None => "and never had an answer".to_owned(),
        };
        format!("{who} {what}, {from} {how}")
    }

    /// The indices of all invocations and completions, in order.
    fn events(&self, ops: &[Op]) -> Vec<u64> {
        let places = ops.iter().flat_map(|op| [Some(op.call), op.end]).flatten();
        let mut indices: Vec<u64> =
            places.filter_map(|place| self.at(place)).map(|event| event.index).collect();
        indices.sort_unstable();
        indices.dedup();
        indices
    }
}

fn process(process: Process) -> String {
    match process {
        Process::Client(number) => format!("process {number}"),
        Process::Nemesis => "the nemesis".to_owned(),
    }
}

fn seconds(nanoseconds: u64) -> String {
    let micros = nanoseconds / 1_000;
    format!("{}.{:06} s", micros / 1_000_000, micros % 1_000_000)
}
