//! A shard: one eventual namespace as this node holds it.
//!
//! Why it exists: the hall, the streams and the shard's own worker meet here. All changes go through
//! the worker's inbox; what is read is what is flushed and applied.
//!
//! Promises: rows and the vector that is given with them are of one moment; a full inbox refuses
//! clients at once and lets streams wait. Relies on `worker` for every change.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use parking_lot::{Mutex, RwLock};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::clocks::Clocks;
use super::draft::Place;
use super::gate::Passage;
use super::rows::Own;
use super::sums::{Figures, Sums};
use super::trail::Trail;
use super::words::{Base, Digest, Heads, Heard, Received, Stop, WriteError, WriteRequest, Wrote};
use super::worker::Command;
use crate::model::eventual::{
    Actor, DataType, Dot, Head, Member, Members, Op, Reached, Vector, digest,
};
use crate::model::{NamespaceId, NodeId};
use crate::placement::NamespaceLimits;
use crate::runtime::limits::EVENTUAL_QUEUE_BYTES;
use crate::runtime::{Env, Moment};
use crate::storage::log::Log;

/// What of the catalog concerns a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Who originates operations.
    pub members: Members,
    /// The same by node.
    pub nodes: Arc<Vec<NodeId>>,
    /// Whether this node takes no writes.
    pub is_reader: bool,
    /// What the namespace accepts.
    pub limits: NamespaceLimits,
    /// What it takes from clients.
    pub passage: Passage,
    /// The epoch of the catalog that says so.
    pub epoch: u64,
}

/// What is flushed, applied and visible.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) head: Head,
    pub(super) own: Own,
    pub(super) vector: Arc<Vector>,
    pub(super) sums: Sums,
    /// The newest applied entry of the log.
    pub(super) index: u64,
    /// Whether anything but beats was applied since the last beat of this node.
    pub(super) is_news: bool,
    /// Whether something was applied that may make losses final.
    pub(super) may_settle: bool,
}

/// Counts since the start.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) ops: AtomicU64,
    pub(super) batches: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) skewed: AtomicU64,
    pub(super) forks: AtomicU64,
    pub(super) log_bytes: AtomicU64,
    /// Buckets whose digest the last audit found to be wrong; no count.
    pub(super) distrusted: AtomicU64,
}

/// What the handles and the worker share.
#[derive(Debug)]
pub(super) struct Inner {
    pub(super) namespace: NamespaceId,
    pub(super) place: Place,
    pub(super) log: Log,
    pub(super) env: Env,
    pub(super) clocks: Arc<Clocks>,
    pub(super) part: RwLock<Part>,
    /// Locked before the state's own locks, and for as long as they are.
    pub(super) live: RwLock<Live>,
    pub(super) actor: Mutex<Actor>,
    pub(super) trail: Mutex<Trail>,
    pub(super) seen: watch::Sender<Arc<Vector>>,
    pub(super) heard: watch::Sender<BTreeMap<NodeId, Heard>>,
    /// Others know operations of this node's present actor that this directory does not.
    pub(super) is_forked: AtomicBool,
    pub(super) inbox: mpsc::Sender<Command>,
    pub(super) waiting: Arc<AtomicUsize>,
    pub(super) stop: CancellationToken,
    /// Whether the stop is a clean one, after which the actor goes on.
    pub(super) is_clean_stop: AtomicBool,
    pub(super) ended: CancellationToken,
    pub(super) counts: Counts,
}

/// Bytes of a write that wait, until it is taken or given up.
#[derive(Debug)]
pub(super) struct Waiting {
    sum: Arc<AtomicUsize>,
    bytes: usize,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.sum.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A handle to a shard; clones share it.
#[derive(Clone, Debug)]
pub struct Shard {
    pub(super) inner: Arc<Inner>,
}

impl Shard {
    /// Its namespace.
    pub fn namespace(&self) -> NamespaceId {
        self.inner.namespace
    }

    /// What its values are.
    pub fn data_type(&self) -> DataType {
        self.inner.place.data_type
    }

    /// Who originates here now. It changes when others know more of it than this directory.
    pub fn actor(&self) -> Actor {
        *self.inner.actor.lock()
    }

    /// This data directory, over all its runs.
    pub fn member(&self) -> Member {
        self.inner.place.member
    }

