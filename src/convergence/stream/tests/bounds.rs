//! What is long, slow, or given up midway: it costs time, and nothing else.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use tokio::time::{Instant, sleep};

use super::for_seeds;
use super::world::{SPACE, World, until};
use crate::convergence::copy::{Giving, Untaking, take};
use crate::convergence::decode_op;
use crate::convergence::worker::Command;
use crate::model::NodeId;
use crate::model::eventual::{DataType, Vector};
use crate::placement::{LinkMode, SiteLink, Topology};

fn paced(rate: u64, hours: Option<(u8, u8)>) -> Topology {
    let (from, to, mode) = (NodeId(1), NodeId(2), LinkMode::Push);
    Topology::Links(vec![SiteLink { from, to, mode, bytes_per_s: Some(rate), hours }])
}

/// Two nodes, of which the second has nothing and needs rows: so many bytes of them.
async fn with_rows(seed: u64, topology: Topology, bytes: usize) -> World {
    let mut world = World::new(seed, 2, DataType::Lww, topology).await;
    // Nearly nine in the evening.
    (1..=2).for_each(|node| world.set_ahead(node, 1_960_000));
    world.kill(2).await;
    let value = "v".repeat(20_000);
    for n in 0..bytes / value.len() {
        world.put(1, &format!("k{n}"), &value).await;
    }
    world.pass(Duration::from_secs(2)).await;
    world.trim(1);
    world.start(2).await;
    world
}

#[test]
fn a_cell_that_is_longer_than_any_message_of_the_network_comes_with_a_state_sync() {
    for_seeds(0..1, |seed| async move {
        let mut world = World::of_long_values(seed, 2, DataType::Mv).await;
        world.kill(2).await;
        let value = "v".repeat(900_000);
        for n in 0..10 {
            world.put(1, "k", &format!("{n}{value}")).await;
        }
        world.pass(Duration::from_secs(2)).await;
        world.trim(1);
        world.start(2).await;
        world.converge().await;
        assert_eq!(world.life(2).streams.metrics().state_syncs.get(), 1);
        assert_eq!(world.value(2, "k").as_deref(), Some("10 siblings"));
    });
}

#[test]
fn a_state_sync_over_a_slow_link_takes_its_time_and_is_not_given_up() {
    for_seeds(0..1, |seed| async move {
        let world = with_rows(seed, paced(10_000, None), 3_000_000).await;
        let start = Instant::now();
        world.converge().await;
        let metrics = world.life(2).streams.metrics();
        assert_eq!((metrics.state_syncs.get(), metrics.state_syncs_cut.get()), (1, 0));
        assert!(start.elapsed() > Duration::from_secs(180), "{:?}", start.elapsed());
    });
}

#[test]
fn a_link_that_breaks_again_and_again_carries_no_more_than_its_rate() {
    for_seeds(0..1, |seed| async move {
        let world = World::new(seed, 2, DataType::Lww, paced(20_000, None)).await;
        let start = Instant::now();
        for n in 0..400 {
            world.put(1, &format!("k{n}"), &"v".repeat(2_000)).await;
        }
        while world.value(2, "k399").is_none() {
            world.network.reset(NodeId(1), NodeId(2));
            world.pass(Duration::from_millis(2_500)).await;
            assert!(start.elapsed() < Duration::from_secs(500), "it gets on nevertheless");
        }
        assert!(start.elapsed() > Duration::from_secs(30), "{:?}", start.elapsed());
    });
}

#[test]
fn a_state_sync_stops_when_the_hours_of_its_link_end() {
    for_seeds(0..1, |seed| async move {
        let world = with_rows(seed, paced(100_000, Some((20, 21))), 6_000_000).await;
        let rows = || world.life(1).streams.metrics().bytes_sent()[2];
        let begun = || world.life(2).streams.metrics().state_syncs_begun.get();
        until("it has begun", || begun() == 1 && rows() > 1_000_000).await;
        // By nine it is over, and what was on its way has come.
        world.pass(Duration::from_secs(45)).await;
        let over = rows();
        world.pass(Duration::from_secs(100)).await;
        assert!(rows() == over && over < 5_500_000, "{over}, {}", rows());
        assert_eq!(world.life(2).streams.metrics().state_syncs_cut.get(), 1);
        world.relink(paced(1_000_000, None));
        world.converge().await;
    });
}

