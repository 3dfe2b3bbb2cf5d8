//! Operations that came before what they build on.
//!
//! Why it exists: in a mesh each node sends its own writes, so a write that removes another node's
//! may arrive before that one. Promises: what it hands out follows its vector without a gap and
//! removes only what that covers; never more than its bounds. Relies on its user to end the stream
//! that brought what did not fit, and to ask for it anew.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::model::eventual::{Act, Actor, CellChange, Content, Op, Vector};
use crate::runtime::limits::{HOLD_BYTES_MAX, HOLD_OPS_MAX};

/// There is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

/// The operations that wait, of one namespace.
#[derive(Debug, Default)]
pub(super) struct Hold {
    waiting: BTreeMap<Actor, BTreeMap<u64, (Op, usize)>>,
    ops: usize,
    bytes: usize,
}

impl Hold {
    /// How many wait.
    pub(super) const fn len(&self) -> usize {
        self.ops
    }

    /// Whether this operation waits.
    pub(super) fn has(&self, op: &Op) -> bool {
        self.waiting.get(&op.dot.actor).is_some_and(|ops| ops.contains_key(&op.dot.counter))
    }

    /// Lets an operation wait.
    ///
    /// # Errors
    ///
    /// When there is no room; the operation is not kept.
    pub(super) fn add(&mut self, op: Op) -> Result<(), Full> {
        if self.has(&op) {
            return Ok(());
        }
        let bytes = weight(&op);
        if self.ops >= HOLD_OPS_MAX || self.bytes + bytes > HOLD_BYTES_MAX {
            return Err(Full);
        }
        self.ops += 1;
        self.bytes += bytes;
        self.waiting.entry(op.dot.actor).or_default().insert(op.dot.counter, (op, bytes));
        Ok(())
    }

    /// Takes out what follows now, in an order in which it can be applied, and forgets what is known.
    /// `paused` says which operations must go on waiting.
    pub(super) fn take_ready(
        &mut self,
        vector: &Vector,
        mut paused: impl FnMut(&Op) -> bool,
    ) -> Vec<Op> {
        let mut have = vector.clone();
        let mut ready = Vec::new();
        let actors: Vec<Actor> = self.waiting.keys().copied().collect();
        loop {
            let before = ready.len();
            for &actor in &actors {
                self.take_of(actor, &mut have, &mut paused, &mut ready);
            }
            if ready.len() == before {
                break;
            }
        }
        self.waiting.retain(|_, ops| !ops.is_empty());
        ready
    }

    fn take_of(
        &mut self,
        actor: Actor,
        have: &mut Vector,
        paused: &mut impl FnMut(&Op) -> bool,
        ready: &mut Vec<Op>,
    ) {
        let Some(ops) = self.waiting.get_mut(&actor) else { return };
        while let Some(first) = ops.first_entry() {
            let op = &first.get().0;
            let is_known = have.covers(op.dot);
            if !is_known && (!follows(have, op) || paused(op)) {
                return;
            }
            let (op, bytes) = first.remove();
            self.ops -= 1;
            self.bytes -= bytes;
            if !is_known {
                have.advance(op.dot);
                ready.push(op);
            }
        }
    }
}

/// Whether an operation is the next of its actor, and all that it removes is known.
pub(super) fn follows(vector: &Vector, op: &Op) -> bool {
    let is_next = op.dot.counter == vector.of(op.dot.actor) + 1;
    is_next
        && match &op.act {
            Act::Write { changes, .. } => {
                let mut removed = changes.iter().flat_map(|change| &change.removes);
                removed.all(|removed| vector.covers(removed.dot))
            }
            Act::Beat { .. } => true,
        }
}

/// About what an operation takes of the memory.
fn weight(op: &Op) -> usize {
    const SMALL: usize = 128;
    match &op.act {
        Act::Write { key, changes, .. } => {
            let of_change = |change: &CellChange| {
                let path: usize = change.field.path.iter().map(Bytes::len).sum();
                let put = change.put.as_ref().map_or(0, |put| match &put.content {
                    Content::Value { value, .. } => value.len(),
                    _ => 0,
                });
                SMALL + path + put + change.removes.len() * SMALL / 2
            };
            SMALL + key.len() + changes.iter().map(of_change).sum::<usize>()
        }
        Act::Beat { vector, .. } => SMALL + vector.0.len() * SMALL / 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::eventual::{Dot, Field, Hlc, Removed};

    fn actor(node: u64) -> Actor {
        Actor { node, home: 1, run: 1 }
    }

    fn dot(node: u64, counter: u64) -> Dot {
        Dot { actor: actor(node), counter }
    }

    fn op(node: u64, counter: u64, removes: &[Dot]) -> Op {
        let removes = removes.iter().map(|&dot| Removed { dot, seen: true }).collect();
        let change = CellChange { field: Field::default(), removes, put: None };
        let act = Act::Write { key: Bytes::from_static(b"k"), changes: vec![change], once: None };
        Op { dot: dot(node, counter), hlc: Hlc(1), act }
    }

    fn dots(ops: &[Op]) -> Vec<Dot> {
        ops.iter().map(|op| op.dot).collect()
    }

    #[test]
    fn operations_come_out_when_what_they_build_on_is_there() {
        let mut hold = Hold::default();
        hold.add(op(2, 1, &[dot(1, 2)])).unwrap();
        hold.add(op(1, 2, &[])).unwrap();
        hold.add(op(2, 2, &[])).unwrap();
        hold.add(op(2, 2, &[])).unwrap();
        assert_eq!(hold.len(), 3);
        let mut vector = Vector::default();
        assert!(hold.take_ready(&vector, |_| false).is_empty());
        vector.advance(dot(1, 1));
        let ready = hold.take_ready(&vector, |_| false);
        assert_eq!(dots(&ready), [dot(1, 2), dot(2, 1), dot(2, 2)]);
        assert_eq!((hold.len(), hold.bytes), (0, 0));
    }

    #[test]
    fn what_is_known_is_forgotten_and_what_is_paused_waits_with_all_behind_it() {
        let mut hold = Hold::default();
        for counter in 1..=3 {
            hold.add(op(1, counter, &[])).unwrap();
        }
        let mut vector = Vector::default();
        vector.advance(dot(1, 1));
        assert!(hold.take_ready(&vector, |op| op.dot.counter == 2).is_empty());
        assert_eq!(hold.len(), 2);
        assert_eq!(dots(&hold.take_ready(&vector, |_| false)), [dot(1, 2), dot(1, 3)]);
    }

    #[test]
    fn a_full_hold_takes_nothing_more_and_keeps_what_it_has() {
        let mut hold = Hold { ops: HOLD_OPS_MAX, ..Hold::default() };
        assert_eq!(hold.add(op(1, 1, &[])), Err(Full));
        let mut hold = Hold { bytes: HOLD_BYTES_MAX, ..Hold::default() };
        assert_eq!(hold.add(op(1, 1, &[])), Err(Full));
        assert!(hold.take_ready(&Vector::default(), |_| false).is_empty());
    }
}
