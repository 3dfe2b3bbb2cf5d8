//! State and log on one disk: what was acknowledged is there again, whenever the power goes.
//!
//! A small node without Raft: entries are appended, applied once they are durable, checkpoints are
//! written and the log is purged behind them. The power goes, or a sync fails, at every single sync
//! of that history; then the log is applied again from the checkpoint on.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::place::applied;
use crate::runtime::metrics::Metrics;
use crate::runtime::{Env, Rng};
use crate::storage::disk::SimDisk;
use crate::storage::log::{Entry, Log, LogMetrics, LogOptions, Mark};
use crate::storage::state::{State, StateMetrics, StateOptions};
use crate::storage::{Effect, StorageError};

const GROUPS: [u64; 2] = [1, 2];
const STEPS: u64 = 60;
const KEYS: u64 = 12;

/// What a group's first `index` entries come to; entries have the numbers from 1 on.
fn model(group: u64, index: u64) -> BTreeMap<Bytes, Bytes> {
    let mut rows = BTreeMap::new();
    for index in 1..=index {
        let Effect { key, value, .. } = effect(group, index);
        match value {
            Some(value) => rows.insert(key, value),
            None => rows.remove(&key),
        };
    }
    rows
}

/// The effect of an entry: a function of its place, as replicas need it.
fn effect(group: u64, index: u64) -> Effect {
    let key = format!("key {}", (index * 7 + group) % KEYS).into();
    let value = (!(index + group).is_multiple_of(5)).then(|| format!("{index:0>200}").into());
    Effect::plain(key, value)
}

struct Node {
    disk: SimDisk,
    log: Log,
    state: State,
    /// Last entry of each group that was said to be durable.
    acknowledged: Arc<Mutex<BTreeMap<u64, u64>>>,
}

impl Node {
    fn open(disk: &SimDisk, acknowledged: &BTreeMap<u64, u64>) -> Result<Self, StorageError> {
        let env = Env { rng: Arc::new(Rng::seeded(disk.syncs())), ..Env::system() };
        let metrics = Metrics::default();
        let options = LogOptions {
            segment_bytes: 16 * 1024,
            cache_bytes: 1024,
            segments_soft_max: 3,
            inline: true,
            ..LogOptions::default()
        };
        let shared = Arc::new(disk.clone());
        let log_metrics = LogMetrics::new(&metrics);
        let log = Log::open(shared.clone(), PathBuf::from("log"), options, &env, log_metrics)?;
        let (options, metrics) = (StateOptions::default(), StateMetrics::new(&metrics));
        let state = State::open(shared, None, options, &env, metrics, &|_| {})?;
        let acknowledged = Arc::new(Mutex::new(acknowledged.clone()));
        Ok(Self { disk: disk.clone(), log, state, acknowledged })
    }

    fn append(&self, group: u64, count: u64) -> Result<(), StorageError> {
        let state = self.log.state(group);
        let purged = state.purged.map_or(0, |mark| mark.index);
        let first = state.last_index.unwrap_or(purged) + 1;
        let last = first + count - 1;
        let content = |index| Bytes::from(format!("{group} {index:0>300}"));
        let entries = (first..=last).map(|index| Entry { index, bytes: content(index) }).collect();
        let acknowledged = self.acknowledged.clone();
        let done = move |result: Result<(), Arc<StorageError>>| {
            if result.is_ok() {
                acknowledged.lock().insert(group, last);
            }
        };
        self.log.append(group, entries, Box::new(done));
        self.drive()
    }

    fn drive(&self) -> Result<(), StorageError> {
        self.log.drive();
        let reason = self.log.poisoned();
        reason.map_or(Ok(()), |reason| Err(StorageError::Poisoned { reason }))
    }

