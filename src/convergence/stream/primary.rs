//! From which source an actor's operations come first.
//!
//! Why it exists: what arrives twice is paid for twice; the source that is second can leave it. Two
//! sources that are first by turns must not both be told to stop, or a reader waits for seconds.
//! Promises: the source that counts as an actor's first is never told to stop, and another takes its
//! place only after it was silent for a while, or its stream has ended.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::NodeId;
use crate::model::eventual::Actor;
use crate::runtime::Moment;
use crate::runtime::limits::PRIMARY_KEPT;

/// The first source of each actor, and what the others are to be told.
#[derive(Debug, Default)]
pub(super) struct Primaries {
    first: BTreeMap<Actor, (NodeId, Moment)>,
    pruned: BTreeMap<NodeId, BTreeSet<Actor>>,
}

impl Primaries {
    /// An operation of the actor has come from this source.
    pub(super) fn came(&mut self, actor: Actor, from: NodeId, is_new: bool, now: Moment) {
        let (first, at) = self.first.entry(actor).or_insert((from, now));
        if *first == from {
            *at = now;
            return;
        }
        // Its origin needs no other way, and cannot be told to stop.
        let is_origin = actor.node == from.0;
        if is_origin || (is_new && now.since(*at) > PRIMARY_KEPT) {
            let second = std::mem::replace(first, from);
            *at = now;
            if !is_new {
                self.pruned.entry(second).or_default().insert(actor);
            }
        } else if !is_new {
            self.pruned.entry(from).or_default().insert(actor);
        }
    }

    /// What a source is to be told now.
    pub(super) fn take_pruned(&mut self, source: NodeId) -> Vec<Actor> {
        self.pruned.remove(&source).into_iter().flatten().collect()
    }

    /// A source's stream has ended.
    pub(super) fn ended(&mut self, source: NodeId) {
        self.first.retain(|_, (first, _)| *first != source);
        self.pruned.remove(&source);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const A: Actor = Actor { node: 9, home: 1, run: 1 };
    const ONE: NodeId = NodeId(1);
    const TWO: NodeId = NodeId(2);

    #[test]
    fn only_the_second_source_is_told_to_stop() {
        let mut primaries = Primaries::default();
        primaries.came(A, ONE, true, Moment(0));
        primaries.came(A, TWO, true, Moment(1));
        primaries.came(A, ONE, false, Moment(2));
        assert!(primaries.take_pruned(ONE).is_empty(), "it is the first");
        primaries.came(A, TWO, false, Moment(3));
        assert_eq!(primaries.take_pruned(TWO), [A]);
        assert!(primaries.take_pruned(TWO).is_empty());
    }

    #[test]
    fn another_source_takes_the_place_of_one_that_is_silent_or_gone() {
        let mut primaries = Primaries::default();
        primaries.came(A, ONE, true, Moment(0));
        let later = Moment(0) + PRIMARY_KEPT + Duration::from_nanos(1);
        primaries.came(A, TWO, true, later);
        primaries.came(A, ONE, false, later);
        assert_eq!(primaries.take_pruned(ONE), [A]);
        primaries.ended(TWO);
        primaries.came(A, ONE, true, later);
        primaries.came(A, TWO, false, later);
        assert_eq!(primaries.take_pruned(TWO), [A]);
    }

    #[test]
    fn an_actors_own_node_comes_before_all_others() {
        let mut primaries = Primaries::default();
        primaries.came(A, ONE, true, Moment(0));
        primaries.came(A, NodeId(9), false, Moment(1));
        assert_eq!(primaries.take_pruned(ONE), [A]);
        assert!(primaries.take_pruned(NodeId(9)).is_empty());
    }
}
