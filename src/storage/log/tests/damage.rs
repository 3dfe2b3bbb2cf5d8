//! What a start refuses, what it passes over, and what a poisoned log does.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::super::format::{BatchHeader, VERSION};
use super::{Log, SimDisk, all, entries, mark, nobody, open, told, try_open};
use crate::storage::{Disk, OpenMode, StorageError};

fn segment(seq: u64) -> PathBuf {
    PathBuf::from(format!("log/segment-{seq:010}.log"))
}

fn copy(disk: &SimDisk, from: &Path, to: &Path) {
    let from = disk.open(from, OpenMode::Read).unwrap();
    let mut bytes = vec![0; usize::try_from(from.len().unwrap()).unwrap()];
    from.read_at(0, &mut bytes).unwrap();
    disk.open(to, OpenMode::Create).unwrap().write_at(0, &bytes).unwrap();
}

/// Votes in the first segment, and entries up to the fourth.
fn four_segments(disk: &SimDisk) -> Log {
    let log = open(disk);
    log.save_vote(7, Bytes::from_static(b"only here"), nobody());
    for index in 0..40 {
        log.append(1, entries(index, 1, 1000), nobody());
        log.purge(1, mark(index), nobody());
        log.drive();
        if log.shared.kept.lock().segments.len() == 3 {
            break;
        }
    }
    log
}

#[test]
fn the_oldest_segment_is_missed_although_no_entry_is() {
    let disk = SimDisk::new();
    drop(four_segments(&disk));
    disk.remove(&segment(1)).unwrap();
    let error = try_open(&disk).unwrap_err();
    assert!(matches!(&error, StorageError::Corrupt { path, .. } if *path == segment(1)), "{error}");
    disk.remove(&segment(2)).unwrap();
    let error = try_open(&disk).unwrap_err();
    assert!(matches!(&error, StorageError::Corrupt { path, .. } if *path == segment(2)), "{error}");
}

#[test]
fn what_is_below_the_floor_may_be_gone_or_there() {
    let disk = SimDisk::new();
    let log = open(&disk);
    let old = segment(1);
    for index in 0..100 {
        log.append(1, entries(index, 1, 900), nobody());
        log.purge(1, mark(index), nobody());
        log.drive();
        if index == 0 {
            copy(&disk, &old, Path::new("elsewhere"));
        }
    }
    let state = log.state(1);
    drop(log);
    assert!(!disk.exists(&old).unwrap(), "the first segment was recycled");
    // Whoever brings an old segment back changes nothing, nor does a copy of one as a spare.
    copy(&disk, Path::new("elsewhere"), &old);
    copy(&disk, Path::new("elsewhere"), Path::new("log/spare-0000000900.log"));
    let log = open(&disk);
    assert_eq!(log.state(1), state);
    assert!(!disk.exists(&old).unwrap(), "a stray segment is removed");
    for index in 100..160 {
        log.append(1, entries(index, 1, 900), nobody());
        log.drive();
    }
    assert_eq!(all(&open(&disk), 1), entries(100, 60, 900));
}

#[test]
fn a_value_that_imitates_the_next_batch_is_not_taken_for_one() {
    let disk = SimDisk::new();
    let log = open(&disk);
    let fake = BatchHeader {
        version: VERSION,
        seq: 1,
        salt: 12345,
        lsn: 2,
        floor: 1,
        body_len: 0,
        body_crc: crc32c::crc32c(b""),
    };
    let mut value = vec![0u8; 1500];
    let at = 1024 - 56 - 21 - 8;
    value[at..at + 56].copy_from_slice(&fake.encode());
    log.append(1, vec![super::Entry { index: 0, bytes: Bytes::from(value) }], nobody());
    log.drive();
    drop(log);
    // The batch is torn at its header; within its body stands what looks like a whole one.
    let mut sector = [0; 56];
    let file = disk.open(&segment(1), OpenMode::ReadWrite).unwrap();
    file.read_at(512 + 1024, &mut sector).unwrap();
    assert_eq!(sector, fake.encode(), "the imitation stands at the start of a sector");
    file.write_at(512, &[0; 512]).unwrap();
    assert_eq!(open(&disk).state(1).last_index, None, "the torn batch is cut");
}

#[test]
fn writing_anew_comes_to_an_end() {
    // Entries of which every share is alive, so small that their frames weigh more than they do.
    for cold in (1000..5000).step_by(200) {
        let disk = SimDisk::new();
        let log = open(&disk);
        log.append(2, entries(0, cold, 8), nobody());
        for index in 0..40 {
            log.append(1, entries(index, 1, 1000), nobody());
            log.purge(1, mark(index), nobody());
            log.drive();
        }
        assert_eq!(all(&log, 2), entries(0, cold, 8));
        let rewritten = log.shared.metrics.rewritten_bytes.get();
        assert!(rewritten < 60_000, "{rewritten} bytes for {cold} entries: over and over");
    }
}

#[test]
fn a_poisoned_log_changes_no_more_and_says_so_at_once() {
    let disk = SimDisk::new();
    let log = open(&disk);
    log.append(1, entries(0, 2, 600), nobody());
    log.drive();
    disk.fail_sync(disk.syncs() + 1);
    let outcomes = super::Outcomes::default();
    log.append(1, entries(2, 3, 1000), told(&outcomes, 1));
    log.drive();
    log.append(1, entries(5, 1, 10), told(&outcomes, 2));
    log.save_vote(1, Bytes::from_static(b"v"), told(&outcomes, 3));
    log.flush(told(&outcomes, 4));
    assert_eq!(*outcomes.lock(), [(1, false), (2, false), (3, false), (4, false)]);
    assert_eq!((log.state(1).last_index, log.state(1).vote), (Some(4), None));
    assert_eq!(
        all(&log, 1),
        entries(0, 2, 600).into_iter().chain(entries(2, 3, 1000)).collect::<Vec<_>>()
    );
    assert_eq!(log.drive(), 0);
    drop(log);
    disk.kill();
    let log = open(&disk);
    assert_eq!(all(&log, 1), entries(0, 2, 600), "what could not be synced is not there");
}

#[tokio::test]
async fn a_poisoned_log_with_a_thread_answers_and_closes() {
    let disk = SimDisk::new();
    let metrics = super::LogMetrics::new(&crate::runtime::metrics::Metrics::default());
    let options = super::LogOptions { inline: false, ..super::options() };
    let env = crate::runtime::Env::system();
    let dir = PathBuf::from("log");
    let log = Log::open(Arc::new(disk.clone()), dir, options, &env, metrics).unwrap();
    let (poisoned, hears) = tokio::sync::oneshot::channel();
    log.on_poison(Box::new(move |_| poisoned.send(()).unwrap()));
    disk.die_at_operation(disk.operations() + 1);
    let outcomes = super::Outcomes::default();
    log.append(1, entries(0, 1, 10), told(&outcomes, 1));
    hears.await.unwrap();
    let (done, heard) = tokio::sync::oneshot::channel();
    let done = Mutex::new(Some(done));
    log.append(
        1,
        entries(1, 1, 10),
        Box::new(move |result| {
            done.lock().take().unwrap().send(result.is_err()).unwrap();
        }),
    );
    assert!(heard.await.unwrap());
    log.close().await;
    assert_eq!(*outcomes.lock(), [(1, false)]);
}
