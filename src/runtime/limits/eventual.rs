//! The bounds of single writes to eventual namespaces.
//!
//! They are kept where a write originates; what was accepted once is applied everywhere.

/// Siblings of a key from which answers warn: some client does not send its context.
pub const SIBLINGS_WARN: usize = 25;

/// Most siblings of a key: each read carries all of them, and nobody ever merged that many by hand.
pub const SIBLINGS_MAX: usize = 100;

/// Bytes of a key's siblings together, from which on no further one is put beside them: each write to the
/// key reads and writes all of them, while all other keys of the namespace wait. One value may always
/// stand, whatever its length; nodes that do not hear of each other may each come this far.
pub const SIBLINGS_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Most versions that a context names: what one read can have shown, where several replicas each
/// filled the siblings of a key before they met.
pub const CONTEXT_DOTS_MAX: usize = 4096;

/// Longest opaque text that is read; a vector of a thousand actors takes half of it.
pub const OPAQUE_TEXT_BYTES_MAX: usize = 64 * 1024;

/// Most cells that one operation changes: it is one record of the log and one batch of rows. A set
/// with more elements is removed in parts.
pub const OP_CELLS_MAX: usize = 16_384;

/// Longest element of a set, and longest path to a field with all of its names: both stand in row
/// keys.
pub const FIELD_BYTES_MAX: usize = 1024;
