//! The state on sled, memory and a disk in memory: layers, checkpoints, installs, stops, damage.

#![allow(clippy::disallowed_methods, reason = "tests damage files behind the disk's back")]

mod crash;
mod digest;
mod history;
mod model;
mod place;
mod threads;
mod with_log;

use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;

use self::place::{Place, applied, put, value_of};
use crate::storage::checkpoint::Applied;
use crate::storage::engine::GuardedEngine;
use crate::storage::engine::tests::{Breakable, Mood};
use crate::storage::{Effect, StorageError};

#[test]
fn a_value_is_found_in_every_layer_and_a_removed_one_in_none() {
    for place in [Place::in_memory(), Place::on_sled()] {
        let state = place.open();
        put(&state, 1, 1, "in base", Some("1"));
        put(&state, 1, 2, "removed", Some("2"));
        state.checkpoint(1).unwrap();
        put(&state, 1, 3, "in index", Some("3"));
        put(&state, 1, 4, "removed", None);
        place::flush_all(&state);
        put(&state, 1, 5, "in memory", Some("5"));
        for (key, value) in [
            ("in base", Some("1")),
            ("in index", Some("3")),
            ("in memory", Some("5")),
            ("removed", None),
        ] {
            let read = state.get(1, key.as_bytes()).unwrap();
            assert_eq!(read.value, value.map(Bytes::from), "{key}");
            assert_eq!(read.index, 5);
        }
        let (rows, index) = state.scan(1, Bound::Unbounded, Bound::Unbounded, 10).unwrap();
        let keys: Vec<_> = rows.into_iter().map(|(key, _)| key).collect();
        assert_eq!(
            (keys, index),
            (vec!["in base".into(), "in index".into(), "in memory".into()], 5)
        );
        assert_eq!(state.get(2, b"in base").unwrap().value, None, "another group");
    }
}

#[test]
fn a_scan_keeps_its_bounds_and_its_limit() {
    let place = Place::in_memory();
    let state = place.open();
    for (index, key) in (1..).zip(["a", "b", "c", "d"]) {
        put(&state, 1, index, key, Some(key));
    }
    let keys = |from, to, limit| -> Vec<Bytes> {
        state.scan(1, from, to, limit).unwrap().0.into_iter().map(|(key, _)| key).collect()
    };
    assert_eq!(keys(Bound::Excluded(&b"a"[..]), Bound::Excluded(&b"d"[..]), 9), ["b", "c"]);
    assert_eq!(keys(Bound::Included(&b"b"[..]), Bound::Included(&b"d"[..]), 9), ["b", "c", "d"]);
    assert_eq!(keys(Bound::Unbounded, Bound::Unbounded, 1), ["a"]);
}

#[test]
fn a_clean_stop_keeps_everything_and_a_kill_goes_back_to_the_checkpoint() {
    let place = Place::on_sled();
    let state = place.open();
    put(&state, 1, 1, "k", Some("old"));
    state.checkpoint(1).unwrap();
    put(&state, 1, 2, "k", Some("new"));
    state.close().unwrap();
    drop(state);

    let state = place.open();
    assert!(state.rebuilt().is_none());
    assert_eq!(state.applied(1), Some(applied(2)));
    assert_eq!(value_of(&state, 1, "k"), Some("new".into()));
    put(&state, 1, 3, "k", Some("newest"));
    place::flush_all(&state);
    drop(state);

    let state = place.open();
    assert!(state.rebuilt().unwrap().reason.contains("did not stop cleanly"));
    assert_eq!(state.applied(1), Some(applied(1)), "the log is applied again from here");
    assert_eq!(value_of(&state, 1, "k"), Some("old".into()));
}

#[test]
fn a_damaged_or_missing_index_is_noticed_and_replaced() {
    type Damage = fn(&std::path::Path);
    let damages: [(&str, Damage); 4] = [
        ("removed", |index| std::fs::remove_dir_all(index).unwrap()),
        ("a file in its place", |index| {
            std::fs::remove_dir_all(index).unwrap();
            std::fs::write(index, b"not a directory").unwrap();
        }),
        ("garbage", |index| std::fs::write(index.join("db"), [0xA5; 100_000]).unwrap()),
        ("zeros", |index| {
            let len = std::fs::metadata(index.join("db")).unwrap().len();
            std::fs::write(index.join("db"), vec![0; usize::try_from(len).unwrap()]).unwrap();
        }),
    ];
    for (name, damage) in damages {
        let place = Place::on_sled();
        let state = place.open();
        put(&state, 1, 1, "k", Some("in the checkpoint"));
        state.checkpoint(1).unwrap();
        put(&state, 1, 2, "k", Some("in the index"));
        state.close().unwrap();
        drop(state);
        damage(&place.root().join("index"));
        let state = place.open();
        assert!(state.rebuilt().is_some(), "{name}");
        assert_eq!(state.applied(1), Some(applied(1)), "{name}");
        assert_eq!(value_of(&state, 1, "k"), Some("in the checkpoint".into()), "{name}");
    }
}

