//! Bounds of measurements.

use std::time::Duration;

/// Operations of one site that are under way at a time in an open load; more wait, and are told as
/// late. A site that answers in a second takes this many a second.
pub const BENCH_UNDER_WAY_MAX: usize = 2_048;

/// Operations of one run: each arrival is planned ahead and each write is remembered.
pub const BENCH_OPS_MAX: u64 = 20_000_000;

/// Connections of a closed load, all sites together.
pub const BENCH_CONNECTIONS_MAX: u64 = 8_192;

/// Bytes of a value.
pub const BENCH_VALUE_BYTES_MAX: usize = 1024 * 1024;

/// How long an operation may take with all its tries, before it counts as failed.
pub const BENCH_OP_MAX: Duration = Duration::from_secs(5);

/// An operation that is answered within this time of its intended start was available.
pub const BENCH_IN_TIME: Duration = Duration::from_secs(1);

/// Requests under way at a time while a run is set up and read back.
pub const BENCH_CHECK_CONCURRENCY: usize = 48;

/// Writes whose fate is asked for one by one; of more a share is.
pub const BENCH_FATES_MAX: usize = 30_000;

/// Writes that are watched at a time until the other sites show them.
pub const BENCH_WATCHED_MAX: usize = 64;

/// How long a watched write may stay out of sight before that is said of it.
pub const BENCH_VISIBLE_MAX: Duration = Duration::from_secs(20);

/// How long a run waits until the nodes agree.
pub const BENCH_CONVERGE_MAX: Duration = Duration::from_secs(120);

/// Reads that staleness tells apart; the last number stands for all above.
pub const BENCH_STALE_MAX: u64 = 100;

/// Tries of one conditional write.
pub const BENCH_TRIES_MAX: u64 = 200;

/// Wrong statements of a run that are told in words.
pub const BENCH_EXAMPLES_MAX: usize = 5;

/// Connections to one member of a peer that carries many calls on one: fewer are a queue under many
/// callers, more cost it a thread's work each.
pub const BENCH_PEER_CHANNELS: usize = 4;

/// How long a peer's members may take to find a leader.
pub const BENCH_PEER_READY_MAX: Duration = Duration::from_secs(30);

/// Keys whose writers look for gaps when a node dies: enough that each node leads some.
pub const BENCH_GAP_WRITERS: u64 = 48;

/// After this time a writer that looks for gaps gives its write up and tries again.
pub const BENCH_GAP_PATIENCE: Duration = Duration::from_millis(250);

/// Lanes of one thread: so few that a second core is used before one is full, so many that a wake-up
/// serves several.
pub const BENCH_LANES_OF_THREAD: u64 = 128;

/// How long a lane rests after a failure: a store that refuses at once is not asked in a circle.
pub const BENCH_LANE_PAUSE: Duration = Duration::from_millis(5);

/// Keys that a lane draws until one suits it and is not being written; then it takes what comes, or
/// rests.
pub const BENCH_DRAWS_MAX: u32 = 64;

/// Tries of a write that fills a store before the load begins.
pub const BENCH_FILL_TRIES_MAX: u32 = 100;

/// Longest line of a trace: the longest key in base64 with everything else.
pub const BENCH_TRACE_LINE_BYTES_MAX: usize = 64 * 1024;

/// Requests of a trace that are driven: each is held in memory, at some 80 bytes.
pub const BENCH_TRACE_STEPS_MAX: usize = 5_000_000;

/// Bytes of a recording's file when nobody says.
pub const BENCH_TRACE_BYTES_DEFAULT: u64 = 1024 * 1024 * 1024;

/// How much of a trace is lost at most when its recorder is killed.
pub const BENCH_TRACE_FLUSH: Duration = Duration::from_secs(1);
