//! Tests of `service`: each name says what it holds.

use std::time::Duration;

use bytes::Bytes;

use super::testing::{Way, World};
use super::*;
use crate::consensus::ProposeError;
use crate::model::{Attach, Incarnation, KeyReply, Slot, WriteOp};
use crate::placement::RefusalCode;

mod locks;
mod many;
mod once;
mod reads;
mod sides;
mod spaces;
mod switching;

fn within(service: &Service, ms: u64) -> Context {
    let deadline = service.env().clock.now() + Duration::from_millis(ms);
    Context::new(deadline, "test")
}

async fn put(service: &Service, ms: u64) -> Result<Wrote, ServiceError> {
    let context = within(service, ms);
    service.write("default", Bytes::from_static(b"k"), value("v").into(), context).await
}

fn value(text: &'static str) -> WriteOp {
    WriteOp::Put {
        value: Bytes::from_static(text.as_bytes()),
        content_type: None,
        attach: Attach::None,
    }
}

fn is_put(wrote: &Wrote, as_new: bool) -> bool {
    matches!(wrote.reply, KeyReply::Put { created, .. } if created == as_new)
}

async fn get(service: &Service, read: ReadMode, ms: u64) -> Result<Got, ServiceError> {
    service.get("default", Bytes::from_static(b"k"), read, within(service, ms)).await
}

#[tokio::test]
async fn the_leader_does_the_work_itself() {
    let world = World::new();
    let service = world.service(1, true);
    let wrote = put(&service, 1_000).await.unwrap();
    assert!(is_put(&wrote, true));
    let got = get(&service, ReadMode::Linearizable, 1_000).await.unwrap();
    let row = got.row.unwrap();
    assert_eq!((row.value.as_ref(), row.at, got.index), (&b"v"[..], wrote.index, wrote.index));
    assert_eq!(world.forwards(), [] as [u64; 0]);
}

#[tokio::test]
async fn another_node_passes_work_on_once_to_the_leader() {
    let world = World::new();
    let (_leader, service) = (world.service(1, true), world.service(2, true));
    service.read_by_followers(false);
    let wrote = put(&service, 1_000).await.unwrap();
    assert_eq!(wrote.leader, Some(NodeId(1)));
    let got = get(&service, ReadMode::Linearizable, 1_000).await.unwrap();
    assert_eq!((got.served_by, got.row.unwrap().at), (NodeId(1), wrote.index));
    assert_eq!(world.forwards(), [1, 1]);
}

#[tokio::test]
async fn a_node_without_replicas_finds_the_leader_by_hints() {
    let world = World::new();
    world.leader.send_replace(Some(NodeId(3)));
    for node in 1..=3 {
        drop(world.service(node, true));
    }
    let service = world.service(9, false);
    assert_eq!(put(&service, 1_000).await.unwrap().leader, Some(NodeId(3)));
    let forwards = world.forwards();
    assert!(forwards.len() <= 2 && forwards.last() == Some(&3), "asked {forwards:?}");
}

#[tokio::test]
async fn a_write_waits_through_an_election_and_is_done_once() {
    let world = World::new();
    let service = world.service(2, true);
    world.leader.send_replace(None);
    let elect = async {
        tokio::time::sleep(Duration::from_millis(900)).await;
        world.leader.send_replace(Some(NodeId(2)));
    };
    let (wrote, ()) = tokio::join!(put(&service, 5_000), elect);
    assert_eq!(wrote.unwrap().leader, Some(NodeId(2)));
    assert_eq!(world.proposals(), 1);
}

#[tokio::test]
async fn without_a_leader_the_deadline_ends_in_unavailable_and_not_applied() {
    let world = World::new();
    let service = world.service(2, true);
    world.leader.send_replace(None);
    let error = put(&service, 300).await.unwrap_err();
    assert_eq!((error.code(), error.outcome()), ("unavailable", Outcome::NotApplied));
    assert!(error.group.is_some());
    assert_eq!(world.proposals(), 0);
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_is_unknown_and_never_repeated() {
    let world = World::new();
    let (_leader, service) = (world.service(1, true), world.service(2, true));
    world.set_way(1, Way::Deaf);
    let error = put(&service, 5_000).await.unwrap_err();
    assert_eq!((error.code(), error.outcome()), ("undetermined", Outcome::Unknown));
    assert_eq!((world.proposals(), world.forwards()), (1, vec![1]));
}

#[tokio::test]
async fn a_read_whose_answer_is_lost_is_asked_again() {
    let world = World::new();
    let (_leader, service) = (world.service(1, true), world.service(2, true));
    world.set_way(1, Way::Deaf);
    let heal = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        world.set_way(1, Way::Open);
    };
    let (got, ()) = tokio::join!(get(&service, ReadMode::Linearizable, 5_000), heal);
    assert_eq!(got.unwrap().served_by, NodeId(1));
    assert!(world.forwards().len() > 1);
}

#[tokio::test]
async fn a_write_that_could_not_be_sent_follows_the_new_leader() {
    let world = World::new();
    let (_old, _new, service) =
        (world.service(1, true), world.service(3, true), world.service(2, true));
    world.set_way(1, Way::Closed);
    let elect = async {
        tokio::time::sleep(Duration::from_millis(400)).await;
        world.leader.send_replace(Some(NodeId(3)));
    };
    let (wrote, ()) = tokio::join!(put(&service, 5_000), elect);
    assert_eq!(wrote.unwrap().leader, Some(NodeId(3)));
    assert_eq!(world.proposals(), 1);
}

