//! What all streams of one namespace at one node share.
//!
//! Why it exists: operations come over several streams and may need one another; what came from a
//! peer must not be sent back to it; two state syncs at once would be one too many.
//!
//! Promises: an operation reaches the shard only when its clock is within bounds or may pass; what
//! came early is handed over as soon as it follows, whichever stream brought what it waited for; what
//! a peer is said to have, it has flushed. Relies on the shard to refuse what does not follow.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, RwLock, Semaphore, SemaphorePermit};

use super::hold::{Full, Hold};
use super::message::State;
use super::metrics::StreamMetrics;
use super::pace::Pacer;
use super::primary::Primaries;
use super::skew::{Skew, Skewed};
use crate::convergence::shard::Shard;
use crate::convergence::words::{Digest, Stop};
use crate::model::NodeId;
use crate::model::eventual::{Actor, Dot, Member, Op, Vector};
use crate::runtime::limits::STATE_SYNC_WAIT_MAX;
use crate::runtime::{Env, Moment};

/// One namespace's part of all streams.
#[derive(Debug)]
pub struct Exchange {
    pub(super) shard: Shard,
    pub(super) env: Env,
    pub(super) metrics: StreamMetrics,
    hold: Mutex<Hold>,
    skew: Mutex<Skew>,
    primaries: Mutex<Primaries>,
    peers: Mutex<BTreeMap<NodeId, Peer>>,
    /// How far the links to peers have got with what they may carry, over all of their streams.
    pacers: Mutex<BTreeMap<NodeId, Pacer>>,
    syncing: Semaphore,
    /// What a state sync under way leads to.
    sync_to: Mutex<Option<Vector>>,
    /// Held by what is on its way to the shard.
    under_way: RwLock<()>,
    /// Peers over whose links somebody asked for a pass.
    asked: Mutex<BTreeSet<NodeId>>,
    asking: Notify,
    /// Actors of other clusters, whose operations come in at this node.
    adopted: Mutex<BTreeSet<Actor>>,
}

/// What is known of a peer in one namespace.
#[derive(Clone, Debug, Default)]
struct Peer {
    has: Vector,
    /// Since when it has been lacking something of ours.
    behind_since: Option<Moment>,
    /// Whether it differs though it knows the same.
    differs: bool,
}

/// What came of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Intake {
    /// It was taken, though perhaps a part of it waits.
    Taken,
    /// Too much would have waited: the stream must be asked for anew.
    Overflow,
}

/// What came of operations of a copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Copied {
    /// Applied.
    pub(super) applied: u64,
    /// Known before.
    pub(super) known: u64,
    /// Not applied yet, of all that came in any way.
    pub(super) waiting: u64,
}

impl Exchange {
    /// The exchange of a shard.
    pub fn new(shard: Shard, env: Env, metrics: StreamMetrics) -> Self {
        Self {
            shard,
            env,
            metrics,
            hold: Mutex::default(),
            skew: Mutex::default(),
            primaries: Mutex::default(),
            peers: Mutex::default(),
            pacers: Mutex::default(),
            syncing: Semaphore::new(1),
            sync_to: Mutex::default(),
            under_way: RwLock::default(),
            asked: Mutex::default(),
            asking: Notify::new(),
            adopted: Mutex::default(),
        }
    }

    /// Whether this node originated what an actor did, in this run or an earlier one.
    pub(super) fn is_own(&self, actor: Actor) -> bool {
        let own = self.shard.actor();
        (actor.node, actor.home) == (own.node, own.home)
    }

    /// Takes operations that a peer has sent.
    pub(super) async fn take(&self, from: NodeId, ops: Vec<Op>) -> Result<Intake, Stop> {
        let under_way = self.under_way.read().await;
        let fresh = self.sift(from, ops);
        let Ok(fresh) = fresh else { return Ok(Intake::Overflow) };
        if !fresh.is_empty() {
            let received = self.shard.receive(fresh).await?;
            self.metrics.received.inc_by(received.applied);
            self.metrics.redundant.inc_by(received.known);
            if self.hold_back(received.early).is_err() {
                return Ok(Intake::Overflow);
            }
        }
        drop(under_way);
        self.release().await?;
        Ok(Intake::Taken)
    }

    /// Takes operations out of a copy; `None` when too many would have to wait.
    pub(super) async fn take_copied(&self, ops: Vec<Op>) -> Result<Option<Copied>, Stop> {
        let under_way = self.under_way.read().await;
        let before = self.shard.vector();
        let (mut fresh, mut late) = (Vec::with_capacity(ops.len()), Vec::new());
        let mut copied = Copied::default();
        {
            let (now, wall_ms) = (self.env.clock.now(), self.env.clock.wall_ms());
            let sync_to = self.sync_to.lock();
            let mut skew = self.skew.lock();
            for op in ops {
                if before.covers(op.dot) {
                    copied.known += 1;
                } else if comes_with_rows(sync_to.as_ref(), &op)
                    || skew.must_wait(&op, now, wall_ms)
                {
                    late.push(op);
                } else {
                    fresh.push(op);
                }
            }
        }
        self.adopt(fresh.iter().chain(&late).map(|op| op.dot.actor));
        if !fresh.is_empty() {
            let received = self.shard.receive(fresh).await?;
            copied.applied = received.applied;
            copied.known += received.known;
            late.extend(received.early);
        }
        if self.hold_back(late).is_err() {
            return Ok(None);
        }
        drop(under_way);
        self.release().await?;
        copied.waiting = u64::try_from(self.held()).unwrap_or(u64::MAX);
        Ok(Some(copied))
    }

