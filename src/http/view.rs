//! The cluster's state as JSON.

use crate::consensus::Role;
use crate::model::NodeId;
use crate::placement::NodeState;
use crate::service::ClusterView;
use crate::service::cluster::{GroupOverview, NodeOverview, ReplicaOverview};
use crate::wire;

/// The whole view.
pub(super) fn cluster(view: &ClusterView) -> wire::ClusterView {
    wire::ClusterView {
        cluster: view.cluster.map(|id| id.to_string()),
        epoch: view.epoch,
        answered_by: view.answered_by.0,
        moves_left: view.nodes.iter().map(NodeOverview::moves_left).sum(),
        nodes: view.nodes.iter().map(node).collect(),
        groups: view.groups.iter().map(group).collect(),
    }
}

fn node(node: &NodeOverview) -> wire::NodeView {
    let (state, replaced_by) = match node.state {
        NodeState::Active => ("active", None),
        NodeState::Joining => ("joining", None),
        NodeState::Replaced { by } => ("replaced", Some(by.0)),
        NodeState::Removed => ("removed", None),
    };
    let (uptime_ms, version) = node.answered.clone().unzip();
    wire::NodeView {
        id: node.id.0,
        address: node.address.clone(),
        state: state.to_owned(),
        replaced_by,
        reachable: node.answered.is_some(),
        incarnation: node.incarnation.to_string(),
        leads: node.leads,
        replicas: node.replicas,
        moves_left: node.moves_left(),
        uptime_ms,
        version,
    }
}

fn group(group: &GroupOverview) -> wire::GroupView {
    let numbers = |nodes: &[NodeId]| nodes.iter().map(|node| node.0).collect();
    wire::GroupView {
        id: group.id.0,
        leader: group.leader.map(|node| node.0),
        preferred: group.preferred.0,
        term: group.term,
        committed: group.committed,
        applied: group.applied,
        last: group.last,
        voters: numbers(&group.voters),
        learners: numbers(&group.learners),
        slots: group.slots.iter().map(|range| [range.first.get(), range.last.get()]).collect(),
        replicas: group.replicas.iter().map(replica).collect(),
    }
}

fn replica(replica: &ReplicaOverview) -> wire::ReplicaView {
    let status = replica.status.as_ref();
    let role = match status.map(|status| status.role) {
        None => "unknown",
        Some(Role::Leader) => "leader",
        Some(Role::Follower) => "follower",
        Some(Role::Candidate) => "candidate",
        Some(Role::Learner) => "learner",
        Some(Role::Stopped) => "stopped",
    };
    wire::ReplicaView {
        node: replica.node.0,
        role: role.to_owned(),
        term: status.map(|status| status.term),
        applied: status.and_then(|status| status.applied),
        last: status.and_then(|status| status.last),
        lag: replica.lag,
    }
}
