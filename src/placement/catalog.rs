//! The catalog: nodes, groups and namespaces as one replicated value with an epoch.
//!
//! Promises: its bytes are the same wherever its content is the same (ordered maps only), and read
//! back as they were. How it changes is in [`change`](super::change). Relies on group 0 to replicate
//! it, and on [`codec`] for the envelope.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::switch::Switch;
use super::topology::Topology;
use crate::model::codec::{self, CodecError};
use crate::model::eventual::DataType;
use crate::model::{ClusterId, GroupId, Incarnation, NamespaceId, NodeId, Slot, SlotRange};
use crate::runtime::limits::{HISTORY_MS_DEFAULT, KEY_BYTES_MAX, VALUE_BYTES_MAX};

/// What the cluster consists of, at one epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Catalog {
    /// The cluster's id; meaningless while the epoch is 0.
    pub cluster: ClusterId,
    /// The version: 0 before the cluster is founded, then one more with every change.
    pub epoch: u64,
    /// Every node that there ever was: an id is never given twice.
    pub nodes: BTreeMap<NodeId, NodeEntry>,
    /// Every group. Group 0 has an entry too, without slots.
    pub groups: BTreeMap<GroupId, GroupEntry>,
    /// Every namespace, by its name.
    pub namespaces: BTreeMap<String, NamespaceEntry>,
    /// How many replicas a group should have, nodes permitting.
    pub replicas: u64,
    /// Deleted namespaces whose rows some group may still hold, with the epoch of the deletion.
    pub doomed: BTreeMap<NamespaceId, u64>,
    /// The id that the next namespace will get.
    pub next_namespace: NamespaceId,
}

/// What is known of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeEntry {
    /// Where it can be reached: `host:port`.
    pub address: String,
    /// Which data directory it runs on. Another directory under the same id has forgotten votes.
    pub incarnation: Incarnation,
    /// Its part in the cluster.
    pub state: NodeState,
}

/// A node's part in the cluster. New states go to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NodeState {
    /// Holds groups, or may.
    Active,
    /// Knows the catalog; holds nothing yet, or is only now receiving what another one held.
    Joining,
    /// Is being emptied.
    Replaced {
        /// Who takes over what it holds.
        by: NodeId,
    },
    /// Holds nothing and never will again; its entry stays so that its id is not given twice.
    Removed,
}

/// What is known of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupEntry {
    /// The nodes that hold it, in the order of assignment.
    pub replicas: Vec<NodeId>,
    /// The replica that should lead it.
    pub preferred: NodeId,
    /// The slots that it owns.
    pub ranges: Vec<SlotRange>,
    /// The nodes that founded it: the members that its log begins with. Never changes.
    pub founders: Vec<NodeId>,
}

/// What is known of a namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamespaceEntry {
    /// Its id, which its rows are keyed by. Never given twice.
    pub id: NamespaceId,
    /// Which side of CAP it picked. Never changes.
    pub mode: Mode,
    /// How its keys fall into slots. Never changes.
    pub layout: Layout,
    /// What it accepts.
    pub limits: NamespaceLimits,
    /// Most bytes of keys and values together; none is no bound. 0 lets nothing be added.
    pub quota: Option<u64>,
    /// For how long changes can be watched and old views read, in milliseconds. 0 is not at all.
    pub history_ms: u64,
    /// The epoch of the newest change of this entry.
    pub epoch: u64,
    /// The epoch since which its history has no gap: that of switching it on again; 0: it was never
    /// switched off and on.
    pub recorded_since: u64,
    /// What its values are; there exactly if it is eventual. Never changes.
    pub data_type: Option<DataType>,
    /// How its replicas are linked; a mesh if it is linearizable, and then without meaning.
    pub topology: Topology,
    /// The switch to the other side that is under way; otherwise how the newest one ended.
    pub switch: Option<Switch>,
}

/// Which side of CAP a namespace picks. New modes go to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// Consensus first, then the answer.
    Linearizable,
    /// The answer first, then convergence.
    Eventual,
}

/// How the keys of a namespace fall into slots. New layouts go to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Layout {
    /// By key, or by the `{tag}` in it: over all groups.
    Spread,
    /// All in one slot: one group, one order.
    Ordered,
}

/// What a namespace accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamespaceLimits {
    /// Longest key, in bytes.
    pub key_bytes_max: u64,
    /// Longest value, in bytes.
    pub value_bytes_max: u64,
}

impl Default for NamespaceLimits {
    fn default() -> Self {
        Self { key_bytes_max: wide(KEY_BYTES_MAX), value_bytes_max: wide(VALUE_BYTES_MAX) }
    }
}

