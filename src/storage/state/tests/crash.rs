//! Power cuts and failed syncs at every sync of what replaces a group's state.
//!
//! Each case is run anew for every sync that it makes: once the power goes there, once the sync
//! fails, the process is started again, and then the power goes. What is found must be one of the
//! whole states that the case allows, and what a start has shown must not be taken back later: a
//! caller purges its log behind it.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::place::{applied, put, send, transfer};
use crate::runtime::Env;
use crate::runtime::metrics::Metrics;
use crate::storage::disk::SimDisk;
use crate::storage::state::open::{take_marker, write_marker};
use crate::storage::state::{State, StateMetrics, StateOptions};
use crate::storage::{Disk, OpenMode, StorageError};

/// Power cuts of one moment differ in what of the unsynced they keep.
const SEEDS: u64 = 6;

type Outcome = Result<(), StorageError>;

/// Applied index and rows; index 0 for a group without state.
type Whole = (u64, BTreeMap<Bytes, Bytes>);

fn open(disk: &SimDisk) -> State {
    let metrics = StateMetrics::new(&Metrics::default());
    let (disk, options) = (Arc::new(disk.clone()), StateOptions::default());
    State::open(disk, None, options, &Env::system(), metrics, &|_| {}).unwrap()
}

fn whole(state: &State, group: u64) -> Whole {
    let (rows, index) = state.scan(group, Bound::Unbounded, Bound::Unbounded, 10_000).unwrap();
    assert_eq!(state.applied(group), (index > 0).then(|| applied(index)));
    for (key, value) in &rows {
        assert_eq!(state.get(group, key).unwrap().value.as_ref(), Some(value));
    }
    (index, rows.into_iter().collect())
}

/// 300 rows in several blocks, every value naming its round; a third are removed by later rounds.
fn round(state: &State, group: u64, round: u64) {
    for key in 0..300u64 {
        let value = format!("value of round {round} for {key}, long enough to fill some blocks");
        let value = (!(key + round).is_multiple_of(3)).then_some(&value[..]);
        put(state, group, 300 * (round - 1) + key + 1, &format!("key {key:04}"), value);
    }
}

/// What the case starts with: two groups with a checkpoint, and newer changes in memory.
fn prepare(disk: &SimDisk) -> State {
    let state = open(disk);
    for group in [1, 2] {
        round(&state, group, 1);
        state.checkpoint(group).unwrap();
    }
    round(&state, 1, 2);
    state
}

fn at_round(number: u64) -> Whole {
    let disk = SimDisk::new();
    let state = open(&disk);
    (1..=number).for_each(|number| round(&state, 1, number));
    whole(&state, 1)
}

/// Only the current checkpoint of each group stands there.
fn check_files(disk: &SimDisk, state: &State) {
    for group in [1, 2] {
        let dir = format!("checkpoints/g{group}");
        let names = disk.list(Path::new(&dir)).unwrap();
        let current = state.current_checkpoint(group).map(|c| c.path());
        let expected: Vec<_> = current.iter().filter_map(|path| path.file_name()).collect();
        assert_eq!(names, expected, "group {group}");
    }
}

fn check(disk: &SimDisk, allowed: &[&Whole], case: &str) -> Whole {
    let state = open(disk);
    let found = whole(&state, 1);
    assert!(allowed.contains(&&found), "{case}: a mixture at index {}", found.0);
    assert_eq!(whole(&state, 2), at_round(1), "{case}: the other group");
    check_files(disk, &state);
    found
}

/// Runs `act` once for each of its syncs and each fault; `new` is what it makes of `old`.
fn at_every_sync(old: &Whole, new: &Whole, act: impl Fn(&State) -> Outcome) {
    let mut cases = 0;
    'syncs: for nth in 1.. {
        for seed in 0..SEEDS {
            let case = format!("power cut at sync {nth}, seed {seed}");
            let disk = SimDisk::new();
            let state = prepare(&disk);
            disk.die_at_sync(disk.syncs() + nth);
            let done = act(&state);
            drop(state);
            disk.power_cut(seed);
            let allowed = if done.is_ok() { vec![new] } else { vec![old, new] };
            let found = check(&disk, &allowed, &case);
            disk.power_cut(seed);
            check(&disk, &[&found], &format!("{case}, then again"));
            if done.is_ok() {
                break 'syncs;
            }
            cases += 1;
        }
        for seed in 0..SEEDS {
            let case = format!("error at sync {nth}, seed {seed}");
            let disk = SimDisk::new();
            let state = prepare(&disk);
            let before = state.current_checkpoint(1).unwrap().path();
            disk.fail_sync(disk.syncs() + nth);
            act(&state).expect_err("a failed sync is reported");
            if let Some(current) = state.current_checkpoint(1) {
                assert_eq!(current.path(), before, "{case}: the old one stays in force");
            }
            drop(state);
            let found = check(&disk, &[old, new], &format!("{case}, started again"));
            disk.power_cut(seed);
            check(&disk, &[&found], &format!("{case}, started again, power cut"));
        }
    }
    assert!(cases > 0, "the case makes syncs");
}

#[test]
fn a_checkpoint_is_old_or_new_at_every_power_cut_and_failed_sync() {
    at_every_sync(&at_round(1), &at_round(2), |state| state.checkpoint(1).map(drop));
}

#[test]
fn an_install_is_old_or_new_at_every_power_cut_and_failed_sync() {
    let elsewhere = SimDisk::new();
    let sender = open(&elsewhere);
    (1..=3).for_each(|number| round(&sender, 1, number));
    let checkpoint = sender.checkpoint(1).unwrap();
    at_every_sync(&at_round(1), &at_round(3), |state| {
        state.install(1, transfer(&checkpoint, state.receive(1)?)?)
    });
}

