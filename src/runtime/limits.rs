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

/// Most namespaces of a cluster, the doomed ones included. Each change of the catalog writes it whole:
/// ten thousand entries are about a megabyte.
pub const NAMESPACES_MAX: usize = 10_000;

/// Longest name of a namespace: it stands in every path, log line and label.
pub const NAMESPACE_NAME_BYTES_MAX: usize = 64;

/// For how long changes can be watched when nobody says otherwise, in milliseconds: a client that was
/// away for a restart or a coffee goes on where it was.
pub const HISTORY_MS_DEFAULT: u64 = 300_000;

/// The longest that history may be asked for, in milliseconds: it lies in memory, and its bytes are
/// bounded anyway.
pub const HISTORY_MS_MAX: u64 = 24 * 60 * 60 * 1000;

/// The least that history is kept for, in milliseconds, whatever the namespaces say: locks are always
/// recorded, and whoever waits for one reads from it.
pub const HISTORY_KEPT_MIN_MS: u64 = 60_000;

// --- storage --------------------------------------------------------------------------------

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

/// How long commit marks and notes may wait for a batch to ride on.
pub const LOG_LAZY_MS: u64 = 200;

/// Most bytes that one read of consecutive entries takes from a segment at once.
pub const LOG_READ_SPAN_BYTES: u64 = 1024 * 1024;

/// Bytes of others between two entries of a group above which a read of its own costs less.
pub const LOG_READ_GAP_BYTES: u32 = 32 * 1024;

/// Zeros after which a segment being filled is synced: appends wait no longer for the disk than
/// for so much.
pub const LOG_FILL_SYNC_BYTES: u64 = 256 * 1024;

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

/// Between two looks whether a replica that has applied nothing yet has begun.
pub const APPLIED_RETRY: Duration = Duration::from_millis(10);

/// Entries applied in one step under a group's lock; readers of the group wait no longer than that.
pub const APPLY_BATCH_ENTRIES: usize = 256;

/// Bytes of entries read from the log at a time when many are to be applied, as after a restart.
pub const APPLY_READ_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Bytes of entries in one append request (at least one entry): a follower's heartbeat answer waits
/// behind the flush of what came before it.
pub const APPEND_BYTES_MAX: usize = 1024 * 1024;

/// Append requests under way to one follower of one group. More only makes smaller batches.
pub const APPEND_WINDOW_REQUESTS: usize = 4;

/// Bytes of append requests under way to one follower of one group.
pub const APPEND_WINDOW_BYTES: usize = 4 * 1024 * 1024;

/// Bytes of a checkpoint read and sent at a time.
pub const SNAPSHOT_CHUNK_BYTES: usize = 512 * 1024;

/// How long a follower may take to answer an append before the stream is given up.
pub const STREAM_ANSWER_MAX: Duration = Duration::from_secs(5);

/// The least time a heartbeat, vote or transfer is given, also when heartbeats are set faster.
pub const RAFT_CALL_TIMEOUT_MIN: Duration = Duration::from_millis(250);

/// Proposals that wait for one group; one more is refused (503).
pub const INGRESS_QUEUE_MAX: usize = 8192;

/// Bytes of proposals that wait or are under way for one group; more is refused (503).
pub const INGRESS_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Proposals handed over together.
pub const INGRESS_BATCH_ENTRIES_MAX: usize = 512;

/// Batches under way per group; while they are, the next one grows.
pub const INGRESS_BATCHES_MAX: usize = 4;

/// Linearizable reads that wait for one group; one more is refused (503).
pub const BARRIER_QUEUE_MAX: usize = 65_536;

/// Quorum rounds for reads under way per group; reads that come meanwhile share the next one.
pub const BARRIER_ROUNDS_MAX: usize = 2;

/// How long one quorum round may take before its readers are told.
pub const BARRIER_WAIT_MAX: Duration = Duration::from_secs(5);

/// Entries in one append request.
pub const APPEND_ENTRIES_MAX: u64 = 1024;

