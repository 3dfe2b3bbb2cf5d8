//! When a group's changes are worth a new checkpoint.
//!
//! A checkpoint copies all rows of its group, so many changes should share one. Until then the changes
//! take memory, and those that left memory take several times their bytes in the working index, whose
//! files never shrink. So there are two bounds: one for each group, and a lower one that holds while
//! the rows in the working index are too many in all.

use std::cmp::Reverse;

use crate::runtime::limits::{
    CHECKPOINT_DUE_BYTES_MIN, CHECKPOINT_DUE_EARLY_PERCENT, CHECKPOINT_DUE_PERCENT,
    INDEX_BYTES_PER_BYTE, INDEX_DISK_BYTES_MIN, INDEX_DISK_PERCENT,
};
use crate::storage::GroupId;

/// Bytes of rows, without what they cost where they stand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    pub(super) group: GroupId,
    /// Changed since the checkpoint, in memory or in the index.
    pub(super) changed: u64,
    /// In the checkpoint.
    pub(super) base: u64,
    /// Changed, and in the index.
    pub(super) indexed: u64,
}

/// The groups that are due, worst first; `checkpoint_bytes` is what all checkpoints take on disk.
pub(super) fn due(mut sizes: Vec<Size>, checkpoint_bytes: u64) -> Vec<GroupId> {
    let share = |bytes: u64, percent: u64| bytes / 100 * percent;
    sizes.retain(|size| size.changed > CHECKPOINT_DUE_BYTES_MIN);
    sizes.sort_by_key(|size| {
        let bound = share(size.base, CHECKPOINT_DUE_PERCENT);
        (Reverse(i128::from(size.changed) - i128::from(bound)), size.group)
    });
    let index: u64 = sizes.iter().map(|size| size.indexed * INDEX_BYTES_PER_BYTE).sum();
    let index_max = share(checkpoint_bytes, INDEX_DISK_PERCENT).max(INDEX_DISK_BYTES_MIN);
    let mut excess = index.saturating_sub(index_max);
    let mut due = Vec::new();
    for size in sizes {
        let early = excess > 0 && size.indexed > 0;
        let percent = if early { CHECKPOINT_DUE_EARLY_PERCENT } else { CHECKPOINT_DUE_PERCENT };
        if size.changed > share(size.base, percent) {
            excess = excess.saturating_sub(size.indexed * INDEX_BYTES_PER_BYTE);
            due.push(size.group);
        }
    }
    due
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn size(group: GroupId, changed: u64, indexed: u64) -> Size {
        Size { group, changed: changed * MIB, base: 100 * MIB, indexed: indexed * MIB }
    }

    #[test]
    fn a_third_of_a_group_is_worth_a_checkpoint_and_the_worst_comes_first() {
        let sizes = vec![size(1, 30, 0), size(2, 40, 0), size(3, 50, 0)];
        assert_eq!(due(sizes, 300 * MIB), [3, 2]);
        let small = Size { group: 1, changed: MIB, base: 0, indexed: 0 };
        assert!(due(vec![small], 0).is_empty(), "too little to be worth a file");
    }

    #[test]
    fn a_large_index_makes_as_many_groups_due_as_bring_it_back() {
        // 60 % of 300 MiB are allowed, 5 * 45 MiB are taken: one group is enough.
        let sizes = vec![size(1, 20, 15), size(2, 25, 15), size(3, 12, 15)];
        assert_eq!(due(sizes.clone(), 300 * MIB), [2]);
        // All of them where nothing is allowed, but for those that changed too little.
        let mut sizes = sizes;
        sizes.push(size(4, 9, 9));
        assert_eq!(due(sizes, 0), [2, 1, 3]);
    }
}
