//! The cellar: bytes, batches, flush, recovery. It does not know what a key or a value means.
//!
//! Truth is in the shared log (`log`) and in the checkpoints (`checkpoint`). The applied state
//! (`state`) is a memtable over a working index that is verified at start and rebuilt from the
//! other two whenever it cannot be trusted.

pub mod checkpoint;
pub mod disk;
pub mod engine;
pub mod error;
pub mod log;
pub mod state;

pub use checkpoint::{Applied, Checkpoint};
pub use disk::{Disk, DiskFile, OpenMode};
pub use error::StorageError;
pub use state::{Read, State};

/// A group's id as the cellar sees it: a number that prefixes its records and rows.
pub type GroupId = u64;

/// One change to a group's rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effect {
    /// The row's key.
    pub key: bytes::Bytes,
    /// The new value; `None` removes the row.
    pub value: Option<bytes::Bytes>,
}
