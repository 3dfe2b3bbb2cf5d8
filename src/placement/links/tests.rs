//! Tests of the links that topologies come to.

use proptest::prelude::*;

use super::*;
use crate::model::Incarnation;
use crate::placement::topology::SiteLink;

fn nodes(ids: impl IntoIterator<Item = u64>) -> BTreeSet<NodeId> {
    ids.into_iter().map(NodeId).collect()
}

fn reached(links: &[Link], start: NodeId) -> BTreeSet<NodeId> {
    let mut reached = BTreeSet::from([start]);
    loop {
        let before = reached.len();
        for link in links {
            if reached.contains(&link.from) {
                reached.insert(link.to);
            }
        }
        if reached.len() == before {
            return reached;
        }
    }
}

fn site(from: u64, to: u64) -> SiteLink {
    SiteLink {
        from: NodeId(from),
        to: NodeId(to),
        mode: LinkMode::Interval(50),
        bytes_per_s: Some(7),
        hours: Some((22, 4)),
    }
}

proptest! {
    #[test]
    fn mesh_ring_and_hub_reach_from_every_node_to_every_node(
        ids in prop::collection::btree_set(1..200_u64, 1..12),
        hub in 1..200_u64,
    ) {
        let nodes = nodes(ids);
        for topology in [Topology::Mesh, Topology::Ring, Topology::Hub(NodeId(hub))] {
            let links = links(&topology, &nodes);
            for &start in &nodes {
                prop_assert_eq!(reached(&links, start), nodes.clone());
            }
            let pairs: BTreeSet<_> = links.iter().map(|l| (l.from, l.to)).collect();
            prop_assert_eq!(pairs.len(), links.len());
            prop_assert!(links.iter().all(|link| link.from != link.to));
            if nodes.len() > 1 {
                prop_assert!(readers(&topology, &nodes).is_empty());
            }
        }
    }
}

#[test]
fn a_ring_has_two_neighbours_for_each_node() {
    let links = links(&Topology::Ring, &nodes(1..=5));
    assert_eq!(links.len(), 10);
    assert!(links.iter().all(|link| link.carries == Carries::All));
    let of_one: Vec<_> = links.iter().filter(|l| l.to == NodeId(1)).map(|l| l.from.0).collect();
    assert_eq!(of_one, [2, 5]);
}

#[test]
fn a_hub_that_is_not_there_leaves_a_mesh() {
    let three = nodes(1..=3);
    assert_eq!(links(&Topology::Hub(NodeId(9)), &three), links(&Topology::Mesh, &three));
    assert_eq!(links(&Topology::Hub(NodeId(2)), &three).len(), 4);
}

#[test]
fn site_links_keep_their_terms_and_a_node_that_nothing_leads_from_only_reads() {
    let topology = Topology::Links(vec![site(1, 2), site(2, 1), site(2, 3), site(1, 9)]);
    let three = nodes(1..=4);
    let links = links(&topology, &three);
    assert_eq!(links.len(), 3, "node 9 is not there");
    assert!(links.iter().all(|l| l.hours == Some((22, 4)) && l.bytes_per_s == Some(7)));
    assert_eq!(readers(&topology, &three), nodes([3]), "4 is an island and no reader");
}

#[test]
fn removed_nodes_hold_nothing_and_those_being_emptied_still_do() {
    let entry = |state| NodeEntry { address: "a:1".to_owned(), incarnation: Incarnation(1), state };
    let all = BTreeMap::from([
        (NodeId(1), entry(NodeState::Active)),
        (NodeId(2), entry(NodeState::Joining)),
        (NodeId(3), entry(NodeState::Replaced { by: NodeId(2) })),
        (NodeId(4), entry(NodeState::Removed)),
    ]);
    assert_eq!(holders(&all), nodes(1..=3));
}
