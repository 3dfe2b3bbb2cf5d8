//! Wing and Gong's search with Lowe's memory.
//!
//! Why it exists: exact for any history, and fast wherever few operations overlap. Takes the pending
//! operations one after the other, backs up when one that returned could not be placed, and never
//! tries again a state in which the same operations had been placed. A pending read that fits is
//! always placed at once: it changes nothing, so that waiting cannot help.
//!
//! Relies on: operations in the order of their calls, simplified or not.

use std::collections::HashSet;

use super::ops::{Action, NIL, OPEN, Op, Val};
use super::words::{Fast, Limit, Outcome};

/// Words of memory for what was tried; more is given up.
const MEMORY_WORDS: usize = 24 << 20;

#[derive(Clone, Copy)]
enum Entry {
    Head,
    Call(usize),
    Return,
}

struct Node {
    entry: Entry,
    before: usize,
    after: usize,
    /// For a call: where its return stands; 0 when it has none.
    pair: usize,
}

/// Whether there is an order of these operations that a register could have gone through.
pub(super) fn check(ops: &[Op], limit: &mut Limit<'_>) -> Outcome {
    Search::new(ops).run(limit)
}

struct Search<'a> {
    ops: &'a [Op],
    /// A list of calls and returns in their order; 0 is its head, and what `after` says at its end.
    nodes: Vec<Node>,
    state: Val,
    placed: Placed,
    /// Returns still in the list.
    due: usize,
    stack: Vec<(usize, Val)>,
    tried: HashSet<Box<[u64]>, Fast>,
    words: usize,
}

impl<'a> Search<'a> {
    fn new(ops: &'a [Op]) -> Self {
        // Among returns at one place any order will do; a call never shares its place.
        let mut order: Vec<(usize, Option<usize>, usize)> = Vec::with_capacity(ops.len() * 2);
        for (number, op) in ops.iter().enumerate() {
            order.push((op.call, Some(number), number));
            if op.ret != OPEN {
                order.push((op.ret, None, number));
            }
        }
        order.sort_unstable();
        let mut call_of = vec![0; ops.len()];
        let mut nodes = vec![Node { entry: Entry::Head, before: 0, after: 0, pair: 0 }];
        for (_, call, number) in &order {
            let here = nodes.len();
            let entry = if call.is_some() { Entry::Call(*number) } else { Entry::Return };
            if let Some(place) = call_of.get_mut(*number) {
                match entry {
                    Entry::Call(_) => *place = here,
                    _ => nodes.get_mut(*place).into_iter().for_each(|node: &mut Node| {
                        node.pair = here;
                    }),
                }
            }
            nodes.push(Node { entry, before: here - 1, after: here + 1, pair: 0 });
        }
        let last = nodes.len() - 1;
        if let Some(node) = nodes.get_mut(last) {
            node.after = 0;
        }
        if let Some(head) = nodes.first_mut() {
            head.before = last;
            head.after = usize::from(last > 0);
        }
        Self {
            ops,
            nodes,
            state: NIL,
            placed: Placed::new(ops),
            due: ops.iter().filter(|op| op.ret != OPEN).count(),
            stack: Vec::new(),
            tried: HashSet::default(),
            words: 0,
        }
    }

    fn run(mut self, limit: &mut Limit<'_>) -> Outcome {
        let mut at = self.fresh();
        while self.due > 0 {
            if limit.reached() || self.words > MEMORY_WORDS {
                return Outcome::Unfinished;
            }
            let placed = match self.entry(at) {
                Entry::Call(number) => self.place(at, number),
                _ => None,
            };
            at = match (placed, self.entry(at)) {
                (Some(next), _) => next,
                // What fits and was tried already is a dead end if it is a read.
                (None, Entry::Call(number)) if !self.is_fitting_read(number) => self.after(at),
                _ => match self.back() {
                    Some(next) => next,
                    None => return Outcome::Refuted(None),
                },
            };
        }
        Outcome::Linearizable
    }

    /// Places the operation here, unless it is impossible or was tried; says where to go on.
    fn place(&mut self, at: usize, number: usize) -> Option<usize> {
        let state = self.ops.get(number)?.action.apply(self.state)?;
        self.placed.set(number);
        let key = self.placed.key(state);
        self.words += key.len() + 4;
        if !self.tried.insert(key) {
            self.placed.clear(number);
            return None;
        }
        self.stack.push((at, self.state));
        self.state = state;
        self.lift(at);
        Some(self.fresh())
    }

