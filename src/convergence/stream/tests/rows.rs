//! State syncs: after truncation, for new nodes, cut anywhere.

use std::time::Duration;

use super::for_seeds;
use super::world::{SPACE, World, until};
use crate::model::NodeId;
use crate::model::eventual::{Ask, DataType};
use crate::placement::Topology;

fn syncs(world: &World, node: u64) -> u64 {
    world.life(node).streams.metrics().state_syncs.get()
}

#[test]
fn who_was_away_for_longer_than_the_log_takes_rows_and_nothing_deleted_comes_back() {
    for_seeds(0..4, |seed| async move {
        let mut world = World::new(seed, 3, DataType::Lww, Topology::Mesh).await;
        for n in 0..30 {
            world.put(1 + n % 3, &format!("k{n}"), "old").await;
        }
        world.converge().await;
        world.kill(3).await;
        for n in 0..30 {
            match n % 3 {
                0 => drop(world.write(1, &format!("k{n}"), Ask::Delete).await.unwrap()),
                1 => drop(world.put(2, &format!("k{n}"), "new").await),
                _ => {}
            }
        }
        world.pass(Duration::from_secs(3)).await;
        for node in 1..=2 {
            world.trim(node);
        }
        world.start(3).await;
        world.put(3, "mine", "from the one that was away").await;
        world.converge().await;
        assert!(syncs(&world, 3) >= 1, "the log did not reach back");
        for node in 1..=3 {
            for n in 0..30 {
                let expected = [None, Some("new"), Some("old")][usize::try_from(n % 3).unwrap()];
                assert_eq!(world.value(node, &format!("k{n}")).as_deref(), expected, "k{n}");
            }
            assert!(world.value(node, "mine").is_some());
        }
    });
}

#[test]
fn a_state_sync_that_is_cut_anywhere_leaves_an_older_replica_that_converges_later() {
    for_seeds(0..8, |seed| async move {
        let mut world = World::new(seed, 3, DataType::Counter, Topology::Mesh).await;
        world.kill(3).await;
        let mut sum = 0;
        let big = "x".repeat(2_000);
        for n in 0..400 {
            world.add(1 + n % 2, &format!("{big}{}", n % 200), 1).await;
            sum += 1;
        }
        world.pass(Duration::from_secs(2)).await;
        world.trim(1);
        world.trim(2);
        world.network.set_delay(Duration::from_millis(5), Duration::from_millis(60));
        world.start(3).await;
        for round in 0..12 {
            world.pass(Duration::from_millis(world.rng.below(700))).await;
            let writer = 1 + round % 3;
            world.add(writer, &format!("{big}{round}"), 1).await;
            sum += 1;
            match world.rng.below(4) {
                0 => {
                    world.kill(3).await;
                    world.start(3).await;
                }
                1 => world.network.reset(NodeId(1), NodeId(3)),
                2 => world.network.reset(NodeId(2), NodeId(3)),
                _ => world.trim(1),
            }
        }
        world.converge().await;
        for node in 1..=3 {
            let total: i64 = (0..200)
                .filter_map(|n| world.value(node, &format!("{big}{n}")))
                .map(|sum| sum.parse::<i64>().unwrap())
                .sum();
            assert_eq!(total, sum, "node {node}");
        }
    });
}

#[test]
fn rows_that_are_the_same_are_not_sent() {
    for_seeds(0..2, |seed| async move {
        let mut world = World::new(seed, 2, DataType::Lww, Topology::Mesh).await;
        let value = "v".repeat(1_000);
        for n in 0..300 {
            world.put(1, &format!("k{n}"), &value).await;
        }
        world.converge().await;
        world.kill(2).await;
        world.put(1, "k7", "changed").await;
        world.pass(Duration::from_secs(2)).await;
        world.trim(1);
        world.start(2).await;
        world.converge().await;
        assert_eq!(syncs(&world, 2), 1);
        let [_, _, rows] = world.life(1).streams.metrics().bytes_sent();
        assert!(rows < 20_000, "300 KB are the same, {rows} bytes were sent");
    });
}

#[test]
fn a_sync_under_load_ends_and_does_not_make_others_sync() {
    for_seeds(0..3, |seed| async move {
        let mut world = World::new(seed, 3, DataType::Counter, Topology::Ring).await;
        world.kill(3).await;
        for n in 0..50 {
            world.add(1, &format!("k{n}"), 1).await;
        }
        world.pass(Duration::from_secs(2)).await;
        world.trim(1);
        world.trim(2);
        let before = syncs(&world, 1) + syncs(&world, 2);
        world.start(3).await;
        let mut sum = 0;
        while syncs(&world, 3) == 0 || sum < 600 {
            for node in 1..=3 {
                world.add(node, "sum", 1).await;
                sum += 1;
            }
            assert!(sum < 60_000, "the sync never ends");
        }
        world.converge().await;
        assert_eq!(world.value(2, "sum"), Some(sum.to_string()));
        let others = syncs(&world, 1) + syncs(&world, 2) - before;
        assert!(others == 0 && syncs(&world, 3) <= 2, "{others} syncs of others");
    });
}

#[test]
fn writes_that_stand_on_others_wait_for_them_and_come_to_their_end() {
    for_seeds(0..2, |seed| async move {
        // Node 2 hears of nothing that 1 writes but by way of 3, whose writes stand on it.
        let world = World::new(seed, 3, DataType::Lww, Topology::Mesh).await;
        world.converge().await;
        world.network.cut(NodeId(1), NodeId(2));
        let value = "v".repeat(3_000);
        for n in 0..60 {
            world.put(1, &format!("k{}", n % 5), &n.to_string()).await;
            let seen =
                until("3 has it", || world.shard(3).vector().includes(&world.shard(1).vector()));
            seen.await;
            world.put(3, &format!("k{}", n % 5), &value).await;
        }
        until("2 has it all", || world.shard(2).vector().includes(&world.shard(3).vector())).await;
        assert_eq!(world.life(2).streams.exchange(SPACE).unwrap().held(), 0);
        world.network.heal_all();
        world.converge().await;
    });
}
