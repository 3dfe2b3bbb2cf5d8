//! The smallest part of a history that shows that it is not linearizable.
//!
//! Promises: what is left is not linearizable, and whoever accepts it as fact must reject the whole
//! history: it is a prefix (what had not returned by its end is open) less operations whose absence
//! cannot make a good history bad. A read can always be left out; a write only once nobody that is
//! left saw its value, or its reader would look like the culprit.

use std::collections::HashSet;

use super::ops::{Action, OPEN, Op, Val, simplified};
use super::words::{Fast, Limit, Outcome};
use super::{jit, wgl};

/// Steps that one attempt may take.
const STEPS: u64 = 1 << 20;

/// Shrinks a history that was refuted, at this place of the history if that is known. Returns what
/// had to be kept when `stop` says that it is time.
pub(super) fn smallest(
    ops: &[Op],
    refuted_at: Option<usize>,
    stop: &(dyn Fn() -> bool + Sync),
) -> Vec<Op> {
    let end = refuted_at.or_else(|| shortest(ops, stop));
    let mut kept = end.map_or_else(|| ops.to_vec(), |end| until(ops, end));
    kept.retain(|op| op.ret != OPEN || !matches!(op.action, Action::Read(_)));
    if !is_refuted(&kept, stop) {
        kept = ops.to_vec();
    }
    let mut chunk = kept.len().div_ceil(2);
    loop {
        let before = kept.len();
        let mut from = 0;
        while from < kept.len() && !stop() {
            let fewer = without(&kept, from, from + chunk);
            if fewer.len() < kept.len() && is_refuted(&fewer, stop) {
                kept = fewer;
            } else {
                from += chunk;
            }
        }
        if stop() || (chunk == 1 && kept.len() == before) {
            return kept;
        }
        if chunk > 1 {
            chunk = chunk.div_ceil(2);
        }
    }
}

/// Whether these operations are certainly not linearizable.
pub(super) fn is_refuted(ops: &[Op], stop: &(dyn Fn() -> bool + Sync)) -> bool {
    let ops = simplified(ops);
    match wgl::check(&ops, &mut Limit::new(STEPS, stop)) {
        Outcome::Refuted(_) => true,
        Outcome::Linearizable => false,
        Outcome::Unfinished => {
            matches!(jit::check(&ops, &mut Limit::new(STEPS, stop)), Outcome::Refuted(_))
        }
    }
}

/// The history up to and with this place.
fn until(ops: &[Op], end: usize) -> Vec<Op> {
    let mut ops: Vec<Op> = ops.iter().filter(|op| op.call <= end).copied().collect();
    for op in &mut ops {
        if op.ret > end {
            op.ret = OPEN;
        }
    }
    ops
}

/// Where the shortest prefix ends that is refuted: once refuted, a longer one is too.
fn shortest(ops: &[Op], stop: &(dyn Fn() -> bool + Sync)) -> Option<usize> {
    let mut ends: Vec<usize> = ops.iter().map(|op| op.ret).filter(|ret| *ret != OPEN).collect();
    ends.sort_unstable();
    let first = ends.partition_point(|end| !is_refuted(&until(ops, *end), stop));
    ends.get(first).copied()
}

/// Without those of a range that may be left out.
fn without(ops: &[Op], from: usize, to: usize) -> Vec<Op> {
    let inside = |place: usize| (from..to).contains(&place);
    let mut gone: Vec<bool> = ops
        .iter()
        .enumerate()
        .map(|(place, op)| inside(place) && matches!(op.action, Action::Read(_)))
        .collect();
    loop {
        let seen: HashSet<Val, Fast> = ops
            .iter()
            .zip(&gone)
            .filter(|(_, gone)| !**gone)
            .filter_map(|(op, _)| op.action.observes())
            .collect();
        let mut more = false;
        for (place, (op, gone)) in ops.iter().zip(&mut gone).enumerate() {
            let unseen = op.action.produces().is_some_and(|value| !seen.contains(&value));
            if inside(place) && !*gone && unseen {
                *gone = true;
                more = true;
            }
        }
        if !more {
            break;
        }
    }
    ops.iter().zip(gone).filter(|(_, gone)| !gone).map(|(op, _)| *op).collect()
}
