//! Which actors' operations a source sends at once, and when it begins to pass others' on.
//!
//! Why it exists: in a mesh everyone hears everyone's own writes, and to send each write on every
//! path would multiply the traffic; but when one path is cut another must take over. This is eager
//! push on some links and vectors only on the others, for each actor: a reader that goes on lacking
//! an actor's operations gets them from us, until it says that they come in time another way.
//!
//! Promises: whatever the reader lacks for long enough is sent. Relies on the reader to say what it
//! has at least every second while that changes, or else it has not changed.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::eventual::{Actor, Vector};
use crate::runtime::limits::{RELAY_AFTER_TICKS, RELAY_ROWS_AFTER_TICKS};

/// What one source sends to one reader.
#[derive(Debug)]
pub(super) struct Relay {
    all: bool,
    rank: u32,
    grafted: BTreeSet<Actor>,
    pruned: BTreeSet<Actor>,
    /// What we had a tick ago: what came later the reader may get another way yet.
    had: Vector,
    /// What the reader had of an actor, and for how many ticks that has not changed.
    lacking: BTreeMap<Actor, (u64, u32)>,
}

/// An actor of which the reader goes on lacking operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lacking {
    /// Who.
    pub actor: Actor,
    /// Whether that is so for so long that rows should do if the log does not reach back.
    pub for_long: bool,
}

impl Relay {
    /// For a reader that wants `all` or only our own, with so many others before us.
    pub(super) fn new(all: bool, rank: u32) -> Self {
        Self {
            all,
            rank,
            grafted: BTreeSet::new(),
            pruned: BTreeSet::new(),
            had: Vector::default(),
            lacking: BTreeMap::new(),
        }
    }

    /// Whether an actor's operations are sent at once; our own always are.
    pub(super) fn is_eager(&self, actor: Actor, is_own: bool) -> bool {
        is_own || self.grafted.contains(&actor) || (self.all && !self.pruned.contains(&actor))
    }

    /// Whether the reader has said that an actor's operations come in time another way.
    pub(super) fn is_pruned(&self, actor: Actor) -> bool {
        self.pruned.contains(&actor)
    }

    /// The reader gets an actor's operations in time another way.
    pub(super) fn prune(&mut self, actor: Actor) {
        self.grafted.remove(&actor);
        self.pruned.insert(actor);
        self.lacking.remove(&actor);
    }

    /// A second has gone by, or so: says of whom the reader goes on lacking operations.
    pub(super) fn tick(
        &mut self,
        have: &Vector,
        reader: &Vector,
        is_own: impl Fn(Actor) -> bool,
    ) -> Vec<Lacking> {
        let had = std::mem::replace(&mut self.had, have.clone());
        let mut lacking = BTreeMap::new();
        for (&actor, &counter) in &had.0 {
            let has = reader.of(actor);
            if has >= counter || self.is_eager(actor, is_own(actor)) {
                continue;
            }
            let before = self.lacking.get(&actor).filter(|(then, _)| *then == has);
            let ticks = before.map_or(0, |(_, ticks)| *ticks).saturating_add(1);
            lacking.insert(actor, (has, ticks));
        }
        self.lacking = lacking;
        let overdue =
            self.lacking.iter().filter(|(_, (_, ticks))| *ticks >= RELAY_AFTER_TICKS + self.rank);
        overdue
            .map(|(&actor, (_, ticks))| {
                let for_long = *ticks >= RELAY_ROWS_AFTER_TICKS + self.rank;
                Lacking { actor, for_long }
            })
            .collect()
    }

    /// From now on an actor's operations are sent.
    pub(super) fn graft(&mut self, actor: Actor) {
        self.lacking.remove(&actor);
        self.pruned.remove(&actor);
        self.grafted.insert(actor);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: Actor = Actor { node: 1, home: 1, run: 1 };
    const OTHER: Actor = Actor { node: 2, home: 1, run: 1 };

    fn vector(own: u64, other: u64) -> Vector {
        Vector([(OWN, own), (OTHER, other)].into())
    }

    fn is_own(actor: Actor) -> bool {
        actor == OWN
    }

    #[test]
    fn others_operations_are_passed_on_once_the_reader_goes_on_lacking_them() {
        let mut relay = Relay::new(false, 1);
        let have = vector(5, 5);
        assert!(relay.is_eager(OWN, true) && !relay.is_eager(OTHER, false));
        assert!(relay.tick(&have, &vector(0, 2), is_own).is_empty(), "it came only now");
        for _ in 0..RELAY_AFTER_TICKS {
            assert!(relay.tick(&have, &vector(0, 2), is_own).is_empty());
        }
        let lacking = relay.tick(&have, &vector(0, 2), is_own);
        assert_eq!(lacking, [Lacking { actor: OTHER, for_long: false }]);
        relay.graft(OTHER);
        assert!(relay.is_eager(OTHER, false));
        assert!(relay.tick(&have, &vector(0, 2), is_own).is_empty());
    }

    #[test]
    fn a_reader_that_advances_is_left_alone_and_one_that_never_does_is_offered_rows() {
        let mut relay = Relay::new(false, 0);
        let have = vector(0, 100);
        for has in 0..50 {
            assert!(relay.tick(&have, &vector(0, has), is_own).is_empty());
        }
        let mut ticks = 0;
        while !relay.tick(&have, &vector(0, 1), is_own).iter().any(|lacking| lacking.for_long) {
            ticks += 1;
            assert!(ticks <= RELAY_ROWS_AFTER_TICKS, "rows are offered at last");
        }
    }

    #[test]
    fn what_comes_in_time_another_way_is_not_sent_until_it_does_not() {
        let mut relay = Relay::new(true, 0);
        assert!(relay.is_eager(OTHER, false));
        relay.prune(OTHER);
        assert!(!relay.is_eager(OTHER, false) && relay.is_eager(OWN, true));
        relay.tick(&vector(0, 9), &vector(0, 3), is_own);
        for _ in 0..RELAY_AFTER_TICKS - 1 {
            assert!(relay.tick(&vector(0, 9), &vector(0, 3), is_own).is_empty());
        }
        assert_eq!(relay.tick(&vector(0, 9), &vector(0, 3), is_own).len(), 1);
        relay.graft(OTHER);
        assert!(relay.is_eager(OTHER, false));
    }
}
