//! Which slots the groups of this node own, decoded once for each change.
//!
//! Why it exists: every read checks its slot against the ownership row of its group; the row is a few
//! bytes and changes a few times in a cluster's life, but decoding it builds a vector. Promises: what
//! is decoded is what the row holds at that moment: the bytes are compared each time. Bounded by the
//! groups that this node has held.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;

use crate::model::{CodecError, GroupId, Ownership};

/// The decoded ownership rows of this node.
#[derive(Debug, Default)]
pub(super) struct Owned {
    groups: RwLock<BTreeMap<GroupId, Known>>,
}

#[derive(Debug)]
struct Known {
    row: Bytes,
    ownership: Arc<Ownership>,
}

impl Owned {
    /// What the row of a group says. A group without a row owns nothing.
    pub(super) fn of(
        &self,
        group: GroupId,
        row: Option<Bytes>,
    ) -> Result<Arc<Ownership>, CodecError> {
        let Some(row) = row else { return Ok(Arc::default()) };
        if let Some(known) = self.groups.read().get(&group)
            && known.row == row
        {
            return Ok(Arc::clone(&known.ownership));
        }
        let ownership = Arc::new(Ownership::decode(&row)?);
        // Copied: the row may be a slice of a whole block.
        let row = Bytes::copy_from_slice(&row);
        let known = Known { row, ownership: Arc::clone(&ownership) };
        self.groups.write().insert(group, known);
        Ok(ownership)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Slot, SlotRange};

    #[test]
    fn a_changed_row_is_seen_and_an_unchanged_one_is_not_decoded_again() {
        let owned = Owned::default();
        let range = |first, last| SlotRange {
            first: Slot::new(first).unwrap(),
            last: Slot::new(last).unwrap(),
        };
        let row = |epoch| Ownership { ranges: vec![range(0, 5)], epoch }.encode();
        let first = owned.of(GroupId(1), Some(row(1))).unwrap();
        let again = owned.of(GroupId(1), Some(row(1))).unwrap();
        assert!(Arc::ptr_eq(&first, &again));
        assert_eq!(owned.of(GroupId(1), Some(row(2))).unwrap().epoch, 2);
        assert_eq!(owned.of(GroupId(2), None).unwrap().epoch, 0);
        assert!(owned.of(GroupId(2), Some(Bytes::from_static(&[9]))).is_err());
    }
}
