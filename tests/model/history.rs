//! One seeded history: replicas that write, stream, sync, crash, come and go; then they heal.
//!
//! Promises: the same seed gives the same history. What is judged at the end is in `verdict`.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use tetrarch::model::eventual::{Act, Ask, DataType, Dot, LocalError, Member, Members, Op, read};

use crate::asks::{self, type_of};
use crate::replica::{Place, Replica};
use crate::rules::Broken;
use crate::verdict::{Verdict, judge};

/// What happened on the way.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub ops: u64,
    pub syncs: u64,
    pub cuts: u64,
    pub crashes: u64,
    pub joined: u64,
    pub left: u64,
}

/// Everything that the oracle knows.
pub struct World {
    pub replicas: Vec<Replica>,
    /// Every operation that was ever made, also those that a crash swallowed.
    pub ops: BTreeMap<Dot, Op>,
    /// What was added to counters.
    pub added: BTreeMap<Dot, i64>,
    /// Whether one dot was given to two operations.
    pub clash: bool,
    /// Losses that some replica has called final.
    pub finals: BTreeSet<(Place, Dot)>,
    pub counts: Counts,
    members: Members,
    seen: Vec<(Bytes, Vec<Dot>)>,
    skew: Vec<u64>,
    drift_ms: u64,
    now: u64,
    rng: fastrand::Rng,
    broken: Broken,
}

/// Contexts that clients may still come with.
const SEEN_MAX: usize = 40;

/// Runs a history to its end.
pub fn run(seed: u64, broken: Broken) -> (Verdict, Counts) {
    let mut world = World::new(seed, broken);
    for _ in 0..60 + seed % 120 {
        world.step();
    }
    world.heal();
    (judge(&world), world.counts)
}

