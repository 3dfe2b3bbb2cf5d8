//! Bounds of the log, the checkpoints and the applied state.

use std::time::Duration;

// state, checkpoint (working index)

/// All memtables of a node together, before they are written to the working index: about 200,000
/// small changes, so that a hot row is written once and not every time.
pub const MEMTABLE_BYTES: usize = 64 * 1024 * 1024;

/// All memtables of a node together, above which `apply` waits: the flusher is behind by seconds.
pub const MEMTABLE_BYTES_MAX: usize = 4 * MEMTABLE_BYTES;

/// What a row costs in a memtable beside its bytes: two handles, its place in the tree, allocation.
pub const MEMTABLE_ROW_OVERHEAD: usize = 128;

/// Rows that the first memtable of a group has a filter for; each following one as many as the one
/// before it held. Two bytes a row.
pub const MEMTABLE_FILTER_ROWS_MIN: usize = 1024;

/// Cache of the working index: it holds recent changes only, so a part of them fits.
pub const INDEX_CACHE_BYTES: u64 = 64 * 1024 * 1024;

/// Rows that one step of a scan takes from the working index: bounds memory, amortises the seek.
pub const INDEX_SCAN_ROWS: usize = 512;

/// Target size of a block: what one lookup reads and checks. One index entry stands for each, which
/// keeps about a fiftieth of a checkpoint's bytes in memory.
pub const CHECKPOINT_BLOCK_BYTES: usize = 2 * 1024;

/// Bytes gathered for one write of a checkpoint file.
pub const CHECKPOINT_WRITE_BYTES: usize = 256 * 1024;

/// Bytes of a checkpoint after which it is synced while it is written: the log's syncs wait behind
/// what one sync has to write.
pub const CHECKPOINT_SYNC_BYTES: u64 = 8 * 1024 * 1024;

/// Blocks up to this size are read into a buffer that each reading thread keeps. Larger ones hold
/// one large row, whose copy costs more than the buffer.
pub const CHECKPOINT_READ_BUFFER_BYTES_MAX: usize = 64 * 1024;

/// Longest key, value, mark or block that a checkpoint may claim: refused before memory is asked
/// for. Above every limit that a namespace can set.
pub const CHECKPOINT_PART_BYTES_MAX: usize = 256 * 1024 * 1024;

/// A group asks for a checkpoint when its changes since the last one exceed this many bytes and ...
pub const CHECKPOINT_DUE_BYTES_MIN: u64 = 1024 * 1024;

/// ... this many hundredths of the bytes of the rows in it. Writing a checkpoint costs each row one
/// copy: with random overwrites, about 2.5 bytes of checkpoints for each byte written.
pub const CHECKPOINT_DUE_PERCENT: u64 = 33;

/// What the files of the working index take for each byte of its rows, measured.
pub const INDEX_BYTES_PER_BYTE: u64 = 5;

/// When the rows of the working index take more than `INDEX_DISK_BYTES_MIN` and this many hundredths
/// of the checkpoints' bytes, ...
pub const INDEX_DISK_PERCENT: u64 = 60;

/// (Below this they are too small to matter.)
pub const INDEX_DISK_BYTES_MIN: u64 = 64 * 1024 * 1024;

/// ... the groups with the most changes ask for a checkpoint at this many hundredths already.
pub const CHECKPOINT_DUE_EARLY_PERCENT: u64 = 10;

/// Longest wait of one apply while memtables fill: it grows from nothing at half of
/// `MEMTABLE_BYTES_MAX`, so that writers are slowed down long before they would have to stop.
pub const APPLY_DELAY_MAX: Duration = Duration::from_millis(4);

/// Histories of all groups of a node, as counted: five minutes of some 3,000 small changes a second.
/// Above it the group with the longest one forgets its oldest changes.
pub const HISTORY_BYTES: usize = 256 * 1024 * 1024;

/// What a change costs in memory beside its bytes: its record, its place by key, allocations.
pub const HISTORY_CHANGE_OVERHEAD: usize = 192;

/// Most changes of one group: a search for an earlier view goes through all chunks of them.
pub const HISTORY_GROUP_CHANGES_MAX: usize = 1024 * 1024;

/// Changes, or ...
pub const HISTORY_CHUNK_CHANGES: usize = 1024;

/// ... counted bytes, at which a chunk of a history is sealed: what is forgotten at once, and what
/// must be passed over change by change.
pub const HISTORY_CHUNK_BYTES: usize = 512 * 1024;

/// Sealed chunks that one call for changes goes through: about a millisecond.
pub const CHANGES_CHUNKS_MAX: usize = 64;

/// Keys that one step of a page looks at under the group's lock, where applies wait meanwhile: some
/// hundred microseconds.
pub const PAGE_STEP_ROWS: usize = 512;

/// Bytes of rows that one step of a page reads under that lock, one row more at most.
pub const PAGE_STEP_BYTES: usize = 512 * 1024;

/// Changed keys that one step of a page of an earlier view keeps: bounds its memory.
pub const PAGE_CHANGES_MAX: usize = 4096;

/// Steps after which a page is given out although it is not full.
pub const PAGE_STEPS_MAX: usize = 64;

/// Size of one segment of the log. Large enough that a roll (two more syncs) is rare, small enough
/// that purging gives space back in useful steps.
pub const LOG_SEGMENT_BYTES: u64 = 64 * 1024 * 1024;

/// Most bytes of one batch, unless a single entry is larger: bounds the latency that one batch adds.
pub const LOG_BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Recent entries that are kept in memory per node, for followers that are nearly caught up.
pub const LOG_CACHE_BYTES: usize = 64 * 1024 * 1024;

/// Bytes waiting for the log writer above which new work is to be refused.
pub const LOG_QUEUE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Emptied segments that are kept for reuse; more than these are removed.
pub const LOG_SPARES_MAX: usize = 4;

/// Segments above which the oldest one's few live records are written anew, so that a cold group
/// does not pin the rest.
pub const LOG_SEGMENTS_SOFT_MAX: usize = 8;

/// Bytes written anew per batch, so that making room does not delay appends.
pub const LOG_REWRITE_BYTES_PER_BATCH: usize = 1024 * 1024;

/// How often a log without room for its next segment looks whether there is room again.
pub const LOG_ROOM_RETRY: Duration = Duration::from_secs(1);

/// How long commit marks and notes may wait for a batch to ride on.
pub const LOG_LAZY_MS: u64 = 200;

/// Most bytes that one read of consecutive entries takes from a segment at once.
pub const LOG_READ_SPAN_BYTES: u64 = 1024 * 1024;

/// Bytes of others between two entries of a group above which a read of its own costs less.
pub const LOG_READ_GAP_BYTES: u32 = 32 * 1024;

/// Zeros after which a segment being filled is synced: appends wait no longer for the disk than
/// for so much.
pub const LOG_FILL_SYNC_BYTES: u64 = 256 * 1024;

/// Rows of a digest after which its deadline is looked at.
pub const DIGEST_ROWS_PER_LOOK: u64 = 1024;

/// Frozen memtables of a group from which on a digest moves them into the working index first:
/// lookups ask each of them.
pub const DIGEST_FROZEN_MAX: usize = 4;
