//! The power goes at every single operation of a workload of all kinds, and again while the log is
//! opened; a restart must find a prefix of what was asked, with all that was acknowledged in it.
//!
//! A failure names the cut and the seed; `cut_at(workload seed, cut, tear seed)` replays it.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::expected::Expected;
use super::{Entry, Flushed, Log, SimDisk, mark, open, try_open};

const GROUPS: u64 = 4;

/// A commit mark or note that was asked for, and after how many changes.
#[derive(Clone)]
struct Lazy {
    /// A group, or `GROUPS` and more: a note.
    key: u64,
    after: usize,
    value: Option<Bytes>,
}

/// Asks for changes and remembers what the log held after each.
struct Workload {
    rng: fastrand::Rng,
    versions: Vec<Expected>,
    lazies: Vec<Lazy>,
    /// The lazies up to here are durable.
    lazies_durable: usize,
    acknowledged: Arc<Mutex<usize>>,
    asked: u64,
}

impl Workload {
    fn new(seed: u64) -> Self {
        Self {
            rng: fastrand::Rng::with_seed(seed),
            versions: vec![Expected::default()],
            lazies: Vec::new(),
            lazies_durable: 0,
            acknowledged: Arc::default(),
            asked: 0,
        }
    }

    fn last(&self) -> &Expected {
        self.versions.last().unwrap()
    }

    fn version(&mut self, change: impl FnOnce(&mut Expected)) {
        let mut next = self.last().clone();
        change(&mut next);
        self.versions.push(next);
    }

    /// To be called once the change is the last version.
    fn told(&self) -> Flushed {
        let version = self.versions.len() - 1;
        let acknowledged = Arc::clone(&self.acknowledged);
        Box::new(move |result| {
            if result.is_ok() {
                *acknowledged.lock() = version;
            }
        })
    }

    fn bytes(&mut self, len: usize) -> Bytes {
        self.asked += 1;
        Bytes::from(self.asked.to_le_bytes().into_iter().cycle().take(len).collect::<Vec<u8>>())
    }

    fn lazy(&mut self, key: u64, value: Option<Bytes>) {
        self.lazies.push(Lazy { key, after: self.versions.len() - 1, value });
    }

    fn append(&mut self, log: &Log, group: u64) {
        let first = self.last().next(group, 0);
        let (count, size) = (self.rng.u64(1..5), self.rng.usize(0..900));
        let mut appended = Vec::new();
        for index in first..first + count {
            let entry = Entry { index, bytes: self.bytes(size) };
            // Large appends go in pieces, so that each entry is a version.
            self.version(|expected| expected.append(group, &entry));
            appended.push(entry);
        }
        log.append(group, appended, self.told());
    }

    fn purge(&mut self, log: &Log, group: u64, index: u64) {
        self.version(|expected| expected.purge(group, &mark(index)));
        log.purge(group, mark(index), self.told());
    }

    fn one(&mut self, log: &Log) {
        let group = if self.rng.u8(0..4) == 0 { self.rng.u64(1..GROUPS) } else { 0 };
        let span = self.last().groups.get(&group).map(|group| {
            (group.entries.keys().next().copied(), group.entries.keys().next_back().copied())
        });
        let (first, last) = span.unwrap_or_default();
        match self.rng.u8(0..20) {
            0 => {
                let index = last.and_then(|last| last.checked_sub(2));
                self.version(|expected| expected.truncate_after(group, index));
                log.truncate_after(group, index);
                self.append(log, group);
            }
            1 | 2 => {
                let vote = self.bytes(20);
                self.version(|expected| expected.group(group).vote = Some(vote.clone()));
                log.save_vote(group, vote, self.told());
            }
            3 | 4 => {
                let committed = self.bytes(8);
                self.lazy(group, Some(committed.clone()));
                log.save_committed(group, committed);
            }
            5 => {
                let (key, value) = (self.rng.u64(0..3), self.bytes(8));
                self.lazy(GROUPS + key, Some(value.clone()));
                log.note(key, value);
            }
            6 if group == 3 => {
                self.version(|expected| expected.drop_group(group));
                self.lazy(group, None);
                log.drop_group(group, self.told());
            }
            7 if group != 0 => {
                let beyond = self.last().next(group, 0) + 5;
                self.purge(log, group, beyond);
            }
            8..=13 => {
                let keep = if group == 0 { 3 } else { 6 };
                if let Some(last) = last.filter(|last| *last > first.unwrap_or(0) + keep) {
                    self.purge(log, group, last - keep);
                }
            }
            _ => self.append(log, group),
        }
    }