#[tokio::test]
async fn overload_is_tried_again_and_reported_as_such_at_the_end() {
    let world = World::new();
    let service = world.service(1, true);
    world.refuse_next(ProposeError::Overloaded);
    assert!(put(&service, 2_000).await.is_ok(), "one refusal is survived");
    for _ in 0..100 {
        world.refuse_next(ProposeError::Overloaded);
    }
    let error = put(&service, 500).await.unwrap_err();
    assert_eq!((error.code(), error.outcome()), ("overloaded", Outcome::NotApplied));
}

#[tokio::test]
async fn an_unknown_proposal_is_reported_and_not_repeated() {
    let world = World::new();
    let service = world.service(1, true);
    world.refuse_next(ProposeError::Unknown { reason: "deposed".into() });
    let error = put(&service, 2_000).await.unwrap_err();
    assert_eq!(error.outcome(), Outcome::Unknown);
    assert_eq!(world.proposals(), 0);
}

#[tokio::test]
async fn a_group_that_does_not_own_the_slot_neither_writes_nor_reads() {
    let world = World::new();
    let service = world.service(1, true);
    put(&service, 1_000).await.unwrap();
    let slot = service.route("default", b"k").unwrap().slot.get();
    let elsewhere = if slot == 0 { 1 } else { 0 };
    world.own(9, elsewhere, elsewhere);
    assert_eq!(put(&service, 300).await.unwrap_err().code(), "unavailable");
    for read in [ReadMode::Linearizable, ReadMode::Stale] {
        assert_eq!(get(&service, read, 300).await.unwrap_err().code(), "unavailable");
    }
    let own_again = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        world.own(10, 0, Slot::COUNT - 1);
        world.edit_catalog(|catalog| catalog.epoch = 10);
    };
    let (wrote, ()) = tokio::join!(put(&service, 5_000), own_again);
    assert!(is_put(&wrote.unwrap(), false));
}

#[tokio::test]
async fn a_stale_read_is_local_and_says_its_age() {
    let world = World::new();
    let service = world.service(2, true);
    world.set_age(None);
    world.leader.send_replace(None);
    let got = get(&service, ReadMode::Stale, 1_000).await.unwrap();
    assert_eq!((got.served_by, got.staleness, got.row), (NodeId(2), None, None));
    world.set_age(Some(Duration::from_millis(40)));
    let got = get(&service, ReadMode::Stale, 1_000).await.unwrap();
    assert!(got.staleness.unwrap() >= Duration::from_millis(40));
    let outside = world.service(9, false);
    assert_eq!(get(&outside, ReadMode::Stale, 1_000).await.unwrap().served_by, NodeId(2));
}

#[tokio::test]
async fn a_client_that_leaves_does_not_stop_its_write() {
    let world = World::new();
    let service = world.service(1, true);
    {
        let mut write = Box::pin(put(&service, 5_000));
        // Polled once: the command is on its way, then the client is gone.
        assert!(futures_util::poll!(&mut write).is_pending());
    }
    while world.proposals() == 0 {
        tokio::task::yield_now().await;
    }
    let got = get(&service, ReadMode::Linearizable, 1_000).await.unwrap();
    assert!(got.row.is_some());
}

#[tokio::test]
async fn bad_requests_are_refused_before_anything_is_proposed() {
    let world = World::new();
    let service = world.service(1, true);
    let write = |namespace, key: usize, value: usize| {
        let value = vec![0; value].into();
        let op = WriteOp::Put { value, content_type: None, attach: Attach::None };
        let context = within(&service, 100);
        let service = service.clone();
        async move { service.write(namespace, vec![b'k'; key].into(), op.into(), context).await }
    };
    for (namespace, key, value, code) in [
        ("nope", 1, 1, "namespace_not_found"),
        ("default", 0, 1, "invalid"),
        ("default", 4_097, 1, "key_too_long"),
        ("default", 1, (1 << 20) + 1, "too_large"),
    ] {
        assert_eq!(write(namespace, key, value).await.unwrap_err().code(), code);
    }
    assert_eq!(world.proposals(), 0);
}

#[tokio::test]
async fn catalog_changes_reach_the_system_group_from_any_node() {
    let world = World::new();
    let (_leader, service) = (world.service(1, true), world.service(2, true));
    let add = |id: u64, incarnation| {
        let context = within(&service, 1_000);
        service.add_node(NodeId(id), "127.0.0.1:7109".into(), Incarnation(incarnation), context)
    };
    let before = service.catalog().unwrap().epoch;
    assert!(add(9, 9).await.unwrap() > before);
    let error = add(1, 77).await.unwrap_err();
    let ErrorKind::Refused { code, .. } = &error.kind else { panic!("{error}") };
    assert_eq!((*code, error.outcome()), (RefusalCode::IdTaken, Outcome::NotApplied));
    service.replace(NodeId(3), NodeId(9), within(&service, 1_000)).await.unwrap();
    let view = service.cluster().await;
    let left = view.nodes.iter().find(|node| node.id == NodeId(3)).unwrap().moves_left();
    assert!(left > 0, "the replaced node still holds groups");
}

#[tokio::test]
async fn a_node_without_a_catalog_waits_for_it_and_says_so() {
    let world = World::new();
    let service = world.service(1, true);
    let catalog = world.catalog.send_replace(None);
    assert!(service.obstacles().iter().any(|o| o.contains("catalog")));
    assert_eq!(put(&service, 100).await.unwrap_err().code(), "unavailable");
    let tell = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        world.catalog.send_replace(catalog);
    };
    let (wrote, ()) = tokio::join!(put(&service, 1_000), tell);
    assert!(wrote.is_ok());
    assert_eq!(service.obstacles(), [] as [String; 0]);
}
