//! Bounds of the streams between the replicas of eventual namespaces.

use std::time::Duration;

use super::{COPY_FRAME_BYTES_MAX, PEER_FRAME_BYTES_MAX};

/// Bytes of one message of operations: large enough that flushes are shared, small enough that ten
/// of them are under way within the window.
pub const STREAM_BATCH_BYTES: usize = 128 * 1024;

/// Bytes that a source may send before the first of them is applied. Covers 100 MB/s at 20 ms of
/// delay and flush.
pub const STREAM_WINDOW_BYTES: u64 = 2 * 1024 * 1024;

/// What a message costs of the window beside its bytes: bounds the number of tiny messages.
pub const STREAM_MESSAGE_COST: u64 = 1024;

/// How often a reader says what it has, while that changes.
pub const VECTOR_EVERY: Duration = Duration::from_secs(1);

/// How often nodes compare their clocks: one small call to each node, however many namespaces.
pub const CLOCKS_EVERY: Duration = Duration::from_secs(5);

/// Ticks of `VECTOR_EVERY` for which a reader must go on lacking others' operations before they are
/// passed on to it: the way from their origin takes less.
pub const RELAY_AFTER_TICKS: u32 = 2;

/// Further ticks before rows are offered instead of operations that the log no longer has: another
/// node may still have them, and costs less.
pub const RELAY_ROWS_AFTER_TICKS: u32 = 10;

/// A reader takes an actor's operations from one source for so long before another one that is
/// quicker takes its place.
pub const PRIMARY_KEPT: Duration = Duration::from_secs(2);

/// Operations of one namespace that came before what they build on.
pub const HOLD_OPS_MAX: usize = 64 * 1024;

/// And their bytes. Beyond it the stream ends and is asked for anew, in its source's order.
pub const HOLD_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How long an actor's operations that seem to come from the future wait here. By then an operator
/// has heard of it; waiting longer would be a loss of availability without any gain, since stamps
/// only rank concurrent writes.
pub const SKEW_PAUSE_MAX: Duration = Duration::from_secs(30);

/// Shortest pause before a stream is opened again.
pub const STREAM_RETRY_MIN: Duration = Duration::from_millis(100);

/// Longest pause before a stream is opened again: a node that returns is found within it.
pub const STREAM_RETRY_MAX: Duration = Duration::from_secs(3);

/// A state sync that moves nothing for so long is given up: a source sums up millions of rows in
/// less.
pub const STATE_SYNC_STALL_MAX: Duration = Duration::from_secs(60);

/// Groups that the buckets of a digest are summed up in before they are compared one by one.
pub const BUCKET_GROUPS: usize = 64;

/// How long a member may take to say what it has when convergence is asked for.
pub const CONVERGENCE_CALL_MAX: Duration = Duration::from_secs(2);

/// Bytes of log that are looked through for the oldest operation that a reader lacks.
pub const OLDEST_LOOK_BYTES: usize = 4 * 1024 * 1024;

/// How often the figures of lag are brought up to date.
pub const LAG_TICK: Duration = Duration::from_secs(1);

/// How long the other end of a stream may be silent when it has something to answer. A connection that
/// breaks is noticed sooner; this is for one that lives while the stream is stuck.
pub const STREAM_SILENCE_MAX: Duration = Duration::from_secs(10);

/// How often a reader says what it has though nothing has changed, so that a stuck stream is noticed.
pub const STREAM_ASK_EVERY: Duration = Duration::from_secs(30);

/// Longest part in which rows travel: a page ends after its bounds, since a cell is never cut, and may
/// be longer than any message of the network. Small enough that a slow link has something to say now
/// and then.
pub const STATE_SYNC_PART_BYTES: usize = 1024 * 1024;

/// Longest page, in all of its parts: a hundred siblings of the longest values.
pub const STATE_SYNC_PAGE_BYTES_MAX: usize = COPY_FRAME_BYTES_MAX;

const _: () = assert!(
    STATE_SYNC_PART_BYTES + 1024 <= PEER_FRAME_BYTES_MAX,
    "a part with what is around it fits a message of the network"
);

/// Longest message on a stream that is sent at a pace: a part of rows, or a batch of operations with
/// one more of the longest values at its end. So much may have to pass before anything else comes.
pub const STREAM_MESSAGE_BYTES: usize = STATE_SYNC_PART_BYTES + 2 * STREAM_BATCH_BYTES;

/// How long a reader that may not take rows now waits for the state sync that is under way, before it
/// asks its source again.
pub const STATE_SYNC_WAIT_MAX: Duration = Duration::from_secs(60);
