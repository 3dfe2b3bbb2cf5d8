//! The whole cluster as one node sees it: its own replicas, and what the others say of theirs.
//!
//! Promises: bounded by [`STATUS_TIMEOUT`]; a node that does not answer is shown as unreachable, not
//! left out. Relies on every node answering the channel `STATUS` with a [`NodeReport`].

use std::collections::BTreeMap;

use bytes::Bytes;
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};

use crate::consensus::channel::STATUS;
use crate::consensus::{GroupStatus, Role};
use crate::model::codec::{self, CodecError};
use crate::model::{ClusterId, GroupId, Incarnation, NodeId, SlotRange};
use crate::peer::Lane;
use crate::placement::{Catalog, GroupEntry, NodeState};
use crate::runtime::limits::STATUS_TIMEOUT;

use super::Service;

/// What a node says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeReport {
    /// Milliseconds since it started.
    pub uptime_ms: u64,
    /// The release that it runs.
    pub version: String,
    /// Its replicas.
    pub groups: Vec<GroupStatus>,
}

const WHAT: &str = "node report";

impl NodeReport {
    pub(super) fn encode(&self) -> Bytes {
        codec::seal(self, &[])
    }

    fn decode(bytes: &Bytes) -> Result<Self, CodecError> {
        let (report, tail) = codec::open(WHAT, bytes)?;
        codec::no_tail(WHAT, &tail)?;
        Ok(report)
    }
}

/// A node, as known and as it answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeOverview {
    /// The node.
    pub id: NodeId,
    /// `host:port`.
    pub address: String,
    /// Its part in the cluster.
    pub state: NodeState,
    /// The id of its data directory.
    pub incarnation: Incarnation,
    /// Groups that it leads.
    pub leads: u64,
    /// Groups that the catalog places on it.
    pub replicas: u64,
    /// Its uptime and release; `None` when it did not answer.
    pub answered: Option<(u64, String)>,
}

impl NodeOverview {
    /// Replicas that still have to leave it.
    pub fn moves_left(&self) -> u64 {
        if matches!(self.state, NodeState::Replaced { .. }) { self.replicas } else { 0 }
    }
}

/// A group's copy on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaOverview {
    /// The node.
    pub node: NodeId,
    /// What it said of itself, if it did.
    pub status: Option<GroupStatus>,
    /// Entries of the leader that it is not known to hold.
    pub lag: Option<u64>,
}

/// A group, from all that was heard of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupOverview {
    /// The group.
    pub id: GroupId,
    /// Who leads: who says so itself in the newest term, else whom the newest term's replicas name.
    pub leader: Option<NodeId>,
    /// Who should lead.
    pub preferred: NodeId,
    /// The newest term heard of.
    pub term: u64,
    /// The newest index known to be committed.
    pub committed: u64,
    /// The newest index applied anywhere.
    pub applied: u64,
    /// The leader's last entry; without one, the longest log's.
    pub last: u64,
    /// Nodes with a vote.
    pub voters: Vec<NodeId>,
    /// Nodes that receive entries without a vote.
    pub learners: Vec<NodeId>,
    /// Slots that it owns.
    pub slots: Vec<SlotRange>,
    /// Its copies: where the catalog places them and where one was found.
    pub replicas: Vec<ReplicaOverview>,
}

/// The cluster as this node sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterView {
    /// The cluster; `None` while this node knows no catalog.
    pub cluster: Option<ClusterId>,
    /// The catalog's epoch.
    pub epoch: u64,
    /// The node that answers.
    pub answered_by: NodeId,
    /// Every node of the catalog.
    pub nodes: Vec<NodeOverview>,
    /// Every group of the catalog.
    pub groups: Vec<GroupOverview>,
}

impl Service {
    /// Asks all nodes and merges what they say. Takes at most [`STATUS_TIMEOUT`] and a little.
    pub async fn cluster(&self) -> ClusterView {
        let here = self.hall.node;
        let Some(map) = self.hall.map() else {
            return ClusterView {
                cluster: None,
                epoch: 0,
                answered_by: here,
                nodes: Vec::new(),
                groups: Vec::new(),
            };
        };
        let others = map
            .catalog
            .nodes
            .iter()
            .filter(|(id, entry)| **id != here && entry.state != NodeState::Removed)
            .map(|(id, _)| self.ask(*id));
        let mut reports: BTreeMap<NodeId, NodeReport> =
            join_all(others).await.into_iter().flatten().collect();
        reports.insert(here, self.report());
        merge(&map.catalog, here, &reports)
    }

