//! Apply: a group in memory, what each command does to it, and what must hold whatever is asked.

mod bounds;
mod model;
mod scenes;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use bytes::Bytes;

use super::*;
use crate::model::denial::Denial;
use crate::model::lease::{LeaseId, LeaseState};
use crate::model::op::{Attach, Give, KeyOp, Require, Space, WriteOp};
use crate::model::reply::KeyReply;
use crate::model::row::Row;
use crate::model::rows::data_key;
use crate::model::{NamespaceId, Once, SlotRange};

/// Rows in memory, which may be told to fail.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Rows {
    pub(super) rows: BTreeMap<Bytes, Bytes>,
    broken: Cell<bool>,
    /// Where scans began.
    pub(super) scans: Scans,
}

/// Where scans began. No part of what two groups are compared by.
#[derive(Clone, Debug, Default)]
pub(super) struct Scans(pub(super) RefCell<Vec<Bytes>>);

impl PartialEq for Scans {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl Eq for Scans {}

impl View for Rows {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, ViewError> {
        if self.broken.get() {
            return Err(ViewError("the disk is gone".to_owned()));
        }
        Ok(self.rows.get(key).cloned())
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<(Bytes, Bytes)>, ViewError> {
        self.scans.0.borrow_mut().push(Bytes::copy_from_slice(from));
        let range = Bytes::copy_from_slice(from)..Bytes::copy_from_slice(to);
        let rows = self.rows.range(range).take(limit);
        Ok(rows.map(|(key, value)| (key.clone(), value.clone())).collect())
    }
}

impl Rows {
    pub(super) fn put(&mut self, effects: Vec<Effect>) {
        for Effect { key, value, recorded } in effects {
            if let Some(recorded) = recorded {
                assert_eq!(recorded.before, self.rows.get(&key).cloned(), "before, in the record");
            }
            match value {
                Some(value) => self.rows.insert(key, value),
                None => self.rows.remove(&key),
            };
        }
    }
}

/// A group that owns the slots below 100.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) rows: Rows,
    pub(super) index: u64,
    pub(super) leases: BTreeMap<LeaseId, LeaseState>,
}

impl Group {
    pub(super) fn new() -> Self {
        let mut group = Self { rows: Rows::default(), index: 0, leases: BTreeMap::new() };
        assert_eq!(group.run(&own(0, 99, 1)), Reply::Owned);
        group
    }

    pub(super) fn run(&mut self, command: &Command) -> Reply {
        self.outcome(command).reply
    }

    pub(super) fn outcome(&mut self, command: &Command) -> Outcome {
        self.index += 1;
        let mut book = Book::default();
        let command = Command::decode(&command.encode()).unwrap();
        let outcome = apply(&mut book, &self.rows, self.index, &command).unwrap();
        self.rows.put(outcome.effects.clone());
        self.rows.put(book.flush());
        for event in &outcome.leases {
            match event {
                LeaseEvent::Lives(lease) => self.leases.insert(lease.id, *lease),
                LeaseEvent::Ended(id) => self.leases.remove(id),
            };
        }
        outcome
    }

    /// Asks with an action, and takes the reply to a key's write.
    pub(super) fn key(&mut self, space: &Space, op: KeyOp) -> KeyReply {
        match self.run(&request(Action::Key(*space, op))) {
            Reply::Key(reply) => reply,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn row(&self, space: &Space, key: &str) -> Option<Row> {
        let bytes = self.rows.rows.get(&data_key(space.id, key.as_bytes()))?;
        Some(Row::decode(bytes).unwrap())
    }

    pub(super) fn value(&self, space: &Space, key: &str) -> Option<String> {
        self.row(space, key).map(|row| String::from_utf8_lossy(&row.value).into_owned())
    }
}

pub(super) fn slot(number: u16) -> Slot {
    Slot::new(number).unwrap()
}

pub(super) fn own(first: u16, last: u16, epoch: u64) -> Command {
    Command::Own { ranges: vec![SlotRange { first: slot(first), last: slot(last) }], epoch }
}

pub(super) fn spread() -> Space {
    let (quota, value_bytes_max) = (None, 64);
    Space { id: NamespaceId(1), ordered: false, recorded: true, quota, value_bytes_max }
}

pub(super) fn ordered() -> Space {
    Space { id: NamespaceId(2), ordered: true, recorded: false, ..spread() }
}

pub(super) fn request(action: Action) -> Command {
    Command::Request(Request { epoch: 1, at_ms: 7, once: None, action })
}

pub(super) fn request_once(key: &str, fingerprint: u8, action: Action) -> Command {
    let key = Bytes::copy_from_slice(key.as_bytes());
    let once = Some(Once { space: NamespaceId(1), key, fingerprint: [fingerprint; 16] });
    Command::Request(Request { epoch: 1, at_ms: 7, once, action })
}

pub(super) fn on(key: &str, op: WriteOp) -> KeyOp {
    let key = Bytes::copy_from_slice(key.as_bytes());
    KeyOp { slot: slot(3), key, require: Require::None, op, give: Give::Nothing }
}

pub(super) fn put(key: &str, value: &str) -> KeyOp {
    put_on(key, value, Attach::None)
}

pub(super) fn put_on(key: &str, value: &str, attach: Attach) -> KeyOp {
    let value = Bytes::copy_from_slice(value.as_bytes());
    on(key, WriteOp::Put { value, content_type: None, attach })
}

pub(super) fn delete(key: &str) -> KeyOp {
    on(key, WriteOp::Delete)
}
