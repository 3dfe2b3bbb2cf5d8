//! Bounds of the connections between nodes.

use std::time::Duration;

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

/// Bytes on their way in one line of a laboratory: a gigabit link over a quarter of a second.
pub const LAB_LINE_BYTES: usize = 32 * 1024 * 1024;

/// Bytes that enter a line of a laboratory in one go: as many as a connection writes at once.
pub const LAB_PIECE_BYTES: usize = PEER_WRITE_BATCH_BYTES;
