//! The hall: namespace, slot, group, node; deadlines; at most one forward.
//!
//! ```text
//!   get, write, add_node, replace ---> pursue ---> act      this node's replica
//!   route  (pure: catalog, slot, group)   '------> FORWARD  another node's `inbox`, which only acts
//!   cluster ------------------------------------> STATUS
//! ```
//!
//! Promises: nothing is proposed twice unless it surely had no effect the first time; every error
//! says its outcome; no call outlives its context's deadline by more than a moment.
//! Does not know: JSON, status codes, the layout of disks.
//! Relies on: `consensus` (through [`Wing`]), `peer` (through `Transport`), `placement`.

mod act;
pub mod cluster;
mod error;
mod forward;
mod inbox;
pub mod metrics;
mod pursue;
mod route;
mod wing;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::RwLock;

use crate::model::{
    Action, Command, Give, GroupId, Incarnation, KeyOp, KeyReply, NodeId, Reply, Request, Require,
    Row, Slot, Space, WriteOp, data_key,
};
use crate::peer::Transport;
use crate::placement::{Catalog, CatalogCommand, CatalogReply, Layout, NamespaceLimits, slot_of};
use crate::runtime::limits::READY_AGE_MAX;
use crate::runtime::{Env, Moment};

pub use cluster::ClusterView;
pub use error::{ErrorKind, Outcome, ServiceError};
pub(crate) use forward::ceil_ms;
pub use inbox::ForwardService;
pub use metrics::ServiceMetrics;
pub use wing::{LocalRow, Wing};

use forward::{Done, Work};
use pursue::{Reached, pursue};
use route::{Map, Target};

/// Says why this node must not be trusted with work, if so: a poisoned log, for example.
pub type Health = Box<dyn Fn() -> Option<String> + Send + Sync>;

/// What a hall is built from.
pub struct Parts {
    /// Clock, randomness, tasks.
    pub env: Env,
    /// This node.
    pub node: NodeId,
    /// This node's groups.
    pub wing: Arc<dyn Wing>,
    /// The way to the other nodes.
    pub transport: Arc<dyn Transport>,
    /// Figures.
    pub metrics: ServiceMetrics,
    /// Whether the node is well.
    pub health: Health,
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts").field("node", &self.node).finish_non_exhaustive()
    }
}

/// The hall of a node. Cheap to clone.
#[derive(Clone)]
pub struct Service {
    hall: Arc<Hall>,
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").field("node", &self.hall.node).finish_non_exhaustive()
    }
}

/// What the hall stands on.
struct Hall {
    env: Env,
    node: NodeId,
    wing: Arc<dyn Wing>,
    transport: Arc<dyn Transport>,
    metrics: ServiceMetrics,
    health: Health,
    started: Moment,
    map: RwLock<Option<Arc<Map>>>,
}

/// What comes with every request.
#[derive(Clone, Debug)]
pub struct Context {
    /// When the client gives up.
    pub deadline: Moment,
    /// The request's name in the logs.
    pub request_id: String,
}

/// Which reads are good enough.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadMode {
    /// Reflects everything that was acknowledged before the read began.
    #[default]
    Linearizable,
    /// Whatever a replica has; the answer says how old it can be.
    Stale,
}

/// The answer to a read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Got {
    /// The key's row; `None` when there is no such key.
    pub row: Option<Row>,
    /// The key's group.
    pub group: GroupId,
    /// The group's index that the answer reflects, exactly.
    pub index: u64,
    /// How the key was read.
    pub read: ReadMode,
    /// How old a stale answer can be at most; `None` when unknown, or for a linearizable read.
    pub staleness: Option<Duration>,
    /// The node whose replica was read.
    pub served_by: NodeId,
    /// Who leads the group.
    pub leader: Option<NodeId>,
}

/// What a write came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteReply {
    /// The value is set.
    Put {
        /// Whether the key did not exist before.
        created: bool,
    },
    /// The key does not exist now.
    Deleted {
        /// Whether it existed before.
        existed: bool,
    },
}

