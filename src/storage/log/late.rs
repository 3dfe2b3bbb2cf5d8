//! A planted bug: the last entries of a batch are told durable, but written with the next batch.
//!
//! Why it exists: see [`planted`]; compiled only for the harness's self-test. Promises: records keep
//! their order; marks alone do not count as a next batch. Relies on: one log in the process.

use parking_lot::Mutex;

use super::format::Record;
use crate::runtime::planted::{self, Bug};

static HELD: Mutex<Option<Record>> = Mutex::new(None);

/// Takes the last record of entries out of a batch; gives back the one of the batch before.
pub(super) fn hold_back(mut records: Vec<&Record>) -> (Option<Record>, Vec<&Record>) {
    let is_mark = |record: &&Record| {
        matches!(record, Record::Committed { .. } | Record::Note { .. } | Record::Vote { .. })
    };
    if !planted::active(Bug::LoseLastOfGroupCommit) || records.iter().all(is_mark) {
        return (None, records);
    }
    let mut held = HELD.lock();
    let late = held.take();
    // Only the very last: what follows in the batch may take it for written.
    if matches!(records.last(), Some(Record::Entries { .. })) {
        *held = records.pop().cloned();
    }
    (late, records)
}
