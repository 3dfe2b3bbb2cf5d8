//! Moves frozen memtables into the working index, in the background and in key order.
//!
//! Why one thread: the working index is cheapest with one writer, and a bound on memory needs one
//! place that decides what goes next. Without a thread (simulation) `apply` does the same inline.
//!
//! Promises: a frozen table leaves memory only when all its rows are in the index; a failure stops
//! the node and is never retried. Relies on: `Group::moving`, so that no checkpoint or install of
//! the same group runs meanwhile.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::group::{Group, tag};
use super::{Handle, Inner};
use crate::runtime::limits::APPLY_DELAY_MAX;
use crate::storage::StorageError;

/// How long the flusher and waiting appliers sleep at most before they look again: only a guard
/// against a lost wake-up, since both are woken by the bell.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

impl Inner {
    pub(super) fn is_above_budget(&self) -> bool {
        self.memtable_bytes.load(Ordering::Relaxed) > self.options.memtable_bytes
    }

    pub(super) fn check_failure(&self) -> Result<(), StorageError> {
        let reason = self.failure.lock().clone();
        reason.map_or(Ok(()), |reason| Err(StorageError::Poisoned { reason }))
    }

    pub(super) fn check(&self) -> Result<(), StorageError> {
        self.check_failure()?;
        if self.stopping.load(Ordering::Acquire) {
            return Err(StorageError::Index { reason: "the state is closed".to_owned() });
        }
        Ok(())
    }

    /// Remembers the first failure and stops the node.
    pub(super) fn fail(&self, error: &StorageError) {
        let reason = error.to_string();
        self.failure.lock().get_or_insert(reason.clone());
        self.env.tasks.fail(reason);
        self.ring();
    }

    pub(super) fn wait_for_room(&self) -> Result<(), StorageError> {
        self.check()?;
        let max = self.options.memtable_bytes_max;
        let above = self.memtable_bytes.load(Ordering::Relaxed).saturating_sub(max / 2);
        if !self.background || above == 0 {
            return Ok(());
        }
        self.metrics.apply_waits.inc();
        let delay = APPLY_DELAY_MAX.mul_f64((above as f64 / (max / 2) as f64).min(1.0));
        let mut guard = self.bell.lock.lock();
        self.bell.work.notify_one();
        self.bell.room.wait_for(&mut guard, delay);
        while self.memtable_bytes.load(Ordering::Relaxed) >= max {
            self.check()?;
            self.bell.work.notify_one();
            self.bell.room.wait_for(&mut guard, LOOK_AGAIN);
        }
        Ok(())
    }

    pub(super) fn ask_for_flush(&self) -> Result<(), StorageError> {
        if self.background {
            self.bell.work.notify_one();
            return Ok(());
        }
        while self.is_above_budget() && self.flush_largest()? {}
        Ok(())
    }

    /// The flusher's loop, until the state is closed.
    pub(super) fn flush_in_background(&self) {
        while self.check().is_ok() {
            match if self.is_above_budget() { self.flush_largest() } else { Ok(false) } {
                Ok(true) => {}
                Ok(false) => {
                    let mut guard = self.bell.lock.lock();
                    if !self.stopping.load(Ordering::Acquire) {
                        self.bell.work.wait_for(&mut guard, LOOK_AGAIN);
                    }
                }
                Err(error) => self.fail(&error),
            }
        }
    }

    pub(super) fn ring(&self) {
        // Under the lock, so that nobody is between looking and waiting.
        let _guard = self.bell.lock.lock();
        self.bell.work.notify_all();
        self.bell.room.notify_all();
    }

    /// Flushes the group with the largest memtables of those that nobody moves rows of; false if
    /// there is none.
    pub(super) fn flush_largest(&self) -> Result<bool, StorageError> {
        let groups: Vec<_> = self.groups.read().values().cloned().collect();
        let mut sizes: Vec<_> = groups
            .into_iter()
            .map(|group| {
                let bytes = group.layers.read().memtable_bytes();
                (bytes, group)
            })
            .filter(|(bytes, _)| *bytes > 0)
            .collect();
        sizes.sort_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
        for (_, group) in sizes {
            if let Some(_moving) = group.moving.try_lock() {
                group.layers.write().freeze();
                self.flush_frozen(&group)?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Writes all frozen tables of a group, oldest first. The caller holds `moving`.
    pub(super) fn flush_frozen(&self, group: &Group) -> Result<(), StorageError> {
        let started = self.env.clock.now();
        let mut stored = Vec::new();
        loop {
            let (table, mut delta) = {
                let layers = group.layers.read();
                let Some(table) = layers.frozen.front().cloned() else { break };
                (table, layers.delta)
            };
            for (key, value) in &table.rows {
                tag(value.as_ref(), &mut stored);
                if let Some(previous) = self.engine.insert(group.id, key, &stored)? {
                    delta.subtract(key, &previous);
                }
                delta.add(key, &stored);
            }
            {
                let mut layers = group.layers.write();
                layers.delta = delta;
                layers.frozen.pop_front();
            }
            self.memtable_bytes.fetch_sub(table.bytes, Ordering::Relaxed);
            // A large map takes milliseconds to drop: after the lock, not under it.
            drop(table);
            self.ring();
        }
        let took = self.env.clock.now().since(started);
        self.metrics.flush_seconds.observe(took.as_secs_f64());
        Ok(())
    }
}

impl Handle {
    /// Ends the flusher and waits for it.
    pub(super) fn stop_flusher(&self) {
        self.inner.stopping.store(true, Ordering::Release);
        self.inner.ring();
        if let Some(thread) = self.flusher.lock().take() {
            // Its panic was already reported where the thread was started.
            if thread.join().is_err() {
                tracing::error!("the flusher of the state ended by a panic");
            }
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.stop_flusher();
    }
}
