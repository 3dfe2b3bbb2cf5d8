//! One look at all live nodes, for the invariants.
//!
//! Why it exists: what clients see breaks late, if at all; most bugs show first as two replicas that
//! disagree. So many times a second everything is laid open: status, log, state.
//!
//! Promises: what one look shows is of one moment, because nothing else runs meanwhile.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tetrarch::consensus::GroupStatus;
use tetrarch::consensus::types::LogId;
use tetrarch::model::{OWNED_KEY, Ownership};
use tetrarch::storage::log::Log;
use tetrarch::storage::state::State;
use xxhash_rust::xxh3::Xxh3;

use super::invariants::{self, Invariant};
use super::mirror::{Mirror, Place, entries_from};
use super::world::World;

/// Every so often all is looked at.
const EVERY: Duration = Duration::from_millis(25);

/// State is read in every so many looks: that costs more than all else.
const DIGEST_EVERY: u64 = 4;

/// A replica as it is now.
pub struct Replica {
    /// Where it is.
    pub node: u64,
    /// In which life of the node.
    pub life: u64,
    /// What it says of itself.
    pub status: GroupStatus,
    /// The log of its node.
    pub log: Log,
    /// The state of its node.
    pub state: State,
    /// Entries that it has learnt to be committed since the last look.
    pub commits: Vec<Place>,
    /// Its rows, when they were looked at.
    pub digest: Option<Digest>,
}

/// The rows of a replica at one applied index.
#[derive(Clone, Debug)]
pub struct Digest {
    /// Up to where its log was applied.
    pub applied: u64,
    /// Of all rows in their order.
    pub hash: u64,
    /// How many there are.
    pub rows: usize,
    /// The slots that it owns.
    pub owned: Option<Ownership>,
}

/// What one look shows.
pub struct View<'a> {
    /// All live replicas, by node and group.
    pub replicas: Vec<Replica>,
    /// What all disks hold, also of dead nodes.
    pub mirrors: &'a BTreeMap<u64, Mirror>,
}

impl Replica {
    /// The group.
    pub fn group(&self) -> u64 {
        self.status.group.0
    }

    /// The entry at an index, whether flushed or not.
    pub fn entry(&self, index: u64) -> Option<LogId> {
        let entries = self.log.read(self.group(), index, index + 1, usize::MAX).ok()?;
        entries.first().map(|entry| super::mirror::place(entry).0)
    }

    /// Says which replica it is.
    pub fn name(&self) -> String {
        format!("node {} (life {}), group {}", self.node, self.life, self.group())
    }
}

/// Looks, again and again.
pub struct Looker {
    world: Arc<World>,
    invariants: Vec<Box<dyn Invariant>>,
    looks: u64,
    /// By life and group: the last commit index, and the applied index of the last digest.
    seen: BTreeMap<(u64, u64), (u64, Option<u64>)>,
}

impl Looker {
    /// Nothing was seen yet.
    pub fn new(world: Arc<World>) -> Self {
        Self { world, invariants: invariants::all(), looks: 0, seen: BTreeMap::new() }
    }

    /// Looks until the run is over.
    pub async fn run(mut self) {
        while !self.world.over.is_cancelled() {
            self.look();
            tokio::time::sleep(EVERY).await;
        }
    }

    fn look(&mut self) {
        self.looks += 1;
        let replicas = self.replicas();
        if self.looks.is_multiple_of(DIGEST_EVERY) {
            self.world.trace.say(&summary(&replicas));
        }
        let world = Arc::clone(&self.world);
        let broken = world.with_mirrors(|mirrors| {
            let view = View { replicas, mirrors };
            self.invariants.iter_mut().find_map(|invariant| {
                let what = invariant.check(&view).err()?;
                Some(format!("{}: {what}", invariant.name()))
            })
        });
        if let Some(what) = broken {
            self.world.broken(what);
        }
    }

    fn replicas(&mut self) -> Vec<Replica> {
        let mut replicas = Vec::new();
        for life in self.world.lives() {
            let Some(node) = life.up() else { continue };
            let groups = node.groups();
            for group in groups.all() {
                let (log, state) = (groups.log().clone(), groups.state().clone());
                let status = group.status();
                let mut replica = Replica {
                    node: life.id,
                    life: life.number,
                    status,
                    log,
                    state,
                    commits: Vec::new(),
                    digest: None,
                };
                self.fill(&mut replica);
                replicas.push(replica);
            }
        }
        replicas
    }

    fn fill(&mut self, replica: &mut Replica) {
        let group = replica.group();
        let seen = self.seen.entry((replica.life, group)).or_default();
        let committed = replica.status.committed.unwrap_or(0);
        if committed > seen.0 {
            let entries = entries_from(&replica.log, group, seen.0 + 1);
            let new = entries.into_iter().take_while(|(index, _)| *index <= committed);
            replica.commits = new.map(|(_, place)| place).collect();
            seen.0 = committed;
            self.world.knows_committed(replica.node, group, committed);
        }
        if self.looks.is_multiple_of(DIGEST_EVERY) {
            let applied = replica.state.applied(group).map(|applied| applied.index);
            if applied != seen.1 {
                replica.digest = digest(&replica.state, group);
                seen.1 = applied;
            }
        }
    }
}

/// The rows of a group, as one number.
pub fn digest(state: &State, group: u64) -> Option<Digest> {
    let all = (Bound::Unbounded, Bound::Unbounded);
    let (rows, applied) = state.scan(group, all.0, all.1, usize::MAX).ok()?;
    let mut hash = Xxh3::new();
    let mut owned = None;
    for (key, value) in &rows {
        let mut piece = |bytes: &Bytes| {
            hash.update(&bytes.len().to_le_bytes());
            hash.update(bytes);
        };
        piece(key);
        piece(value);
        if key == OWNED_KEY {
            owned = Ownership::decode(value).ok();
        }
    }
    Some(Digest { applied, hash: hash.digest(), rows: rows.len(), owned })
}

fn summary(replicas: &[Replica]) -> String {
    let of = |replica: &Replica| {
        let s = &replica.status;
        let digest = replica.digest.as_ref().map_or(0, |digest| digest.hash);
        format!(
            "{}/{}:{:?}:t{}:l{}:c{}:a{}:{digest:x}",
            replica.node,
            replica.group(),
            s.role,
            s.term,
            s.last.unwrap_or(0),
            s.committed.unwrap_or(0),
            s.applied.unwrap_or(0)
        )
    };
    let all: Vec<String> = replicas.iter().map(of).collect();
    format!("look {}", all.join(" "))
}
