//! The node's one Raft log: all groups, one file sequence, one sync for all that wait.
//!
//! Why it exists: this is where an acknowledged write is kept. One thread drains the queue, writes
//! one batch, syncs once, and tells everyone in order; so many groups cost few syncs.
//!
//! Promises:
//! * A completion says `Ok` only when its record, and every record queued before it, is durable.
//!   Completions run strictly in queue order, on the writer's thread.
//! * Appended entries are readable when `append` returns. Nothing here blocks on the disk except
//!   `open`, and `read` of entries that are no longer in memory.
//! * After the first failed write or sync the log is poisoned: what waits is told an error, what
//!   comes later changes nothing and is told at once, on its caller's thread. Nothing is retried;
//!   only a restart helps, which reads what is really on the disk.
//! * A start refuses any damage but a torn last batch, and any missing segment but the newest ones.
//!
//! The queue is not bounded by itself (`append` may not block, and Raft may not refuse what the
//! leader sends): callers ask `is_overloaded` and refuse new work.
//!
//! Relies on: `Disk`, and on owners that purge only what a checkpoint holds.

mod fill;
mod format;
mod front;
mod kept;
#[cfg(feature = "planted-bugs")]
mod late;
mod metrics;
mod read;
mod recover;
mod rewrite;
mod segment;
mod types;
mod writer;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};

pub use metrics::LogMetrics;
pub use types::{Entry, Flushed, GroupState, LogOptions, LogStats, Mark};

use crate::runtime::limits::LOG_LAZY_MS;
use crate::runtime::{Clock, Env};
use crate::storage::{Disk, GroupId, StorageError};
use front::Front;
use kept::Kept;
use writer::Writer;

/// What the handles, the readers and the writer share. Locks are taken in the order front, kept.
#[derive(Debug)]
struct Shared {
    front: Mutex<Front>,
    wake: Condvar,
    closed: tokio::sync::Notify,
    kept: Mutex<Kept>,
    options: LogOptions,
    metrics: LogMetrics,
    clock: Arc<dyn Clock>,
    recovered: u64,
    flushed: AtomicU64,
    fsyncs: AtomicU64,
    batches: AtomicU64,
    spares: AtomicUsize,
}

impl Shared {
    /// Most bytes of one kind in one batch. An eighth of a segment: what is asked for, what rides
    /// along and what is written anew fit into an empty segment together.
    fn chunk_max(&self) -> usize {
        let eighth = usize::try_from(self.options.segment_bytes / 8).unwrap_or(usize::MAX);
        self.options.batch_bytes_max.min(eighth)
    }
}

/// Tells the writer's thread to end when the last handle goes.
#[derive(Debug)]
struct Guard {
    shared: Arc<Shared>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.shared.front.lock().closing = true;
        self.shared.wake.notify_one();
    }
}

/// A handle to the node's log; clones share it. Use `close` to end it: dropping the last handle
/// also writes what is queued, but nobody waits for that.
#[derive(Clone, Debug)]
pub struct Log {
    shared: Arc<Shared>,
    _guard: Arc<Guard>,
    inline: Option<Arc<Mutex<Writer>>>,
}

