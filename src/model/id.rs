//! Names for things: nodes, groups, namespaces, slots.
//!
//! Plain numbers with a type each, so that one can never stand where another is meant.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number_id! {
    /// One running server with one data directory; never reused, also not after removal.
    NodeId
}
number_id! {
    /// The Raft instance of a linearizable shard. 0 is the system group.
    GroupId
}
number_id! {
    /// A user-visible set of keys.
    NamespaceId
}

impl GroupId {
    /// The group that replicates the catalog.
    pub const SYSTEM: Self = Self(0);
}

/// A random number that names one data directory for all its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Incarnation(pub u64);

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A random number that names a cluster for all its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClusterId(pub u64);

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// One of the hash buckets of the keyspace; the unit that is moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct Slot(u16);

impl Slot {
    /// How many slots there are.
    pub const COUNT: u16 = 16_384;

    /// `None` when the number is not below [`Slot::COUNT`].
    pub const fn new(number: u16) -> Option<Self> {
        if number < Self::COUNT { Some(Self(number)) } else { None }
    }

    /// The slot of a hash.
    pub const fn of_hash(hash: u64) -> Self {
        #[allow(clippy::cast_possible_truncation, reason = "the remainder is below 16,384")]
        Self((hash % Self::COUNT as u64) as u16)
    }

    /// The number.
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl TryFrom<u16> for Slot {
    type Error = String;

    fn try_from(number: u16) -> Result<Self, String> {
        Self::new(number).ok_or_else(|| format!("slot {number} is not below {}", Self::COUNT))
    }
}

impl From<Slot> for u16 {
    fn from(slot: Slot) -> Self {
        slot.0
    }
}

/// Slots from `first` to `last`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SlotRange {
    /// The lowest slot.
    pub first: Slot,
    /// The highest slot.
    pub last: Slot,
}

impl SlotRange {
    /// Whether the slot is one of these.
    pub fn contains(&self, slot: Slot) -> bool {
        self.first <= slot && slot <= self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_stay_below_their_count() {
        assert!(Slot::new(16_383).is_some());
        assert!(Slot::new(16_384).is_none());
        assert_eq!(Slot::of_hash(u64::MAX).get(), 16_383);
        assert!(Slot::try_from(20_000).unwrap_err().contains("16384"));
    }

    #[test]
    fn a_range_includes_both_ends() {
        let range = SlotRange { first: Slot::new(3).unwrap(), last: Slot::new(5).unwrap() };
        for (slot, inside) in [(2, false), (3, true), (5, true), (6, false)] {
            assert_eq!(range.contains(Slot::new(slot).unwrap()), inside, "slot {slot}");
        }
    }
}
