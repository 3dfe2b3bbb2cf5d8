//! Every bound of the system, named, with its reason.
//!
//! Why it exists: what has no bound ends with the memory. Overload is refused at these numbers, and
//! a reader finds all of them in one place. Grouped by the room that keeps them.

// --- requests -------------------------------------------------------------------------------

/// Longest key, in bytes after percent-decoding.
pub const KEY_BYTES_MAX: usize = 4 * 1024;

/// Longest value by default, in bytes.
pub const VALUE_BYTES_MAX: usize = 1024 * 1024;

// --- storage --------------------------------------------------------------------------------

// --- peer -----------------------------------------------------------------------------------

// --- consensus ------------------------------------------------------------------------------

// --- http -----------------------------------------------------------------------------------

// --- client, cli ----------------------------------------------------------------------------