/// A usize fits into a u64 on every platform that Rust runs on.
pub(super) fn wide(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

impl NamespaceEntry {
    /// The namespace that every cluster begins with.
    pub(super) fn default_at(epoch: u64) -> Self {
        Self {
            id: NamespaceId(1),
            mode: Mode::Linearizable,
            layout: Layout::Spread,
            limits: NamespaceLimits::default(),
            quota: None,
            history_ms: HISTORY_MS_DEFAULT,
            epoch,
            recorded_since: 0,
            data_type: None,
            topology: Topology::Mesh,
            switch: None,
        }
    }
}

/// The name of the namespace that every cluster begins with.
pub const DEFAULT_NAMESPACE: &str = "default";

const WHAT: &str = "catalog";

impl Default for Catalog {
    fn default() -> Self {
        Self::unfounded()
    }
}

impl Catalog {
    /// The catalog before `Found`: empty, at epoch 0.
    pub fn unfounded() -> Self {
        Self {
            cluster: ClusterId(0),
            epoch: 0,
            nodes: BTreeMap::new(),
            groups: BTreeMap::new(),
            namespaces: BTreeMap::new(),
            replicas: 0,
            doomed: BTreeMap::new(),
            next_namespace: NamespaceId(1),
        }
    }

    /// Whether the cluster is founded.
    pub fn is_founded(&self) -> bool {
        self.epoch > 0
    }

    /// The catalog's bytes.
    pub fn encode(&self) -> Bytes {
        codec::seal(self, &[])
    }

    /// Reads a catalog.
    pub fn decode(bytes: &Bytes) -> Result<Self, CodecError> {
        let (catalog, tail) = codec::open(WHAT, bytes)?;
        codec::no_tail(WHAT, &tail)?;
        Ok(catalog)
    }

    /// The group that owns a slot. Looks at one group after the other: a router builds a
    /// [`SlotTable`](super::SlotTable) instead.
    pub fn group_of(&self, slot: Slot) -> Option<GroupId> {
        self.groups
            .iter()
            .find(|(_, entry)| entry.ranges.iter().any(|range| range.contains(slot)))
            .map(|(&group, _)| group)
    }

    /// The namespace of a name.
    pub fn namespace(&self, name: &str) -> Option<&NamespaceEntry> {
        self.namespaces.get(name)
    }

    /// The groups that a node holds a replica of, in order.
    pub fn groups_on(&self, node: NodeId) -> impl Iterator<Item = GroupId> + '_ {
        self.groups
            .iter()
            .filter(move |(_, entry)| entry.replicas.contains(&node))
            .map(|(&group, _)| group)
    }

    /// The nodes that take part: all but the removed.
    pub fn present_nodes(&self) -> impl Iterator<Item = (NodeId, &NodeEntry)> + '_ {
        self.nodes
            .iter()
            .filter(|(_, entry)| entry.state != NodeState::Removed)
            .map(|(&node, entry)| (node, entry))
    }

    /// Says what is wrong with the catalog, if anything is: what every change must keep.
    pub fn check(&self) -> Result<(), String> {
        let mut owned = 0_u64;
        let mut next = 0_u32;
        for (range, group) in super::SlotTable::of(self).iter() {
            if u32::from(range.first.get()) < next {
                return Err(format!("slot {} has two groups, one is {group}", range.first.get()));
            }
            next = u32::from(range.last.get()) + 1;
            owned += u64::from(range.last.get() - range.first.get()) + 1;
        }
        if self.is_founded() && owned != u64::from(Slot::COUNT) {
            return Err(format!("{owned} slots have a group, not {}", Slot::COUNT));
        }
        for (group, entry) in &self.groups {
            entry.check(self).map_err(|wrong| format!("group {group}: {wrong}"))?;
        }
        self.check_namespaces()
    }
}

impl GroupEntry {
    fn check(&self, catalog: &Catalog) -> Result<(), String> {
        let distinct: BTreeSet<_> = self.replicas.iter().collect();
        if distinct.len() != self.replicas.len() || distinct.is_empty() {
            return Err(format!("replicas {:?} are not distinct nodes", self.replicas));
        }
        if !self.replicas.contains(&self.preferred) {
            return Err(format!("preferred leader {} is no replica", self.preferred));
        }
        for node in &self.replicas {
            match catalog.nodes.get(node).map(|entry| entry.state) {
                None => return Err(format!("replica {node} is not a known node")),
                Some(NodeState::Removed) => return Err(format!("replica {node} is removed")),
                Some(_) => {}
            }
        }
        Ok(())
    }
}