#[test]
fn what_waits_is_not_lost_when_whoever_hands_it_over_is_given_up() {
    for_seeds(0..1, |seed| async move {
        let topology = Topology::Links(Vec::new());
        let world = World::new(seed, 2, DataType::Lww, topology).await;
        for value in ["one", "two"] {
            world.put(1, "k", value).await;
        }
        let logged = world.shard(1).read_ops(1, 1 << 20).unwrap().ops;
        let mut ops: Vec<_> = logged.iter().map(|op| decode_op(&op.bytes).unwrap()).collect();
        let exchange = world.life(2).streams.exchange(SPACE).unwrap();
        let first = ops.remove(0);
        exchange.take(NodeId(1), ops).await.unwrap();
        let held = exchange.held();
        assert!(held > 0, "it builds on what is not there");
        let shard = world.shard(2);
        shard.receive(vec![first]).await.unwrap();
        // The shard is busy, and nothing more goes into its inbox.
        while shard.inner.inbox.try_send(Command::Tick).is_ok() {}
        let given_up = tokio::time::timeout(Duration::ZERO, exchange.release()).await;
        assert!(given_up.is_err() && exchange.held() == held, "{}", exchange.held());
        exchange.release().await.unwrap();
        assert!(exchange.held() == 0 && world.value(2, "k").as_deref() == Some("two"));
    });
}

#[test]
fn rows_of_a_copy_that_trickle_do_not_keep_others_from_theirs_for_long() {
    for_seeds(0..1, |seed| async move {
        let world = World::new(seed, 1, DataType::Lww, Topology::Mesh).await;
        let other = World::apart(seed, 1, 100, DataType::Lww, Topology::Mesh).await;
        for n in 0..20 {
            world.put(1, &format!("k{n}"), &"v".repeat(1_000)).await;
        }
        world.pass(Duration::from_secs(2)).await;
        world.trim(1);
        let mut giving =
            Giving::begin(world.shard(1), "space", world.homes(), Vector::default()).await.unwrap();
        assert!(giving.is_rows());
        let mut copy = Vec::new();
        while let Some(bytes) = giving.next().await.unwrap() {
            copy.extend_from_slice(&bytes);
        }
        let copy = Bytes::from(copy);
        let exchange = other.life(1).streams.exchange(SPACE).unwrap();
        // Never silent for long.
        let trickle = stream::unfold(0, |at| {
            let copy = copy.clone();
            async move {
                sleep(Duration::from_secs(if at < 500 { 0 } else { 20 })).await;
                (at < copy.len()).then(|| (Ok(copy.slice(at..=at)), at + 1))
            }
        });
        let start = Instant::now();
        let came = take(&exchange, world.homes(), Box::pin(trickle)).await;
        assert!(matches!(came.unwrap_err().why, Untaking::Body(_)));
        assert!(start.elapsed() < Duration::from_secs(120), "{:?}", start.elapsed());
        let whole = stream::iter([Ok::<_, String>(copy)]);
        assert_eq!(take(&exchange, world.homes(), whole).await.unwrap().pages, 1);
    });
}

#[test]
fn nothing_is_said_of_what_a_peer_lacks_that_is_linked_no_more() {
    for_seeds(0..1, |seed| async move {
        let world = World::new(seed, 3, DataType::Lww, Topology::Mesh).await;
        world.put(1, "k", "v").await;
        let metrics = world.life(1).streams.metrics();
        let of = |peer| metrics.has_lag_of(NodeId(peer));
        until("all have been heard of", || of(2) && of(3)).await;
        world.relink(paced(1_000_000, None));
        until("one is forgotten", || !of(3)).await;
        assert!(of(2));
    });
}