    async fn ask(&self, node: NodeId) -> Option<(NodeId, NodeReport)> {
        let call = self.hall.transport.call(node, STATUS, Lane::Data, Bytes::new(), STATUS_TIMEOUT);
        // The transport keeps its own time; this one holds even if it does not.
        let answer = tokio::time::timeout(STATUS_TIMEOUT, call).await.ok()?.ok()?;
        match NodeReport::decode(&answer) {
            Ok(report) => Some((node, report)),
            Err(error) => {
                tracing::warn!(%node, %error, "status cannot be read");
                None
            }
        }
    }

    pub(super) fn report(&self) -> NodeReport {
        let uptime = self.hall.env.clock.now().since(self.hall.started);
        NodeReport {
            uptime_ms: u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            groups: self.hall.wing.statuses(),
        }
    }
}

/// One view from many.
fn merge(catalog: &Catalog, here: NodeId, reports: &BTreeMap<NodeId, NodeReport>) -> ClusterView {
    let mut heard: BTreeMap<GroupId, BTreeMap<NodeId, &GroupStatus>> = BTreeMap::new();
    for (node, report) in reports {
        for status in &report.groups {
            heard.entry(status.group).or_default().insert(*node, status);
        }
    }
    let nothing = BTreeMap::new();
    let groups: Vec<GroupOverview> = catalog
        .groups
        .iter()
        .map(|(id, entry)| group_overview(*id, entry, heard.get(id).unwrap_or(&nothing)))
        .collect();
    let count = |matches: &dyn Fn(&GroupOverview) -> bool| {
        groups.iter().map(|group| u64::from(matches(group))).sum::<u64>()
    };
    let nodes = catalog
        .nodes
        .iter()
        .map(|(id, entry)| NodeOverview {
            id: *id,
            address: entry.address.clone(),
            state: entry.state,
            incarnation: entry.incarnation,
            leads: count(&|group| group.leader == Some(*id)),
            replicas: catalog.groups_on(*id).map(|_| 1).sum(),
            answered: reports.get(id).map(|r| (r.uptime_ms, r.version.clone())),
        })
        .collect();
    ClusterView {
        cluster: catalog.is_founded().then_some(catalog.cluster),
        epoch: catalog.epoch,
        answered_by: here,
        nodes,
        groups,
    }
}

fn group_overview(
    id: GroupId,
    entry: &GroupEntry,
    heard: &BTreeMap<NodeId, &GroupStatus>,
) -> GroupOverview {
    let newest = |read: fn(&GroupStatus) -> Option<u64>| {
        heard.values().filter_map(|status| read(status)).max().unwrap_or(0)
    };
    let term = heard.values().map(|status| status.term).max().unwrap_or(0);
    let leading = heard
        .iter()
        .filter(|(_, status)| status.role == Role::Leader)
        .max_by_key(|(_, status)| status.term);
    let named =
        || heard.values().filter(|status| status.term == term).find_map(|status| status.leader);
    let last = leading.and_then(|(_, status)| status.last).unwrap_or_else(|| newest(|s| s.last));
    // Membership as the leader has it; without one, as the newest term has it.
    let members = leading
        .map(|(_, status)| *status)
        .or_else(|| heard.values().copied().max_by_key(|status| status.term));
    let mut holders = entry.replicas.clone();
    holders.extend(heard.keys().filter(|node| !entry.replicas.contains(node)));
    let replicas = holders
        .into_iter()
        .map(|node| {
            let status = heard.get(&node).copied();
            let matched = leading.and_then(|(_, leader)| leader.replication.get(&node).copied());
            let held = matched.or_else(|| status.and_then(|status| status.last));
            let lag = held.map(|held| last.saturating_sub(held));
            ReplicaOverview { node, status: status.cloned(), lag }
        })
        .collect();
    GroupOverview {
        id,
        leader: leading.map(|(node, _)| *node).or_else(named),
        preferred: entry.preferred,
        term,
        committed: newest(|status| status.committed),
        applied: newest(|status| status.applied),
        last,
        voters: members.map_or_else(|| entry.replicas.clone(), |status| status.voters.clone()),
        learners: members.map(|status| status.learners.clone()).unwrap_or_default(),
        slots: entry.ranges.clone(),
        replicas,
    }
}

#[cfg(test)]
mod tests;