#[test]
fn a_dropped_group_is_whole_or_gone_at_every_power_cut_and_failed_sync() {
    at_every_sync(&at_round(1), &(0, BTreeMap::new()), |state| state.drop_group(1));
}

#[test]
fn a_state_that_failed_to_sync_takes_nothing_more() {
    let disk = SimDisk::new();
    let state = prepare(&disk);
    disk.fail_sync(disk.syncs() + 1);
    state.checkpoint(1).unwrap_err();
    assert!(state.checkpoint(1).is_err(), "not tried again in place");
    assert!(state.apply(1, |_| Ok(())).is_err());
    assert!(state.close().is_err());
    assert_eq!(whole(&state, 1), at_round(2), "reads go on until the node has stopped");
}

#[test]
fn a_full_disk_leaves_the_old_checkpoint_and_a_restart_gives_the_room_back() {
    let disk = SimDisk::new();
    let state = prepare(&disk);
    disk.set_budget(Some(1000));
    assert!(matches!(state.checkpoint(1), Err(StorageError::Full { .. })));
    drop(state);
    assert_eq!(check(&disk, &[&at_round(1)], "full disk"), at_round(1));
    disk.set_budget(None);
    let state = open(&disk);
    round(&state, 1, 2);
    state.checkpoint(1).unwrap();
    drop(state);
    check(&disk, &[&at_round(2)], "room again");
}

/// The index is sled's and keeps all it was given; the checkpoints and the marker are on a disk that
/// loses its power at each sync of the stop.
#[test]
fn a_close_that_is_cut_short_is_a_clean_stop_or_none() {
    let files = tempfile::tempdir().unwrap();
    for nth in 1.. {
        let root = files.path().join(nth.to_string());
        let disk = SimDisk::new();
        let on_sled = || {
            let metrics = StateMetrics::new(&Metrics::default());
            let options = StateOptions { index_cache_bytes: 16 << 20, ..Default::default() };
            let disk = Arc::new(disk.clone());
            State::open(disk, Some(root.clone()), options, &Env::system(), metrics, &|_| {})
        };
        let state = on_sled().unwrap();
        round(&state, 1, 1);
        state.checkpoint(1).unwrap();
        round(&state, 1, 2);
        disk.die_at_sync(disk.syncs() + nth);
        let done = state.close();
        drop(state);
        disk.power_cut(nth);
        let state = on_sled().unwrap();
        match (done.is_ok(), state.rebuilt()) {
            (_, None) => assert_eq!(whole(&state, 1), at_round(2)),
            (false, Some(_)) => assert_eq!(whole(&state, 1), at_round(1)),
            (true, Some(rebuilt)) => panic!("a clean stop is not believed: {rebuilt:?}"),
        }
        if done.is_ok() {
            assert!(nth > 2, "the marker's file and its directory are synced");
            return;
        }
    }
}

#[test]
fn a_clean_marker_is_whole_or_missing_and_counts_once_at_every_power_cut() {
    for seed in 0..20 {
        for nth in 1..=3 {
            let disk = SimDisk::new();
            disk.die_at_sync(nth);
            let written = write_marker(&disk, 7);
            disk.power_cut(seed);
            match take_marker(&disk).unwrap() {
                Ok(generation) => assert_eq!(generation, 7),
                Err(reason) => {
                    assert!(reason.contains("did not stop cleanly"), "{reason}");
                    written.unwrap_err();
                }
            }
            disk.power_cut(seed);
            take_marker(&disk).unwrap().unwrap_err();
        }
    }
}

#[test]
fn a_file_that_is_received_when_the_power_goes_leaves_nothing() {
    for seed in 0..SEEDS {
        let disk = SimDisk::new();
        let state = prepare(&disk);
        let checkpoint = state.checkpoint(1).unwrap();
        let mut receiver = state.receive(1).unwrap();
        receiver.write(&checkpoint.open().unwrap().read(5000).unwrap().unwrap()).unwrap();
        disk.sync_dir(Path::new("checkpoints/g1")).unwrap();
        disk.die_at_sync(disk.syncs() + 1);
        receiver.finish().unwrap_err();
        drop((state, checkpoint));
        disk.power_cut(seed);
        assert!(disk.list(Path::new("checkpoints/g1")).unwrap().len() > 1);
        check(&disk, &[&at_round(2)], "received in part");
    }
}

#[test]
fn a_checkpoint_torn_behind_a_lying_disk_refuses_to_open() {
    let disk = SimDisk::new();
    let state = prepare(&disk);
    let path = state.current_checkpoint(1).unwrap().path();
    drop(state);
    let file = disk.open(&path, OpenMode::ReadWrite).unwrap();
    file.set_len(file.len().unwrap() / 2).unwrap();
    let metrics = StateMetrics::new(&Metrics::default());
    let (disk, options) = (Arc::new(disk.clone()), StateOptions::default());
    let opened = State::open(disk, None, options, &Env::system(), metrics, &|_| {});
    assert!(matches!(opened, Err(StorageError::Corrupt { path: named, .. }) if named == path));
}

#[test]
fn an_install_over_a_group_that_was_dropped_starts_a_new_life() {
    let disk = SimDisk::new();
    let state = prepare(&disk);
    let elsewhere = SimDisk::new();
    let sender = open(&elsewhere);
    round(&sender, 1, 1);
    let checkpoint = sender.checkpoint(1).unwrap();
    state.checkpoint(1).unwrap();
    state.drop_group(1).unwrap();
    send(&checkpoint, &state);
    drop(state);
    for seed in 0..SEEDS {
        disk.power_cut(seed);
        check(&disk, &[&at_round(1)], "installed again, older than before");
    }
}
