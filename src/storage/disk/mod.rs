//! Files behind a trait small enough for a simulated disk.
//!
//! Why it exists: "nothing acknowledged is lost" can only be tested by a disk that loses what was
//! not synced, tears the last write and refuses when full. Everything of the node that must survive
//! goes through here, except sled, which never holds the only copy of anything.
//!
//! Promises: what `sync` has returned `Ok` for is durable, if the disk beneath tells the truth; a
//! created, renamed or removed name is durable after `sync_dir` of its directory.
//! All paths are relative to the disk's root. All calls block.

pub mod real;
pub mod sim;
mod tear;

#[cfg(test)]
mod tests;

use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use real::RealDisk;
pub use sim::SimDisk;

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// Must exist; reads only.
    Read,
    /// Must exist; reads and writes.
    ReadWrite,
    /// Created, or emptied if it exists; reads and writes.
    Create,
}

/// A directory tree that a node owns.
pub trait Disk: Send + Sync + Debug + 'static {
    /// Opens a file.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>>;

    /// Renames a file, replacing what stands at `to`.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Creates a directory and its parents; no error if it exists.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// The names in a directory, sorted; empty if the directory does not exist.
    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>>;

    /// Makes the names in a directory durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// Whether a file or directory stands there.
    fn exists(&self, path: &Path) -> io::Result<bool>;

    /// Bytes that can still be written; `u64::MAX` where unknown.
    fn free_bytes(&self) -> io::Result<u64>;
}

/// An open file. Positions are explicit, so that readers and the writer share one handle.
pub trait DiskFile: Send + Sync + Debug + 'static {
    /// Writes all of `bytes` at `offset`; growing the file if needed.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Reads up to `buffer.len()` bytes at `offset`; less only at the end of the file.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// Makes contents, and as much metadata as is needed to read them, durable (`fdatasync`).
    fn sync(&self) -> io::Result<()>;

    /// Drops what the system keeps of the file in memory but for what it has yet to write, so that
    /// the next read tells what is on the disk: after a failed sync the two differ. A hint.
    fn forget(&self) -> io::Result<()> {
        Ok(())
    }

    /// The length in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Cuts or extends the file with zeros.
    fn set_len(&self, len: u64) -> io::Result<()>;
}
