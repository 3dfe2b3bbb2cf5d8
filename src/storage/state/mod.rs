//! The applied state of all groups: memtables over a working index over the newest checkpoints.
//!
//! Why it exists: applying an effect must cost about a microsecond and never wait for a disk, a read
//! must say exactly which applied index it reflects, and nothing here may be the only copy.
//!
//! A lookup goes through the group's active memtable, its frozen ones, the working index (changes
//! since the checkpoint that did not stay in memory) and the newest checkpoint, which is read in
//! place. A checkpoint merges all of that into a new file, after which the layers above start empty.
//!
//! Promises: `get` and `scan` reflect exactly the index they return; memory is bounded
//! (`memtable_bytes_max`, beyond which `apply` waits); after any unclean stop `applied` is what the
//! newest checkpoint says, and the caller applies the log again from there. Changes that are recorded
//! can be followed and looked back through for a while (`history`, `changes`, `page`).
//! Relies on: the log being purged only behind a durable checkpoint.

mod changes;
mod digest;
mod due;
mod filter;
mod flush;
mod group;
mod history;
mod kept;
mod merge;
mod metrics;
mod open;
mod options;
mod page;
mod replace;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex, RwLock};

use self::due::Size;
use self::group::{Group, Layers};
use self::merge::{Window, successor};
use super::checkpoint::{Applied, Checkpoint, HISTORY, Receiver, Shelf};
use super::engine::{Engine, Failure};
use super::{Disk, Effect, GroupId, StorageError};
use crate::runtime::Env;

pub use self::changes::Changes;
pub use self::digest::Digest;
pub use self::history::Change;
pub use self::metrics::StateMetrics;
pub use self::options::{Read, RebuildProgress, Rebuilt, StateOptions, StateStats};
pub use self::page::{Gone, Page, PageRows};

/// Handle to the applied state of a node; cheap to clone. The last one that is dropped ends the
/// background thread; without `close` before that, the next open is as after a crash.
#[derive(Clone, Debug)]
pub struct State(Arc<Handle>);

#[derive(Debug)]
struct Handle {
    inner: Arc<Inner>,
    flusher: Mutex<Option<std::thread::JoinHandle<()>>>,
}

/// What the handles and the flusher share.
#[derive(Debug)]
struct Inner {
    disk: Arc<dyn Disk>,
    env: Env,
    options: StateOptions,
    metrics: StateMetrics,
    engine: Arc<dyn Engine>,
    /// Names the working index in the clean marker, so that one cannot stand for another.
    generation: u64,
    shelf: Shelf,
    groups: RwLock<BTreeMap<GroupId, Arc<Group>>>,
    memtable_bytes: AtomicUsize,
    /// Of all groups' histories.
    history_bytes: AtomicUsize,
    rebuilt: Option<Rebuilt>,
    /// The first failure; nothing is applied or written after it.
    failure: Failure,
    stopping: AtomicBool,
    /// Whether a thread flushes; without one `apply` does it itself.
    background: bool,
    bell: Bell,
}

/// Wakes the flusher when there is work, and appliers when there is room.
#[derive(Debug, Default)]
struct Bell {
    lock: Mutex<()>,
    work: Condvar,
    room: Condvar,
}

/// What a closure given to [`State::apply`] may do.
#[derive(Debug)]
pub struct Applying<'a> {
    inner: &'a Inner,
    group: GroupId,
    layers: &'a mut Layers,
}

