//! Just-in-time linearization: all states that are possible, event by event.
//!
//! Why it exists: where many operations overlap on one key it beats the search in depth, and it knows
//! at which event the history became impossible. Lowe's algorithm: a configuration is a state with the
//! pending operations that are placed already; others are placed only when one that is not must
//! return. Two reductions, both without loss: a pending read that fits is placed at once; a value that
//! nobody sees any more is as good as any other such.
//!
//! Relies on: operations in the order of their calls.

use std::collections::{HashMap, HashSet};

use super::ops::{Action, JUNK, NIL, OPEN, Op, Val};
use super::words::{Fast, Limit, Outcome};

/// Configurations at one time; more is given up.
const CONFIGURATIONS: usize = 2 << 20;
/// Operations pending at one time; more is given up.
const SLOTS: u32 = 128;

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Configuration {
    state: Val,
    placed: u128,
}

type Set = HashSet<Configuration, Fast>;

/// Whether there is an order of these operations that a register could have gone through.
pub(super) fn check(ops: &[Op], limit: &mut Limit<'_>) -> Outcome {
    let mut events: Vec<(usize, bool, usize)> = Vec::with_capacity(ops.len() * 2);
    for (number, op) in ops.iter().enumerate() {
        events.push((op.call, false, number));
        if op.ret != OPEN {
            events.push((op.ret, true, number));
        }
    }
    events.sort_unstable();
    let mut search = Search::new(ops);
    for (place, is_return, number) in events {
        let Some(op) = ops.get(number) else { continue };
        if is_return {
            match search.returned(place, number, limit) {
                Some(true) => {}
                Some(false) => return Outcome::Refuted(Some(place)),
                None => return Outcome::Unfinished,
            }
        } else if !search.called(number, op.action) {
            return Outcome::Unfinished;
        }
        if limit.reached() {
            return Outcome::Unfinished;
        }
    }
    Outcome::Linearizable
}

struct Search {
    possible: Vec<Configuration>,
    /// Slots of pending operations that change something, with what they do.
    pending: Vec<(u128, Action)>,
    slot_of: HashMap<usize, u128, Fast>,
    used: u128,
    /// Slots of the pending reads of each value.
    reads: HashMap<Val, u128, Fast>,
    /// The last return of one who saw each value.
    last_seen: HashMap<Val, usize, Fast>,
    seen: Set,
}

impl Search {
    fn new(ops: &[Op]) -> Self {
        let mut last_seen: HashMap<Val, usize, Fast> = HashMap::default();
        for op in ops {
            if let Some(value) = op.action.observes() {
                let last = last_seen.entry(value).or_insert(0);
                *last = (*last).max(op.ret);
            }
        }
        Self {
            possible: vec![Configuration { state: NIL, placed: 0 }],
            pending: Vec::new(),
            slot_of: HashMap::default(),
            used: 0,
            reads: HashMap::default(),
            last_seen,
            seen: Set::default(),
        }
    }

    /// Whether there was a slot left.
    fn called(&mut self, number: usize, action: Action) -> bool {
        let free = self.used.trailing_ones();
        if free >= SLOTS {
            return false;
        }
        let slot = 1_u128 << free;
        self.used |= slot;
        self.slot_of.insert(number, slot);
        if let Action::Read(value) = action {
            *self.reads.entry(value).or_insert(0) |= slot;
            for configuration in &mut self.possible {
                if configuration.state == value {
                    configuration.placed |= slot;
                }
            }
        } else {
            self.pending.push((slot, action));
        }
        true
    }

    /// Whether it can have taken effect by now; `None` when that would take too long to say.
    fn returned(&mut self, place: usize, number: usize, limit: &mut Limit<'_>) -> Option<bool> {
        let slot = self.slot_of.remove(&number)?;
        self.seen.clear();
        let mut todo = std::mem::take(&mut self.possible);
        self.seen.extend(todo.iter().copied());
        let mut done = Vec::new();
        while let Some(configuration) = todo.pop() {
            if limit.reached() || self.seen.len() > CONFIGURATIONS {
                return None;
            }
            if configuration.placed & slot != 0 {
                done.push(configuration);
                continue;
            }
            for (other, action) in &self.pending {
                if configuration.placed & other != 0 {
                    continue;
                }
                let Some(state) = action.apply(configuration.state) else { continue };
                let next = self.settled(state, configuration.placed | other, place);
                if self.seen.insert(next) {
                    todo.push(next);
                }
            }
        }
        self.used &= !slot;
        self.pending.retain(|(other, _)| *other != slot);
        self.reads.retain(|_, slots| {
            *slots &= !slot;
            *slots != 0
        });
        self.seen.clear();
        for configuration in done {
            let next = Configuration {
                // Another may return at the same place: what it sees still counts.
                state: self.kept(configuration.state, place),
                placed: configuration.placed & !slot,
            };
            if self.seen.insert(next) {
                self.possible.push(next);
            }
        }
        Some(!self.possible.is_empty())
    }

    /// With the pending reads that fit.
    fn settled(&self, state: Val, placed: u128, now: usize) -> Configuration {
        let state = self.kept(state, now);
        let reads = self.reads.get(&state).copied().unwrap_or(0);
        Configuration { state, placed: placed | reads }
    }

    /// The state, unless nobody sees it from now on.
    fn kept(&self, state: Val, now: usize) -> Val {
        match self.last_seen.get(&state) {
            Some(last) if *last >= now => state,
            _ => JUNK,
        }
    }
}
