//! Every bound of the system, named, with its reason.
//!
//! Why it exists: what has no bound ends with the memory. Overload is refused at these numbers, and
//! a reader finds all of them in one place. Grouped by the room that keeps them.

// --- requests -------------------------------------------------------------------------------

/// Longest key, in bytes after percent-decoding.
pub const KEY_BYTES_MAX: usize = 4 * 1024;

/// Longest value by default, in bytes.
pub const VALUE_BYTES_MAX: usize = 1024 * 1024;

// --- storage --------------------------------------------------------------------------------

// state, checkpoint (working index)

/// All memtables of a node together, before they are written to the working index: about 200,000
/// small changes, so that a hot row is written once and not every time.
pub const MEMTABLE_BYTES: usize = 64 * 1024 * 1024;

/// All memtables of a node together, above which `apply` waits: the flusher is behind by seconds.
pub const MEMTABLE_BYTES_MAX: usize = 4 * MEMTABLE_BYTES;

/// What a row costs in a memtable beside its bytes: two handles, its place in the tree, allocation.
pub const MEMTABLE_ROW_OVERHEAD: usize = 128;

/// Cache of the working index: it holds recent changes only, so a part of them fits.
pub const INDEX_CACHE_BYTES: u64 = 64 * 1024 * 1024;

/// Rows that one step of a scan takes from the working index: bounds memory, amortises the seek.
pub const INDEX_SCAN_ROWS: usize = 512;

/// Target size of a block: what one lookup reads and checks. One index entry stands for each.
pub const CHECKPOINT_BLOCK_BYTES: usize = 4 * 1024;

/// Bytes gathered for one write of a checkpoint file.
pub const CHECKPOINT_WRITE_BYTES: usize = 256 * 1024;

/// Longest key, value, mark or block that a checkpoint may claim: refused before memory is asked
/// for. Above every limit that a namespace can set.
pub const CHECKPOINT_PART_BYTES_MAX: usize = 256 * 1024 * 1024;

/// A group asks for a checkpoint when its changes since the last one exceed this many bytes and ...
pub const CHECKPOINT_DUE_BYTES_MIN: u64 = 1024 * 1024;

/// ... this many hundredths of the rows in it: the working index takes about five times the bytes
/// of its rows, while writing a checkpoint costs each row one copy.
pub const CHECKPOINT_DUE_PERCENT: u64 = 15;
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

/// How long commit marks and notes may wait for a batch to ride on.
pub const LOG_LAZY_MS: u64 = 200;

/// Most bytes that one read of consecutive entries takes from a segment at once.
pub const LOG_READ_SPAN_BYTES: u64 = 1024 * 1024;

// --- peer -----------------------------------------------------------------------------------

// --- consensus ------------------------------------------------------------------------------

// --- http -----------------------------------------------------------------------------------

// --- client, cli ----------------------------------------------------------------------------
