//! Changes of the catalog: each refusal by example, and the laws under random commands.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::placement::{Mode, next_move};

const CLUSTER: ClusterId = ClusterId(0xc1);

fn node(number: u64) -> (NodeId, String, Incarnation) {
    (NodeId(number), format!("h{number}:7101"), Incarnation(number))
}

fn found(nodes: u64) -> CatalogCommand {
    CatalogCommand::Found {
        cluster: CLUSTER,
        nodes: (1..=nodes).map(node).collect(),
        groups: 4,
        replicas: 3,
    }
}

fn add(number: u64) -> CatalogCommand {
    let (node, address, incarnation) = node(number);
    CatalogCommand::AddNode { node, address, incarnation }
}

fn replace(old: u64, new: u64) -> CatalogCommand {
    CatalogCommand::Replace { old: NodeId(old), new: NodeId(new) }
}

fn moved(group: u64, from: u64, to: u64) -> CatalogCommand {
    CatalogCommand::Moved { group: GroupId(group), from: NodeId(from), to: NodeId(to) }
}

fn founded() -> Catalog {
    let mut catalog = Catalog::unfounded();
    changes(&mut catalog, &found(3));
    catalog
}

fn state(catalog: &Catalog, node: u64) -> NodeState {
    catalog.nodes.get(&NodeId(node)).unwrap().state
}

/// The command is done and raises the epoch by one.
#[track_caller]
fn changes(catalog: &mut Catalog, command: &CatalogCommand) {
    let epoch = catalog.epoch + 1;
    assert_eq!(catalog.apply(command).epoch(), Some(epoch), "{command:?}");
    assert_eq!(catalog.epoch, epoch);
    assert_eq!(catalog.check(), Ok(()), "after {command:?}");
}

/// The command is done, and was so before.
#[track_caller]
fn changes_nothing(catalog: &mut Catalog, command: &CatalogCommand) {
    let before = catalog.clone();
    assert_eq!(catalog.apply(command).epoch(), Some(before.epoch), "{command:?}");
    assert_eq!(*catalog, before, "{command:?}");
}

/// The command is refused with the code and a reason that says so; nothing is changed.
#[track_caller]
fn refused(catalog: &mut Catalog, command: &CatalogCommand, wanted: RefusalCode, says: &str) {
    let before = catalog.clone();
    let reply = catalog.apply(command);
    let CatalogReply::Refused { code, reason } = reply else {
        panic!("{command:?} was not refused")
    };
    assert_eq!(code, wanted, "{command:?}: {reason}");
    assert!(reason.contains(says), "{command:?}: {reason}");
    assert_eq!(*catalog, before, "{command:?}");
}

#[test]
fn a_cluster_is_founded_once() {
    let mut catalog = founded();
    assert_eq!(catalog.epoch, 1);
    let default = catalog.namespace(DEFAULT_NAMESPACE).unwrap();
    assert_eq!((default.id, default.mode), (NamespaceId(1), Mode::Linearizable));
    assert_eq!(catalog.groups_on(NodeId(2)).count(), 5);
    changes_nothing(&mut catalog, &found(3));
    let CatalogCommand::Found { nodes, groups, replicas, .. } = found(3) else { unreachable!() };
    let other = CatalogCommand::Found { cluster: ClusterId(2), nodes, groups, replicas };
    refused(&mut catalog, &other, RefusalCode::AlreadyFounded, "00000000000000c1");
}

#[test]
fn nothing_but_founding_is_done_before_it() {
    let mut catalog = Catalog::unfounded();
    for command in [add(4), replace(1, 2), moved(0, 1, 2)] {
        refused(&mut catalog, &command, RefusalCode::NotFounded, "not founded");
    }
}

