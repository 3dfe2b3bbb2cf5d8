//! What is on disk, as a replay of the segments would find it.
//!
//! Why it exists: the writer decides by it which segment nothing needs any more, and a start
//! rebuilds it; both go through `run`, so that what the running node believes about its disk is what
//! a restart will find. It lags behind what callers see by what is still queued.
//!
//! Promises: a segment without live items may go once all older ones are gone. Only from the old
//! end: a truncation must outlive the entries that it removes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use super::format::Record;
use super::segment::Segment;
use super::types::Mark;
use crate::storage::GroupId;

/// Where an entry's bytes are. `len` does not count its length and checksum before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) seq: u64,
    pub(super) offset: u32,
    pub(super) len: u32,
}

/// The seq of a place that no record has filled: its entry is written anew in a later segment.
const HOLE: Place = Place { seq: 0, offset: 0, len: 0 };

/// What an entry takes when it is written anew, at most, beside its bytes.
const ENTRY_COST: u64 = (Record::ENTRY_OVERHEAD + Record::ENTRIES_HEAD) as u64;

/// What a vote, a mark or a note takes when it is written anew: they are a few dozen bytes.
const SMALL_COST: u64 = 128;

/// A gap wider than this in a group's entries comes from no history that we wrote.
const GAP_MAX: u64 = 1 << 26;

/// A small value and the segment it is in.
type Held<T> = Option<(T, u64)>;

#[derive(Debug, Default)]
pub(super) struct KeptGroup {
    pub(super) vote: Held<Bytes>,
    pub(super) committed: Held<Bytes>,
    pub(super) purged: Held<Mark>,
    pub(super) first: u64,
    pub(super) places: VecDeque<Place>,
    pub(super) live_bytes: u64,
}

/// Live items of a segment, and the bytes that they would take when written anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Live {
    pub(super) items: u64,
    pub(super) bytes: u64,
}

/// One live item of a segment.
#[derive(Clone, Copy, Debug)]
pub(super) enum Item {
    Entry(GroupId, u64),
    Vote(GroupId),
    Committed(GroupId),
    Purged(GroupId),
    Note(u64),
}

#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) groups: BTreeMap<GroupId, KeptGroup>,
    pub(super) notes: BTreeMap<u64, (Bytes, u64)>,
    pub(super) live: BTreeMap<u64, Live>,
    pub(super) segments: BTreeMap<u64, Arc<Segment>>,
}

impl KeptGroup {
    pub(super) fn place(&self, index: u64) -> Option<Place> {
        let at = usize::try_from(index.checked_sub(self.first)?).ok()?;
        self.places.get(at).copied().filter(|place| *place != HOLE)
    }

    /// The first index that no segment holds although entries around it are there.
    pub(super) fn hole(&self) -> Option<u64> {
        let start = match &self.purged {
            Some((mark, _)) if !self.places.is_empty() && self.first > mark.index + 1 => {
                return Some(mark.index + 1);
            }
            _ => self.first,
        };
        self.places.iter().position(|place| *place == HOLE).map(|at| start + at as u64)
    }

    pub(super) fn last(&self) -> Option<u64> {
        if self.places.is_empty() { None } else { Some(self.first + self.places.len() as u64 - 1) }
    }
}

impl Kept {
    /// Takes a durable record; `None` if no history of ours could hold it.
    pub(super) fn run(&mut self, record: &Record, seq: u64, places: &[(u32, u32)]) -> Option<()> {
        let live = &mut self.live;
        match record {
            Record::Entries { group, first, .. } => {
                let kept = self.groups.entry(*group).or_default();
                for (step, (offset, len)) in places.iter().enumerate() {
                    let place = Place { seq, offset: *offset, len: *len };
                    kept.insert(live, first + step as u64, place)?;
                }
            }
            Record::Vote { group, vote } => {
                let held = &mut self.groups.entry(*group).or_default().vote;
                hold(live, held, vote.clone(), seq);
            }
            Record::Committed { group, committed } => {
                let held = &mut self.groups.entry(*group).or_default().committed;
                hold(live, held, committed.clone(), seq);
            }
            Record::TruncateAfter { group, index } => {
                self.groups.entry(*group).or_default().truncate_after(live, *index);
            }
            Record::Purge { group, index, mark } => {
                let kept = self.groups.entry(*group).or_default();
                kept.purge(live, *index);
                hold(live, &mut kept.purged, Mark { index: *index, bytes: mark.clone() }, seq);
            }
            Record::Drop { group } => {
                let kept = self.groups.entry(*group).or_default();
                kept.truncate_after(live, None);
                release(live, &mut kept.committed);
                release(live, &mut kept.purged);
                if kept.vote.is_none() {
                    self.groups.remove(group);
                }
            }
            Record::Note { key, value } => {
                let mut held = self.notes.remove(key);
                release(live, &mut held);
                hold(live, &mut held, value.clone(), seq);
                self.notes.extend(held.map(|held| (*key, held)));
            }
        }
        Some(())
    }

