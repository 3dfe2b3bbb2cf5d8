//! The order of the writes to each key, as their answers and the values' ETags tell it.
//!
//! Why it exists: a read that is allowed to be old can still be judged exactly: its answer says at
//! which index of the group it stands, and each write has an index of its own. Promises: only answered
//! writes count as certain; a write without an answer excuses, never accuses. Relies on: every value
//! being written once.

use std::collections::BTreeMap;

use super::finding::{Findings, extra, extra_number, place_of, shows};
use crate::history::{History, Kind, Operation};

/// A write `[key value]`, with its index when it was answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Write<'a> {
    /// The value.
    pub(crate) value: i64,
    /// Its place in the group's order.
    pub(crate) index: Option<u64>,
    /// The operation.
    pub(crate) operation: Operation<'a>,
}

/// An answered read of one key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Read<'a> {
    /// The key.
    pub(crate) key: i64,
    /// The value, or none.
    pub(crate) value: Option<i64>,
    /// The index of the write that it shows; 0 for none.
    pub(crate) written: u64,
    /// The index that the answer reflects.
    pub(crate) index: u64,
    /// The operation.
    pub(crate) operation: Operation<'a>,
}

/// All writes, by key in the order of their indices; the unanswered ones last.
#[derive(Debug, Default)]
pub(crate) struct Order<'a> {
    /// By key.
    pub(crate) keys: BTreeMap<i64, Vec<Write<'a>>>,
    /// Answered reads.
    pub(crate) reads: Vec<Read<'a>>,
}

impl<'a> Order<'a> {
    /// Sorts the `write` and `read` operations of a history.
    pub(crate) fn of(history: &'a History) -> Self {
        let mut order = Self::default();
        for operation in history.operations() {
            let Some((key, value)) = operation.invoke.value.as_keyed() else { continue };
            let Some(key) = key.as_int() else { continue };
            match (operation.invoke.f.as_str(), operation.kind()) {
                ("write", kind) if kind != Kind::Fail => {
                    let Some(value) = value.as_int() else { continue };
                    let witness = operation.complete.and_then(|event| event.witness);
                    let index = witness.filter(|_| kind == Kind::Ok).map(|witness| witness.index);
                    let write = Write { value, index, operation };
                    order.keys.entry(key).or_default().push(write);
                }
                ("read", Kind::Ok) => order.reads.extend(Self::read(key, operation)),
                _ => {}
            }
        }
        for writes in order.keys.values_mut() {
            writes.sort_by_key(|write| write.index.unwrap_or(u64::MAX));
        }
        order
    }

    fn read(key: i64, operation: Operation<'a>) -> Option<Read<'a>> {
        let complete = operation.complete?;
        let value = complete.value.as_keyed().and_then(|(_, value)| value.as_int());
        let etag = extra(complete, "etag").as_text().and_then(place_of);
        Some(Read {
            key,
            value,
            written: etag.map_or(0, |(_, index)| index),
            index: complete.witness?.index,
            operation,
        })
    }

    /// The writes of a key.
    pub(crate) fn writes(&self, key: i64) -> &[Write<'a>] {
        self.keys.get(&key).map_or(&[], Vec::as_slice)
    }

    /// Judges what holds for every read, however old: it shows the last write up to its index.
    pub(crate) fn judge(&self, findings: &mut Findings) {
        for read in &self.reads {
            let writes = self.writes(read.key);
            let shown =
                |write: &Write<'a>| shows([&read.operation, &write.operation]).collect::<Vec<_>>();
            let newer = writes.iter().rev().find(|write| {
                write.index.is_some_and(|index| index > read.written && index <= read.index)
            });
            if let Some(newer) = newer {
                let words = format!(
                    "a read of key {} reflects index {} and shows the write at {}, not the one at \
                     {:?} (value {})",
                    read.key, read.index, read.written, newer.index, newer.value
                );
                findings.add("wrong-at-index", words, shown(newer));
            }
            if read.written > read.index {
                let words = format!(
                    "a read of key {} reflects index {} and shows a write at {}",
                    read.key, read.index, read.written
                );
                findings.add("wrong-at-index", words, shows([&read.operation]));
            }
            let Some(value) = read.value else { continue };
            match writes.iter().find(|write| write.value == value) {
                None => {
                    let words = format!("nobody wrote {value} to key {}", read.key);
                    findings.add("unwritten", words, shows([&read.operation]));
                }
                Some(write) if write.index.is_some_and(|index| index != read.written) => {
                    let words = format!(
                        "value {value} of key {} was written at {:?}, and is shown as of {}",
                        read.key, write.index, read.written
                    );
                    findings.add("wrong-etag", words, shown(write));
                }
                Some(write)
                    if write.operation.invoke.time > super::finding::ended(&read.operation) =>
                {
                    let words =
                        format!("value {value} of key {} was read before it was written", read.key);
                    findings.add("from-the-future", words, shown(write));
                }
                Some(_) => {}
            }
        }
    }

    /// The age that an answer says, in milliseconds; `None` when it says that it is unknown.
    pub(crate) fn age(read: &Read<'a>) -> Option<u64> {
        extra_number(read.operation.complete?, "age-ms")
    }
}