/// The answer to a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wrote {
    /// What it came to.
    pub reply: WriteReply,
    /// The key's group.
    pub group: GroupId,
    /// The write's index in its group's order; the key's new revision.
    pub index: u64,
    /// Who leads the group: the node that did the write.
    pub leader: Option<NodeId>,
}

/// Where a key lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The key's slot.
    pub slot: Slot,
    /// The group that owns it.
    pub group: GroupId,
    /// Who leads the group, as far as this node knows.
    pub leader: Option<NodeId>,
    /// Who should lead it.
    pub preferred: NodeId,
    /// The nodes that hold it, each with its address.
    pub replicas: Vec<(NodeId, Option<String>)>,
    /// The epoch of the catalog that says so.
    pub epoch: u64,
}

impl Service {
    /// A hall over these parts.
    pub fn new(parts: Parts) -> Self {
        let started = parts.env.clock.now();
        let Parts { env, node, wing, transport, metrics, health } = parts;
        let map = RwLock::new(None);
        Self { hall: Arc::new(Hall { env, node, wing, transport, metrics, health, started, map }) }
    }

    /// This node.
    pub fn node(&self) -> NodeId {
        self.hall.node
    }

    /// Clock, randomness and tasks of this node.
    pub fn env(&self) -> &Env {
        &self.hall.env
    }

    /// Where a node is reached, `host:port`.
    pub fn address(&self, node: NodeId) -> Option<String> {
        self.hall.map()?.catalog.nodes.get(&node).map(|entry| entry.address.clone())
    }

    /// The catalog as this node knows it.
    pub fn catalog(&self) -> Option<Arc<Catalog>> {
        self.hall.map().map(|map| Arc::clone(&map.catalog))
    }

    /// What a key's namespace accepts, before the value is worth reading; the widest limits while
    /// no catalog is known.
    ///
    /// # Errors
    ///
    /// When the namespace does not exist, cannot be served, or does not take the key.
    pub fn admit(&self, namespace: &str, key: &[u8]) -> Result<NamespaceLimits, ServiceError> {
        let limits = match self.hall.map() {
            Some(map) => map.namespace(namespace)?.limits,
            None => NamespaceLimits::default(),
        };
        check_key(key, limits)?;
        Ok(limits)
    }

    /// Reads a key. Cancel-safe.
    ///
    /// # Errors
    ///
    /// Reads have no effect, so every error but `Internal` may be retried.
    pub async fn get(
        &self,
        namespace: &str,
        key: Bytes,
        read: ReadMode,
        context: Context,
    ) -> Result<Got, ServiceError> {
        let map = self.hall.founded(&context).await?;
        let entry = map.namespace(namespace)?;
        check_key(&key, entry.limits)?;
        let slot = slot_of(entry.id, entry.layout, &key);
        let row_key = data_key(entry.id, &key);
        let work = match read {
            ReadMode::Linearizable => Work::Read(slot, row_key),
            ReadMode::Stale => Work::ReadStale(slot, row_key),
        };
        let reached = pursue(&self.hall, Target::Slot(slot), work, &context).await?;
        let Reached { group, by, done } = reached;
        let leader = match read {
            ReadMode::Linearizable => Some(by),
            ReadMode::Stale => self.hall.wing.leader(group),
        };
        let Done::Read { index, row, age } = done else {
            return Err(internal(group, "a read was answered as a write"));
        };
        let row = row
            .map(|bytes| Row::decode(&bytes))
            .transpose()
            .map_err(|error| internal(group, &error.to_string()))?;
        Ok(Got { row, group, index, read, staleness: age, served_by: by, leader })
    }