/// How long a hand-over of leadership waits, with proposals held back, for the target to have all.
pub const HAND_OVER_CATCH_UP_MAX: Duration = Duration::from_millis(100);

/// How long proposals are held back for the target to take over.
pub const HAND_OVER_MAX: Duration = Duration::from_millis(500);

/// How often a hand-over looks whether the target has caught up.
pub const HAND_OVER_TICK: Duration = Duration::from_millis(2);

/// Entries that a target may lack when a hand-over begins.
pub const HAND_OVER_LAG_MAX: u64 = 512;

/// How often a leader looks whether a group should be handed back.
pub const TRANSFER_TICK: Duration = Duration::from_millis(200);

/// How long the preferred leader must have been connected before it gets its groups back.
pub const TRANSFER_STABLE_MIN: Duration = Duration::from_secs(2);

/// Hand-overs under way from one node: a failed one costs its group an election, so few at a time.
pub const TRANSFERS_IN_FLIGHT_MAX: usize = 2;

/// How often a node compares what it hosts with the catalog, beside following its changes.
pub const HOSTING_TICK: Duration = Duration::from_millis(100);

/// How often the driver looks for the next step of a move.
pub const MOVE_TICK: Duration = Duration::from_millis(200);

/// How long one step of a move may take; a joint change needs two commits.
pub const MOVE_STEP_MAX: Duration = Duration::from_secs(10);

/// Entries that a new replica may lack when it becomes a voter.
pub const MOVE_LAG_MAX: u64 = 256;

/// How long a catalog command of the node itself may take before it is tried again.
pub const CATALOG_PROPOSE_MAX: Duration = Duration::from_secs(5);

/// Between two tries to bring a founding forward.
pub const FOUND_RETRY: Duration = Duration::from_millis(100);

/// How long a founder may take to write the charter.
pub const FOUND_CALL_TIMEOUT: Duration = Duration::from_secs(2);

/// A member that has not answered for so long after a start is taken to be absent.
pub const PEER_ABSENT_AFTER: Duration = Duration::from_secs(2);

/// How often a node compares its connections with the catalog.
pub const PEERS_TICK: Duration = Duration::from_millis(500);

/// Between two tries to join or to announce an address.
pub const ANNOUNCE_RETRY: Duration = Duration::from_millis(500);

/// How often joining is tried before the node gives up and says why.
pub const JOIN_RETRIES: u32 = 20;

/// How long a planned stop waits until its groups are led elsewhere.
pub const STOP_HAND_OVER_MAX: Duration = Duration::from_secs(2);

/// How long flushing and closing may take before the process is ended as it is.
pub const STOP_MAX: Duration = Duration::from_secs(30);

/// How long a stop waits for requests under way.
pub const STOP_REQUESTS_MAX: Duration = Duration::from_secs(6);

/// How long upkeep waits for one checkpoint before it looks at other groups.
pub const CHECKPOINT_WAIT_MAX: Duration = Duration::from_secs(120);

/// How long upkeep waits until a cut of the log is durable; openraft defers it while a follower reads.
pub const PURGE_WAIT_MAX: Duration = Duration::from_secs(1);

/// How often the log's size is looked at.
pub const UPKEEP_TICK: Duration = Duration::from_millis(500);

/// Between two questions for commit marks to a peer; bounds the age of stale reads when idle.
pub const MARKS_INTERVAL: Duration = Duration::from_millis(500);

/// Commit marks kept for a replica that has not reached them.
pub const FRESHNESS_MARKS_MAX: usize = 16;

/// How often a leader looks what its groups need: by so much a lease may outlive its end.
pub const TEND_TICK: Duration = Duration::from_millis(100);

/// A look that comes later than due by more than this means that the node stood still: that time is
/// not held against leases. Longer than a busy scheduler takes, shorter than any useful lease.
pub const TEND_LATE: Duration = Duration::from_millis(300);

