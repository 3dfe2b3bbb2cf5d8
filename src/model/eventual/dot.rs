//! Who wrote, in which order: actors, dots, vectors and hybrid time.
//!
//! Why it exists: a dot is a write's name for ever; a vector says in a few bytes which writes a
//! replica has, because it never has gaps (every operation of an actor up to the counter).
//!
//! Promises: the order of dots and stamps is total and the same everywhere.
//! Relies on its users never to give one dot twice: an actor ends with an unclean stop.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Who originates operations: one run of one data directory. Never used again after an unclean stop.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Actor {
    /// The node's id within its cluster.
    pub node: u64,
    /// A random number of its data directory: node 1 of another cluster is somebody else.
    pub home: u32,
    /// Counts the unclean stops.
    pub run: u32,
}

/// One operation: the counter-th of its actor, from 1, without gaps.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Dot {
    /// Who.
    pub actor: Actor,
    /// Which one.
    pub counter: u64,
}

/// A stamp of the hybrid clock: milliseconds in the upper 48 bits, a counter in the lower 16.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Hlc(pub u64);

/// Up to which counter every operation of each actor is known; without gaps.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Vector(pub BTreeMap<Actor, u64>);

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:08x}-{}", self.node, self.home, self.run)
    }
}

impl fmt::Display for Dot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.actor, self.counter)
    }
}

impl Vector {
    /// The highest counter of an actor; 0 when nothing of it is known.
    pub fn of(&self, actor: Actor) -> u64 {
        self.0.get(&actor).copied().unwrap_or(0)
    }

    /// Whether the operation is known.
    pub fn covers(&self, dot: Dot) -> bool {
        self.of(dot.actor) >= dot.counter
    }

    /// Whether everything that `other` knows is known here.
    pub fn includes(&self, other: &Self) -> bool {
        other.0.iter().all(|(actor, counter)| self.of(*actor) >= *counter)
    }

    /// Knows the next operation of an actor.
    ///
    /// # Panics
    ///
    /// When there would be a gap.
    pub fn advance(&mut self, dot: Dot) {
        let known = self.0.entry(dot.actor).or_default();
        assert!(dot.counter == *known + 1, "{dot} follows counter {known}: a vector has no gaps");
        *known = dot.counter;
    }

    /// Knows what both know.
    pub fn join(&mut self, other: &Self) {
        for (actor, counter) in &other.0 {
            let known = self.0.entry(*actor).or_default();
            *known = (*known).max(*counter);
        }
    }

    /// How many operations `other` knows that are not known here.
    pub fn missing(&self, other: &Self) -> u64 {
        other.0.iter().map(|(actor, counter)| counter.saturating_sub(self.of(*actor))).sum()
    }
}
