//! The newest changes of a group that has no replica here, shared by all watches of the node.
//!
//! Promises: every change with an index in (floor, upto] is there; whole entries only; bounded in
//! bytes by [`MIRROR_BYTES_MAX`] and one entry. Pure.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::runtime::limits::MIRROR_BYTES_MAX;
use crate::storage::state::{Change, Changes, Gone};

/// A ring of changes.
#[derive(Debug, Default)]
pub(super) struct Mirror {
    changes: VecDeque<Change>,
    bytes: usize,
    floor: u64,
    upto: u64,
}

/// What a change costs beside its bytes.
const OVERHEAD: usize = 128;

fn cost(change: &Change) -> usize {
    let len = |value: &Option<Bytes>| value.as_ref().map_or(0, Bytes::len);
    change.key.len() + len(&change.before) + len(&change.after) + OVERHEAD
}

impl Mirror {
    /// Begins anew: nothing is known before this index.
    pub(super) fn restart(&mut self, floor: u64) {
        *self = Self { floor, upto: floor, ..Self::default() };
    }

    /// Whether it ends before this index.
    pub(super) const fn is_behind(&self, index: u64) -> bool {
        self.upto < index
    }

    /// Adds the changes that follow, up to an index.
    pub(super) fn extend(&mut self, changes: Vec<Change>, upto: u64) {
        for change in changes.into_iter().filter(|change| change.index > self.upto) {
            self.bytes += cost(&change);
            self.changes.push_back(change);
        }
        self.upto = self.upto.max(upto);
        while self.bytes > MIRROR_BYTES_MAX {
            let Some(oldest) = self.changes.front().map(|change| change.index) else { break };
            if self.changes.back().is_some_and(|newest| newest.index == oldest) {
                break;
            }
            while self.changes.front().is_some_and(|change| change.index == oldest) {
                self.bytes -= self.changes.pop_front().as_ref().map_or(0, cost);
            }
            self.floor = oldest;
        }
    }

    /// Changes after an entry, within the bounds; whole entries, about so many bytes.
    pub(super) fn read(
        &self,
        after: u64,
        (from, to): (&[u8], &[u8]),
        bytes_max: usize,
    ) -> Result<Changes, Gone> {
        if after < self.floor {
            return Err(Gone { floor: self.floor });
        }
        let mut found: Vec<Change> = Vec::new();
        let mut bytes = 0;
        let start = self.changes.partition_point(|change| change.index <= after);
        for change in self.changes.range(start..) {
            if change.key < from || change.key >= to {
                continue;
            }
            let next_entry = found.last().is_some_and(|last| last.index < change.index);
            if next_entry && bytes >= bytes_max {
                let upto = change.index - 1;
                return Ok(self.answer(found, upto));
            }
            bytes += cost(change);
            found.push(change.clone());
        }
        Ok(self.answer(found, self.upto.max(after)))
    }

    fn answer(&self, changes: Vec<Change>, upto: u64) -> Changes {
        Changes { changes, floor: self.floor, upto, applied: self.upto }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(index: u64, seq: u32, bytes: usize) -> Change {
        let after = Some(Bytes::from(vec![0; bytes]));
        Change { index, seq, key: Bytes::from_static(b"k"), before: None, after, note: 0 }
    }

    fn read(mirror: &Mirror, after: u64, bytes: usize) -> Result<(Vec<(u64, u32)>, u64), u64> {
        let found = mirror.read(after, (b"", b"z"), bytes).map_err(|gone| gone.floor)?;
        Ok((found.changes.iter().map(|c| (c.index, c.seq)).collect(), found.upto))
    }

    #[test]
    fn what_is_dropped_is_gone_by_whole_entries_and_an_entry_is_never_split() {
        let mut mirror = Mirror::default();
        mirror.restart(10);
        mirror.extend(vec![change(11, 0, 1), change(11, 1, 1), change(13, 0, 1)], 15);
        assert_eq!(read(&mirror, 9, 1), Err(10));
        assert_eq!(read(&mirror, 10, 1), Ok((vec![(11, 0), (11, 1)], 12)));
        assert_eq!(read(&mirror, 12, 1), Ok((vec![(13, 0)], 15)));
        assert_eq!(read(&mirror, 20, 1), Ok((vec![], 20)));
        mirror.extend(vec![change(13, 0, 1), change(16, 0, MIRROR_BYTES_MAX / 2)], 16);
        assert_eq!(read(&mirror, 13, 1), Ok((vec![(16, 0)], 16)), "13 is not taken twice");
        mirror.extend(vec![change(17, 0, MIRROR_BYTES_MAX / 2)], 18);
        assert_eq!(read(&mirror, 15, 1), Err(16), "what came up to 16 has made room");
        assert_eq!(read(&mirror, 16, 1), Ok((vec![(17, 0)], 18)));
    }
}