    fn run(&mut self, log: &Log, rounds: u64) {
        for _ in 0..rounds {
            for _ in 0..self.rng.u8(1..4) {
                self.one(log);
            }
            let lazies = self.lazies.len();
            log.drive();
            if log.poisoned().is_some() {
                return;
            }
            self.lazies_durable = lazies;
        }
    }

    /// Finds the version that the log holds, and goes on from there. Nothing acknowledged may be
    /// missing, nothing that was never asked for may be there.
    fn found(&mut self, log: &Log) -> Result<(), String> {
        let acknowledged = *self.acknowledged.lock();
        let mut reason = String::new();
        let held = (acknowledged..self.versions.len()).rev().find(|version| {
            let differs = self.versions[*version].check(log, false).err();
            differs.map(|differs| reason.push_str(&format!("{version}: {differs}\n"))).is_none()
        });
        let Some(held) = held else {
            return Err(format!("none of the versions from {acknowledged} on:\n{reason}"));
        };
        let mut now = self.versions[held].clone();
        let mut lazies = Vec::new();
        for key in 0..GROUPS + 3 {
            let value = if key < GROUPS {
                log.state(key).committed
            } else {
                log.notes().get(&(key - GROUPS)).cloned()
            };
            self.check_lazy(key, held, value.as_ref())?;
            lazies.push(Lazy { key, after: held, value: value.clone() });
            if key < GROUPS {
                now.group(key).committed = value;
            } else if let Some(value) = value {
                now.notes.insert(key - GROUPS, value);
            }
        }
        now.check(log, true)?;
        // What was lost is asked for no more: the next part of the workload goes on from here.
        self.versions.truncate(held);
        self.versions.push(now);
        *self.acknowledged.lock() = held;
        (self.lazies_durable, self.lazies) = (lazies.len(), lazies);
        Ok(())
    }

    /// The newest durable value or a later one, and none of before a drop or of a later version.
    fn check_lazy(&self, key: u64, held: usize, value: Option<&Bytes>) -> Result<(), String> {
        let ours = self.lazies.iter().enumerate().filter(|(_, lazy)| lazy.key == key);
        // Commit marks come no earlier than their entries; notes have nothing to do with entries.
        let in_time = ours.filter(|(_, lazy)| lazy.after <= held || lazy.key >= GROUPS);
        let dropped = in_time.clone().filter(|(_, lazy)| lazy.value.is_none()).last();
        let durable = in_time.clone().filter(|(at, _)| *at < self.lazies_durable).last();
        let oldest = dropped.max_by_at(durable).map(|(at, _)| at);
        let mut allowed: Vec<Option<&Bytes>> = in_time
            .filter(|(at, _)| oldest.is_none_or(|oldest| *at >= oldest))
            .map(|(_, lazy)| lazy.value.as_ref())
            .collect();
        if oldest.is_none() {
            allowed.push(None);
        }
        if allowed.contains(&value) {
            return Ok(());
        }
        Err(format!("mark {key}: {value:?} in version {held}, allowed are {allowed:?}"))
    }
}

trait Later: Sized {
    fn max_by_at(self, other: Self) -> Self;
}

impl Later for Option<(usize, &Lazy)> {
    fn max_by_at(self, other: Self) -> Self {
        if self.map(|(at, _)| at) >= other.map(|(at, _)| at) { self } else { other }
    }
}

