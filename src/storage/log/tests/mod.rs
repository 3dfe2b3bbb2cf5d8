//! The log on a simulated disk, driven inline: a model, power cuts at every sync, and faults.

mod crash;
mod damage;
mod expected;
mod model;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::kept::{Kept, KeptGroup};
use super::{Entry, Flushed, GroupState, Log, LogMetrics, LogOptions, Mark};
use crate::runtime::clock::ManualClock;
use crate::runtime::limits::LOG_ROOM_RETRY;
use crate::runtime::metrics::Metrics;
use crate::runtime::{Env, Rng};
use crate::storage::disk::SimDisk;
use crate::storage::{Disk, StorageError};

type Outcomes = Arc<Mutex<Vec<(u64, bool)>>>;

fn options() -> LogOptions {
    LogOptions {
        segment_bytes: 16 * 1024,
        cache_bytes: 1024,
        segments_soft_max: 3,
        inline: true,
        ..LogOptions::default()
    }
}

fn try_open(disk: &SimDisk) -> Result<Log, StorageError> {
    let env = Env { rng: Arc::new(Rng::seeded(disk.syncs())), ..Env::system() };
    let metrics = LogMetrics::new(&Metrics::default());
    Log::open(Arc::new(disk.clone()), PathBuf::from("log"), options(), &env, metrics)
}

fn open(disk: &SimDisk) -> Log {
    try_open(disk).unwrap()
}

fn told(outcomes: &Outcomes, id: u64) -> Flushed {
    let outcomes = Arc::clone(outcomes);
    Box::new(move |result| outcomes.lock().push((id, result.is_ok())))
}

fn nobody() -> Flushed {
    Box::new(|_| {})
}

fn entries(first: u64, count: u64, bytes: usize) -> Vec<Entry> {
    let content = |index: u64| Bytes::from(vec![(index % 251) as u8; bytes]);
    (first..first + count).map(|index| Entry { index, bytes: content(index) }).collect()
}

fn mark(index: u64) -> Mark {
    Mark { index, bytes: Bytes::from(index.to_string()) }
}

fn all(log: &Log, group: u64) -> Vec<Entry> {
    let state = log.state(group);
    let (Some(mut from), Some(last)) = (state.first_index, state.last_index) else {
        return Vec::new();
    };
    let mut out = Vec::new();
    while from <= last {
        let got = log.read(group, from, last + 1, 700).unwrap();
        assert_eq!(got[0].index, from);
        from += got.len() as u64;
        out.extend(got);
    }
    out
}

#[test]
fn what_was_written_is_there_after_a_restart() {
    let disk = SimDisk::new();
    let log = open(&disk);
    let outcomes = Outcomes::default();
    log.append(1, entries(0, 50, 100), told(&outcomes, 1));
    assert_eq!(all(&log, 1), entries(0, 50, 100), "readable before it is durable");
    log.save_vote(1, Bytes::from_static(b"vote"), told(&outcomes, 2));
    log.save_committed(1, Bytes::from_static(b"9"));
    log.note(7, Bytes::from_static(b"peer"));
    log.truncate_after(1, Some(39));
    log.purge(1, mark(9), told(&outcomes, 3));
    log.append(2, entries(5, 1, 10), told(&outcomes, 4));
    assert!(outcomes.lock().is_empty());
    log.drive();
    assert_eq!(*outcomes.lock(), [(1, true), (2, true), (3, true), (4, true)]);
    let before = (log.state(1), log.state(2), log.notes(), log.flushed_lsn());
    drop(log);
    let log = open(&disk);
    assert_eq!((log.state(1), log.state(2), log.notes(), log.recovered_lsn()), before);
    assert_eq!(all(&log, 1), entries(10, 30, 100));
}

#[test]
fn a_bit_flip_before_the_last_batch_refuses_to_open_and_says_where() {
    let disk = SimDisk::new();
    let log = open(&disk);
    for index in 0..3 {
        log.append(1, entries(index, 1, 100), nobody());
        log.drive();
    }
    drop(log);
    let path = Path::new("log/segment-0000000001.log");
    disk.flip_bit(path, 1024 + 80, 3).unwrap();
    let error = try_open(&disk).unwrap_err();
    assert!(
        matches!(&error, StorageError::Corrupt { path: p, offset: 1024, .. } if p == path),
        "{error}"
    );
    disk.flip_bit(path, 1024 + 80, 3).unwrap();
    disk.flip_bit(path, 1536 + 80, 3).unwrap();
    let log = open(&disk);
    assert_eq!(log.state(1).last_index, Some(1), "a torn last batch is cut");
    log.append(1, entries(2, 1, 20), nobody());
    log.drive();
    drop(log);
    assert_eq!(all(&open(&disk), 1)[2], entries(2, 1, 20)[0]);
}

#[test]
fn a_missing_segment_refuses_to_open() {
    let disk = SimDisk::new();
    let log = open(&disk);
    for index in 0..60 {
        log.append(1, entries(index, 1, 900), nobody());
        log.drive();
    }
    drop(log);
    disk.remove(Path::new("log/segment-0000000002.log")).unwrap();
    let error = try_open(&disk).unwrap_err().to_string();
    assert!(error.contains("segment-0000000002.log"), "{error}");
}

