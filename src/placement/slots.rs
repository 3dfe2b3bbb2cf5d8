//! Which slot a key falls into, and which group holds a slot.
//!
//! Promises: [`slot_of`] depends on nothing but its arguments, today and in every later release (a
//! change would misplace every stored key; the tests pin values); [`ranges`] gives every slot to
//! exactly one group, with sizes that differ by at most one.

use xxhash_rust::xxh3::xxh3_64;

use super::catalog::{Catalog, Layout};
use crate::model::{GroupId, NamespaceId, Slot, SlotRange};

/// The slot of a key: xxh3-64 of the namespace id (little-endian) and the partition key, modulo the
/// number of slots.
pub fn slot_of(namespace: NamespaceId, layout: Layout, key: &[u8]) -> Slot {
    let partition = match layout {
        Layout::Spread => partition_key(key),
        Layout::Ordered => &[],
    };
    let mut hashed = Vec::with_capacity(8 + partition.len());
    hashed.extend_from_slice(&namespace.0.to_le_bytes());
    hashed.extend_from_slice(partition);
    Slot::of_hash(xxh3_64(&hashed))
}

/// What stands between the first `{` and the next `}`, if that is not empty; otherwise the whole key.
fn partition_key(key: &[u8]) -> &[u8] {
    let Some(open) = key.iter().position(|&byte| byte == b'{') else { return key };
    let (_, rest) = key.split_at(open + 1);
    match rest.iter().position(|&byte| byte == b'}') {
        None | Some(0) => key,
        Some(close) => rest.split_at(close).0,
    }
}

/// The slots of groups 1 to `groups`: contiguous, in order, even.
///
/// # Panics
/// Unless 1 <= `groups` <= [`Slot::COUNT`]: each group needs a slot. `Found` refuses other numbers.
pub fn ranges(groups: u64) -> Vec<(GroupId, SlotRange)> {
    let slots = u64::from(Slot::COUNT);
    assert!(
        (1..=slots).contains(&groups),
        "there must be between 1 and {slots} groups to hold the slots, not {groups}"
    );
    let bound = |group: u64| -> u16 {
        u16::try_from(group * slots / groups).expect("a bound is at most the number of slots")
    };
    let slot = |number: u16| Slot::new(number).expect("a range ends below the number of slots");
    (0..groups)
        .map(|n| {
            let range = SlotRange { first: slot(bound(n)), last: slot(bound(n + 1) - 1) };
            (GroupId(n + 1), range)
        })
        .collect()
}

/// The groups of all slots, for routing: built once for each epoch of the catalog, then asked for
/// every request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SlotTable {
    /// Sorted by first slot; disjoint, as the catalog's ranges are.
    ranges: Vec<(SlotRange, GroupId)>,
}

impl SlotTable {
    /// The table of a catalog.
    pub fn of(catalog: &Catalog) -> Self {
        let mut ranges: Vec<_> = catalog
            .groups
            .iter()
            .flat_map(|(&group, entry)| entry.ranges.iter().map(move |&range| (range, group)))
            .collect();
        ranges.sort_unstable();
        Self { ranges }
    }

    /// All ranges with their groups, in order of their slots.
    pub fn iter(&self) -> impl Iterator<Item = (SlotRange, GroupId)> + '_ {
        self.ranges.iter().copied()
    }

    /// The group of a slot; `None` before the cluster is founded.
    pub fn group_of(&self, slot: Slot) -> Option<GroupId> {
        let after = self.ranges.partition_point(|(range, _)| range.first <= slot);
        let (range, group) = self.ranges.get(after.checked_sub(1)?)?;
        range.contains(slot).then_some(*group)
    }
}

#[cfg(test)]
mod tests;
