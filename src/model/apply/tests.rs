//! Apply: what each command does, that a plain map agrees, and that replay does it again.

use std::cell::Cell;
use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::model::rows::split_data_key;
use crate::model::{NamespaceId, Slot, SlotRange};

/// Rows in memory, which may be told to fail.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Rows {
    rows: BTreeMap<Bytes, Bytes>,
    broken: Cell<bool>,
}

impl View for Rows {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, ViewError> {
        if self.broken.get() {
            return Err(ViewError("the disk is gone".to_owned()));
        }
        Ok(self.rows.get(key).cloned())
    }
}

impl Rows {
    fn owning(first: u16, last: u16) -> Self {
        let mut rows = Self::default();
        assert_eq!(rows.run(1, &own(first, last, 1)), Reply::Owned);
        rows
    }

    fn run(&mut self, index: u64, command: &Command) -> Reply {
        let outcome = apply(self, index, command).unwrap();
        for Effect { key, value, .. } in outcome.effects {
            match value {
                Some(value) => self.rows.insert(key, value),
                None => self.rows.remove(&key),
            };
        }
        outcome.reply
    }

    fn row(&self, key: &str) -> Option<Row> {
        let bytes = self.rows.get(&data_key(NamespaceId(1), key.as_bytes()))?;
        Some(Row::decode(bytes).unwrap())
    }
}

fn slot(number: u16) -> Slot {
    Slot::new(number).unwrap()
}

fn own(first: u16, last: u16, epoch: u64) -> Command {
    Command::Own { ranges: vec![SlotRange { first: slot(first), last: slot(last) }], epoch }
}

fn write(at: u16, key: &str, op: WriteOp) -> Command {
    let key = Bytes::copy_from_slice(key.as_bytes());
    Command::Write(Write { namespace: NamespaceId(1), slot: slot(at), key, op })
}

fn put(at: u16, key: &str, value: &str) -> Command {
    write(at, key, WriteOp::Put { value: Bytes::copy_from_slice(value.as_bytes()) })
}

fn delete(at: u16, key: &str) -> Command {
    write(at, key, WriteOp::Delete)
}

#[test]
fn a_put_creates_once_and_keeps_when_it_did() {
    let mut rows = Rows::owning(0, 9);
    assert_eq!(rows.run(2, &put(3, "a", "one")), Reply::Written { created: true });
    assert_eq!(rows.run(5, &put(3, "a", "two")), Reply::Written { created: false });
    let row = Row { created: 2, revision: 5, value: Bytes::from_static(b"two") };
    assert_eq!(rows.row("a"), Some(row));
}

#[test]
fn a_key_that_was_deleted_is_created_anew() {
    let mut rows = Rows::owning(0, 9);
    rows.run(2, &put(3, "a", "one"));
    assert_eq!(rows.run(3, &delete(3, "a")), Reply::Deleted { existed: true });
    assert_eq!(rows.row("a"), None);
    assert_eq!(rows.run(4, &put(3, "a", "two")), Reply::Written { created: true });
    assert_eq!(rows.row("a").unwrap().created, 4);
}

#[test]
fn deleting_what_does_not_exist_changes_nothing() {
    let rows = Rows::owning(0, 9);
    let outcome = apply(&rows, 2, &delete(3, "a")).unwrap();
    assert_eq!(outcome, Outcome::unchanged(Reply::Deleted { existed: false }));
}

#[test]
fn a_command_for_a_slot_owned_elsewhere_changes_nothing() {
    let mut rows = Rows::owning(10, 19);
    let before = rows.clone();
    for (index, at) in [(2, 9), (3, 20), (4, 16_383)] {
        assert_eq!(rows.run(index, &put(at, "a", "one")), Reply::NotOwner { epoch: 1 });
        assert_eq!(rows.run(index, &delete(at, "a")), Reply::NotOwner { epoch: 1 });
    }
    assert_eq!(rows, before);
}

#[test]
fn a_group_that_was_never_told_what_it_owns_owns_nothing() {
    let mut rows = Rows::default();
    assert_eq!(rows.run(1, &put(0, "a", "one")), Reply::NotOwner { epoch: 0 });
}

#[test]
fn the_newest_epoch_decides_what_is_owned() {
    let mut rows = Rows::default();
    rows.run(1, &own(0, 9, 5));
    rows.run(2, &own(10, 19, 4));
    assert_eq!(rows.run(3, &put(0, "a", "one")), Reply::Written { created: true });
    rows.run(4, &own(10, 19, 5));
    assert_eq!(rows.run(5, &put(10, "b", "one")), Reply::NotOwner { epoch: 5 });
    rows.run(6, &own(10, 19, 6));
    assert_eq!(rows.run(7, &put(0, "a", "two")), Reply::NotOwner { epoch: 6 });
    assert_eq!(rows.run(8, &put(10, "b", "one")), Reply::Written { created: true });
}

