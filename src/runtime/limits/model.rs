//! The bounds that the state machine keeps by itself, the same at every replica.
//!
//! Changing one changes what a replayed log comes to: all nodes change together.

/// Longest content type that is kept with a value; real ones have a tenth of it.
pub const CONTENT_TYPE_BYTES_MAX: usize = 255;

/// Longest idempotency key.
pub const ONCE_KEY_BYTES_MAX: usize = 255;

/// Most remembered results of a group; the oldest are forgotten first. At 70 requests with a key
/// each second, this is the quarter of an hour that retries may take.
pub const ONCE_RECORDS_MAX: u64 = 65_536;

/// Most bytes of remembered results of a group: they stand in every checkpoint of it.
pub const ONCE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Remembered results that are forgotten at once, when a bound is reached or the time is over: one
/// search for many, and no entry that holds up the others for more than some milliseconds.
pub const ONCE_FORGET_AT_ONCE: usize = 1024;

/// Most keys and places in locks that depend on one lease: they vanish in one entry.
pub const LEASE_KEYS_MAX: u64 = 4096;

/// Most leases of a group, keys with a time to live among them: leaders hold their times in memory.
pub const LEASES_MAX: u64 = 262_144;

/// Keys and places in locks after which one entry ends no further lease.
pub const TEND_KEYS_MAX: u64 = 8192;

/// Most who wait for one lock, its holder among them: the queue is one row.
pub const LOCK_QUEUE_MAX: usize = 256;

/// Longest word for who holds a lock.
pub const LOCK_OWNER_BYTES_MAX: usize = 256;

/// Most rows of a deleted namespace that one entry removes.
pub const PURGE_ROWS_MAX: u32 = 8192;

/// Deepest nesting of a JSON value that is patched: each level is one call deep.
pub const JSON_DEPTH_MAX: usize = 128;

/// Most steps of a JSON patch: each may move a whole array.
pub const PATCH_STEPS_MAX: usize = 1000;

/// Most work of all patches in one entry, in bytes read or compared and in items and members passed
/// or shifted: no entry may hold up the others for more than some milliseconds. A patch of 1 MiB on
/// the longest value takes the quarter of it before its first step.
pub const PATCH_WORK_MAX: usize = 8 * 1024 * 1024;

/// Bytes that are copied, or compared with a name, for one unit of work.
pub const PATCH_COPY_BYTES: usize = 16;
