//! What replaces a group's layers as a whole: checkpoint, install, drop.
//!
//! Promises: a checkpoint holds exactly the state at its applied index, although writes go on; no
//! lock that a read or an apply needs is held while bytes are written. It brings its history along, and
//! so does one that is received. An install is atomic: the
//! rename of the received file is the moment; a crash before it leaves the old state, after it the
//! new one, because at open a newer checkpoint makes the working index of its group void.
//! Relies on: `Group::moving` keeps the flusher and each other away.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::group::{Frozen, Group, Layers};
use super::kept::{self, FrozenHistory};
use super::merge::{Merge, Source, Window};
use super::{Inner, State};
use crate::runtime::planted::{self, Bug};
use crate::storage::checkpoint::{Applied, Checkpoint, Table, Tally, Writer};
use crate::storage::{GroupId, StorageError};

/// The layers of a group at one applied index. Nobody changes them while `moving` is held.
struct FrozenView {
    applied: Applied,
    frozen: Vec<Arc<Frozen>>,
    delta: Tally,
    base: Option<Arc<Table>>,
    history: FrozenHistory,
}

impl State {
    /// Writes a checkpoint at the applied index of this moment, while writes go on. Durable and
    /// current when it returns. Blocks for as long as it takes to copy the group's rows once.
    ///
    /// # Panics
    ///
    /// If nothing was ever applied to the group.
    pub fn checkpoint(&self, group: GroupId) -> Result<Checkpoint, StorageError> {
        let inner = &*self.0.inner;
        inner.check()?;
        let found = inner.find(group).expect("a checkpoint is asked of a group that has state");
        let _moving = found.moving.lock();
        // Again: while this waited the state may have failed or closed.
        inner.check()?;
        let started = inner.env.clock.now();
        let mut view = {
            let mut layers = found.layers.write();
            layers.freeze();
            FrozenView {
                applied: layers.applied.clone().expect("a checkpoint is asked after an apply"),
                frozen: layers.frozen.iter().cloned().collect(),
                delta: layers.delta,
                base: layers.base.clone(),
                history: FrozenHistory::of(&mut layers.history),
            }
        };
        let current = inner.shelf.current(group).filter(|c| *c.applied() == view.applied);
        if let Some(current) = current {
            return Ok(current);
        }
        if planted::active(Bug::SnapshotMissesLast) {
            std::thread::park_timeout(std::time::Duration::from_millis(200));
            let later = found.layers.read().applied.clone();
            view.applied = later.expect("a checkpoint is asked after an apply");
        }
        let checkpoint = inner.write_checkpoint(group, &view).and_then(|checkpoint| {
            inner.start_over_from(&found, &checkpoint, view.frozen.len())?;
            Ok(checkpoint)
        });
        match checkpoint {
            Ok(checkpoint) => {
                let took = inner.env.clock.now().since(started);
                inner.metrics.checkpoint_seconds.observe(took.as_secs_f64());
                Ok(checkpoint)
            }
            Err(error) => {
                inner.fail(&error);
                Err(error)
            }
        }
    }

    /// Replaces a group's whole state by a received checkpoint, which becomes its current one.
    /// Blocks; a checkpoint of the group that is being written finishes first.
    pub fn install(&self, group: GroupId, received: Checkpoint) -> Result<(), StorageError> {
        let inner = &*self.0.inner;
        inner.check()?;
        assert_eq!(received.group(), group, "a checkpoint is installed into its own group");
        let found = inner.find_or_create(group);
        let _moving = found.moving.lock();
        inner.check()?;
        let installed = inner
            .shelf
            .adopt(received)
            .and_then(|placed| inner.start_over_from(&found, &placed, usize::MAX));
        if let Err(error) = &installed {
            inner.fail(error);
        }
        installed
    }

