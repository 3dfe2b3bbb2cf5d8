//! Who may speak to this node, and as whom.
//!
//! Every peer connection begins with a hello in both directions. This file judges it: same cluster,
//! known node, the directory that the cluster knows by that id, and a log that has forgotten nothing.
//!
//! Promises: a wiped or rolled-back directory takes no part under its old identity: neither side of
//! the connection accepts it, and this node opens no group before its peers have accepted it.
//! Relies on: the catalog, the founders' charter, `witness`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;
use tokio::sync::watch;

use super::identity::{Charter, Identity};
use super::witness::{Claim, Witness};
use crate::model::{GroupId, Incarnation, NodeId};
use crate::peer::hello::PROTOCOL;
use crate::peer::{Doorkeeper, Hello, Refusal};
use crate::placement::{Catalog, NodeState};
use crate::storage::log::Log;

/// Whether waiting cannot mend a refusal.
///
/// A node that belongs to a cluster takes no word from one that belongs to another, or speaks another
/// protocol: an address may have changed hands, or an upgrade may be under way. Only members of the
/// same cluster say the others, because the cluster is what is judged first.
fn is_final(refusal: &Refusal, is_chartered: bool) -> bool {
    match refusal {
        Refusal::Forgotten { .. } | Refusal::Restored { .. } | Refusal::Removed => true,
        Refusal::WrongCluster { .. } | Refusal::Version { .. } => !is_chartered,
        Refusal::Unknown | Refusal::NotReady | Refusal::WrongNode { .. } => false,
    }
}

/// A refusal that ends this node's part in the cluster, and who spoke it.
pub type Rejection = Option<(NodeId, Refusal)>;

/// The founding members' addresses.
pub type Configured = BTreeMap<NodeId, String>;

/// What a door judges by.
#[derive(Debug)]
pub struct Seen {
    /// This node's log.
    pub log: Log,
    /// What was seen of the others' logs.
    pub witness: Arc<Witness>,
    /// The catalog as this node has it.
    pub catalog: watch::Receiver<Option<Arc<Catalog>>>,
    /// A random number of this process.
    pub run: u64,
}

/// The node's doorkeeper.
#[derive(Debug)]
pub struct Door {
    identity: RwLock<Identity>,
    address: String,
    configured: Configured,
    log: Log,
    witness: Arc<Witness>,
    catalog: watch::Receiver<Option<Arc<Catalog>>>,
    rejected: watch::Sender<Rejection>,
    met: RwLock<BTreeMap<NodeId, Incarnation>>,
    run: u64,
    attempts: AtomicU64,
}

impl Door {
    /// A door for the node with this identity. `address` is its own, `configured` the founding
    /// members', from the settings; `run` a random number of this process.
    pub fn new(identity: Identity, address: String, configured: Configured, seen: Seen) -> Self {
        Self {
            identity: RwLock::new(identity),
            address,
            configured,
            log: seen.log,
            witness: seen.witness,
            catalog: seen.catalog,
            rejected: watch::Sender::new(None),
            met: RwLock::default(),
            run: seen.run,
            attempts: AtomicU64::new(0),
        }
    }

    /// This node's identity.
    pub fn identity(&self) -> Identity {
        self.identity.read().clone()
    }

    /// A random number of this process: another one means a restart.
    pub fn run(&self) -> u64 {
        self.run
    }

    /// Takes over a new, already durable identity.
    pub fn set_identity(&self, identity: Identity) {
        *self.identity.write() = identity;
    }

    /// The first refusal by a peer that waiting will not mend, if there was one.
    pub fn rejected(&self) -> watch::Receiver<Rejection> {
        self.rejected.subscribe()
    }

    /// The data directory of a node that has been admitted here.
    pub fn met(&self, node: NodeId) -> Option<Incarnation> {
        self.met.read().get(&node).copied()
    }

    /// The other members that this node knows of, from the catalog, else from its charter, else from
    /// its settings. Removed nodes are not among them.
    pub fn others(&self) -> Vec<NodeId> {
        let own = self.identity.read().node;
        let catalog = self.catalog.borrow().clone();
        let nodes: Vec<NodeId> = match (&catalog, &self.identity.read().charter) {
            (Some(catalog), _) => catalog
                .nodes
                .iter()
                .filter(|(_, entry)| entry.state != NodeState::Removed)
                .map(|(node, _)| *node)
                .collect(),
            (None, Some(charter)) => charter.members.iter().map(|m| m.node).collect(),
            (None, None) => self.configured.keys().copied().collect(),
        };
        nodes.into_iter().filter(|node| *node != own).collect()
    }

    /// The nodes that the catalog has removed.
    pub fn removed(&self) -> Vec<NodeId> {
        let catalog = self.catalog.borrow().clone();
        let nodes = catalog.iter().flat_map(|c| &c.nodes);
        nodes
            .filter(|(_, entry)| entry.state == NodeState::Removed)
            .map(|(node, _)| *node)
            .collect()
    }

