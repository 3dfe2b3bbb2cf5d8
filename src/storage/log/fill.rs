//! New segment files, filled with zeros.
//!
//! Why it exists: a sync of a file whose size does not change costs about two thirds of one that
//! grows, so a segment has its full size before it is used. Filling takes the disk for a while: a
//! thread of its own does it, in small pieces and no faster than the segment in use fills up, so that
//! appends wait for none of it. Without a thread (tests, simulations) the writer fills by hand.
//!
//! Promises: a file that is handed over is whole and synced; its name is not. One at a time.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};

use parking_lot::{Condvar, Mutex};

use crate::runtime::Tasks;
use crate::runtime::limits::LOG_FILL_SYNC_BYTES;
use crate::storage::{Disk, DiskFile, OpenMode, StorageError};

const ZEROS: &[u8] = &[0; 256 * 1024];

type Filled = Result<PathBuf, StorageError>;

/// Fills files on a thread, or on the caller's.
#[derive(Debug)]
pub(super) struct Filler {
    disk: Arc<dyn Disk>,
    bytes: u64,
    by_hand: Option<Filling>,
    aside: Option<Aside>,
}

/// The other end of the filling thread.
#[derive(Debug)]
struct Aside {
    /// `None` only while it is being dropped.
    orders: Option<SyncSender<PathBuf>>,
    filled: Receiver<Filled>,
    under_way: bool,
    pace: Arc<Pace>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// How far the thread may fill.
#[derive(Debug, Default)]
struct Pace {
    target: Mutex<u64>,
    moved: Condvar,
    stop: AtomicBool,
}

impl Pace {
    fn set(&self, target: u64) {
        *self.target.lock() = target;
        self.moved.notify_one();
    }

    /// Waits until more than `filled` is wanted; whether it is.
    fn wait(&self, filled: u64) -> bool {
        let mut target = self.target.lock();
        while *target < filled + LOG_FILL_SYNC_BYTES && !self.stop.load(Ordering::Relaxed) {
            self.moved.wait(&mut target);
        }
        !self.stop.load(Ordering::Relaxed)
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        self.pace.stop.store(true, Ordering::Relaxed);
        self.pace.set(0);
        self.orders = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that fills log segments has panicked");
        }
    }
}

/// A file that is being filled.
#[derive(Debug)]
struct Filling {
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    filled: u64,
    synced: u64,
}

impl Filler {
    pub(super) fn new(disk: Arc<dyn Disk>, bytes: u64) -> Self {
        Self { disk, bytes, by_hand: None, aside: None }
    }

    /// Starts the thread.
    pub(super) fn set_aside(&mut self, tasks: &Tasks) {
        let (orders, ordered) = sync_channel::<PathBuf>(1);
        let (done, filled) = sync_channel(1);
        let pace = Arc::new(Pace::default());
        let (disk, bytes, paced) = (Arc::clone(&self.disk), self.bytes, Arc::clone(&pace));
        let thread = tasks.thread("log-fill", move || {
            for path in ordered {
                let result = fill_aside(&disk, path, bytes, &paced);
                if done.send(result).is_err() {
                    break;
                }
            }
        });
        let (orders, thread) = (Some(orders), Some(thread));
        self.aside = Some(Aside { orders, filled, under_way: false, pace, thread });
    }

    /// Goes on with the next file: up to `target` bytes, aside without waiting. Returns it
    /// once it is whole; `next_path` names it when it is begun.
    pub(super) fn advance(
        &mut self,
        target: u64,
        next_path: impl FnOnce() -> PathBuf,
    ) -> Result<Option<PathBuf>, StorageError> {
        let Some(aside) = &mut self.aside else { return self.by_hand(target, next_path) };
        if aside.under_way {
            aside.pace.set(target);
            return match aside.filled.try_recv() {
                Ok(result) => {
                    aside.under_way = false;
                    result.map(Some)
                }
                // Gone only after a panic, which stops the node.
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => Ok(None),
            };
        }
        if let Some(orders) = &aside.orders {
            aside.pace.set(target);
            aside.under_way = orders.try_send(next_path()).is_ok();
        }
        Ok(None)
    }

    /// A whole file now, whatever it takes.
    pub(super) fn wait(&mut self, next_path: impl FnOnce() -> PathBuf) -> Filled {
        if let Some(aside) = &mut self.aside
            && aside.under_way
        {
            aside.under_way = false;
            aside.pace.set(u64::MAX);
            if let Ok(result) = aside.filled.recv() {
                return result;
            }
        }
        let path = self.by_hand(self.bytes, next_path)?;
        Ok(path.expect("a file that is filled up to its size is whole"))
    }

    fn by_hand(
        &mut self,
        target: u64,
        next_path: impl FnOnce() -> PathBuf,
    ) -> Result<Option<PathBuf>, StorageError> {
        let mut filling = match self.by_hand.take() {
            Some(filling) => filling,
            None => Filling::begin(&self.disk, next_path())?,
        };
        match filling.fill(target, self.bytes) {
            Ok(()) if filling.filled == self.bytes => Ok(Some(filling.path)),
            Ok(()) => {
                self.by_hand = Some(filling);
                Ok(None)
            }
            Err(error) => {
                remove(&self.disk, &filling.path)?;
                Err(error)
            }
        }
    }
}

fn fill_aside(
    disk: &Arc<dyn Disk>,
    path: PathBuf,
    bytes: u64,
    pace: &Pace,
) -> Result<PathBuf, StorageError> {
    let mut filling = Filling::begin(disk, path)?;
    while filling.filled < bytes && pace.wait(filling.filled) {
        if let Err(error) = filling.fill(filling.filled + LOG_FILL_SYNC_BYTES, bytes) {
            remove(disk, &filling.path)?;
            return Err(error);
        }
    }
    if filling.filled < bytes {
        remove(disk, &filling.path)?;
    }
    Ok(filling.path)
}

/// The half-filled file gives its bytes back, which others may need more.
fn remove(disk: &Arc<dyn Disk>, path: &PathBuf) -> Result<(), StorageError> {
    disk.remove(path).map_err(|error| StorageError::io("remove log spare", path, error))
}

impl Filling {
    fn begin(disk: &Arc<dyn Disk>, path: PathBuf) -> Result<Self, StorageError> {
        let file = disk
            .open(&path, OpenMode::Create)
            .map_err(|error| StorageError::io("create log spare", &path, error))?;
        Ok(Self { path, file, filled: 0, synced: 0 })
    }

    fn fill(&mut self, target: u64, bytes: u64) -> Result<(), StorageError> {
        let failed = |error| StorageError::io("preallocate log segment", &self.path, error);
        while self.filled < target.min(bytes) {
            let left = usize::try_from(bytes - self.filled).unwrap_or(usize::MAX);
            let zeros = ZEROS.get(..left).unwrap_or(ZEROS);
            self.file.write_at(self.filled, zeros).map_err(failed)?;
            self.filled += zeros.len() as u64;
            if self.filled == bytes || self.filled - self.synced >= LOG_FILL_SYNC_BYTES {
                self.file.sync().map_err(failed)?;
                self.synced = self.filled;
            }
        }
        Ok(())
    }
}
