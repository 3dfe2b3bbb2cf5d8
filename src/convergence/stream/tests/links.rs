//! Topologies at work: site links at their times, readers, what traffic they cost, what idling costs.

use std::time::Duration;

use super::for_seeds;
use super::world::{SPACE, World, until};
use crate::convergence::words::WriteError;
use crate::model::NodeId;
use crate::model::eventual::{Ask, DataType};
use crate::placement::{LinkMode, SiteLink, Topology};

fn link(from: u64, to: u64, mode: LinkMode) -> SiteLink {
    SiteLink { from: NodeId(from), to: NodeId(to), mode, bytes_per_s: None, hours: None }
}

#[test]
fn a_manual_link_carries_when_it_is_asked_to_and_an_interval_link_at_its_times() {
    for_seeds(0..2, |seed| async move {
        let topology = Topology::Links(vec![
            link(1, 2, LinkMode::Manual),
            link(2, 3, LinkMode::Interval(20_000)),
        ]);
        let world = World::new(seed, 3, DataType::Lww, topology).await;
        world.put(1, "k", "v").await;
        world.pass(Duration::from_secs(60)).await;
        assert_eq!(world.value(2, "k"), None, "nobody has asked");
        let streams = &world.life(2).streams;
        assert_eq!(streams.ask_pass(SPACE, NodeId(1)), Some(LinkMode::Manual));
        assert_eq!(streams.ask_pass(SPACE, NodeId(3)), None, "no link leads here from there");
        let other = world.life(3).streams.ask_pass(SPACE, NodeId(2));
        assert_eq!(other, Some(LinkMode::Interval(20_000)), "it carries by itself");
        until("it was asked", || world.value(2, "k").is_some()).await;
        assert_eq!(world.value(3, "k"), None, "its time has not come");
        until("its time has come", || world.value(3, "k").is_some()).await;
        world.put(1, "k", "w").await;
        world.pass(Duration::from_secs(60)).await;
        assert_eq!(world.value(2, "k").as_deref(), Some("v"), "one pass for one asking");
        assert_eq!(world.value(1, "other"), None);
    });
}

#[test]
fn a_paced_link_takes_its_time() {
    for_seeds(0..1, |seed| async move {
        let paced = SiteLink { bytes_per_s: Some(10_000), ..link(1, 2, LinkMode::Push) };
        let world = World::new(seed, 2, DataType::Lww, Topology::Links(vec![paced])).await;
        let start = tokio::time::Instant::now();
        for n in 0..100 {
            world.put(1, &format!("k{n}"), &"v".repeat(2_000)).await;
        }
        until("all has come", || world.value(2, "k99").is_some()).await;
        let took = start.elapsed();
        assert!(took > Duration::from_secs(15) && took < Duration::from_secs(40), "{took:?}");
    });
}

#[test]
fn an_idle_namespace_costs_a_few_bytes_twice_a_minute() {
    for_seeds(0..2, |seed| async move {
        let world = World::new(seed, 3, DataType::Lww, Topology::Mesh).await;
        for n in 0..20 {
            world.put(1 + n % 3, "k", &n.to_string()).await;
        }
        world.converge().await;
        world.pass(Duration::from_secs(30)).await;
        let sent = || world.lives().map(|l| l.streams.metrics().bytes_sent()).collect::<Vec<_>>();
        let before = sent();
        world.pass(Duration::from_secs(120)).await;
        for (before, after) in before.iter().zip(sent()) {
            assert_eq!((before[0], before[2]), (after[0], after[2]), "no operations, no rows");
            assert!(after[1] - before[1] < 4_000, "{before:?}, {after:?}");
        }
    });
}

#[test]
fn each_write_travels_about_once_to_each_node() {
    for_seeds(0..1, |seed| async move {
        for topology in [Topology::Mesh, Topology::Ring, Topology::Hub(NodeId(1))] {
            let world = World::new(seed, 5, DataType::Counter, topology.clone()).await;
            for n in 0..2_000_u64 {
                world.add(1 + n % 5, &format!("k{}", n % 50), 1).await;
            }
            world.converge().await;
            let figures = world.lives().map(|life| life.streams.metrics().redundant_and_new());
            let (redundant, new) = figures.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
            let bytes: u64 = world.lives().map(|l| l.streams.metrics().bytes_sent()[0]).sum();
            println!("{topology:?}: {redundant} of {new} twice, {} bytes each", bytes / new);
            assert!(redundant * 10 < new, "{topology:?}: {redundant} of {new} came twice");
        }
    });
}

#[test]
fn a_node_that_no_link_leads_from_reads_and_takes_no_writes() {
    for_seeds(0..1, |seed| async move {
        let topology = Topology::Links(vec![
            link(1, 2, LinkMode::Push),
            link(2, 1, LinkMode::Push),
            link(2, 3, LinkMode::Push),
        ]);
        let world = World::new(seed, 3, DataType::Counter, topology).await;
        for n in 1..=2 {
            world.add(n, "k", 1).await;
        }
        let refused = world.write(3, "k", Ask::Add(1)).await;
        assert!(matches!(refused, Err(WriteError::Reader)), "{refused:?}");
        until("the reader has it", || world.value(3, "k").as_deref() == Some("2")).await;
        world.converge().await;
        let own = world.shard(3).actor();
        assert_eq!(world.shard(3).vector().of(own), 0, "it originates nothing");
    });
}