const ROUNDS: u64 = 110;

/// Cuts the power in the middle of an operation, and once more while the log is opened.
fn cut_at(seed: u64, cut: u64, tear: u64) -> Result<(), String> {
    let disk = SimDisk::new();
    disk.die_at_operation(cut);
    let mut workload = Workload::new(seed);
    if let Ok(log) = try_open(&disk) {
        workload.run(&log, ROUNDS);
    }
    disk.power_cut(tear);
    for again in 1..4 {
        let nth = disk.operations() + tear % 7 + again;
        disk.die_at_operation(nth);
        if let Ok(log) = try_open(&disk) {
            log.drive();
        }
        disk.power_cut(tear.wrapping_mul(31) + again);
    }
    let log = try_open(&disk).map_err(|error| format!("does not open: {error}"))?;
    workload.found(&log)?;
    // Life goes on, and survives the next cut.
    workload.run(&log, 6);
    disk.power_cut(tear + 1);
    let log = try_open(&disk).map_err(|error| format!("does not open again: {error}"))?;
    workload.found(&log)
}

/// Kills the process instead: what the next one finds it takes for durable, so it must be.
fn kill_at(seed: u64, kill: u64, fail: bool) -> Result<(), String> {
    let disk = SimDisk::new();
    if fail {
        disk.fail_sync(kill);
    } else {
        disk.die_at_operation(kill);
    }
    let mut workload = Workload::new(seed);
    if let Ok(log) = try_open(&disk) {
        workload.run(&log, ROUNDS);
    }
    disk.kill();
    let log = try_open(&disk).map_err(|error| format!("does not open: {error}"))?;
    workload.found(&log)?;
    workload.lazies_durable = workload.lazies.len();
    if kill.is_multiple_of(2) {
        workload.run(&log, 2);
    }
    disk.power_cut(kill);
    let log = try_open(&disk).map_err(|error| format!("does not open again: {error}"))?;
    workload.found(&log)
}

fn cut_everywhere(seed: u64, tears: u64) {
    let whole = SimDisk::new();
    let log = open(&whole);
    let mut workload = Workload::new(seed);
    workload.run(&log, ROUNDS);
    let rewritten = log.shared.metrics.rewritten_bytes.get();
    let newest = log.shared.kept.lock().segments.keys().next_back().copied().unwrap();
    assert!(newest > 8 && rewritten > 0, "{newest} segments, {rewritten} bytes written anew");
    for cut in 1..=whole.operations() {
        for tear in 0..tears {
            let tear = cut * 1000 + tear;
            if let Err(reason) = cut_at(seed, cut, tear) {
                panic!("cut_at({seed}, {cut}, {tear}): {reason}");
            }
        }
    }
}

#[test]
fn power_that_goes_at_any_operation_loses_nothing_acknowledged() {
    cut_everywhere(5, 3);
}

#[test]
fn what_a_start_finds_after_a_kill_or_a_failed_sync_survives_a_power_cut() {
    let whole = SimDisk::new();
    Workload::new(6).run(&open(&whole), ROUNDS);
    for kill in 1..=whole.operations() {
        for fail in [false, true] {
            if let Err(reason) = kill_at(6, kill, fail) {
                panic!("kill_at(6, {kill}, {fail}): {reason}");
            }
        }
    }
}

/// `TETRARCH_LOG_SEEDS=20` tries that many workloads with more ways to tear, for about a minute each.
#[test]
fn power_that_goes_at_any_operation_of_more_workloads_loses_nothing_acknowledged() {
    let asked = std::env::var("TETRARCH_LOG_SEEDS").ok().and_then(|text| text.parse().ok());
    let (seeds, tears) = asked.map_or((1, 1), |seeds: u64| (seeds, 12));
    for seed in 100..100 + seeds {
        cut_everywhere(seed, tears);
    }
}
