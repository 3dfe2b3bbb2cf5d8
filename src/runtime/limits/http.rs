//! Bounds of the front door.

use std::time::Duration;

use super::{KEY_BYTES_MAX, PROPOSAL_GRACE, TXN_BYTES_MAX, VALUE_BYTES_MAX};

/// How long a client waits when it does not say.
pub const REQUEST_TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);

/// The longest that a client may wait: what hangs longer is better asked again.
pub const REQUEST_TIMEOUT_MAX: Duration = Duration::from_secs(60);

/// Longest request id that is taken from a client.
pub const REQUEST_ID_BYTES_MAX: usize = 128;

/// Longest JSON body of an administrative request.
pub const ADMIN_BODY_BYTES_MAX: usize = 64 * 1024;

/// Bytes of a refused body that are still read, to nowhere: an honest client that is a few times over
/// the limit can finish sending and then reads why it was refused.
pub const BODY_DISCARD_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Requests served at the same time; one more gets 503. At 1 MiB a value this bounds memory.
pub const HTTP_REQUESTS_MAX: usize = 4 * 1024;

/// Watches served at the same time; one more gets 503. They wait most of the time, so they do not
/// count as requests.
pub const WATCHES_MAX: usize = 20_000;

/// Batches served at the same time; one more gets 503. Each may hold a line and two portions.
pub const BATCHES_MAX: usize = 64;

/// Scans streamed at the same time; one more gets 503. Each holds pages of several groups.
pub const SCAN_STREAMS_MAX: usize = 64;

/// Requests that wait for a lock at the same time; one more gets 503. They count as requests too, so
/// a quarter of those keeps the rest free.
pub const LOCK_WAITS_MAX: usize = HTTP_REQUESTS_MAX / 4;

/// Requests at the same time whose bodies do not come at once; for one more the one that has taken
/// longest is refused. Uploads that drip must not fill the places of all others.
pub const HTTP_SLOW_BODIES_MAX: usize = HTTP_REQUESTS_MAX / 4;

/// A body of which nothing arrives for so long is given up.
pub const HTTP_BODY_STALL_MAX: Duration = Duration::from_secs(5);

/// Connections open at the same time: all watches and as many clients again. For one more, those
/// that were idle longest are closed.
pub const HTTP_CONNECTIONS_MAX: usize = 32 * 1024;

/// Idle connections closed together when there is no place: looking for them costs a walk over all.
pub const HTTP_EVICT_AT_ONCE: usize = 128;

/// How long a client without a connection waits until idle ones are looked for again.
pub const HTTP_EVICT_AGAIN: Duration = Duration::from_millis(100);

/// How long a client may take for a request's head once it has sent the first byte of it.
pub const HTTP_HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long an idle connection is kept.
pub const HTTP_IDLE_TIMEOUT: Duration = Duration::from_secs(75);

/// How long a client may take no byte of an answer that is ready for it.
pub const HTTP_WRITE_STALL_MAX: Duration = Duration::from_secs(30);

/// Headers of one request.
pub const HTTP_HEADERS_MAX: usize = 100;

/// ETags in one condition: they travel through the log.
pub const ETAGS_MAX: usize = 64;

/// Longest `Idempotency-Key`: it is kept with its result.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;

/// Longest line of a batch: the longest value in base64, a key, and room.
pub const BATCH_LINE_BYTES_MAX: usize = 2 * VALUE_BYTES_MAX;

/// Bytes of lines that go to the hall together, unless one line alone has more.
pub const BATCH_PORTION_BYTES: usize = 512 * 1024;

/// Portions of one batch under way at the same time.
pub const BATCH_PORTIONS_MAX: usize = 2;

/// How long the lines that have come wait for more before they are done.
pub const BATCH_LINGER: Duration = Duration::from_millis(5);

/// How long a client may send nothing of a batch before it is ended.
pub const BATCH_STALL_MAX: Duration = Duration::from_secs(30);

/// Longest JSON body of a transaction: its bytes in base64, and the JSON around them.
pub const TXN_BODY_BYTES_MAX: usize = 2 * TXN_BYTES_MAX;

/// Bytes of request line and headers together: room for a key of 4 KiB with every byte encoded.
pub const HTTP_HEAD_BYTES_MAX: usize = 64 * 1024;

/// How long requests under way may take when the node stops.
pub const HTTP_DRAIN_MAX: Duration = Duration::from_secs(10);

/// Pause after a failed accept: the process is out of file descriptors, and spinning frees none.
pub const HTTP_ACCEPT_PAUSE: Duration = Duration::from_millis(50);

const _: () = assert!(HTTP_HEAD_BYTES_MAX > 4 * KEY_BYTES_MAX, "an encoded key fits into the head");
const _: () = assert!(PROPOSAL_GRACE.as_millis() < REQUEST_TIMEOUT_DEFAULT.as_millis());

/// How often a follower of losses is told what came on record: final losses take seconds anyway.
pub const LOSSES_FOLLOW_TICK: Duration = Duration::from_millis(500);

/// After so many of them a follower of losses is told where it could go on, also if none came.
pub const LOSSES_BOOKMARK_TICKS: u32 = 20;

/// Recordings of requests at the same time at one node: each looks at every request of its namespace.
pub const TRACES_MAX: usize = 4;

/// Records that wait for who takes a recording; one more is left out and counted. At some 300 bytes
/// each this is about a megabyte.
pub const TRACE_QUEUE_RECORDS: usize = 4 * 1024;

/// How long a recording lasts when nobody says.
pub const TRACE_TIME_DEFAULT: Duration = Duration::from_secs(60);

/// The longest recording: one that is forgotten must end by itself.
pub const TRACE_TIME_MAX: Duration = Duration::from_secs(3_600);

/// Requests of one recording: what a replay takes in at once.
pub const TRACE_RECORDS_MAX: u64 = 10_000_000;

/// How often a recording of a silent namespace says that it goes on.
pub const TRACE_TICK: Duration = Duration::from_secs(5);

/// Bytes of a patch that are looked at for the name of its operation.
pub const TRACE_PEEK_BYTES: usize = 64;

/// Longest entity tag, context or receipt that a record holds as it is; of a longer one its hash.
pub const TRACE_TAG_BYTES_MAX: usize = 256;
