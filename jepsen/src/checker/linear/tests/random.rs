//! Random and exhaustive small histories: all ways must say what brute force says.
//!
//! A failing case prints its operations; `JUDGE_SEED` replays a run of the random tests, and
//! `JUDGE_CASES` says how many histories they try.

use proptest::prelude::*;

use super::brute::is_linearizable;
use super::{at, op};
use crate::checker::linear::ops::{Action, NIL, OPEN, Op, simplified};
use crate::checker::linear::smallest::smallest;
use crate::checker::linear::witness::{self, Finding};
use crate::checker::linear::words::{Limit, Outcome};
use crate::checker::linear::{Opinion, Ruling, jit, wgl};

fn never() -> bool {
    false
}

fn both(ops: &[Op]) -> (Outcome, Outcome) {
    within(ops, 1 << 22)
}

fn within(ops: &[Op], most: u64) -> (Outcome, Outcome) {
    (wgl::check(ops, &mut Limit::new(most, &never)), jit::check(ops, &mut Limit::new(most, &never)))
}

/// Holds everything against brute force; returns what that says.
fn agree(ops: &[Op]) -> bool {
    let truth = is_linearizable(ops);
    let simple = simplified(ops);
    for (what, ops) in [("as it is", ops), ("simplified", simple.as_slice())] {
        let (deep, just_in_time) = both(ops);
        assert_eq!(deep == Outcome::Linearizable, truth, "in depth, {what}: {ops:#?}");
        assert_eq!(just_in_time == Outcome::Linearizable, truth, "in time, {what}: {ops:#?}");
        assert_ne!(just_in_time, Outcome::Unfinished);
    }
    let witness = witness::check(&simple);
    assert!(witness != Finding::Proved || truth, "proved what is false: {ops:#?}");
    let (wgl, jit) = both(&simple);
    let ruling = Opinion { witness, wgl, jit }.ruling();
    assert_ne!(ruling, Ruling::Disagreement);
    assert_eq!(matches!(ruling, Ruling::Linearizable | Ruling::FalseWitness), truth);
    truth
}

/// The smallest failing part must fail too, and nothing in it may be left out.
fn shrinks(ops: &[Op]) {
    let refuted_at = match both(&simplified(ops)).1 {
        Outcome::Refuted(place) => place,
        other => panic!("{other:?}"),
    };
    for known in [refuted_at, None] {
        let kept = smallest(ops, known, &never);
        assert!(!is_linearizable(&kept), "{ops:#?} became {kept:#?}");
        for (place, left_out) in kept.iter().enumerate() {
            if matches!(left_out.action, Action::Read(_)) {
                let mut fewer = kept.clone();
                fewer.remove(place);
                assert!(is_linearizable(&fewer), "a read too many: {kept:#?}");
            }
        }
    }
}

fn seed() -> u64 {
    let given = std::env::var("JUDGE_SEED").ok().and_then(|text| text.parse().ok());
    let seed = given.unwrap_or_else(|| fastrand::Rng::new().u64(..));
    println!("replay with JUDGE_SEED={seed}");
    seed
}

fn cases(default: u64) -> u64 {
    let given = std::env::var("JUDGE_CASES").ok().and_then(|text| text.parse().ok());
    given.unwrap_or(default)
}

/// Intervals of so many operations by so many processes, some of them open for ever.
fn intervals(rng: &mut fastrand::Rng, count: usize, processes: usize) -> Vec<(usize, usize)> {
    let mut intervals: Vec<(usize, usize)> = Vec::new();
    let mut running: Vec<usize> = Vec::new();
    let mut now = 0;
    while intervals.len() < count || !running.is_empty() {
        now += 1;
        let begin = intervals.len() < count && running.len() < processes.max(1);
        if begin && (running.is_empty() || rng.bool()) {
            running.push(intervals.len());
            intervals.push((now, OPEN));
        } else {
            let done = running.swap_remove(rng.usize(..running.len()));
            if rng.u8(..6) > 0 {
                intervals[done].1 = now;
            }
        }
    }
    intervals
}

