//! Linearizability by its definition: every order of every choice of operations is tried.
//!
//! Why it exists: the searches are clever, and this is not; it shares nothing with them but the type
//! of an operation. It is only for a handful of operations.

use crate::checker::linear::ops::{Action, NIL, OPEN, Op};

/// Whether some order explains everything: all that returned, any of the rest.
pub(super) fn is_linearizable(ops: &[Op]) -> bool {
    let mut order = Vec::new();
    try_orders(ops, &mut order)
}

fn try_orders(ops: &[Op], order: &mut Vec<usize>) -> bool {
    let complete = (0..ops.len()).all(|number| order.contains(&number) || ops[number].ret == OPEN);
    if complete && explains(ops, order) {
        return true;
    }
    for number in 0..ops.len() {
        if !order.contains(&number) {
            order.push(number);
            if explains(ops, order) && try_orders(ops, order) {
                return true;
            }
            order.pop();
        }
    }
    false
}

/// Whether an order is one that a register could go through, and contradicts no clock.
fn explains(ops: &[Op], order: &[usize]) -> bool {
    let mut state = NIL;
    for number in order {
        match ops[*number].action {
            Action::Read(value) if value != state => return false,
            Action::Read(_) => {}
            Action::Write(value) => state = value,
            Action::Cas(old, _) if old != state => return false,
            Action::Cas(_, new) => state = new,
        }
    }
    // Nothing stands behind what was called only after it had returned; what is not in the order
    // counts as behind all.
    let place =
        |number: usize| order.iter().position(|other| *other == number).unwrap_or(usize::MAX);
    (0..ops.len()).all(|one| {
        (0..ops.len()).all(|two| {
            ops[one].ret >= ops[two].call || place(two) == usize::MAX || place(one) < place(two)
        })
    })
}