    /// Writes a key. A dropped future says nothing of the write: it may go on.
    ///
    /// # Errors
    ///
    /// Ask the error for its outcome.
    pub async fn write(
        &self,
        namespace: &str,
        key: Bytes,
        op: WriteOp,
        context: Context,
    ) -> Result<Wrote, ServiceError> {
        let map = self.hall.founded(&context).await?;
        let entry = map.namespace(namespace)?;
        check_key(&key, entry.limits)?;
        check_value(&op, entry.limits)?;
        let slot = slot_of(entry.id, entry.layout, &key);
        let space = Space {
            id: entry.id,
            ordered: entry.layout == Layout::Ordered,
            recorded: true,
            quota: None,
            value_bytes_max: entry.limits.value_bytes_max,
        };
        let op = KeyOp { slot, key, require: Require::None, op, give: Give::Nothing };
        // The command is made once and repeated as it is while the catalog changes; the slot's owner
        // is asked for in any case, and no namespace is ever deleted yet.
        let (epoch, at_ms) = (u64::MAX, 0);
        let action = Action::Key(space, op);
        let command = Command::Request(Request { epoch, at_ms, once: None, action }).encode();
        let work = Work::Propose(command);
        let reached = pursue(&self.hall, Target::Slot(slot), work, &context).await?;
        let group = reached.group;
        let (index, reply) = reached.proposed()?;
        let reply = match reply {
            Reply::Key(KeyReply::Put { created, .. }) => WriteReply::Put { created },
            Reply::Key(KeyReply::Deleted { existed, .. }) => WriteReply::Deleted { existed },
            other => return Err(internal(group, &format!("a write was answered by {other:?}"))),
        };
        Ok(Wrote { reply, group, index, leader: Some(reached.by) })
    }

    /// Where a key lives, by this node's catalog.
    ///
    /// # Errors
    ///
    /// When the namespace does not exist or no catalog is known.
    pub fn route(&self, namespace: &str, key: &[u8]) -> Result<Route, ServiceError> {
        let map = self.hall.map().ok_or_else(no_catalog)?;
        let entry = map.namespace(namespace)?;
        check_key(key, entry.limits)?;
        let slot = slot_of(entry.id, entry.layout, key);
        let (group, place) = map.place(Target::Slot(slot)).ok_or_else(no_catalog)?;
        let address = |node| map.catalog.nodes.get(&node).map(|known| known.address.clone());
        Ok(Route {
            slot,
            group,
            leader: self.hall.wing.leader(group),
            preferred: place.preferred,
            replicas: place.replicas.iter().map(|node| (*node, address(*node))).collect(),
            epoch: map.catalog.epoch,
        })
    }

    /// Makes a node known to the cluster; the epoch at which it is. Repeating it is harmless.
    ///
    /// # Errors
    ///
    /// `Refused` when the cluster does not want it.
    pub async fn add_node(
        &self,
        node: NodeId,
        address: String,
        incarnation: Incarnation,
        context: Context,
    ) -> Result<u64, ServiceError> {
        self.change(&CatalogCommand::AddNode { node, address, incarnation }, &context).await
    }

    /// Has one node take over the replicas of another; the epoch at which that was decided. The
    /// moves follow; [`Service::cluster`] shows how many are left. Repeating it is harmless.
    ///
    /// # Errors
    ///
    /// `Refused` when the cluster does not want it.
    pub async fn replace(
        &self,
        old: NodeId,
        new: NodeId,
        context: Context,
    ) -> Result<u64, ServiceError> {
        self.change(&CatalogCommand::Replace { old, new }, &context).await
    }

    async fn change(
        &self,
        command: &CatalogCommand,
        context: &Context,
    ) -> Result<u64, ServiceError> {
        let command = Command::Catalog(command.encode()).encode();
        let work = Work::Propose(command);
        let reached = pursue(&self.hall, Target::System, work, context).await?;
        let Reply::Catalog(bytes) = reached.proposed()?.1 else {
            return Err(internal(reached.group, "a catalog command got another answer"));
        };
        match CatalogReply::decode(&bytes) {
            Ok(CatalogReply::Done { epoch }) => Ok(epoch),
            Ok(CatalogReply::Refused { code, reason }) => {
                Err(ErrorKind::Refused { code, reason }.into())
            }
            Err(error) => Err(internal(reached.group, &error.to_string())),
        }
    }

