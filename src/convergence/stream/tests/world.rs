//! A cluster of shards and streams without a hall: what the tests do things to.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::convergence::shard::Shard;
use crate::convergence::stream::{ConvergeInbox, StreamMetrics, Streams};
use crate::convergence::words::{WriteError, WriteRequest, Wrote};
use crate::convergence::{Foundation, Shards, storage_group};
use crate::model::eventual::{Ask, DataType, What};
use crate::model::{Incarnation, NamespaceId, NodeId};
use crate::peer::memory::OpenDoor;
use crate::peer::{Corridor, MemoryCorridor, MemoryNetwork};
use crate::placement::{
    Catalog, Layout, Mode, NamespaceEntry, NamespaceLimits, NodeEntry, NodeState, Topology,
};
use crate::runtime::limits::EVENTUAL_LOG_BYTES;
use crate::runtime::metrics::Metrics;
use crate::runtime::{Clock, Env, Moment, Rng, Tasks};
use crate::storage::disk::SimDisk;
use crate::storage::log::{Log, LogMetrics, LogOptions};
use crate::storage::state::{State, StateMetrics, StateOptions};

pub(super) const SPACE: NamespaceId = NamespaceId(5);

/// Longer than any test may take, in virtual time.
const PATIENCE: Duration = Duration::from_secs(600);

/// Virtual time, and a wall clock that may be wrong.
#[derive(Debug)]
pub(super) struct TestClock {
    start: Instant,
    ahead_ms: AtomicU64,
}

impl Clock for TestClock {
    fn now(&self) -> Moment {
        Moment(u64::try_from(self.start.elapsed().as_nanos()).unwrap())
    }

    fn wall_ms(&self) -> u64 {
        let since = u64::try_from(self.start.elapsed().as_millis()).unwrap();
        1_780_000_000_000 + since + self.ahead_ms.load(Ordering::Relaxed)
    }
}

/// One life of a node.
pub(super) struct Life {
    pub(super) env: Env,
    pub(super) shards: Arc<Shards>,
    pub(super) streams: Arc<Streams>,
    log: Log,
}

/// A node over all its lives.
pub(super) struct Node {
    disk: SimDisk,
    clock: Arc<TestClock>,
    pub(super) life: Option<Life>,
}

/// The cluster.
pub(super) struct World {
    pub(super) network: MemoryNetwork,
    pub(super) rng: Rng,
    catalog: watch::Sender<Option<Arc<Catalog>>>,
    /// What directories' numbers begin after: no two clusters have the same.
    homes: u32,
    /// Of the logs; an entry is at most an eighth of one.
    segment_bytes: u64,
    pub(super) nodes: BTreeMap<u64, Node>,
}

fn catalog(nodes: u64, homes: u32, data_type: DataType, topology: Topology) -> Catalog {
    let entry = |node: u64| NodeEntry {
        address: format!("memory:{node}"),
        incarnation: Incarnation(u64::from(homes) + node),
        state: NodeState::Active,
    };
    let space = NamespaceEntry {
        id: SPACE,
        mode: Mode::Eventual,
        layout: Layout::Spread,
        limits: NamespaceLimits::default(),
        quota: None,
        history_ms: 0,
        epoch: 1,
        recorded_since: 0,
        data_type: Some(data_type),
        topology,
        switch: None,
    };
    Catalog {
        epoch: 1,
        nodes: (1..=nodes).map(|node| (NodeId(node), entry(node))).collect(),
        namespaces: BTreeMap::from([("space".to_owned(), space)]),
        next_namespace: NamespaceId(6),
        ..Catalog::unfounded()
    }
}

impl World {
    /// So many nodes with one namespace.
    pub(super) async fn new(
        seed: u64,
        nodes: u64,
        data_type: DataType,
        topology: Topology,
    ) -> Self {
        Self::apart(seed, nodes, 0, data_type, topology).await
    }

    /// The same with logs that take the longest values.
    pub(super) async fn of_long_values(seed: u64, nodes: u64, data_type: DataType) -> Self {
        let mut world = Self::without_nodes(seed, nodes, 0, data_type, Topology::Mesh);
        world.segment_bytes = 16 * 1024 * 1024;
        world.begin(nodes).await;
        world
    }

