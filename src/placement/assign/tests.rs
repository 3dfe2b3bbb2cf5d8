//! Assignment: distinct replicas, leaders spread evenly, group 0 everywhere.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn nodes(count: u64) -> Vec<NodeId> {
    // Ids that are neither dense nor start at a round number.
    (0..count).map(|n| NodeId(7 + n * 10)).collect()
}

/// How far apart the largest and the smallest count per node are.
fn spread<'a>(nodes: &[NodeId], held: &(impl Iterator<Item = &'a NodeId> + Clone)) -> usize {
    let counts = nodes.iter().map(|node| held.clone().filter(|&held| held == node).count());
    let (least, most) =
        counts.fold((usize::MAX, 0), |(least, most), count| (least.min(count), most.max(count)));
    most - least
}

fn holds_its_laws(count: u64, groups: u64, replicas: u64) {
    let case = format!("{count} nodes, {groups} groups, {replicas} replicas");
    let nodes = nodes(count);
    let assigned = assign(&nodes, groups, replicas);
    assert_eq!(assigned.len() as u64, groups + 1, "{case}");

    for (group, entry) in &assigned {
        let distinct: BTreeSet<_> = entry.replicas.iter().collect();
        let wanted = if group.0 == 0 { count } else { replicas.min(count) };
        assert_eq!(distinct.len() as u64, wanted, "group {group}, {case}");
        assert_eq!(entry.replicas.len() as u64, wanted, "group {group}, {case}");
        assert_eq!(entry.founders, entry.replicas, "group {group}, {case}");
        assert_eq!(entry.replicas.first(), Some(&entry.preferred), "group {group}, {case}");
        let place = usize::try_from(group.0 % count).unwrap();
        assert_eq!(entry.preferred, nodes[place], "group {group}, {case}");
        assert_eq!(entry.ranges.is_empty(), group.0 == 0, "group {group}, {case}");
    }

    let data = || assigned.iter().filter(|(group, _)| group.0 > 0).map(|(_, entry)| entry);
    assert!(spread(&nodes, &data().map(|entry| &entry.preferred)) <= 1, "leaders, {case}");
    let held = spread(&nodes, &data().flat_map(|entry| &entry.replicas));
    assert!(held as u64 <= replicas.min(count), "replicas, {case}: {held} apart");
}

#[test]
fn leaders_are_even_on_clusters_of_every_usual_size() {
    for count in [1, 2, 3, 5, 7] {
        for groups in [1, 2, 16, 24, 40, 56, 100, 1000] {
            for replicas in [1, 3, 5] {
                holds_its_laws(count, groups, replicas);
            }
        }
    }
}

proptest! {
    #[test]
    fn any_cluster_holds_the_laws(count in 1u64..12, groups in 16u64..300, replicas in 1u64..9) {
        holds_its_laws(count, groups, replicas);
    }

    #[test]
    fn the_order_in_which_nodes_are_named_does_not_matter(
        shuffled in Just(nodes(7)).prop_shuffle(),
    ) {
        prop_assert_eq!(assign(&shuffled, 24, 3), assign(&nodes(7), 24, 3));
    }
}

#[test]
fn three_nodes_and_24_groups_are_what_the_readme_shows() {
    let assigned = assign(&[NodeId(3), NodeId(1), NodeId(2)], 24, 3);
    let of = |group| assigned.get(&GroupId(group)).unwrap();
    assert_eq!(of(0).preferred, NodeId(1));
    assert_eq!(of(1).preferred, NodeId(2));
    assert_eq!(of(2).replicas, [3, 1, 2].map(NodeId));
    assert_eq!(of(24).preferred, NodeId(1));
}

#[test]
#[should_panic(expected = "at least one node")]
fn no_nodes_are_a_fault() {
    drop(assign(&[], 16, 3));
}