    /// What keeps this node from serving; empty when it is ready.
    pub fn obstacles(&self) -> Vec<String> {
        let mut obstacles = Vec::new();
        if self.hall.env.tasks.is_stopping() {
            obstacles.push("the node is stopping".to_owned());
        }
        obstacles.extend((self.hall.health)());
        let Some(map) = self.hall.map() else {
            obstacles.push("no catalog is known yet".to_owned());
            return obstacles;
        };
        // A leader that is only remembered from before a restart may be none any more: the groups
        // here must have heard of one that a quorum has confirmed since.
        let led: BTreeSet<GroupId> = self
            .hall
            .wing
            .statuses()
            .iter()
            .filter(|status| status.leader.is_some())
            .map(|status| status.group)
            .filter(|group| {
                self.hall.wing.staleness(*group).is_some_and(|age| age <= READY_AGE_MAX)
            })
            .collect();
        let without: Vec<String> = map
            .catalog
            .groups_on(self.hall.node)
            .filter(|group| !led.contains(group))
            .map(|group| group.to_string())
            .collect();
        if !without.is_empty() {
            obstacles.push(format!("groups without a confirmed leader: {}", without.join(", ")));
        }
        obstacles
    }
}

impl Hall {
    /// The catalog of a founded cluster, laid out; rebuilt only when it has changed.
    fn map(&self) -> Option<Arc<Map>> {
        let catalog = self.wing.catalog().borrow().clone().filter(|c| c.is_founded())?;
        if let Some(map) = self.map.read().as_ref()
            && Arc::ptr_eq(&map.catalog, &catalog)
        {
            return Some(Arc::clone(map));
        }
        let map = Arc::new(Map::of(catalog));
        *self.map.write() = Some(Arc::clone(&map));
        Some(map)
    }

    /// The map, waited for while the node starts.
    async fn founded(&self, context: &Context) -> Result<Arc<Map>, ServiceError> {
        if let Some(map) = self.map() {
            return Ok(map);
        }
        let remaining = context.deadline.since(self.env.clock.now());
        let mut watch = self.wing.catalog();
        let known = watch.wait_for(|c| c.as_ref().is_some_and(|c| c.is_founded()));
        // Whether it came, the time ran out or the wing went away: the map says it.
        tokio::select! {
            known = tokio::time::timeout(remaining, known) => drop(known),
            () = self.env.tasks.stopping() => {}
        }
        self.map().ok_or_else(no_catalog)
    }

    /// The epoch by which a group says that it does not own what it was asked to write.
    fn not_owner(&self, done: &Done) -> Result<Option<u64>, ErrorKind> {
        let Done::Proposed { reply, .. } = done else { return Ok(None) };
        match Reply::decode(reply) {
            Ok(Reply::NotOwner { epoch }) => Ok(Some(epoch)),
            Ok(_) => Ok(None),
            Err(error) => Err(ErrorKind::Internal { reason: error.to_string() }),
        }
    }
}

impl Reached {
    fn proposed(&self) -> Result<(u64, Reply), ServiceError> {
        let Done::Proposed { index, reply } = &self.done else {
            return Err(internal(self.group, "a write was answered as a read"));
        };
        let reply =
            Reply::decode(reply).map_err(|error| internal(self.group, &error.to_string()))?;
        Ok((*index, reply))
    }
}

fn no_catalog() -> ServiceError {
    ErrorKind::Unavailable { reason: "this node knows no catalog yet".into() }.into()
}

fn internal(group: GroupId, reason: &str) -> ServiceError {
    ServiceError::from(ErrorKind::Internal { reason: reason.to_owned() }).about(group, None)
}

fn check_key(key: &[u8], limits: NamespaceLimits) -> Result<(), ServiceError> {
    let bytes = u64::try_from(key.len()).unwrap_or(u64::MAX);
    if key.is_empty() {
        return Err(ErrorKind::Invalid { reason: "the key is empty".into() }.into());
    }
    if bytes > limits.key_bytes_max {
        return Err(ErrorKind::KeyTooLong { bytes, limit: limits.key_bytes_max }.into());
    }
    Ok(())
}

fn check_value(op: &WriteOp, limits: NamespaceLimits) -> Result<(), ServiceError> {
    let limit = limits.value_bytes_max;
    match op {
        WriteOp::Put { value, .. } if u64::try_from(value.len()).unwrap_or(u64::MAX) > limit => {
            Err(ErrorKind::TooLarge { limit }.into())
        }
        WriteOp::Put { .. } | WriteOp::Delete | WriteOp::Patch { .. } => Ok(()),
    }
}
