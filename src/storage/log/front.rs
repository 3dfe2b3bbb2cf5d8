//! The log as its callers see it: groups including what still waits, and the queue.
//!
//! Why it exists: an entry is readable the moment `append` returns, long before it is durable. The
//! queue stands under the same lock, so that its order is the order in which callers changed things.
//!
//! Promises: entries not yet durable stay in memory; durable ones do up to `cache_bytes`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use super::format::Record;
use super::kept::Kept;
use super::types::{Entry, Flushed, GroupState, Mark};
use crate::runtime::Moment;
use crate::runtime::planted::{self, Bug};
use crate::storage::{GroupId, StorageError};

/// What a request costs in the queue beyond its record.
const REQUEST_OVERHEAD: usize = 64;

/// Something to write, or (without a record) only to be told in order.
pub(super) struct Request {
    pub(super) record: Option<Record>,
    pub(super) done: Option<Flushed>,
    pub(super) bytes: usize,
    /// The group's generation, and the entries before this index are durable with this request.
    pub(super) flushes: Option<(GroupId, u64, u64)>,
}

#[derive(Debug, Default)]
pub(super) struct FrontGroup {
    vote: Option<Bytes>,
    committed: Option<Bytes>,
    purged: Option<Mark>,
    /// Whether `next` is known; a group without entries and mark may start anywhere.
    placed: bool,
    first: u64,
    next: u64,
    /// The newest entries; the last of them is `next - 1`.
    recent: VecDeque<Bytes>,
    /// Entries before this one are durable.
    flushed: u64,
    /// The number of the request that last removed entries from the end, or created the group: the
    /// flush of a removed entry must not be taken for its successor's.
    generation: u64,
}

impl FrontGroup {
    fn new(generation: u64) -> Self {
        Self { generation, ..Self::default() }
    }

    fn recent_first(&self) -> u64 {
        self.next - self.recent.len() as u64
    }

    pub(super) fn state(&self) -> GroupState {
        let some = self.first < self.next;
        GroupState {
            vote: self.vote.clone(),
            committed: self.committed.clone(),
            purged: self.purged.clone(),
            first_index: some.then_some(self.first),
            last_index: some.then(|| self.next - 1),
        }
    }
}

type PoisonHook = Box<dyn FnOnce(&StorageError) + Send>;

#[derive(Default)]
pub(super) struct Front {
    pub(super) groups: BTreeMap<GroupId, FrontGroup>,
    pub(super) notes: BTreeMap<u64, Bytes>,
    queue: VecDeque<Request>,
    pub(super) queue_bytes: usize,
    /// Requests ever queued and ever taken: a commit mark rides no earlier than its entries.
    queued: u64,
    taken: u64,
    lazy_committed: BTreeMap<GroupId, u64>,
    lazy_notes: BTreeSet<u64>,
    pub(super) lazy_since: Option<Moment>,
    pub(super) recent_bytes: usize,
    evict_after: GroupId,
    pub(super) closing: bool,
    pub(super) closed: bool,
    pub(super) full: bool,
    pub(super) waiting: bool,
    pub(super) poisoned: Option<String>,
    pub(super) on_poison: Vec<PoisonHook>,
}

impl std::fmt::Debug for Front {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Front").field("queue_bytes", &self.queue_bytes).finish_non_exhaustive()
    }
}

impl Front {
    /// The view after a start: everything that is on disk, nothing in memory.
    pub(super) fn recovered(kept: &Kept) -> Self {
        let mut front = Self::default();
        for (id, kept) in &kept.groups {
            let purged = kept.purged.as_ref().map(|held| held.0.clone());
            let after_mark = purged.as_ref().map_or(0, |mark| mark.index + 1);
            let first = kept.last().map_or(after_mark, |_| kept.first);
            let next = kept.last().map_or(after_mark, |last| last + 1);
            let group = FrontGroup {
                vote: kept.vote.as_ref().map(|held| held.0.clone()),
                committed: kept.committed.as_ref().map(|held| held.0.clone()),
                placed: purged.is_some() || first < next,
                purged,
                first,
                next,
                recent: VecDeque::new(),
                flushed: next,
                generation: 0,
            };
            front.groups.insert(*id, group);
        }
        front.notes = kept.notes.iter().map(|(key, held)| (*key, held.0.clone())).collect();
        front
    }

    fn push(&mut self, record: Option<Record>, done: Option<Flushed>) -> &mut Request {
        let bytes = REQUEST_OVERHEAD + record.as_ref().map_or(0, Record::encoded_len);
        self.queue_bytes += bytes;
        self.queued += 1;
        self.queue.push_back(Request { record, done, bytes, flushes: None });
        self.queue.back_mut().expect("it was pushed just now")
    }