    /// Removes all state of a group, durably. A crash in the middle may leave its checkpoint: the
    /// caller drops groups again that it no longer knows. Nobody applies to the group meanwhile.
    pub fn drop_group(&self, group: GroupId) -> Result<(), StorageError> {
        let inner = &*self.0.inner;
        inner.check()?;
        let Some(found) = inner.find(group) else { return Ok(()) };
        let _moving = found.moving.lock();
        inner.check()?;
        let old = std::mem::take(&mut *found.layers.write());
        inner.memtable_bytes.fetch_sub(old.memtable_bytes(), Ordering::Relaxed);
        let history = found.history_bytes.swap(0, Ordering::Relaxed);
        inner.history_bytes.fetch_sub(history, Ordering::Relaxed);
        inner.ring();
        // The index before the entry in the map: a group of the same number that is made later
        // must not lose rows to this.
        let dropped = inner.engine.clear(group).and_then(|()| inner.shelf.forget(group));
        inner.groups.write().remove(&group);
        if let Err(error) = &dropped {
            inner.fail(error);
        }
        dropped
    }
}

impl Inner {
    fn write_checkpoint(
        &self,
        group: GroupId,
        view: &FrozenView,
    ) -> Result<Checkpoint, StorageError> {
        let all = Window::all();
        let mut sources: Vec<_> =
            view.frozen.iter().rev().map(|table| Source::map(&table.rows, &all)).collect();
        if view.delta.rows > 0 {
            sources.push(Source::index(&*self.engine, group, &all));
        }
        sources.extend(view.base.iter().map(|base| Source::table(base, &all)));
        let mut rows = Merge::new(sources, all)?;
        let path = self.shelf.temporary(group)?;
        let mut writer = Writer::create(&*self.disk, path, group, view.applied.clone())?;
        while let Some((key, value)) = rows.next()? {
            if planted::active(Bug::OnceNotInSnapshots) && key.first() == Some(&0x13) {
                continue;
            }
            writer.push(&key, &value)?;
        }
        view.history.write(&mut writer, &[], (0, view.applied.index))?;
        self.shelf.publish(writer.finish()?)
    }

    /// Makes a checkpoint the bottom layer. `covered` oldest frozen tables are part of it; with
    /// `usize::MAX` it replaces everything, the applied index included.
    fn start_over_from(
        &self,
        group: &Group,
        checkpoint: &Checkpoint,
        covered: usize,
    ) -> Result<(), StorageError> {
        let table = Table::open(&*self.disk, &checkpoint.path())?;
        let is_install = covered == usize::MAX;
        // The sender's, also where it reaches back further than ours: nothing is missing in it.
        let bytes_max = self.options.history_bytes;
        let received = is_install.then(|| kept::of_checkpoint(&table, bytes_max)).transpose()?;
        let base = Some(Arc::new(table));
        let replaced = {
            let mut layers = group.layers.write();
            let mut old = Layers { base, base_tally: checkpoint.tally(), ..Layers::default() };
            if let Some(received) = received {
                old.applied = Some(checkpoint.applied().clone());
                old.history = received;
            } else {
                // What was written since the view was frozen stays on top.
                old.applied = layers.applied.clone();
                old.active = std::mem::take(&mut layers.active);
                old.history = std::mem::take(&mut layers.history);
                old.frozen = layers.frozen.split_off(covered);
            }
            std::mem::swap(&mut *layers, &mut old);
            self.count_history(group, &layers);
            old
        };
        if is_install {
            group.announce(checkpoint.applied().index);
            self.make_history_room();
        }
        self.memtable_bytes.fetch_sub(replaced.memtable_bytes(), Ordering::Relaxed);
        self.ring();
        // From here on no read asks the index for this group, whose rows are all in the base.
        if replaced.delta.rows > 0 {
            self.engine.clear(group.id)?;
        }
        Ok(())
    }
}

/// The bottom layer of a group at open.
pub(super) fn from_checkpoint(
    disk: &dyn crate::storage::Disk,
    checkpoint: &Checkpoint,
    (verify, history_bytes_max): (bool, usize),
) -> Result<Layers, StorageError> {
    let path = checkpoint.path();
    let table = Table::open(disk, Path::new(&path))?;
    if verify {
        table.verify()?;
    }
    Ok(Layers {
        history: kept::of_checkpoint(&table, history_bytes_max)?,
        applied: Some(checkpoint.applied().clone()),
        base: Some(Arc::new(table)),
        base_tally: checkpoint.tally(),
        ..Layers::default()
    })
}
