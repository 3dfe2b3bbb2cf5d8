//! Which keys a memtable surely does not hold.
//!
//! Why it exists: applying a command reads the old row first, which is mostly in the checkpoint. To
//! find that out from an ordered map costs some twenty visits to memory that is not in the cache;
//! here it costs one.
//!
//! Promises: a key that was added is never ruled out. A filter does not grow: one that became too
//! small rules out less, and the table that follows gets one of the right size.

use xxhash_rust::xxh3::xxh3_64;

use crate::runtime::limits::MEMTABLE_FILTER_ROWS_MIN;

/// Rows that share one word: sixteen bits for each row, of which two are set.
const ROWS_PER_WORD: usize = 4;

/// Two bits for each key, both in one word.
#[derive(Debug)]
pub(super) struct Filter(Vec<u64>);

impl Filter {
    /// For a table of about so many rows.
    pub(super) fn for_rows(rows: usize) -> Self {
        let rows = rows.max(MEMTABLE_FILTER_ROWS_MIN);
        Self(vec![0; (rows / ROWS_PER_WORD).next_power_of_two()])
    }

    pub(super) fn add(&mut self, hash: u64) {
        let at = self.place(hash);
        if let Some(word) = self.0.get_mut(at) {
            *word |= bits(hash);
        }
    }

    /// False if the key was surely not added.
    pub(super) fn may_hold(&self, hash: u64) -> bool {
        self.0.get(self.place(hash)).is_none_or(|word| word & bits(hash) == bits(hash))
    }

    /// The length is a power of two.
    fn place(&self, hash: u64) -> usize {
        usize::try_from(hash >> 12).unwrap_or(0) & (self.0.len() - 1)
    }
}

pub(super) fn hash(key: &[u8]) -> u64 {
    xxh3_64(key)
}

fn bits(hash: u64) -> u64 {
    (1 << (hash & 63)) | (1 << (hash >> 6 & 63))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_was_added_is_never_ruled_out_and_few_others_are_let_through() {
        for rows in [1u64, 5_000, 100_000] {
            let mut filter = Filter::for_rows(5_000);
            (0..rows).for_each(|key| filter.add(hash(&key.to_le_bytes())));
            assert!((0..rows).all(|key| filter.may_hold(hash(&key.to_le_bytes()))));
            let others =
                (rows..rows + 10_000).filter(|key| filter.may_hold(hash(&key.to_le_bytes())));
            assert!(rows > 5_000 || others.count() < 500);
        }
    }
}
