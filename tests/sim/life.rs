//! One life of a node: from its start to its end, by command, by a broken disk or by a bug.
//!
//! Promises: a life that has ended has no effect any more: its tasks are told to stop, its files fail, its
//! messages go nowhere. Relies on: `app::Node`, which is built and run as `tetrarch serve` does it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tetrarch::app::{self, Ground, Node};
use tetrarch::config::{Config, Founding, LogFormat, LogSettings, Start};
use tetrarch::model::NodeId;
use tetrarch::peer::MemoryCorridor;
use tetrarch::runtime::{Clock, Env, Moment, Rng, Tasks};
use tetrarch::storage::disk::SimDisk;
use tetrarch::storage::state::StateOptions;
use tetrarch::storage::{Disk, DiskFile, OpenMode};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::plan::Plan;
use super::world::World;

/// Wall time at the start of every run.
const EPOCH_MS: u64 = 1_790_000_000_000;

/// A node between its start and its end.
pub struct Life {
    /// The node.
    pub id: u64,
    /// Counted over all nodes.
    pub number: u64,
    /// Its time, chance and tasks.
    pub env: Env,
    /// The node, once it was built.
    pub node: OnceLock<Arc<Node>>,
    /// Set when it ends.
    pub dead: CancellationToken,
}

/// Virtual time, and a wall clock that may be off.
#[derive(Debug)]
struct SimClock {
    start: Instant,
    wall_off_ms: Arc<AtomicI64>,
}

impl Clock for SimClock {
    fn now(&self) -> Moment {
        Moment(u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    fn wall_ms(&self) -> u64 {
        let elapsed = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        (EPOCH_MS + elapsed).saturating_add_signed(self.wall_off_ms.load(Ordering::Relaxed))
    }
}

/// A disk as one life sees it: it fails when the life has ended, so that what is left of a dead node
/// cannot write into the files of the next one.
#[derive(Clone, Debug)]
struct LifeDisk {
    disk: SimDisk,
    dead: CancellationToken,
}

impl LifeDisk {
    fn alive(&self) -> io::Result<&SimDisk> {
        let is_dead = self.dead.is_cancelled();
        if is_dead { Err(io::Error::other("the process has ended")) } else { Ok(&self.disk) }
    }
}

impl Disk for LifeDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        self.alive()?.open(path, mode)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.alive()?.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.alive()?.remove(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.alive()?.create_dir(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        self.alive()?.list(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.alive()?.sync_dir(path)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.alive()?.exists(path)
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.alive()?.free_bytes()
    }
}

fn address(node: u64) -> String {
    format!("node-{node}:7000")
}

fn config(plan: &Plan, node: u64) -> Config {
    let members = (1..=plan.nodes).map(|id| (NodeId(id), address(id))).collect();
    Config {
        data_dir: PathBuf::new(),
        listen: ([127, 0, 0, 1], 0).into(),
        advertise: Some(address(node)),
        node: NodeId(node),
        peer_source: None,
        start: Start::Found(Founding {
            members,
            groups: plan.groups,
            replicas: plan.replicas,
            given: (false, false),
        }),
        heartbeat: Some(plan.heartbeat),
        quiesce: plan.quiesce,
        log: LogSettings {
            segment_bytes: plan.segment_bytes,
            checkpoint_after_bytes: plan.checkpoint_after_bytes,
            keep_entries: plan.keep_entries,
            eventual_bytes: 64 << 20,
        },
        log_format: LogFormat::Text,
        log_level: "info".to_owned(),
        lab: None,
    }
}

fn ground(world: &Arc<World>, life: &Life) -> Ground {
    let network = world.network.clone();
    Ground {
        disk: Arc::new(LifeDisk { disk: world.disk(life.id).clone(), dead: life.dead.clone() }),
        index_root: None,
        state: StateOptions { memtable_bytes: world.plan.memtable_bytes, ..Default::default() },
        lock: None,
        address: address(life.id),
        corridor: Box::new(move |env, doorkeeper, _metrics| {
            (Arc::new(MemoryCorridor::new(network, env, doorkeeper)), axum::Router::new())
        }),
    }
}

impl Life {
    /// A life that has not begun.
    pub fn new(world: &World, id: u64, number: u64) -> Self {
        let clock = SimClock { start: world.start, wall_off_ms: world.wall_off(id) };
        let seed = world.plan.seed ^ (number << 32) ^ id;
        Self {
            id,
            number,
            env: Env {
                clock: Arc::new(clock),
                rng: Arc::new(Rng::seeded(seed)),
                tasks: Tasks::inline(),
            },
            node: OnceLock::new(),
            dead: CancellationToken::new(),
        }
    }

    /// The node, if it is built and not dead.
    pub fn up(&self) -> Option<Arc<Node>> {
        if self.dead.is_cancelled() { None } else { self.node.get().cloned() }
    }
}

/// Lives a life to its end.
pub async fn live(world: Arc<World>, life: Arc<Life>) {
    let reason = tokio::select! {
        biased;
        () = life.dead.cancelled() => return,
        reason = lived(&world, &life) => reason,
    };
    world.ended(&life, &reason);
}

async fn lived(world: &Arc<World>, life: &Arc<Life>) -> String {
    let config = config(&world.plan, life.id);
    let built = Node::build(&config, ground(world, life), &life.env).await;
    let node = match built {
        Ok(node) => Arc::new(node),
        Err(error) => return chain(&error),
    };
    let log = node.groups().log().clone();
    world.opened(life, &log);
    assert!(life.node.set(Arc::clone(&node)).is_ok(), "a life builds its node once");
    life.env.tasks.spawn("log", {
        let (world, life) = (Arc::clone(world), Arc::clone(life));
        async move { write(&world, &life).await }
    });
    let tasks = life.env.tasks.clone();
    let ended = tokio::select! {
        biased;
        () = tasks.stopping() => "it stopped".to_owned(),
        ended = app::run(&config, &node) => match ended {
            Ok(()) => "its part ended".to_owned(),
            Err(error) => chain(&error),
        },
    };
    tasks.failure().unwrap_or(ended)
}

/// What the log's thread does on a machine: everything that waits is written and synced together.
async fn write(world: &World, life: &Life) {
    let Some(node) = life.up() else { return };
    let log = node.groups().log().clone();
    drop(node);
    loop {
        tokio::time::sleep(world.sync_time(life.id)).await;
        if life.dead.is_cancelled() {
            return;
        }
        if log.drive() > 0 && log.poisoned().is_none() {
            world.driven(life, &log);
        }
    }
}

/// Lets what is left of a dead node come to its end.
pub async fn bury(life: &Life) {
    let Some(node) = life.node.get() else { return };
    // Every write fails now, and with it whoever waits for one.
    node.groups().log().drive();
    let stopped = tokio::time::timeout(Duration::from_secs(5), node.groups().stop());
    // What hangs on is dropped with the run.
    drop(stopped.await);
}

/// An error with its causes.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