#[test]
fn no_flipped_byte_of_the_index_changes_what_is_read() {
    let place = Place::on_sled();
    let state = place.open();
    put(&state, 1, 1, "k0", Some("base"));
    state.checkpoint(1).unwrap();
    for index in 2..100 {
        put(&state, 1, index, &format!("k{index}"), Some("in the index"));
    }
    state.close().unwrap();
    drop(state);
    let whole = place.copy();
    let db = std::fs::read(whole.root().join("index/db")).unwrap();
    let used: Vec<usize> = (0..db.len()).filter(|at| db[*at] != 0).collect();
    for at in used.iter().step_by(used.len() / 12) {
        let place = whole.copy();
        let mut bytes = db.clone();
        bytes[*at] ^= 0x10;
        std::fs::write(place.root().join("index/db"), bytes).unwrap();
        let state = place.open();
        let last = state.applied(1).unwrap().index;
        assert!(last == 1 || last == 99, "byte {at}: applied {last}");
        let rows = state.scan(1, Bound::Unbounded, Bound::Unbounded, 1000).unwrap().0;
        assert_eq!(rows.len(), if last == 1 { 1 } else { 99 }, "byte {at}");
        assert_eq!(last == 1, state.rebuilt().is_some(), "byte {at}");
    }
}

#[test]
fn an_index_that_fails_while_running_stops_the_node_and_is_made_anew() {
    for mood in [Mood::Fails, Mood::Panics] {
        let place = Place::in_memory();
        let mut state = place.open();
        let engine = Arc::new(Breakable::default());
        let inner = Arc::get_mut(&mut Arc::get_mut(&mut state.0).unwrap().inner).unwrap();
        let (failure, tasks) = (inner.failure.clone(), inner.env.tasks.clone());
        inner.engine = Arc::new(GuardedEngine::new(engine.clone(), failure, tasks.clone()));
        put(&state, 1, 1, "k", Some("in the checkpoint"));
        state.checkpoint(1).unwrap();
        put(&state, 1, 2, "k", Some("in the index"));
        place::flush_all(&state);
        engine.set(mood);
        assert!(matches!(state.get(1, b"k"), Err(StorageError::Index { .. })));
        assert!(tasks.failure().unwrap().contains("a restart makes it anew"));
        assert!(matches!(state.apply(1, |_| Ok(())), Err(StorageError::Poisoned { .. })));
        assert!(state.checkpoint(1).is_err());
        assert!(state.close().is_err(), "a clean stop would be believed");
        drop(state);
        let state = place.open();
        assert_eq!(state.applied(1), Some(applied(1)), "the log is applied again from here");
    }
}

#[test]
fn a_damaged_checkpoint_refuses_with_its_path_and_offset() {
    let place = Place::on_sled();
    let state = place.open();
    put(&state, 1, 7, "key", Some("value"));
    let path = state.checkpoint(1).unwrap().path();
    drop(state);
    let whole = std::fs::read(place.root().join(&path)).unwrap();
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        std::fs::write(place.root().join(&path), bytes).unwrap();
        match place.try_open() {
            Err(
                StorageError::Corrupt { path: named, .. }
                | StorageError::Version { path: named, .. },
            ) => {
                assert_eq!(named, path, "byte {at}");
            }
            other => panic!("byte {at}: {other:?}"),
        }
    }
}

#[test]
fn a_checkpoint_written_while_writes_go_on_holds_the_frozen_state() {
    let place = Place::on_sled();
    let state = place.open();
    for index in 1..=20_000u64 {
        put(&state, 1, index, &format!("key {:05}", index % 5000), Some(&index.to_string()));
    }
    let checkpoint = std::thread::scope(|scope| {
        let writing = scope.spawn(|| state.checkpoint(1).unwrap());
        let mut index = 20_000;
        while !writing.is_finished() {
            index += 1;
            put(&state, 1, index, &format!("key {:05}", index % 5000), Some(&index.to_string()));
        }
        writing.join().unwrap()
    });
    let at = checkpoint.applied().index;
    assert_eq!(checkpoint.rows(), 5000);
    let other = Place::on_sled();
    let elsewhere = other.open();
    place::send(&checkpoint, &elsewhere);
    assert_eq!(elsewhere.applied(1), Some(applied(at)));
    let (rows, _) = elsewhere.scan(1, Bound::Unbounded, Bound::Unbounded, 10_000).unwrap();
    for (number, (key, value)) in (0u64..).zip(rows) {
        assert_eq!(key, format!("key {number:05}"));
        // The newest index at or before the checkpoint that wrote this key.
        let expected = at - (at + 5000 - number) % 5000;
        assert_eq!(value, expected.to_string(), "key {number} at {at}");
    }
    assert_eq!(state.get(1, b"key 00000").unwrap().value, value_of(&state, 1, "key 00000"));
}

