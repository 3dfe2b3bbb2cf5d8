//! Shards on disks that lose what was not synced, talking to each other by hand.
//!
//! Each replica is a log that is driven by a task beside it, a state without threads, and a shard; time
//! is moved by the test. Nothing waits for real time.

mod crash;
mod exchange;
mod gate;
mod losses;
mod registry;
mod single;
mod sync;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::clocks::Clocks;
use super::open::{Parts, open};
use super::shard::{Part, Shard};
use super::words::{ReadError, WriteError, WriteRequest, Wrote, decode_op};
use crate::model::eventual::{Ask, DataType, Dot, Member, Members, Op, Shown, What};
use crate::model::{NamespaceId, NodeId};
use crate::placement::NamespaceLimits;
use crate::runtime::clock::ManualClock;
use crate::runtime::metrics::Metrics;
use crate::runtime::{Clock, Env, Rng, Tasks};
use crate::storage::disk::SimDisk;
use crate::storage::log::{Log, LogMetrics, LogOptions};
use crate::storage::state::{State, StateMetrics, StateOptions};

/// A day in 2026, so that ages can be told.
const START: Duration = Duration::from_secs(1_780_000_000);

/// A node's disk and identity, over all its lives.
#[derive(Clone)]
struct Home {
    node: u64,
    disk: SimDisk,
    clock: Arc<ManualClock>,
    data_type: DataType,
    nodes: u64,
}

/// One life of a replica.
struct Replica {
    home: Home,
    shard: Shard,
    log: Log,
    clocks: Arc<Clocks>,
    driver: CancellationToken,
}

