//! Proposals of one group, gathered into batches without waiting.
//!
//! Why it exists: the cost of consensus is per message, so what waits is handed over together. A
//! proposal that meets an idle group goes at once. One that comes while a batch is under way waits for
//! that batch, and so do its followers: the busier the machine, the larger the batches. Where a batch
//! takes long because the nodes are far apart, the next one follows it after a bound.
//!
//! Promises: a proposal that was refused here, or whose deadline passed while it waited here, was
//! surely not applied; after it was handed over its fate is known only by its answer. The queue is
//! bounded and overload is refused at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use openraft::errors::ClientWriteError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};

use super::error::ProposeError;
use super::metrics::ConsensusMetrics;
use super::quiet::gate::Gate;
use super::types::{Payload, Raft};
use crate::model::NodeId;
use crate::runtime::clock::Moment;
use crate::runtime::limits::{
    INGRESS_BATCH_ENTRIES_MAX, INGRESS_BATCHES_MAX, INGRESS_LINGER_MAX, INGRESS_PAUSE_ENTRIES_MIN,
    INGRESS_PAUSE_MAX, INGRESS_PAUSE_PART, INGRESS_QUEUE_MAX,
};
use crate::runtime::planted::{self, Bug};
use crate::runtime::{Env, limits};

/// A committed and applied command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposed {
    /// What the state machine answered.
    pub reply: Bytes,
    /// The entry's index in the group's log.
    pub index: u64,
    /// The term of the leader that committed it.
    pub term: u64,
}

const WAITING: u8 = 0;
const HANDED_OVER: u8 = 1;
const WITHDRAWN: u8 = 2;

struct Waiting {
    command: Bytes,
    stage: Arc<AtomicU8>,
    answer: Answer,
}

/// Where an answer goes. The room that the command takes is given back only with it: a proposer that
/// gave up does not make its command's bytes go away.
struct Answer {
    send: oneshot::Sender<Result<Proposed, ProposeError>>,
    _permit: OwnedSemaphorePermit,
}

/// The way into one group.
#[derive(Debug)]
pub struct Ingress {
    queue: mpsc::Sender<Waiting>,
    bytes: Arc<Semaphore>,
    paused: watch::Sender<bool>,
    closed: AtomicBool,
    metrics: ConsensusMetrics,
}

impl Ingress {
    /// Starts the group's batcher.
    pub fn start(raft: Raft, gate: Arc<Gate>, env: &Env, metrics: ConsensusMetrics) -> Self {
        let (queue, waiting) = mpsc::channel(INGRESS_QUEUE_MAX);
        let (paused, pause) = watch::channel(false);
        let batcher = Batcher {
            raft,
            gate,
            env: env.clone(),
            metrics: metrics.clone(),
            pace: Arc::default(),
        };
        env.tasks.spawn("ingress", batcher.run(waiting, pause));
        Self {
            queue,
            bytes: Arc::new(Semaphore::new(limits::INGRESS_BYTES_MAX)),
            paused,
            closed: AtomicBool::new(false),
            metrics,
        }
    }

    /// Proposes a command and waits for its answer until the deadline.
    ///
    /// # Errors
    ///
    /// See [`ProposeError`]; only `Unknown` may have been applied.
    pub async fn propose(
        &self,
        env: &Env,
        command: Bytes,
        deadline: Moment,
    ) -> Result<Proposed, ProposeError> {
        let result = self.enqueue(env, command, deadline).await;
        self.metrics.proposal(match &result {
            Ok(_) => "applied",
            Err(error) if error.is_unknown() => "unknown",
            Err(_) => "not_applied",
        });
        result
    }

    async fn enqueue(
        &self,
        env: &Env,
        command: Bytes,
        deadline: Moment,
    ) -> Result<Proposed, ProposeError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(ProposeError::NotHere);
        }
        let size = u32::try_from(command.len()).unwrap_or(u32::MAX).max(1);
        let Ok(permit) = self.bytes.clone().try_acquire_many_owned(size) else {
            return Err(ProposeError::Overloaded);
        };
        let (answer, answered) = oneshot::channel();
        let stage = Arc::new(AtomicU8::new(WAITING));
        let answer = Answer { send: answer, _permit: permit };
        let waiting = Waiting { command, stage: Arc::clone(&stage), answer };
        match self.queue.try_send(waiting) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => return Err(ProposeError::Overloaded),
            Err(mpsc::error::TrySendError::Closed(_)) => {
                return Err(ProposeError::Stopped { reason: "the group has stopped".to_owned() });
            }
        }
        let left = deadline.since(env.clock.now());
        match tokio::time::timeout(left, answered).await {
            Ok(Ok(result)) => result,
            Ok(Err(_dropped)) => Err(given_up(&stage, "the group stopped")),
            Err(_elapsed) => Err(given_up(&stage, "the deadline passed")),
        }
    }

    /// Holds back what is proposed from now on, or lets it go again. Used for the moment in which
    /// leadership is handed over.
    pub fn pause(&self, paused: bool) {
        self.paused.send_replace(paused);
    }

    /// Refuses everything from now on: this node no longer has the group.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// How many proposals wait.
    pub fn waiting(&self) -> usize {
        self.queue.max_capacity() - self.queue.capacity()
    }
}

fn given_up(stage: &AtomicU8, why: &str) -> ProposeError {
    let withdrawn = stage.compare_exchange(WAITING, WITHDRAWN, Ordering::AcqRel, Ordering::Acquire);
    match withdrawn {
        Ok(_) => ProposeError::TimedOut,
        Err(_) => ProposeError::Unknown { reason: why.to_owned() },
    }
}