    pub(super) fn append(
        &mut self,
        id: GroupId,
        entries: Vec<Entry>,
        chunk_max: usize,
        done: Flushed,
    ) {
        let Some(start) = entries.first().map(|entry| entry.index) else {
            self.push(None, Some(done));
            return;
        };
        let group = self.groups.entry(id).or_insert_with(|| FrontGroup::new(self.queued));
        if !group.placed {
            (group.placed, group.first, group.next, group.flushed) = (true, start, start, start);
        }
        let generation = group.generation;
        let (mut chunk, mut chunk_bytes, mut chunk_first) = (Vec::new(), 0, start);
        let mut chunks = Vec::new();
        for entry in entries {
            assert!(
                entry.index == group.next,
                "group {id}: entry {} is appended where {} is next: a log has no holes",
                entry.index,
                group.next
            );
            let bytes = entry.bytes.len() + 8;
            if chunk_bytes + bytes > chunk_max && !chunk.is_empty() {
                chunks.push((chunk_first, std::mem::take(&mut chunk)));
                (chunk_bytes, chunk_first) = (0, entry.index);
            }
            chunk_bytes += bytes;
            self.recent_bytes += entry.bytes.len();
            group.recent.push_back(entry.bytes.clone());
            group.next += 1;
            chunk.push(entry.bytes);
        }
        for (first, entries) in chunks {
            let next = first + entries.len() as u64;
            let record = Record::Entries { group: id, first, entries };
            self.push(Some(record), None).flushes = Some((id, generation, next));
        }
        let next = chunk_first + chunk.len() as u64;
        let record = Record::Entries { group: id, first: chunk_first, entries: chunk };
        self.push(Some(record), Some(done)).flushes = Some((id, generation, next));
    }

    pub(super) fn save_vote(&mut self, id: GroupId, vote: Bytes, done: Flushed) {
        self.groups.entry(id).or_insert_with(|| FrontGroup::new(self.queued)).vote =
            Some(vote.clone());
        if planted::active(Bug::SkipVoteFsync) {
            self.push(None, Some(done));
            return;
        }
        self.push(Some(Record::Vote { group: id, vote }), Some(done));
    }

    pub(super) fn save_committed(&mut self, id: GroupId, committed: Bytes, now: Moment) {
        self.groups.entry(id).or_insert_with(|| FrontGroup::new(self.queued)).committed =
            Some(committed);
        self.lazy_committed.insert(id, self.queued);
        self.lazy_since.get_or_insert(now);
    }

    pub(super) fn note(&mut self, key: u64, value: Bytes, now: Moment) {
        self.notes.insert(key, value);
        self.lazy_notes.insert(key);
        self.lazy_since.get_or_insert(now);
    }

    pub(super) fn truncate_after(&mut self, id: GroupId, index: Option<u64>) {
        let group = self.groups.entry(id).or_insert_with(|| FrontGroup::new(self.queued));
        let next = index.map_or(group.first, |index| index.saturating_add(1).max(group.first));
        if next >= group.next {
            return;
        }
        for _ in next.max(group.recent_first())..group.next {
            let bytes = group.recent.pop_back().expect("the recent entries reach up to next");
            self.recent_bytes -= bytes.len();
        }
        group.next = next;
        group.flushed = group.flushed.min(next);
        group.generation = self.queued + 1;
        group.placed = group.purged.is_some() || group.first < next;
        let flushes = Some((id, group.generation, next));
        let record = Record::TruncateAfter { group: id, index };
        self.push(Some(record), None).flushes = flushes;
    }

    pub(super) fn purge(&mut self, id: GroupId, upto: Mark, done: Flushed) {
        let group = self.groups.entry(id).or_insert_with(|| FrontGroup::new(self.queued));
        if group.purged.as_ref().is_some_and(|mark| mark.index >= upto.index) {
            self.push(None, Some(done));
            return;
        }
        let next = upto.index + 1;
        assert!(
            group.first >= group.next || group.first <= next,
            "group {id}: the log starts with {}, a mark at {} leaves a hole: a log has no holes",
            group.first,
            upto.index
        );
        while group.recent_first() < next
            && let Some(bytes) = group.recent.pop_front()
        {
            self.recent_bytes -= bytes.len();
        }
        if !group.placed {
            // A group whose entries were all taken back starts anew, wherever it stood before.
            (group.first, group.next, group.flushed) = (next, next, next);
        }
        group.first = group.first.max(next);
        group.next = group.next.max(next);
        group.flushed = group.flushed.max(next);
        (group.placed, group.purged) = (true, Some(upto.clone()));
        let record = Record::Purge { group: id, index: upto.index, mark: upto.bytes };
        self.push(Some(record), Some(done));
    }

    pub(super) fn drop_group(&mut self, id: GroupId, done: Flushed) {
        if let Some(group) = self.groups.remove(&id) {
            self.recent_bytes -= group.recent.iter().map(Bytes::len).sum::<usize>();
            if group.vote.is_some() {
                let rest = FrontGroup { vote: group.vote, ..FrontGroup::new(self.queued + 1) };
                self.groups.insert(id, rest);
            }
        }
        self.lazy_committed.remove(&id);
        self.push(Some(Record::Drop { group: id }), Some(done));
    }

