//! Following a group: its recorded changes in order, and its applied index.
//!
//! Promises: `changes` never leaves one out silently: it says up to where it looked, and that the
//! history no longer reaches back where it does not. What it does under the group's lock is bounded,
//! and so is one call: who follows calls again. Memory for the history is bounded for the node: when
//! it is used up the group with the most gives its oldest chunk.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use tokio::sync::watch;

use super::group::{Group, Layers};
use super::history::{Change, Chunk};
use super::merge::Window;
use super::page::Gone;
use super::{Inner, State};
use crate::runtime::limits::CHANGES_CHUNKS_MAX;
use crate::storage::{GroupId, StorageError};

/// Recorded changes, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// Those of whole entries.
    pub changes: Vec<Change>,
    /// What came after this index is known.
    pub floor: u64,
    /// Everything asked for up to this index is in `changes`.
    pub upto: u64,
    /// The group's applied index; what is between `upto` and this is for another call.
    pub applied: u64,
}

impl State {
    /// Recorded changes after the entry `after` whose keys begin with `prefix`: about `bytes_max`
    /// bytes of them, but whole entries and one of them at least. Does not block.
    ///
    /// # Errors
    ///
    /// [`Gone`] when the history no longer reaches back to `after`.
    pub fn changes(
        &self,
        group: GroupId,
        after: u64,
        prefix: &[u8],
        bytes_max: usize,
    ) -> Result<Result<Changes, Gone>, StorageError> {
        self.changes_within(group, after, (prefix, end_of(prefix).as_deref()), bytes_max)
    }

    /// The same for the keys from the first bound on and below the second.
    ///
    /// # Errors
    ///
    /// As `changes`.
    pub fn changes_within(
        &self,
        group: GroupId,
        after: u64,
        (from, to): (&[u8], Option<&[u8]>),
        bytes_max: usize,
    ) -> Result<Result<Changes, Gone>, StorageError> {
        let inner = &*self.0.inner;
        inner.check_failure()?;
        let Some(found) = inner.find(group) else {
            return Ok(Ok(Changes { changes: Vec::new(), floor: 0, upto: after, applied: 0 }));
        };
        let (from, to) = (Bytes::copy_from_slice(from), to.map(Bytes::copy_from_slice));
        let window = Window { from, to, reverse: false };
        let (floor, applied, chunks, open) = {
            let layers = found.layers.read();
            let (floor, applied) = (layers.history.floor(), layers.index());
            if after < floor {
                return Ok(Err(Gone { floor }));
            }
            let chunks: Vec<Arc<Chunk>> =
                layers.history.sealed_since(after).take(CHANGES_CHUNKS_MAX).cloned().collect();
            // The open chunk only where the sealed ones are all taken.
            let open: Option<Vec<Change>> = (chunks.len() < CHANGES_CHUNKS_MAX).then(|| {
                let changes = layers.history.open_since(after).iter();
                changes.filter(|change| window.contains(&change.key)).cloned().collect()
            });
            (floor, applied, chunks, open)
        };
        let mut taken = Taken { changes: Vec::new(), bytes: 0, bytes_max, full_at: None };
        let sealed = chunks.iter().flat_map(|chunk| chunk.since(after));
        for change in sealed.filter(|change| window.contains(&change.key)) {
            if !taken.take(change.clone()) {
                break;
            }
        }
        let last = chunks.last().map_or(after, |chunk| chunk.last());
        let all = open.is_some();
        for change in open.into_iter().flatten() {
            if taken.full_at.is_some() || !taken.take(change) {
                break;
            }
        }
        let looked = if all { applied.max(after) } else { last };
        let upto = taken.full_at.unwrap_or(looked);
        Ok(Ok(Changes { changes: taken.changes, floor, upto, applied }))
    }

    /// Follows the applied index of a group. The receiver is closed when the group goes, and from
    /// the start where it has no state here.
    pub fn applied_watch(&self, group: GroupId) -> watch::Receiver<u64> {
        let found = self.0.inner.find(group);
        found.map_or_else(|| watch::channel(0).1, |found| found.announced.subscribe())
    }

    /// Forgets a group's changes up to `floor`, whole chunks of them; from now on they are gone for
    /// everybody. Never beyond the applied index.
    pub fn trim_history(&self, group: GroupId, floor: u64) {
        let inner = &*self.0.inner;
        let Some(found) = inner.find(group) else { return };
        let forgotten = {
            let mut layers = found.layers.write();
            let floor = floor.min(layers.index());
            let forgotten = layers.history.trim(floor);
            inner.count_history(&found, &layers);
            forgotten
        };
        drop(forgotten);
    }

    /// What came after this index is known of a group; 0 for a group that is not here.
    pub fn history_floor(&self, group: GroupId) -> u64 {
        self.0.inner.find(group).map_or(0, |found| found.layers.read().history.floor())
    }
}

/// Changes up to a bound, whole entries of them.
struct Taken {
    changes: Vec<Change>,
    bytes: usize,
    bytes_max: usize,
    /// The last entry, once another does not fit.
    full_at: Option<u64>,
}

impl Taken {
    /// False if the change is of an entry that does not fit.
    fn take(&mut self, change: Change) -> bool {
        if let Some(last) = self.changes.last()
            && self.bytes >= self.bytes_max
            && last.index < change.index
        {
            // Whatever lies between the two entries was looked at.
            self.full_at = Some(change.index - 1);
            return false;
        }
        self.bytes += change.row_bytes();
        self.changes.push(change);
        true
    }
}

impl Inner {
    /// Brings the counters up to a group's history. The caller holds the group's write lock.
    pub(super) fn count_history(&self, group: &Group, layers: &Layers) {
        let now = layers.history.bytes();
        let before = group.history_bytes.swap(now, Ordering::Relaxed);
        if before != now {
            // It may shrink, so it wraps.
            self.history_bytes.fetch_add(now.wrapping_sub(before), Ordering::Relaxed);
        }
    }

    /// After an apply, under the group's lock: keeps the group's own bound. What is returned is for
    /// dropping after the lock.
    pub(super) fn settle_history(&self, group: &Group, layers: &mut Layers) -> Vec<Arc<Chunk>> {
        let mut forgotten = Vec::new();
        while layers.history.is_above_its_bound() {
            forgotten.extend(layers.history.forget_oldest());
            self.metrics.history_forgotten.inc();
        }
        self.count_history(group, layers);
        forgotten
    }

    /// Keeps the node's bound. No lock is held by the caller.
    pub(super) fn make_history_room(&self) {
        while self.history_bytes.load(Ordering::Relaxed) > self.options.history_bytes {
            let largest = {
                let groups = self.groups.read();
                let bytes = |group: &&Arc<Group>| group.history_bytes.load(Ordering::Relaxed);
                groups.values().max_by_key(bytes).cloned()
            };
            let Some(group) = largest else { return };
            let forgotten = {
                let mut layers = group.layers.write();
                let forgotten = layers.history.forget_oldest();
                self.count_history(&group, &layers);
                forgotten
            };
            if forgotten.is_none() {
                return;
            }
            self.metrics.history_forgotten.inc();
        }
    }
}

/// The smallest key above all that begin with `prefix`.
fn end_of(prefix: &[u8]) -> Option<Vec<u8>> {
    let kept = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut end = prefix.get(..=kept)?.to_vec();
    *end.last_mut()? += 1;
    Some(end)
}
