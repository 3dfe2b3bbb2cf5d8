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
//!
//! A write: [`local()`] makes an [`Act`], [`apply()`] does it here and everywhere, [`read()`] shows it.
//! A state sync: [`merge_cell`]. The truth about loss: [`mod@fate`].

pub mod apply;
pub mod ask;
pub mod cell;
pub mod clock;
pub mod digest;
mod document;
pub mod dot;
pub mod fate;
pub mod local;
pub mod merge;
pub mod op;
pub mod read;
pub mod record;
pub mod rows;
#[cfg(test)]
mod tests;
pub mod text;
mod wish;

pub use apply::apply;
pub use ask::{Ask, DataType, FieldAsk, FieldEdit, LocalError, Origin, Refusal, Write};
pub use cell::{Cell, Content, Swept, Version};
pub use clock::HybridClock;
pub use dot::{Actor, Dot, Hlc, Vector};
pub use fate::{Beat, Fate, Loss, Member, Members, bears_witness, fate, finals, note_beat, stable};
pub use local::{Cells, local};
pub use merge::{merge_cell, settle};
pub use op::{Act, CellChange, Field, FieldKind, Op, Put, Removed};
pub use read::{Shown, Sibling, What, read};
pub use record::{Gate, Head, LostRecord, Merge, Reached, Record, Totals, dot_of, encode_op};
pub use text::{Context, TextError};
