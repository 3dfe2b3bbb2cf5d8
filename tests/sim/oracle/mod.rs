//! What clients may be told, whatever happens below.
//!
//! Why it exists: each answer carries the place in its group's order that it reflects, so it can be
//! judged the moment it comes: no search over histories is needed.
//!
//! Promises: a wrong answer ends the run with words that say what should have been.

mod counter;
mod list;
mod pair;
mod register;

#[cfg(test)]
mod tests;

pub use counter::Counter;
pub use list::List;
pub use pair::Pair;
pub use register::{Register, Wrote};