    /// The same as a cluster that has nothing to do with others.
    pub(super) async fn apart(
        seed: u64,
        nodes: u64,
        homes: u32,
        data_type: DataType,
        topology: Topology,
    ) -> Self {
        let mut world = Self::without_nodes(seed, nodes, homes, data_type, topology);
        world.begin(nodes).await;
        world
    }

    fn without_nodes(
        seed: u64,
        nodes: u64,
        homes: u32,
        data_type: DataType,
        topology: Topology,
    ) -> Self {
        let network = MemoryNetwork::new(seed);
        network.set_delay(Duration::from_millis(1), Duration::from_millis(20));
        let catalog = catalog(nodes, homes, data_type, topology);
        let catalog = watch::Sender::new(Some(Arc::new(catalog)));
        let rng = Rng::seeded(seed ^ 0x5eed);
        let segment_bytes = 256 * 1024;
        Self { network, rng, catalog, homes, segment_bytes, nodes: BTreeMap::new() }
    }

    async fn begin(&mut self, nodes: u64) {
        for id in 1..=nodes {
            let clock = Arc::new(TestClock { start: Instant::now(), ahead_ms: AtomicU64::new(0) });
            self.nodes.insert(id, Node { disk: SimDisk::new(), clock, life: None });
            self.start(id).await;
        }
    }

    /// The catalog says something else of the namespace's links.
    pub(super) fn relink(&self, topology: Topology) {
        self.catalog.send_modify(|known| {
            let mut catalog = (**known.as_ref().unwrap()).clone();
            catalog.epoch += 1;
            catalog.namespaces.get_mut("space").unwrap().topology = topology;
            *known = Some(Arc::new(catalog));
        });
    }

    /// Begins a life of a node.
    pub(super) async fn start(&mut self, id: u64) {
        let node = self.nodes.get_mut(&id).unwrap();
        let seed = self.rng.next();
        let env = Env {
            clock: Arc::clone(&node.clock) as Arc<dyn Clock>,
            rng: Arc::new(Rng::seeded(seed)),
            tasks: Tasks::inline(),
        };
        let (metrics, disk) = (Metrics::default(), Arc::new(node.disk.clone()));
        let options = LogOptions {
            segment_bytes: self.segment_bytes,
            cache_bytes: 16 * 1024,
            segments_soft_max: 3,
            inline: true,
            ..LogOptions::default()
        };
        let log_metrics = LogMetrics::new(&metrics);
        let log =
            Log::open(disk.clone(), PathBuf::from("log"), options, &env, log_metrics).unwrap();
        let (options, state_metrics) = (StateOptions::default(), StateMetrics::new(&metrics));
        let state = State::open(disk, None, options, &env, state_metrics, &|_| {}).unwrap();
        let driven = log.clone();
        env.tasks.spawn("driver", async move {
            loop {
                driven.drive();
                // As long as a flush takes.
                sleep(Duration::from_millis(1)).await;
            }
        });
        let shards = Shards::new(Foundation {
            node: NodeId(id),
            home: self.homes + u32::try_from(id).unwrap(),
            env: env.clone(),
            log: log.clone(),
            state,
            catalog: self.catalog.subscribe(),
            log_bytes: EVENTUAL_LOG_BYTES,
        });
        let door = Arc::new(OpenDoor { node: NodeId(id) });
        let corridor = Arc::new(MemoryCorridor::new(self.network.clone(), env.clone(), door));
        let transport = Arc::clone(&corridor) as Arc<_>;
        let figures = StreamMetrics::new(&metrics);
        let streams = Streams::new(Arc::clone(&shards), transport, figures);
        corridor.set_inbox(Arc::new(ConvergeInbox::new(Arc::clone(&streams))));
        env.tasks.spawn("shards", Arc::clone(&shards).run());
        env.tasks.spawn("streams", Arc::clone(&streams).run());
        node.life = Some(Life { env, shards, streams, log });
        until("the shard is open", || self.life(id).shards.get(SPACE).is_some()).await;
    }

    /// The process of a node is gone; what its disk keeps of what was not synced is chance.
    pub(super) async fn kill(&mut self, id: u64) {
        self.network.detach(NodeId(id));
        let seed = self.rng.next();
        let node = self.nodes.get_mut(&id).unwrap();
        let life = node.life.take().unwrap();
        life.env.tasks.stop();
        node.disk.die_at_sync(node.disk.syncs() + 1);
        life.log.drive();
        drop(life);
        // Everything that it was doing comes to its end.
        sleep(Duration::from_millis(50)).await;
        node.disk.power_cut(seed);
    }