    /// Operations of these actors come in here from outside of the cluster: other nodes hear of them
    /// from here as of this node's own, or else only after they were found to lack them.
    pub(super) fn adopt(&self, actors: impl Iterator<Item = Actor>) {
        let members = self.shard.part().members;
        let foreign = actors.filter(|actor| !members.all.contains(&Member::from(*actor)));
        self.adopted.lock().extend(foreign);
    }

    /// Whether an actor's operations come in here from outside of the cluster.
    pub(super) fn is_adopted(&self, actor: Actor) -> bool {
        self.adopted.lock().contains(&actor)
    }

    /// What of a batch is new and may pass; what must wait for its time waits.
    fn sift(&self, from: NodeId, ops: Vec<Op>) -> Result<Vec<Op>, Full> {
        let vector = self.shard.vector();
        let (now, wall_ms) = (self.env.clock.now(), self.env.clock.wall_ms());
        let mut reached = Vector::default();
        let mut fresh = Vec::with_capacity(ops.len());
        let mut late = Vec::new();
        {
            let sync_to = self.sync_to.lock();
            let (mut skew, hold) = (self.skew.lock(), self.hold.lock());
            let mut primaries = self.primaries.lock();
            for op in ops {
                let Dot { actor, counter } = op.dot;
                let known = reached.0.entry(actor).or_default();
                *known = (*known).max(counter);
                let is_new = !vector.covers(op.dot) && !hold.has(&op);
                primaries.came(actor, from, is_new, now);
                if !is_new {
                    self.metrics.redundant.inc();
                } else if comes_with_rows(sync_to.as_ref(), &op)
                    || skew.must_wait(&op, now, wall_ms)
                {
                    late.push(op);
                } else {
                    fresh.push(op);
                }
            }
        }
        // It sends only what it has flushed and applied, and has all before that.
        self.has(from, &reached);
        self.hold_back(late)?;
        Ok(fresh)
    }

    fn hold_back(&self, ops: Vec<Op>) -> Result<(), Full> {
        let mut hold = self.hold.lock();
        let held = ops.into_iter().try_for_each(|op| hold.add(op));
        drop(hold);
        if held.is_err() {
            self.metrics.overflows.inc();
        }
        held
    }

    /// Hands over what waited and follows by now. May be given up at any time: what is taken out
    /// here is with the shard before anything is waited for.
    pub(super) async fn release(&self) -> Result<(), Stop> {
        loop {
            let _under_way = self.under_way.read().await;
            if self.held() == 0 {
                return Ok(());
            }
            let room = self.shard.room().await?;
            let ready = {
                let sync_to = self.sync_to.lock();
                let (now, wall_ms) = (self.env.clock.now(), self.env.clock.wall_ms());
                let (mut skew, mut hold) = (self.skew.lock(), self.hold.lock());
                hold.take_ready(&self.shard.vector(), |op| {
                    comes_with_rows(sync_to.as_ref(), op) || skew.must_wait(op, now, wall_ms)
                })
            };
            if ready.is_empty() {
                return Ok(());
            }
            let received = room.receive(ready).await?;
            self.metrics.received.inc_by(received.applied);
            // There was room for them a moment ago; what does not fit now will be sent again.
            if self.hold_back(received.early).is_err() {
                return Ok(());
            }
        }
    }

    /// How many operations wait.
    pub fn held(&self) -> usize {
        self.hold.lock().len()
    }

    /// Who is ahead of the clocks.
    pub fn skewed(&self) -> BTreeMap<Actor, Skewed> {
        self.skew.lock().ahead().clone()
    }

    /// What a source is to be told to leave.
    pub(super) fn take_pruned(&self, source: NodeId) -> Vec<Actor> {
        self.primaries.lock().take_pruned(source)
    }

    /// A stream from this source has ended.
    pub(super) fn ended(&self, source: NodeId) {
        self.primaries.lock().ended(source);
    }

    /// A peer begins to read, and has this: what was known of it before may be from another life.
    pub(super) fn begins(&self, peer: NodeId, vector: &Vector) {
        self.peers.lock().entry(peer).or_default().has = vector.clone();
        self.shard.heard(peer, vector.clone());
    }

    /// A peer has all this.
    pub(super) fn has(&self, peer: NodeId, vector: &Vector) {
        let mut peers = self.peers.lock();
        let entry = peers.entry(peer).or_default();
        if entry.has.includes(vector) {
            return;
        }
        entry.has.join(vector);
        let has = entry.has.clone();
        drop(peers);
        self.shard.heard(peer, has);
    }