impl Log {
    /// Reads the segments below `dir` and starts the writer.
    ///
    /// # Errors
    ///
    /// `Corrupt` for any damage but a torn last batch, naming the file and the offset.
    #[allow(clippy::needless_pass_by_value, reason = "callers hand over what the log keeps")]
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        options: LogOptions,
        env: &Env,
        metrics: LogMetrics,
    ) -> Result<Self, StorageError> {
        assert!(
            (16 * 1024..=1 << 31).contains(&options.segment_bytes)
                && options.segment_bytes.is_multiple_of(format::SECTOR),
            "a segment has 16 KiB to 2 GiB, in whole sectors"
        );
        let mut recovered = recover::recover(&disk, &dir, &options)?;
        let numbers = recovered.numbers;
        let kept = std::mem::take(&mut recovered.kept);
        let inline = options.inline;
        let shared = Arc::new(Shared {
            front: Mutex::new(Front::recovered(&kept)),
            wake: Condvar::new(),
            closed: tokio::sync::Notify::new(),
            kept: Mutex::new(kept),
            options,
            metrics,
            clock: Arc::clone(&env.clock),
            recovered: numbers.lsn,
            flushed: AtomicU64::new(numbers.lsn),
            fsyncs: AtomicU64::new(0),
            batches: AtomicU64::new(0),
            spares: AtomicUsize::new(0),
        });
        let (spares, position) = (recovered.spares, recovered.position);
        let rng = Arc::clone(&env.rng);
        let mut writer = Writer::new(Arc::clone(&shared), rng, spares, position, numbers)?;
        let inline = if inline {
            Some(Arc::new(Mutex::new(writer)))
        } else {
            let shared = Arc::clone(&shared);
            writer.fill_aside(&env.tasks);
            env.tasks.thread("log", move || run(&shared, writer));
            None
        };
        let _guard = Arc::new(Guard { shared: Arc::clone(&shared) });
        Ok(Self { shared, _guard, inline })
    }

    /// The groups that have anything here.
    pub fn groups(&self) -> Vec<GroupId> {
        let front = self.shared.front.lock();
        let some = front.groups.iter().filter(|(_, group)| group.state() != GroupState::default());
        some.map(|(id, _)| *id).collect()
    }

    /// What is known of a group, durable or not; default for an unknown one.
    pub fn state(&self, group: GroupId) -> GroupState {
        let front = self.shared.front.lock();
        front.groups.get(&group).map(front::FrontGroup::state).unwrap_or_default()
    }

    /// Appends entries; they are readable on return.
    ///
    /// # Panics
    ///
    /// When the entries leave a hole or overlap, or one is larger than `entry_bytes_max`.
    pub fn append(&self, group: GroupId, entries: Vec<Entry>, done: Flushed) {
        let max = self.entry_bytes_max();
        for entry in &entries {
            assert!(
                entry.bytes.len() <= max,
                "group {group}: entry {} has {} bytes, {max} fit",
                entry.index,
                entry.bytes.len()
            );
        }
        let chunk_max = self.shared.chunk_max();
        self.queue(|front| front.append(group, entries, chunk_max, done));
    }

    /// The largest entry that a segment takes.
    pub fn entry_bytes_max(&self) -> usize {
        usize::try_from(self.shared.options.segment_bytes / 8 - format::SECTOR)
            .unwrap_or(usize::MAX)
    }

    /// Saves a vote, in order with the entries.
    pub fn save_vote(&self, group: GroupId, vote: Bytes, done: Flushed) {
        self.queue(|front| front.save_vote(group, vote, done));
    }

    /// Saves a commit mark, without a sync of its own: the newest one rides on the next batch that
    /// follows the entries queued so far, or is written within `LOG_LAZY_MS`.
    pub fn save_committed(&self, group: GroupId, committed: Bytes) {
        let now = self.shared.clock.now();
        self.lazily(|front| front.save_committed(group, committed, now));
    }

    /// Removes the entries after an index; `None`: all.
    pub fn truncate_after(&self, group: GroupId, index: Option<u64>) {
        self.queue(|front| front.truncate_after(group, index));
    }

    /// Removes the entries up to a mark. The next entry of a log that is empty then is the one
    /// after the mark, wherever that is (a snapshot was installed). A mark behind the present one
    /// changes nothing.
    pub fn purge(&self, group: GroupId, upto: Mark, done: Flushed) {
        self.queue(|front| front.purge(group, upto, done));
    }

    /// Keeps a small value of the node under a number; written as lazily as commit marks.
    pub fn note(&self, key: u64, value: Bytes) {
        let now = self.shared.clock.now();
        self.lazily(|front| front.note(key, value, now));
    }

    /// All notes.
    pub fn notes(&self) -> BTreeMap<u64, Bytes> {
        self.shared.front.lock().notes.clone()
    }

    /// Forgets a group, all but its vote: a forgotten vote could be cast twice.
    pub fn drop_group(&self, group: GroupId, done: Flushed) {
        self.queue(|front| front.drop_group(group, done));
    }

    /// Calls back once everything queued before is durable, and lets commit marks and notes ride.
    pub fn flush(&self, done: Flushed) {
        self.queue(|front| front.barrier(done));
    }

    /// Entries of a range: at least one where the range has any, up to `bytes_max` in all, none
    /// beyond the log's ends. Reads files when they are no longer in memory.
    pub fn read(
        &self,
        group: GroupId,
        from: u64,
        to_exclusive: u64,
        bytes_max: usize,
    ) -> Result<Vec<Entry>, StorageError> {
        loop {
            let (on_disk, entries) =
                self.shared.front.lock().read(group, from, to_exclusive, bytes_max);
            if on_disk.is_empty() {
                return Ok(entries);
            }
            let runs = read::plan(&self.shared.kept.lock(), group, on_disk, bytes_max);
            let mut entries = Vec::new();
            for run in runs {
                entries.extend(read::read_run(&run.segment, run.first, &run.places)?);
            }
            // Nothing there: a purge or truncation came in between, and the front knows by now.
            if !entries.is_empty() {
                return Ok(entries);
            }
        }
    }

    /// The number of the last durable batch. It never falls, also not over restarts.
    pub fn flushed_lsn(&self) -> u64 {
        self.shared.flushed.load(Ordering::Acquire)
    }

    /// The number of the last durable batch as found when the log was opened.
    pub fn recovered_lsn(&self) -> u64 {
        self.shared.recovered
    }

    /// Bytes that wait for the writer.
    pub fn queue_bytes(&self) -> usize {
        self.shared.front.lock().queue_bytes
    }

    /// Whether new work is to be refused: too much waits, the disk has no room for the next
    /// segment, or the log is poisoned.
    pub fn is_overloaded(&self) -> bool {
        let front = self.shared.front.lock();
        let queued = front.queue_bytes > self.shared.options.queue_bytes_max;
        queued || front.full || front.poisoned.is_some()
    }

    /// Why nothing is accepted any more, if so.
    pub fn poisoned(&self) -> Option<String> {
        self.shared.front.lock().poisoned.clone()
    }

    /// Runs once when the log is poisoned, on the writer's thread; at once if it is already.
    pub fn on_poison(&self, hook: Box<dyn FnOnce(&StorageError) + Send>) {
        let mut front = self.shared.front.lock();
        if let Some(reason) = front.poisoned.clone() {
            drop(front);
            hook(&StorageError::Poisoned { reason });
        } else {
            front.on_poison.push(hook);
        }
    }

    /// Figures.
    pub fn stats(&self) -> LogStats {
        let cached_bytes = self.shared.front.lock().recent_bytes;
        let kept = self.shared.kept.lock();
        LogStats {
            segments: kept.segments.len(),
            spares: self.shared.spares.load(Ordering::Relaxed),
            bytes: kept.segments.values().map(|segment| segment.len).sum(),
            live_bytes: kept.groups.iter().map(|(id, group)| (*id, group.live_bytes)).collect(),
            fsyncs: self.shared.fsyncs.load(Ordering::Relaxed),
            batches: self.shared.batches.load(Ordering::Relaxed),
            cached_bytes,
        }
    }

    /// Without a thread (`LogOptions::inline`): writes what is queued, batch by batch, and does
    /// the work of making room. Completions run in here. Returns the number of batches.
    ///
    /// # Panics
    ///
    /// When the log has a thread.
    pub fn drive(&self) -> usize {
        let writer = self.inline.as_ref().expect("only an inline log is driven");
        let mut writer = writer.lock();
        let mut batches = 0;
        loop {
            let batch = {
                let mut front = self.shared.front.lock();
                if !front.has_work() && !front.has_lazy() && !writer.has_work() {
                    return batches;
                }
                front.take(self.shared.chunk_max())
            };
            writer.write_batch(batch);
            batches += 1;
        }
    }

    /// Writes all that is queued and ends the thread. Later requests are answered with an error.
    pub async fn close(self) {
        if self.inline.is_some() {
            self.drive();
            return;
        }
        let closed = self.shared.closed.notified();
        tokio::pin!(closed);
        closed.as_mut().enable();
        {
            let mut front = self.shared.front.lock();
            front.closing = true;
            if front.closed {
                return;
            }
        }
        self.shared.wake.notify_one();
        closed.await;
    }

    fn queue(&self, change: impl FnOnce(&mut Front)) {
        let mut front = self.shared.front.lock();
        if let Some(error) = front.refusal() {
            drop(front);
            refuse(change, error);
            return;
        }
        change(&mut front);
        let wake = std::mem::take(&mut front.waiting);
        drop(front);
        if wake {
            self.shared.wake.notify_one();
        }
    }

    fn lazily(&self, change: impl FnOnce(&mut Front)) {
        // An idle writer must learn that its wait has an end now.
        let mut front = self.shared.front.lock();
        if front.refusal().is_some() {
            return;
        }
        let first = !front.has_lazy();
        change(&mut front);
        drop(front);
        if first {
            self.shared.wake.notify_one();
        }
    }
}