struct Batcher {
    raft: Raft,
    gate: Arc<Gate>,
    env: Env,
    metrics: ConsensusMetrics,
    pace: Arc<Pace>,
}

/// How long a busy group waits after a batch before the next one goes.
#[derive(Debug, Default)]
struct Pace(AtomicU64);

impl Pace {
    /// What the last batch says: a small part of its time, if several shared it.
    fn note(&self, entries: usize, took: Duration) {
        let part = (took / INGRESS_PAUSE_PART).min(INGRESS_PAUSE_MAX);
        let pause = if entries < INGRESS_PAUSE_ENTRIES_MIN { Duration::ZERO } else { part };
        let micros = u64::try_from(pause.as_micros()).unwrap_or(u64::MAX);
        self.0.store(micros, Ordering::Relaxed);
    }

    fn pause(&self) -> Duration {
        Duration::from_micros(self.0.load(Ordering::Relaxed))
    }
}

impl Batcher {
    async fn run(self, mut waiting: mpsc::Receiver<Waiting>, mut paused: watch::Receiver<bool>) {
        let places = Arc::new(Semaphore::new(INGRESS_BATCHES_MAX));
        let mut batch = Vec::with_capacity(INGRESS_BATCH_ENTRIES_MAX);
        loop {
            if paused.wait_for(|paused| !paused).await.is_err() {
                return;
            }
            if waiting.recv_many(&mut batch, INGRESS_BATCH_ENTRIES_MAX).await == 0 {
                return;
            }
            let Some(permit) = place(&places, batch.len()).await else { return };
            // Those who were just answered ask again in a moment, and then all go together.
            let pause = self.pace.pause();
            if !pause.is_zero() && batch.len() < INGRESS_BATCH_ENTRIES_MAX {
                tokio::time::sleep(pause).await;
            }
            let room = INGRESS_BATCH_ENTRIES_MAX - batch.len();
            batch.extend(std::iter::from_fn(|| waiting.try_recv().ok()).take(room));
            // A pause that came while the queue was empty still holds for what has just arrived.
            if paused.wait_for(|paused| !paused).await.is_err() {
                return;
            }
            // A quiet leader proves first that it still leads; openraft would refuse the batch.
            self.gate.wake().await;
            self.hand_over(&mut batch, permit).await;
        }
    }

    async fn hand_over(&self, batch: &mut Vec<Waiting>, permit: OwnedSemaphorePermit) {
        let mut commands = Vec::with_capacity(batch.len());
        let mut answers = Vec::with_capacity(batch.len());
        for Waiting { command, stage, answer } in batch.drain(..) {
            let handed_over =
                stage.compare_exchange(WAITING, HANDED_OVER, Ordering::AcqRel, Ordering::Acquire);
            if handed_over.is_ok() {
                commands.push(Payload(command));
                answers.push(answer);
            }
        }
        if commands.is_empty() {
            return;
        }
        #[allow(clippy::cast_precision_loss, reason = "a batch has at most a few hundred entries")]
        self.metrics.batch_entries.observe(commands.len() as f64);
        let results = match self.raft.client_write_many(commands).await {
            Ok(results) => results,
            Err(fatal) => {
                tracing::error!(group = %self.gate.group(), error = %fatal, "the group has stopped");
                for answer in answers {
                    let reason = fatal.to_string();
                    drop(answer.send.send(Err(ProposeError::Unknown { reason })));
                }
                return;
            }
        };
        let (began, env, pace) = (self.env.clock.now(), self.env.clone(), Arc::clone(&self.pace));
        let entries = answers.len();
        self.env.tasks.spawn("ingress answers", async move {
            deliver(results, answers).await;
            pace.note(entries, env.clock.now().since(began));
            drop(permit);
        });
    }
}

/// A place for a batch of so many proposals: once no other batch is under way, or one of several when
/// those before take long or the batch is full.
async fn place(places: &Arc<Semaphore>, proposals: usize) -> Option<OwnedSemaphorePermit> {
    if proposals < INGRESS_BATCH_ENTRIES_MAX {
        let count = u32::try_from(INGRESS_BATCHES_MAX).expect("a few batches at a time");
        let alone = Arc::clone(places).acquire_many_owned(count);
        if let Ok(all) = tokio::time::timeout(INGRESS_LINGER_MAX, alone).await {
            return all.ok()?.split(1);
        }
    }
    Arc::clone(places).acquire_owned().await.ok()
}

type WriteResults = futures_util::stream::BoxStream<
    'static,
    Result<openraft::raft::WriteResult<super::types::TypeConfig>, super::types::Fatal>,
>;

async fn deliver(mut results: WriteResults, mut answers: Vec<Answer>) {
    if planted::active(Bug::SwappedAnswers) {
        answers.reverse();
    }
    for answer in answers {
        let result = match results.next().await {
            Some(Ok(Ok(written))) => Ok(Proposed {
                reply: written.response.0,
                index: written.log_id.index,
                term: written.log_id.leader_id.term,
            }),
            Some(Ok(Err(ClientWriteError::ForwardToLeader(to)))) => {
                Err(ProposeError::NotLeader { leader: to.leader_id.map(NodeId) })
            }
            // Appended here, then displaced by another leader: it may still have been committed.
            Some(Ok(Err(error))) => Err(ProposeError::Unknown { reason: error.to_string() }),
            Some(Err(fatal)) => Err(ProposeError::Unknown { reason: fatal.to_string() }),
            None => Err(ProposeError::Unknown { reason: "the group stopped".to_owned() }),
        };
        // The proposer may have given up at its deadline.
        drop(answer.send.send(result));
    }
}

#[cfg(test)]
mod tests;