#[test]
fn a_catalog_command_is_not_applied_here() {
    let command = Command::Catalog(Bytes::from_static(b"anything"));
    assert_eq!(apply(&Rows::default(), 1, &command), Err(ApplyError::NotHere));
}

#[test]
fn rows_that_cannot_be_read_stop_the_shard() {
    let rows = Rows::owning(0, 9);
    rows.broken.set(true);
    for command in [put(0, "a", "one"), delete(0, "a"), own(0, 9, 2)] {
        let error = apply(&rows, 2, &command).unwrap_err();
        assert_eq!(error.to_string(), "rows cannot be read: the disk is gone");
    }
}

#[test]
fn damaged_rows_stop_the_shard() {
    let mut rows = Rows::owning(0, 9);
    rows.rows.insert(data_key(NamespaceId(1), b"a"), Bytes::from_static(b"\x01short"));
    let error = apply(&rows, 2, &put(0, "a", "one")).unwrap_err();
    assert!(matches!(error, ApplyError::Damaged(_)), "{error}");
    rows.rows.insert(Bytes::from_static(OWNED_KEY), Bytes::from_static(b"\xff"));
    let error = apply(&rows, 2, &put(0, "b", "one")).unwrap_err();
    assert!(matches!(error, ApplyError::Damaged(_)), "{error}");
}

#[test]
fn an_entry_applied_twice_is_noticed_and_not_answered() {
    let mut rows = Rows::owning(0, 9);
    rows.run(7, &put(0, "a", "one"));
    for index in [6, 7] {
        let error = apply(&rows, index, &put(0, "a", "one")).unwrap_err();
        assert_eq!(error, ApplyError::OutOfOrder { index, revision: 7 });
    }
}

/// Few keys and slots, so that commands meet.
fn any_command() -> impl Strategy<Value = Command> {
    let key = prop::sample::select(vec!["a", "b", "c"]);
    let value = prop::sample::select(vec!["", "one", "two"]);
    prop_oneof![
        1 => (0u16..8, 0u16..8, 0u64..6).prop_map(|(a, b, epoch)| own(a.min(b), a.max(b), epoch)),
        6 => (0u16..8, key.clone(), value).prop_map(|(at, key, value)| put(at, key, value)),
        3 => (0u16..8, key).prop_map(|(at, key)| delete(at, key)),
    ]
}

/// The same in the plainest way: what is owned, and key -> (created, revision, value).
#[derive(Default)]
struct Plain {
    owned: Option<Ownership>,
    keys: BTreeMap<Bytes, (u64, u64, Bytes)>,
}

impl Plain {
    fn run(&mut self, index: u64, command: &Command) -> Reply {
        match command {
            Command::Own { ranges, epoch } => {
                if self.owned.as_ref().is_none_or(|known| known.epoch < *epoch) {
                    self.owned = Some(Ownership { ranges: ranges.clone(), epoch: *epoch });
                }
                Reply::Owned
            }
            Command::Write(write) => {
                let owned = self.owned.clone().unwrap_or_default();
                if !owned.owns(write.slot) {
                    return Reply::NotOwner { epoch: owned.epoch };
                }
                let before = self.keys.remove(&write.key);
                let existed = before.is_some();
                let WriteOp::Put { value } = &write.op else { return Reply::Deleted { existed } };
                let created = before.map_or(index, |(created, _, _)| created);
                self.keys.insert(write.key.clone(), (created, index, value.clone()));
                Reply::Written { created: !existed }
            }
            Command::Tend(_) | Command::Catalog(_) => unreachable!("none is generated"),
        }
    }
}

proptest! {
    #[test]
    fn a_plain_map_agrees_and_replay_gives_the_same_rows(
        commands in prop::collection::vec(any_command(), 0..60),
    ) {
        let (mut rows, mut plain, mut replies) = (Rows::default(), Plain::default(), Vec::new());
        let indexed = || (1u64..).zip(&commands);
        for (index, command) in indexed() {
            let reply = rows.run(index, command);
            prop_assert_eq!(&reply, &plain.run(index, command), "entry {}", index);
            replies.push(reply);
        }
        let found: BTreeMap<_, _> = rows
            .rows
            .iter()
            .filter_map(|(key, bytes)| {
                let (_, key) = split_data_key(key)?;
                let row = Row::decode(bytes).unwrap();
                Some((Bytes::copy_from_slice(key), (row.created, row.revision, row.value)))
            })
            .collect();
        prop_assert_eq!(found, plain.keys);

        // As a restarted replica does it: the commands as they are read from the log.
        let mut replayed = Rows::default();
        for ((index, command), reply) in indexed().zip(&replies) {
            let read = Command::decode(&command.encode()).unwrap();
            prop_assert_eq!(&replayed.run(index, &read), reply);
        }
        prop_assert_eq!(replayed, rows);
    }
}
