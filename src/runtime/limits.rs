//! Every bound of the system, named, with its reason.
//!
//! Why it exists: what has no bound ends with the memory. Overload is refused at these numbers, and
//! a reader finds all of them in one place. Grouped by the room that keeps them.

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

// --- storage --------------------------------------------------------------------------------

// --- peer -----------------------------------------------------------------------------------

// --- consensus ------------------------------------------------------------------------------

// --- http -----------------------------------------------------------------------------------

// --- client, cli ----------------------------------------------------------------------------
