//! Where a shard's log begins, and what was applied at some places in it.
//!
//! Why it exists: rule R2 says that a log may be streamed only to who has all that was cut off from it,
//! and a reader that comes back should not be read everything that it has. Promises: an entry behind
//! the base is never given out; [`Trail::seek`] never passes over what the reader lacks.

use std::collections::VecDeque;
use std::sync::Arc;

use super::words::Base;
use crate::model::eventual::Vector;
use crate::runtime::limits::{EVENTUAL_CUT_ENTRIES, EVENTUAL_CUTS_MAX};

/// The log's base, and some places behind it.
#[derive(Debug)]
pub(super) struct Trail {
    base: Base,
    cuts: VecDeque<(u64, Arc<Vector>)>,
}

impl Trail {
    pub(super) fn new(base: Base) -> Self {
        Self { base, cuts: VecDeque::new() }
    }

    pub(super) fn base(&self) -> &Base {
        &self.base
    }

    /// Applied up to an entry.
    pub(super) fn reached(&mut self, index: u64, vector: &Arc<Vector>) {
        let last = self.cuts.back().map_or(self.base.index, |(last, _)| *last);
        if index >= last + EVENTUAL_CUT_ENTRIES {
            self.cuts.push_back((index, Arc::clone(vector)));
            if self.cuts.len() > EVENTUAL_CUTS_MAX {
                self.cuts.pop_front();
            }
        }
    }

    /// Of some actors the log does not say more than what was before and after this.
    pub(super) fn jump(&mut self, jumped: &Vector) {
        self.base.vector.join(jumped);
    }

    /// The log begins later now. A base behind the present one changes nothing.
    pub(super) fn rebase(&mut self, base: &Base) {
        if base.index > self.base.index {
            self.cuts.retain(|(index, _)| *index > base.index);
            // What a state sync has put on top meanwhile stays.
            self.base.index = base.index;
            self.base.vector.join(&base.vector);
        }
    }

    /// The first entry that may be news for a reader; `None` if it needs a state sync.
    pub(super) fn seek(&self, has: &Vector) -> Option<u64> {
        if !has.includes(&self.base.vector) {
            return None;
        }
        let known = self.cuts.iter().rev().find(|(_, vector)| has.includes(vector));
        Some(known.map_or(self.base.index, |(index, _)| *index) + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::eventual::Actor;

    fn upto(counter: u64) -> Arc<Vector> {
        let actor = Actor { node: 1, home: 1, run: 1 };
        Arc::new(Vector([(actor, counter)].into()))
    }

    fn trail() -> Trail {
        let mut trail = Trail::new(Base { index: 10, vector: (*upto(10)).clone() });
        for index in 11..=50_000 {
            trail.reached(index, &upto(index));
        }
        trail
    }

    #[test]
    fn who_lacks_what_was_cut_off_needs_a_state_sync() {
        assert_eq!(trail().seek(&upto(9)), None);
        assert_eq!(trail().seek(&upto(10)), Some(11));
    }

    #[test]
    fn who_comes_back_is_read_little_that_it_has_and_all_that_it_lacks() {
        for has in [11, 5_000, 20_000, 49_999, 60_000] {
            let from = trail().seek(&upto(has)).unwrap();
            assert!(from <= has + 1, "{has}: nothing is passed over");
            assert!(from + EVENTUAL_CUT_ENTRIES > has.min(45_000), "{has}: little is repeated");
        }
    }

    #[test]
    fn a_later_base_forgets_the_places_before_it() {
        let mut trail = trail();
        trail.rebase(&Base { index: 30_000, vector: (*upto(30_000)).clone() });
        assert_eq!(trail.seek(&upto(29_999)), None);
        assert_eq!(trail.seek(&upto(30_000)), Some(30_001));
        trail.rebase(&Base { index: 20_000, vector: (*upto(20_000)).clone() });
        assert_eq!(trail.base().index, 30_000);
    }
}