impl Applying<'_> {
    /// The value of a key, with what was put before in the same closure.
    pub fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        self.layers.get(&*self.inner.engine, self.group, key)
    }

    /// At most `limit` rows from the key `from` on and below `to`, in key order, with what was put
    /// before in the same closure. They are copies: what is put of them later keeps no block of a
    /// checkpoint in memory.
    pub fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, StorageError> {
        let copy = Bytes::copy_from_slice;
        let window = Window { from: copy(from), to: Some(copy(to)), reverse: false };
        let mut rows = Vec::new();
        if window.is_empty() {
            return Ok(rows);
        }
        let mut merge = self.layers.merge(&*self.inner.engine, self.group, window)?;
        while rows.len() < limit {
            let Some((key, value)) = merge.next()? else { break };
            rows.push((copy(&key), copy(&value)));
        }
        Ok(rows)
    }

    /// Makes changes of the entry `index`; they become visible when the closure returns. Those that
    /// say what was before go into the group's history. Keys and values are kept as they are, so
    /// they own their memory rather than a part of something larger.
    ///
    /// # Panics
    ///
    /// If the entry was applied before, or a key is one of those that checkpoints keep for
    /// themselves.
    pub fn put_effects(&mut self, index: u64, effects: Vec<Effect>) {
        assert!(
            self.layers.applied.as_ref().is_none_or(|applied| index > applied.index),
            "entry {index} was applied before, {} is",
            self.layers.index()
        );
        let before = self.layers.active.bytes;
        for Effect { key, value, recorded } in effects {
            assert!(
                key.first().is_none_or(|first| *first < HISTORY),
                "keys from {HISTORY:#x} on belong to the history in checkpoints"
            );
            if let Some(recorded) = recorded {
                self.layers.history.record(index, key.clone(), value.clone(), recorded);
            }
            self.layers.put(key, value);
        }
        // One change of the shared counter for all: it may shrink, so it wraps.
        let grown = self.layers.active.bytes.wrapping_sub(before);
        self.inner.memtable_bytes.fetch_add(grown, Ordering::Relaxed);
    }

    /// Says up to where the log is applied now.
    pub fn set_applied(&mut self, applied: Applied) {
        assert!(
            applied.index >= self.layers.index(),
            "the applied index of a group never falls: {} after {}",
            applied.index,
            self.layers.index()
        );
        self.layers.applied = Some(applied);
    }

    /// Up to where the log is applied.
    pub fn applied(&self) -> Option<&Applied> {
        self.layers.applied.as_ref()
    }
}

impl State {
    /// The groups that have state here.
    pub fn groups(&self) -> Vec<GroupId> {
        self.0.inner.groups.read().keys().copied().collect()
    }

    /// Up to where a group's log is applied; `None` if nothing is.
    pub fn applied(&self, group: GroupId) -> Option<Applied> {
        self.0.inner.find(group)?.layers.read().applied.clone()
    }

    /// Up to where a group's log is applied; 0 if nothing is.
    pub fn applied_index(&self, group: GroupId) -> u64 {
        self.0.inner.find(group).map_or(0, |found| found.layers.read().index())
    }