fn action(rng: &mut fastrand::Rng, values: u32) -> Action {
    let mut value = || rng.u32(..values);
    let (one, two) = (value(), value());
    match rng.u8(..5) {
        0 | 1 => Action::Read(one),
        2 => Action::Cas(one, two),
        _ => Action::Write(one),
    }
}

/// What a real register would have answered, each operation taking effect somewhere in its interval,
/// with the index at which it did.
fn truthful(rng: &mut fastrand::Rng, count: usize, processes: usize, unique: bool) -> Vec<Op> {
    let mut ops: Vec<(usize, Op)> = intervals(rng, count, processes)
        .into_iter()
        .map(|(call, ret)| {
            let latest = if ret == OPEN { call + rng.usize(1..12) } else { ret };
            // In thousandths, so that several find place between two events.
            (rng.usize(call * 1000 + 1..latest * 1000), op(call, ret, Action::Read(NIL)))
        })
        .collect();
    ops.sort_by_key(|(when, _)| *when);
    let (mut state, mut next, mut index) = (NIL, 0, 0);
    for (_, op) in &mut ops {
        next += 1;
        let fresh = if unique { next } else { rng.u32(..3) };
        op.action = match rng.u8(..5) {
            0 | 1 => Action::Read(state),
            2 => Action::Cas(state, fresh),
            3 if rng.bool() => Action::Write(NIL),
            _ => Action::Write(fresh),
        };
        index += u64::from(!matches!(op.action, Action::Read(_)));
        if op.ret != OPEN {
            *op = at(index, *op);
        }
        let took_effect = op.ret != OPEN || rng.bool();
        if took_effect {
            state = op.action.apply(state).expect("it was chosen to fit");
        }
    }
    let mut ops: Vec<Op> = ops.into_iter().map(|(_, op)| op).collect();
    ops.sort_by_key(|op| op.call);
    ops.retain(|op| op.ret != OPEN || !matches!(op.action, Action::Read(_)));
    ops
}

#[test]
fn every_history_of_three_operations_is_judged_as_by_brute_force() {
    let mut actions = Vec::new();
    for one in 0..3 {
        actions.extend([Action::Read(one), Action::Write(one)]);
    }
    actions.extend([Action::Cas(0, 1), Action::Cas(1, 2), Action::Cas(2, 1)]);
    // All ways in which three intervals can lie, each open or not, calls in their order.
    let mut shapes = Vec::new();
    for rets in 0..216_usize {
        let slots = [rets % 6, rets / 6 % 6, rets / 36];
        let call = |number: usize| number * 10 + 5;
        // A return before the second call, before the third, or after that; or never.
        let ret = |number: usize| match slots[number] {
            5 => Some(OPEN),
            slot if slot * 10 + number + 6 > call(number) => Some(slot * 10 + number + 6),
            _ => None,
        };
        if let (Some(one), Some(two), Some(three)) = (ret(0), ret(1), ret(2)) {
            shapes.push([(call(0), one), (call(1), two), (call(2), three)]);
        }
    }
    let mut good = 0_u64;
    for shape in shapes {
        for number in 0..actions.len().pow(3) {
            let pick = |place: u32| actions[number / actions.len().pow(place) % actions.len()];
            let ops: Vec<Op> = shape
                .iter()
                .zip(0..)
                .map(|((call, ret), place)| op(*call, *ret, pick(place)))
                .collect();
            good += u64::from(agree(&ops));
        }
    }
    assert!(good > 1_000, "{good}");
}

#[test]
fn random_histories_of_up_to_six_operations_are_judged_as_by_brute_force() {
    let mut rng = fastrand::Rng::with_seed(seed());
    let (mut good, mut bad) = (0_u64, 0_u64);
    for _ in 0..cases(40_000) {
        let (count, processes) = (rng.usize(1..=6), rng.usize(1..=4));
        let values = rng.u32(1..=4);
        let ops: Vec<Op> = intervals(&mut rng, count, processes)
            .into_iter()
            .map(|(call, ret)| op(call, ret, action(&mut rng, values)))
            .collect();
        if agree(&ops) {
            good += 1;
        } else {
            bad += 1;
            if bad.is_multiple_of(8) {
                shrinks(&ops);
            }
        }
    }
    assert!(good > 0 && bad > 0, "{good} good and {bad} bad histories");
}

