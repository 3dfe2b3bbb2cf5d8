//! What the hall answers, for the front door to put into headers and JSON.
//!
//! Promises: every answer says which group it comes from and which index of that group's order it
//! reflects, so that it can go into a session. Relies on `model` for rows and replies.

use std::time::Duration;

use crate::model::eventual::DataType;
use crate::model::{GroupId, KeyReply, LeaseId, LockPlace, NodeId, Row, Slot, TxnReply};
use crate::placement::{Layout, Mode, NamespaceLimits, Topology};

use super::ask::ReadMode;

/// The answer to a read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Got {
    /// The key's row; `None` when there is no such key.
    pub row: Option<Row>,
    /// The key's group.
    pub group: GroupId,
    /// The group's index that the answer reflects, exactly.
    pub index: u64,
    /// How the key was read.
    pub read: ReadMode,
    /// How old a stale answer can be at most; `None` when unknown, or for a linearizable read.
    pub staleness: Option<Duration>,
    /// The node whose replica was read.
    pub served_by: NodeId,
    /// Who leads the group.
    pub leader: Option<NodeId>,
}

/// The answer to a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrote {
    /// What it came to: `Put`, `Deleted` or `Patched`. All else is an error.
    pub reply: KeyReply,
    /// The key's group.
    pub group: GroupId,
    /// The write's index in its group's order; of the first time when it is replayed.
    pub index: u64,
    /// Who leads the group: the node that did the write.
    pub leader: Option<NodeId>,
    /// Whether it had been done before, by the same once key.
    pub replayed: bool,
}

/// The answer to a txn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxnDone {
    /// What it came to. Never with a denied operation: that is an error.
    pub reply: TxnReply,
    /// The group of all its keys.
    pub group: GroupId,
    /// Its index in the group's order.
    pub index: u64,
    /// Who leads the group.
    pub leader: Option<NodeId>,
    /// Whether it had been done before, by the same once key.
    pub replayed: bool,
}

/// What one operation of a batch came to; an error says its own outcome.
pub type BatchResult = Result<BatchDone, super::error::ServiceError>;

/// An operation of a batch that was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchDone {
    /// What it came to: `Put`, `Deleted`, `Patched` or, of a get, `Found`.
    pub reply: KeyReply,
    /// The key's group.
    pub group: GroupId,
    /// The group's index that it has or reflects.
    pub index: u64,
    /// Whether it had been done before, by the same once key.
    pub replayed: bool,
}

/// Where a key lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The key's slot.
    pub slot: Slot,
    /// The group that owns it.
    pub group: GroupId,
    /// Who leads the group, as far as this node knows.
    pub leader: Option<NodeId>,
    /// Who should lead it.
    pub preferred: NodeId,
    /// The nodes that hold it, each with its address.
    pub replicas: Vec<(NodeId, Option<String>)>,
    /// The epoch of the catalog that says so.
    pub epoch: u64,
}

/// A namespace, as it is configured and used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceView {
    /// Its name.
    pub name: String,
    /// Its id; never given twice.
    pub id: u64,
    /// Which side of CAP it picked.
    pub mode: Mode,
    /// How its keys fall into slots.
    pub layout: Layout,
    /// What it accepts.
    pub limits: NamespaceLimits,
    /// Most bytes of keys and values.
    pub quota: Option<u64>,
    /// How long changes are kept for watches.
    pub history: Duration,
    /// Keys in it, as of about a second ago; `None` while that is not known.
    pub keys: Option<u64>,
    /// Bytes of its keys and values, likewise.
    pub bytes: Option<u64>,
    /// How many groups hold its keys.
    pub groups: u64,
    /// The epoch of the catalog that says so.
    pub epoch: u64,
    /// What its values are, if it is eventual.
    pub data_type: Option<DataType>,
    /// How its replicas are linked, if it is eventual.
    pub topology: Option<Topology>,
}

/// What making or changing a namespace came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceMade {
    /// The namespace.
    pub view: NamespaceView,
    /// Whether it is new: making the same again is harmless, and changing makes none.
    pub created: bool,
    /// Whether it is the first answer to a once key, again.
    pub replayed: bool,
}

/// A namespace that was deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamespaceGone {
    /// The epoch since which it is gone.
    pub epoch: u64,
    /// Whether it is the first answer to a once key, again.
    pub replayed: bool,
}

/// A lease that was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseGranted {
    /// Its id.
    pub id: LeaseId,
    /// How long it lives without being renewed.
    pub ttl: Duration,
    /// Its home group.
    pub group: GroupId,
    /// The index of the grant.
    pub index: u64,
    /// Whether it is the first answer to a once key, again.
    pub replayed: bool,
}

/// A lease as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseView {
    /// Its id.
    pub id: LeaseId,
    /// How long it lives without being renewed.
    pub ttl: Duration,
    /// About how long it still has, by the leader of its home group; `None` when that is not known.
    pub remaining: Option<Duration>,
    /// Its home group.
    pub group: GroupId,
    /// The index that this reflects.
    pub index: u64,
}

/// A lease that was ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseRevoked {
    /// Keys that went with it in its home group; those of others follow.
    pub keys: u64,
    /// Its home group.
    pub group: GroupId,
    /// The index of the end.
    pub index: u64,
    /// Whether it is the first answer to a once key, again.
    pub replayed: bool,
}

/// A lock that is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockDone {
    /// Grows from holder to holder: what the lock protects should refuse smaller ones.
    pub token: u64,
    /// Whose life the lock hangs on.
    pub lease: LeaseId,
    /// The life of a lease that was made for it; `None` when the caller brought one.
    pub ttl: Option<Duration>,
    /// The lock's group.
    pub group: GroupId,
    /// The group's index that this reflects.
    pub index: u64,
    /// Whether it is the first answer to a once key, again.
    pub replayed: bool,
}

/// A lock as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockView {
    /// Who holds it.
    pub holder: Option<LockPlace>,
    /// Who waits, in order.
    pub queue: Vec<LockPlace>,
    /// The lock's group.
    pub group: GroupId,
    /// The group's index that this reflects.
    pub index: u64,
    /// Whether it is the first answer to a once key, again.
    pub replayed: bool,
}
