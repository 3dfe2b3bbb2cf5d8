//! The words that callers of the log use.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::runtime::limits;
use crate::storage::{GroupId, StorageError};

/// Runs on the writer's thread once the record is durable, or can never be; strictly in queue order.
pub type Flushed = Box<dyn FnOnce(Result<(), Arc<StorageError>>) + Send>;

/// Bounds of the log. The defaults are `runtime::limits`.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// Size of one segment file; must stay the same over the life of a data directory's spares,
    /// older segments of other sizes are read all the same.
    pub segment_bytes: u64,
    /// Most bytes of one batch, unless a single entry is larger.
    pub batch_bytes_max: usize,
    /// Recent flushed entries that are kept in memory, over all groups.
    pub cache_bytes: usize,
    /// Queue size above which `is_overloaded` says yes.
    pub queue_bytes_max: usize,
    /// Emptied segments that are kept for reuse.
    pub recycle_max: usize,
    /// Segments above which the oldest one's live records are written anew.
    pub segments_soft_max: usize,
    /// Bytes written anew per batch.
    pub rewrite_bytes_per_batch: usize,
    /// No thread: nothing is written until `Log::drive` is called. For tests and simulations.
    pub inline: bool,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            segment_bytes: limits::LOG_SEGMENT_BYTES,
            batch_bytes_max: limits::LOG_BATCH_BYTES_MAX,
            cache_bytes: limits::LOG_CACHE_BYTES,
            queue_bytes_max: limits::LOG_QUEUE_BYTES_MAX,
            recycle_max: limits::LOG_SPARES_MAX,
            segments_soft_max: limits::LOG_SEGMENTS_SOFT_MAX,
            rewrite_bytes_per_batch: limits::LOG_REWRITE_BYTES_PER_BATCH,
            inline: false,
        }
    }
}

/// One entry of a group's log; the bytes are its owner's business.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its place in the group's log.
    pub index: u64,
    /// Its content.
    pub bytes: Bytes,
}

/// A log id as its owner encodes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The index in it.
    pub index: u64,
    /// All of it, opaque.
    pub bytes: Bytes,
}

/// What the log knows of a group, including what is not durable yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupState {
    /// The last vote.
    pub vote: Option<Bytes>,
    /// The last commit mark.
    pub committed: Option<Bytes>,
    /// Up to where entries are gone.
    pub purged: Option<Mark>,
    /// The first entry, if there is one.
    pub first_index: Option<u64>,
    /// The last entry, if there is one.
    pub last_index: Option<u64>,
}

/// Figures of the log at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogStats {
    /// Segment files in use.
    pub segments: usize,
    /// Emptied segment files kept for reuse.
    pub spares: usize,
    /// Bytes of the files in use.
    pub bytes: u64,
    /// Bytes of live entries per group.
    pub live_bytes: BTreeMap<GroupId, u64>,
    /// Syncs of batches since the log was opened.
    pub fsyncs: u64,
    /// Batches since the log was opened.
    pub batches: u64,
    /// Bytes of entries in memory.
    pub cached_bytes: usize,
}
