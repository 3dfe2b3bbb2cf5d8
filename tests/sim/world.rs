//! The simulated machines: nodes, disks, network, and what everybody must know of them.
//!
//! Promises: at most one life per node; what a node's log promised is held against what its next life
//! finds. The first broken promise ends the run.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tetrarch::peer::MemoryNetwork;
use tetrarch::storage::disk::SimDisk;
use tetrarch::storage::log::Log;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::life::{self, Life};
use super::mirror::Mirror;
use super::plan::{Death, Plan, Target};
use super::trace::Trace;

/// Everything of a run.
pub struct World {
    /// What was drawn.
    pub plan: Plan,
    /// The network.
    pub network: MemoryNetwork,
    /// When it began.
    pub start: Instant,
    /// What happened.
    pub trace: Trace,
    /// Set by the first broken promise.
    pub over: CancellationToken,
    machines: BTreeMap<u64, Machine>,
    lives: Mutex<BTreeMap<u64, Arc<Life>>>,
    mirrors: Mutex<BTreeMap<u64, Mirror>>,
    /// Per node and group, the last entry that the node knew to be committed.
    committed: Mutex<BTreeMap<u64, BTreeMap<u64, u64>>>,
    broken: Mutex<Option<String>>,
    chance: Mutex<fastrand::Rng>,
    numbers: AtomicU64,
}

struct Machine {
    disk: SimDisk,
    wall_off_ms: Arc<AtomicI64>,
    /// What a sync takes while it is slow.
    slow: Mutex<Option<Duration>>,
    /// Faults of the disk for which the node may stop by itself, and how many of each there are.
    excuses: Mutex<BTreeMap<&'static str, u32>>,
    /// Whether the last life ended in the middle of a write.
    was_cut: Mutex<bool>,
}

impl World {
    /// Machines without nodes.
    pub fn new(plan: Plan, trace: Trace) -> Arc<Self> {
        let machine = |id| {
            let machine = Machine {
                disk: SimDisk::new(),
                wall_off_ms: Arc::default(),
                slow: Mutex::default(),
                excuses: Mutex::default(),
                was_cut: Mutex::new(false),
            };
            (id, machine)
        };
        let network = MemoryNetwork::new(plan.seed);
        network.set_delay(plan.delay.0, plan.delay.1);
        Arc::new(Self {
            machines: (1..=plan.nodes).map(machine).collect(),
            network,
            start: Instant::now(),
            trace,
            over: CancellationToken::new(),
            lives: Mutex::default(),
            mirrors: Mutex::default(),
            committed: Mutex::default(),
            broken: Mutex::default(),
            chance: Mutex::new(fastrand::Rng::with_seed(plan.seed ^ 0x5151)),
            numbers: AtomicU64::new(0),
            plan,
        })
    }

    /// A node's disk.
    pub fn disk(&self, id: u64) -> &SimDisk {
        &self.machines[&id].disk
    }

    /// How far a node's wall clock is off.
    pub fn wall_off(&self, id: u64) -> Arc<AtomicI64> {
        Arc::clone(&self.machines[&id].wall_off_ms)
    }

    /// Makes a node's syncs slow, or not.
    pub fn set_slow(&self, id: u64, slow: Option<Duration>) {
        *self.machines[&id].slow.lock() = slow;
    }

    /// Allows a node to stop by itself, for this reason.
    pub fn excuse(&self, id: u64, why: &'static str) {
        *self.machines[&id].excuses.lock().entry(why).or_default() += 1;
    }

    /// Takes the allowance back.
    pub fn no_excuse(&self, id: u64, why: &'static str) {
        let mut excuses = self.machines[&id].excuses.lock();
        if let Some(count) = excuses.get_mut(why) {
            *count -= 1;
        }
        excuses.retain(|_, count| *count > 0);
    }

    /// A number below a bound.
    pub fn chance(&self, below: u64) -> u64 {
        self.chance.lock().u64(0..below)
    }

    /// What the next sync of a node takes.
    pub fn sync_time(&self, id: u64) -> Duration {
        let (shortest, longest) = self.plan.sync;
        if let Some(slow) = *self.machines[&id].slow.lock() {
            return slow / 2 + slow.mul_f64(self.chance.lock().f64() / 2.0);
        }
        let spread = (longest - shortest).mul_f64(self.chance.lock().f64());
        (shortest + spread).max(Duration::from_millis(1))
    }

    /// The lives of now, by node.
    pub fn lives(&self) -> Vec<Arc<Life>> {
        self.lives.lock().values().cloned().collect()
    }

    /// A node's life, if it has one.
    pub fn life(&self, id: u64) -> Option<Arc<Life>> {
        self.lives.lock().get(&id).cloned()
    }

    /// What the disks have promised.
    pub fn with_mirrors<T>(&self, f: impl FnOnce(&BTreeMap<u64, Mirror>) -> T) -> T {
        f(&self.mirrors.lock())
    }

