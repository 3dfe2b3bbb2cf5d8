//! How the catalog changes: one total, deterministic function.
//!
//! Promises: [`Catalog::apply`] never panics, whatever the command; a refused command changes
//! nothing and says why and what to do; each change raises the epoch by one, and a command that asks
//! for what already is raises nothing, so every command may be repeated. After each change the
//! catalog passes [`Catalog::check`]. Node ids are never given twice: a replaced node's entry stays.

use std::collections::BTreeSet;

use super::assign::assign;
use super::catalog::{Catalog, DEFAULT_NAMESPACE, NamespaceEntry, NodeEntry, NodeState};
use super::command::{CatalogCommand, CatalogReply, RefusalCode};
use super::namespaces::{Changed, Settings};
use crate::model::{ClusterId, GroupId, Incarnation, NamespaceId, NodeId, Slot};
use crate::runtime::limits::{ADDRESS_BYTES_MAX, NODES_KNOWN_MAX, NODES_MAX};

/// Whether a command changed anything.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Made,
    None,
}

/// A refusal on its way out.
pub(super) struct Refusal {
    pub(super) code: RefusalCode,
    pub(super) reason: String,
}

pub(super) fn refuse<T>(code: RefusalCode, reason: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal { code, reason: reason.into() })
}

impl Catalog {
    /// Applies a command.
    pub fn apply(&mut self, command: &CatalogCommand) -> CatalogReply {
        let change = match command {
            CatalogCommand::Found { cluster, nodes, groups, replicas } => {
                self.found(*cluster, nodes, *groups, *replicas)
            }
            _ if !self.is_founded() => refuse(
                RefusalCode::NotFounded,
                "the cluster is not founded yet; wait until its founding members have met",
            ),
            CatalogCommand::AddNode { node, address, incarnation } => {
                self.add_node(*node, address, *incarnation)
            }
            CatalogCommand::SetAddress { node, incarnation, address } => {
                self.set_address(*node, *incarnation, address)
            }
            CatalogCommand::Replace { old, new } => self.replace(*old, *new),
            CatalogCommand::Moved { group, from, to } => self.moved(*group, *from, *to),
            of_namespaces => self.apply_to_namespaces(of_namespaces),
        };
        match change {
            Ok(Change::None) => self.reply(command, false),
            Ok(Change::Made) => {
                self.settle();
                self.epoch += 1;
                self.reply(command, true)
            }
            Err(Refusal { code, reason }) => CatalogReply::Refused { code, reason },
        }
    }

    fn reply(&self, command: &CatalogCommand, made: bool) -> CatalogReply {
        let epoch = self.epoch;
        let entry = match command {
            CatalogCommand::CreateNamespace { name, .. }
            | CatalogCommand::ChangeNamespace { name, .. }
            | CatalogCommand::SwitchNamespace { name, .. }
            | CatalogCommand::StepSwitch { name, .. } => self.namespaces.get(name),
            _ => None,
        };
        match entry.cloned() {
            Some(entry) => CatalogReply::Namespace { epoch, made, entry },
            None => CatalogReply::Done { epoch },
        }
    }

    fn apply_to_namespaces(&mut self, command: &CatalogCommand) -> Result<Change, Refusal> {
        match command {
            CatalogCommand::CreateNamespace {
                name,
                mode,
                layout,
                limits,
                quota,
                history_ms,
                data_type,
                topology,
            } => {
                let settings = Settings {
                    mode: *mode,
                    layout: *layout,
                    limits: *limits,
                    quota: *quota,
                    history_ms: *history_ms,
                    data_type: *data_type,
                    topology: topology.clone(),
                };
                self.create_namespace(name, settings)
            }
            CatalogCommand::ChangeNamespace {
                name,
                if_epoch,
                key_bytes_max,
                value_bytes_max,
                quota,
                history_ms,
                topology,
            } => {
                let changed = Changed {
                    if_epoch: *if_epoch,
                    key_bytes_max: *key_bytes_max,
                    value_bytes_max: *value_bytes_max,
                    quota: *quota,
                    history_ms: *history_ms,
                    topology: topology.clone(),
                };
                self.change_namespace(name, changed)
            }
            CatalogCommand::DeleteNamespace { name } => self.delete_namespace(name),
            CatalogCommand::Purged { namespace } => self.purged(*namespace),
            CatalogCommand::SwitchNamespace { name, to } => self.switch_namespace(name, to),
            CatalogCommand::StepSwitch { name, job, step } => self.step_switch(name, *job, step),
            CatalogCommand::Found { .. }
            | CatalogCommand::AddNode { .. }
            | CatalogCommand::SetAddress { .. }
            | CatalogCommand::Replace { .. }
            | CatalogCommand::Moved { .. } => Ok(Change::None),
        }
    }

