//! The faults of a plan, each begun and ended in its time.
//!
//! Promises: when `run` returns, nothing is wrong any more and every node has been started.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tetrarch::model::{GroupId, NodeId};
use tokio::time::{sleep, sleep_until};

use super::plan::{Death, Fault, Kind, Target};
use super::world::World;

/// Lets all faults of the plan happen, then mends everything.
pub async fn run(world: &Arc<World>) {
    let begin = tokio::time::Instant::now();
    for fault in world.plan.faults.clone() {
        sleep_until(begin + fault.at).await;
        if world.over.is_cancelled() {
            return;
        }
        world.trace.say(&format!("fault {fault}"));
        let world = Arc::clone(world);
        drop(tokio::spawn(async move { happen(&world, &fault).await }));
    }
    // The last ones end at the same time as all.
    sleep_until(begin + world.plan.lasts + Duration::from_millis(200)).await;
    mend(world);
}

/// Ends every fault; those still under way mend nothing worse later.
pub fn mend(world: &Arc<World>) {
    world.trace.say("all is mended");
    world.network.heal_all();
    for id in 1..=world.plan.nodes {
        world.set_slow(id, None);
        world.disk(id).set_budget(None);
        world.start_node(id);
    }
}

async fn happen(world: &Arc<World>, fault: &Fault) {
    let lasts = fault.lasts;
    match &fault.kind {
        Kind::Partition(side) => {
            let other: Vec<u64> = (1..=world.plan.nodes).filter(|id| !side.contains(id)).collect();
            let across = |from: &[u64], to: &[u64]| -> Vec<(u64, u64)> {
                from.iter().flat_map(|a| to.iter().map(move |b| (*a, *b))).collect()
            };
            let mut pairs = across(side, &other);
            pairs.extend(across(&other, side));
            cut(world, &pairs, lasts).await;
        }
        Kind::Isolate(target) => {
            let Some(id) = world.resolve(*target) else { return };
            let pairs = others(world, id).flat_map(|other| [(id, other), (other, id)]);
            cut(world, &pairs.collect::<Vec<_>>(), lasts).await;
        }
        Kind::OneWay(from, to) => cut(world, &[(*from, *to)], lasts).await,
        Kind::Mute(target) => {
            let Some(id) = world.resolve(*target) else { return };
            let pairs = others(world, id).map(|other| (id, other));
            cut(world, &pairs.collect::<Vec<_>>(), lasts).await;
        }
        Kind::Slow(from, to, time) => {
            let (from, to) = (NodeId(*from), NodeId(*to));
            world.network.set_slow(from, to, Some((*time / 2, *time)));
            sleep(lasts).await;
            world.network.set_slow(from, to, None);
        }
        Kind::Loss(per_million) => {
            world.network.set_loss(*per_million);
            sleep(lasts).await;
            world.network.set_loss(0);
        }
        Kind::HandOver(group, to) => hand_over(world, *group, *to).await,
        Kind::WallJump(id, ms) => world.wall_off(*id).store(*ms, Ordering::Relaxed),
        Kind::Crash(..) | Kind::CrashAll(..) => crash(world, fault).await,
        Kind::SlowSync(..) | Kind::FailSync(..) | Kind::FullDisk(..) => disk(world, fault).await,
    }
}

async fn crash(world: &Arc<World>, fault: &Fault) {
    match &fault.kind {
        Kind::Crash(target, death) => {
            let Some(id) = world.resolve(*target) else { return };
            world.crash(id, *death);
            sleep(fault.lasts).await;
            if matches!(death, Death::MidWrite(_)) {
                // The trap may not have been stepped on; then this is a plain crash.
                world.crash(id, Death::Power);
                world.disk(id).die_at_operation(u64::MAX);
                world.no_excuse(id, "mid write");
                sleep(Duration::from_millis(50)).await;
            }
            world.start_node(id);
        }
        Kind::CrashAll(death) => {
            for id in 1..=world.plan.nodes {
                world.crash(id, *death);
            }
            sleep(fault.lasts).await;
            for id in 1..=world.plan.nodes {
                world.start_node(id);
            }
        }
        _ => {}
    }
}

async fn disk(world: &Arc<World>, fault: &Fault) {
    match &fault.kind {
        Kind::SlowSync(target, time) => {
            let Some(id) = world.resolve(*target) else { return };
            world.set_slow(id, Some(*time));
            sleep(fault.lasts).await;
            world.set_slow(id, None);
        }
        Kind::FailSync(target) => {
            let Some(id) = world.resolve(*target) else { return };
            world.excuse(id, "failing sync");
            let disk = world.disk(id);
            disk.fail_sync(disk.syncs() + 1);
            sleep(fault.lasts).await;
            disk.fail_sync(u64::MAX);
            world.no_excuse(id, "failing sync");
            world.start_node(id);
        }
        Kind::FullDisk(target, bytes) => {
            let Some(id) = world.resolve(*target) else { return };
            world.excuse(id, "full disk");
            world.disk(id).set_budget(Some(*bytes));
            sleep(fault.lasts).await;
            world.disk(id).set_budget(None);
            world.no_excuse(id, "full disk");
            world.start_node(id);
        }
        _ => {}
    }
}

fn others(world: &World, id: u64) -> impl Iterator<Item = u64> {
    (1..=world.plan.nodes).filter(move |other| *other != id)
}

async fn cut(world: &World, pairs: &[(u64, u64)], lasts: Duration) {
    for (from, to) in pairs {
        world.network.cut(NodeId(*from), NodeId(*to));
    }
    sleep(lasts).await;
    for (from, to) in pairs {
        world.network.heal(NodeId(*from), NodeId(*to));
    }
}

async fn hand_over(world: &World, group: u64, to: u64) {
    let Some(leader) = world.resolve(Target::LeaderOf(group)) else { return };
    let Some(node) = world.life(leader).and_then(|life| life.up()) else { return };
    let Some(group) = node.groups().group(GroupId(group)) else { return };
    let taken = group.hand_over(NodeId(to)).await;
    world.trace.say(&format!("group {} handed to node {to}: {taken}", group.id()));
}
