//! A group's history: the recorded changes of its newest entries, in memory.
//!
//! Why it exists: a watch follows changes, and a view of an earlier index needs what rows were. Both
//! are no rows: they age, each node forgets them by itself, and no digest counts them.
//!
//! The ring is a sequence of sealed chunks, which never change and are shared by handle, and one open
//! one. So whoever reads much of it, as a checkpoint does, clones handles under the group's lock and
//! goes through them after it. A chunk ends with an entry. When a view first looks into a sealed
//! chunk, the chunk sorts the numbers of its changes by key, so that a page searches instead of
//! passing over everything.
//!
//! Promises: every recorded change with an index in (floor, applied] is there, in order. An entry is
//! forgotten wholly or not at all. Whatever would leave a gap raises the floor instead.
//! Relies on: values that own their memory. Nothing is copied here: `before` and `after` are the
//! very buffers of memtables, or what a lookup copied out of its block; `model` encodes each row
//! into a buffer of its own, and a history that was read from a file shares its blocks of 2 KiB
//! with its neighbours, which are forgotten together.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::merge::Window;
use crate::runtime::limits::{
    HISTORY_CHANGE_OVERHEAD, HISTORY_CHUNK_BYTES, HISTORY_CHUNK_CHANGES, HISTORY_GROUP_CHANGES_MAX,
};
use crate::storage::Recorded;

/// A recorded change of one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The entry that made it.
    pub index: u64,
    /// Its number among the recorded changes of that entry, from 0.
    pub seq: u32,
    /// The row's key.
    pub key: Bytes,
    /// The value before; `None` when there was no row.
    pub before: Option<Bytes>,
    /// The value since; `None` when the row was removed.
    pub after: Option<Bytes>,
    /// The owner's word for the kind of change.
    pub note: u8,
}

impl Change {
    /// Bytes of key and values.
    pub(super) fn row_bytes(&self) -> usize {
        let len = |value: &Option<Bytes>| value.as_ref().map_or(0, Bytes::len);
        self.key.len() + len(&self.before) + len(&self.after)
    }

    fn counted(&self) -> usize {
        self.row_bytes() + HISTORY_CHANGE_OVERHEAD
    }
}

/// Changes of whole entries, in order.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    changes: Vec<Change>,
    bytes: usize,
    /// Numbers of the changes by key, then by age; made when first asked for.
    by_key: OnceLock<Vec<u32>>,
}

impl Chunk {
    /// The index of the last entry.
    pub(super) fn last(&self) -> u64 {
        self.changes.last().map_or(0, |change| change.index)
    }

    /// The changes after `after`.
    pub(super) fn since(&self, after: u64) -> &[Change] {
        let from = self.changes.partition_point(|change| change.index <= after);
        self.changes.get(from..).unwrap_or_default()
    }

    fn change(&self, number: &u32) -> Option<&Change> {
        self.changes.get(usize::try_from(*number).ok()?)
    }

    fn by_key(&self) -> &[u32] {
        self.by_key.get_or_init(|| {
            let count = u32::try_from(self.changes.len()).unwrap_or(u32::MAX);
            let mut numbers: Vec<u32> = (0..count).collect();
            // Stable, so that changes of one key stay in their order.
            numbers.sort_by_key(|number| self.change(number).map(|change| &change.key[..]));
            numbers
        })
    }

    /// The changes of the window, by key in its direction; those of one key in any order.
    fn within<'a>(&'a self, window: &Window) -> impl Iterator<Item = &'a Change> + use<'a> {
        let numbers = self.by_key();
        let below = |bound: &[u8]| {
            let is_below = |number: &u32| self.change(number).is_some_and(|c| c.key < *bound);
            numbers.partition_point(is_below)
        };
        let end = window.to.as_ref().map_or(numbers.len(), |to| below(to));
        let found = numbers.get(below(&window.from)..end).unwrap_or_default();
        let reverse = window.reverse;
        let at =
            move |i: usize| if reverse { found.get(found.len() - 1 - i) } else { found.get(i) };
        (0..found.len()).filter_map(at).filter_map(|number| self.change(number))
    }
}

/// The recorded changes of one group.
#[derive(Debug, Default)]
pub(super) struct History {
    /// Oldest first.
    sealed: VecDeque<Arc<Chunk>>,
    open: Chunk,
    floor: u64,
    changes: usize,
    bytes: usize,
    row_bytes: usize,
    /// Index and number of the newest change ever.
    newest: (u64, u32),
}

impl History {
    /// Empty, and without what came up to `floor`.
    pub(super) fn starting_at(floor: u64) -> Self {
        Self { floor, ..Self::default() }
    }

    /// Everything after this index is there.
    pub(super) const fn floor(&self) -> u64 {
        self.floor
    }

    /// What it takes in memory, at most.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes of its keys and values: about what it takes in a file.
    pub(super) const fn row_bytes(&self) -> usize {
        self.row_bytes
    }

    /// How many changes there are.
    pub(super) const fn len(&self) -> usize {
        self.changes
    }

