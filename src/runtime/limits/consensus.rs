//! Bounds of the groups: ingress, replication, moves, start and stop.

use std::time::Duration;

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

/// Batches under way per group when each takes longer than [`INGRESS_LINGER_MAX`] or is full.
pub const INGRESS_BATCHES_MAX: usize = 4;

/// How long a proposal waits for the batch before it to be done, so that more of them share what a
/// batch costs; about what a batch takes on a busy machine, and little beside a long line.
pub const INGRESS_LINGER_MAX: Duration = Duration::from_millis(10);

/// Which part of a batch's time a busy group waits before the next batch.
pub const INGRESS_PAUSE_PART: u32 = 4;

/// The longest such pause.
pub const INGRESS_PAUSE_MAX: Duration = Duration::from_millis(3);

/// Proposals in a batch by which a group counts as busy.
pub const INGRESS_PAUSE_ENTRIES_MIN: usize = 4;

/// Linearizable reads that wait for one group; one more is refused (503).
pub const BARRIER_QUEUE_MAX: usize = 65_536;

/// Quorum rounds for reads under way per group; reads that come meanwhile share the next one.
pub const BARRIER_ROUNDS_MAX: usize = 2;

/// How long one quorum round may take before its readers are told.
pub const BARRIER_WAIT_MAX: Duration = Duration::from_secs(5);

/// Between the beginnings of two rounds of questions to the other nodes, unless none is under way.
pub const CONFIRM_LINGER_MAX: Duration = Duration::from_millis(5);

/// Rounds of questions under way from one node, and questions to one node, which may be silent while
/// others settle the rounds: enough for the longest lines.
pub const CONFIRM_ROUNDS_MAX: usize = 512;

/// How long a node may take to answer a question; its word is not waited for after that.
pub const CONFIRM_WAIT_MAX: Duration = Duration::from_secs(1);

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

/// The same while all that it leads is its own.
pub const TRANSFER_REST: Duration = Duration::from_secs(1);

/// How long the preferred leader must have been connected before it gets its groups back.
pub const TRANSFER_STABLE_MIN: Duration = Duration::from_secs(2);

/// Hand-overs under way from one node: a failed one costs its group an election, so few at a time.
pub const TRANSFERS_IN_FLIGHT_MAX: usize = 2;

/// How often a node compares what it hosts with the catalog, beside following its changes.
pub const HOSTING_TICK: Duration = Duration::from_millis(100);

/// The same once everything is hosted as the catalog says: nothing can be missing then.
pub const HOSTING_REST: Duration = Duration::from_secs(5);

/// How often the driver looks for the next step of a move.
pub const MOVE_TICK: Duration = Duration::from_millis(200);

/// The same while the catalog asks for nothing; a change of it is heard at once.
pub const MOVE_REST: Duration = Duration::from_secs(1);

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

/// A peer's flushed log number is noted in our own log each time it has grown by so much.
pub const WITNESS_NOTE_EVERY: u64 = 256;

/// Most namespaces of a group whose figures are read at once: all that there can be.
pub const FIGURES_SHOWN_MAX: usize = 16_384;

/// How often leaders are looked at that may have lost their quorum.
pub const PROBE_TICK: Duration = Duration::from_millis(500);
/// Beats of a leader's lease: openraft's, the longest election timeout.
pub const PROBE_LEASE_BEATS: u32 = 5;
/// So many beats a leader whose lease is over goes on with its heartbeats, as one that has just woken.
pub const PROBE_GRACE_BEATS: u32 = 2;
/// Beats of silence, and then of heartbeats, of a leader without a quorum: long enough for followers to
/// wait out its lease, for their election timeouts, and for a second try.
pub const SILENT_BEATS: u32 = 20;

/// Without traffic for so long, a group becomes quiet. Its next write then costs one round trip more,
/// so what is written every second stays awake.
pub const QUIET_AFTER: Duration = Duration::from_secs(2);
/// Between two messages that keep replicas parked, unless a heartbeat is set.
pub const QUIET_BEAT: Duration = Duration::from_millis(300);
/// A node that was not heard for so many beats is lost: as long as a lease, so that a busy machine
/// is not taken for a dead one sooner than a leader is.
pub const QUIET_LOST_BEATS: u32 = 5;
/// So many beats a replica waits for the heartbeat of a leader that vouches no more and is well.
pub const QUIET_GRACE_BEATS: u32 = 2;
/// How many beats a node has to answer what is vouched for to it.
pub const QUIET_ANSWER_BEATS: u32 = 3;
/// Replicas of a lost node that wake together: each begins an election.
pub const QUIET_WAKE_SHARD: u32 = 64;
/// Between two shards.
pub const QUIET_WAKE_STEP: Duration = Duration::from_millis(20);
/// How long a quiet leader asks for a quorum before it goes on without.
pub const QUIET_RENEW_MAX: Duration = Duration::from_secs(1);
/// Quiet leaders of one node that renew their leases at the same time.
pub const QUIET_RENEWALS_MAX: usize = 64;
