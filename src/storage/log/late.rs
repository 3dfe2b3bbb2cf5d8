//! A planted bug: the last entries of a batch are told durable, but written with the next batch.
//!
//! Why it exists: see [`planted`]; compiled only for the harness's self-test. Promises: records keep
//! their order; marks alone do not count as a next batch. Relies on: one log in the process.

use parking_lot::Mutex;

use super::format::Record;
use crate::runtime::planted::{self, Bug};

static HELD: Mutex<Vec<Record>> = Mutex::new(Vec::new());

/// Takes the last record of entries out of a batch, with the marks that ride behind it; gives back
/// what was held of the batch before.
pub(super) fn hold_back(mut records: Vec<&Record>) -> (Vec<Record>, Vec<&Record>) {
    let is_mark = |record: &&Record| {
        matches!(record, Record::Committed { .. } | Record::Note { .. } | Record::Vote { .. })
    };
    if !planted::active(Bug::LoseLastOfGroupCommit) || records.iter().all(is_mark) {
        return (Vec::new(), records);
    }
    let mut held = HELD.lock();
    let late = std::mem::take(&mut *held);
    // Only the very last: what follows in the batch, but marks, may take it for written.
    let marks = records.iter().rev().take_while(|record| is_mark(record)).count();
    let last = records.len() - marks - 1;
    if matches!(records.get(last), Some(Record::Entries { .. })) {
        *held = records.split_off(last).into_iter().cloned().collect();
    }
    (late, records)
}