#[test]
fn truthful_histories_pass_in_all_three_ways() {
    let mut rng = fastrand::Rng::with_seed(seed());
    for _ in 0..cases(2_000) {
        let unique = rng.bool();
        let (count, processes) = (rng.usize(1..60), rng.usize(1..6));
        let ops = simplified(&truthful(&mut rng, count, processes, unique));
        let (deep, just_in_time) = both(&ops);
        assert_eq!(deep, Outcome::Linearizable, "{ops:#?}");
        assert_eq!(just_in_time, Outcome::Linearizable, "{ops:#?}");
        let witness = witness::check(&ops);
        assert!(!matches!(witness, Finding::Contradicted { .. }), "{witness:#?} of {ops:#?}");
        if unique && ops.iter().any(|op| op.end == Some(op.ret)) {
            assert_eq!(witness, Finding::Proved, "{ops:#?}");
        }
    }
}

/// A way to falsify a history.
fn mutate(rng: &mut fastrand::Rng, ops: &mut Vec<Op>) {
    let (one, two) = (rng.usize(..ops.len()), rng.usize(..ops.len()));
    match rng.u8(..4) {
        // Swap: two answers are given to each other's askers.
        0 => {
            let (first, second) = (ops[one], ops[two]);
            (ops[one].action, ops[one].witness) = (second.action, second.witness);
            (ops[two].action, ops[two].witness) = (first.action, first.witness);
        }
        // Drop: an operation vanishes.
        1 => drop(ops.remove(one)),
        // Stale: a read answers what another one answered.
        2 => {
            if let (Action::Read(_), Some(value)) = (ops[one].action, ops[two].action.produces()) {
                ops[one].action = Action::Read(value);
            }
        }
        // The server lies about a place.
        _ => ops[one].witness = ops[two].witness,
    }
}

#[test]
fn mutated_histories_are_rejected_exactly_when_brute_force_rejects_them() {
    let mut rng = fastrand::Rng::with_seed(seed());
    let (mut good, mut bad) = (0_u64, 0_u64);
    for _ in 0..cases(20_000) {
        let unique = rng.u8(..3) > 0;
        let (count, processes) = (rng.usize(2..=6), rng.usize(1..=4));
        let mut ops = truthful(&mut rng, count, processes, unique);
        if ops.is_empty() {
            continue;
        }
        mutate(&mut rng, &mut ops);
        if agree(&ops) {
            good += 1;
        } else {
            bad += 1;
        }
    }
    assert!(good > 0 && bad > 0, "{good} good and {bad} bad histories");
}

fn actions() -> impl Strategy<Value = Action> {
    prop_oneof![
        (0_u32..4).prop_map(Action::Read),
        (0_u32..4).prop_map(Action::Write),
        (0_u32..4, 0_u32..4).prop_map(|(old, new)| Action::Cas(old, new)),
    ]
}

proptest! {
    #[test]
    fn the_three_ways_agree(
        actions in prop::collection::vec((actions(), 1_usize..12, any::<bool>(), 0_u64..8), 1..7),
    ) {
        let ops: Vec<Op> = actions
            .into_iter()
            .zip(1_usize..)
            .map(|((action, length, open, index), place)| {
                // Calls at even places, returns at odd ones.
                let ret = if open && length > 8 { OPEN } else { place * 8 + length * 4 + 1 };
                at(index, op(place * 8, ret, action))
            })
            .collect();
        agree(&ops);
    }

    #[test]
    fn longer_histories_are_never_disputed(
        seed in any::<u64>(), count in 1_usize..200, unique in any::<bool>(), mutations in 0_u8..3,
    ) {
        let mut rng = fastrand::Rng::with_seed(seed);
        let processes = rng.usize(1..8);
        let mut ops = truthful(&mut rng, count, processes, unique);
        for _ in 0..mutations {
            if !ops.is_empty() {
                mutate(&mut rng, &mut ops);
            }
        }
        let ops = simplified(&ops);
        let (wgl, jit) = within(&ops, 10_000);
        let ruling = Opinion { witness: witness::check(&ops), wgl, jit }.ruling();
        prop_assert_ne!(ruling, Ruling::Disagreement, "{:#?}", ops);
    }
}