    /// The nodes that originate.
    pub fn members(&self) -> Arc<Vec<NodeId>> {
        Arc::clone(&self.inner.part.read().nodes)
    }

    /// What the catalog says of it.
    pub fn part(&self) -> Part {
        self.inner.part.read().clone()
    }

    /// The catalog says something else.
    pub fn set_part(&self, part: Part) {
        *self.inner.part.write() = part;
    }

    /// Makes a write here: returns when it is flushed and visible.
    ///
    /// # Errors
    ///
    /// See [`WriteError`].
    pub async fn write(&self, request: WriteRequest) -> Result<Wrote, WriteError> {
        let inner = &*self.inner;
        let deadline = request.deadline;
        let bytes = request.bytes();
        let waiting = Waiting { sum: Arc::clone(&inner.waiting), bytes };
        let queued = inner.waiting.fetch_add(bytes, Ordering::Relaxed);
        let is_full = queued > EVENTUAL_QUEUE_BYTES;
        if is_full || inner.log.is_overloaded() || inner.place.state.is_overloaded() {
            inner.counts.refused.fetch_add(1, Ordering::Relaxed);
            return Err(WriteError::Overloaded);
        }
        let (answer, answered) = oneshot::channel();
        let command = Command::Write(Box::new(request), answer, waiting);
        match inner.inbox.try_send(command) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => {
                inner.counts.refused.fetch_add(1, Ordering::Relaxed);
                return Err(WriteError::Overloaded);
            }
            Err(mpsc::error::TrySendError::Closed(_)) => return Err(stopped().into()),
        }
        let left = deadline.since(inner.env.clock.now());
        match tokio::time::timeout(left, answered).await {
            Ok(Ok(result)) => result,
            // The worker has gone with what was under way.
            Ok(Err(_gone)) => Err(WriteError::TimeUp),
            Err(_elapsed) => Err(WriteError::TimeUp),
        }
    }

    /// Takes operations of others: returns when they are flushed and visible, with those that do not
    /// follow what is known yet.
    ///
    /// # Errors
    ///
    /// When the shard has stopped.
    pub async fn receive(&self, ops: Vec<Op>) -> Result<Received, Stop> {
        self.ask(|answer| Command::Receive(ops, answer)).await
    }

