//! The layers of one group: memtables over the working index over the newest checkpoint.
//!
//! Why it exists: an applied effect must be visible at once and cheap, so it goes into an ordered
//! map; maps are frozen and later written to the working index; what is older than the newest
//! checkpoint is read from the checkpoint itself.
//!
//! Promises: under the group's read lock, a lookup through all layers is the state at `applied`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use super::filter::{self, Filter};
use super::history::History;
use super::merge::{Merge, Source, Window};
use crate::runtime::limits::MEMTABLE_ROW_OVERHEAD;
use crate::runtime::planted::{self, Bug};
use crate::storage::checkpoint::{Applied, Table, Tally};
use crate::storage::engine::Engine;
use crate::storage::{GroupId, StorageError};

/// Changed rows; `None` for a removed one.
pub(super) type Rows = BTreeMap<Bytes, Option<Bytes>>;

/// A memtable that no longer changes.
#[derive(Debug)]
pub(super) struct Frozen {
    pub(super) rows: Rows,
    pub(super) bytes: usize,
    filter: Filter,
}

impl Frozen {
    /// An empty one that will hold about so many rows.
    fn for_rows(rows: usize) -> Self {
        Self { rows: Rows::new(), bytes: 0, filter: Filter::for_rows(rows) }
    }

    fn get(&self, key: &[u8], hash: u64) -> Option<&Option<Bytes>> {
        if self.filter.may_hold(hash) { self.rows.get(key) } else { None }
    }
}

impl Default for Frozen {
    fn default() -> Self {
        Self::for_rows(0)
    }
}

/// One group's state.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) id: GroupId,
    pub(super) layers: RwLock<Layers>,
    /// Held by whoever moves rows between layers: flush, checkpoint, install, drop. Taken before
    /// `layers`, never while holding it.
    pub(super) moving: Mutex<()>,
    /// Counted bytes of the history, for whoever looks for the largest without a lock.
    pub(super) history_bytes: AtomicUsize,
    /// Tells the applied index to those who wait for it; ends with the group.
    pub(super) announced: watch::Sender<u64>,
}

impl Group {
    pub(super) fn new(id: GroupId, layers: Layers) -> Self {
        let announced = watch::Sender::new(layers.index());
        let history_bytes = AtomicUsize::new(layers.history.bytes());
        let (layers, moving) = (RwLock::new(layers), Mutex::new(()));
        Self { id, layers, moving, history_bytes, announced }
    }

    /// Tells the applied index; never a lower one, since tellers come after their lock.
    pub(super) fn announce(&self, index: u64) {
        self.announced.send_if_modified(|told| {
            let grows = index > *told;
            *told = index.max(*told);
            grows
        });
    }
}

/// What a lookup goes through, newest first.
#[derive(Debug, Default)]
pub(super) struct Layers {
    pub(super) applied: Option<Applied>,
    pub(super) active: Frozen,
    /// Oldest first.
    pub(super) frozen: VecDeque<Arc<Frozen>>,
    /// The group's rows in the working index: all newer than `base`.
    pub(super) delta: Tally,
    pub(super) base: Option<Arc<Table>>,
    /// Bytes of the rows of `base`, and how many.
    pub(super) base_tally: Tally,
    /// The recorded changes up to `applied`.
    pub(super) history: History,
}

impl Layers {
    pub(super) fn index(&self) -> u64 {
        self.applied.as_ref().map_or(0, |applied| applied.index)
    }

    pub(super) fn memtable_bytes(&self) -> usize {
        self.active.bytes + self.frozen.iter().map(|table| table.bytes).sum::<usize>()
    }

    /// The same without what a row costs in memory beside its bytes.
    pub(super) fn memtable_row_bytes(&self) -> usize {
        let bytes = |table: &Frozen| table.bytes - table.rows.len() * MEMTABLE_ROW_OVERHEAD;
        bytes(&self.active) + self.frozen.iter().map(|table| bytes(table)).sum::<usize>()
    }

    pub(super) fn get(
        &self,
        engine: &dyn Engine,
        group: GroupId,
        key: &[u8],
    ) -> Result<Option<Bytes>, StorageError> {
        let hash = filter::hash(key);
        let reappears = planted::active(Bug::RemovedRowReappears);
        if let Some(found) = self.active.get(key, hash)
            && (found.is_some() || !reappears)
        {
            return Ok(found.clone());
        }
        for table in self.frozen.iter().rev() {
            if let Some(found) = table.get(key, hash) {
                return Ok(found.clone());
            }
        }
        if self.delta.rows > 0
            && let Some(found) = engine.get(group, key)?
        {
            return untag(&found);
        }
        self.base.as_ref().map_or(Ok(None), |base| base.get(key))
    }

    /// Puts a change into the active memtable.
    pub(super) fn put(&mut self, key: Bytes, value: Option<Bytes>) {
        let value_len = |value: &Option<Bytes>| value.as_ref().map_or(0, Bytes::len);
        let (key_len, added) = (key.len(), value_len(&value));
        self.active.bytes += added;
        self.active.filter.add(filter::hash(&key));
        match self.active.rows.insert(key, value) {
            Some(previous) => self.active.bytes -= value_len(&previous),
            None => self.active.bytes += key_len + MEMTABLE_ROW_OVERHEAD,
        }
    }

    /// Moves the active memtable to the frozen ones; cheap, whatever its size.
    pub(super) fn freeze(&mut self) {
        if !self.active.rows.is_empty() {
            let next = Frozen::for_rows(self.active.rows.len());
            self.frozen.push_back(Arc::new(std::mem::replace(&mut self.active, next)));
        }
    }

    /// One pass over all layers. The window is not empty.
    pub(super) fn merge<'a>(
        &'a self,
        engine: &'a dyn Engine,
        group: GroupId,
        window: Window,
    ) -> Result<Merge<'a>, StorageError> {
        let mut sources = vec![Source::map(&self.active.rows, &window)];
        sources.extend(self.frozen.iter().rev().map(|table| Source::map(&table.rows, &window)));
        if self.delta.rows > 0 {
            sources.push(Source::index(engine, group, &window));
        }
        sources.extend(self.base.iter().map(|base| Source::table(base, &window)));
        Merge::new(sources, window)
    }
}

/// A change as it stands in the working index: a removed row hides that of the checkpoint.
pub(super) fn tag(value: Option<&Bytes>, out: &mut Vec<u8>) {
    out.clear();
    match value {
        None => out.push(0),
        Some(value) => {
            out.push(1);
            out.extend_from_slice(value);
        }
    }
}

/// The inverse of [`tag`].
pub(super) fn untag(stored: &Bytes) -> Result<Option<Bytes>, StorageError> {
    match stored.first() {
        Some(0) => Ok(None),
        Some(1) => Ok(Some(stored.slice(1..))),
        _ => Err(StorageError::Index { reason: "a row without its tag".to_owned() }),
    }
}
