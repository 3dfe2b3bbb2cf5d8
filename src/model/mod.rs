//! The heart: what a command does to state. Pure: no clock, no randomness, no I/O, no `HashMap`.
//!
//! A group replicates [`Command`]s. Every replica runs [`apply()`] on each of them, in log order, over
//! the same rows, and must come to the same [`Reply`] and the same [`Effect`]s; nothing here may
//! depend on anything else. The bytes that are written down (commands, replies, rows) each begin
//! with a version byte, and their enums grow at the end only.

pub mod apply;
pub mod codec;
pub mod command;
pub mod id;
pub mod reply;
pub mod row;
pub mod rows;
pub mod tend;

pub use apply::{ApplyError, Outcome, View, ViewError, apply};
pub use codec::CodecError;
pub use command::{Command, Ownership, Write, WriteOp};
pub use id::{ClusterId, GroupId, Incarnation, NamespaceId, NodeId, Slot, SlotRange};
pub use reply::Reply;
pub use row::Row;
pub use rows::{CATALOG_KEY, OWNED_KEY, data_key, split_data_key};
pub use tend::{Figures, LeaseEvent, LeaseId, LeaseState, Tend, TendReply};

pub use crate::storage::Effect;
