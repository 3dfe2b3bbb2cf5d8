//! Bounds of namespaces and of what leaders do by themselves.
//!
//! Part of [`limits`](super), which has outgrown one file; used through it like all others.

use std::time::Duration;

// --- namespaces -----------------------------------------------------------------------------

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

// --- upkeep ---------------------------------------------------------------------------------

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

/// Changed leases that are noted for a reader who does not come: with more, it gets all of them.
pub const LEASE_NEWS_MAX: usize = 16 * 1024;

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

/// For how many of these a namespace without a quota is summed up after somebody looked at it.
pub const USAGE_ASKED_TICKS: u32 = 60;

/// How long a description of a namespace may wait for the first sum of it: longer than the slowest
/// node may take to answer, far shorter than any client waits.
pub const USAGE_FIRST_MAX: Duration = Duration::from_millis(1_500);

/// Between two sums at least, however many ask for their first one: they then share it.
pub const USAGE_REST: Duration = Duration::from_millis(20);
