//! Bounds of scans, watches and the mirrors that feed them.

use std::time::Duration;

/// Longest text of a cursor: the positions of a thousand groups and the longest key fit.
pub const CURSOR_TEXT_BYTES_MAX: usize = 32 * 1024;

/// Most items of one page of a scan.
pub const SCAN_LIMIT_MAX: usize = 10_000;

/// Items of a page when the client does not say.
pub const SCAN_LIMIT_DEFAULT: usize = 1_000;

/// Bytes of keys and values after which a page, or a portion of a stream, ends early.
pub const SCAN_PAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Bytes that a scan holds at a time, over all of its groups.
pub const SCAN_BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// Least bytes asked of a group at a time, however many groups there are.
pub const SCAN_CHUNK_BYTES_MIN: usize = 8 * 1024;

/// Rows asked of a group at a time.
pub const SCAN_CHUNK_ROWS_MAX: usize = 2_048;

/// Groups asked at the same time by one scan.
pub const SCAN_PARALLEL_MAX: usize = 16;

/// Rows that one question for a count passes over.
pub const COUNT_ROWS_MAX: usize = 16_384;

/// Longest delimiter that keys are folded by.
pub const DELIMITER_BYTES_MAX: usize = 64;

/// How long a group may take for one portion of a stream before the stream ends with an error.
pub const SCAN_CHUNK_WAIT_MAX: Duration = Duration::from_secs(10);

/// How long one replica may take for a page or changes before another one is asked.
pub const FEED_ATTEMPT_MAX: Duration = Duration::from_secs(2);

/// How long a replica waits to reach the index that is asked of it before it says that it is behind.
pub const FEED_LAG_WAIT_MAX: Duration = Duration::from_millis(500);

/// Pause before replicas that could not answer are asked again.
pub const FEED_RETRY: Duration = Duration::from_millis(100);

/// Bytes of changes that a watch reads at a time: what it holds while its client is slow.
pub const WATCH_READ_BYTES: usize = 64 * 1024;

/// Bytes of changes that are looked at together to wake watches.
pub const WATCH_DISPATCH_BYTES: usize = 1024 * 1024;

/// Most events of one poll of a watch.
pub const WATCH_POLL_EVENTS: usize = 1_000;

/// Bytes after which a poll of a watch takes no more events.
pub const WATCH_POLL_BYTES: usize = 1024 * 1024;

/// How often every watch is told how far it is: at least every second, with room for a late wake-up.
pub const WATCH_BOOKMARK_EVERY: Duration = Duration::from_millis(900);

/// Parts of the watches that are told in turn, so that they do not all wake at once.
pub const WATCH_TICK_PHASES: usize = 8;

/// How long a watch waits for replicas that have what it needs before it ends.
pub const WATCH_SEEK_MAX: Duration = Duration::from_secs(10);

/// Bytes of changes that a node keeps of a group without a replica here.
pub const MIRROR_BYTES_MAX: usize = 8 * 1024 * 1024;

/// How long a question for the changes of a group elsewhere waits for some.
pub const MIRROR_WAIT: Duration = Duration::from_secs(5);

/// Bytes of changes in one answer to another node.
pub const MIRROR_ANSWER_BYTES: usize = 512 * 1024;

/// How long a group elsewhere is followed after its last watch has gone.
pub const MIRROR_LINGER: Duration = Duration::from_secs(10);

/// How long replicas that could not be reached have to come back when all others say that what is asked
/// for is forgotten.
pub const FEED_DOUBT_MAX: Duration = Duration::from_secs(1);
