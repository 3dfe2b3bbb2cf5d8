//! Which streams there should be, by the catalog, and the tasks that read them.
//!
//! Why it exists: namespaces, nodes and links come and go while the node runs. Promises: for every
//! eventual namespace and every link that leads here there is one subscriber, and none for others; a
//! link whose terms change begins anew. Relies on `placement::links` for the plan, on the shards for
//! which namespaces are here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::clocks;
use super::exchange::Exchange;
use super::metrics::StreamMetrics;
use super::subscriber::Subscriber;
use crate::convergence::registry::Shards;
use crate::model::{NamespaceId, NodeId};
use crate::peer::Transport;
use crate::placement::links::{Link, holders, links};
use crate::placement::{Catalog, LinkMode, Topology};
use crate::runtime::Env;
use crate::runtime::limits::LAG_TICK;

/// All streams of a node.
#[derive(Debug)]
pub struct Streams {
    me: NodeId,
    env: Env,
    shards: Arc<Shards>,
    transport: Arc<dyn Transport>,
    catalog: watch::Receiver<Option<Arc<Catalog>>>,
    metrics: StreamMetrics,
    running: Mutex<BTreeMap<NamespaceId, Running>>,
}

/// One namespace's streams.
#[derive(Debug)]
struct Running {
    exchange: Arc<Exchange>,
    reading: BTreeMap<NodeId, Reading>,
    /// The nodes at the other ends of links from and to this one.
    linked: BTreeSet<NodeId>,
}

/// One task that reads.
#[derive(Debug)]
struct Reading {
    plan: Plan,
    end: CancellationToken,
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.end.cancel();
    }
}

/// A link that leads here, and what else its reader must know.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Plan {
    link: Link,
    tell: bool,
    rank: u32,
}

impl Streams {
    /// The streams of these shards. Nothing is read before `run`.
    pub fn new(
        shards: Arc<Shards>,
        transport: Arc<dyn Transport>,
        metrics: StreamMetrics,
    ) -> Arc<Self> {
        Arc::new(Self {
            me: shards.node(),
            env: shards.env().clone(),
            catalog: shards.catalog(),
            shards,
            transport,
            metrics,
            running: Mutex::default(),
        })
    }

    /// Follows the catalog and the shards, for ever.
    pub async fn run(self: Arc<Self>) {
        self.env.tasks.spawn("clocks", clocks::run(Arc::clone(&self)));
        self.env.tasks.spawn("stream-lag", Self::watch_lag(Arc::clone(&self)));
        let (mut catalog, mut changed) = (self.catalog.clone(), self.shards.changed());
        loop {
            catalog.borrow_and_update();
            changed.borrow_and_update();
            self.adjust();
            let gone = tokio::select! {
                changed = catalog.changed() => changed.is_err(),
                changed = changed.changed() => changed.is_err(),
            };
            if gone {
                return;
            }
        }
    }

    /// The exchange of a namespace, if its shard is here.
    pub fn exchange(&self, namespace: NamespaceId) -> Option<Arc<Exchange>> {
        if let Some(running) = self.running.lock().get(&namespace) {
            return Some(Arc::clone(&running.exchange));
        }
        // A peer may be quicker than our own look at the catalog.
        self.shards.get(namespace)?;
        self.adjust();
        self.running.lock().get(&namespace).map(|running| Arc::clone(&running.exchange))
    }

    /// Asks for one pass over the link from a node, if it is of mode `manual`: others carry by
    /// themselves. Says of which mode it is; `None`: no link leads here from there.
    pub fn ask_pass(&self, namespace: NamespaceId, from: NodeId) -> Option<LinkMode> {
        // Also of a namespace that is newer than our last look.
        drop(self.exchange(namespace)?);
        let running = self.running.lock();
        let running = running.get(&namespace)?;
        let mode = running.reading.get(&from)?.plan.link.mode;
        if mode == LinkMode::Manual {
            running.exchange.ask_pass(from);
        }
        Some(mode)
    }

    /// The namespaces of which a replica differs from ours though it knows the same: an alarm.
    pub fn diverged(&self) -> Vec<NamespaceId> {
        let running = self.running.lock();
        let all = running.iter().filter(|(_, running)| running.exchange.diverged());
        all.map(|(&namespace, _)| namespace).collect()
    }

    /// The figures.
    pub const fn metrics(&self) -> &StreamMetrics {
        &self.metrics
    }

    pub(super) const fn me(&self) -> NodeId {
        self.me
    }

    pub(super) const fn env(&self) -> &Env {
        &self.env
    }

    /// The shards whose writes travel.
    pub const fn shards(&self) -> &Arc<Shards> {
        &self.shards
    }

    pub(super) const fn transport(&self) -> &Arc<dyn Transport> {
        &self.transport
    }

    /// All nodes that hold eventual namespaces.
    pub(super) fn holders(&self) -> BTreeSet<NodeId> {
        self.catalog.borrow().as_ref().map(|catalog| holders(&catalog.nodes)).unwrap_or_default()
    }