    pub(super) fn barrier(&mut self, done: Flushed) {
        self.push(None, Some(done));
    }

    /// Entries of a range that are in memory, and the part before them that is not.
    pub(super) fn read(
        &self,
        id: GroupId,
        from: u64,
        to: u64,
        bytes_max: usize,
    ) -> (std::ops::Range<u64>, Vec<Entry>) {
        let Some(group) = self.groups.get(&id) else { return (0..0, Vec::new()) };
        let (from, to) = (from.max(group.first), to.min(group.next));
        if from >= to {
            return (0..0, Vec::new());
        }
        let recent = group.recent_first();
        if from < recent {
            return (from..to.min(recent), Vec::new());
        }
        let skip = usize::try_from(from - recent).unwrap_or(usize::MAX);
        let mut bytes = 0;
        let mut entries = Vec::new();
        for (index, entry) in (from..to).zip(group.recent.iter().skip(skip)) {
            bytes += entry.len();
            if bytes > bytes_max && !entries.is_empty() {
                break;
            }
            entries.push(Entry { index, bytes: entry.clone() });
        }
        (0..0, entries)
    }

    /// Whether a batch has a reason to be written now.
    pub(super) fn has_work(&self) -> bool {
        !self.queue.is_empty()
    }

    pub(super) fn has_lazy(&self) -> bool {
        !self.lazy_committed.is_empty() || !self.lazy_notes.is_empty()
    }

    /// The next batch: the front of the queue, and the marks that may ride on it.
    pub(super) fn take(&mut self, bytes_max: usize) -> Vec<Request> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        while let Some(request) = self.queue.front() {
            bytes += request.bytes;
            if bytes > bytes_max && !batch.is_empty() {
                break;
            }
            batch.extend(self.queue.pop_front());
            self.taken += 1;
        }
        self.take_lazy(bytes_max, &mut batch);
        batch
    }

    fn take_lazy(&mut self, bytes_max: usize, batch: &mut Vec<Request>) {
        let mut bytes = 0;
        let taken = self.taken;
        let ripe = self.lazy_committed.iter().filter(|(_, after)| **after <= taken);
        let ripe: Vec<GroupId> = ripe.map(|(group, _)| *group).collect();
        let mut records = Vec::new();
        for group in ripe {
            self.lazy_committed.remove(&group);
            let committed = self.groups.get(&group).and_then(|group| group.committed.clone());
            records.extend(committed.map(|committed| Record::Committed { group, committed }));
            bytes += records.last().map_or(0, Record::encoded_len);
            if bytes > bytes_max {
                break;
            }
        }
        while bytes <= bytes_max
            && let Some(key) = self.lazy_notes.pop_first()
        {
            let value = self.notes.get(&key).cloned();
            records.extend(value.map(|value| Record::Note { key, value }));
            bytes += records.last().map_or(0, Record::encoded_len);
        }
        if !self.has_lazy() {
            self.lazy_since = None;
        }
        let requests = records.into_iter().map(|record| Request {
            record: Some(record),
            done: None,
            bytes: 0,
            flushes: None,
        });
        batch.extend(requests);
    }

    /// Why nothing is taken any more, if so.
    pub(super) fn refusal(&self) -> Option<StorageError> {
        let closed = self.closed.then(|| "the log is closed".to_owned());
        let reason = self.poisoned.clone().or(closed)?;
        Some(StorageError::Poisoned { reason })
    }

    /// Notes that requests were written, and lets old entries go from memory. Those of a failed
    /// write stay: they are nowhere else.
    pub(super) fn written(&mut self, requests: &[Request], durable: bool, cache_bytes: usize) {
        for request in requests {
            self.queue_bytes -= request.bytes;
            let flushes = request.flushes.filter(|_| durable);
            let Some((id, generation, next)) = flushes else { continue };
            if let Some(group) = self.groups.get_mut(&id).filter(|g| g.generation == generation) {
                group.flushed = group.flushed.max(next);
            }
        }
        let mut idle = 0;
        while self.recent_bytes > cache_bytes && idle <= self.groups.len() {
            if self.evict_some() { idle = 0 } else { idle += 1 }
        }
    }

    /// Lets go of the older half of what one group could spare; groups take turns.
    fn evict_some(&mut self) -> bool {
        let after = (std::ops::Bound::Excluded(self.evict_after), std::ops::Bound::Unbounded);
        let next = self.groups.range(after).next().or_else(|| self.groups.iter().next());
        let Some(id) = next.map(|(id, _)| *id) else { return false };
        self.evict_after = id;
        let Some(group) = self.groups.get_mut(&id) else { return false };
        let spare = group.flushed.saturating_sub(group.recent_first());
        for _ in 0..spare.div_ceil(2) {
            if let Some(bytes) = group.recent.pop_front() {
                self.recent_bytes -= bytes.len();
            }
        }
        spare > 0
    }
}