    /// Adds a change of the entry `index`.
    pub(super) fn record(
        &mut self,
        index: u64,
        key: Bytes,
        after: Option<Bytes>,
        recorded: Recorded,
    ) {
        let (last, seq) = self.newest;
        let seq = if index == last && last > 0 { seq + 1 } else { 0 };
        let Recorded { before, note } = recorded;
        self.push(Change { index, seq, key, before, after, note });
    }

    /// Adds a change that is newer than all there are.
    pub(super) fn push(&mut self, change: Change) {
        let place = (change.index, change.seq);
        assert!(
            self.newest == (0, 0) || place > self.newest,
            "history is recorded in order: {place:?} after {:?}",
            self.newest
        );
        let full = self.open.bytes >= HISTORY_CHUNK_BYTES
            || self.open.changes.len() >= HISTORY_CHUNK_CHANGES;
        if full && change.index > self.newest.0 {
            self.seal();
        }
        self.newest = place;
        self.open.bytes += change.counted();
        self.bytes += change.counted();
        self.row_bytes += change.row_bytes();
        self.changes += 1;
        self.open.changes.push(change);
    }

    /// Makes the open chunk one that can be shared. The caller is between entries.
    pub(super) fn seal(&mut self) {
        if !self.open.changes.is_empty() {
            self.sealed.push_back(Arc::new(std::mem::take(&mut self.open)));
        }
    }

    /// Everything as chunks; cheap, whatever its size. The caller is between entries.
    pub(super) fn freeze(&mut self) -> Vec<Arc<Chunk>> {
        self.seal();
        self.sealed.iter().cloned().collect()
    }

    /// Forgets the oldest chunk. What it returns takes a while to drop: not under the lock.
    pub(super) fn forget_oldest(&mut self) -> Option<Arc<Chunk>> {
        if self.sealed.is_empty() {
            self.seal();
        }
        let chunk = self.sealed.pop_front()?;
        self.floor = self.floor.max(chunk.last());
        self.changes -= chunk.changes.len();
        self.bytes -= chunk.bytes;
        self.row_bytes -= chunk.changes.iter().map(Change::row_bytes).sum::<usize>();
        Some(chunk)
    }

    /// Raises the floor, and forgets the chunks that are wholly below it.
    pub(super) fn trim(&mut self, floor: u64) -> Vec<Arc<Chunk>> {
        self.floor = self.floor.max(floor);
        let mut forgotten = Vec::new();
        if self.open.last() <= self.floor {
            self.seal();
        }
        while self.sealed.front().is_some_and(|chunk| chunk.last() <= self.floor) {
            forgotten.extend(self.forget_oldest());
        }
        forgotten
    }

    /// Whether the group has more changes than one group may.
    pub(super) const fn is_above_its_bound(&self) -> bool {
        self.changes > HISTORY_GROUP_CHANGES_MAX
    }

    /// The sealed chunks with changes after `after`, oldest first.
    pub(super) fn sealed_since(&self, after: u64) -> impl Iterator<Item = &Arc<Chunk>> {
        let from = self.sealed.partition_point(|chunk| chunk.last() <= after);
        self.sealed.range(from..)
    }

    /// The changes after `after` that are in no sealed chunk.
    pub(super) fn open_since(&self, after: u64) -> &[Change] {
        self.open.since(after)
    }
}

/// What rows were at an earlier index: for each key that changed since, the value before its first
/// change.
#[derive(Debug)]
pub(super) struct Overlay {
    at: u64,
    max: usize,
    window: Window,
    before: BTreeMap<Bytes, Option<Bytes>>,
}

impl Overlay {
    /// Of at most `max` rows: where more changed, the window ends earlier.
    pub(super) const fn new(at: u64, max: usize, window: Window) -> Self {
        Self { at, max, window, before: BTreeMap::new() }
    }

    /// Takes in a sealed chunk; oldest first.
    pub(super) fn add_chunk(&mut self, chunk: &Chunk) {
        // One key's changes may come newest first here, and those up to `at` do not count, so the
        // oldest that counts is looked for in each run of one key.
        let mut oldest: Option<&Change> = None;
        for change in chunk.within(&self.window.clone()) {
            if oldest.is_some_and(|oldest| oldest.key != change.key)
                && let Some(done) = oldest.take()
            {
                self.add(done);
            }
            if !self.window.contains(&change.key) {
                // The window has become shorter, and these keys go on in its direction.
                break;
            }
            let older = |found: &Change| (change.index, change.seq) < (found.index, found.seq);
            if change.index > self.at && oldest.is_none_or(older) {
                oldest = Some(change);
            }
        }
        if let Some(done) = oldest {
            self.add(done);
        }
    }

    /// Takes in one change; oldest first.
    pub(super) fn add(&mut self, change: &Change) {
        if change.index <= self.at
            || !self.window.contains(&change.key)
            || self.before.contains_key(&change.key)
        {
            return;
        }
        self.before.insert(change.key.clone(), change.before.clone());
        if self.before.len() > self.max {
            let last =
                if self.window.reverse { self.before.pop_first() } else { self.before.pop_last() };
            if let Some((last, _)) = last {
                self.window.stop_before(last);
            }
        }
    }

    /// The rows, and the window for which they are all that changed.
    pub(super) fn done(self) -> (BTreeMap<Bytes, Option<Bytes>>, Window) {
        (self.before, self.window)
    }
}
