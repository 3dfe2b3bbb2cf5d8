//! The other wing: namespaces that are written at any node at once, and converge.
//!
//! Why it exists: a node that is cut off still takes reads and writes of eventual namespaces, and says
//! later by name what concurrent writers have lost. Every node holds every eventual namespace whole,
//! as one *shard*: a log of operations in the order in which they were applied here, and the rows that
//! they come to.
//!
//! Promises: rows are a fold of the log, and nothing is visible, sent, or counted in a vector before
//! it is flushed (rule R4); a vector has no gaps; what is cut off from a log is named by its base (R2);
//! losses are final only when every member has said so (R6). Relies on `model::eventual` for what
//! operations mean, on `storage` for the log and rows, on the catalog for which namespaces there are.

mod audit;
mod batch;
mod clocks;
mod draft;
mod finals;
mod gate;
mod look;
mod marks;
pub mod metrics;
mod open;
mod part;
pub mod registry;
mod rows;
pub mod shard;
pub mod stream;
mod sums;
mod sync;
mod trail;
mod trim;
pub mod words;
mod worker;

#[cfg(test)]
mod tests;

use crate::model::{Incarnation, NamespaceId};
use crate::runtime::limits::EVENTUAL_GROUP_BASE;

pub use gate::Passage;
pub use registry::{Foundation, Shards};
pub use shard::{Part, Shard};
pub use stream::{
    ConvergeInbox, Convergence, Exchange, Lag, MemberState, StreamMetrics, Streams, Verdict, copy,
};
pub use sums::Figures;
pub use words::{
    Audit, Base, BucketSet, ConflictPage, Digest, FateView, Heads, Heard, KeyPage, LogGone, Logged,
    LoggedOp, LossTotals, LostSince, PageAsk, ReadError, Received, SnapshotPage, Stop, WriteError,
    WriteRequest, Wrote, decode_op,
};

/// The group that stands for a namespace's shard in log and state.
pub const fn storage_group(namespace: NamespaceId) -> crate::storage::GroupId {
    EVENTUAL_GROUP_BASE + namespace.0
}

/// The part of a data directory's random number that actors carry.
pub fn home_of(incarnation: Incarnation) -> u32 {
    u32::try_from(incarnation.0 & u64::from(u32::MAX)).expect("it is masked to 32 bits")
}
