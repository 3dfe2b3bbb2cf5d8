//! All groups of this node: open, find, propose, read, close.
//!
//! Promises: each group is opened once; a group that is not here is `NotHere`, never created by a
//! message. Relies on: `group`, the shared log and state, the peer room.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::RwLock;
use tokio::sync::{Notify, watch};

use super::confirm::Confirm;
use super::door::Door;
use super::error::{ProposeError, ReadError};
use super::group::{Group, Parts, Timing};
use super::ingress::Proposed;
use super::leases::LeaseTable;
use super::log_store::LogStore;
use super::machine::{CatalogSender, Machine};
use super::metrics::ConsensusMetrics;
use super::network::NetworkFactory;
use super::quiet::drive::Quiet;
use super::status::GroupStatus;
use super::types::Fatal;
use super::witness::Witness;
use crate::model::{GroupId, NodeId};
use crate::peer::Transport;
use crate::placement::Catalog;
use crate::runtime::Env;
use crate::runtime::clock::Moment;
use crate::storage::StorageError;
use crate::storage::log::Log;
use crate::storage::state::{Read, State};

/// Why a group could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Its stored state cannot be read.
    #[error("group {group}: cannot read its stored state")]
    Storage {
        /// The group.
        group: GroupId,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// openraft refused to start it.
    #[error("group {group}: cannot start")]
    Raft {
        /// The group.
        group: GroupId,
        /// The cause.
        #[source]
        source: Box<Fatal>,
    },
    /// The settings are inconsistent.
    #[error("inconsistent consensus settings")]
    Config(#[from] openraft::ConfigError),
}

/// What the groups are built from.
#[derive(Debug)]
pub struct Foundation {
    /// This node.
    pub node: NodeId,
    /// Time, chance, tasks.
    pub env: Env,
    /// The node's log.
    pub log: Log,
    /// The node's applied state.
    pub state: State,
    /// The corridor.
    pub transport: Arc<dyn Transport>,
    /// What was seen of the others' logs.
    pub witness: Arc<Witness>,
    /// Who may speak.
    pub door: Arc<Door>,
    /// Where the catalog is published.
    pub catalog: CatalogSender,
    /// The groups' times.
    pub timing: Timing,
    /// The wing's figures.
    pub metrics: ConsensusMetrics,
}

/// The groups of this node.
#[derive(Debug)]
pub struct Groups {
    base: Foundation,
    timing: RwLock<(Timing, Arc<openraft::Config>)>,
    open: RwLock<BTreeMap<GroupId, Arc<Group>>>,
    opening: tokio::sync::Mutex<()>,
    leases: RwLock<BTreeMap<GroupId, Arc<LeaseTable>>>,
    /// Begins with the first group.
    confirm: OnceLock<Arc<Confirm>>,
    leases_stirred: Arc<Notify>,
    quiet: Option<Arc<Quiet>>,
}

impl Groups {
    /// No group is open yet.
    ///
    /// # Errors
    ///
    /// When the settings are inconsistent.
    pub fn new(base: Foundation) -> Result<Self, OpenError> {
        let timing = RwLock::new((base.timing, base.timing.config()?));
        let (node, run) = (base.node, base.door.run());
        let quiet = base.timing.quiet.map(|times| Arc::new(Quiet::new(node, run, times)));
        Ok(Self {
            base,
            quiet,
            timing,
            open: RwLock::default(),
            opening: tokio::sync::Mutex::default(),
            leases: RwLock::default(),
            confirm: OnceLock::new(),
            leases_stirred: Arc::default(),
        })
    }

    /// Sets the heartbeat of all groups that are opened from now on; the number of groups, which
    /// decides it, is known only once the node has a charter.
    ///
    /// # Errors
    ///
    /// When the settings are inconsistent.
    pub fn set_heartbeat(&self, heartbeat: Duration) -> Result<(), OpenError> {
        let timing = Timing { heartbeat, ..self.timing() };
        let config = timing.config()?;
        *self.timing.write() = (timing, config);
        Ok(())
    }

    /// This node.
    pub fn node(&self) -> NodeId {
        self.base.node
    }

    /// Time, chance, tasks.
    pub fn env(&self) -> &Env {
        &self.base.env
    }

    /// The corridor.
    pub fn transport(&self) -> &Arc<dyn Transport> {
        &self.base.transport
    }

    /// Who may speak.
    pub fn door(&self) -> &Arc<Door> {
        &self.base.door
    }

    /// The node's log.
    pub fn log(&self) -> &Log {
        &self.base.log
    }

    /// The node's applied state.
    pub fn state(&self) -> &State {
        &self.base.state
    }

    pub(super) fn metrics(&self) -> &ConsensusMetrics {
        &self.base.metrics
    }

    /// Which groups are quiet here, unless none ever is.
    pub(super) fn quiet(&self) -> Option<&Arc<Quiet>> {
        self.quiet.as_ref()
    }

    pub(super) fn timing(&self) -> Timing {
        self.timing.read().0
    }

    /// Opens a group, or returns it if it is open.
    ///
    /// # Errors
    ///
    /// See [`OpenError`].
    pub async fn open(&self, id: GroupId) -> Result<Arc<Group>, OpenError> {
        let _one_at_a_time = self.opening.lock().await;
        if let Some(group) = self.group(id) {
            return Ok(group);
        }
        let base = &self.base;
        let catalog = (id == GroupId::SYSTEM).then(|| Arc::clone(&base.catalog));
        let leases = Arc::new(LeaseTable::telling(Arc::clone(&self.leases_stirred)));
        let (state, tasks) = (base.state.clone(), base.env.tasks.clone());
        let machine = Machine::open(id, state, tasks, catalog, Arc::clone(&leases))
            .map_err(|source| OpenError::Storage { group: id, source })?;
        let confirm = self.confirm.get_or_init(|| {
            let ways = (Arc::clone(&base.transport), Arc::clone(&base.witness));
            Arc::new(Confirm::start(base.node, ways, &base.env.tasks, base.metrics.clone()))
        });
        let parts = Parts {
            id,
            node: base.node,
            state: base.state.clone(),
            confirm: Arc::clone(confirm),
            log: LogStore::new(base.log.clone(), id),
            machine,
            network: NetworkFactory {
                group: id,
                transport: Arc::clone(&base.transport),
                witness: Arc::clone(&base.witness),
                tasks: base.env.tasks.clone(),
            },
            config: Arc::clone(&self.timing.read().1),
            metrics: base.metrics.clone(),
        };
        let group = Group::start(parts, &base.env)
            .await
            .map_err(|source| OpenError::Raft { group: id, source: Box::new(source) })?;
        let group = Arc::new(group);
        self.leases.write().insert(id, leases);
        self.open.write().insert(id, Arc::clone(&group));
        Ok(group)
    }

    /// Stops a group and frees what it holds here; its vote stays in the log.
    ///
    /// # Errors
    ///
    /// When the state cannot be cleared.
    pub async fn discard(&self, id: GroupId) -> Result<(), StorageError> {
        let _one_at_a_time = self.opening.lock().await;
        let group = self.open.write().remove(&id);
        self.leases.write().remove(&id);
        if let Some(group) = group {
            group.stop().await;
        }
        self.base.log.drop_group(id.0, Box::new(|_result| {}));
        let state = self.base.state.clone();
        self.base.env.tasks.blocking(move || state.drop_group(id.0)).await
    }

    /// An open group.
    pub fn group(&self, id: GroupId) -> Option<Arc<Group>> {
        self.open.read().get(&id).cloned()
    }

    pub(super) fn lease_table(&self, id: GroupId) -> Option<Arc<LeaseTable>> {
        self.leases.read().get(&id).cloned()
    }

    /// Whether any replica here knows of a lease.
    pub(super) fn has_leases(&self) -> bool {
        self.leases.read().values().any(|table| table.count() > 0)
    }

    /// Told when a lease of any replica here changes.
    pub(super) fn leases_stirred(&self) -> &Arc<Notify> {
        &self.leases_stirred
    }

    /// All open groups, in the order of their ids.
    pub fn all(&self) -> Vec<Arc<Group>> {
        self.open.read().values().cloned().collect()
    }

    /// Proposes a command to a group led here and waits until it is applied here.
    ///
    /// # Errors
    ///
    /// See [`ProposeError`]; only `Unknown` may have been applied.
    pub async fn propose(
        &self,
        group: GroupId,
        command: Bytes,
        deadline: Moment,
    ) -> Result<Proposed, ProposeError> {
        let group = self.group(group).ok_or(ProposeError::NotHere)?;
        if self.base.log.is_overloaded() || self.base.state.is_overloaded() {
            return Err(ProposeError::Overloaded);
        }
        group.ingress().propose(&self.base.env, command, deadline).await
    }

    /// Passes the read barrier of a group led here; see `barrier`.
    ///
    /// # Errors
    ///
    /// See [`ReadError`].
    pub async fn barrier(&self, group: GroupId, deadline: Moment) -> Result<u64, ReadError> {
        self.group(group).ok_or(ReadError::NotHere)?.barrier(deadline).await
    }

    /// Reads a row of a local replica, with the index that it reflects.
    ///
    /// # Errors
    ///
    /// When there is no replica here or the state cannot be read.
    pub fn get(&self, group: GroupId, key: &[u8]) -> Result<Read, ReadError> {
        if self.group(group).is_none() {
            return Err(ReadError::NotHere);
        }
        self.base.state.get(group.0, key).map_err(|error| self.cannot_read(&error))
    }

    /// What a failed read of the state comes to.
    pub(super) fn cannot_read(&self, error: &StorageError) -> ReadError {
        if matches!(error, StorageError::Corrupt { .. }) {
            // The next start checks every checkpoint and says what to do.
            self.base.env.tasks.fail(error.to_string());
        }
        ReadError::Stopped { reason: error.to_string() }
    }

    /// Who leads a group, as far as the replica here knows.
    pub fn leader(&self, group: GroupId) -> Option<NodeId> {
        self.group(group)?.leader()
    }

    /// Follows who leads a group that has a replica here.
    pub fn watch_leader(&self, group: GroupId) -> Option<watch::Receiver<Option<NodeId>>> {
        Some(self.group(group)?.watch_leader())
    }

    /// How old a local read can be at most; see `freshness`.
    pub fn staleness(&self, group: GroupId) -> Option<Duration> {
        let applied = self.base.state.applied(group.0).map(|a| a.index);
        self.group(group)?.freshness().age(applied, self.base.env.clock.now())
    }

    /// Follows the catalog.
    pub fn catalog(&self) -> watch::Receiver<Option<Arc<Catalog>>> {
        self.base.catalog.subscribe()
    }

    /// Waits until all that the log has been given is durable, or can never be.
    pub async fn flush_log(&self) {
        let (done, flushed) = tokio::sync::oneshot::channel();
        self.base.log.flush(Box::new(move |result| {
            // Whoever waited may have given up.
            drop(done.send(result));
        }));
        // A poisoned log ends the node by itself.
        drop(flushed.await);
    }

    /// The status of every group here, but for those that begin just now: until Raft has read its
    /// vote a replica seems to be in term 0, which would be a promise forgotten.
    pub fn statuses(&self) -> Vec<GroupStatus> {
        let statuses = self.all().into_iter().map(|group| group.status());
        let begins = |status: &GroupStatus| {
            status.term == 0 && self.base.log.state(status.group.0).vote.is_some()
        };
        statuses.filter(|status| !begins(status)).collect()
    }

    /// Stops all groups, for a clean end.
    pub async fn stop(&self) {
        let groups = self.all();
        futures_util::future::join_all(groups.iter().map(|group| group.stop())).await;
    }
}