/// Leases that end by one entry: with each go its keys and locks, and readers of the group wait.
pub const TEND_EXPIRE_MAX: usize = 256;

/// Rows of a deleted namespace that go by one entry, so that writes of others wait only so long.
pub const TEND_PURGE_ROWS_MAX: u32 = 512;

/// How long a leader waits for its own upkeep to be applied before it looks anew.
pub const TEND_PROPOSE_MAX: Duration = Duration::from_secs(5);

/// How often the homes of borrowed leases are asked whether these still live.
pub const LEASE_CHECK_TICK: Duration = Duration::from_secs(2);

/// Leases in one question to a home.
pub const LEASE_CHECK_BATCH: usize = 4096;

/// How long a home may take to answer.
pub const LEASE_CHECK_MAX: Duration = Duration::from_secs(2);

/// For how long at least the result of a request with an idempotency key is remembered: longer than
/// any sensible client retries.
pub const ONCE_KEEP: Duration = Duration::from_secs(15 * 60);

/// How often old records of requests are looked for.
pub const ONCE_FORGET_TICK: Duration = Duration::from_secs(10);

/// How often a node notes how far each group is applied.
pub const SAMPLE_TICK: Duration = Duration::from_secs(1);

/// Such notes kept per group: 8 KiB, hence 8 MiB for a thousand groups.
pub const SAMPLES_MAX: usize = 512;

/// How often the leader of the system group asks what is left of deleted namespaces.
pub const DOOMED_TICK: Duration = Duration::from_secs(1);

/// How long a node may take to answer that, or to say what its groups hold of each namespace.
pub const FIGURES_CALL_MAX: Duration = Duration::from_secs(1);

/// How often a node sums up what the groups hold of each namespace.
pub const USAGE_TICK: Duration = Duration::from_secs(1);

/// A peer's flushed log number is noted in our own log each time it has grown by so much.
pub const WITNESS_NOTE_EVERY: u64 = 256;

// --- service --------------------------------------------------------------------------------

/// The first pause of a request that waits for a leader; changes that this node sees end it early.
pub const RETRY_TICK_FIRST: Duration = Duration::from_millis(50);

/// The longest such pause: how late a new leader is found by a node without a replica.
pub const RETRY_TICK_MAX: Duration = Duration::from_millis(400);

/// How long one node may take for a forwarded read before another one is asked.
pub const READ_ATTEMPT_MAX: Duration = Duration::from_secs(1);

/// How long one attempt of a write with a once key may take before it is handed over again: the key
/// keeps it from being done twice, so that a leader that hangs does not take all of the time.
pub const ONCE_ATTEMPT_MAX: Duration = Duration::from_secs(2);

/// How much earlier than the origin a node gives up forwarded work, so that its answer arrives.
pub const FORWARD_MARGIN: Duration = Duration::from_millis(50);

/// How long after its deadline a proposal may still say what became of it.
pub const PROPOSAL_GRACE: Duration = Duration::from_millis(100);

/// How long a node may take to say what it has, for `/v1/cluster`.
pub const STATUS_TIMEOUT: Duration = Duration::from_secs(1);

/// A group whose leader was not confirmed by a quorum for so long counts as having none (`/readyz`).
pub const READY_AGE_MAX: Duration = Duration::from_secs(10);

/// Longest text of a session: a thousand groups fit, and it fits into a request's head many times.
pub const SESSION_TEXT_BYTES_MAX: usize = 24 * 1024;

/// Most comparisons and operations of a txn together: they hold up their group while they apply.
pub const TXN_OPS_MAX: usize = 128;

/// Most bytes of keys, values and patches in a txn: it is one entry of the log.
pub const TXN_BYTES_MAX: usize = 1024 * 1024;

/// Most operations of a batch that the hall takes at a time.
pub const BATCH_PORTION: usize = 1024;

/// Most operations of a batch in one entry: they hold up their group while they apply.
pub const BATCH_ENTRY_OPS_MAX: usize = 128;

