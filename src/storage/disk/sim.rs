//! A disk in memory that loses what was not synced.
//!
//! Why it exists: crash safety is tested by cutting the power at every sync, which no real disk lets
//! us do. It keeps two images: what a running program sees, and what would survive.
//!
//! Promises: the same calls and the same seed leave the same bytes. After `power_cut` the content
//! of a file is what its last sync left plus any part of the later writes: nothing, a prefix torn at
//! a sector, all, or sectors here and there, as drives that reorder leave them. Of the names changed
//! after the last `sync_dir` of their directory some are kept. A sync that failed has made nothing
//! durable, and the next one will not either: the system takes those bytes for written, and still
//! shows them until `forget`. Directories are durable at once. Files opened before a cut fail.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::tear::{Change, Content, Loss};
use super::{Disk, DiskFile, OpenMode};

/// A disk in memory with faults on demand. Clones share the disk.
#[derive(Clone, Default)]
pub struct SimDisk {
    inner: Arc<Mutex<Inner>>,
    before_sync: Arc<Mutex<Option<SyncHook>>>,
}

type SyncHook = Arc<dyn Fn(u64) + Send + Sync>;

#[derive(Default)]
struct Inner {
    names: BTreeMap<PathBuf, u64>,
    durable_names: BTreeMap<PathBuf, u64>,
    name_changes: Vec<NameChange>,
    directories: BTreeSet<PathBuf>,
    files: BTreeMap<u64, Content>,
    next_file: u64,
    life: u64,
    syncs: u64,
    operations: u64,
    cut_operation: Option<u64>,
    fail_sync: Option<u64>,
    cut_sync: Option<u64>,
    dead: bool,
    budget: Option<u64>,
}

#[derive(Clone)]
enum NameChange {
    Create(PathBuf, u64),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = self.inner.lock();
        f.debug_struct("SimDisk")
            .field("files", &inner.names.len())
            .field("syncs", &inner.syncs)
            .finish_non_exhaustive()
    }
}

impl SimDisk {
    /// An empty disk without faults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Syncs of files and directories so far.
    pub fn syncs(&self) -> u64 {
        self.inner.lock().syncs
    }

    /// Lets the sync that brings the count to `nth` fail with EIO; it makes nothing durable.
    pub fn fail_sync(&self, nth: u64) {
        self.inner.lock().fail_sync = Some(nth);
    }

    /// From the sync that would bring the count to `nth` on, every call fails, as in a machine
    /// whose power is gone. `power_cut` brings it back.
    pub fn die_at_sync(&self, nth: u64) {
        self.inner.lock().cut_sync = Some(nth);
    }

    /// Everything so far that changes a file or a name, and every sync.
    pub fn operations(&self) -> u64 {
        self.inner.lock().operations
    }

    /// The power goes in the middle of the operation that brings the count to `nth`: it may have
    /// happened, in part or not at all, and it and every later call fails.
    pub fn die_at_operation(&self, nth: u64) {
        self.inner.lock().cut_operation = Some(nth);
    }

    /// Bytes by which files may still grow before ENOSPC; `None` lifts the bound.
    pub fn set_budget(&self, bytes: Option<u64>) {
        self.inner.lock().budget = bytes;
    }

    /// Runs before every sync with its number; it may block, as a slow disk does.
    pub fn on_sync(&self, hook: impl Fn(u64) + Send + Sync + 'static) {
        *self.before_sync.lock() = Some(Arc::new(hook));
    }

    /// Loses what was not synced, but for a part chosen by `seed`, and lifts all faults.
    pub fn power_cut(&self, seed: u64) {
        let mut chance = fastrand::Rng::with_seed(seed);
        let mut inner = self.inner.lock();
        let changes = std::mem::take(&mut inner.name_changes);
        let loss = Loss::by(&mut chance, changes.len());
        for (at, change) in changes.into_iter().enumerate() {
            if loss.keeps(at, &mut chance) {
                change.run(&mut inner.durable_names);
            }
        }
        inner.names = inner.durable_names.clone();
        let named: BTreeSet<u64> = inner.names.values().copied().collect();
        inner.files.retain(|id, _| named.contains(id));
        for content in inner.files.values_mut() {
            content.lose(&mut chance);
        }
        inner.life += 1;
        inner.lift_faults();
    }

