//! The books of carts: every item that was put in, and whether it was taken out.
//!
//! Items are numbered over the whole run, each is put in once and taken out only by who has seen it.
//! So what a cart must hold at the end is known exactly: what was put in, without what was taken out.
//!
//! Promises: an item of which anything is unknown is blamed on nobody.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::End;
use crate::bench::target::{Acked, Failed};

/// What is known of one item.
#[derive(Clone, Copy, Debug, Default)]
struct Item {
    put: Option<End>,
    /// How the tries to take it out ended; the surest of them.
    taken: Option<End>,
    /// Somebody is at it.
    busy: u64,
}

/// All carts.
#[derive(Debug)]
pub struct Carts {
    carts: Box<[Mutex<BTreeMap<u64, Item>>]>,
    acked: AtomicU64,
    open: AtomicU64,
}

/// How a cart is, against how it should be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CartCheck {
    /// Items of which all is known.
    pub known: u64,
    /// Should be there and are not.
    pub lost: u64,
    /// Should not be there and are.
    pub resurrected: u64,
    /// Are there, and nobody ever put them in.
    pub invented: u64,
}

impl Carts {
    /// So many empty ones.
    pub fn new(carts: u64) -> Self {
        Self {
            carts: (0..carts).map(|_| Mutex::default()).collect(),
            acked: AtomicU64::new(0),
            open: AtomicU64::new(0),
        }
    }

    fn cart(&self, cart: u64) -> &Mutex<BTreeMap<u64, Item>> {
        let at = usize::try_from(cart).unwrap_or(usize::MAX);
        self.carts.get(at).expect("a cart's number is below the number of carts")
    }

    /// An item is about to be put in, or taken out.
    pub fn begin(&self, cart: u64, item: u64) {
        self.cart(cart).lock().entry(item).or_default().busy += 1;
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    /// It is answered.
    pub fn end(&self, cart: u64, item: u64, takes_out: bool, answer: Result<&Acked, &Failed>) {
        let end = End::of(answer);
        let mut items = self.cart(cart).lock();
        let known = items.entry(item).or_default();
        known.busy = known.busy.saturating_sub(1);
        if takes_out {
            known.taken = match (known.taken, end) {
                (Some(End::Acked), _) | (_, End::Acked) => Some(End::Acked),
                (Some(End::Unknown), _) | (_, End::Unknown) => Some(End::Unknown),
                _ => known.taken,
            };
        } else {
            known.put = Some(end);
        }
        drop(items);
        if end == End::Acked {
            self.acked.fetch_add(1, Ordering::Relaxed);
        }
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether anybody ever had to do with the cart.
    pub fn is_used(&self, cart: u64) -> bool {
        !self.cart(cart).lock().is_empty()
    }

    /// Compares a cart with what it holds.
    pub fn check(&self, cart: u64, holds: &[u64]) -> CartCheck {
        let items = self.cart(cart).lock();
        let mut check = CartCheck::default();
        for (item, known) in items.iter() {
            let there = holds.contains(item);
            match (known.put, known.taken) {
                _ if known.busy > 0 => {}
                (Some(End::Acked), None) => {
                    check.known += 1;
                    check.lost += u64::from(!there);
                }
                // Whoever took it out had seen it, whatever became of the putting in.
                (Some(_), Some(End::Acked)) => {
                    check.known += 1;
                    check.resurrected += u64::from(there);
                }
                (Some(End::NotApplied), None) => check.invented += u64::from(there),
                _ => {}
            }
        }
        let stranger = |item: &&u64| !items.contains_key(item);
        check.invented += u64::try_from(holds.iter().filter(stranger).count()).unwrap_or(u64::MAX);
        check
    }

    /// Changes that were acknowledged.
    pub fn acked(&self) -> u64 {
        self.acked.load(Ordering::Relaxed)
    }

    /// Changes under way.
    pub fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn did(carts: &Carts, item: u64, takes_out: bool, answer: &Result<(), Failed>) {
        carts.begin(0, item);
        let acked = Acked::default();
        carts.end(0, item, takes_out, answer.as_ref().map(|()| &acked));
    }

    #[test]
    fn what_should_be_there_is_what_was_put_in_without_what_was_taken_out() {
        let carts = Carts::new(1);
        let unknown = || Err(Failed::Unknown("silence".into()));
        for item in 1..=4 {
            did(&carts, item, false, &Ok(()));
        }
        did(&carts, 2, true, &Ok(()));
        did(&carts, 3, true, &unknown());
        did(&carts, 5, false, &unknown());
        did(&carts, 4, true, &Err(Failed::Unmet));
        did(&carts, 6, false, &Err(Failed::Unmet));
        assert_eq!(carts.check(0, &[1, 4]), CartCheck { known: 3, ..CartCheck::default() });
        let bad = CartCheck { known: 3, lost: 2, resurrected: 1, invented: 2 };
        assert_eq!(carts.check(0, &[2, 6, 77]), bad);
        assert_eq!((carts.acked(), carts.open()), (5, 0));
        assert!(carts.is_used(0));
    }
}
