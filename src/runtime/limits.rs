//! Every bound of the system, named, with its reason.
//!
//! Why it exists: what has no bound ends with the memory. Overload is refused at these numbers, and
//! a reader finds all of them in one place. Grouped by the room that keeps them.

use std::time::Duration;

// --- requests -------------------------------------------------------------------------------

/// Longest key, in bytes after percent-decoding.
pub const KEY_BYTES_MAX: usize = 4 * 1024;

/// Longest value by default, in bytes.
pub const VALUE_BYTES_MAX: usize = 1024 * 1024;

// --- placement ------------------------------------------------------------------------------

/// Most nodes that take part in a cluster. Every node holds group 0 and keeps a connection to every
/// other; beyond this number both should be thought over first.
pub const NODES_MAX: usize = 64;

/// Most node ids that a cluster ever uses. Their entries stay in the catalog, which every node holds
/// in memory: this keeps it below a megabyte or so.
pub const NODES_KNOWN_MAX: usize = 4096;

/// Longest address of a node (`host:port`): a DNS name has at most 253 characters.
pub const ADDRESS_BYTES_MAX: usize = 260;

// --- storage --------------------------------------------------------------------------------

// --- peer -----------------------------------------------------------------------------------

/// Longest payload of one frame. A frame must fit whole into memory on both sides; long bodies go
/// in chunks.
pub const PEER_FRAME_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Bytes that may wait in one lane of one connection. A second of a gigabit link is 125 MB; what
/// does not drain in a fraction of that is overload, and the caller must hear so.
pub const PEER_QUEUE_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Frames that may wait in one lane of one connection: bounds the memory of tiny messages.
pub const PEER_QUEUE_FRAMES_MAX: usize = 16 * 1024;

/// Bytes handed to the socket in one go. Control that arrives meanwhile waits behind so much data
/// and no more.
pub const PEER_WRITE_BATCH_BYTES: usize = 256 * 1024;

/// Calls of one connection that run at the same time; more are refused as overload.
pub const PEER_CALLS_RUNNING_MAX: usize = 4 * 1024;

/// Streams open on one connection. A thousand groups with a stream each, and room to turn over.
pub const PEER_STREAMS_MAX: usize = 8 * 1024;

/// Bytes of one stream that may be under way or not yet taken by its reader, per direction. Covers
/// a gigabit link with a round trip of 16 ms.
pub const PEER_STREAM_WINDOW_BYTES: u32 = 2 * 1024 * 1024;

/// What a stream message costs of the window beside its bytes: bounds the memory of tiny messages.
pub const PEER_STREAM_MESSAGE_COST: u32 = 1024;

/// Messages that wait between a stream's pump and the room above; the window bounds the rest.
pub const PEER_STREAM_QUEUE: usize = 16;

/// How often a connection is asked for a sign of life.
pub const PEER_PING_EVERY: Duration = Duration::from_millis(500);

/// A connection on which nothing was heard for so long is dead: six pings went unanswered.
pub const PEER_SILENCE_MAX: Duration = Duration::from_secs(3);

/// Time for a connect attempt: TCP, upgrade and greeting together.
pub const PEER_CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a call waits for a connect attempt that is under way. Longer than a healthy handshake,
/// short against any request's deadline.
pub const PEER_CONNECT_WAIT_MAX: Duration = Duration::from_millis(500);

/// Shortest pause between connect attempts.
pub const PEER_BACKOFF_MIN: Duration = Duration::from_millis(50);

/// Longest pause between connect attempts: a node that returns is found within this.
pub const PEER_BACKOFF_MAX: Duration = Duration::from_secs(1);

/// Connections being greeted at the same time, before anyone is known; more get 503.
pub const PEER_HANDSHAKES_MAX: usize = 64;

/// Longest chunk of a long body.
pub const PEER_BULK_CHUNK_BYTES: usize = 1024 * 1024;

/// Chunks of a long body that wait for the receiving room.
pub const PEER_BULK_QUEUE: usize = 4;

/// Long bodies received at the same time by one node: each costs disk bandwidth that writes need.
pub const PEER_BULK_RECEIVES_MAX: usize = 4;

/// A long body that moves not one chunk for so long is given up.
pub const PEER_BULK_STALL_MAX: Duration = Duration::from_secs(30);

/// Time that a receiver of a long body has for its answer after the last byte: it makes a snapshot
/// durable and installs it.
pub const PEER_BULK_ANSWER_MAX: Duration = Duration::from_secs(300);

// --- consensus ------------------------------------------------------------------------------

// --- http -----------------------------------------------------------------------------------

// --- client, cli ----------------------------------------------------------------------------

/// Largest `value-bytes-max` that may be set: a value travels and is held whole, several times over.
pub const VALUE_BYTES_CEILING: usize = 16 * 1024 * 1024;

/// Size of a log segment by default: large enough that preallocation is rare, small enough to recycle.
pub const SEGMENT_MIB: u64 = 64;

/// Log bytes of a group that trigger a checkpoint: what a restart replays and a disk keeps, per group.
pub const CHECKPOINT_AFTER_MIB: u64 = 16;

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

/// Longest error body that the client reads.
pub const PROBLEM_BYTES_MAX: usize = 64 * 1024;

/// Longest record of an import, in bytes: the longest value in base64 with its key, and room.
pub const IMPORT_RECORD_BYTES_MAX: usize = 24 * 1024 * 1024;

/// Most requests that an import, export or check keeps under way.
pub const IMPORT_CONCURRENCY_MAX: usize = 1_024;

/// Failed lines that an import lists in full; the rest is only counted.
pub const IMPORT_FAILURES_SHOWN: usize = 20;

/// How long `dev` waits for its children: to be ready, and to stop when asked, in seconds.
pub const DEV_READY_SECONDS: u64 = 120;

/// How long `dev` lets a child stop by itself before it is killed, in seconds.
pub const DEV_STOP_SECONDS: u64 = 20;

/// Most nodes that `dev` starts on one machine.
pub const DEV_NODES_MAX: u64 = 15;

/// Keys that the load tool writes and later checks by sample.
pub const BENCH_KEYS_MAX: u64 = 10_000_000;
