//! One process per data directory.
//!
//! Two nodes in one directory would both believe in their log. The lock is the operating system's
//! (`flock`), so that it ends with the process, however that ends. Who starts nodes must respect it as
//! they do, hence it stands here and not with the disk.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;

const FILE: &str = "LOCK";

/// A held data directory; given back when dropped.
#[derive(Debug)]
pub struct DirectoryLock {
    // Never read: the lock lives as long as the file is open.
    _file: File,
}

impl DirectoryLock {
    /// Takes the directory, creating it when missing.
    ///
    /// # Errors
    ///
    /// `ResourceBusy` when another process holds it; otherwise what the operating system says.
    pub fn take(root: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(root)?;
        let file =
            OpenOptions::new().write(true).create(true).truncate(false).open(root.join(FILE))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(io::Error::new(
                io::ErrorKind::ResourceBusy,
                "another process uses it; stop that one, or choose another --data-dir",
            )),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_held_once_and_free_again_when_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let held = DirectoryLock::take(dir.path()).unwrap();
        assert_eq!(
            DirectoryLock::take(dir.path()).unwrap_err().kind(),
            io::ErrorKind::ResourceBusy
        );
        drop(held);
        DirectoryLock::take(dir.path()).unwrap();
    }
}
