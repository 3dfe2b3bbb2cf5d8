//! Random transactions against brute force: every order of every choice of them.
//!
//! `JUDGE_SEED` replays a run, `JUDGE_CASES` says how many histories it tries.

use std::collections::BTreeMap;

use super::judged;
use crate::verdict::Validity;

/// A micro-operation: key, and an element to append or the list that was read.
#[derive(Clone, Debug)]
enum Micro {
    Append(usize, u64),
    Read(usize, Vec<u64>),
}

#[derive(Clone, Debug)]
struct Txn {
    call: u64,
    ret: u64,
    kind: &'static str,
    micros: Vec<Micro>,
}

type State = BTreeMap<usize, Vec<u64>>;

/// The state after a transaction, if that is possible from this one.
fn apply(state: &State, txn: &Txn) -> Option<State> {
    let mut state = state.clone();
    for micro in &txn.micros {
        match micro {
            Micro::Append(key, element) => state.entry(*key).or_default().push(*element),
            Micro::Read(key, list) if txn.kind == "ok" => {
                let held = state.get(key).map_or(&[][..], Vec::as_slice);
                if held != list.as_slice() {
                    return None;
                }
            }
            Micro::Read(..) => {}
        }
    }
    Some(state)
}

/// Whether some order of those that succeeded and some of the unknown explains everything.
fn is_strictly_serializable(txns: &[Txn], done: &mut Vec<usize>, state: &State) -> bool {
    let left = |done: &[usize], number: usize| !done.contains(&number);
    if (0..txns.len()).all(|number| !left(done, number) || txns[number].kind != "ok") {
        return true;
    }
    (0..txns.len()).any(|number| {
        let txn = &txns[number];
        // One that is left and had returned before this one was called would have to be first.
        let late = (0..txns.len()).any(|other| {
            left(done, other) && txns[other].kind == "ok" && txns[other].ret < txn.call
        });
        if !left(done, number) || txn.kind == "fail" || late {
            return false;
        }
        let Some(state) = apply(state, txn) else { return false };
        done.push(number);
        let found = is_strictly_serializable(txns, done, &state);
        done.pop();
        found
    })
}

/// Transactions that took effect one after the other, somewhere between their calls and returns.
fn truthful(rng: &mut fastrand::Rng, count: usize) -> Vec<Txn> {
    let mut state = State::new();
    let mut element = 0;
    let mut txns = Vec::new();
    for place in 0..count {
        let mut micros = Vec::new();
        for _ in 0..rng.usize(1..=2) {
            let key = rng.usize(..2);
            if rng.bool() {
                element += 1;
                micros.push(Micro::Append(key, element));
            } else {
                micros.push(Micro::Read(key, Vec::new()));
            }
        }
        let kind = ["ok", "ok", "ok", "ok", "info", "fail"][rng.usize(..6)];
        if kind == "ok" || (kind == "info" && rng.bool()) {
            for micro in &mut micros {
                match micro {
                    Micro::Append(key, element) => state.entry(*key).or_default().push(*element),
                    Micro::Read(key, list) => {
                        *list = state.get(key).cloned().unwrap_or_default();
                    }
                }
            }
        }
        // It takes effect at 100 times its place; events are all at different times.
        let at = u64::try_from(place).unwrap() * 100 + 500;
        let (call, ret) = (at - rng.u64(1..300), at + rng.u64(1..300));
        txns.push(Txn { call: call * 16, ret: ret * 16 + 8, kind, micros });
    }
    txns
}

fn mutate(rng: &mut fastrand::Rng, txns: &mut [Txn]) {
    let txn = rng.usize(..txns.len());
    let lists: Vec<Vec<u64>> = txns
        .iter()
        .flat_map(|txn| &txn.micros)
        .filter_map(
            |micro| if let Micro::Read(_, list) = micro { Some(list.clone()) } else { None },
        )
        .collect();
    match rng.u8(..3) {
        0 => txns[txn].kind = "ok",
        1 => txns[txn].kind = "fail",
        _ => {
            for micro in &mut txns[txn].micros {
                if let Micro::Read(_, list) = micro {
                    match rng.u8(..4) {
                        0 => drop(list.pop()),
                        1 => list.reverse(),
                        2 if !lists.is_empty() => list.clone_from(&lists[rng.usize(..lists.len())]),
                        _ => list.clear(),
                    }
                }
            }
        }
    }
}

/// A last transaction that reads both lists, so that all that happened was seen.
fn with_last(mut txns: Vec<Txn>) -> Vec<Txn> {
    let mut longest: [Vec<u64>; 2] = Default::default();
    for micro in txns.iter().filter(|txn| txn.kind == "ok").flat_map(|txn| &txn.micros) {
        if let Micro::Read(key, list) = micro
            && list.len() > longest[*key].len()
        {
            longest[*key].clone_from(list);
        }
    }
    let micros = longest.into_iter().enumerate().map(|(key, list)| Micro::Read(key, list));
    txns.push(Txn { call: 1 << 40, ret: 1 << 41, kind: "ok", micros: micros.collect() });
    txns
}

fn verdict(txns: &[Txn]) -> Validity {
    let micros: Vec<String> = txns
        .iter()
        .map(|txn| {
            let micros = txn.micros.iter().map(|micro| match micro {
                Micro::Append(key, element) => format!("[:append {key} {element}]"),
                Micro::Read(key, list) => format!("[:r {key} {list:?}]"),
            });
            format!("[{}]", micros.collect::<Vec<_>>().join(" "))
        })
        .collect();
    let told: Vec<super::Txn<'_>> = txns
        .iter()
        .zip(&micros)
        .zip(0_u64..)
        .map(|((txn, micros), process)| {
            (process, txn.call + process, txn.ret + process, txn.kind, micros.as_str())
        })
        .collect();
    judged(&told).validity
}

#[test]
fn random_transactions_are_judged_as_by_brute_force() {
    let given = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seed = given("JUDGE_SEED").unwrap_or_else(|| fastrand::Rng::new().u64(..));
    println!("replay with JUDGE_SEED={seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let (mut good, mut bad) = (0_u64, 0_u64);
    for _ in 0..given("JUDGE_CASES").unwrap_or(3_000) {
        let count = rng.usize(1..=6);
        let mut txns = truthful(&mut rng, count);
        if rng.bool() {
            mutate(&mut rng, &mut txns);
        }
        let txns = if rng.bool() { with_last(txns) } else { txns };
        let truth = is_strictly_serializable(&txns, &mut Vec::new(), &State::new());
        match verdict(&txns) {
            Validity::Invalid => assert!(!truth, "a false alarm: {txns:#?}"),
            Validity::Valid => assert!(truth, "missed: {txns:#?}"),
            Validity::Unknown => {}
        }
        if truth {
            good += 1;
        } else {
            bad += 1;
        }
    }
    assert!(good > 0 && bad > 0, "{good} good and {bad} bad histories");
}
