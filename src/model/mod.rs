//! The heart: what a command does to state. Pure: no clock, no randomness, no I/O, no `HashMap`.

pub mod id;

pub use id::{ClusterId, GroupId, Incarnation, NamespaceId, NodeId, Slot, SlotRange};
