//! The command line.

pub mod check;

use crate::checker::Checker;
use crate::checker::cycles::Cycles;
use crate::checker::linear::Linear;

/// The checkers of a workload.
pub fn checkers_for(workload: &str) -> Option<Vec<Box<dyn Checker>>> {
    match workload {
        "register" => Some(vec![Box::new(Linear)]),
        "append" => Some(vec![Box::new(Cycles)]),
        _ => None,
    }
}
