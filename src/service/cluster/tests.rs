//! Tests of `service::cluster`: each name says what it holds.

use super::*;
use crate::service::testing::{Way, World, status};

fn report(groups: Vec<GroupStatus>) -> NodeReport {
    NodeReport { uptime_ms: 1, version: "0".into(), groups }
}

fn catalog() -> Catalog {
    World::new().catalog.borrow().as_deref().unwrap().clone()
}

fn group(view: &ClusterView, id: u64) -> &GroupOverview {
    view.groups.iter().find(|group| group.id == GroupId(id)).unwrap()
}

#[test]
fn a_report_reads_back_as_written() {
    let report = report(vec![status(1, None, Role::Learner)]);
    assert_eq!(NodeReport::decode(&report.encode()).unwrap(), report);
    assert!(NodeReport::decode(&Bytes::from_static(&[9])).is_err());
}

#[test]
fn of_two_that_say_they_lead_the_one_of_the_newer_term_does() {
    let old = GroupStatus { term: 1, ..status(1, Some(NodeId(1)), Role::Leader) };
    let new = GroupStatus { term: 3, last: Some(9), ..status(1, Some(NodeId(2)), Role::Leader) };
    let reports = BTreeMap::from([(NodeId(1), report(vec![old])), (NodeId(2), report(vec![new]))]);
    let view = merge(&catalog(), NodeId(1), &reports);
    let group = group(&view, 1);
    assert_eq!((group.leader, group.term, group.last), (Some(NodeId(2)), 3, 9));
    let leads: Vec<_> = view.nodes.iter().map(|node| node.leads).collect();
    assert_eq!(leads, [0, 1, 0]);
}

#[test]
fn lag_is_what_the_leader_knows_of_a_replica() {
    let replication = BTreeMap::from([(NodeId(1), 5), (NodeId(3), 2)]);
    let leader = GroupStatus { replication, ..status(1, Some(NodeId(1)), Role::Leader) };
    let behind = GroupStatus { last: Some(4), ..status(1, Some(NodeId(1)), Role::Follower) };
    let reports =
        BTreeMap::from([(NodeId(1), report(vec![leader])), (NodeId(2), report(vec![behind]))]);
    let view = merge(&catalog(), NodeId(1), &reports);
    let mut lags: Vec<_> = group(&view, 1).replicas.iter().map(|r| (r.node.0, r.lag)).collect();
    lags.sort_unstable();
    assert_eq!(lags, [(1, Some(0)), (2, Some(1)), (3, Some(3))]);
}

#[test]
fn groups_that_nobody_reports_are_shown_without_a_leader() {
    let view = merge(&catalog(), NodeId(1), &BTreeMap::new());
    assert_eq!(view.groups.len(), 9);
    assert!(view.groups.iter().all(|g| g.leader.is_none() && g.replicas.len() == 3));
    assert!(view.nodes.iter().all(|node| node.answered.is_none()));
}

#[tokio::test]
async fn a_node_that_does_not_answer_is_shown_as_such() {
    let world = World::new();
    let service = world.service(1, true);
    drop((world.service(2, true), world.service(3, true)));
    world.set_way(3, Way::Closed);
    let view = service.cluster().await;
    let answered: Vec<_> = view.nodes.iter().map(|node| node.answered.is_some()).collect();
    assert_eq!(answered, [true, true, false]);
    assert_eq!(view.nodes.first().unwrap().leads, 9);
}
