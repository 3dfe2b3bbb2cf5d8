//! The proof that the server itself hands over: each answer says where it stands in its group's order.
//!
//! Why it exists: a search asks whether there is any order; here one is claimed, and checking it takes
//! one pass, however many operations overlap. It is a proof without trust: [`Finding::Proved`] means
//! that an order was laid out in full, that a register going through it gives every answer that was
//! given, and that nothing stands before what had returned when it was called. That is linearizability
//! by definition, whatever the server meant by its numbers.
//!
//! How the order is laid out: by index; at one index what changes before what reads, since a read
//! shows everything up to its index; among reads by their calls. A write that nobody answered has no
//! place of its own: it is put right before the first answer that cannot be given without it. That is
//! the latest place possible, and as it was never answered no later return binds it: where it fits at
//! all, it fits there. One that nobody needs did not happen.
//!
//! When it does not prove, it either is silent (answers without a place, two groups, several
//! unanswered writes of one value, so that a choice was made), or it contradicts: then the history may
//! be linearizable in another order, but the server's claim about its own is false.

use std::collections::HashMap;

use super::ops::{Action, NIL, Op, Val};
use super::words::Fast;

/// What came of the server's claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// The history of the key is linearizable.
    Proved,
    /// The claimed order is impossible: at this operation, for this reason, with another one.
    Contradicted {
        /// What does not fit.
        op: Op,
        /// What it does not fit to, if that is one operation.
        with: Option<Op>,
        /// Why.
        why: Contradiction,
    },
    /// There is no claim, or none that says enough.
    Silent(&'static str),
}

/// In what way a claimed order is impossible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Contradiction {
    /// The register held this value at that place.
    Value(Val),
    /// The other stands before it, and was called after it had returned.
    RealTime,
}

/// Tries the claimed order of these operations, which must be simplified.
pub(super) fn check(ops: &[Op]) -> Finding {
    let (mut claimed, floating): (Vec<Op>, Vec<Op>) =
        ops.iter().partition(|op| op.end == Some(op.ret));
    let mut groups = claimed.iter().map(|op| op.witness.map(|witness| witness.group));
    match groups.next() {
        None => return Finding::Silent("nothing was answered"),
        Some(first) if groups.any(|group| group != first) => {
            return Finding::Silent("the answers are of several groups");
        }
        Some(None) => return Finding::Silent("the answers do not say where they stand"),
        Some(Some(_)) => {}
    }
    claimed.sort_by_key(|op| {
        let index = op.witness.map_or(0, |witness| witness.index);
        (index, matches!(op.action, Action::Read(_)), op.call)
    });
    let same = |pair: &[Op]| match pair {
        [one, two] => one.witness == two.witness && !matches!(two.action, Action::Read(_)),
        _ => false,
    };
    // Two changes at one place: their order was chosen here, not claimed.
    let chosen = claimed.windows(2).any(same);
    let mut floats = Floats::of(&floating);
    match replay(&claimed, &mut floats) {
        Finding::Contradicted { .. } if chosen || floats.chosen => {
            Finding::Silent("the claimed order leaves choices")
        }
        finding => finding,
    }
}

/// Goes through the claimed order, with the unanswered writes that it needs.
fn replay(claimed: &[Op], floats: &mut Floats) -> Finding {
    let mut order = Vec::with_capacity(claimed.len());
    let mut state = NIL;
    for op in claimed {
        let found = op.action.apply(state).or_else(|| {
            let needed = op.action.observes()?;
            let count = floats.put(needed, state, &mut order)?;
            (count > 0).then(|| op.action.apply(needed)).flatten()
        });
        let Some(next) = found else {
            let with = order.iter().rev().find(|op: &&Op| op.action.changes()).copied();
            let why = Contradiction::Value(state);
            return Finding::Contradicted { op: *op, with, why };
        };
        order.push(*op);
        state = next;
    }
    in_real_time(&order)
}

/// Whether nothing in this order stands before what had returned when it was called.
fn in_real_time(order: &[Op]) -> Finding {
    let mut latest: Option<Op> = None;
    for op in order {
        let answered = op.end == Some(op.ret);
        if let Some(before) = latest.filter(|before| answered && before.call > op.ret) {
            let why = Contradiction::RealTime;
            return Finding::Contradicted { op: *op, with: Some(before), why };
        }
        if latest.is_none_or(|before| before.call < op.call) {
            latest = Some(*op);
        }
    }
    Finding::Proved
}

/// Writes that were not answered, by the value that they leave.
struct Floats {
    by_value: HashMap<Val, Vec<Op>, Fast>,
    /// Whether there was more than one to choose from.
    chosen: bool,
}

impl Floats {
    fn of(ops: &[Op]) -> Self {
        let mut by_value: HashMap<Val, Vec<Op>, Fast> = HashMap::default();
        // The earliest last, where it is taken first: whichever takes effect first should be the one
        // that was called first.
        for op in ops.iter().rev() {
            if let Some(value) = op.action.produces() {
                by_value.entry(value).or_default().push(*op);
            }
        }
        let chosen = by_value.values().any(|ops| ops.len() > 1);
        Self { by_value, chosen }
    }

    /// Appends what leads from one state to the needed one; how many that took, `None` if nothing does.
    fn put(&mut self, needed: Val, state: Val, order: &mut Vec<Op>) -> Option<usize> {
        // Taken before anything it builds on is looked for, so that a circle of cas ends.
        let op = self.by_value.get_mut(&needed)?.pop()?;
        let before = match op.action {
            Action::Cas(old, _) if old != state => self.put(old, state, order)?,
            _ => 0,
        };
        order.push(op);
        Some(before + 1)
    }
}