    /// A place in the inbox for operations of others, for who must not lose them while it waits.
    ///
    /// # Errors
    ///
    /// When the shard has stopped.
    pub(super) async fn room(&self) -> Result<Room<'_>, Stop> {
        Ok(Room(self.inner.inbox.reserve().await.map_err(|_closed| stopped())?))
    }

    /// A state sync is complete: all that its source knew when it began is here (rule R1). `vector` is
    /// that of its first page, `heads` were taken before it.
    ///
    /// # Errors
    ///
    /// When the shard has stopped.
    pub async fn reached(&self, vector: Vector, heads: Heads) -> Result<(), Stop> {
        let reached = Reached { vector, beats: heads.beats, hlc: heads.hlc };
        self.ask(|answer| Command::Reached(reached, answer)).await
    }

    /// Sends a command and waits for its answer, however long that takes.
    pub(super) async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, Stop>>) -> Command,
    ) -> Result<T, Stop> {
        let (answer, answered) = oneshot::channel();
        let sent = self.inner.inbox.send(command(answer)).await;
        sent.map_err(|_closed| stopped())?;
        answered.await.unwrap_or_else(|_gone| Err(stopped()))
    }

    /// What is flushed and applied here.
    pub fn vector(&self) -> Arc<Vector> {
        Arc::clone(&self.inner.live.read().vector)
    }

    /// The same, to be followed.
    pub fn vectors(&self) -> watch::Receiver<Arc<Vector>> {
        self.inner.seen.subscribe()
    }

    /// What is known of the others, for who ends a state sync from here. To be taken before its first
    /// page.
    pub fn heads(&self) -> Heads {
        let live = self.inner.live.read();
        Heads { beats: live.head.beats.clone(), hlc: live.head.hlc }
    }

    /// The digest of all that is visible.
    pub fn digest(&self) -> Digest {
        let live = self.inner.live.read();
        Digest {
            vector: Arc::clone(&live.vector),
            settled: live.own.ahead.0.is_empty(),
            root: digest::root(&live.sums.buckets),
            buckets: live.sums.buckets.clone(),
            losses: live.sums.losses.clone(),
        }
    }

    /// How much it holds.
    pub fn figures(&self) -> Figures {
        self.inner.live.read().sums.figures
    }

    /// Where its log begins, for readers.
    pub fn base(&self) -> Base {
        self.inner.trail.lock().base().clone()
    }

    /// The newest entry of the log that is applied.
    pub fn log_tail(&self) -> u64 {
        self.inner.live.read().index
    }

    /// From which entry on to read the log to somebody who has this; `None` if a state sync is needed
    /// (rule R2).
    pub fn seek(&self, has: &Vector) -> Option<u64> {
        self.inner.trail.lock().seek(has)
    }

    /// Heard what another node has flushed and applied.
    pub fn heard(&self, node: NodeId, vector: Vector) {
        let actor = self.actor();
        if vector.of(actor) > self.vector().of(actor) {
            self.inner.is_forked.store(true, Ordering::Release);
        }
        let heard = Heard { vector: Arc::new(vector), at: self.inner.env.clock.now() };
        self.inner.heard.send_modify(|all| drop(all.insert(node, heard)));
    }

    /// What was heard of the others.
    pub fn heard_vectors(&self) -> BTreeMap<NodeId, Heard> {
        self.inner.heard.borrow().clone()
    }

    /// Waits until so many nodes, this one included, have an operation; returns whether they do.
    pub async fn acknowledged(&self, dot: Dot, nodes: usize, deadline: Moment) -> bool {
        let mut heard = self.inner.heard.subscribe();
        let others = nodes.saturating_sub(1);
        let enough = heard.wait_for(|all| {
            all.values().filter(|heard| heard.vector.covers(dot)).count() >= others
        });
        let left = deadline.since(self.inner.env.clock.now());
        matches!(tokio::time::timeout(left, enough).await, Ok(Ok(_)))
    }

    /// Waits until all of this is visible here; returns whether it is.
    pub async fn covered(&self, vector: &Vector, deadline: Moment) -> bool {
        let mut seen = self.inner.seen.subscribe();
        let left = deadline.since(self.inner.env.clock.now());
        let enough = seen.wait_for(|seen| seen.includes(vector));
        matches!(tokio::time::timeout(left, enough).await, Ok(Ok(_)))
    }

    /// Asks the worker to see what is due, if anything is.
    pub(super) fn tick(&self) {
        let is_due = {
            let live = self.inner.live.read();
            live.is_news || live.may_settle || self.is_unheard(&live.head)
        };
        if is_due {
            // A full inbox has other work; the next tick comes soon.
            drop(self.inner.inbox.try_send(Command::Tick));
        }
    }

    /// Whether this node's last beat went by another list of members.
    fn is_unheard(&self, head: &Head) -> bool {
        let part = self.inner.part.read();
        let beat = head.beats.get(&self.inner.place.member);
        !head.vector.0.is_empty() && beat.is_none_or(|beat| beat.members != part.members.version)
    }

    /// Ends the worker. After a clean stop the actor goes on at the next start.
    pub(super) async fn close(&self, clean: bool) {
        self.inner.is_clean_stop.store(clean, Ordering::Release);
        self.inner.stop.cancel();
        self.inner.ended.cancelled().await;
    }
}

impl WriteRequest {
    /// About how much memory it takes.
    fn bytes(&self) -> usize {
        self.key.len() + super::worker::ask_bytes(&self.ask) + 256
    }
}

/// A place in a shard's inbox.
#[derive(Debug)]
pub(super) struct Room<'a>(mpsc::Permit<'a, Command>);

impl Room<'_> {
    /// [`Shard::receive`], but the operations are in the inbox when this returns, whether or not
    /// anybody waits for what came of them.
    pub(super) fn receive(
        self,
        ops: Vec<Op>,
    ) -> impl Future<Output = Result<Received, Stop>> + use<> {
        let (answer, answered) = oneshot::channel();
        self.0.send(Command::Receive(ops, answer));
        async { answered.await.unwrap_or_else(|_gone| Err(stopped())) }
    }
}

/// What is said when the worker is gone.
pub(super) fn stopped() -> Stop {
    Stop { reason: "the namespace is gone, or the node stops".to_owned() }
}