/// Tells the callers of a change that is not made: what they would have queued is queued aside.
fn refuse(change: impl FnOnce(&mut Front), error: StorageError) {
    let mut aside = Front::default();
    change(&mut aside);
    tell(aside.take(usize::MAX), &Arc::new(error));
}

fn tell(requests: Vec<front::Request>, error: &Arc<StorageError>) {
    for request in requests {
        if let Some(done) = request.done {
            done(Err(Arc::clone(error)));
        }
    }
}

/// The writer's thread.
fn run(shared: &Shared, mut writer: Writer) {
    while let Some(batch) = next_batch(shared, &writer) {
        writer.write_batch(batch);
    }
    // Whoever waits for the end may remove the directory: nothing writes there any more.
    drop(writer);
    let mut front = shared.front.lock();
    front.closed = true;
    let late = front.take(usize::MAX);
    let error = front.refusal().map(Arc::new);
    drop(front);
    if let Some(error) = error {
        tell(late, &error);
    }
    shared.closed.notify_waiters();
}

/// Waits for something to write; `None` when the log is closed and all is written.
fn next_batch(shared: &Shared, writer: &Writer) -> Option<Vec<front::Request>> {
    let mut front = shared.front.lock();
    loop {
        if front.has_work() || writer.has_work() {
            break;
        }
        if front.closing && !front.has_lazy() {
            return None;
        }
        let lazy = Duration::from_millis(LOG_LAZY_MS);
        let due = front.lazy_since.map(|since| since + lazy);
        let due = due.into_iter().chain(writer.tries_again()).min();
        let now = shared.clock.now();
        if front.closing || due.is_some_and(|due| now >= due) {
            break;
        }
        front.waiting = true;
        match due {
            Some(due) => {
                shared.wake.wait_for(&mut front, due.since(now));
            }
            None => shared.wake.wait(&mut front),
        }
        front.waiting = false;
    }
    Some(front.take(shared.chunk_max()))
}
