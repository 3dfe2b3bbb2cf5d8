//! The first assignment: which nodes hold each group, and which of them should lead it.
//!
//! Promises: group g prefers node g mod n (nodes in order of their ids), so that the numbers of
//! groups preferred by any two nodes differ by at most one; replicas are distinct; group 0, which
//! every node needs, is held by all. It depends on the set of nodes only, not on their order.

use std::collections::BTreeMap;

use super::catalog::GroupEntry;
use super::slots::ranges;
use crate::model::{GroupId, NodeId, SlotRange};

/// The entries of group 0 and of groups 1 to `groups`.
///
/// # Panics
/// If there are no nodes or no replicas are wanted, or by [`ranges`]; `Found` refuses all of these.
pub fn assign(nodes: &[NodeId], groups: u64, replicas: u64) -> BTreeMap<GroupId, GroupEntry> {
    let mut nodes = nodes.to_vec();
    nodes.sort_unstable();
    nodes.dedup();
    assert!(!nodes.is_empty(), "groups need at least one node to be held by");
    assert!(replicas > 0, "a group needs at least one replica");
    let wanted = usize::try_from(replicas).unwrap_or(usize::MAX);

    let system = entry(GroupId::SYSTEM, &nodes, nodes.len(), Vec::new());
    let data = ranges(groups)
        .into_iter()
        .map(|(group, range)| (group, entry(group, &nodes, wanted, vec![range])));
    std::iter::once((GroupId::SYSTEM, system)).chain(data).collect()
}

/// A group's replicas, round robin from the node that its number falls on.
fn entry(group: GroupId, nodes: &[NodeId], wanted: usize, ranges: Vec<SlotRange>) -> GroupEntry {
    let count = u64::try_from(nodes.len()).expect("a count of nodes fits into 64 bits");
    let first = usize::try_from(group.0 % count).expect("a remainder of a count fits like it");
    let replicas: Vec<NodeId> =
        nodes.iter().cycle().skip(first).take(wanted.min(nodes.len())).copied().collect();
    let preferred = *replicas.first().expect("at least one replica is wanted of at least one node");
    GroupEntry { founders: replicas.clone(), replicas, preferred, ranges }
}

#[cfg(test)]
mod tests;