    /// The nodes that vote on the catalog: the system group's replicas, else the charter's members.
    pub fn members(&self) -> Vec<NodeId> {
        let catalog = self.catalog.borrow().clone();
        let system = catalog.as_ref().and_then(|c| c.groups.get(&GroupId::SYSTEM));
        match system {
            Some(system) => system.replicas.clone(),
            None => {
                let identity = self.identity.read();
                identity.charter.iter().flat_map(|c| &c.members).map(|m| m.node).collect()
            }
        }
    }

    fn known(&self, node: NodeId) -> Option<Known> {
        if let Some(catalog) = &*self.catalog.borrow()
            && let Some(entry) = catalog.nodes.get(&node)
        {
            let is_removed = entry.state == NodeState::Removed;
            return Some(Known { incarnation: entry.incarnation, is_removed });
        }
        let identity = self.identity.read();
        let member = identity.charter.as_ref()?.members.iter().find(|m| m.node == node)?;
        Some(Known { incarnation: member.incarnation, is_removed: false })
    }

    fn judge(&self, theirs: &Hello) -> Result<(), Refusal> {
        if theirs.protocol != PROTOCOL {
            return Err(Refusal::Version { ours: PROTOCOL, theirs: theirs.protocol });
        }
        let ours = self.identity.read().charter.as_ref().map(|c: &Charter| c.cluster);
        let claim = Claim {
            incarnation: theirs.incarnation,
            run: theirs.run,
            recovered_lsn: theirs.recovered_lsn,
            flushed_lsn: theirs.flushed_lsn,
        };
        match (ours, theirs.cluster) {
            // Before the founding: the settings say who belongs. What they say of their log is
            // remembered all the same: this connection may carry their acknowledgements later.
            (None, None) if self.configured.contains_key(&theirs.node) => {
                return self.greet(theirs.node, claim);
            }
            // They are founded and we are not: they know whether we belong, and will tell.
            (None, Some(_)) => return self.greet(theirs.node, claim),
            (None, None) => return Err(Refusal::Unknown),
            (Some(ours), Some(theirs)) if ours != theirs => {
                return Err(Refusal::WrongCluster { ours, theirs });
            }
            (Some(_), _) => {}
        }
        let Some(known) = self.known(theirs.node) else {
            return Err(Refusal::Unknown);
        };
        if known.incarnation != theirs.incarnation {
            return Err(Refusal::Forgotten { known: known.incarnation, found: theirs.incarnation });
        }
        if known.is_removed {
            return Err(Refusal::Removed);
        }
        self.greet(theirs.node, claim)
    }

    fn greet(&self, node: NodeId, claim: Claim) -> Result<(), Refusal> {
        let found_lsn = claim.recovered_lsn;
        self.witness
            .greet(node, claim)
            .map_err(|seen_lsn| Refusal::Restored { seen_lsn, found_lsn })
    }
}

struct Known {
    incarnation: Incarnation,
    is_removed: bool,
}

impl Doorkeeper for Door {
    fn hello(&self) -> Hello {
        let identity = self.identity.read();
        Hello {
            protocol: PROTOCOL,
            cluster: identity.charter.as_ref().map(|c| c.cluster),
            node: identity.node,
            incarnation: identity.incarnation,
            address: self.address.clone(),
            recovered_lsn: self.log.recovered_lsn(),
            flushed_lsn: self.log.flushed_lsn(),
            run: self.run,
            wanted: None,
        }
    }

    fn admit(&self, theirs: &Hello) -> Result<(), Refusal> {
        let verdict = self.judge(theirs);
        match &verdict {
            Ok(()) => {
                self.met.write().insert(theirs.node, theirs.incarnation);
            }
            Err(refusal) => tracing::warn!(node = %theirs.node, %refusal, "a peer was refused"),
        }
        verdict
    }

    fn refused(&self, by: NodeId, refusal: &Refusal) {
        let is_chartered = self.identity.read().charter.is_some();
        if is_final(refusal, is_chartered) {
            self.rejected.send_if_modified(|rejected| {
                let is_first = rejected.is_none();
                rejected.get_or_insert_with(|| (by, refusal.clone()));
                is_first
            });
        }
    }

    fn address(&self, node: NodeId) -> Option<String> {
        let configured = self.configured.get(&node).cloned();
        if self.known(node).is_some_and(|known| known.is_removed) {
            return None;
        }
        // Asked once per attempt to connect. When more than half of the nodes came back elsewhere, the
        // catalog cannot learn it before they have met, so the settings get every other attempt.
        let turn = self.attempts.fetch_add(1, Ordering::Relaxed);
        if turn % 2 == 1 && configured.is_some() {
            return configured;
        }
        if let Some(catalog) = &*self.catalog.borrow()
            && let Some(entry) = catalog.nodes.get(&node)
        {
            return (entry.state != NodeState::Removed).then(|| entry.address.clone());
        }
        let identity = self.identity.read();
        let member = identity.charter.iter().flat_map(|c| &c.members).find(|m| m.node == node);
        member.map(|m| m.address.clone()).or(configured)
    }
}
