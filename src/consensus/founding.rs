//! How a cluster comes to be, and how a node proves that it still is who it was.
//!
//! The founder with the lowest id waits until it has met all others, writes a charter (cluster id,
//! members with their data directories, number of groups) durably, and gives it to each; whoever
//! holds the charter starts the system group with the same members. A charter is written once and
//! repeated word for word after any crash, so that founding can be cut anywhere and goes on.
//!
//! A node that has a charter must be accepted by its peers before it opens a group: by all that
//! answer, and by a majority of the members in any case. A directory that was wiped or restored
//! from an old copy is refused there, and the node stops with an explanation.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::channel::FOUND;
use super::codec;
use super::door::{Door, Rejection};
use super::identity::{Charter, Identity, Member};
use crate::model::{ClusterId, NodeId};
use crate::peer::{Lane, Refusal, Refused, Transport};
use crate::runtime::Env;
use crate::runtime::limits::{FOUND_CALL_TIMEOUT, FOUND_RETRY, PEER_ABSENT_AFTER};
use crate::storage::{Disk, StorageError};

/// Why a node may not take part.
#[derive(Debug, thiserror::Error)]
pub enum FoundingError {
    /// A peer refused this node for good.
    #[error("node {by} refused this node: {refusal}")]
    Rejected {
        /// Who refused.
        by: NodeId,
        /// Why, and what to do.
        refusal: Refusal,
    },
    /// The charter could not be written.
    #[error("the charter could not be written")]
    Storage(#[from] StorageError),
    /// The node is stopping.
    #[error("stopped while waiting for the other members")]
    Stopping,
}

/// What the settings say of the cluster to be founded.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The founding members and their addresses, this node among them.
    pub founders: BTreeMap<NodeId, String>,
    /// Data groups.
    pub groups: u64,
    /// Wanted replicas per group.
    pub replicas: u64,
}

/// The founding of this node's cluster.
#[derive(Debug)]
pub struct Founding {
    disk: Arc<dyn Disk>,
    door: Arc<Door>,
    env: Env,
    chartered: watch::Sender<Option<Charter>>,
    receiving: Mutex<()>,
}

impl Founding {
    /// Starts from what the data directory holds.
    pub fn new(disk: Arc<dyn Disk>, door: Arc<Door>, env: Env) -> Self {
        let charter = door.identity().charter;
        Self {
            disk,
            door,
            env,
            chartered: watch::Sender::new(charter),
            receiving: Mutex::default(),
        }
    }

    /// A peer's charter. Accepted once; the same again is fine; another is refused.
    ///
    /// # Errors
    ///
    /// When it does not name this node and this data directory, or is another than ours.
    pub fn receive(&self, body: &Bytes) -> Result<Bytes, Refused> {
        // Two charters at once must not both find that there is none.
        let _one_at_a_time = self.receiving.lock();
        let charter: Charter =
            codec::decode("charter", body).map_err(|error| Refused::new(error.to_string()))?;
        let identity = self.door.identity();
        if let Some(ours) = &identity.charter {
            return if ours.cluster == charter.cluster {
                Ok(Bytes::new())
            } else {
                Err(Refused::new(format!("this node belongs to cluster {}", ours.cluster)))
            };
        }
        let names_us =
            |m: &Member| m.node == identity.node && m.incarnation == identity.incarnation;
        if !charter.members.iter().any(names_us) {
            return Err(Refused::new("the charter does not name this node's data directory"));
        }
        self.adopt(charter).map_err(|error| Refused::new(error.to_string()))?;
        Ok(Bytes::new())
    }

    /// Writes a charter durably and acts on it.
    ///
    /// # Errors
    ///
    /// When the disk refuses.
    pub fn adopt(&self, charter: Charter) -> Result<(), StorageError> {
        let identity = Identity { charter: Some(charter.clone()), ..self.door.identity() };
        identity.save(&*self.disk)?;
        self.door.set_identity(identity);
        tracing::info!(cluster = %charter.cluster, members = charter.members.len(), "chartered");
        self.chartered.send_replace(Some(charter));
        Ok(())
    }

    /// Notes durably that this directory may take part no more, so that no later start, before peers
    /// with a shorter memory, tries again.
    ///
    /// # Errors
    ///
    /// When the disk refuses.
    pub fn bar(&self, reason: &str) -> Result<(), StorageError> {
        let identity = Identity { barred: Some(reason.to_owned()), ..self.door.identity() };
        identity.save(&*self.disk)?;
        self.door.set_identity(identity);
        Ok(())
    }

