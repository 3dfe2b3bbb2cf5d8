//! What one run is: the shape of the cluster, its times and bounds, and the faults, all from the seed.
//!
//! Why it exists: a mix of all faults at once hides what any one of them would show, so each seed draws
//! its own mix (swarm testing), its own sizes and its own times. The whole plan is drawn before the run,
//! so that faults can be left out of it one by one when a failure is shrunk.
//!
//! Promises: the same seed is the same plan.

use std::fmt;
use std::time::Duration;

use super::draw::draw_faults;

/// A run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// From which everything is drawn.
    pub seed: u64,
    /// Nodes: 3 or 5.
    pub nodes: u64,
    /// Data groups.
    pub groups: u64,
    /// Replicas of each.
    pub replicas: u64,
    /// Between two heartbeats.
    pub heartbeat: Duration,
    /// After how long a group that nobody uses becomes quiet.
    pub quiesce: Option<Duration>,
    /// Size of a log segment.
    pub segment_bytes: u64,
    /// Live log above which a group is checkpointed.
    pub checkpoint_after_bytes: u64,
    /// Entries kept behind a checkpoint.
    pub keep_entries: u64,
    /// Memtables above which rows go to the working index.
    pub memtable_bytes: usize,
    /// A message's time.
    pub delay: (Duration, Duration),
    /// A sync's time.
    pub sync: (Duration, Duration),
    /// Clients.
    pub clients: u64,
    /// A client's pause between two requests, at most.
    pub think: Duration,
    /// Keys of each kind.
    pub keys: u64,
    /// How long faults go on.
    pub lasts: Duration,
    /// What goes wrong, in the order of time.
    pub faults: Vec<Fault>,
}

/// One thing that goes wrong for a while.
#[derive(Clone, Debug)]
pub struct Fault {
    /// Its number in the plan, by which it can be named in a replay.
    pub number: usize,
    /// When it begins, from the founding on.
    pub at: Duration,
    /// How long it lasts.
    pub lasts: Duration,
    /// What it is.
    pub kind: Kind,
}

/// Which node a fault is for.
#[derive(Clone, Copy, Debug)]
pub enum Target {
    /// This one.
    Node(u64),
    /// Whoever leads this group then.
    LeaderOf(u64),
}

/// How a node dies.
#[derive(Clone, Copy, Debug)]
pub enum Death {
    /// The process ends; what it has written stays.
    Kill,
    /// The power goes; what was not synced is lost, in part or whole.
    Power,
    /// The power goes in the middle of a write to the disk, so many operations from now.
    MidWrite(u64),
}

/// What goes wrong.
#[derive(Clone, Debug)]
pub enum Kind {
    /// These nodes and the others do not hear each other.
    Partition(Vec<u64>),
    /// The node hears and is heard by nobody.
    Isolate(Target),
    /// Nothing travels from the one to the other.
    OneWay(u64, u64),
    /// The node is heard by nobody, but hears.
    Mute(Target),
    /// Messages from the one to the other take this long.
    Slow(u64, u64, Duration),
    /// So many of a million messages are lost.
    Loss(u64),
    /// The node dies, and starts again at the end.
    Crash(Target, Death),
    /// All nodes die at once, and start again at the end.
    CrashAll(Death),
    /// The node's syncs take this long.
    SlowSync(Target, Duration),
    /// A sync fails; the node stops by itself, and starts again at the end.
    FailSync(Target),
    /// The node's disk takes only so many bytes more.
    FullDisk(Target, u64),
    /// The group's leader hands it to this node.
    HandOver(u64, u64),
    /// The node's wall clock is off by so many milliseconds.
    WallJump(u64, i64),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, at, lasts, kind } = self;
        write!(f, "#{number} at {at:?} for {lasts:?}: {kind:?}")
    }
}

impl Plan {
    /// The plan of a seed.
    pub fn of(seed: u64) -> Self {
        let mut dice = fastrand::Rng::with_seed(seed);
        let ms = Duration::from_millis;
        let nodes = if dice.u8(0..10) < 6 { 3 } else { 5 };
        let groups = dice.u64(2..=6);
        let replicas = if nodes == 5 && dice.bool() { 5 } else { 3 };
        let slowest = *pick(&mut dice, &[2, 5, 10, 25]);
        let sync_slowest = *pick(&mut dice, &[1, 3, 10]);
        let lasts = Duration::from_secs(dice.u64(8..=16));
        let mut plan = Self {
            seed,
            nodes,
            groups,
            replicas,
            heartbeat: ms(*pick(&mut dice, &[60, 100, 150, 300])),
            quiesce: None,
            segment_bytes: *pick(&mut dice, &[64 << 10, 128 << 10, 512 << 10]),
            checkpoint_after_bytes: *pick(&mut dice, &[4 << 10, 16 << 10, 64 << 10, 1 << 20]),
            keep_entries: *pick(&mut dice, &[0, 4, 20, 200]),
            memtable_bytes: *pick(&mut dice, &[4 << 10, 32 << 10, 1 << 20]),
            delay: (ms(0), ms(slowest)),
            sync: (ms(0), ms(sync_slowest)),
            clients: dice.u64(3..=8),
            think: ms(*pick(&mut dice, &[20, 60, 150])),
            keys: dice.u64(2..=8),
            lasts,
            faults: Vec::new(),
        };
        plan.faults = draw_faults(&plan, &mut dice);
        // Drawn last and from elsewhere, so that what a seed drew before it still draws. Often so
        // short that groups fall quiet and wake all the time.
        let mut dice = fastrand::Rng::with_seed(seed ^ 0x5113);
        plan.quiesce = pick(&mut dice, &[Some(1), Some(20), Some(100), Some(400), None]).map(ms);
        plan
    }

    /// The same, with these faults only.
    pub fn only(mut self, numbers: &[usize]) -> Self {
        self.faults.retain(|fault| numbers.contains(&fault.number));
        self
    }
}

/// One of several.
pub fn pick<'a, T>(dice: &mut fastrand::Rng, some: &'a [T]) -> &'a T {
    &some[dice.usize(0..some.len())]
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "seed {}: {} nodes, {} groups of {}, heartbeat {:?}, quiet after {:?}, segments of {}, checkpoints \
             after {}, {} entries kept, memtables of {}, messages {:?}, syncs {:?}, {} clients, {} keys of \
             a kind, {:?}",
            self.seed,
            self.nodes,
            self.groups,
            self.replicas,
            self.heartbeat,
            self.quiesce,
            self.segment_bytes,
            self.checkpoint_after_bytes,
            self.keep_entries,
            self.memtable_bytes,
            self.delay,
            self.sync,
            self.clients,
            self.keys,
            self.lasts,
        )?;
        for fault in &self.faults {
            writeln!(f, "  {fault}")?;
        }
        Ok(())
    }
}
