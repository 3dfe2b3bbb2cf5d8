//! Copies between clusters that have nothing else in common: in any order, again, cut, and late.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;

use super::for_seeds;
use super::world::{SPACE, World, until};
use crate::convergence::copy::{Damage, Giving, Taken, Untaken, Untaking, take};
use crate::model::eventual::{Ask, DataType, Vector};
use crate::placement::Topology;
use crate::runtime::Rng;

async fn export(world: &World, node: u64, since: &Vector) -> Vec<Bytes> {
    let mut giving =
        Giving::begin(world.shard(node), "space", world.homes(), since.clone()).await.unwrap();
    let mut copy = Vec::new();
    while let Some(bytes) = giving.next().await.unwrap() {
        copy.push(bytes);
    }
    copy
}

async fn import(world: &World, node: u64, copy: &[Bytes]) -> Result<Taken, Untaken> {
    let exchange = world.life(node).streams.exchange(SPACE).unwrap();
    let pieces = copy.iter().cloned().map(Ok::<_, String>);
    take(&exchange, world.homes(), stream::iter(pieces.collect::<Vec<_>>())).await
}

/// What one cluster's node has goes to the other's.
async fn carry(from: &World, at: u64, to: &World, into: u64) {
    let since = to.shard(into).vector();
    let copy = export(from, at, &since).await;
    let taken = import(to, into, &copy).await.unwrap();
    assert!(taken.vector.includes(&since));
}

/// Both come to have the same.
async fn settle(one: &World, other: &World) {
    for _ in 0..3 {
        one.converge().await;
        other.converge().await;
        carry(one, 1, other, 1).await;
        carry(other, 1, one, 1).await;
    }
    one.converge().await;
    other.converge().await;
    let (ours, theirs) = (one.shard(1).digest(), other.shard(1).digest());
    if ours.vector == theirs.vector {
        assert_eq!(ours.root, theirs.root, "equal knowledge, unequal rows");
    }
}

async fn two(seed: u64, data_type: DataType) -> (World, World) {
    let one = World::apart(seed, 2, 0, data_type, Topology::Mesh).await;
    let other = World::apart(seed + 1_000, 3, 100, data_type, Topology::Mesh).await;
    (one, other)
}

/// What of a copy came so far: a cut one, sometimes.
fn perhaps_cut(rng: &Rng, copy: &[Bytes]) -> Vec<Bytes> {
    let whole = u64::try_from(copy.len()).unwrap();
    let keep = if rng.below(4) == 0 { rng.below(whole) } else { whole };
    copy[..usize::try_from(keep).unwrap()].to_vec()
}

fn is_fair(came: &Result<Taken, Untaken>) -> bool {
    let Err(untaken) = came else { return true };
    matches!(untaken.why, Untaking::Damaged(Damage::Cut) | Untaking::Gap { .. })
}

#[test]
fn copies_in_any_order_again_and_cut_lose_no_sum_and_bring_nothing_back() {
    for_seeds(0..6, |seed| async move {
        let (one, other) = two(seed, DataType::Counter).await;
        let rng = Rng::seeded(seed ^ 0xc0b1);
        let mut files: Vec<Vec<Bytes>> = Vec::new();
        let (mut sum, mut gone) = (0, BTreeSet::new());
        for n in 0..120 {
            let (world, peer) = if rng.below(2) == 0 { (&one, &other) } else { (&other, &one) };
            let node = 1 + rng.below(2);
            match rng.below(8) {
                0..4 => {
                    world.add(node, &format!("k{}", rng.below(9)), 1).await;
                    sum += 1;
                }
                4 => {
                    let key = format!("doomed{n}");
                    world.add(node, &key, 5).await;
                    // Known elsewhere before it goes, sometimes.
                    files.push(export(world, node, &Vector::default()).await);
                    world.write(node, &key, Ask::Delete).await.unwrap();
                    gone.insert(key);
                }
                5 => {
                    let since = match rng.below(3) {
                        0 => Vector::default(),
                        _ => (*peer.shard(1 + rng.below(2)).vector()).clone(),
                    };
                    files.push(export(world, node, &since).await);
                }
                6 if !files.is_empty() => {
                    let file = &files[usize::try_from(rng.below(files.len() as u64)).unwrap()];
                    let came = import(world, node, &perhaps_cut(&rng, file)).await;
                    assert!(is_fair(&came), "{came:?}");
                }
                _ => world.trim(node),
            }
            world.pass(Duration::from_millis(rng.below(200))).await;
        }
        settle(&one, &other).await;
        for file in &files {
            let came = import(&one, 2, file).await;
            assert!(is_fair(&came), "{came:?}");
        }
        settle(&one, &other).await;
        for world in [&one, &other] {
            let total = (0..9).filter_map(|n| world.value(1, &format!("k{n}")));
            assert_eq!(total.map(|sum| sum.parse::<i64>().unwrap()).sum::<i64>(), sum);
            for key in &gone {
                assert_eq!(world.value(1, key), None, "{key} was deleted");
            }
        }
    });
}

#[test]
fn what_comes_in_at_one_node_is_at_the_others_at_once() {
    for_seeds(0..3, |seed| async move {
        let (one, other) = two(seed, DataType::Lww).await;
        for round in 0..3 {
            for n in 0..20 {
                one.put(1 + n % 2, &format!("r{round}k{n}"), "v").await;
            }
            one.converge().await;
            carry(&one, 1, &other, 2).await;
            other.pass(Duration::from_millis(400)).await;
            for node in 1..=3 {
                for n in 0..20 {
                    let value = other.value(node, &format!("r{round}k{n}"));
                    assert!(value.is_some(), "round {round}: node {node} lacks k{n}");
                }
            }
        }
        settle(&one, &other).await;
    });
}

#[test]
fn what_does_not_fit_is_refused_before_anything_is_taken() {
    for_seeds(0..1, |seed| async move {
        let (one, other) = two(seed, DataType::Lww).await;
        let sets = World::apart(seed, 1, 200, DataType::Set, Topology::Mesh).await;
        for n in 0..30 {
            one.put(1, &format!("k{n}"), "v").await;
        }
        let before = one.shard(1).vector();
        let all = export(&one, 1, &Vector::default()).await;
        one.put(1, "late", "v").await;
        let late = export(&one, 1, &before).await;
        let why = |came: Result<Taken, Untaken>| {
            let untaken = came.unwrap_err();
            assert!(!untaken.partly);
            untaken.why
        };
        assert!(matches!(why(import(&sets, 1, &all).await), Untaking::Type { .. }));
        let gap = why(import(&other, 1, &late).await);
        assert!(matches!(gap, Untaking::Gap { missing } if missing >= 30), "{gap}");
        let taken = import(&other, 1, &all).await.unwrap();
        assert_eq!((taken.known, taken.pages), (0, 0));
        assert!(import(&other, 1, &late).await.unwrap().applied >= 1);
        assert_eq!(import(&other, 1, &all).await.unwrap().applied, 0);
        assert_eq!(other.value(1, "late").as_deref(), Some("v"));
        until("it is everywhere", || other.value(3, "late").is_some()).await;
    });
}