    /// Runs `f` under the group's write lock. Never waits for a disk write, except when memtables
    /// are beyond their bound; then it waits until the flusher has made room.
    ///
    /// If `f` fails half way its effects stay: the caller must stop applying to this group.
    pub fn apply<R>(
        &self,
        group: GroupId,
        f: impl FnOnce(&mut Applying<'_>) -> Result<R, StorageError>,
    ) -> Result<R, StorageError> {
        let inner = &*self.0.inner;
        inner.wait_for_room()?;
        let found = inner.find_or_create(group);
        let (result, index, forgotten) = {
            let mut layers = found.layers.write();
            // Looked at again under the lock: a stop that froze this group's rows meanwhile must not
            // find an index that is ahead of them.
            inner.check()?;
            let result = f(&mut Applying { inner, group, layers: &mut layers });
            let forgotten = inner.settle_history(&found, &mut layers);
            (result, layers.index(), forgotten)
        };
        found.announce(index);
        drop(forgotten);
        inner.make_history_room();
        if inner.is_above_budget() {
            inner.ask_for_flush()?;
        }
        result
    }

    /// The value of a key, and the applied index that it reflects.
    pub fn get(&self, group: GroupId, key: &[u8]) -> Result<Read, StorageError> {
        let inner = &*self.0.inner;
        let Some(found) = inner.find(group) else { return Ok(Read { value: None, index: 0 }) };
        let layers = found.layers.read();
        Ok(Read { value: layers.get(&*inner.engine, group, key)?, index: layers.index() })
    }

    /// At most `limit` rows in key order, and the applied index that they reflect. The group's
    /// applies wait meanwhile, so `limit` is small.
    pub fn scan(
        &self,
        group: GroupId,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        limit: usize,
    ) -> Result<(Vec<(Bytes, Bytes)>, u64), StorageError> {
        let inner = &*self.0.inner;
        let Some(found) = inner.find(group) else { return Ok((Vec::new(), 0)) };
        let from = match from {
            Bound::Unbounded => Bytes::new(),
            Bound::Included(key) => Bytes::copy_from_slice(key),
            Bound::Excluded(key) => successor(key),
        };
        let to = match to {
            Bound::Unbounded => None,
            Bound::Included(key) => Some(successor(key)),
            Bound::Excluded(key) => Some(Bytes::copy_from_slice(key)),
        };
        let window = Window { from, to, reverse: false };
        let layers = found.layers.read();
        let mut rows = Vec::new();
        if !window.is_empty() {
            let mut merge = layers.merge(&*inner.engine, group, window)?;
            while rows.len() < limit {
                let Some(row) = merge.next()? else { break };
                rows.push(row);
            }
        }
        Ok((rows, layers.index()))
    }

    /// The newest durable checkpoint of a group.
    pub fn current_checkpoint(&self, group: GroupId) -> Option<Checkpoint> {
        self.0.inner.shelf.current(group)
    }

    /// Groups whose changes since their checkpoint are large against the checkpoint: until they are
    /// written into a new one they take memory and several times their bytes in the working index.
    /// Earlier while the working index is large. Worst first.
    pub fn checkpoints_due(&self) -> Vec<GroupId> {
        let inner = &*self.0.inner;
        let groups: Vec<_> = inner.groups.read().values().cloned().collect();
        let sizes = groups.into_iter().map(|group| {
            let layers = group.layers.read();
            // What a checkpoint writes: of a small group with a long history mostly that.
            let base = layers.base_tally.bytes + layers.history.row_bytes() as u64;
            let indexed = layers.delta.bytes;
            let changed = indexed + layers.memtable_row_bytes() as u64;
            Size { group: group.id, changed, base, indexed }
        });
        due::due(sizes.collect(), inner.shelf.bytes())
    }

    /// Starts to receive a checkpoint of a group from another node.
    pub fn receive(&self, group: GroupId) -> Result<Receiver, StorageError> {
        self.0.inner.shelf.receive(group)
    }

    /// Waits until there is room for more effects. Blocks; for a thread that may.
    ///
    /// # Errors
    ///
    /// When the state has failed or is closed.
    pub fn wait_for_room(&self) -> Result<(), StorageError> {
        self.0.inner.wait_for_room()
    }

    /// Whether memtables are above their budget: the sign to take fewer writes.
    pub fn is_overloaded(&self) -> bool {
        self.0.inner.memtable_bytes.load(Ordering::Relaxed)
            > 2 * self.0.inner.options.memtable_bytes
    }

    /// Why the working index was thrown away at open, if it was.
    pub fn rebuilt(&self) -> Option<&Rebuilt> {
        self.0.inner.rebuilt.as_ref()
    }

    /// Sizes now; also refreshes the gauges.
    pub fn stats(&self) -> StateStats {
        self.0.inner.stats()
    }
}

impl Inner {
    fn find(&self, group: GroupId) -> Option<Arc<Group>> {
        self.groups.read().get(&group).cloned()
    }

    fn find_or_create(&self, group: GroupId) -> Arc<Group> {
        if let Some(found) = self.find(group) {
            return found;
        }
        let mut groups = self.groups.write();
        let new = || Arc::new(Group::new(group, Layers::default()));
        groups.entry(group).or_insert_with(new).clone()
    }

    fn stats(&self) -> StateStats {
        let groups: Vec<_> = self.groups.read().values().cloned().collect();
        let mut stats = StateStats {
            memtable_bytes: self.memtable_bytes.load(Ordering::Relaxed) as u64,
            index_disk_bytes: self.engine.disk_bytes(),
            checkpoint_bytes: self.shelf.bytes(),
            history_bytes: self.history_bytes.load(Ordering::Relaxed) as u64,
            ..StateStats::default()
        };
        for group in groups {
            let layers = group.layers.read();
            let in_memory = layers.active.rows.len()
                + layers.frozen.iter().map(|table| table.rows.len()).sum::<usize>();
            stats.rows += layers.base_tally.rows + layers.delta.rows + in_memory as u64;
            stats.index_rows += layers.delta.rows;
            stats.history_changes += layers.history.len() as u64;
        }
        let m = &self.metrics;
        for (figure, value) in [
            (&m.memtable_bytes, stats.memtable_bytes),
            (&m.index_rows, stats.index_rows),
            (&m.index_disk_bytes, stats.index_disk_bytes),
            (&m.checkpoint_bytes, stats.checkpoint_bytes),
            (&m.rows, stats.rows),
            (&m.history_bytes, stats.history_bytes),
            (&m.history_changes, stats.history_changes),
        ] {
            figure.set(metrics::gauge_value(value));
        }
        stats
    }
}
