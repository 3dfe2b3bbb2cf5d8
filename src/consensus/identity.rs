//! Who this data directory is: the file `identity` that outlives every restart.
//!
//! Why it exists: votes and log entries are promises of a directory, not of a host name. A node whose
//! directory was emptied must not speak under its old name, so each directory gets a random
//! incarnation when it is made, and the cluster knows each node by both.
//!
//! Promises: written durably (temporary file, sync, rename, directory sync) before anything acts on
//! it. Relies on: `storage::Disk`.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::codec;
use crate::model::{ClusterId, Incarnation, NodeId};
use crate::runtime::Rng;
use crate::storage::{Disk, OpenMode, StorageError};

const FILE: &str = "identity";

/// A member as the founders agreed on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The node.
    pub node: NodeId,
    /// Its advertised `host:port`.
    pub address: String,
    /// Its data directory.
    pub incarnation: Incarnation,
}

/// What the founders agree on once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Charter {
    /// The cluster.
    pub cluster: ClusterId,
    /// The members known when this node came in, in the order of their ids.
    pub members: Vec<Member>,
    /// Data groups.
    pub groups: u64,
    /// Wanted replicas per group; 0 for a node that joined later.
    pub replicas: u64,
}

impl Charter {
    /// Whether this is the founders' own charter, by which groups are started.
    pub fn is_founders(&self) -> bool {
        self.replicas > 0
    }
}

/// The identity of a data directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The node's id.
    pub node: NodeId,
    /// This directory's random number.
    pub incarnation: Incarnation,
    /// `None` until the cluster was founded or joined.
    pub charter: Option<Charter>,
    /// Why this directory may take part no more, once a peer has recognised an old copy.
    pub barred: Option<String>,
}

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The directory belongs to another node.
    #[error(
        "the data directory belongs to node {found}, but this node was started as {asked}: give the \
         directory of node {asked}, or start with --node {found}"
    )]
    OtherNode {
        /// In the file.
        found: NodeId,
        /// In the settings.
        asked: NodeId,
    },
    /// A peer has recognised the directory as an old copy.
    #[error("this data directory was refused before and stays refused: {reason}")]
    Barred {
        /// The peer's words.
        reason: String,
    },
    /// The file cannot be read.
    #[error(
        "the file `{FILE}` in the data directory is damaged: {0}; restore it or replace the node"
    )]
    Damaged(codec::CodecError),
    /// The disk failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Identity {
    /// Reads the directory's identity, or makes a new one in an empty directory.
    ///
    /// # Errors
    ///
    /// When the directory belongs to another node, or cannot be read or written.
    pub fn open(disk: &dyn Disk, node: NodeId, rng: &Rng) -> Result<Self, IdentityError> {
        let path = Path::new(FILE);
        let io = |action| move |source| StorageError::io(action, FILE, source);
        if disk.exists(path).map_err(io("look for"))? {
            let file = disk.open(path, OpenMode::Read).map_err(io("open"))?;
            let len = usize::try_from(file.len().map_err(io("measure"))?).unwrap_or(usize::MAX);
            let mut bytes = vec![0; len.min(1 << 20)];
            let read = file.read_at(0, &mut bytes).map_err(io("read"))?;
            bytes.truncate(read);
            let found: Self = decode(&bytes).map_err(IdentityError::Damaged)?;
            if found.node != node {
                return Err(IdentityError::OtherNode { found: found.node, asked: node });
            }
            if let Some(reason) = found.barred {
                return Err(IdentityError::Barred { reason });
            }
            return Ok(found);
        }
        let incarnation = Incarnation(rng.next());
        let identity = Self { node, incarnation, charter: None, barred: None };
        identity.save(disk)?;
        Ok(identity)
    }

    /// Writes the identity durably.
    ///
    /// # Errors
    ///
    /// When the disk refuses; nothing may then rely on the new identity.
    pub fn save(&self, disk: &dyn Disk) -> Result<(), StorageError> {
        let path = Path::new(FILE);
        let draft = PathBuf::from(format!("{FILE}.new"));
        let io = |action| move |source| StorageError::io(action, FILE, source);
        let file = disk.open(&draft, OpenMode::Create).map_err(io("create"))?;
        let body = codec::encode(self);
        let mut bytes = crc32c::crc32c(&body).to_be_bytes().to_vec();
        bytes.extend_from_slice(&body);
        file.write_at(0, &bytes).map_err(io("write"))?;
        file.sync().map_err(io("sync"))?;
        disk.rename(&draft, path).map_err(io("rename"))?;
        disk.sync_dir(Path::new("")).map_err(io("sync the directory of"))
    }
}

fn decode(bytes: &[u8]) -> Result<Identity, codec::CodecError> {
    let malformed = codec::CodecError::Malformed { what: "identity" };
    let Some((crc, body)) = bytes.split_first_chunk::<4>() else { return Err(malformed) };
    if crc32c::crc32c(body) != u32::from_be_bytes(*crc) {
        return Err(malformed);
    }
    codec::decode("identity", body)
}
