//! What the hall asks of the linearizable wing.
//!
//! Why it exists: the hall's decisions (whom to ask, what may be repeated, when to give up) are
//! tested against a wing that fails on command; the real one needs three nodes and an election.
//! `consensus::Groups` is the only other implementation, a line per method.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::watch;

use crate::consensus::{GroupStatus, Groups, ProposeError, ReadError};
use crate::model::{GroupId, LeaseId, NodeId};
use crate::placement::Catalog;
use crate::runtime::Moment;
use crate::storage::state::Digest;

use super::feed::LocalFeed;

/// A row as this node's replica holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalRow {
    /// The encoded row, when there is one.
    pub value: Option<Bytes>,
    /// The group's index that the value reflects, exactly.
    pub index: u64,
}

/// The groups of this node.
#[async_trait]
pub trait Wing: LocalFeed {
    /// Has the group agree on a command. The command is on its way once this was polled: a dropped
    /// future does not take it back, and says nothing of it.
    async fn propose(
        &self,
        group: GroupId,
        command: Bytes,
        deadline: Moment,
    ) -> Result<(Bytes, u64), ProposeError>;

    /// Waits until a read here reflects all that was acknowledged before. Cancel-safe.
    async fn barrier(&self, group: GroupId, deadline: Moment) -> Result<u64, ReadError>;

    /// Waits until this node's replica has applied an index. Cancel-safe.
    async fn wait_applied(
        &self,
        group: GroupId,
        index: u64,
        deadline: Moment,
    ) -> Result<(), ReadError>;

    /// About how long a lease still lives; `None` where its home is not led or it does not live.
    fn lease_remaining(&self, group: GroupId, lease: LeaseId) -> Option<Duration>;

    /// Reads what this node's replica holds.
    fn get(&self, group: GroupId, key: &[u8]) -> Result<LocalRow, ReadError>;

    /// Who leads, as far as this node's replica knows.
    fn leader(&self, group: GroupId) -> Option<NodeId>;

    /// Changes of the leader; `None` without a replica here.
    fn watch_leader(&self, group: GroupId) -> Option<watch::Receiver<Option<NodeId>>>;

    /// How old a local read can be at most; `None` when nothing is known.
    fn staleness(&self, group: GroupId) -> Option<Duration>;

    /// The catalog as this node knows it.
    fn catalog(&self) -> watch::Receiver<Option<Arc<Catalog>>>;

    /// What this node's replicas say of their groups.
    fn statuses(&self) -> Vec<GroupStatus>;

    /// The digest of this node's replica; `None` when it is not done by the deadline. Blocks.
    fn digest(&self, group: GroupId, until: Moment) -> Result<Option<Digest>, ReadError>;
}

#[async_trait]
impl Wing for Groups {
    async fn propose(
        &self,
        group: GroupId,
        command: Bytes,
        deadline: Moment,
    ) -> Result<(Bytes, u64), ProposeError> {
        let proposed = Self::propose(self, group, command, deadline).await?;
        Ok((proposed.reply, proposed.index))
    }

    async fn barrier(&self, group: GroupId, deadline: Moment) -> Result<u64, ReadError> {
        Self::barrier(self, group, deadline).await
    }

    async fn wait_applied(
        &self,
        group: GroupId,
        index: u64,
        deadline: Moment,
    ) -> Result<(), ReadError> {
        Self::wait_applied(self, group, index, deadline).await
    }

    fn lease_remaining(&self, group: GroupId, lease: LeaseId) -> Option<Duration> {
        Self::lease_remaining(self, group, lease)
    }

    fn get(&self, group: GroupId, key: &[u8]) -> Result<LocalRow, ReadError> {
        let read = Self::get(self, group, key)?;
        Ok(LocalRow { value: read.value, index: read.index })
    }

    fn leader(&self, group: GroupId) -> Option<NodeId> {
        Self::leader(self, group)
    }

    fn watch_leader(&self, group: GroupId) -> Option<watch::Receiver<Option<NodeId>>> {
        Self::watch_leader(self, group)
    }

    fn staleness(&self, group: GroupId) -> Option<Duration> {
        Self::staleness(self, group)
    }

    fn catalog(&self) -> watch::Receiver<Option<Arc<Catalog>>> {
        Self::catalog(self)
    }

    fn statuses(&self) -> Vec<GroupStatus> {
        Self::statuses(self)
    }

    fn digest(&self, group: GroupId, until: Moment) -> Result<Option<Digest>, ReadError> {
        Self::digest(self, group, until)
    }
}