    /// The same without this one.
    pub(super) fn others(&self) -> BTreeSet<NodeId> {
        let mut others = self.holders();
        others.remove(&self.me);
        others
    }

    /// Brings the tasks in line with the catalog.
    fn adjust(&self) {
        // First: who looks later must also decide later.
        let mut running = self.running.lock();
        let catalog = self.catalog.borrow().clone();
        let Some(catalog) = catalog else { return };
        let nodes = holders(&catalog.nodes);
        let topologies: BTreeMap<NamespaceId, &Topology> =
            catalog.entries().map(|entry| (entry.id, &entry.topology)).collect();
        let shards = self.shards.all();
        let here: BTreeSet<NamespaceId> = shards.iter().map(|shard| shard.namespace()).collect();
        running.retain(|namespace, _| here.contains(namespace));
        for shard in shards {
            let Some(topology) = topologies.get(&shard.namespace()) else { continue };
            let plans = plans(topology, &nodes, self.me);
            let entry = running.entry(shard.namespace()).or_insert_with(|| Running {
                exchange: Arc::new(Exchange::new(shard, self.env.clone(), self.metrics.clone())),
                reading: BTreeMap::new(),
                linked: BTreeSet::new(),
            });
            entry.linked = linked(topology, &nodes, self.me);
            entry.exchange.keep(&nodes);
            entry.reading.retain(|from, reading| plans.get(from) == Some(&reading.plan));
            for (from, plan) in plans {
                entry.reading.entry(from).or_insert_with(|| self.read(&entry.exchange, plan));
            }
        }
    }

    fn read(&self, exchange: &Arc<Exchange>, plan: Plan) -> Reading {
        let end = CancellationToken::new();
        let Plan { link, tell, rank } = plan.clone();
        let transport = Arc::clone(&self.transport);
        let subscriber = Subscriber::new(Arc::clone(exchange), transport, link, tell, rank);
        let ended = end.clone();
        self.env.tasks.spawn("subscriber", async move {
            ended.run_until_cancelled(subscriber.run()).await;
        });
        Reading { plan, end }
    }

    /// Keeps the figures of lag, for ever.
    async fn watch_lag(streams: Arc<Self>) {
        let mut told = BTreeSet::new();
        loop {
            let exchanges: Vec<_> = {
                let running = streams.running.lock();
                let one = |one: &Running| (Arc::clone(&one.exchange), one.linked.clone());
                running.values().map(one).collect()
            };
            let now = streams.env.clock.now();
            let mut lags: BTreeMap<NodeId, (u64, u64)> = BTreeMap::new();
            let (mut held, mut skewed, mut diverged) = (0, 0, 0);
            for (exchange, linked) in exchanges {
                // Nobody hears any more what who is not linked has.
                let lags_here =
                    exchange.lags().into_iter().filter(|(node, _)| linked.contains(node));
                for (node, (ops, since)) in lags_here {
                    let lag = lags.entry(node).or_default();
                    lag.0 += ops;
                    lag.1 = lag.1.max(since.map_or(0, |since| now.since(since).as_secs()));
                }
                held += exchange.held();
                skewed += exchange.skewed().len();
                diverged += usize::from(exchange.diverged());
            }
            let before = std::mem::replace(&mut told, lags.keys().copied().collect());
            before.difference(&told).for_each(|gone| streams.metrics.forget(*gone));
            for (node, (ops, seconds)) in lags {
                streams.metrics.lag(node, ops, seconds);
            }
            let figure = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
            streams.metrics.held.set(figure(held));
            streams.metrics.skewed.set(figure(skewed));
            streams.metrics.diverged.set(figure(diverged));
            tokio::time::sleep(LAG_TICK).await;
        }
    }
}

/// The nodes that links lead to from here, or from which they lead here.
fn linked(topology: &Topology, nodes: &BTreeSet<NodeId>, me: NodeId) -> BTreeSet<NodeId> {
    let links = links(topology, nodes);
    let other = |link: &Link| match (link.from == me, link.to == me) {
        (true, _) => Some(link.to),
        (_, true) => Some(link.from),
        _ => None,
    };
    links.iter().filter_map(other).collect()
}

/// The links that lead here, by their sources.
fn plans(topology: &Topology, nodes: &BTreeSet<NodeId>, me: NodeId) -> BTreeMap<NodeId, Plan> {
    let links = links(topology, nodes);
    let back: BTreeSet<NodeId> =
        links.iter().filter(|link| link.from == me).map(|link| link.to).collect();
    let mut here: Vec<Link> = links.into_iter().filter(|link| link.to == me).collect();
    here.sort_by_key(|link| link.from);
    let ranked = here.into_iter().zip(0..);
    ranked
        .map(|(link, rank)| (link.from, Plan { tell: !back.contains(&link.from), link, rank }))
        .collect()
}