    fn found(
        &mut self,
        cluster: ClusterId,
        nodes: &[(NodeId, String, Incarnation)],
        groups: u64,
        replicas: u64,
    ) -> Result<Change, Refusal> {
        if self.is_founded() {
            if self.cluster == cluster {
                return Ok(Change::None);
            }
            return refuse(
                RefusalCode::AlreadyFounded,
                format!("this is cluster {}, founded before; {cluster} is another", self.cluster),
            );
        }
        check_founders(nodes)?;
        if !(1..=u64::from(Slot::COUNT)).contains(&groups) {
            let most = Slot::COUNT;
            return refuse(
                RefusalCode::Invalid,
                format!("a cluster has between 1 and {most} groups, not {groups}"),
            );
        }
        if replicas == 0 {
            return refuse(RefusalCode::Invalid, "a group needs at least one replica");
        }
        let ids: Vec<NodeId> = nodes.iter().map(|(node, _, _)| *node).collect();
        self.cluster = cluster;
        self.replicas = replicas;
        self.groups = assign(&ids, groups, replicas);
        self.nodes = nodes
            .iter()
            .map(|(node, address, incarnation)| {
                let (address, incarnation) = (address.clone(), *incarnation);
                (*node, NodeEntry { address, incarnation, state: NodeState::Active })
            })
            .collect();
        let default = NamespaceEntry::default_at(self.epoch + 1);
        self.namespaces.insert(DEFAULT_NAMESPACE.to_owned(), default);
        self.next_namespace = NamespaceId(2);
        Ok(Change::Made)
    }

    fn add_node(
        &mut self,
        node: NodeId,
        address: &str,
        incarnation: Incarnation,
    ) -> Result<Change, Refusal> {
        check_address(address)?;
        if node.0 == 0 {
            return refuse(RefusalCode::Invalid, "a node's id is at least 1".to_owned());
        }
        if self.nodes.contains_key(&node) {
            return self.set_address(node, incarnation, address);
        }
        if let Some((holder, _)) = self.nodes.iter().find(|(_, e)| e.incarnation == incarnation) {
            return refuse(
                RefusalCode::DirectoryTaken,
                format!(
                    "this data directory ({incarnation}) belongs to node {holder}; start it under \
                     that id, or give node {node} an empty directory"
                ),
            );
        }
        if self.present_nodes().count() >= NODES_MAX {
            return refuse(
                RefusalCode::TooMany,
                format!("a cluster has at most {NODES_MAX} nodes; this one has as many"),
            );
        }
        if self.nodes.len() >= NODES_KNOWN_MAX {
            return refuse(
                RefusalCode::TooMany,
                format!("{NODES_KNOWN_MAX} node ids were used, and none is ever used twice"),
            );
        }
        let address = address.to_owned();
        self.nodes.insert(node, NodeEntry { address, incarnation, state: NodeState::Joining });
        Ok(Change::Made)
    }

    fn set_address(
        &mut self,
        node: NodeId,
        incarnation: Incarnation,
        address: &str,
    ) -> Result<Change, Refusal> {
        check_address(address)?;
        let Some(entry) = self.nodes.get_mut(&node) else { return unknown_node(node) };
        if entry.incarnation != incarnation {
            return refuse(
                RefusalCode::IdTaken,
                format!(
                    "node id {node} belongs to data directory {}, not to {incarnation}, which has \
                     none of that one's votes and entries; choose a fresh id for it",
                    entry.incarnation
                ),
            );
        }
        if entry.state == NodeState::Removed {
            return removed_node(node);
        }
        if entry.address == address {
            return Ok(Change::None);
        }
        address.clone_into(&mut entry.address);
        Ok(Change::Made)
    }

    fn replace(&mut self, old: NodeId, new: NodeId) -> Result<Change, Refusal> {
        if old == new {
            return refuse(
                RefusalCode::Invalid,
                format!("node {old} cannot replace itself; add a node under a fresh id first"),
            );
        }
        let old_state = self.state_of(old)?;
        let new_state = self.state_of(new)?;
        match old_state {
            NodeState::Replaced { by } if by == new => return Ok(Change::None),
            NodeState::Replaced { by } => {
                return refuse(
                    RefusalCode::AlreadyReplaced,
                    format!(
                        "node {old} is being replaced by node {by}; to give that one up, replace \
                         node {by} by node {new}"
                    ),
                );
            }
            NodeState::Removed => return removed_node(old),
            NodeState::Active | NodeState::Joining => {}
        }
        // A replacement that itself is replaced hands its errand on; nobody runs two errands, since
        // a group could come to need the same node twice.
        let busy = self.heirs().contains(&new) || self.groups_on(new).next().is_some();
        if new_state != NodeState::Joining || busy {
            return refuse(
                RefusalCode::NotJoining,
                format!(
                    "node {new} cannot take the place of node {old}: it must have been added and \
                     hold nothing yet, and take no other node's place"
                ),
            );
        }
        for entry in self.nodes.values_mut() {
            if entry.state == (NodeState::Replaced { by: old }) {
                entry.state = NodeState::Replaced { by: new };
            }
        }
        self.set_state(old, NodeState::Replaced { by: new });
        Ok(Change::Made)
    }

