//! The cellar: bytes, batches, flush, recovery. It does not know what a key or a value means.
//!
//! Truth is in two places, both written through `disk`, which tests replace by one that loses what was
//! not synced: the shared Raft log (`log`) and one checkpoint file per group (`checkpoint`), in force
//! from the sync of its directory on. The log is purged only behind such a checkpoint.
//!
//! The applied state (`state`) is four layers, newest first: a memtable, frozen memtables, the working
//! index (`engine`: sled, or memory in simulations) with what left memory, and the newest checkpoint,
//! read in place. A checkpoint merges them into a new file. The working index is believed only after
//! a clean stop whose totals match its rows; otherwise it is removed, and the log is applied again from
//! the checkpoints. Its first failure while it runs stops the node.
//!
//! Promises: what was acknowledged survives any power cut; what a start has shown is durable; a failed
//! write or sync is never retried in place. `docs/data-layout.md` has every byte and the order of syncs.

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
    /// Set on changes that the group's history keeps for a while.
    pub recorded: Option<Recorded>,
}

/// What the history keeps of a change beside the row's key and new value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// The value before; `None` when there was no row.
    pub before: Option<bytes::Bytes>,
    /// The owner's word for the kind of change; opaque here.
    pub note: u8,
}

impl Effect {
    /// A change that no history keeps.
    pub const fn plain(key: bytes::Bytes, value: Option<bytes::Bytes>) -> Self {
        Self { key, value, recorded: None }
    }
}
