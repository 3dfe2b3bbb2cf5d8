//! The shards of this node: one for each eventual namespace of the catalog.
//!
//! Why it exists: namespaces come and go by consensus, but a node that is cut off goes by the catalog
//! that it knows. Promises: each shard is opened once; a namespace's data goes when the catalog says
//! that the namespace is gone, also over a crash in the middle: ids are never given twice, so what has a
//! known id and no entry is dropped at the next start. Relies on the catalog, and on log and state.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::RwLock;
use tokio::sync::{oneshot, watch};
use xxhash_rust::xxh3::Xxh3;

use super::clocks::Clocks;
use super::gate::Passage;
use super::open::{Parts, open};
use super::shard::{Part, Shard};
use super::words::ReadError;
use super::{home_of, storage_group};
use crate::model::eventual::{DataType, Member, Members};
use crate::model::{NamespaceId, NodeId};
use crate::placement::links::{holders, readers};
use crate::placement::{Catalog, Mode, NamespaceEntry};
use crate::runtime::Env;
use crate::runtime::limits::{
    AUDIT_EVERY, EVENTUAL_GROUP_BASE, EVENTUAL_LOG_BYTES_MIN, EVENTUAL_LOGS_BYTES, SHARD_TICK,
    SHARD_UPKEEP_TICK,
};
use crate::storage::{GroupId, State, log::Log};

/// What the shards are built from.
#[derive(Debug)]
pub struct Foundation {
    /// This node.
    pub node: NodeId,
    /// The low half of its data directory's random number.
    pub home: u32,
    /// Time, chance, tasks.
    pub env: Env,
    /// The node's log.
    pub log: Log,
    /// The node's applied state.
    pub state: State,
    /// Log that is kept of one shard, at most.
    pub log_bytes: u64,
    /// The catalog as this node knows it.
    pub catalog: watch::Receiver<Option<Arc<Catalog>>>,
}

/// The shards of this node.
#[derive(Debug)]
pub struct Shards {
    base: Foundation,
    clocks: Arc<Clocks>,
    open: RwLock<BTreeMap<NamespaceId, Shard>>,
    changed: watch::Sender<u64>,
    /// Held while shards are opened and closed; set when no more are.
    following: tokio::sync::Mutex<bool>,
}

/// What of a catalog concerns a namespace.
fn part_of(catalog: &Catalog, entry: &NamespaceEntry, me: NodeId) -> Part {
    let present = catalog.present_nodes();
    let readers = readers(&entry.topology, &holders(&catalog.nodes));
    let all: BTreeSet<Member> = present
        .filter(|(node, _)| !readers.contains(node))
        .map(|(node, known)| Member { node: node.0, home: home_of(known.incarnation) })
        .collect();
    let mut hash = Xxh3::new();
    // Readers come and go with the links, so that a list may come again: not in the same epoch.
    hash.update(&entry.epoch.to_le_bytes());
    for member in &all {
        hash.update(&member.node.to_le_bytes());
        hash.update(&member.home.to_le_bytes());
    }
    let members = Members { version: hash.digest(), all };
    let nodes = Arc::new(members.all.iter().map(|member| NodeId(member.node)).collect());
    Part {
        members,
        nodes,
        is_reader: readers.contains(&me),
        limits: entry.limits,
        passage: match entry.active_switch() {
            None => Passage::Open,
            Some(switch) if switch.is_sealed() => Passage::Sealed,
            Some(_) => Passage::Frozen,
        },
        epoch: catalog.epoch,
    }
}

impl Shards {
    /// No shard is open yet.
    pub fn new(base: Foundation) -> Arc<Self> {
        Arc::new(Self {
            base,
            clocks: Arc::default(),
            open: RwLock::default(),
            changed: watch::Sender::new(0),
            following: tokio::sync::Mutex::new(false),
        })
    }

    /// This node.
    pub fn node(&self) -> NodeId {
        self.base.node
    }

    /// Time, chance, tasks.
    pub fn env(&self) -> &Env {
        &self.base.env
    }

