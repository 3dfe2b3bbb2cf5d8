//! The working index behind a narrow trait, so that simulation runs without sled.
//!
//! Why it exists: sled's files cannot be trusted after a power cut and it cannot run in a
//! simulator. Everything above asks this trait; the contract tests run on both implementations.
//!
//! Promises: an insert or remove is seen by every later call of any thread; a scan returns rows in
//! key order (or against it), each with some value that it had during the scan. Nothing is promised about
//! durability: an index is verified at start, or rebuilt.

mod guard;
mod memory;
mod sled;

#[cfg(test)]
pub(crate) mod tests;

use std::fmt::Debug;

use bytes::Bytes;

pub use guard::{Failure, GuardedEngine};
pub use memory::MemoryEngine;
pub use sled::SledEngine;
pub(crate) use sled::contain;

use super::StorageError;

/// A row as the engine returns it: key and value.
pub type EngineRow = (Bytes, Bytes);

/// A named set of rows; a group's rows stand in the space of its number.
pub type Space = u64;

/// Ordered maps from keys to values that may or may not outlive the process.
pub trait Engine: Send + Sync + Debug + 'static {
    /// The value of a key.
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StorageError>;

    /// Sets a value and returns the previous one.
    fn insert(&self, space: Space, key: &[u8], value: &[u8])
    -> Result<Option<Bytes>, StorageError>;

    /// Removes a key and returns the previous value.
    fn remove(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StorageError>;

    /// At most `limit` rows from the key `from` on, in key order.
    fn scan(&self, space: Space, from: &[u8], limit: usize)
    -> Result<Vec<EngineRow>, StorageError>;

    /// At most `limit` rows whose keys are below `below` (all keys without it), the last one first.
    fn scan_back(
        &self,
        space: Space,
        below: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<EngineRow>, StorageError>;

    /// Removes a space with all its rows; cheaper than removing the rows.
    fn clear(&self, space: Space) -> Result<(), StorageError>;

    /// Hands everything to the operating system.
    fn flush(&self) -> Result<(), StorageError>;

    /// Bytes on disk; 0 for an engine without files.
    fn disk_bytes(&self) -> u64;

    /// Ends the engine's threads and makes its files durable. Every later call fails.
    fn close(&self) -> Result<(), StorageError>;
}