    /// The process is killed and started anew: nothing is lost, but files opened before fail.
    pub fn kill(&self) {
        let mut inner = self.inner.lock();
        inner.life += 1;
        inner.lift_faults();
    }

    /// Flips one bit of a file, in both images.
    pub fn flip_bit(&self, path: &Path, offset: u64, bit: u8) -> io::Result<()> {
        let mut inner = self.inner.lock();
        let id = *inner.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        let content = inner.files.get_mut(&id).ok_or(io::ErrorKind::NotFound)?;
        let at = usize::try_from(offset).map_err(io::Error::other)?;
        for image in [&mut content.seen, &mut content.durable] {
            if let Some(byte) = image.get_mut(at) {
                *byte ^= 1 << (bit % 8);
            }
        }
        Ok(())
    }

    fn begin_sync(&self) -> io::Result<parking_lot::MutexGuard<'_, Inner>> {
        let hook = self.before_sync.lock().clone();
        if let Some(hook) = hook {
            let number = self.inner.lock().syncs + 1;
            hook(number);
        }
        let mut inner = self.inner.lock();
        inner.check()?;
        inner.operate()?;
        inner.syncs += 1;
        if inner.cut_sync.is_some_and(|nth| inner.syncs >= nth) {
            inner.dead = true;
            inner.check()?;
        }
        Ok(inner)
    }
}

impl Inner {
    fn check(&self) -> io::Result<()> {
        if self.dead { Err(io::Error::other("the power is cut")) } else { Ok(()) }
    }

    fn lift_faults(&mut self) {
        (self.fail_sync, self.cut_sync, self.cut_operation) = (None, None, None);
        self.dead = false;
    }

    fn charge(&mut self, growth: usize) -> io::Result<()> {
        if let Some(budget) = &mut self.budget {
            let growth = growth as u64;
            if growth > *budget {
                return Err(io::ErrorKind::StorageFull.into());
            }
            *budget -= growth;
        }
        Ok(())
    }

    /// Counts an operation that has just been noted as not yet durable.
    fn operate(&mut self) -> io::Result<()> {
        self.operations += 1;
        self.dead |= self.cut_operation.is_some_and(|nth| self.operations >= nth);
        self.check()
    }

    fn sync_fails(&self) -> io::Result<()> {
        let fails = self.fail_sync == Some(self.syncs);
        if fails { Err(io::Error::from_raw_os_error(5)) } else { Ok(()) }
    }

    fn change_name(&mut self, change: NameChange) -> io::Result<()> {
        change.clone().run(&mut self.names);
        self.name_changes.push(change);
        self.operate()
    }
}

impl NameChange {
    fn run(self, names: &mut BTreeMap<PathBuf, u64>) {
        match self {
            Self::Create(path, id) => {
                names.insert(path, id);
            }
            Self::Rename(from, to) => {
                if let Some(id) = names.remove(&from) {
                    names.insert(to, id);
                }
            }
            Self::Remove(path) => {
                names.remove(&path);
            }
        }
    }

    fn touches(&self, directory: &Path) -> bool {
        match self {
            Self::Create(path, _) | Self::Remove(path) => path.parent() == Some(directory),
            Self::Rename(from, to) => {
                from.parent() == Some(directory) || to.parent() == Some(directory)
            }
        }
    }
}

