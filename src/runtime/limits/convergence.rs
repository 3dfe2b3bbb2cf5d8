//! Bounds of eventual namespaces: their logs, queues, and what is kept of lost writes.

use std::time::Duration;

/// Storage group ids of eventual namespaces begin here: far above every group that the catalog gives out.
pub const EVENTUAL_GROUP_BASE: u64 = 1 << 40;

/// Commands that wait for one shard: some batches of many small ones. Beyond it writes are refused.
pub const EVENTUAL_QUEUE_MAX: usize = 4_096;

/// Commands of one batch, which share a sync, and ...
pub const EVENTUAL_BATCH_MAX: usize = 1_000;

/// ... their bytes: what a batch holds in memory beside the rows that it changes.
pub const EVENTUAL_BATCH_BYTES: usize = 1024 * 1024;

/// Log that is kept of one shard for readers that were away: beyond it they get rows instead.
pub const EVENTUAL_LOG_BYTES: u64 = 64 * 1024 * 1024;

/// The same by age, in milliseconds: who was away for longer has little use for every single step.
pub const EVENTUAL_LOG_AGE_MS: u64 = 7 * 24 * 60 * 60 * 1000;

/// Bytes of log that one step of upkeep reads.
pub const EVENTUAL_TRIM_STEP_BYTES: usize = 1024 * 1024;

/// Between two places in the log whose vector is remembered, in entries: a reader that comes back
/// passes over so many at most that it has.
pub const EVENTUAL_CUT_ENTRIES: u64 = 4_096;

/// Remembered places: the newest; with an older one unknown a reader begins at the log's start.
pub const EVENTUAL_CUTS_MAX: usize = 512;

/// Between two beats of a node in one namespace, at least. Finality waits for so long.
pub const BEAT_EVERY: Duration = Duration::from_secs(1);

/// How often shards look whether a beat, a final fate or upkeep is due.
pub const SHARD_TICK: Duration = Duration::from_millis(250);

/// How often a shard's log and checkpoint are looked at.
pub const SHARD_UPKEEP_TICK: Duration = Duration::from_secs(5);

/// Lost writes that become final by one entry of the log.
pub const FINALS_MAX: usize = 256;

/// Rows that one look for final fates goes through.
pub const FINALS_LOOK_ROWS: usize = 1_024;

/// How far a hybrid clock may be pulled ahead by others, and how far this node's clock may lead the
/// others before it refuses writes that are ranked by it.
pub const MAX_DRIFT_MS: u64 = 500;

/// Comparisons of clocks with one peer that are remembered: the largest lead among them has the least
/// delay of the network in it.
pub const CLOCK_SAMPLES_MAX: usize = 16;

/// For how long a comparison of clocks counts: a node that is cut off goes on writing.
pub const CLOCK_SAMPLE_KEPT: Duration = Duration::from_secs(30);

/// For how long a request's once key is remembered, in milliseconds of hybrid time, ...
pub const EVENTUAL_ONCE_KEEP_MS: u64 = 60 * 60 * 1000;

/// ... and how many of them a shard remembers: some 60 MiB of rows.
pub const EVENTUAL_ONCE_MAX: u64 = 500_000;

/// Forgotten once keys for each new one, so that no write has to pay for an hour of them.
pub const EVENTUAL_ONCE_FORGET: usize = 4;

/// Bytes of lost values that a shard keeps; beyond it the oldest lose theirs and keep their names.
pub const LOST_VALUE_BYTES: u64 = 64 * 1024 * 1024;

/// Bytes of values that one cell keeps of writes which look lost and may yet turn out not to be. While a
/// member is away nothing becomes final, and each conflict of a hot key leaves one more; a cell is one
/// row, and goes whole into a page of a state sync. Beyond it the oldest lose theirs and keep their names.
pub const SWEPT_VALUE_BYTES: usize = 1024 * 1024;

/// Buckets of a digest as words of a bit set.
pub const BUCKET_WORDS: usize = 64;

/// Bytes of one page of a state sync: it becomes one entry of the receiver's log.
pub const SNAPSHOT_PAGE_BYTES: usize = 1024 * 1024;

/// Rows that one step over a shard's rows takes at once.
pub const SHARD_SCAN_ROWS: usize = 512;

/// Rows that a page of keys or conflicts looks at before it is given out though not full.
pub const SHARD_PAGE_ROWS_MAX: usize = 65_536;

/// Rows that one page of a state sync looks at while nothing is applied.
pub const SNAPSHOT_PAGE_ROWS: usize = 4_096;

/// Bytes of writes that wait for one shard.
pub const EVENTUAL_QUEUE_BYTES: usize = 32 * 1024 * 1024;

/// Log of all shards together that is kept for readers that were away: many namespaces share it.
pub const EVENTUAL_LOGS_BYTES: u64 = 512 * 1024 * 1024;

/// The least of it that each shard may keep.
pub const EVENTUAL_LOG_BYTES_MIN: u64 = 1024 * 1024;

/// Passes that an audit makes while writes go on: a sum that was disturbed by one says nothing.
pub const AUDIT_TRIES: usize = 3;

/// Bytes of one part of a copy. A page of rows ends after its bounds, but a cell is never cut: it may
/// be a hundred siblings of the longest values.
pub const COPY_FRAME_BYTES_MAX: usize = 128 * 1024 * 1024;

/// Copies that a node takes in at the same time: each may hold a part of the longest length.
pub const COPIES_MAX: usize = 4;

/// How long nothing may come of a copy that is taken in. Whoever writes it may have to pass over much
/// of a log that the other has.
pub const COPY_STALL_MAX: Duration = Duration::from_secs(30);

/// Bytes per second that rows of a copy must come with on average, beyond what may come late: while
/// they come no others are taken.
pub const COPY_RATE_MIN: u64 = 4 * 1024;

/// How long the taking of a copy of rows waits for another state sync, which it must not run beside.
pub const COPY_TURN_MAX: Duration = Duration::from_secs(10);

/// Most elements or fields of a key that a read gives out: each is a row, and an answer is made at once.
pub const KEY_CELLS_MAX: usize = 100_000;

/// How often the digests in memory are compared with the rows: a pass over all of them.
pub const AUDIT_EVERY: Duration = Duration::from_secs(6 * 60 * 60);

/// Rows that are read at a time to see whether a key holds anything: mostly the first one says so.
pub const SHARD_LOOK_ROWS: usize = 16;