fn text(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

/// The members with the numbers up to `nodes`.
fn part(nodes: u64) -> Part {
    let all = (1..=nodes).map(|node| Member { node, home: 7 }).collect();
    Part {
        members: Members { version: nodes, all },
        nodes: Arc::new((1..=nodes).map(NodeId).collect()),
        is_reader: false,
        limits: NamespaceLimits::default(),
        passage: super::Passage::Open,
        epoch: 1,
    }
}

impl Home {
    fn new(node: u64, data_type: DataType, nodes: u64) -> Self {
        let clock = Arc::new(ManualClock::default());
        clock.advance(START);
        Self { node, disk: SimDisk::new(), clock, data_type, nodes }
    }

    fn env(&self) -> Env {
        Env {
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
            rng: Arc::new(Rng::seeded(self.disk.syncs() + self.node)),
            tasks: Tasks::inline(),
        }
    }

    fn cellar(&self, env: &Env) -> Option<(Log, State)> {
        let metrics = Metrics::default();
        let options = LogOptions {
            segment_bytes: 64 * 1024,
            cache_bytes: 1024,
            segments_soft_max: 3,
            inline: true,
            ..LogOptions::default()
        };
        let disk = Arc::new(self.disk.clone());
        let log_metrics = LogMetrics::new(&metrics);
        let log = Log::open(disk.clone(), PathBuf::from("log"), options, env, log_metrics).ok()?;
        let (options, metrics) = (StateOptions::default(), StateMetrics::new(&metrics));
        let state = State::open(disk, None, options, env, metrics, &|_| {}).ok()?;
        Some((log, state))
    }

    /// Starts a life; `None` if the disk is dead.
    fn try_open(&self) -> Option<Replica> {
        let env = self.env();
        let (log, state) = self.cellar(&env)?;
        let clocks = Arc::new(Clocks::default());
        let parts = Parts {
            namespace: NamespaceId(5),
            data_type: self.data_type,
            member: Member { node: self.node, home: 7 },
            log: log.clone(),
            state: state.clone(),
            env: env.clone(),
            clocks: Arc::clone(&clocks),
            part: part(self.nodes),
        };
        let (shard, worker) = open(parts).unwrap();
        drop(env.tasks.spawn_to_end("shard", worker.run()));
        let driver = drive(&env, &log);
        Some(Replica { home: self.clone(), shard, log, clocks, driver })
    }

    fn open(&self) -> Replica {
        self.try_open().expect("the disk works")
    }
}

/// Writes what the log is given, until told to stop.
fn drive(env: &Env, log: &Log) -> CancellationToken {
    let driver = CancellationToken::new();
    let (stop, log) = (driver.clone(), log.clone());
    env.tasks.spawn("driver", async move {
        while !stop.is_cancelled() {
            log.drive();
            tokio::task::yield_now().await;
        }
    });
    driver
}

impl Replica {
    async fn ask(&self, key: &str, ask: Ask) -> Result<Wrote, WriteError> {
        let request = WriteRequest {
            key: text(key),
            ask,
            context: None,
            once: None,
            show: false,
            deadline: self.home.clock.now() + Duration::from_secs(60),
        };
        self.shard.write(request).await
    }

    async fn put(&self, key: &str, value: &str) -> Dot {
        self.try_put(key, value).await.unwrap().dot
    }

    async fn try_put(&self, key: &str, value: &str) -> Result<Wrote, WriteError> {
        self.ask(key, Ask::Put { value: text(value), content_type: None }).await
    }

    fn shown(&self, key: &str) -> Shown {
        self.shard.read(key.as_bytes()).unwrap().0
    }

    /// What a register shows, or a sum.
    fn value(&self, key: &str) -> Option<String> {
        let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).unwrap();
        match self.shown(key).what {
            What::Missing => None,
            What::Value(sibling) => Some(text(sibling.value)),
            What::Siblings(siblings) => {
                let mut values: Vec<_> = siblings.into_iter().map(|s| text(s.value)).collect();
                values.sort();
                Some(values.join("|"))
            }
            What::Text(sum) => Some(sum),
            What::Json(json) => Some(text(json)),
        }
    }

    /// All operations of the log that the other one lacks, if the log reaches back so far.
    fn ops_for(&self, other: &Self) -> Option<Vec<Op>> {
        let has = other.shard.vector();
        let mut next = self.shard.seek(&has)?;
        let mut ops = Vec::new();
        while next <= self.shard.log_tail() {
            let logged = self.shard.read_ops(next, 1 << 20).unwrap();
            next = logged.next;
            let news = logged.ops.into_iter().filter(|op| !has.covers(op.dot));
            ops.extend(news.map(|op| decode_op(&op.bytes).unwrap()));
        }
        Some(ops)
    }

    /// Streams everything to another one, or has it take a state sync.
    async fn send_to(&self, other: &Self) {
        match self.ops_for(other) {
            Some(ops) => {
                let received = other.shard.receive(ops).await.unwrap();
                assert_eq!(received.early, Vec::new(), "a log is in causal order");
            }
            None => assert!(self.sync_to(other, usize::MAX, None).await),
        }
    }

    /// A state sync of at most so many pages; says whether it came to its end.
    async fn sync_to(
        &self,
        other: &Self,
        pages: usize,
        buckets: Option<Arc<super::BucketSet>>,
    ) -> bool {
        let heads = self.shard.heads();
        let (mut from, mut first) = (None, None);
        for _ in 0..pages {
            let page = self.shard.snapshot_page(from, buckets.clone(), 600).await.unwrap();
            first.get_or_insert_with(|| page.vector.clone());
            from = page.to.clone();
            other.shard.merge(page).await.unwrap();
            if from.is_none() {
                other.shard.reached(first.unwrap(), heads).await.unwrap();
                return true;
            }
        }
        false
    }

    /// Time passes, and what is due is done.
    async fn tick(&self) {
        self.home.clock.advance(Duration::from_secs(2));
        self.shard.tick();
        // An empty batch goes through the inbox behind the tick.
        // On a dead disk it fails, and whoever asks next hears that.
        drop(self.shard.receive(Vec::new()).await);
    }

    /// The sums in memory are those of the rows.
    async fn audit(&self) {
        let audit = self.shard.audit().await.unwrap().expect("nothing is written");
        assert_eq!(audit.wrong, Vec::<usize>::new(), "node {}", self.home.node);
    }

    /// Cuts the log to what it must keep.
    fn trim(&self) -> Result<(), ReadError> {
        let group = super::storage_group(NamespaceId(5));
        let bytes = self.log.stats().live_bytes.get(&group).copied().unwrap_or(0);
        self.shard.trim(bytes, bytes / 2)
    }

    async fn close(self) {
        self.shard.close(true).await;
        self.driver.cancel();
    }

    /// The process is gone; what the disk keeps is said by the seed.
    async fn crash(self, seed: u64) -> Home {
        self.driver.cancel();
        // The log is written no more, so the worker would wait for ever for what is under way.
        self.home.disk.die_at_sync(self.home.disk.syncs() + 1);
        self.log.drive();
        self.shard.close(false).await;
        self.home.disk.power_cut(seed);
        self.home
    }
}

/// Everything goes everywhere, until nobody learns anything.
async fn heal(replicas: &[Replica]) {
    for _round in 0..4 {
        for from in replicas {
            for to in replicas {
                if from.home.node != to.home.node {
                    from.send_to(to).await;
                }
            }
        }
        for replica in replicas {
            replica.tick().await;
        }
    }
    for from in replicas {
        for to in replicas {
            if from.home.node != to.home.node {
                from.send_to(to).await;
            }
        }
    }
}

fn assert_equal(replicas: &[Replica]) {
    let digests: Vec<_> = replicas.iter().map(|replica| replica.shard.digest()).collect();
    for digest in &digests {
        assert!(digest.settled);
        assert_eq!(digest.vector, digests[0].vector);
        assert_eq!(digest.root, digests[0].root, "equal vectors, unequal digests");
        assert!(digest.losses == digests[0].losses, "losses differ");
    }
}