impl Disk for SimDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let mut inner = self.inner.lock();
        inner.check()?;
        let id = match (inner.names.get(path).copied(), mode) {
            (Some(id), OpenMode::Create) => {
                let content = inner.files.get_mut(&id).ok_or(io::ErrorKind::NotFound)?;
                content.seen.clear();
                content.unsynced.push(Change::Length(0));
                inner.operate()?;
                id
            }
            (Some(id), _) => id,
            (None, OpenMode::Create) => {
                let parent = path.parent().unwrap_or(Path::new(""));
                if parent != Path::new("") && !inner.directories.contains(parent) {
                    return Err(io::ErrorKind::NotFound.into());
                }
                let id = inner.next_file;
                inner.next_file += 1;
                inner.files.insert(id, Content::default());
                inner.change_name(NameChange::Create(path.to_owned(), id))?;
                id
            }
            (None, _) => return Err(io::ErrorKind::NotFound.into()),
        };
        let writable = mode != OpenMode::Read;
        Ok(Arc::new(SimFile { disk: self.clone(), id, life: inner.life, writable }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut inner = self.inner.lock();
        inner.check()?;
        if !inner.names.contains_key(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        inner.change_name(NameChange::Rename(from.to_owned(), to.to_owned()))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut inner = self.inner.lock();
        inner.check()?;
        if !inner.names.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        inner.change_name(NameChange::Remove(path.to_owned()))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut inner = self.inner.lock();
        inner.check()?;
        inner.directories.extend(path.ancestors().map(Path::to_owned));
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let inner = self.inner.lock();
        inner.check()?;
        let below = inner.names.keys().chain(&inner.directories);
        let names: BTreeSet<PathBuf> = below
            .filter(|name| name.parent() == Some(path))
            .filter_map(|name| name.file_name().map(PathBuf::from))
            .collect();
        Ok(names.into_iter().collect())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut inner = self.begin_sync()?;
        inner.sync_fails()?;
        let (done, rest) = std::mem::take(&mut inner.name_changes)
            .into_iter()
            .partition::<Vec<_>, _>(|change| change.touches(path));
        inner.name_changes = rest;
        for change in done {
            change.run(&mut inner.durable_names);
        }
        Ok(())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let inner = self.inner.lock();
        inner.check()?;
        Ok(inner.names.contains_key(path) || inner.directories.contains(path))
    }

    fn free_bytes(&self) -> io::Result<u64> {
        Ok(self.inner.lock().budget.unwrap_or(u64::MAX))
    }
}

struct SimFile {
    disk: SimDisk,
    id: u64,
    life: u64,
    writable: bool,
}

impl fmt::Debug for SimFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimFile").field("id", &self.id).finish_non_exhaustive()
    }
}

impl SimFile {
    fn with<T>(&self, inner: &mut Inner, run: impl FnOnce(&mut Content) -> T) -> io::Result<T> {
        if inner.life != self.life {
            return Err(io::Error::other("opened before the power was cut"));
        }
        inner.check()?;
        inner.files.get_mut(&self.id).map(run).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn change(&self, change: Change) -> io::Result<()> {
        if !self.writable {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let mut inner = self.disk.inner.lock();
        let len = self.with(&mut inner, |content| content.seen.len())?;
        let end = match &change {
            Change::Write(offset, bytes) => offset + bytes.len(),
            Change::Length(len) => *len,
        };
        inner.charge(end.saturating_sub(len))?;
        self.with(&mut inner, |content| {
            change.run(&mut content.seen);
            content.unsynced.push(change);
        })?;
        inner.operate()
    }
}

impl DiskFile for SimFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        self.change(Change::Write(offset, bytes.to_vec()))
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        self.with(&mut self.disk.inner.lock(), |content| {
            let rest = content.seen.get(offset..).unwrap_or_default();
            let count = rest.len().min(buffer.len());
            if let (Some(to), Some(from)) = (buffer.get_mut(..count), rest.get(..count)) {
                to.copy_from_slice(from);
            }
            count
        })
    }

    fn sync(&self) -> io::Result<()> {
        let mut inner = self.disk.begin_sync()?;
        let result = inner.sync_fails();
        self.with(&mut inner, |content| {
            for change in std::mem::take(&mut content.unsynced) {
                if result.is_ok() {
                    change.run(&mut content.durable);
                }
            }
        })?;
        result
    }

    fn forget(&self) -> io::Result<()> {
        self.with(&mut self.disk.inner.lock(), |content| {
            content.seen = content.durable.clone();
            for change in &content.unsynced {
                change.run(&mut content.seen);
            }
        })
    }

    fn len(&self) -> io::Result<u64> {
        self.with(&mut self.disk.inner.lock(), |content| content.seen.len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(Change::Length(usize::try_from(len).map_err(io::Error::other)?))
    }
}
