//! What storage can fail with, split by what the node must do about it.
//!
//! None of these is ever retried in place: a disk that failed a sync has already lied once.

use std::io;
use std::path::PathBuf;

/// A failure of the storage room.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// Bytes on disk are not what was written. The node refuses to start, or stops.
    #[error("{path}: corrupt at offset {offset}: {reason}", path = path.display())]
    Corrupt {
        /// The file, relative to the data directory.
        path: PathBuf,
        /// Where in the file, in bytes.
        offset: u64,
        /// What was expected and what was found.
        reason: String,
    },
    /// The operating system refused. `action` is a verb phrase, such as "read log segment".
    #[error("cannot {action} {path}", path = path.display())]
    Io {
        /// What was attempted.
        action: &'static str,
        /// The file, relative to the data directory.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The disk is full: make room and restart the node.
    #[error("the disk is full ({action} {path}): make room, then restart the node", path = path.display())]
    Full {
        /// What was attempted.
        action: &'static str,
        /// The file, relative to the data directory.
        path: PathBuf,
    },
    /// An earlier write or sync failed; nothing is accepted until the node is restarted.
    #[error("poisoned by an earlier failure: {reason}")]
    Poisoned {
        /// The first failure.
        reason: String,
    },
    /// The working index (sled) failed; it holds no only copy, so a restart rebuilds it.
    #[error("the working index failed: {reason}")]
    Index {
        /// sled's own words.
        reason: String,
    },
    /// Written by a version of the program that this one does not know.
    #[error("{path}: format version {found}, this program reads up to {known}", path = path.display())]
    Version {
        /// The file, relative to the data directory.
        path: PathBuf,
        /// The version in the file.
        found: u8,
        /// The newest version that this program reads.
        known: u8,
    },
}

impl StorageError {
    /// Wraps an operating-system error; a full disk gets its own variant.
    pub fn io(action: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        let path = path.into();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::Full { action, path }
            }
            _ => Self::Io { action, path, source },
        }
    }
}

impl From<StorageError> for io::Error {
    fn from(error: StorageError) -> Self {
        let kind = match &error {
            StorageError::Io { source, .. } => source.kind(),
            StorageError::Full { .. } => io::ErrorKind::StorageFull,
            StorageError::Corrupt { .. } | StorageError::Version { .. } => {
                io::ErrorKind::InvalidData
            }
            StorageError::Poisoned { .. } | StorageError::Index { .. } => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}