    /// Applies what is in the log, reading each entry from it.
    fn apply(&self, group: u64, upto: u64) {
        let from = self.state.applied(group).map_or(0, |applied| applied.index) + 1;
        let mut next = from;
        while next <= upto {
            let entries = self.log.read(group, next, upto + 1, 2000).unwrap();
            assert_eq!(
                entries.first().map(|entry| entry.index),
                Some(next),
                "group {group}: a gap"
            );
            let apply = |applying: &mut crate::storage::state::Applying<'_>| {
                for Entry { index, bytes } in &entries {
                    assert_eq!(*bytes, format!("{group} {index:0>300}"));
                    applying.put_effects(*index, vec![effect(group, *index)]);
                    applying.set_applied(applied(*index));
                }
                Ok(())
            };
            self.state.apply(group, apply).unwrap();
            next += entries.len() as u64;
        }
    }

    fn purge(&self, group: u64) -> Result<(), StorageError> {
        let Some(checkpoint) = self.state.current_checkpoint(group) else { return Ok(()) };
        let index = checkpoint.applied().index;
        self.log.purge(group, Mark { index, bytes: Bytes::new() }, Box::new(|_result| {}));
        self.drive()
    }

    /// One step of a history that is the same for the same seed.
    fn step(&self, chance: &mut fastrand::Rng) -> Result<(), StorageError> {
        let group = GROUPS[chance.usize(..GROUPS.len())];
        match chance.u8(0..10) {
            0..6 => self.append(group, chance.u64(1..12)),
            6..8 => {
                let upto = self.acknowledged.lock().get(&group).copied().unwrap_or(0);
                self.apply(group, upto);
                Ok(())
            }
            _ if self.state.applied(group).is_some() => {
                self.state.checkpoint(group)?;
                self.purge(group)
            }
            _ => Ok(()),
        }
    }

    /// Applies the whole log again and compares with the model.
    fn check(&self, case: &str) {
        for group in GROUPS {
            let log = self.log.state(group);
            let base = self.state.applied(group).map_or(0, |applied| applied.index);
            let purged = log.purged.map_or(0, |mark| mark.index);
            assert!(purged <= base, "{case}: group {group} purged {purged} beyond {base}");
            if let Some(first) = log.first_index {
                assert!(first <= base + 1, "{case}: group {group}: a gap from {base} to {first}");
            }
            let last = log.last_index.unwrap_or(purged);
            let acknowledged = self.acknowledged.lock().get(&group).copied().unwrap_or(0);
            assert!(last >= acknowledged, "{case}: group {group}: {acknowledged} is lost");
            self.apply(group, last);
            // What is in the log counts as kept from here on: Raft tells the leader so.
            self.acknowledged.lock().insert(group, last);
            let everything = (Bound::Unbounded, Bound::Unbounded);
            let (rows, index) = self.state.scan(group, everything.0, everything.1, 1000).unwrap();
            assert_eq!(index, last, "{case}: group {group}");
            let rows: BTreeMap<_, _> = rows.into_iter().collect();
            assert_eq!(rows, model(group, last), "{case}: group {group} at {last}");
        }
    }

    fn end(self) -> (SimDisk, BTreeMap<u64, u64>) {
        (self.disk, self.acknowledged.lock().clone())
    }
}

#[derive(Clone, Copy, Debug)]
enum Fault {
    Cut,
    Error,
}

/// Runs a history until the fault; false if it ended before.
fn history(seed: u64, fault: Fault, nth: u64) -> bool {
    let case = format!("history {seed}, {fault:?} at sync {nth}");
    let disk = SimDisk::new();
    let node = Node::open(&disk, &BTreeMap::new()).unwrap();
    let at = disk.syncs() + nth;
    match fault {
        Fault::Cut => disk.die_at_sync(at),
        Fault::Error => disk.fail_sync(at),
    }
    let mut chance = fastrand::Rng::with_seed(seed);
    let failed = (0..STEPS).any(|_| node.step(&mut chance).is_err());
    let (disk, acknowledged) = node.end();
    let acknowledged = match fault {
        Fault::Cut => {
            disk.power_cut(nth);
            acknowledged
        }
        Fault::Error => {
            // No more faults, also where the history ended before this one.
            disk.fail_sync(u64::MAX);
            // The process is started again, serves and purges; only then the power goes.
            let node = Node::open(&disk, &acknowledged).unwrap();
            node.check(&format!("{case}, started again"));
            for group in GROUPS {
                node.purge(group).unwrap();
            }
            let (disk, acknowledged) = node.end();
            disk.power_cut(nth);
            acknowledged
        }
    };
    let node = Node::open(&disk, &acknowledged).unwrap();
    node.check(&format!("{case}, after the power cut"));
    // And it goes on from there.
    for _ in 0..STEPS / 3 {
        node.step(&mut chance).unwrap();
    }
    let (disk, acknowledged) = node.end();
    disk.power_cut(nth);
    Node::open(&disk, &acknowledged).unwrap().check(&format!("{case}, a life later"));
    failed
}

#[test]
fn log_and_checkpoints_leave_no_gap_at_any_power_cut() {
    for seed in 0..5 {
        let syncs = (1..).take_while(|nth| history(seed, Fault::Cut, *nth)).count();
        assert!(syncs > 50, "history {seed} made only {syncs} syncs");
    }
}

#[test]
fn log_and_checkpoints_leave_no_gap_after_a_failed_sync_a_start_and_a_power_cut() {
    for seed in 0..5 {
        let syncs = (1..).take_while(|nth| history(seed, Fault::Error, *nth)).count();
        assert!(syncs > 50, "history {seed} made only {syncs} syncs");
    }
}
