//! The eventual side's heart: dots, vectors, cells, and how they merge. Pure: no clock, no I/O.
//!
//! Why it exists: replicas that write at once without asking each other must come to the same rows
//! whatever order, repetition or interruption they hear of each other in. Every type is one thing
//! underneath: a *cell* holds the versions that no known operation has removed, each under the dot of
//! the operation that wrote it; an operation removes dots that its origin knew and may add its own.
//! There are no tombstones: what is absent from a cell but covered by the replica's vector was removed.
//!
//! Promises: [`Vector`]s have no gaps; merging is commutative, associative and idempotent; what the
//! bytes here mean never depends on time. Relies on its callers for rules R1 to R4 of
//! `docs/consistency.md`: when a vector may move, what may be sent, and when an actor begins anew.

pub mod cell;
pub mod dot;
pub mod op;

use serde::{Deserialize, Serialize};

pub use cell::{Cell, Content, Swept, Version};
pub use dot::{Actor, Dot, Hlc, Vector};
pub use op::{Act, CellChange, Field, FieldKind, Op, Put, Removed};

/// What the values of an eventual namespace are, and so how concurrent writes come together. New
/// types go to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum DataType {
    /// The last write wins, and the others are lost by name.
    Lww,
    /// All concurrent values stand beside each other until somebody merges them.
    Mv,
    /// A number that is added to.
    Counter,
    /// Texts, of which an addition beats a concurrent removal.
    Set,
    /// A JSON object, field by field.
    Map,
}