impl World {
    fn new(seed: u64, broken: Broken) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let nodes = rng.u64(2..5);
        let all = (1..=nodes).map(|node| Member { node, home: 7 }).collect();
        let members = Members { version: 1, all };
        let drift_ms = if rng.bool() { 5 } else { 1 << 40 };
        let replica = |node| Replica::new(node, members.clone(), drift_ms, broken);
        Self {
            replicas: (1..=nodes).map(replica).collect(),
            ops: BTreeMap::new(),
            added: BTreeMap::new(),
            clash: false,
            finals: BTreeSet::new(),
            counts: Counts::default(),
            skew: (0..nodes).map(|_| rng.u64(..40)).collect(),
            members,
            seen: Vec::new(),
            drift_ms,
            now: 0,
            rng,
            broken,
        }
    }

    fn one(&mut self) -> usize {
        self.rng.usize(..self.replicas.len())
    }

    fn wall(&self, at: usize) -> u64 {
        self.now + self.skew[at]
    }

    fn step(&mut self) {
        self.now += 1;
        let at = self.one();
        match self.rng.u8(..48) {
            0..=17 => self.write(at),
            18..=20 => self.beat(at),
            21..=33 => {
                let from = self.one();
                self.meet(from, at);
            }
            34..=36 => self.go_on(at),
            37..=38 => {
                let count = self.rng.usize(..6);
                self.replicas[at].truncate(count);
            }
            39..=40 => {
                self.counts.crashes += 1;
                self.counts.cuts += u64::from(self.replicas[at].sync.is_some());
                self.replicas[at].crash();
            }
            41..=42 => self.replicas[at].flush(),
            43..=45 => {
                let new = self.replicas[at].settle_losses();
                self.finals.extend(new);
            }
            46 => self.change_members(at),
            _ => {
                let members = self.members.clone();
                self.learn(at, &members);
            }
        }
    }

    fn learn(&mut self, at: usize, members: &Members) {
        if self.replicas[at].members.version < members.version {
            self.replicas[at].learn(members);
        }
    }

    fn write(&mut self, at: usize) {
        if self.replicas[at].retired {
            return;
        }
        let number = self.ops.len() as u64;
        let write = asks::draw(&mut self.rng, number, &self.seen);
        let wall = self.wall(at);
        let ty = type_of(&write.key);
        let op = match self.replicas[at].write(ty, &write, wall) {
            Ok(op) => op,
            Err(error) => {
                assert!(matches!(error, LocalError::Refused(_)), "rows in memory can be read");
                return;
            }
        };
        if let Ask::Add(by) = write.ask {
            self.added.insert(op.dot, by);
        }
        let shown = read(ty, &self.replicas[at].state.fields(&write.key));
        self.seen.push((write.key, shown.context));
        if self.seen.len() > SEEN_MAX {
            self.seen.remove(0);
        }
        self.made(&op);
        if self.rng.u8(..10) < 7 {
            self.replicas[at].flush();
        }
    }

    fn made(&mut self, op: &Op) {
        self.counts.ops += 1;
        if self.ops.insert(op.dot, op.clone()).is_some_and(|before| before != *op) {
            self.clash = true;
        }
    }

    fn beat(&mut self, at: usize) {
        if !self.replicas[at].retired {
            let wall = self.wall(at);
            let op = self.replicas[at].beat(wall);
            self.made(&op);
        }
    }

    /// Whether one may serve another: it knows it as a member, and takes nothing from who is none.
    fn may_serve(&self, from: usize, to: usize) -> bool {
        let (source, reader) = (&self.replicas[from], &self.replicas[to]);
        from != to
            && (source.members.all.contains(&reader.actor.into()) || reader.retired)
            && reader.members.all.contains(&source.actor.into())
    }

    fn meet(&mut self, from: usize, to: usize) {
        if !self.may_serve(from, to) {
            return;
        }
        let chance = self.rng.u8(..10) < 7;
        self.replicas[from].before_shipping(chance);
        let limit = self.rng.usize(1..8);
        let all = self.rng.bool();
        if self.reaches_back(from, to) {
            self.stream(from, to, limit, all);
        } else if self.replicas[to].sync.is_none() || self.rng.u8(..4) == 0 {
            self.counts.syncs += 1;
            self.counts.cuts += u64::from(self.replicas[to].sync.is_some());
            let pinned = self.rng.bool();
            self.begin_sync(from, to, pinned);
            self.go_on(to);
        }
    }

    fn reaches_back(&self, from: usize, to: usize) -> bool {
        let (source, reader) = (&self.replicas[from].state, &self.replicas[to].state);
        self.broken == Broken::NoBaseCheck || reader.head.vector.includes(&source.base)
    }

    /// All that the reader lacks, in the order of the source's log; or the source's own only, each
    /// as soon as it follows.
    fn stream(&mut self, from: usize, to: usize, limit: usize, all: bool) {
        let source = &self.replicas[from];
        let (node, ops) = (source.actor.node, source.state.ops.clone());
        let wall = self.wall(to);
        let reader = &mut self.replicas[to];
        let wanted = ops.iter().filter(|op| all || op.dot.actor.node == node);
        let mut left = limit;
        for op in wanted {
            if left == 0 {
                break;
            }
            if !reader.state.head.vector.covers(op.dot) {
                left -= 1;
                let taken = reader.receive(op, wall, all);
                let waits = !all || reader.sync.is_some();
                assert!(taken || waits, "{} follows in the log of {node}", op.dot);
            }
        }
    }

    fn begin_sync(&mut self, from: usize, to: usize, pinned: bool) {
        let (source, reader) = if from < to {
            let (low, high) = self.replicas.split_at_mut(to);
            (&low[from], &mut high[0])
        } else {
            let (low, high) = self.replicas.split_at_mut(from);
            (&high[0], &mut low[to])
        };
        reader.begin_sync(from, &source.state, pinned);
    }

    fn go_on(&mut self, to: usize) {
        let keys = self.rng.usize(..8);
        self.take_keys(to, keys);
    }

    fn take_keys(&mut self, to: usize, keys: usize) {
        let Some(from) = self.replicas[to].sync.as_ref().map(|sync| sync.from) else { return };
        if !self.may_serve(from, to) {
            self.counts.cuts += 1;
            self.replicas[to].sync = None;
            return;
        }
        self.replicas[from].before_shipping(true);
        let wall = self.wall(to);
        let source = self.replicas[from].state.clone();
        self.replicas[to].go_on(&source, keys, wall);
    }

    /// A node comes, or one goes that has handed over all that it had.
    fn change_members(&mut self, at: usize) {
        let mut members = self.members.clone();
        members.version += 1;
        let leaver = &self.replicas[at];
        // What it had must be flushed elsewhere: nobody can ask it again.
        let heard = self.replicas.iter().position(|other| {
            other.actor != leaver.actor
                && !other.retired
                && other.state.head.vector.includes(&leaver.state.head.vector)
        });
        let staying = self.replicas.iter().filter(|replica| !replica.retired).count();
        if self.rng.bool() && self.replicas.len() < 6 {
            let node = self.replicas.len() as u64 + 1;
            members.all.insert(Member { node, home: 7 });
            self.counts.joined += 1;
            let replica = Replica::new(node, members.clone(), self.drift_ms, self.broken);
            self.replicas.push(replica);
            self.skew.push(self.rng.u64(..40));
        } else if let (Some(hearer), true, false) = (heard, staying > 2, leaver.retired) {
            members.all.remove(&leaver.actor.into());
            self.replicas[hearer].flush();
            self.counts.left += 1;
            self.replicas[at].retired = true;
        } else {
            return;
        }
        self.members = members;
    }

    /// The nodes that are members in the end.
    pub fn staying(&self) -> Vec<usize> {
        (0..self.replicas.len()).filter(|at| !self.replicas[*at].retired).collect()
    }

    /// Everybody hears of everything.
    fn heal(&mut self) {
        let staying = self.staying();
        let members = self.members.clone();
        for at in &staying {
            self.learn(*at, &members);
            if self.replicas[*at].sync.is_some() && self.rng.bool() {
                self.counts.cuts += 1;
                self.replicas[*at].sync = None;
            }
        }
        for at in &staying {
            self.take_keys(*at, usize::MAX);
        }
        for round in 0..4 {
            for at in &staying {
                self.replicas[*at].flush();
                if round > 0 {
                    self.beat(*at);
                }
            }
            for _ in 0..3 {
                for to in &staying {
                    for from in &staying {
                        self.exchange(*from, *to);
                    }
                }
            }
        }
        for at in staying {
            let new = self.replicas[at].settle_losses();
            self.finals.extend(new);
        }
    }

    fn exchange(&mut self, from: usize, to: usize) {
        if !self.may_serve(from, to) {
            return;
        }
        self.replicas[from].flush();
        if self.reaches_back(from, to) {
            self.stream(from, to, usize::MAX, true);
        } else {
            self.counts.syncs += 1;
            self.begin_sync(from, to, true);
            self.take_keys(to, usize::MAX);
        }
    }

    /// The sums of counters that nobody ever deleted, by the amounts that clients added.
    pub fn sums(&self, survives: impl Fn(Dot) -> bool) -> BTreeMap<Bytes, i64> {
        let mut sums = BTreeMap::new();
        for op in self.ops.values().filter(|op| survives(op.dot)) {
            let Act::Write { key, .. } = &op.act else { continue };
            if type_of(key) == DataType::Counter {
                let sum: &mut Option<i64> = sums.entry(key.clone()).or_insert(Some(0));
                *sum = sum.and_then(|sum| Some(sum + self.added.get(&op.dot)?));
            }
        }
        sums.into_iter().filter_map(|(key, sum)| Some((key, sum?))).collect()
    }
}