#[test]
fn a_group_whose_entries_were_all_taken_back_starts_at_its_mark() {
    let disk = SimDisk::new();
    let log = open(&disk);
    log.append(1, entries(5, 2, 10), nobody());
    log.truncate_after(1, Some(4));
    log.purge(1, mark(2), nobody());
    log.append(1, entries(3, 1, 10), nobody());
    assert_eq!(all(&log, 1), entries(3, 1, 10));
    log.drive();
    drop(log);
    assert_eq!(all(&open(&disk), 1), entries(3, 1, 10));
}

#[test]
fn segments_are_recycled_and_a_cold_group_does_not_pin_them() {
    let disk = SimDisk::new();
    let log = open(&disk);
    log.append(9, entries(3, 2, 100), nobody());
    log.save_vote(9, Bytes::from_static(b"cold"), nobody());
    log.purge(9, mark(3), nobody());
    log.note(1, Bytes::from_static(b"n"));
    for index in 0..400 {
        log.append(1, entries(index, 1, 900), nobody());
        log.purge(1, mark(index), nobody());
        log.drive();
        if index % 50 == 0 {
            assert_eq!(all(&open(&disk), 9), entries(4, 1, 100));
        }
    }
    assert!(log.stats().segments <= 5, "{:?}", log.stats());
    let before = (log.state(1), log.state(9), log.notes());
    drop(log);
    let log = open(&disk);
    assert_eq!((log.state(1), log.state(9), log.notes()), before);
    assert_eq!(all(&log, 9), entries(4, 1, 100));
}

#[test]
fn a_failed_sync_poisons_and_a_full_disk_says_so() {
    let disk = SimDisk::new();
    let log = open(&disk);
    let fired = Arc::new(Mutex::new(0));
    let hook = Arc::clone(&fired);
    log.on_poison(Box::new(move |_| *hook.lock() += 1));
    let outcomes = Outcomes::default();
    disk.fail_sync(disk.syncs() + 1);
    log.append(1, entries(0, 1, 10), told(&outcomes, 1));
    log.drive();
    log.append(1, entries(1, 1, 10), told(&outcomes, 2));
    log.drive();
    assert_eq!(*outcomes.lock(), [(1, false), (2, false)]);
    assert!(*fired.lock() == 1 && log.poisoned().is_some() && log.is_overloaded());

    let disk = SimDisk::new();
    let log = open(&disk);
    disk.set_budget(Some(0));
    let errors = Arc::new(Mutex::new(Vec::new()));
    for index in 0..40 {
        let errors = Arc::clone(&errors);
        let done = Box::new(move |result: Result<(), Arc<StorageError>>| {
            errors.lock().extend(result.err());
        });
        log.append(1, entries(index, 1, 900), done);
        log.drive();
    }
    assert!(matches!(&*errors.lock()[0], StorageError::Full { .. }), "{:?}", errors.lock()[0]);
    assert!(log.is_overloaded());
}

#[test]
fn a_log_without_room_takes_work_again_soon_after_there_is_room() {
    let (disk, clock) = (SimDisk::new(), Arc::new(ManualClock::default()));
    let env = Env { clock: Arc::clone(&clock) as Arc<_>, ..Env::system() };
    let metrics = LogMetrics::new(&Metrics::default());
    let dir = PathBuf::from("log");
    let log = Log::open(Arc::new(disk.clone()), dir, options(), &env, metrics).unwrap();
    disk.set_budget(Some(0));
    log.append(1, entries(0, 1, 900), nobody());
    log.drive();
    assert!(log.is_overloaded(), "no room for the next segment");
    disk.set_budget(None);
    log.drive();
    assert!(log.is_overloaded(), "it does not look all the time");
    // Nobody writes meanwhile: what is refused does not come to the log.
    clock.advance(LOG_ROOM_RETRY);
    log.drive();
    assert!(!log.is_overloaded());
}

#[tokio::test]
async fn the_thread_writes_and_close_waits_for_it() {
    let disk = SimDisk::new();
    let metrics = LogMetrics::new(&Metrics::default());
    let options = LogOptions { inline: false, ..options() };
    let dir = PathBuf::from("log");
    let log = Log::open(Arc::new(disk.clone()), dir, options, &Env::system(), metrics).unwrap();
    let outcomes = Outcomes::default();
    for index in 0..100 {
        log.append(1, entries(index, 1, 100), told(&outcomes, index));
    }
    log.save_committed(1, Bytes::from_static(b"99"));
    let other = log.clone();
    log.close().await;
    assert_eq!(*outcomes.lock(), (0..100).map(|id| (id, true)).collect::<Vec<_>>());
    other.append(1, entries(100, 1, 1), told(&outcomes, 100));
    assert_eq!(outcomes.lock().last(), Some(&(100, false)));
    let log = open(&disk);
    assert_eq!(log.state(1).committed, Some(Bytes::from_static(b"99")));
    assert_eq!(all(&log, 1), entries(0, 100, 100));
}
