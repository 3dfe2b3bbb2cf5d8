//! Bodies about the cluster itself: its state, where a key lives, joining and replacing nodes.
//!
//! Why it exists: `/v1/cluster` and its neighbours are what operators and routing clients read.
//! Promises and relies on: as all of [`crate::wire`].

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The cluster as one node sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ClusterView {
    /// The cluster's id, 16 hex digits; `None` while the answering node knows none.
    pub cluster: Option<String>,
    /// The catalog's epoch.
    pub epoch: u64,
    /// The node that answered.
    pub answered_by: u64,
    /// Replicas that still have to leave replaced nodes.
    pub moves_left: u64,
    /// All nodes of the catalog.
    pub nodes: Vec<NodeView>,
    /// All groups of the catalog.
    pub groups: Vec<GroupView>,
}

/// A node of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodeView {
    /// The node's id.
    pub id: u64,
    /// `host:port`.
    pub address: String,
    /// `active`, `joining`, `replaced` or `removed`.
    pub state: String,
    /// Who takes over its replicas, when it is replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaced_by: Option<u64>,
    /// Whether it answered just now.
    pub reachable: bool,
    /// The id of its data directory, 16 hex digits.
    pub incarnation: String,
    /// How many groups it leads.
    pub leads: u64,
    /// How many groups have a replica on it.
    pub replicas: u64,
    /// Replicas that still have to leave it.
    pub moves_left: u64,
    /// Milliseconds since it started; `None` when it did not answer.
    pub uptime_ms: Option<u64>,
    /// The release that it runs; `None` when it did not answer.
    pub version: Option<String>,
}

/// A group of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GroupView {
    /// The group's id; 0 is the system group.
    pub id: u64,
    /// The node that leads it, when a leader is known.
    pub leader: Option<u64>,
    /// The node that should lead it.
    pub preferred: u64,
    /// The newest term that any replica reported.
    pub term: u64,
    /// Newest index that is committed, as far as any replica knows.
    pub committed: u64,
    /// Newest index that any replica has applied.
    pub applied: u64,
    /// The leader's last entry; without a leader the longest log's.
    pub last: u64,
    /// Nodes with a vote.
    pub voters: Vec<u64>,
    /// Nodes that receive entries without a vote.
    pub learners: Vec<u64>,
    /// Slots, as inclusive ranges.
    pub slots: Vec<[u16; 2]>,
    /// The group's copies.
    pub replicas: Vec<ReplicaView>,
}

/// A group's copy on a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReplicaView {
    /// The node.
    pub node: u64,
    /// `leader`, `follower`, `candidate`, `learner`, `stopped`; `unknown` when it did not answer.
    pub role: String,
    /// The newest term that it has promised to; it never falls.
    #[serde(default)]
    pub term: Option<u64>,
    /// Its last applied entry.
    pub applied: Option<u64>,
    /// Its last appended entry.
    pub last: Option<u64>,
    /// Entries of the leader that it is not known to hold.
    pub lag: Option<u64>,
}

/// What the replicas of one node hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DigestView {
    /// The node that answered, of its own replicas.
    pub node: u64,
    /// Its replicas, in the order of their groups.
    pub groups: Vec<GroupDigest>,
}

/// What one replica holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GroupDigest {
    /// The group.
    pub group: u64,
    /// The applied index that the digest is of, exactly.
    pub applied: u64,
    /// How many rows the replica holds: keys, and what the group knows beside them.
    pub rows: u64,
    /// Hash of all of them, 16 hex digits.
    #[schema(pattern = "^[0-9a-f]{16}$")]
    pub digest: String,
}

/// Where a key lives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RouteView {
    /// The key's slot.
    pub slot: u16,
    /// The group that owns the slot.
    pub group: u64,
    /// The node that leads the group, as far as the answering node knows.
    pub leader: Option<u64>,
    /// The node that should lead it.
    pub preferred: u64,
    /// Base URL of the leader's node.
    pub leader_url: Option<String>,
    /// The nodes that hold the group, with their base URLs.
    pub replicas: Vec<RouteReplica>,
    /// The epoch of the catalog that says so.
    pub epoch: u64,
}

/// A node that holds a key's group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RouteReplica {
    /// The node.
    pub node: u64,
    /// Its base URL, when the catalog knows its address.
    pub url: Option<String>,
}

/// Asks that a node becomes known to the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JoinRequest {
    /// The node's id; never used before.
    pub id: u64,
    /// Where others reach it, `host:port`.
    #[schema(max_length = 260)]
    pub address: String,
    /// The id of its data directory, 16 hex digits.
    #[schema(pattern = "^[0-9a-fA-F]{16}$")]
    pub incarnation: String,
}

/// Asks that one node takes over the replicas of another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReplaceRequest {
    /// The node that leaves.
    pub old: u64,
    /// The node that takes over; it has joined before.
    pub new: u64,
}

/// The answer to a change of the catalog.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChangeReply {
    /// The cluster's id, 16 hex digits.
    pub cluster: Option<String>,
    /// The catalog's epoch after the change.
    pub epoch: u64,
    /// The nodes that the answering node knows, so that a newcomer can reach them.
    pub nodes: Vec<KnownNode>,
    /// Data groups of the cluster.
    #[serde(default)]
    pub groups: u64,
}

/// A node and where it is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KnownNode {
    /// The node's id.
    pub id: u64,
    /// `host:port`.
    pub address: String,
    /// The id of its data directory, 16 hex digits.
    pub incarnation: String,
}

/// What a laboratory tells a node that was started for one; what it leaves out stays as it is. Not a
/// part of the API: no other node has this path.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabOrder {
    /// How long everything sent to another node takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay_ms: Option<f64>,
    /// By how much more it takes at random, at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jitter_ms: Option<f64>,
    /// The nodes to which the line is cut; all others are whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut: Option<Vec<u64>>,
    /// How far the node's wall clock is ahead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_ms: Option<i64>,
}