    /// What a peer has, as far as is known.
    pub(super) fn known(&self, peer: NodeId) -> Vector {
        self.peers.lock().get(&peer).map(|entry| entry.has.clone()).unwrap_or_default()
    }

    /// A peer has said what it has and what that comes to. Equal knowledge must be equal rows.
    pub(super) fn compare(&self, peer: NodeId, theirs: &State) {
        self.has(peer, &theirs.vector);
        let Some(root) = theirs.root else { return };
        if *self.shard.vector() != theirs.vector {
            return;
        }
        let ours = self.state();
        if ours.vector != theirs.vector || ours.root.is_none() {
            return;
        }
        let differs = ours.root != Some(root);
        if differs {
            let namespace = self.shard.namespace();
            tracing::error!(%namespace, %peer, "replicas differ though they know the same");
        }
        self.peers.lock().entry(peer).or_default().differs = differs;
    }

    /// Forgets the peers that are gone: what they last said counts no more.
    pub(super) fn keep(&self, nodes: &BTreeSet<NodeId>) {
        self.peers.lock().retain(|node, _| nodes.contains(node));
        self.pacers.lock().retain(|node, _| nodes.contains(node));
    }

    /// How long bytes to a peer must wait at this rate before they may ask again; they may go, and
    /// count, when that is not at all.
    pub(super) fn pace(&self, peer: NodeId, rate: Option<u64>, bytes: usize) -> Duration {
        let Some(rate) = rate else { return Duration::ZERO };
        let now = self.env.clock.now();
        self.pacers.lock().entry(peer).or_default().wait(bytes, rate, now)
    }

    /// Whether a peer differs though it knows the same.
    pub fn diverged(&self) -> bool {
        self.peers.lock().values().any(|peer| peer.differs)
    }

    /// What we have, and what that comes to.
    pub(super) fn state(&self) -> State {
        let digest = self.shard.digest();
        State { root: root(&digest), vector: (*digest.vector).clone() }
    }

    /// How many operations each peer lacks, and since when it has been lacking some.
    pub(super) fn lags(&self) -> BTreeMap<NodeId, (u64, Option<Moment>)> {
        let (vector, now) = (self.shard.vector(), self.env.clock.now());
        let mut peers = self.peers.lock();
        let lag = |(&node, peer): (&NodeId, &mut Peer)| {
            let ops = peer.has.missing(&vector);
            peer.behind_since = (ops > 0).then(|| peer.behind_since.unwrap_or(now));
            (node, (ops, peer.behind_since))
        };
        peers.iter_mut().map(lag).collect()
    }

    /// The right to take rows from a peer, if nobody has it.
    pub(super) fn may_sync(&self) -> Option<SemaphorePermit<'_>> {
        self.syncing.try_acquire().ok()
    }

    /// The right to take rows, once nobody else has it.
    pub(super) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        self.syncing.acquire().await.ok()
    }

    /// Waits until no rows are being taken, for a while.
    pub(super) async fn synced(&self) {
        // Nobody closes it, and who waits here only wants to know.
        drop(tokio::time::timeout(STATE_SYNC_WAIT_MAX, self.syncing.acquire()).await);
    }

    /// From now on, and until the guard is dropped, what this vector covers comes with rows only: an
    /// operation that put something which the rows no longer have would bring it back for good (R7).
    pub(super) async fn sync_to(&self, vector: &Vector) -> SyncTo<'_> {
        let _none_under_way = self.under_way.write().await;
        *self.sync_to.lock() = Some(vector.clone());
        SyncTo(self)
    }

    /// Asks for one pass over the link from a peer.
    pub fn ask_pass(&self, from: NodeId) {
        self.asked.lock().insert(from);
        self.asking.notify_waiters();
    }

    /// Waits until somebody asks for a pass over the link from a peer.
    pub(super) async fn pass_asked(&self, from: NodeId) {
        loop {
            let asking = self.asking.notified();
            tokio::pin!(asking);
            asking.as_mut().enable();
            if self.asked.lock().remove(&from) {
                return;
            }
            asking.await;
        }
    }
}

/// A state sync is under way.
#[derive(Debug)]
pub(super) struct SyncTo<'a>(&'a Exchange);

impl Drop for SyncTo<'_> {
    fn drop(&mut self) {
        *self.0.sync_to.lock() = None;
    }
}

fn comes_with_rows(sync_to: Option<&Vector>, op: &Op) -> bool {
    sync_to.is_some_and(|vector| vector.covers(op.dot))
}

/// One number for rows and one for losses, when they say something.
pub(super) fn root(digest: &Digest) -> Option<(u128, u128)> {
    digest.settled.then(|| {
        let mut losses = Vec::with_capacity(digest.losses.len() * size_of::<u128>());
        digest.losses.iter().for_each(|sum| losses.extend_from_slice(&sum.to_be_bytes()));
        (digest.root, xxhash_rust::xxh3::xxh3_128(&losses))
    })
}
