//! Bounds of what a request may carry, whatever it asks.

/// Longest key, in bytes after percent-decoding.
pub const KEY_BYTES_MAX: usize = 4 * 1024;

/// Longest value by default, in bytes.
pub const VALUE_BYTES_MAX: usize = 1024 * 1024;