    /// Waits until this node has a charter, drawing it up if that is this node's part.
    ///
    /// # Errors
    ///
    /// See [`FoundingError`].
    pub async fn charter(
        &self,
        plan: &Plan,
        transport: &dyn Transport,
    ) -> Result<Charter, FoundingError> {
        let node = self.door.identity().node;
        let mut chartered = self.chartered.subscribe();
        let mut rejected = self.door.rejected();
        if chartered.borrow().is_none() {
            tracing::info!(founders = ?plan.founders, "waiting until all founding members are up");
        }
        loop {
            if let Some(charter) = chartered.borrow_and_update().clone() {
                return Ok(charter);
            }
            check(&rejected)?;
            if plan.founders.keys().next() == Some(&node)
                && let Some(members) = self.members(plan, transport)
            {
                let cluster = ClusterId(self.env.rng.next());
                let (groups, replicas) = (plan.groups, plan.replicas);
                self.adopt(Charter { cluster, members, groups, replicas })?;
                continue;
            }
            tokio::select! {
                changed = chartered.changed() => if changed.is_err() { return Err(FoundingError::Stopping) },
                changed = rejected.changed() => if changed.is_err() { return Err(FoundingError::Stopping) },
                () = tokio::time::sleep(FOUND_RETRY) => {}
                () = self.env.tasks.stopping() => return Err(FoundingError::Stopping),
            }
        }
    }

    /// All founders with their data directories, once all have been met.
    fn members(&self, plan: &Plan, transport: &dyn Transport) -> Option<Vec<Member>> {
        let identity = self.door.identity();
        plan.founders
            .iter()
            .map(|(node, address)| {
                let incarnation = if *node == identity.node {
                    identity.incarnation
                } else {
                    transport.is_connected(*node).then(|| self.door.met(*node)).flatten()?
                };
                Some(Member { node: *node, address: address.clone(), incarnation })
            })
            .collect()
    }

    /// Gives the charter to every other founder, until each has it.
    ///
    /// # Errors
    ///
    /// See [`FoundingError`].
    pub async fn spread(
        &self,
        charter: &Charter,
        transport: &dyn Transport,
    ) -> Result<(), FoundingError> {
        let node = self.door.identity().node;
        let mut missing: Vec<NodeId> =
            charter.members.iter().map(|m| m.node).filter(|other| *other != node).collect();
        let body = codec::encode(charter);
        let rejected = self.door.rejected();
        loop {
            let mut left = Vec::new();
            for other in missing {
                let call =
                    transport.call(other, FOUND, Lane::Control, body.clone(), FOUND_CALL_TIMEOUT);
                if let Err(error) = call.await {
                    tracing::info!(node = %other, %error, "a founder has no charter yet");
                    left.push(other);
                }
            }
            if left.is_empty() {
                return Ok(());
            }
            check(&rejected)?;
            missing = left;
            tokio::select! {
                () = tokio::time::sleep(FOUND_RETRY) => {}
                () = self.env.tasks.stopping() => return Err(FoundingError::Stopping),
            }
        }
    }

    /// Waits until the peers have accepted this node: all that answer, and a majority in any case.
    ///
    /// # Errors
    ///
    /// See [`FoundingError`].
    pub async fn accepted(&self, transport: &dyn Transport) -> Result<(), FoundingError> {
        let node = self.door.identity().node;
        let started = self.env.clock.now();
        let mut rejected = self.door.rejected();
        let mut told = false;
        loop {
            check(&rejected)?;
            let others = self.door.others();
            let connected = others.iter().filter(|peer| transport.is_connected(**peer)).count();
            if connected == others.len() {
                return Ok(());
            }
            let waited = self.env.clock.now().since(started);
            if waited >= PEER_ABSENT_AFTER {
                // Of those that vote on the catalog: a node that joined and never came, or one that
                // is being replaced, must not keep the others from starting.
                let members = self.door.members();
                let present = members
                    .iter()
                    .filter(|member| **member == node || transport.is_connected(**member))
                    .count();
                if present * 2 > members.len() {
                    return Ok(());
                }
                if !told {
                    tracing::warn!(present, members = members.len(), "waiting for a majority");
                    told = true;
                }
            }
            tokio::select! {
                changed = rejected.changed() => if changed.is_err() { return Err(FoundingError::Stopping) },
                () = tokio::time::sleep(Duration::from_millis(20)) => {}
                () = self.env.tasks.stopping() => return Err(FoundingError::Stopping),
            }
        }
    }
}

fn check(rejected: &watch::Receiver<Rejection>) -> Result<(), FoundingError> {
    match &*rejected.borrow() {
        None => Ok(()),
        Some((by, refusal)) => Err(FoundingError::Rejected { by: *by, refusal: refusal.clone() }),
    }
}
