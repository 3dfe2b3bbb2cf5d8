//! What a watch tells its client.
//!
//! Promises: names of kinds and reasons are contract.

use std::sync::Arc;

use bytes::Bytes;

use crate::model::{GroupId, Row};

/// What happened to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// It was written.
    Put,
    /// It was deleted.
    Delete,
    /// It went with its lease.
    Expire,
}

impl Kind {
    /// The kind of a recorded change; `None` for what is not shown.
    pub(super) const fn of(note: u8) -> Option<Self> {
        match note {
            0 => Some(Self::Put),
            1 => Some(Self::Delete),
            2 => Some(Self::Expire),
            _ => None,
        }
    }

    /// Its name; contract.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Delete => "delete",
            Self::Expire => "expire",
        }
    }
}

/// Kinds that are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kinds {
    /// Writes.
    pub put: bool,
    /// Deletes.
    pub delete: bool,
    /// Ends of leases.
    pub expire: bool,
}

impl Kinds {
    /// All of them.
    pub const ALL: Self = Self { put: true, delete: true, expire: true };

    pub(super) const fn contains(self, kind: Kind) -> bool {
        match kind {
            Kind::Put => self.put,
            Kind::Delete => self.delete,
            Kind::Expire => self.expire,
        }
    }
}

/// A change of a key, or a key of the initial state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    /// What happened.
    pub kind: Kind,
    /// The key.
    pub key: Bytes,
    /// The key's group.
    pub group: GroupId,
    /// The entry that did it, in the group's order.
    pub index: u64,
    /// Its number within the entry.
    pub seq: u32,
    /// The row since; `None` when there is none.
    pub row: Option<Row>,
    /// The row before, when that was asked for.
    pub previous: Option<Row>,
    /// Whether it is of the initial state.
    pub initial: bool,
    /// Where to go on after it.
    pub cursor: Arc<str>,
}

/// What a watch tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchEvent {
    /// A change.
    Change(Box<Watched>),
    /// The initial state is complete; what follows are the changes since.
    Synced {
        /// Where to go on.
        cursor: Arc<str>,
    },
    /// Nothing up to here is left to tell.
    Bookmark {
        /// Where to go on.
        cursor: Arc<str>,
    },
    /// There is nothing more.
    End {
        /// Why.
        reason: EndReason,
        /// Where to go on, elsewhere or later.
        cursor: Arc<str>,
    },
}

/// Why a watch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// What comes next is no longer kept: the client was too slow for the history.
    HistoryTrimmed,
    /// The namespace is gone.
    NamespaceDeleted,
    /// The namespace keeps no history any more.
    HistoryOff,
    /// The node stops: go on at another one.
    NodeStopping,
    /// A group could not be reached.
    Unavailable,
    /// Something cannot be read.
    Broken,
}

impl EndReason {
    /// Its name; contract.
    pub const fn name(self) -> &'static str {
        match self {
            Self::HistoryTrimmed => "too_slow",
            Self::NamespaceDeleted => "namespace_deleted",
            Self::HistoryOff => "watch_off",
            Self::NodeStopping => "node_stopping",
            Self::Unavailable => "unavailable",
            Self::Broken => "internal",
        }
    }
}
