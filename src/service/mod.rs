//! The hall: namespace, slot, group, node; deadlines; at most one forward.
//!
//! ```text
//!   get, lock_get -> read_index ------------> act      this node's replica, at the leader's index
//!      '-----.                                 ^
//!   write, txn, batch, lease_*, lock_*,        |
//!   namespaces, nodes ----------> pursue ------'
//!   route  (catalog, slot, group)    '------> FORWARD  another node's `inbox`, which only acts
//!   cluster -------------------------------> STATUS
//!   eventual namespaces: `eventual`, here and nowhere else
//! ```
//!
//! Promises: nothing is proposed twice unless it surely had no effect the first time, or a once key
//! keeps it from having a second one; every error says its outcome; no call outlives its context's
//! deadline by more than a moment.
//! Does not know: JSON, status codes, the layout of disks.
//! Relies on: `consensus` (through [`Wing`]), `peer` (through `Transport`), `placement`.

mod act;
mod answer;
mod ask;
mod batch;
pub mod cluster;
mod cursor;
mod denied;
mod digest;
mod error;
pub mod eventual;
mod feed;
mod floors;
mod flow;
mod forward;
mod inbox;
mod lease;
mod line;
mod lock;
pub mod metrics;
mod newest;
mod nodes;
mod once;
mod owned;
mod pursue;
mod read;
mod read_index;
mod route;
mod scan;
mod session;
mod spaces;
pub mod switching;
mod txn;
pub mod usage;
mod watch;
mod wing;
mod write;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::RwLock;

use crate::model::{GroupId, NodeId};
use crate::peer::Transport;
use crate::placement::{Catalog, NamespaceLimits, slot_of};
use crate::runtime::limits::{FOLLOWER_READS, READY_AGE_MAX};
use crate::runtime::{Env, Moment};

pub use answer::{
    BatchDone, BatchResult, Got, LeaseGranted, LeaseRevoked, LeaseView, LockDone, LockView,
    NamespaceGone, NamespaceMade, NamespaceView, Route, TxnDone, Wrote,
};
pub use ask::{
    BatchOp, Check, Comparison, Condition, Context, EntityTag, KeyRequest, KeyStep, Life,
    LockRequest, NamespaceChange, NamespaceRequest, OnceKey, ReadMode, Step, TxnRequest,
};
pub use batch::Batch;
pub use cluster::ClusterView;
pub use error::{ErrorKind, Gone, Outcome, ServiceError};
pub use eventual::EventualWing;
pub use feed::{LocalFeed, Show};
pub(crate) use forward::ceil_ms;
pub use inbox::ForwardService;
pub use metrics::ServiceMetrics;
pub use scan::{Counted, Item, KeyRange, RangeDeleted, ScanPage, ScanRequest, ScanStream};
pub use session::{Session, SessionError};
pub use switching::{Obstacle, Survey, SwitchView};
pub use usage::Usage;
pub use watch::{EndReason, Kind, Kinds, Since, Watch, WatchEvent, WatchRequest, Watched};
pub use wing::{LocalRow, Wing};

use digest::Digesting;
use newest::Newest;
use owned::Owned;
use read_index::ReadIndex;
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
    /// This node's shards of eventual namespaces.
    pub eventual: Arc<dyn EventualWing>,
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
    flow: Arc<flow::Flow>,
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
    eventual: Arc<dyn EventualWing>,
    transport: Arc<dyn Transport>,
    metrics: ServiceMetrics,
    health: Health,
    started: Moment,
    map: RwLock<Option<Arc<Map>>>,
    usage: Usage,
    owned: Owned,
    newest: Arc<Newest>,
    read_index: ReadIndex,
    digesting: Digesting,
    desk: switching::Desk,
    follower_reads: AtomicBool,
}

impl fmt::Debug for Hall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hall").field("node", &self.node).finish_non_exhaustive()
    }
}

impl Service {
    /// A hall over these parts.
    pub fn new(parts: Parts) -> Self {
        let started = parts.env.clock.now();
        let Parts { env, node, wing, eventual, transport, metrics, health } = parts;
        let reach = Arc::new(feed::HallReach {
            env: env.clone(),
            node,
            wing: Arc::clone(&wing),
            transport: Arc::clone(&transport),
        });
        let newest = Arc::new(Newest::new(env.clone(), Arc::clone(&wing), reach.clone()));
        let flow = flow::Flow::new(env.clone(), Arc::clone(&wing), reach, Arc::clone(&newest));
        let hall = Hall {
            env,
            node,
            wing,
            eventual,
            transport,
            metrics,
            health,
            started,
            map: RwLock::new(None),
            usage: Usage::default(),
            owned: Owned::default(),
            newest,
            read_index: ReadIndex::default(),
            digesting: Digesting::default(),
            desk: switching::Desk::default(),
            follower_reads: AtomicBool::new(FOLLOWER_READS),
        };
        Self { hall: Arc::new(hall), flow }
    }

    /// Whether followers here answer linearizable reads themselves from now on, or pass them on: for
    /// measuring both in turn.
    pub fn read_by_followers(&self, on: bool) {
        self.hall.follower_reads.store(on, Ordering::Relaxed);
    }

    /// How much the namespaces hold, as far as this node knows.
    pub fn usage(&self) -> &Usage {
        &self.hall.usage
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

    /// Has this node know a namespace of either mode, if there is one of that name.
    ///
    /// # Errors
    ///
    /// When there is none, or that cannot be said in time.
    pub async fn knows(&self, namespace: &str, context: &Context) -> Result<(), ServiceError> {
        self.hall.map_knowing(namespace, context).await.map(drop)
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

    fn reads_by_followers(&self) -> bool {
        self.follower_reads.load(Ordering::Relaxed)
    }

    /// The map, with this namespace in it: asked for anew when it does not have it.
    async fn map_with(&self, namespace: &str, context: &Context) -> Result<Arc<Map>, ServiceError> {
        let map = self.map_knowing(namespace, context).await?;
        map.namespace(namespace)?;
        Ok(map)
    }

    /// The same with a namespace of either mode.
    async fn map_knowing(
        &self,
        namespace: &str,
        context: &Context,
    ) -> Result<Arc<Map>, ServiceError> {
        let map = self.founded(context).await?;
        if map.catalog.namespace(namespace).is_some() {
            return Ok(map);
        }
        self.newest.catalog(context.deadline).await?;
        let map = self.map().ok_or_else(no_catalog)?;
        match map.catalog.namespace(namespace) {
            Some(_) => Ok(map),
            None => Err(ErrorKind::NamespaceNotFound { name: namespace.to_owned() }.into()),
        }
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
