//! The books: what was written, by whom, having seen what, and what was said of it.
//!
//! Why it exists: a figure of what was lost is worth what the books are worth from which it is taken.
//! Every write is entered before it is sent and closed when it is answered; afterwards
//! [`super::verify`] reads everything back and compares, and the number of closed entries is compared
//! with what the load has counted by itself, so that a write that was forgotten here shows too.
//!
//! ```text
//!   values    cells, each with its writes: when, by whom, over what, and the name that it got
//!   sums      what was added to each key
//!   carts     items, each put in once, and whether somebody who saw it took it out
//! ```
//!
//! Promises: entries of one key are in the order they were begun; nothing is ever removed.

pub mod carts;
pub mod lineage;
pub mod sums;
pub mod values;

use std::sync::atomic::{AtomicU64, Ordering};

use super::target::{Acked, Failed};
use carts::Carts;
use sums::Sums;
use values::Values;

/// How a write ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Acknowledged.
    Acked,
    /// Surely without effect.
    NotApplied,
    /// Nobody knows.
    Unknown,
}

impl End {
    /// How an answer ends a write.
    pub const fn of(answer: Result<&Acked, &Failed>) -> Self {
        match answer {
            Ok(_) => Self::Acked,
            Err(Failed::Unmet | Failed::NotApplied(_)) => Self::NotApplied,
            Err(Failed::Unknown(_)) => Self::Unknown,
        }
    }
}

/// All books of one run.
#[derive(Debug)]
pub struct Ledger {
    /// Values.
    pub values: Values,
    /// Sums.
    pub sums: Sums,
    /// Carts.
    pub carts: Carts,
    next: AtomicU64,
}

impl Ledger {
    /// Empty books for so many keys, each with so many places that are written for themselves.
    pub fn new(keys: u64, fields: u64) -> Self {
        Self {
            values: Values::new(keys.saturating_mul(fields)),
            sums: Sums::new(keys),
            carts: Carts::new(keys),
            next: AtomicU64::new(1),
        }
    }

    /// A number that no other write of the run has.
    pub fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Entries that say "acknowledged".
    pub fn acked(&self) -> u64 {
        self.values.acked() + self.sums.acked() + self.carts.acked()
    }

    /// Entries that were never closed.
    pub fn open(&self) -> u64 {
        self.values.open() + self.sums.open() + self.carts.open()
    }
}

/// A bug that is planted into the books, to see that reading back finds it.
#[cfg(test)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// Every so many acknowledgements one is not entered.
    Forgets(u64),
    /// Every so many acknowledgements one is entered as a refusal.
    Denies(u64),
}
