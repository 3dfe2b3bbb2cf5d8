//! The heart: what a command does to state. Pure: no clock, no randomness, no I/O, no `HashMap`.
//!
//! A group replicates [`Command`]s. Every replica runs [`apply()`] on each of them, in log order, over
//! the same rows, and must come to the same [`Reply`] and the same [`Effect`]s; nothing here may
//! depend on anything else. The bytes that are written down (commands, replies, rows) each begin
//! with a version byte, and their enums grow at the end only.

pub mod apply;
mod book;
pub mod codec;
pub mod command;
pub mod denial;
pub mod eventual;
pub mod figures;
pub mod id;
mod json;
pub mod lease;
pub mod lock;
pub mod number;
pub mod op;
mod patch;
pub mod reply;
pub mod row;
pub mod rows;

pub use apply::{
    ApplyError, Book, NOTE_DELETE, NOTE_EXPIRE, NOTE_PUT, Outcome, View, ViewError, apply, leases,
    namespace_has_rows, once,
};
pub use codec::CodecError;
pub use command::{Action, Command, Once, Ownership, Request, Tend};
pub use denial::{Denial, Part, PatchFault};
pub use figures::{Figures, Tally};
pub use id::{ClusterId, GroupId, Incarnation, NamespaceId, NodeId, Slot, SlotRange};
pub use lease::{LeaseEvent, LeaseId, LeaseRow, LeaseState};
pub use lock::{LockPlace, LockRow};
pub use number::{Decimal, NumberFault};
pub use op::{
    Attach, Cmp, Compare, Give, Holder, KeyOp, LeaseOp, LockOp, NumberOp, Patch, Require, Space,
    Tag, Test, Txn, TxnOp, WriteOp,
};
pub use reply::{KeyReply, LeaseReply, LockReply, Reply, TendReply, TxnReply};
pub use row::Row;
pub use rows::{CATALOG_KEY, OWNED_KEY, data_key, lease_key, lock_key, once_key, split_data_key};

pub use crate::storage::Effect;