    /// The catalog, to be followed.
    pub fn catalog(&self) -> watch::Receiver<Option<Arc<Catalog>>> {
        self.base.catalog.clone()
    }

    /// The shard of a namespace, if it is open here.
    pub fn get(&self, namespace: NamespaceId) -> Option<Shard> {
        self.open.read().get(&namespace).cloned()
    }

    /// All open shards.
    pub fn all(&self) -> Vec<Shard> {
        self.open.read().values().cloned().collect()
    }

    /// Changes whenever a shard was opened or closed, or what the catalog says of one has changed.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Heard what a node's wall clock said when it was asked, at `asked_ms` of this node's own.
    pub fn clock_heard(&self, node: NodeId, wall_ms: u64, asked_ms: u64) {
        self.clocks.heard(node, wall_ms, asked_ms, self.base.env.clock.now());
    }

    /// By how much this node's clock leads the others', in milliseconds.
    pub fn clock_lead_ms(&self) -> u64 {
        self.clocks.lead_ms(self.base.env.clock.now())
    }

    /// Follows the catalog and does what is due, for ever.
    pub async fn run(self: Arc<Self>) {
        tokio::join!(self.follow_catalog(), self.tick(), self.upkeep(), self.audits());
    }

    async fn follow_catalog(&self) {
        let mut catalog = self.base.catalog.clone();
        loop {
            let known = catalog.borrow_and_update().clone();
            if let Some(known) = known {
                self.follow(&known).await;
            }
            if catalog.changed().await.is_err() {
                return;
            }
        }
    }

    /// Comes to have exactly the shards of a catalog.
    pub async fn follow(&self, catalog: &Catalog) {
        let following = self.following.lock().await;
        if *following {
            return;
        }
        let mut wanted = BTreeMap::new();
        for entry in catalog.entries() {
            if let (Mode::Eventual, Some(data_type)) = (entry.mode, entry.data_type) {
                wanted.insert(entry.id, (data_type, part_of(catalog, entry, self.base.node)));
            }
        }
        if let Err(error) = self.drop_the_gone(catalog, &wanted).await {
            self.fail(&error);
            return;
        }
        for (namespace, (data_type, part)) in wanted {
            if let Some(shard) = self.get(namespace) {
                shard.set_part(part);
            } else if let Err(error) = self.open(namespace, data_type, part).await {
                self.fail(&error);
                return;
            }
        }
        self.changed.send_modify(|count| *count = count.wrapping_add(1));
    }

    fn fail(&self, error: &ReadError) {
        let tasks = &self.base.env.tasks;
        if !tasks.is_stopping() {
            tasks.fail(format!("an eventual namespace cannot be opened or dropped: {error}"));
        }
    }

    async fn open(
        &self,
        namespace: NamespaceId,
        data_type: DataType,
        part: Part,
    ) -> Result<(), ReadError> {
        let parts = Parts {
            namespace,
            data_type,
            member: Member { node: self.base.node.0, home: self.base.home },
            log: self.base.log.clone(),
            state: self.base.state.clone(),
            env: self.base.env.clone(),
            clocks: Arc::clone(&self.clocks),
            part,
        };
        let (shard, worker) = self.base.env.tasks.blocking(move || open(parts)).await?;
        drop(self.base.env.tasks.spawn_to_end("shard", worker.run()));
        tracing::info!(%namespace, actor = %shard.actor(), "an eventual namespace is open");
        self.open.write().insert(namespace, shard);
        Ok(())
    }

