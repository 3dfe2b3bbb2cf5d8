//! Stand-in: the signatures of the wing, for compiling the rooms above it.
pub mod channel;
pub mod error;
pub mod status;
pub use channel::{FORWARD, STATUS};
pub use error::{ProposeError, ReadError};
pub use status::{GroupStatus, Role};

use crate::model::{GroupId, NodeId};
use crate::placement::Catalog;
use crate::runtime::Moment;
use bytes::Bytes;
use std::{sync::Arc, time::Duration};
use tokio::sync::watch;

/// Stand-in.
#[derive(Debug)]
pub struct Proposed {
    /// Stand-in.
    pub reply: Bytes,
    /// Stand-in.
    pub index: u64,
    /// Stand-in.
    pub term: u64,
}
/// Stand-in for `storage::Read`.
#[derive(Debug)]
pub struct Read {
    /// Stand-in.
    pub value: Option<Bytes>,
    /// Stand-in.
    pub index: u64,
}
/// Stand-in.
#[derive(Debug)]
pub struct Groups {
    catalog: watch::Sender<Option<Arc<Catalog>>>,
}
impl Groups {
    /// Stand-in.
    pub async fn propose(&self, _: GroupId, _: Bytes, _: Moment) -> Result<Proposed, ProposeError> {
        Err(ProposeError::NotHere)
    }
    /// Stand-in.
    pub async fn barrier(&self, _: GroupId, _: Moment) -> Result<u64, ReadError> {
        Err(ReadError::NotHere)
    }
    /// Stand-in.
    pub fn get(&self, _: GroupId, _: &[u8]) -> Result<Read, ReadError> {
        Err(ReadError::NotHere)
    }
    /// Stand-in.
    pub fn leader(&self, _: GroupId) -> Option<NodeId> {
        None
    }
    /// Stand-in.
    pub fn watch_leader(&self, _: GroupId) -> Option<watch::Receiver<Option<NodeId>>> {
        None
    }
    /// Stand-in.
    pub fn staleness(&self, _: GroupId) -> Option<Duration> {
        None
    }
    /// Stand-in.
    pub fn catalog(&self) -> watch::Receiver<Option<Arc<Catalog>>> {
        self.catalog.subscribe()
    }
    /// Stand-in.
    pub fn statuses(&self) -> Vec<GroupStatus> {
        Vec::new()
    }
}