/// Most bytes of a batch in one entry, unless one operation alone has more.
pub const BATCH_ENTRY_BYTES_MAX: usize = 256 * 1024;

/// Operations of a batch with a once key that are under way at a time in one group.
pub const BATCH_ONCE_MAX: usize = 128;

/// Linearizable reads of one group that wait at a node for the leader's read index; one more is
/// passed on to the leader as it is.
pub const READ_INDEX_QUEUE_MAX: usize = 16_384;

/// Questions for one group's read index under way from one node; reads that come meanwhile share
/// the next one.
pub const READ_INDEX_ROUNDS_MAX: usize = 2;

/// How long the leader may take to say its read index before the reads are passed on to it.
pub const READ_INDEX_WAIT_MAX: Duration = Duration::from_millis(500);

/// How long a read waits for the replica here to reach the read index before it is passed on.
pub const FOLLOWER_LAG_WAIT_MAX: Duration = Duration::from_millis(100);

/// How long a replica may take to reach what a session asks for before another one is asked.
pub const SESSION_WAIT_MAX: Duration = Duration::from_secs(1);

/// Shortest life of a lease: below it, an election alone would end leases that are renewed in time.
pub const LEASE_TTL_MIN: Duration = Duration::from_secs(1);

/// Longest life of a lease.
pub const LEASE_TTL_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// How long one node may follow a lock for another one before it answers as it stands.
pub const LOCK_WAIT_STEP: Duration = Duration::from_secs(5);

/// How long leaving a lock's line may take after the waiting has ended.
pub const LOCK_LEAVE_MAX: Duration = Duration::from_secs(5);

/// How much earlier than its deadline a request stops waiting in a lock's line, to leave it.
pub const LOCK_LEAVE_MARGIN: Duration = Duration::from_millis(500);

/// Whether followers answer linearizable reads with the leader's read index; otherwise they pass the
/// reads on.
pub const FOLLOWER_READS: bool = true;

/// How long a node that made a change of the catalog waits to know it itself before it answers.
pub const CATALOG_ECHO_MAX: Duration = Duration::from_secs(2);

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

/// How long replicas that could not be reached have to come back when all others say that what is asked
/// for is forgotten.
pub const FEED_DOUBT_MAX: Duration = Duration::from_secs(1);

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

/// How often every watch is told how far it is.
pub const WATCH_BOOKMARK_EVERY: Duration = Duration::from_secs(1);

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
// --- http -----------------------------------------------------------------------------------

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

/// Longest `Content-Type` of a value: it is stored with each row.
pub const CONTENT_TYPE_BYTES_MAX: usize = 255;

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

/// Longest name of a lock's owner.
pub const LOCK_OWNER_BYTES_MAX: usize = 255;

/// Bytes of request line and headers together: room for a key of 4 KiB with every byte encoded.
pub const HTTP_HEAD_BYTES_MAX: usize = 64 * 1024;

/// How long requests under way may take when the node stops.
pub const HTTP_DRAIN_MAX: Duration = Duration::from_secs(10);

/// Pause after a failed accept: the process is out of file descriptors, and spinning frees none.
pub const HTTP_ACCEPT_PAUSE: Duration = Duration::from_millis(50);

const _: () = assert!(HTTP_HEAD_BYTES_MAX > 4 * KEY_BYTES_MAX, "an encoded key fits into the head");
const _: () = assert!(PROPOSAL_GRACE.as_millis() < REQUEST_TIMEOUT_DEFAULT.as_millis());

// --- client, cli ----------------------------------------------------------------------------

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

/// Most groups of a cluster: one for each slot.
pub const GROUPS_MAX: u64 = 16_384;

/// Most nodes that `dev` starts on one machine.
pub const DEV_NODES_MAX: u64 = 15;

/// Keys that the load tool writes and later checks by sample.
pub const BENCH_KEYS_MAX: u64 = 10_000_000;