#[test]
fn an_install_replaces_everything_and_survives_a_kill() {
    let source = Place::in_memory();
    let sender = source.open();
    put(&sender, 1, 10, "theirs", Some("10"));
    let checkpoint = sender.checkpoint(1).unwrap();

    let place = Place::on_sled();
    let state = place.open();
    put(&state, 1, 1, "ours", Some("in base"));
    state.checkpoint(1).unwrap();
    put(&state, 1, 2, "ours too", Some("in index"));
    place::flush_all(&state);
    put(&state, 1, 3, "ours as well", Some("in memory"));
    put(&state, 2, 1, "other group", Some("stays"));
    place::send(&checkpoint, &state);
    let check = |state: &crate::storage::State| {
        let (rows, index) = state.scan(1, Bound::Unbounded, Bound::Unbounded, 10).unwrap();
        assert_eq!((rows, index), (vec![("theirs".into(), "10".into())], 10));
    };
    check(&state);
    assert_eq!(value_of(&state, 2, "other group"), Some("stays".into()));
    drop(state);
    check(&place.open());
}

#[test]
fn a_received_file_that_is_never_installed_leaves_nothing() {
    let place = Place::on_sled();
    let state = place.open();
    put(&state, 1, 1, "k", Some("ours"));
    let checkpoint = state.checkpoint(1).unwrap();
    let files = || std::fs::read_dir(place.root().join("checkpoints/g1")).unwrap().count();

    let mut receiver = state.receive(1).unwrap();
    receiver.write(b"TTRCKPT\n half of a file").unwrap();
    assert!(matches!(receiver.finish(), Err(StorageError::Corrupt { .. })));
    let wrong_group = place::transfer(&checkpoint, state.receive(2).unwrap());
    assert!(matches!(wrong_group, Err(StorageError::Corrupt { .. })));
    let received = place::transfer(&checkpoint, state.receive(1).unwrap()).unwrap();
    assert_eq!(files(), 2);
    drop(received);
    assert_eq!(files(), 1);
    std::fs::write(place.root().join("checkpoints/g1/9.tmp"), b"cut short by a crash").unwrap();
    drop(state);
    drop(place.open());
    assert_eq!(files(), 1);
}

#[test]
fn an_old_checkpoint_stays_while_somebody_reads_it() {
    let place = Place::on_sled();
    let state = place.open();
    put(&state, 1, 1, "k", Some("1"));
    let old = state.checkpoint(1).unwrap();
    put(&state, 1, 2, "k", Some("2"));
    let mut reader = old.open().unwrap();
    let path = place.root().join(old.path());
    drop(old);
    state.checkpoint(1).unwrap();
    assert!(path.exists());
    let mut bytes = 0;
    while let Some(chunk) = reader.read(7).unwrap() {
        bytes += chunk.len();
    }
    assert_eq!(bytes as u64, std::fs::metadata(&path).unwrap().len());
    drop(reader);
    assert!(!path.exists());
}

#[test]
fn a_dropped_group_is_gone_from_memory_index_and_disk() {
    let place = Place::on_sled();
    let state = place.open();
    put(&state, 1, 1, "k", Some("1"));
    state.checkpoint(1).unwrap();
    put(&state, 1, 2, "k", Some("2"));
    place::flush_all(&state);
    state.drop_group(1).unwrap();
    assert_eq!(state.applied(1), None);
    put(&state, 1, 1, "other", Some("life"));
    assert_eq!(value_of(&state, 1, "k"), None);
    drop(state);
    assert_eq!(place.open().applied(1), None);
}

#[test]
fn a_group_with_many_changes_asks_for_a_checkpoint() {
    let place = Place::in_memory();
    let state = place.open();
    assert!(state.checkpoints_due().is_empty());
    let value = "v".repeat(1024);
    for index in 1..=2000 {
        put(&state, 3, index, &index.to_string(), Some(&value));
    }
    assert_eq!(state.checkpoints_due(), [3]);
    state.checkpoint(3).unwrap();
    assert!(state.checkpoints_due().is_empty());
}

#[test]
fn nothing_is_applied_after_a_close() {
    let place = Place::on_sled();
    let state = place.open();
    put(&state, 1, 1, "k", Some("1"));
    state.close().unwrap();
    let late = state.apply(1, |a| {
        a.put_effects(2, vec![Effect::plain("k".into(), None)]);
        a.set_applied(Applied { index: 2, mark: Bytes::new() });
        Ok(())
    });
    assert!(matches!(late, Err(StorageError::Index { .. })));
}