    fn moved(&mut self, group: GroupId, from: NodeId, to: NodeId) -> Result<Change, Refusal> {
        let from_state = self.state_of(from)?;
        self.state_of(to)?;
        let Some(entry) = self.groups.get_mut(&group) else {
            return refuse(RefusalCode::UnknownGroup, format!("there is no group {group}"));
        };
        let holds = |node: NodeId| entry.replicas.contains(&node);
        if from != to && !holds(from) && holds(to) {
            return Ok(Change::None);
        }
        if from_state != (NodeState::Replaced { by: to }) || !holds(from) || holds(to) {
            return refuse(
                RefusalCode::NotPlanned,
                format!("no move of group {group} from node {from} to node {to} was asked for"),
            );
        }
        for replica in &mut entry.replicas {
            if *replica == from {
                *replica = to;
            }
        }
        if entry.preferred == from {
            entry.preferred = to;
        }
        Ok(Change::Made)
    }

    /// Retires the replaced nodes that hold nothing any more, and then makes those active that hold
    /// groups and have taken over all they were to take.
    fn settle(&mut self) {
        let holders: BTreeSet<NodeId> =
            self.groups.values().flat_map(|entry| entry.replicas.iter().copied()).collect();
        for (node, entry) in &mut self.nodes {
            if matches!(entry.state, NodeState::Replaced { .. }) && !holders.contains(node) {
                entry.state = NodeState::Removed;
            }
        }
        let heirs = self.heirs();
        for (node, entry) in &mut self.nodes {
            if entry.state == NodeState::Joining && holders.contains(node) && !heirs.contains(node)
            {
                entry.state = NodeState::Active;
            }
        }
    }

    /// The nodes that are taking another one's place.
    fn heirs(&self) -> BTreeSet<NodeId> {
        let heir = |entry: &NodeEntry| match entry.state {
            NodeState::Replaced { by } => Some(by),
            NodeState::Active | NodeState::Joining | NodeState::Removed => None,
        };
        self.nodes.values().filter_map(heir).collect()
    }

    fn state_of(&self, node: NodeId) -> Result<NodeState, Refusal> {
        self.nodes.get(&node).map_or_else(|| unknown_node(node), |entry| Ok(entry.state))
    }

    fn set_state(&mut self, node: NodeId, state: NodeState) {
        if let Some(entry) = self.nodes.get_mut(&node) {
            entry.state = state;
        }
    }
}

fn unknown_node<T>(node: NodeId) -> Result<T, Refusal> {
    refuse(
        RefusalCode::UnknownNode,
        format!("there is no node {node} in this cluster; add it first, under a fresh id"),
    )
}

fn removed_node<T>(node: NodeId) -> Result<T, Refusal> {
    refuse(
        RefusalCode::NodeRemoved,
        format!("node {node} was removed, and its id with it; choose a fresh id"),
    )
}

fn check_founders(nodes: &[(NodeId, String, Incarnation)]) -> Result<(), Refusal> {
    if nodes.is_empty() {
        return refuse(RefusalCode::Invalid, "a cluster needs at least one founding node");
    }
    if nodes.len() > NODES_MAX {
        let count = nodes.len();
        return refuse(
            RefusalCode::TooMany,
            format!("a cluster has at most {NODES_MAX} nodes, not {count}"),
        );
    }
    let (mut ids, mut addresses, mut directories) =
        (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for (node, address, incarnation) in nodes {
        check_address(address)?;
        if !ids.insert(node) {
            return refuse(RefusalCode::Invalid, format!("two founding nodes have the id {node}"));
        }
        if !addresses.insert(address) {
            let wrong = format!("two founding nodes have the address {address}");
            return refuse(RefusalCode::Invalid, wrong);
        }
        if !directories.insert(incarnation) {
            let wrong = format!("two founding nodes have the same data directory ({incarnation})");
            return refuse(RefusalCode::Invalid, wrong);
        }
    }
    Ok(())
}

/// `host:port` as far as a pure function can tell: whether it can be reached is for others to find.
fn check_address(address: &str) -> Result<(), Refusal> {
    let printable = address.len() <= ADDRESS_BYTES_MAX
        && address.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/');
    let good = printable
        && address.rsplit_once(':').is_some_and(|(host, port)| {
            !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0)
        });
    if good {
        return Ok(());
    }
    // Cut, so that a refusal stays small whatever was sent.
    let shown: String = address.chars().take(ADDRESS_SHOWN_CHARS).collect();
    refuse(RefusalCode::Invalid, format!("{shown:?} is not an address of the form host:port"))
}

/// How much of a bad address a refusal repeats.
const ADDRESS_SHOWN_CHARS: usize = 80;

#[cfg(test)]
mod tests;