    /// What tells clusters apart.
    pub(super) fn homes(&self) -> u64 {
        u64::from(self.homes)
    }

    pub(super) fn life(&self, id: u64) -> &Life {
        self.nodes[&id].life.as_ref().unwrap()
    }

    pub(super) fn shard(&self, id: u64) -> Shard {
        self.life(id).shards.get(SPACE).unwrap()
    }

    pub(super) fn lives(&self) -> impl Iterator<Item = &Life> {
        self.nodes.values().filter_map(|node| node.life.as_ref())
    }

    pub(super) fn set_ahead(&self, id: u64, ms: u64) {
        self.nodes[&id].clock.ahead_ms.store(ms, Ordering::Relaxed);
    }

    pub(super) async fn write(&self, id: u64, key: &str, ask: Ask) -> Result<Wrote, WriteError> {
        let request = WriteRequest {
            key: Bytes::copy_from_slice(key.as_bytes()),
            ask,
            context: None,
            once: None,
            show: false,
            deadline: self.life(id).env.clock.now() + Duration::from_secs(60),
        };
        self.shard(id).write(request).await
    }

    pub(super) async fn put(&self, id: u64, key: &str, value: &str) -> Wrote {
        let value = Bytes::copy_from_slice(value.as_bytes());
        self.write(id, key, Ask::Put { value, content_type: None }).await.unwrap()
    }

    pub(super) async fn add(&self, id: u64, key: &str, n: i64) -> Wrote {
        self.write(id, key, Ask::Add(n)).await.unwrap()
    }

    /// What a register or a counter shows.
    pub(super) fn value(&self, id: u64, key: &str) -> Option<String> {
        let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).unwrap();
        match self.shard(id).read(key.as_bytes()).unwrap().0.what {
            What::Missing => None,
            What::Value(sibling) => Some(text(sibling.value)),
            What::Text(sum) => Some(sum),
            What::Json(json) => Some(text(json)),
            What::Siblings(siblings) => Some(format!("{} siblings", siblings.len())),
        }
    }

    /// Cuts a node's log as short as it goes.
    pub(super) fn trim(&self, id: u64) {
        let group = storage_group(SPACE);
        let bytes = self.life(id).log.stats().live_bytes.get(&group).copied().unwrap_or(0);
        self.shard(id).trim(bytes, 1).unwrap();
    }

    fn is_equal(&self) -> bool {
        let digests: Vec<_> =
            self.lives().map(|life| life.shards.get(SPACE).unwrap().digest()).collect();
        digests.iter().all(|digest| digest.settled && digest.vector == digests[0].vector)
    }

    /// All nodes come to know the same, and then they hold the same.
    pub(super) async fn converge(&self) {
        let start = Instant::now();
        while !self.is_equal() {
            if start.elapsed() > PATIENCE {
                for (id, node) in self.nodes.iter().filter(|(_, node)| node.life.is_some()) {
                    let held = node.life.as_ref().unwrap().streams.exchange(SPACE).unwrap().held();
                    println!("node {id}: {held} held, {:?}", self.shard(*id).digest().vector);
                }
                panic!("in vain: all know the same");
            }
            sleep(Duration::from_millis(20)).await;
        }
        let digests: Vec<_> =
            self.lives().map(|life| life.shards.get(SPACE).unwrap().digest()).collect();
        for digest in &digests {
            assert_eq!(digest.root, digests[0].root, "equal vectors, unequal rows");
            assert!(digest.losses == digests[0].losses, "equal vectors, unequal losses");
        }
        for life in self.lives() {
            let audit = life.shards.get(SPACE).unwrap().audit().await.unwrap();
            // None while beats are written.
            assert_eq!(audit.map_or_else(Vec::new, |audit| audit.wrong), Vec::<usize>::new());
            assert!(life.streams.diverged().is_empty(), "a false alarm");
            assert_eq!(life.env.tasks.failure(), None);
        }
    }

    /// A pair of different nodes.
    pub(super) fn pair(&self) -> (u64, u64) {
        let nodes = self.nodes.len() as u64;
        let one = 1 + self.rng.below(nodes);
        let other = 1 + (one + self.rng.below(nodes - 1)) % nodes;
        (one, other)
    }

    pub(super) async fn pass(&self, time: Duration) {
        sleep(time).await;
    }
}

/// Waits, in virtual time, until something is so.
pub(super) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "in vain: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}
