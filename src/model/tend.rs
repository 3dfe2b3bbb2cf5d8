//! What a leader does to its group by itself: end leases, forget old records, purge a namespace.
//!
//! Promises: nothing here carries a time; the state machine checks indices only, so a word that
//! comes too late has no effect. Relies on the leader to judge time, see `consensus::tend`.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::id::{NamespaceId, Slot};

/// Names a lease; its upper bits are the slot whose group is its home.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct LeaseId(pub u64);

impl LeaseId {
    /// The slot whose owner is the lease's home.
    pub const fn slot(self) -> Slot {
        Slot::of_hash(self.0 >> 50)
    }
}

/// A lease as those who watch its time see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseState {
    /// Which.
    pub id: LeaseId,
    /// How long it lives after it was renewed; 0 when borrowed.
    pub ttl_ms: u64,
    /// Log index of the newest grant or renewal.
    pub renewed: u64,
    /// Whether another group is its home.
    pub borrowed: bool,
    /// Whether it is the lease of one key with a time to live.
    pub own: bool,
}

/// What an entry did to a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseEvent {
    /// It exists, with this state now.
    Lives(LeaseState),
    /// It is gone.
    Ended(LeaseId),
}

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A leader's upkeep of its group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tend {
    /// Leases that are due, each with the renewal that the leader saw: no effect if there is a newer.
    pub expire: Vec<(LeaseId, u64)>,
    /// Borrowed leases that their home no longer knows.
    pub gone: Vec<LeaseId>,
    /// Records of retried requests with an index up to this are dropped.
    pub forget: u64,
    /// A doomed namespace, and how many of its rows go at most.
    pub purge: Option<(NamespaceId, u32)>,
}

/// What upkeep came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TendReply {
    /// No row of the purged namespace is left.
    pub purged_all: bool,
    /// Leases that ended.
    pub expired: u64,
    /// Rows that were purged.
    pub purged: u64,
}

/// What a group holds of a namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figures {
    /// Bytes of keys and values.
    pub bytes: u64,
    /// Keys.
    pub keys: u64,
    /// Requests that changed an ordered namespace.
    pub counter: u64,
}
