//! What the catalog may be asked to become, and what it answers.
//!
//! Promises: both read back as written; decoding never panics. They travel as the opaque bytes of
//! [`Command::Catalog`](crate::model::Command::Catalog) and
//! [`Reply::Catalog`](crate::model::Reply::Catalog). New variants go to the end.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::catalog::{Layout, Mode, NamespaceEntry, NamespaceLimits};
use super::switch::{SwitchStep, SwitchTo};
use super::topology::Topology;
use crate::model::codec::{self, CodecError};
use crate::model::eventual::DataType;
use crate::model::{ClusterId, GroupId, Incarnation, NamespaceId, NodeId};

/// A change of the catalog.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CatalogCommand {
    /// Makes the first catalog. A second one with the same cluster id changes nothing, so that every
    /// founding member may propose it.
    Found {
        /// The id of the new cluster.
        cluster: ClusterId,
        /// The founding nodes: id, address (`host:port`), data directory.
        nodes: Vec<(NodeId, String, Incarnation)>,
        /// How many groups share the slots.
        groups: u64,
        /// How many replicas a group should have, nodes permitting.
        replicas: u64,
    },
    /// Makes a node known. It holds nothing until it replaces another one.
    AddNode {
        /// An id that was never used.
        node: NodeId,
        /// Its `host:port`.
        address: String,
        /// Its data directory.
        incarnation: Incarnation,
    },
    /// Says where a node is to be reached from now on.
    SetAddress {
        /// Which node.
        node: NodeId,
        /// Its data directory: no other one may speak for the node.
        incarnation: Incarnation,
        /// Its `host:port`.
        address: String,
    },
    /// Has one node take over all that another one holds.
    Replace {
        /// The node to empty.
        old: NodeId,
        /// The joining node that takes its place.
        new: NodeId,
    },
    /// Records that a group's members have changed: `to` holds what `from` held.
    Moved {
        /// Which group.
        group: GroupId,
        /// The replica that was.
        from: NodeId,
        /// The replica that is.
        to: NodeId,
    },
    /// Makes a namespace. The same one again, with equal settings, changes nothing.
    CreateNamespace {
        /// Its name: 1 to 64 of `a-z`, `0-9`, `.`, `_` and `-`, beginning with a letter or digit.
        name: String,
        /// Which side of CAP it picks.
        mode: Mode,
        /// How its keys fall into slots.
        layout: Layout,
        /// What it accepts.
        limits: NamespaceLimits,
        /// Most bytes of keys and values together; none is no bound.
        quota: Option<u64>,
        /// For how long its changes can be watched, in milliseconds; 0 is not at all.
        history_ms: u64,
        /// What its values are; there exactly if it is eventual.
        data_type: Option<DataType>,
        /// How its replicas are linked, if it is eventual.
        topology: Topology,
    },
    /// Changes what may change of a namespace; what is `None` stays as it is.
    ChangeNamespace {
        /// Which one.
        name: String,
        /// Only if the entry's newest change was at this epoch.
        if_epoch: Option<u64>,
        /// Its longest key from now on.
        key_bytes_max: Option<u64>,
        /// Its longest value from now on.
        value_bytes_max: Option<u64>,
        /// Its bound in bytes from now on; `Some(None)` takes the bound away.
        quota: Option<Option<u64>>,
        /// For how long its changes can be watched from now on, in milliseconds.
        history_ms: Option<u64>,
        /// How its replicas are linked from now on.
        topology: Option<Topology>,
    },
    /// Takes a namespace away: its name is free at once, its rows go from each group in time.
    DeleteNamespace {
        /// Which one.
        name: String,
    },
    /// Records that no group holds a row of a deleted namespace any more.
    Purged {
        /// Which one.
        namespace: NamespaceId,
    },
    /// Begins to switch a namespace to the other side. The same again changes nothing.
    SwitchNamespace {
        /// Which one.
        name: String,
        /// What it shall become.
        to: SwitchTo,
    },
    /// Takes a switch a step further, or gives it up.
    StepSwitch {
        /// Of which namespace.
        name: String,
        /// Which switch: the epoch at which it began.
        job: u64,
        /// The step.
        step: SwitchStep,
    },
}

/// What a catalog command came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CatalogReply {
    /// The catalog is as asked; it may have been so before.
    Done {
        /// The epoch at which it is.
        epoch: u64,
    },
    /// Nothing was changed.
    Refused {
        /// Why, for programs.
        code: RefusalCode,
        /// Why, and what to do, for people.
        reason: String,
    },
    /// A namespace is as asked.
    Namespace {
        /// The epoch at which it is.
        epoch: u64,
        /// Whether this command made it so.
        made: bool,
        /// The namespace.
        entry: NamespaceEntry,
    },
}

/// Why a catalog command was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RefusalCode {
    /// There is no cluster yet.
    NotFounded,
    /// This is another cluster.
    AlreadyFounded,
    /// The command makes no sense by itself: no nodes, too many groups, a bad address.
    Invalid,
    /// The node id belongs to another data directory.
    IdTaken,
    /// The data directory is known under another node id.
    DirectoryTaken,
    /// No such node.
    UnknownNode,
    /// The node was removed, and its id with it.
    NodeRemoved,
    /// The node cannot take another one's place: it is not joining, or already takes one.
    NotJoining,
    /// The node is already being replaced by another one.
    AlreadyReplaced,
    /// No such group.
    UnknownGroup,
    /// The catalog did not ask for this move.
    NotPlanned,
    /// A bound of the cluster is reached.
    TooMany,
    /// There is a namespace of that name with other settings.
    NamespaceExists,
    /// No such namespace.
    UnknownNamespace,
    /// The bound of namespaces is reached.
    TooManyNamespaces,
    /// The namespace was changed since the asker looked at it.
    NamespaceChanged,
    /// The namespace is being switched to the other side.
    Switching,
    /// No such switch is under way, or it is not where the step begins.
    NotSwitching,
}

const WHAT_COMMAND: &str = "catalog command";
const WHAT_REPLY: &str = "catalog reply";

impl CatalogCommand {
    /// The command's bytes.
    pub fn encode(&self) -> Bytes {
        codec::seal(self, &[])
    }

    /// Reads a catalog command.
    pub fn decode(bytes: &Bytes) -> Result<Self, CodecError> {
        let (command, tail) = codec::open(WHAT_COMMAND, bytes)?;
        codec::no_tail(WHAT_COMMAND, &tail)?;
        Ok(command)
    }
}

impl CatalogReply {
    /// The epoch at which what was asked is so; `None` when it was refused.
    pub const fn epoch(&self) -> Option<u64> {
        match self {
            Self::Done { epoch } | Self::Namespace { epoch, .. } => Some(*epoch),
            Self::Refused { .. } => None,
        }
    }

    /// The reply's bytes.
    pub fn encode(&self) -> Bytes {
        codec::seal(self, &[])
    }

    /// Reads a catalog reply.
    pub fn decode(bytes: &Bytes) -> Result<Self, CodecError> {
        let (reply, tail) = codec::open(WHAT_REPLY, bytes)?;
        codec::no_tail(WHAT_REPLY, &tail)?;
        Ok(reply)
    }
}