#[test]
fn a_cluster_that_cannot_be_is_not_founded() {
    let with = |nodes: Vec<_>, groups, replicas| CatalogCommand::Found {
        cluster: CLUSTER,
        nodes,
        groups,
        replicas,
    };
    let at = |number: u64, address: &str| (NodeId(number), address.to_owned(), Incarnation(number));
    let mut same_directory = node(2);
    same_directory.2 = node(1).2;
    for (command, says) in [
        (with(vec![], 4, 3), "at least one founding node"),
        (with(vec![node(1)], 0, 3), "groups, not 0"),
        (with(vec![node(1)], 16_385, 3), "groups, not 16385"),
        (with(vec![node(1)], u64::MAX, 3), "groups, not"),
        (with(vec![node(1)], 4, 0), "at least one replica"),
        (with(vec![node(1), at(1, "other:1")], 4, 3), "two founding nodes have the id 1"),
        (with(vec![node(1), at(2, "h1:7101")], 4, 3), "the address h1:7101"),
        (with(vec![node(1), same_directory], 4, 3), "the same data directory"),
        (with(vec![at(1, "nowhere")], 4, 3), "host:port"),
        (with(vec![at(1, ":80")], 4, 3), "host:port"),
        (with(vec![at(1, "h:0")], 4, 3), "host:port"),
        (with(vec![at(1, "h:99999")], 4, 3), "host:port"),
        (with(vec![at(1, "h h:80")], 4, 3), "host:port"),
        (with(vec![at(1, "http://h:80")], 4, 3), "host:port"),
        (with(vec![at(1, &format!("{}:80", "h".repeat(300)))], 4, 3), "host:port"),
    ] {
        refused(&mut Catalog::unfounded(), &command, RefusalCode::Invalid, says);
    }
    let crowd = with((1..=65).map(node).collect(), 4, 3);
    refused(&mut Catalog::unfounded(), &crowd, RefusalCode::TooMany, "at most 64");
    let v6 = with(vec![at(1, "[::1]:80")], 4, u64::MAX);
    changes(&mut Catalog::unfounded(), &v6);
}

#[test]
fn a_node_that_is_added_joins_and_may_say_so_again() {
    let mut catalog = founded();
    changes(&mut catalog, &add(4));
    assert_eq!(state(&catalog, 4), NodeState::Joining);
    changes_nothing(&mut catalog, &add(4));
    let address = "new:1".to_owned();
    let (node, incarnation) = (NodeId(4), Incarnation(4));
    let elsewhere = CatalogCommand::AddNode { node, address: address.clone(), incarnation };
    changes(&mut catalog, &elsewhere);
    changes_nothing(&mut catalog, &CatalogCommand::SetAddress { node, incarnation, address });
    assert_eq!(catalog.nodes.get(&node).unwrap().address, "new:1");
}

#[test]
fn a_wiped_directory_does_not_get_its_old_id_back() {
    let mut catalog = founded();
    let (node, incarnation, address) = (NodeId(2), Incarnation(99), "h2:7101".to_owned());
    let wiped = CatalogCommand::AddNode { node, incarnation, address: address.clone() };
    refused(&mut catalog, &wiped, RefusalCode::IdTaken, "choose a fresh id");
    let speaks = CatalogCommand::SetAddress { node, incarnation, address: address.clone() };
    refused(&mut catalog, &speaks, RefusalCode::IdTaken, "choose a fresh id");
    // Under a fresh id it may come in, at the same address.
    changes(&mut catalog, &CatalogCommand::AddNode { node: NodeId(4), incarnation, address });
}

#[test]
fn one_directory_is_not_two_nodes() {
    let mut catalog = founded();
    let (node, incarnation, address) = (NodeId(4), Incarnation(2), "h4:1".to_owned());
    let twice = CatalogCommand::AddNode { node, incarnation, address };
    refused(&mut catalog, &twice, RefusalCode::DirectoryTaken, "belongs to node 2");
}

#[test]
fn a_cluster_does_not_grow_without_bound() {
    let mut catalog = founded();
    for number in 4..=64 {
        changes(&mut catalog, &add(number));
    }
    refused(&mut catalog, &add(65), RefusalCode::TooMany, "at most 64");
}

#[test]
fn a_replaced_node_is_emptied_and_then_gone_for_good() {
    let mut catalog = founded();
    changes(&mut catalog, &add(4));
    changes(&mut catalog, &replace(2, 4));
    changes_nothing(&mut catalog, &replace(2, 4));
    assert_eq!(state(&catalog, 2), NodeState::Replaced { by: NodeId(4) });
    for group in 0..=4 {
        assert_eq!(state(&catalog, 4), NodeState::Joining, "before group {group}");
        changes(&mut catalog, &moved(group, 2, 4));
        changes_nothing(&mut catalog, &moved(group, 2, 4));
    }
    assert_eq!((state(&catalog, 2), state(&catalog, 4)), (NodeState::Removed, NodeState::Active));
    let first = catalog.groups.get(&GroupId(1)).unwrap();
    assert_eq!(first.preferred, NodeId(4), "it was node 2's to lead");
    assert_eq!(first.founders, [2, 3, 1].map(NodeId), "founders never change");
    for (command, says) in [(add(2), "fresh id"), (replace(2, 3), "fresh id")] {
        refused(&mut catalog, &command, RefusalCode::NodeRemoved, says);
    }
}

