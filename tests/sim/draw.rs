//! Which faults a seed draws.
//!
//! Promises: the same dice draw the same faults; a quarter of the seeds has few of them, so that a calm
//! cluster is looked at as well.

use std::time::Duration;

use super::plan::{Death, Fault, Kind, Plan, Target, pick};

/// What a seed may switch on.
const KINDS: usize = 13;

/// The faults of a run.
pub fn draw_faults(plan: &Plan, dice: &mut fastrand::Rng) -> Vec<Fault> {
    let mut on: Vec<usize> = (0..KINDS).filter(|_| dice.u8(0..10) < 4).collect();
    if on.is_empty() {
        on.push(dice.usize(0..KINDS));
    }
    let apart = *pick(dice, &[400, 900, 1_800, 4_000]);
    let mut faults = Vec::new();
    let mut at = Duration::from_millis(500);
    while at < plan.lasts {
        let lasts = Duration::from_millis(match dice.u8(0..10) {
            0..=4 => dice.u64(50..800),
            5..=8 => dice.u64(800..3_000),
            _ => dice.u64(3_000..7_000),
        });
        // The end belongs to the mending.
        let lasts = lasts.min(plan.lasts - at);
        let kind = draw(plan, *pick(dice, &on), dice);
        faults.push(Fault { number: faults.len(), at, lasts, kind });
        at += Duration::from_millis(dice.u64(1..2 * apart));
    }
    faults
}

fn draw(plan: &Plan, which: usize, dice: &mut fastrand::Rng) -> Kind {
    let node = |dice: &mut fastrand::Rng| dice.u64(1..=plan.nodes);
    let pair = |dice: &mut fastrand::Rng| {
        let from = dice.u64(1..=plan.nodes);
        (from, (from + dice.u64(1..plan.nodes) - 1) % plan.nodes + 1)
    };
    match which {
        0 => {
            let mut all: Vec<u64> = (1..=plan.nodes).collect();
            dice.shuffle(&mut all);
            all.truncate(dice.usize(1..all.len()));
            all.sort_unstable();
            Kind::Partition(all)
        }
        1 => Kind::Isolate(target(plan, dice)),
        2 => {
            let (from, to) = pair(dice);
            Kind::OneWay(from, to)
        }
        3 => Kind::Mute(target(plan, dice)),
        4 => {
            let (from, to) = pair(dice);
            Kind::Slow(from, to, Duration::from_millis(dice.u64(20..800)))
        }
        5 => Kind::Loss(*pick(dice, &[200, 2_000, 20_000])),
        6 => Kind::Crash(target(plan, dice), Death::Kill),
        7 => Kind::Crash(target(plan, dice), death(dice)),
        8 => Kind::CrashAll(*pick(dice, &[Death::Kill, Death::Power])),
        9 => Kind::SlowSync(target(plan, dice), Duration::from_millis(dice.u64(20..600))),
        10 => Kind::FailSync(target(plan, dice)),
        11 => Kind::FullDisk(target(plan, dice), dice.u64(0..60_000)),
        _ if dice.bool() => Kind::HandOver(dice.u64(0..=plan.groups), node(dice)),
        _ => Kind::WallJump(node(dice), dice.i64(-100_000..100_000)),
    }
}

fn target(plan: &Plan, dice: &mut fastrand::Rng) -> Target {
    if dice.bool() {
        Target::Node(dice.u64(1..=plan.nodes))
    } else {
        Target::LeaderOf(dice.u64(0..=plan.groups))
    }
}

fn death(dice: &mut fastrand::Rng) -> Death {
    if dice.bool() { Death::Power } else { Death::MidWrite(dice.u64(1..40)) }
}
