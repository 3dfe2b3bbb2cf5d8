//! Live records of an old segment, read so that they can be written anew.
//!
//! Why it exists: a group that is seldom written to would pin old segments for ever. Its few live
//! records go into the newest segment, and the old one goes back into the stock.
//!
//! Promises: the files are read without holding up the readers of the log. Relies on: being called by
//! the writer, the only one that changes what is kept.

use std::collections::VecDeque;

use parking_lot::Mutex;

use super::format::Record;
use super::kept::{Item, Kept};
use super::read::{self, Run};
use crate::storage::{GroupId, StorageError};

/// What is to be written anew: a record, or entries still to be read.
enum Part {
    Small(Record),
    Entries(GroupId, Run),
}

/// Takes items off the front until they make up `max` bytes; those that live elsewhere by now, or
/// no more, are passed over. Returns the records and their bytes.
pub(super) fn next(
    kept: &Mutex<Kept>,
    seq: u64,
    items: &mut VecDeque<Item>,
    max: usize,
) -> Result<(Vec<Record>, usize), StorageError> {
    let (parts, bytes) = plan(&kept.lock(), seq, items, max);
    let mut records = Vec::with_capacity(parts.len());
    for part in parts {
        records.push(match part {
            Part::Small(record) => record,
            Part::Entries(group, run) => {
                let entries = read::read_run(&run.segment, run.first, &run.places)?;
                let entries = entries.into_iter().map(|entry| entry.bytes).collect();
                Record::Entries { group, first: run.first, entries }
            }
        });
    }
    Ok((records, bytes))
}

fn plan(kept: &Kept, seq: u64, items: &mut VecDeque<Item>, max: usize) -> (Vec<Part>, usize) {
    let mut parts = Vec::new();
    let mut bytes = 0;
    while bytes < max
        && let Some(item) = items.pop_front()
    {
        let Item::Entry(id, index) = item else {
            if let Some(record) = small(kept, item, seq) {
                bytes += record.encoded_len();
                parts.push(Part::Small(record));
            }
            continue;
        };
        let place = kept.groups.get(&id).and_then(|group| group.place(index));
        let Some(place) = place.filter(|place| place.seq == seq) else { continue };
        let Some(segment) = kept.segments.get(&seq) else { continue };
        bytes += place.len as usize + Record::ENTRY_OVERHEAD;
        match parts.last_mut() {
            Some(Part::Entries(group, run)) if *group == id && run.joins(index, place) => {
                run.places.push(place);
            }
            _ => {
                bytes += Record::ENTRIES_HEAD;
                parts.push(Part::Entries(id, Run::new(segment, index, place)));
            }
        }
    }
    (parts, bytes)
}

/// The record of a small item, if it still lives in that segment.
fn small(kept: &Kept, item: Item, seq: u64) -> Option<Record> {
    let group = |id: GroupId| kept.groups.get(&id);
    match item {
        Item::Entry(..) => None,
        Item::Vote(id) => {
            let (vote, _) = group(id)?.vote.as_ref().filter(|held| held.1 == seq)?;
            Some(Record::Vote { group: id, vote: vote.clone() })
        }
        Item::Committed(id) => {
            let (committed, _) = group(id)?.committed.as_ref().filter(|held| held.1 == seq)?;
            Some(Record::Committed { group: id, committed: committed.clone() })
        }
        Item::Purged(id) => {
            let (mark, _) = group(id)?.purged.as_ref().filter(|held| held.1 == seq)?;
            Some(Record::Purge { group: id, index: mark.index, mark: mark.bytes.clone() })
        }
        Item::Note(key) => {
            let (value, _) = kept.notes.get(&key).filter(|held| held.1 == seq)?;
            Some(Record::Note { key, value: value.clone() })
        }
    }
}
