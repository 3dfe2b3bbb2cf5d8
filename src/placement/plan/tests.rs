//! Plans: leadership goes to fit targets only and slowly; a replaced node empties step by step.

use proptest::prelude::*;

use super::*;
use crate::model::{ClusterId, Incarnation};
use crate::placement::CatalogCommand;

const LIMITS: TransferLimits = TransferLimits { stable_ms: 3000, in_flight_max: 2 };

fn fit(group: u64) -> Led {
    Led {
        group: GroupId(group),
        preferred: NodeId(2),
        target_matched: true,
        target_connected: true,
        target_stable_ms: 3000,
    }
}

fn groups(planned: &[(GroupId, NodeId)]) -> Vec<u64> {
    planned.iter().map(|(group, _)| group.0).collect()
}

#[test]
fn only_a_target_that_is_fit_and_was_so_for_a_while_gets_leadership() {
    let behind = Led { target_matched: false, ..fit(1) };
    let away = Led { target_connected: false, ..fit(2) };
    let fresh = Led { target_stable_ms: 2999, ..fit(3) };
    assert_eq!(transfers(&[behind, away, fresh, fit(4)], 0, &LIMITS), [(GroupId(4), NodeId(2))]);
}

#[test]
fn transfers_are_paced() {
    let led = [fit(5), fit(0), fit(4), fit(3)];
    assert_eq!(groups(&transfers(&led, 0, &LIMITS)), [0, 3]);
    assert_eq!(groups(&transfers(&led, 1, &LIMITS)), [0]);
    assert_eq!(groups(&transfers(&led, 2, &LIMITS)), [0; 0]);
    assert_eq!(groups(&transfers(&led, 9, &LIMITS)), [0; 0], "more than allowed are under way");
}

proptest! {
    #[test]
    fn no_more_than_allowed_and_none_unfit(
        facts in prop::collection::vec((0u64..20, any::<bool>(), any::<bool>(), 0u64..6000), 0..40),
        in_flight in 0usize..6,
        in_flight_max in 0usize..6,
    ) {
        let led: Vec<_> = facts
            .into_iter()
            .map(|(group, target_matched, target_connected, target_stable_ms)| {
                Led { target_matched, target_connected, target_stable_ms, ..fit(group) }
            })
            .collect();
        let limits = TransferLimits { in_flight_max, ..LIMITS };
        let planned = transfers(&led, in_flight, &limits);
        prop_assert!(planned.is_empty() || planned.len() + in_flight <= in_flight_max);
        let distinct: BTreeSet<_> = planned.iter().map(|(group, _)| group).collect();
        prop_assert_eq!(distinct.len(), planned.len());
        for (group, _) in planned {
            prop_assert!(led.iter().any(|led| led.group == group
                && led.target_matched
                && led.target_connected
                && led.target_stable_ms >= LIMITS.stable_ms));
        }
    }
}

fn founded() -> Catalog {
    let mut catalog = Catalog::unfounded();
    let nodes = (1..=3).map(|n| (NodeId(n), format!("h:{n}"), Incarnation(n))).collect();
    done(
        &mut catalog,
        &CatalogCommand::Found { cluster: ClusterId(1), nodes, groups: 4, replicas: 3 },
    );
    for n in [4, 5] {
        let (node, address, incarnation) = (NodeId(n), format!("h:{n}"), Incarnation(n));
        done(&mut catalog, &CatalogCommand::AddNode { node, address, incarnation });
    }
    catalog
}

fn done(catalog: &mut Catalog, command: &CatalogCommand) {
    let reply = catalog.apply(command);
    assert!(reply.epoch().is_some(), "{command:?}: {reply:?}");
}

fn replace(catalog: &mut Catalog, old: u64, new: u64) {
    done(catalog, &CatalogCommand::Replace { old: NodeId(old), new: NodeId(new) });
}

fn set(nodes: &[u64]) -> BTreeSet<NodeId> {
    nodes.iter().copied().map(NodeId).collect()
}

#[test]
fn nothing_moves_while_nothing_is_replaced() {
    assert_eq!(next_move(&founded()), None);
    assert_eq!(next_move(&Catalog::unfounded()), None);
}

#[test]
fn a_replaced_node_is_emptied_group_0_first() {
    let mut catalog = founded();
    replace(&mut catalog, 2, 4);
    for group in 0..=4 {
        let (group, from, to) = (GroupId(group), NodeId(2), NodeId(4));
        assert_eq!(next_move(&catalog), Some(Move { group, from, to }));
        done(&mut catalog, &CatalogCommand::Moved { group, from, to });
    }
    assert_eq!(next_move(&catalog), None);
}

#[test]
fn a_move_goes_step_by_step() {
    let mut catalog = founded();
    replace(&mut catalog, 2, 4);
    let asked = next_move(&catalog).unwrap();
    let mut facts = MoveFacts { voters: set(&[1, 2, 3]), ..MoveFacts::default() };
    assert_eq!(move_step(&catalog, &asked, &facts), MoveStep::AddLearner);
    facts.learners = set(&[4]);
    assert_eq!(move_step(&catalog, &asked, &facts), MoveStep::WaitCaughtUp);
    facts.target_caught_up = true;
    assert_eq!(move_step(&catalog, &asked, &facts), MoveStep::ChangeMembership);
    let joint = MoveFacts {
        voters: set(&[1, 2, 3, 4]),
        learners: set(&[]),
        joint: true,
        target_caught_up: true,
    };
    assert_eq!(move_step(&catalog, &asked, &joint), MoveStep::ChangeMembership);
    let moved = MoveFacts { voters: set(&[1, 3, 4]), ..MoveFacts::default() };
    assert_eq!(move_step(&catalog, &asked, &moved), MoveStep::RecordMoved);
    let Move { group, from, to } = asked;
    done(&mut catalog, &CatalogCommand::Moved { group, from, to });
    assert_eq!(move_step(&catalog, &asked, &moved), MoveStep::Done);
}

#[test]
fn a_replacement_that_is_lost_half_way_is_cleared_from_the_members() {
    let mut catalog = founded();
    replace(&mut catalog, 2, 4);
    let given_up = next_move(&catalog).unwrap();
    // Node 4 became a voter of group 0, and was lost before that was recorded.
    replace(&mut catalog, 4, 5);
    let facts = MoveFacts { voters: set(&[1, 3, 4]), ..MoveFacts::default() };
    assert_eq!(move_step(&catalog, &given_up, &facts), MoveStep::Done);
    let asked = next_move(&catalog).unwrap();
    assert_eq!((asked.from, asked.to), (NodeId(2), NodeId(5)));
    assert_eq!(asked.voters_after(&catalog), Some(set(&[1, 3, 5])));
    assert_eq!(move_step(&catalog, &asked, &facts), MoveStep::AddLearner);
    // The same if its joint configuration was never left.
    let joint = MoveFacts { voters: set(&[1, 2, 3, 4]), joint: true, ..MoveFacts::default() };
    assert_eq!(move_step(&catalog, &asked, &joint), MoveStep::AddLearner);
    let known = MoveFacts { learners: set(&[5]), target_caught_up: true, ..joint };
    assert_eq!(move_step(&catalog, &asked, &known), MoveStep::ChangeMembership);
}
