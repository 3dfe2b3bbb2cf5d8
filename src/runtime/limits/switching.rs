//! Bounds of switching namespaces to the other side.

use std::time::Duration;

/// How often whoever leads group 0 looks for switches to be driven, and tries one again that could not
/// go on.
pub const SWITCH_TICK: Duration = Duration::from_millis(250);

/// How long a node may take to close its replica, or to say what it has.
pub const SWITCH_CALL_MAX: Duration = Duration::from_secs(3);

/// How long one step of a switch may take before it is tried anew: an election fits.
pub const SWITCH_STEP_MAX: Duration = Duration::from_secs(10);

/// Keys that are copied at a time; with the next one the memory that a switch takes.
pub const SWITCH_PAGE_KEYS: usize = 2048;

/// About so many bytes are copied at a time.
pub const SWITCH_PAGE_BYTES: usize = 1024 * 1024;

/// Keys in one entry of a group while they are copied.
pub const SWITCH_ENTRY_KEYS: usize = 128;

/// Keys in the way of a switch that are named; of the others there is a count.
pub const SWITCH_NAMED_MAX: usize = 20;

/// Longest reason for which a switch was given up: the catalog keeps it.
pub const SWITCH_REASON_BYTES_MAX: usize = 2048;