    /// Drops the data of namespaces that this catalog knew once and knows no more.
    async fn drop_the_gone(
        &self,
        catalog: &Catalog,
        wanted: &BTreeMap<NamespaceId, (DataType, Part)>,
    ) -> Result<(), ReadError> {
        let Foundation { log, state, .. } = &self.base;
        let groups: BTreeSet<GroupId> = log.groups().into_iter().chain(state.groups()).collect();
        let known = storage_group(NamespaceId(0))..storage_group(catalog.next_namespace);
        for group in groups.into_iter().filter(|group| known.contains(group)) {
            let namespace = NamespaceId(group - EVENTUAL_GROUP_BASE);
            if wanted.contains_key(&namespace) {
                continue;
            }
            let shard = self.open.write().remove(&namespace);
            if let Some(shard) = shard {
                shard.close(false).await;
            }
            let (done, dropped) = oneshot::channel();
            log.drop_group(group, Box::new(move |result| drop(done.send(result))));
            match dropped.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Err(ReadError { reason: error.to_string() }),
                Err(_gone) => return Ok(()),
            }
            let state = state.clone();
            self.base.env.tasks.blocking(move || state.drop_group(group)).await?;
            tracing::info!(%namespace, "the data of an eventual namespace is gone");
        }
        Ok(())
    }

    async fn tick(&self) {
        let mut tick = tokio::time::interval(SHARD_TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            for shard in self.all() {
                shard.tick();
            }
        }
    }

    async fn upkeep(&self) {
        // A log that is to be short is looked at often.
        let is_short = self.base.log_bytes < EVENTUAL_LOG_BYTES_MIN;
        let every = if is_short { SHARD_UPKEEP_TICK / 5 } else { SHARD_UPKEEP_TICK };
        let mut tick = tokio::time::interval(every);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            self.keep_up().await;
        }
    }

    /// Compares the digests in memory with the rows now and then; at open they were made from them.
    async fn audits(&self) {
        let mut tick = tokio::time::interval(AUDIT_EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        tick.tick().await;
        loop {
            tick.tick().await;
            self.audit().await;
        }
    }

    /// Audits all shards, one after the other.
    pub(super) async fn audit(&self) {
        for shard in self.all() {
            if let Err(error) = shard.audit().await
                && !self.base.env.tasks.is_stopping()
            {
                let namespace = shard.namespace();
                tracing::error!(%namespace, %error, "the rows of an eventual namespace cannot be read");
            }
        }
    }

    /// The namespaces whose digests an audit found to be wrong here.
    pub fn distrusted(&self) -> Vec<NamespaceId> {
        let all = self.all().into_iter();
        all.filter(Shard::is_distrusted).map(|shard| shard.namespace()).collect()
    }

    /// Writes the checkpoints that are due, and cuts logs that are too long.
    pub(super) async fn keep_up(&self) {
        let shards = self.all();
        if shards.is_empty() {
            return;
        }
        let live = self.base.log.stats().live_bytes;
        let due: BTreeSet<GroupId> = self.base.state.checkpoints_due().into_iter().collect();
        let each = EVENTUAL_LOGS_BYTES / u64::try_from(shards.len()).unwrap_or(u64::MAX);
        let each = each.max(EVENTUAL_LOG_BYTES_MIN).min(self.base.log_bytes);
        for shard in shards {
            // A group that is dropped meanwhile has no state to write a checkpoint of.
            let _following = self.following.lock().await;
            if self.get(shard.namespace()).is_none() {
                continue;
            }
            let group = storage_group(shard.namespace());
            let bytes = live.get(&group).copied().unwrap_or(0);
            shard.inner.counts.log_bytes.store(bytes, std::sync::atomic::Ordering::Relaxed);
            let (state, is_due) = (self.base.state.clone(), due.contains(&group));
            let kept = self.base.env.tasks.blocking(move || {
                if is_due {
                    state.checkpoint(group)?;
                }
                shard.trim(bytes, each)
            });
            if let Err(error) = kept.await
                && !self.base.env.tasks.is_stopping()
            {
                tracing::error!(group, %error, "an eventual log cannot be cut");
            }
        }
    }

    /// Ends all shards in good order; what waits in their inboxes is given up.
    pub async fn close(&self) {
        let mut following = self.following.lock().await;
        *following = true;
        let shards = self.all();
        futures_util::future::join_all(shards.iter().map(|shard| shard.close(true))).await;
    }
}