    /// Every live item of a segment.
    pub(super) fn items_of(&self, seq: u64) -> Vec<Item> {
        let mut items = Vec::new();
        for (group, kept) in &self.groups {
            let index = |at: usize| kept.first + at as u64;
            let places = kept.places.iter().enumerate().filter(|(_, place)| place.seq == seq);
            items.extend(places.map(|(at, _)| Item::Entry(*group, index(at))));
            if kept.vote.as_ref().is_some_and(|held| held.1 == seq) {
                items.push(Item::Vote(*group));
            }
            if kept.committed.as_ref().is_some_and(|held| held.1 == seq) {
                items.push(Item::Committed(*group));
            }
            if kept.purged.as_ref().is_some_and(|held| held.1 == seq) {
                items.push(Item::Purged(*group));
            }
        }
        let notes = self.notes.iter().filter(|(_, held)| held.1 == seq);
        items.extend(notes.map(|(key, _)| Item::Note(*key)));
        items
    }

    pub(super) fn live_of(&self, seq: u64) -> Live {
        self.live.get(&seq).copied().unwrap_or_default()
    }
}

impl KeptGroup {
    fn insert(&mut self, live: &mut BTreeMap<u64, Live>, index: u64, place: Place) -> Option<()> {
        if self.places.is_empty() {
            self.first = index;
        }
        let ahead = self.first.saturating_sub(index);
        let behind = index.saturating_sub(self.first + self.places.len() as u64);
        if ahead.max(behind) > GAP_MAX {
            return None;
        }
        for _ in 0..ahead {
            self.places.push_front(HOLE);
        }
        self.first -= ahead;
        let at = usize::try_from(index - self.first).ok()?;
        if at >= self.places.len() {
            self.places.resize(at + 1, HOLE);
        }
        let slot = self.places.get_mut(at)?;
        let old = std::mem::replace(slot, place);
        self.forget(live, old);
        count(live, place.seq, u64::from(place.len) + ENTRY_COST);
        self.live_bytes += u64::from(place.len);
        Some(())
    }

    fn truncate_after(&mut self, live: &mut BTreeMap<u64, Live>, index: Option<u64>) {
        while self.last().is_some_and(|last| index.is_none_or(|index| last > index)) {
            if let Some(place) = self.places.pop_back() {
                self.forget(live, place);
            }
        }
    }

    fn purge(&mut self, live: &mut BTreeMap<u64, Live>, index: u64) {
        while !self.places.is_empty() && self.first <= index {
            if let Some(place) = self.places.pop_front() {
                self.forget(live, place);
            }
            self.first += 1;
        }
    }

    fn forget(&mut self, live: &mut BTreeMap<u64, Live>, place: Place) {
        if place != HOLE {
            uncount(live, place.seq, u64::from(place.len) + ENTRY_COST);
            self.live_bytes -= u64::from(place.len);
        }
    }
}

fn hold<T>(live: &mut BTreeMap<u64, Live>, held: &mut Held<T>, value: T, seq: u64) {
    if let Some((_, old)) = held.replace((value, seq)) {
        uncount(live, old, SMALL_COST);
    }
    count(live, seq, SMALL_COST);
}

fn release<T>(live: &mut BTreeMap<u64, Live>, held: &mut Held<T>) {
    if let Some((_, seq)) = held.take() {
        uncount(live, seq, SMALL_COST);
    }
}

fn count(live: &mut BTreeMap<u64, Live>, seq: u64, bytes: u64) {
    let live = live.entry(seq).or_default();
    live.items += 1;
    live.bytes += bytes;
}

fn uncount(live: &mut BTreeMap<u64, Live>, seq: u64, bytes: u64) {
    let live = live.entry(seq).or_default();
    assert!(live.items > 0 && live.bytes >= bytes, "an item is counted as live until it is gone");
    live.items -= 1;
    live.bytes -= bytes;
}