#[test]
fn a_replacement_that_makes_no_sense_is_refused() {
    let mut catalog = founded();
    for number in [4, 5] {
        changes(&mut catalog, &add(number));
    }
    refused(&mut catalog, &replace(2, 2), RefusalCode::Invalid, "cannot replace itself");
    refused(&mut catalog, &replace(9, 4), RefusalCode::UnknownNode, "no node 9");
    refused(&mut catalog, &replace(2, 9), RefusalCode::UnknownNode, "no node 9");
    refused(&mut catalog, &replace(2, 3), RefusalCode::NotJoining, "hold nothing yet");
    changes(&mut catalog, &replace(2, 4));
    refused(&mut catalog, &replace(2, 5), RefusalCode::AlreadyReplaced, "replace node 4 by node 5");
    refused(&mut catalog, &replace(3, 4), RefusalCode::NotJoining, "no other node's place");
    changes(&mut catalog, &moved(0, 2, 4));
    refused(&mut catalog, &replace(3, 4), RefusalCode::NotJoining, "hold nothing yet");
}

#[test]
fn a_replacement_that_is_lost_hands_its_errand_on() {
    let mut catalog = founded();
    for number in [4, 5] {
        changes(&mut catalog, &add(number));
    }
    changes(&mut catalog, &replace(2, 4));
    changes(&mut catalog, &moved(0, 2, 4));
    changes(&mut catalog, &replace(4, 5));
    let by = NodeId(5);
    assert_eq!(state(&catalog, 2), NodeState::Replaced { by });
    assert_eq!(state(&catalog, 4), NodeState::Replaced { by });
    changes(&mut catalog, &moved(0, 4, 5));
    assert_eq!((state(&catalog, 4), state(&catalog, 5)), (NodeState::Removed, NodeState::Joining));
    while let Some(next) = next_move(&catalog) {
        changes(&mut catalog, &moved(next.group.0, next.from.0, next.to.0));
    }
    assert_eq!((state(&catalog, 2), state(&catalog, 5)), (NodeState::Removed, NodeState::Active));
}

#[test]
fn a_replaced_node_that_holds_nothing_is_gone_at_once() {
    let mut catalog = founded();
    for number in [4, 5] {
        changes(&mut catalog, &add(number));
    }
    changes(&mut catalog, &replace(4, 5));
    assert_eq!((state(&catalog, 4), state(&catalog, 5)), (NodeState::Removed, NodeState::Joining));
}

#[test]
fn a_move_that_was_not_asked_for_is_refused() {
    let mut catalog = founded();
    changes(&mut catalog, &add(4));
    refused(&mut catalog, &moved(0, 2, 4), RefusalCode::NotPlanned, "no move of group 0");
    refused(&mut catalog, &moved(0, 1, 1), RefusalCode::NotPlanned, "no move of group 0");
    changes(&mut catalog, &replace(2, 4));
    refused(&mut catalog, &moved(9, 2, 4), RefusalCode::UnknownGroup, "no group 9");
    refused(&mut catalog, &moved(0, 2, 9), RefusalCode::UnknownNode, "no node 9");
    refused(&mut catalog, &moved(0, 1, 4), RefusalCode::NotPlanned, "no move of group 0");
    refused(&mut catalog, &moved(0, 2, 3), RefusalCode::NotPlanned, "no move of group 0");
}

