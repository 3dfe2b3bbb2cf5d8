//! What a replica says of its group: for `/v1/cluster`, for metrics, for placement.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::{GroupId, NodeId};

/// A replica's part in its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// Orders the group's writes.
    Leader,
    /// Follows a leader.
    Follower,
    /// Asks to lead.
    Candidate,
    /// Receives entries without a vote.
    Learner,
    /// No longer runs.
    Stopped,
}

/// A replica's place in its group. Indexes are log positions; `None` is "nothing yet".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupStatus {
    /// The group.
    pub group: GroupId,
    /// Who leads, as far as this replica knows.
    pub leader: Option<NodeId>,
    /// The current term.
    pub term: u64,
    /// This replica's part.
    pub role: Role,
    /// The last appended entry.
    pub last: Option<u64>,
    /// The last entry known here to be committed.
    pub committed: Option<u64>,
    /// The last applied entry.
    pub applied: Option<u64>,
    /// The last entry in the newest checkpoint.
    pub snapshot: Option<u64>,
    /// The last purged entry.
    pub purged: Option<u64>,
    /// Only at the leader: the last entry that each replica is known to hold.
    pub replication: BTreeMap<NodeId, u64>,
    /// The voters.
    pub voters: Vec<NodeId>,
    /// The learners.
    pub learners: Vec<NodeId>,
    /// Proposals that wait here.
    pub waiting: usize,
}

impl GroupStatus {
    /// Committed entries that are not yet applied here.
    pub fn apply_lag(&self) -> u64 {
        self.committed.unwrap_or(0).saturating_sub(self.applied.unwrap_or(0))
    }
}
