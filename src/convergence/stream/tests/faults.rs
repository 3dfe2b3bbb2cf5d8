//! Streams that are cut, links that carry one way, nodes that die: nothing is lost or counted twice.

use std::collections::BTreeMap;
use std::time::Duration;

use super::for_seeds;
use super::world::{SPACE, World, until};
use crate::convergence::stream::Verdict;
use crate::model::NodeId;
use crate::model::eventual::DataType;
use crate::placement::Topology;

/// Adds to counters everywhere while streams are cut; says what they must come to.
async fn storm(world: &World, rounds: u64) -> BTreeMap<String, i64> {
    let mut sums: BTreeMap<String, i64> = BTreeMap::new();
    for round in 0..rounds {
        for &node in world.nodes.keys() {
            let key = format!("k{}", world.rng.below(20));
            let n = i64::try_from(world.rng.below(100)).unwrap() - 30;
            world.add(node, &key, n).await;
            *sums.entry(key).or_default() += n;
        }
        let (one, other) = world.pair();
        match world.rng.below(8) {
            0 => world.network.reset(NodeId(one), NodeId(other)),
            1 => world.network.cut(NodeId(one), NodeId(other)),
            2 => world.network.heal_all(),
            3 => world.pass(Duration::from_millis(world.rng.below(3_000))).await,
            4 => world.network.set_loss(2_000),
            _ => world.pass(Duration::from_millis(round % 50)).await,
        }
    }
    world.network.heal_all();
    sums
}

fn exact(world: &World, sums: &BTreeMap<String, i64>) {
    for &node in world.nodes.keys() {
        for (key, sum) in sums {
            assert_eq!(world.value(node, key), Some(sum.to_string()), "{key} at node {node}");
        }
    }
}

#[test]
fn counters_are_exact_whatever_is_cut_in_a_mesh() {
    for_seeds(0..6, |seed| async move {
        let nodes = [2, 3, 5][usize::try_from(seed % 3).unwrap()];
        let world = World::new(seed, nodes, DataType::Counter, Topology::Mesh).await;
        let sums = storm(&world, 60).await;
        world.converge().await;
        exact(&world, &sums);
    });
}

#[test]
fn counters_are_exact_whatever_is_cut_in_a_ring_and_round_a_hub() {
    for_seeds(0..6, |seed| async move {
        let topology = if seed % 2 == 0 { Topology::Ring } else { Topology::Hub(NodeId(2)) };
        let world = World::new(seed, 5, DataType::Counter, topology).await;
        let sums = storm(&world, 40).await;
        world.converge().await;
        exact(&world, &sums);
    });
}

#[test]
fn what_cannot_come_straight_comes_by_way_of_others() {
    for_seeds(0..3, |seed| async move {
        let world = World::new(seed, 3, DataType::Lww, Topology::Mesh).await;
        world.put(1, "before", "x").await;
        world.converge().await;
        // One direction only, as a filter that was set wrong does.
        world.network.cut(NodeId(1), NodeId(2));
        world.put(1, "a", "from one").await;
        world.put(2, "b", "from two").await;
        until("they hear of each other by way of the third", || {
            world.value(2, "a").is_some() && world.value(1, "b").is_some()
        })
        .await;
        for n in 0..5 {
            world.put(1, "a", &n.to_string()).await;
            until("it goes on", || world.value(2, "a") == Some(n.to_string())).await;
        }
        world.network.heal_all();
        world.converge().await;
    });
}

#[test]
fn a_node_that_dies_again_and_again_loses_nothing_that_it_has_told() {
    for_seeds(0..5, |seed| async move {
        let mut world = World::new(seed, 3, DataType::Counter, Topology::Mesh).await;
        let mut sum = 0;
        for round in 0..6 {
            for n in 1..=3 {
                world.add(n, "sum", 1).await;
                sum += 1;
            }
            let victim = 1 + world.rng.below(3);
            world.pass(Duration::from_millis(world.rng.below(40))).await;
            world.kill(victim).await;
            for n in (1..=3).filter(|n| *n != victim) {
                world.add(n, "sum", 10).await;
                sum += 10;
            }
            if round % 2 == 0 {
                world.pass(Duration::from_millis(world.rng.below(5_000))).await;
            }
            world.start(victim).await;
        }
        world.converge().await;
        for n in 1..=3 {
            assert_eq!(world.value(n, "sum"), Some(sum.to_string()));
        }
    });
}

