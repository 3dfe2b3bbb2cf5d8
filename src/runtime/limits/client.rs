//! Bounds of the client and the command line, and defaults of the settings.

use std::time::Duration;

use super::{KEY_BYTES_MAX, VALUE_BYTES_MAX};

/// Size of a log segment by default: large enough that preallocation is rare, small enough to recycle.
pub const SEGMENT_MIB: u64 = 16;

/// Smallest log segment: the longest value with its key and headers must fit into an eighth of it.
pub const SEGMENT_MIB_MIN: u64 = 9;

const _: () = assert!(
    VALUE_BYTES_MAX + KEY_BYTES_MAX + 2048 <= 9 * 1024 * 1024 / 8,
    "an entry must fit into an eighth of the smallest segment"
);

/// Live log bytes of a node above which the group that holds the most is checkpointed: about what a
/// restart replays and a disk keeps beside the data.
pub const CHECKPOINT_AFTER_MIB: u64 = 64;

/// Entries kept behind a checkpoint: a follower that was away for a moment needs no snapshot.
pub const LOG_KEEP_ENTRIES: u64 = 4096;

/// Idle connections kept to one endpoint: more than any load tool of ours opens.
pub const CLIENT_IDLE_CONNECTIONS_MAX: usize = 1024;

/// How long an endpoint that could not be reached is passed over, in milliseconds.
pub const ENDPOINT_REST_MS: u64 = 500;

/// How long the client waits for a connection, in milliseconds.
pub const CLIENT_CONNECT_MS: u64 = 1_000;

/// First and longest pause between tries of one request, in milliseconds.
pub const CLIENT_BACKOFF_MS: (u64, u64) = (10, 500);

/// Least time between two looks at the cluster's routes, in milliseconds.
pub const ROUTES_REFRESH_MS: u64 = 1_000;

/// Operations that the client sends in one request of a batch: enough to fill a group's commits, few
/// enough that sending them again costs little.
pub const CLIENT_BATCH_OPS_MAX: usize = 1_024;

/// Bytes of keys and values after which the client sends a request of a batch.
pub const CLIENT_BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Longest line of a stream that the client reads: the longest value, each byte escaped, and its key.
pub const CLIENT_LINE_BYTES_MAX: usize = 32 * 1024 * 1024;

/// How long a stream may be silent before the client takes it for broken: several bookmarks.
pub const CLIENT_SILENCE_MAX: Duration = Duration::from_secs(60);

/// Longest time that one request stands in line for a lock; the client then asks anew. Below the
/// longest request that the server takes.
pub const CLIENT_LOCK_WAIT: Duration = Duration::from_secs(45);

/// Longest error body that the client reads.
pub const PROBLEM_BYTES_MAX: usize = 64 * 1024;

/// Longest record of an import, in bytes: the longest value in base64 with its key, and room.
pub const IMPORT_RECORD_BYTES_MAX: usize = 24 * 1024 * 1024;

/// Most requests that an import, export or check keeps under way.
pub const IMPORT_CONCURRENCY_MAX: usize = 1_024;

/// Records that one worker of an import holds and sends at a time: at 1 MiB a value and 8 workers this
/// bounds memory to a GiB.
pub const IMPORT_BATCH_RECORDS: usize = 64;

/// Failed lines that an import lists in full; the rest is only counted.
pub const IMPORT_FAILURES_SHOWN: usize = 20;

/// How long `dev` waits for its children: to be ready, and to stop when asked, in seconds.
pub const DEV_READY_SECONDS: u64 = 120;

/// How long `dev` lets a child stop by itself before it is killed, in seconds.
pub const DEV_STOP_SECONDS: u64 = 20;

/// Most groups of a cluster: one for each slot.
pub const GROUPS_MAX: u64 = 16_384;

/// Most nodes that `dev` starts on one machine.
pub const DEV_NODES_MAX: u64 = 15;

/// Keys that the load tool writes and later checks by sample.
pub const BENCH_KEYS_MAX: u64 = 10_000_000;

/// A copy of which nothing moves for so long has failed: longer than a node waits for it.
pub const CLIENT_COPY_SILENCE_MAX: Duration = Duration::from_secs(40);

/// Longest pause of a bridge whose other side does not answer.
pub const BRIDGE_PAUSE_MAX: Duration = Duration::from_secs(5);
