//! A failing run with fewer faults.
//!
//! Why it exists: of thirty faults two matter. Leaving faults out leaves all that was drawn else as it was.
//!
//! Promises: what comes out fails too, with the same kind of broken promise, and fails no more when any
//! single fault is left out of it, unless the tries were used up.

use super::child::Order;
use super::run::Outcome;
use super::sweep::Sweep;

/// What a broken promise begins with.
fn kind(outcome: &Outcome) -> Option<String> {
    let text = outcome.broken.as_deref()?;
    Some(text.split(':').next().unwrap_or(text).to_owned())
}

/// Leaves out as many faults as it can, in at most so many tries.
pub fn shrink(sweep: &Sweep, seed: u64, failed: &Outcome, tries: usize) -> (Vec<usize>, Outcome) {
    let wanted = kind(failed);
    let plan = Order::of(seed).plan();
    let mut left: Vec<usize> = plan.faults.iter().map(|fault| fault.number).collect();
    let mut best = failed.clone();
    let mut tried = 0;
    let mut portion = left.len().div_ceil(2).max(1);
    loop {
        let mut at = 0;
        let mut is_smaller = false;
        while at < left.len() && tried < tries {
            let mut fewer = left.clone();
            fewer.drain(at..(at + portion).min(left.len()));
            tried += 1;
            let order = Order { faults: Some(fewer.clone()), ..Order::of(seed) };
            let outcome = sweep.one(&order);
            if kind(&outcome) == wanted {
                (left, best, is_smaller) = (fewer, outcome, true);
            } else {
                at += portion;
            }
        }
        if tried >= tries || portion == 1 && !is_smaller {
            return (left, best);
        }
        portion = (portion / 2).max(1);
    }
}
