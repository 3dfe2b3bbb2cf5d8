//! What an operator may set, and what the state reports about itself.

use std::time::Duration;

use bytes::Bytes;

use crate::runtime::limits::{
    HISTORY_BYTES, INDEX_CACHE_BYTES, MEMTABLE_BYTES, MEMTABLE_BYTES_MAX,
};

/// Bounds of the state.
#[derive(Clone, Debug)]
pub struct StateOptions {
    /// All memtables together: above this they are written to the working index.
    pub memtable_bytes: usize,
    /// All memtables together: above this `apply` waits.
    pub memtable_bytes_max: usize,
    /// Cache of the working index.
    pub index_cache_bytes: u64,
    /// The histories of all groups together: above this the oldest changes are forgotten.
    pub history_bytes: usize,
    /// After an unclean stop, read every checkpoint once and check every checksum before serving.
    pub verify_after_unclean_stop: bool,
}

impl Default for StateOptions {
    fn default() -> Self {
        Self {
            memtable_bytes: MEMTABLE_BYTES,
            memtable_bytes_max: MEMTABLE_BYTES_MAX,
            index_cache_bytes: INDEX_CACHE_BYTES,
            history_bytes: HISTORY_BYTES,
            verify_after_unclean_stop: true,
        }
    }
}

/// A value, and the applied index that it reflects exactly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// `None` if there is no such row.
    pub value: Option<Bytes>,
    /// The group's applied index at the moment of the read; 0 before the first.
    pub index: u64,
}

/// How far the checks after an unclean stop have come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RebuildProgress {
    /// Groups finished.
    pub groups: usize,
    /// Groups to do in all.
    pub groups_total: usize,
    /// Rows of the finished groups.
    pub rows: u64,
    /// File bytes of the finished groups.
    pub bytes: u64,
}

/// Why the working index was thrown away at open, and what that cost.
#[derive(Clone, Debug)]
pub struct Rebuilt {
    /// In words, for the log.
    pub reason: String,
    /// What was checked instead.
    pub progress: RebuildProgress,
    /// How long it took; the log is applied again from the checkpoints after this.
    pub took: Duration,
}

/// Sizes, for `/metrics` and status pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StateStats {
    /// Rows in checkpoints, plus changes since then: an upper bound of the rows.
    pub rows: u64,
    /// Bytes of all memtables, with their overhead.
    pub memtable_bytes: u64,
    /// Rows of the working index, removals included.
    pub index_rows: u64,
    /// What the working index takes on disk.
    pub index_disk_bytes: u64,
    /// What the current checkpoints take on disk.
    pub checkpoint_bytes: u64,
    /// Counted bytes of all histories.
    pub history_bytes: u64,
    /// Changes in all histories.
    pub history_changes: u64,
}