    /// Ends the run: a promise was broken.
    pub fn broken(&self, what: String) {
        self.trace.say(&format!("BROKEN {what}"));
        self.broken.lock().get_or_insert(what);
        self.over.cancel();
    }

    /// The first broken promise.
    pub fn verdict(&self) -> Option<String> {
        self.broken.lock().clone()
    }

    /// Starts a node, unless it lives.
    pub fn start_node(self: &Arc<Self>, id: u64) {
        let mut lives = self.lives.lock();
        if lives.contains_key(&id) {
            return;
        }
        let number = self.numbers.fetch_add(1, Ordering::Relaxed) + 1;
        let life = Arc::new(Life::new(self, id, number));
        lives.insert(id, Arc::clone(&life));
        drop(lives);
        self.trace.say(&format!("start node {id}"));
        drop(tokio::spawn(life::live(Arc::clone(self), life)));
    }

    /// Ends a node's life, if it has one. `MidWrite` only lays the trap.
    pub fn crash(self: &Arc<Self>, id: u64, death: Death) {
        match death {
            Death::Kill => self.end(id, false, "killed"),
            Death::Power => self.end(id, true, "lost power"),
            Death::MidWrite(operations) => {
                let disk = self.disk(id);
                self.excuse(id, "mid write");
                disk.die_at_operation(disk.operations() + operations);
            }
        }
    }

    fn end(self: &Arc<Self>, id: u64, power: bool, how: &str) {
        let Some(life) = self.lives.lock().remove(&id) else { return };
        self.trace.say(&format!("node {id} {how}"));
        life.dead.cancel();
        life.env.tasks.stop();
        self.network.detach(tetrarch::model::NodeId(id));
        let machine = &self.machines[&id];
        let log = life.node.get().map(|node| node.groups().log().clone());
        if log.is_some_and(|log| log.poisoned().is_some()) {
            *machine.was_cut.lock() = true;
        }
        if power {
            machine.disk.power_cut(self.chance(u64::MAX));
        } else {
            machine.disk.kill();
        }
        drop(tokio::spawn(async move { life::bury(&life).await }));
    }

    /// A life came to its end without being told to.
    pub fn ended(self: &Arc<Self>, life: &Life, reason: &str) {
        let machine = &self.machines[&life.id];
        let excuses = machine.excuses.lock().clone();
        if excuses.is_empty() {
            self.broken(format!("node {} stopped by itself: {reason}", life.id));
            return;
        }
        *machine.was_cut.lock() = true;
        let power = excuses.contains_key("mid write");
        self.trace.say(&format!("node {} stops: {reason}", life.id));
        self.end(life.id, power, "ended by its disk");
    }

    /// A node's log was opened: it must have what it promised.
    pub fn opened(&self, life: &Life, log: &Log) {
        let was_cut = std::mem::take(&mut *self.machines[&life.id].was_cut.lock());
        let mut mirrors = self.mirrors.lock();
        let mirror = mirrors.entry(life.id).or_default();
        let committed = self.committed.lock().get(&life.id).cloned().unwrap_or_default();
        let kept = mirror.is_kept_by(log, was_cut, &committed);
        *mirror = Mirror::default();
        mirror.refresh(log);
        drop(mirrors);
        if let Err(lost) = kept {
            self.broken(format!("flushed survives: node {}: {lost}", life.id));
        }
    }

    /// A node's log was written and synced.
    pub fn driven(&self, life: &Life, log: &Log) {
        self.mirrors.lock().entry(life.id).or_default().refresh(log);
    }

    /// A node knows entries up to this one to be committed.
    pub fn knows_committed(&self, id: u64, group: u64, index: u64) {
        let mut committed = self.committed.lock();
        let known = committed.entry(id).or_default().entry(group).or_default();
        *known = index.max(*known);
    }

    /// A client was told that the entry is applied: it must be durable on a majority now.
    pub fn acknowledged(&self, group: u64, index: u64) {
        let mirrors = self.mirrors.lock();
        let holding = mirrors
            .values()
            .filter(|mirror| mirror.groups.get(&group).is_some_and(|kept| kept.has_index(index)));
        let count = holding.count() as u64;
        if count * 2 <= self.plan.replicas {
            drop(mirrors);
            self.broken(format!(
                "acknowledged is durable: group {group}, entry {index} was acknowledged and is on {count} \
                 disks"
            ));
        }
    }

    /// The node that is meant.
    pub fn resolve(&self, target: Target) -> Option<u64> {
        match target {
            Target::Node(id) => Some(id),
            Target::LeaderOf(group) => self.leader(group).or(Some(1)),
        }
    }

    /// Who leads a group, as the newest leader itself says.
    pub fn leader(&self, group: u64) -> Option<u64> {
        let group = tetrarch::model::GroupId(group);
        let leading = self.lives().into_iter().filter_map(|life| {
            let node = life.up()?;
            let term = node.groups().group(group)?.led_term()?;
            Some((term, life.id))
        });
        leading.max().map(|(_, id)| id)
    }
}
