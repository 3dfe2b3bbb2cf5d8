//! Which links a topology comes to, among the nodes that there are now.
//!
//! Why it exists: every node works out from the same catalog whom it reads from, without a word with
//! the others. Promises: the same links at every node for the same catalog; mesh, ring and hub reach
//! from every node to every node. Any plan is safe: a stream carries what its reader lacks, whatever
//! way that came.

use std::collections::{BTreeMap, BTreeSet};

use super::catalog::{NodeEntry, NodeState};
use super::topology::{LinkMode, Topology};
use crate::model::NodeId;

/// One node reading another one's writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Who sends.
    pub from: NodeId,
    /// Who reads.
    pub to: NodeId,
    /// What is sent at once.
    pub carries: Carries,
    /// When.
    pub mode: LinkMode,
    /// How much at most; `None`: no bound.
    pub bytes_per_s: Option<u64>,
    /// Between which hours of the day (UTC); `None`: always.
    pub hours: Option<(u8, u8)>,
}

/// What a link carries without being asked twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carries {
    /// The sender's own writes; others' only once the reader goes on lacking them.
    Own,
    /// All that the sender has and the reader has not.
    All,
}

impl Link {
    const fn at_once(from: NodeId, to: NodeId, carries: Carries) -> Self {
        Self { from, to, carries, mode: LinkMode::Push, bytes_per_s: None, hours: None }
    }
}

/// The nodes that hold eventual namespaces: all that take part, also while they are being emptied,
/// since what they originated must reach the others.
pub fn holders(nodes: &BTreeMap<NodeId, NodeEntry>) -> BTreeSet<NodeId> {
    let present = nodes.iter().filter(|(_, entry)| entry.state != NodeState::Removed);
    present.map(|(&node, _)| node).collect()
}

/// Every link of a topology among these nodes.
pub fn links(topology: &Topology, nodes: &BTreeSet<NodeId>) -> Vec<Link> {
    match topology {
        Topology::Mesh => mesh(nodes),
        Topology::Ring => ring(nodes),
        Topology::Hub(hub) if nodes.contains(hub) => star(*hub, nodes),
        // Without its hub nothing would reach anybody.
        Topology::Hub(_) => mesh(nodes),
        Topology::Links(wanted) => {
            // One pair is one link: the first that was written down counts.
            let mut pairs = BTreeSet::new();
            let here = wanted.iter().filter(|link| {
                nodes.contains(&link.from)
                    && nodes.contains(&link.to)
                    && link.from != link.to
                    && pairs.insert((link.from, link.to))
            });
            here.map(|link| Link {
                from: link.from,
                to: link.to,
                carries: Carries::All,
                mode: link.mode,
                bytes_per_s: link.bytes_per_s,
                hours: link.hours,
            })
            .collect()
        }
    }
}

/// The nodes that only read: no link leads away from them, so what they wrote would reach nobody.
///
/// A node that no link mentions at all is none: it is an island, on its owner's word.
pub fn readers(topology: &Topology, nodes: &BTreeSet<NodeId>) -> BTreeSet<NodeId> {
    let links = links(topology, nodes);
    let senders: BTreeSet<_> = links.iter().map(|link| link.from).collect();
    links.iter().map(|link| link.to).filter(|to| !senders.contains(to)).collect()
}

fn mesh(nodes: &BTreeSet<NodeId>) -> Vec<Link> {
    let pairs = nodes.iter().flat_map(|&from| nodes.iter().map(move |&to| (from, to)));
    pairs
        .filter(|(from, to)| from != to)
        .map(|(from, to)| Link::at_once(from, to, Carries::Own))
        .collect()
}

fn ring(nodes: &BTreeSet<NodeId>) -> Vec<Link> {
    let next = nodes.iter().cycle().skip(1);
    let pairs: BTreeSet<_> = nodes
        .iter()
        .zip(next)
        .flat_map(|(&a, &b)| [(a, b), (b, a)])
        .filter(|(from, to)| from != to)
        .collect();
    pairs.into_iter().map(|(from, to)| Link::at_once(from, to, Carries::All)).collect()
}

fn star(hub: NodeId, nodes: &BTreeSet<NodeId>) -> Vec<Link> {
    let leaves = nodes.iter().filter(|&&node| node != hub);
    leaves
        .flat_map(|&leaf| {
            [Link::at_once(hub, leaf, Carries::All), Link::at_once(leaf, hub, Carries::All)]
        })
        .collect()
}

#[cfg(test)]
mod tests;