/// Few ids, so that commands meet; now and then one that makes no sense.
fn any_command() -> impl Strategy<Value = CatalogCommand> {
    let id = 1u64..9;
    let address = prop::sample::select(vec!["h:1", "h:2", "nonsense"]);
    let named = (id.clone(), address, prop::bool::weighted(0.9)).prop_map(|(id, address, own)| {
        let incarnation = Incarnation(if own { id } else { 99 });
        (NodeId(id), address.to_owned(), incarnation)
    });
    let founding = (1u64..3, prop::collection::vec(named.clone(), 0..4), 0u64..40, 0u64..5);
    prop_oneof![
        1 => founding.prop_map(|(cluster, nodes, groups, replicas)| CatalogCommand::Found {
            cluster: ClusterId(cluster),
            nodes,
            groups,
            replicas,
        }),
        3 => named.clone().prop_map(|(node, address, incarnation)| CatalogCommand::AddNode {
            node,
            address,
            incarnation,
        }),
        1 => named.prop_map(|(node, address, incarnation)| CatalogCommand::SetAddress {
            node,
            incarnation,
            address,
        }),
        3 => (id.clone(), id.clone()).prop_map(|(old, new)| replace(old, new)),
        6 => (0u64..6, id.clone(), id).prop_map(|(group, from, to)| moved(group, from, to)),
    ]
}

fn once_removed_always_removed(before: &Catalog, after: &Catalog) -> bool {
    before.nodes.iter().all(|(node, was)| {
        let is = after.nodes.get(node).expect("a known node stays known");
        is.incarnation == was.incarnation
            && (was.state != NodeState::Removed || is.state == NodeState::Removed)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn random_commands_keep_the_laws(
        begin in prop::bool::weighted(0.8),
        commands in prop::collection::vec((any_command(), any::<bool>()), 0..60),
    ) {
        let mut catalog = if begin { founded() } else { Catalog::unfounded() };
        let mut replayed = catalog.clone();
        for (mut command, follow_plan) in commands {
            if let Some(next) = next_move(&catalog).filter(|_| follow_plan) {
                command = moved(next.group.0, next.from.0, next.to.0);
            }
            let before = catalog.clone();
            let reply = catalog.apply(&command);
            match &reply {
                CatalogReply::Done { epoch } | CatalogReply::Namespace { epoch, .. } => {
                    prop_assert_eq!(*epoch, catalog.epoch);
                    prop_assert_eq!(*epoch, before.epoch + u64::from(catalog != before));
                }
                CatalogReply::Refused { .. } => prop_assert_eq!(&catalog, &before),
            }
            prop_assert_eq!(catalog.check(), Ok(()), "after {:?}", command);
            prop_assert!(once_removed_always_removed(&before, &catalog), "after {:?}", command);

            // As another replica does it: command, reply and catalog as they are written down.
            let read = CatalogCommand::decode(&command.encode()).unwrap();
            prop_assert_eq!(replayed.apply(&read), CatalogReply::decode(&reply.encode()).unwrap());
            replayed = Catalog::decode(&replayed.encode()).unwrap();
            prop_assert_eq!(replayed.encode(), catalog.encode());
        }
    }

    #[test]
    fn every_plan_comes_to_its_end(
        commands in prop::collection::vec(any_command(), 0..30),
    ) {
        let mut catalog = founded();
        for command in &commands {
            catalog.apply(command);
        }
        let replicas: usize = catalog.groups.values().map(|entry| entry.replicas.len()).sum();
        for _ in 0..=replicas {
            let Some(next) = next_move(&catalog) else { break };
            changes(&mut catalog, &moved(next.group.0, next.from.0, next.to.0));
        }
        prop_assert_eq!(next_move(&catalog), None);
        let states: BTreeMap<_, _> =
            catalog.nodes.iter().map(|(node, entry)| (*node, entry.state)).collect();
        let emptied = |state: &NodeState| !matches!(state, NodeState::Replaced { .. });
        prop_assert!(states.values().all(emptied), "{:?}", states);
    }

    #[test]
    fn any_bytes_are_a_catalog_or_an_error(bytes: Vec<u8>, versioned: bool) {
        let mut bytes = bytes;
        if versioned {
            bytes.insert(0, crate::model::codec::VERSION);
        }
        let bytes = bytes::Bytes::from(bytes);
        // Either outcome is fine; a panic is not.
        drop(Catalog::decode(&bytes));
        drop(CatalogReply::decode(&bytes));
        if let Ok(command) = CatalogCommand::decode(&bytes) {
            let reply = founded().apply(&command);
            prop_assert_eq!(CatalogReply::decode(&reply.encode()), Ok(reply));
        }
    }
}