#[test]
fn a_write_is_acknowledged_when_others_have_flushed_it_and_not_before() {
    for_seeds(0..2, |seed| async move {
        let world = World::new(seed, 3, DataType::Lww, Topology::Mesh).await;
        let now = || world.life(1).env.clock.now();
        let wrote = world.put(1, "k", "v").await;
        let asked = now();
        let shard = world.shard(1);
        assert!(shard.acknowledged(wrote.dot, 3, asked + Duration::from_secs(5)).await);
        let took = now().since(asked);
        assert!(took < Duration::from_millis(300), "no vector message is waited for: {took:?}");
        world.network.cut(NodeId(1), NodeId(3));
        world.network.cut(NodeId(2), NodeId(3));
        let wrote = world.put(1, "k", "w").await;
        assert!(shard.acknowledged(wrote.dot, 2, now() + Duration::from_secs(5)).await);
        assert!(!shard.acknowledged(wrote.dot, 3, now() + Duration::from_secs(5)).await);
    });
}

#[test]
fn the_verdict_names_who_lags_by_how_much_and_who_is_silent() {
    for_seeds(0..2, |seed| async move {
        let mut world = World::new(seed, 3, DataType::Lww, Topology::Mesh).await;
        world.put(1, "k", "v").await;
        world.converge().await;
        let ask = async |world: &World| {
            let life = world.life(1);
            let deadline = life.env.clock.now() + Duration::from_secs(5);
            life.streams.convergence(SPACE, deadline).await.unwrap()
        };
        until("all is quiet", || {
            world.lives().all(|life| life.shards.get(SPACE).unwrap().digest().settled)
        })
        .await;
        let found = ask(&world).await;
        assert_eq!((found.verdict, found.lags.len()), (Verdict::Converged, 0), "{found:?}");
        world.kill(3).await;
        world.put(1, "k", "w").await;
        world.converge().await;
        let found = ask(&world).await;
        let silent: Vec<_> =
            found.members.iter().filter(|m| m.vector.is_none()).map(|m| m.node).collect();
        assert_eq!(silent, [NodeId(3)]);
        // Two that can be asked and cannot hear each other's writes.
        world.start(3).await;
        world.converge().await;
        world.relink(Topology::Links(Vec::new()));
        world.pass(Duration::from_millis(100)).await;
        for n in 0..7 {
            world.put(2, "lag", &n.to_string()).await;
        }
        world.pass(Duration::from_secs(30)).await;
        let found = ask(&world).await;
        assert_eq!(found.verdict, Verdict::Lagging);
        let lag = found.lags.iter().find(|l| (l.from, l.to) == (NodeId(2), NodeId(1))).unwrap();
        assert!(lag.missing >= 7, "{lag:?}");
        assert!(lag.age.unwrap() >= Duration::from_secs(30), "{lag:?}");
        world.relink(Topology::Mesh);
        world.converge().await;
    });
}

#[test]
fn writes_from_the_future_wait_for_a_while_and_are_never_dropped() {
    for_seeds(0..2, |seed| async move {
        let world = World::new(seed, 3, DataType::Counter, Topology::Mesh).await;
        world.set_ahead(1, 5_000);
        world.add(1, "k", 1).await;
        let start = tokio::time::Instant::now();
        until("the time has come", || world.value(2, "k").is_some()).await;
        let waited = start.elapsed();
        assert!(waited > Duration::from_secs(4) && waited < Duration::from_secs(8), "{waited:?}");
        world.set_ahead(1, 3_600_000);
        world.add(1, "k", 1).await;
        world.add(2, "k", 1).await;
        until("it was waited long enough", || world.value(2, "k") == Some("3".to_owned())).await;
        let ahead = world.life(2).streams.exchange(SPACE).unwrap().skewed();
        assert!(ahead.values().all(|skewed| skewed.passes) && ahead.len() == 1, "{ahead:?}");
        world.set_ahead(1, 0);
        world.converge().await;
    });
}