    /// Takes back the last that left a choice; says where to go on.
    fn back(&mut self) -> Option<usize> {
        loop {
            let (at, state) = self.stack.pop()?;
            let Entry::Call(number) = self.entry(at) else { continue };
            self.unlift(at);
            self.placed.clear(number);
            self.state = state;
            if !self.is_fitting_read(number) {
                return Some(self.after(at));
            }
        }
    }

    /// Where to begin in a new state: at a pending read that fits, or at the first call.
    fn fresh(&self) -> usize {
        let first = self.after(0);
        let mut at = first;
        while let Entry::Call(number) = self.entry(at) {
            if self.is_fitting_read(number) {
                return at;
            }
            at = self.after(at);
        }
        first
    }

    fn is_fitting_read(&self, number: usize) -> bool {
        self.ops.get(number).is_some_and(|op| match op.action {
            Action::Read(value) => value == self.state,
            _ => false,
        })
    }

    fn entry(&self, at: usize) -> Entry {
        self.nodes.get(at).map_or(Entry::Head, |node| node.entry)
    }

    fn after(&self, at: usize) -> usize {
        self.nodes.get(at).map_or(0, |node| node.after)
    }

    fn lift(&mut self, at: usize) {
        let pair = self.nodes.get(at).map_or(0, |node| node.pair);
        self.unlink(at);
        if pair > 0 {
            self.unlink(pair);
            self.due -= 1;
        }
    }

    fn unlift(&mut self, at: usize) {
        let pair = self.nodes.get(at).map_or(0, |node| node.pair);
        if pair > 0 {
            self.relink(pair);
            self.due += 1;
        }
        self.relink(at);
    }

    fn unlink(&mut self, at: usize) {
        let Some((before, after)) = self.nodes.get(at).map(|node| (node.before, node.after)) else {
            return;
        };
        self.nodes.get_mut(before).into_iter().for_each(|node| node.after = after);
        self.nodes.get_mut(after).into_iter().for_each(|node| node.before = before);
    }

    fn relink(&mut self, at: usize) {
        let Some((before, after)) = self.nodes.get(at).map(|node| (node.before, node.after)) else {
            return;
        };
        self.nodes.get_mut(before).into_iter().for_each(|node| node.after = at);
        self.nodes.get_mut(after).into_iter().for_each(|node| node.before = at);
    }
}

/// Which operations are placed. Those that returned fill up from the first, so that a key holds only
/// the words that are not full; open ones, which may never be placed, are kept apart.
struct Placed {
    /// Bit of each operation.
    bits: Vec<usize>,
    words: Vec<u64>,
    /// Words of those that returned; behind them the open ones.
    split: usize,
    /// All words before this are full.
    low: usize,
    /// All words of those that returned are empty from here on.
    high: usize,
}

impl Placed {
    fn new(ops: &[Op]) -> Self {
        let due = ops.iter().filter(|op| op.ret != OPEN).count();
        let split = due.div_ceil(64);
        let (mut next_due, mut next_open) = (0, split * 64);
        let bits = ops
            .iter()
            .map(|op| {
                let next = if op.ret == OPEN { &mut next_open } else { &mut next_due };
                *next += 1;
                *next - 1
            })
            .collect();
        Self { bits, words: vec![0; next_open.div_ceil(64)], split, low: 0, high: 0 }
    }

    fn word(&mut self, number: usize) -> Option<(&mut u64, usize, u64)> {
        let bit = *self.bits.get(number)?;
        Some((self.words.get_mut(bit / 64)?, bit / 64, 1 << (bit % 64)))
    }

    fn set(&mut self, number: usize) {
        let Some((word, place, bit)) = self.word(number) else { return };
        *word |= bit;
        if place < self.split {
            self.high = self.high.max(place + 1);
        }
        while self.low < self.split && self.words.get(self.low) == Some(&u64::MAX) {
            self.low += 1;
        }
    }

    fn clear(&mut self, number: usize) {
        let Some((word, place, bit)) = self.word(number) else { return };
        *word &= !bit;
        self.low = self.low.min(place);
        while self.high > 0 && self.words.get(self.high - 1) == Some(&0) {
            self.high -= 1;
        }
    }

    fn key(&self, state: Val) -> Box<[u64]> {
        let low = u64::try_from(self.low).unwrap_or(u64::MAX);
        let head = (low << 32) | u64::from(state);
        let due = self.words.get(self.low..self.high.max(self.low)).unwrap_or_default();
        let open = self.words.get(self.split..).unwrap_or_default();
        std::iter::once(head).chain(open.iter().copied()).chain(due.iter().copied()).collect()
    }
}
