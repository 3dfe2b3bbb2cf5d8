//! The register checker against known verdicts, brute force and itself.

mod brute;
mod known;
mod random;

use super::ops::{Action, OPEN, Op};
use crate::history::Witness;

/// An operation from `call` to `ret`.
fn op(call: usize, ret: usize, action: Action) -> Op {
    let end = (ret != OPEN).then_some(ret);
    Op { call, ret, action, witness: None, end }
}

/// With its place in group 1.
fn at(index: u64, op: Op) -> Op {
    Op { witness: Some(Witness { group: 1, index }), ..op }
}
