//! Bounds of the hall: retries, batches, scans, watches, locks.

use std::time::Duration;

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

/// Eventual namespaces of one session: with the vectors of large clusters it still fits into a header.
pub const SESSION_SPACES_MAX: usize = 8;

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

/// Groups that are told at a time, for one change of a namespace, to take nothing that was routed
/// before it.
pub const FLOORS_PARALLEL_MAX: usize = 64;

/// How long a node that made a change of the catalog waits to know it itself before it answers.
pub const CATALOG_ECHO_MAX: Duration = Duration::from_secs(2);
