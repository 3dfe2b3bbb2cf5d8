//! Linearizable reads that write nothing.
//!
//! A leader can be replaced without noticing, so its own memory proves nothing about now. Before
//! answering we ask a quorum whether we still lead, note how far the log was committed at that
//! moment (the barrier), and wait until the state machine has applied that far. Whatever was
//! acknowledged before the read began is then part of the answer (Raft thesis §6.4, ReadIndex).
//!
//! Promises: a read that passes sees every write acknowledged before it asked.
//! Does not promise: that the answer is still current when it arrives.
//! Costs: one quorum round trip, shared by all reads that wait together. No leases: openraft's are
//! unsafe after a follower restarts (docs/decisions).

use std::sync::Arc;
use std::time::Duration;

use openraft::Instant as _;
use openraft::ReadPolicy;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{LinearizableReadError, RaftError};
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::error::ReadError;
use super::metrics::ConsensusMetrics;
use super::quiet::gate::Gate;
use super::types::Raft;
use crate::model::{GroupId, NodeId};
use crate::runtime::Env;
use crate::runtime::clock::Moment;
use crate::runtime::limits::{BARRIER_QUEUE_MAX, BARRIER_ROUNDS_MAX, BARRIER_WAIT_MAX};
use crate::runtime::planted::{self, Bug};

type Answer = oneshot::Sender<Result<u64, ReadError>>;

/// The read barrier of one group.
#[derive(Debug)]
pub struct Barrier {
    queue: mpsc::Sender<Answer>,
}

impl Barrier {
    /// Starts the group's barrier.
    pub fn start(raft: Raft, gate: Arc<Gate>, env: &Env, metrics: ConsensusMetrics) -> Self {
        let (queue, waiting) = mpsc::channel(BARRIER_QUEUE_MAX);
        let rounds = Rounds { raft, gate, env: env.clone(), metrics };
        env.tasks.spawn("barrier", rounds.run(waiting));
        Self { queue }
    }

    /// Waits until this node has proved that it leads and has applied all that was committed when
    /// it proved it. Returns the index that a read now reflects at least.
    ///
    /// # Errors
    ///
    /// See [`ReadError`].
    pub async fn pass(&self, env: &Env, deadline: Moment) -> Result<u64, ReadError> {
        let (answer, answered) = oneshot::channel();
        match self.queue.try_send(answer) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => return Err(ReadError::Overloaded),
            Err(mpsc::error::TrySendError::Closed(_)) => return Err(stopped()),
        }
        let left = deadline.since(env.clock.now());
        match tokio::time::timeout(left, answered).await {
            Ok(Ok(result)) => result,
            Ok(Err(_dropped)) => Err(stopped()),
            Err(_elapsed) => Err(ReadError::TimedOut),
        }
    }
}

fn stopped() -> ReadError {
    ReadError::Stopped { reason: "the group has stopped".to_owned() }
}

struct Rounds {
    raft: Raft,
    gate: Arc<Gate>,
    env: Env,
    metrics: ConsensusMetrics,
}

impl Rounds {
    async fn run(self, mut waiting: mpsc::Receiver<Answer>) {
        let rounds = Arc::new(Semaphore::new(BARRIER_ROUNDS_MAX));
        loop {
            let Some(first) = waiting.recv().await else { return };
            let Ok(permit) = Arc::clone(&rounds).acquire_owned().await else { return };
            // Only now take the others: what arrived while the rounds were busy shares this one.
            // All of them asked before it starts, so its barrier covers each.
            let mut answers = vec![first];
            while let Ok(answer) = waiting.try_recv() {
                answers.push(answer);
            }
            self.metrics.barrier_rounds.inc();
            self.metrics.barrier_reads.inc_by(answers.len() as u64);
            let (gate, raft) = (Arc::clone(&self.gate), self.raft.clone());
            self.env.tasks.spawn("barrier round", async move {
                // Both ask the quorum, and share its answer.
                let (result, ()) = tokio::join!(round(gate.group(), &raft), gate.wake());
                for answer in answers {
                    // The reader may have given up at its deadline.
                    drop(answer.send(result.clone()));
                }
                drop(permit);
            });
        }
    }
}

/// Whether a planted bug stands in this file: then every read must come by here.
pub(super) fn is_planted() -> bool {
    [Bug::ReadIndexWithoutQuorum, Bug::LeaseReadUngated, Bug::NoStepDown]
        .into_iter()
        .any(planted::active)
}

async fn round(group: GroupId, raft: &Raft) -> Result<u64, ReadError> {
    if planted::active(Bug::ReadIndexWithoutQuorum)
        || planted::active(Bug::LeaseReadUngated) && confirmed_lately(raft)
    {
        return unconfirmed(raft);
    }
    let confirm = raft.get_read_linearizer(ReadPolicy::ReadIndex);
    let patience = BARRIER_WAIT_MAX / if planted::active(Bug::NoStepDown) { 10 } else { 1 };
    let confirmed = match tokio::time::timeout(patience, confirm).await {
        Ok(confirmed) => confirmed,
        Err(_elapsed) if planted::active(Bug::NoStepDown) => return unconfirmed(raft),
        Err(_elapsed) => return Err(ReadError::TimedOut),
    };
    if planted::active(Bug::NoStepDown) && confirmed.is_err() {
        return unconfirmed(raft);
    }
    let linearizer = confirmed.map_err(|error| match error {
        RaftError::APIError(LinearizableReadError::ForwardToLeader(to)) => {
            ReadError::NotLeader { leader: to.leader_id.map(NodeId) }
        }
        RaftError::APIError(LinearizableReadError::QuorumNotEnough(_)) => ReadError::TimedOut,
        RaftError::Fatal(fatal) => {
            tracing::error!(%group, error = %fatal, "the group has stopped");
            ReadError::Stopped { reason: fatal.to_string() }
        }
    })?;
    match linearizer.try_await_ready(raft, Some(BARRIER_WAIT_MAX)).await {
        Ok(Ok(ready)) => Ok(ready.read_log_id().index()),
        Ok(Err(_behind)) => Err(ReadError::TimedOut),
        Err(fatal) => Err(ReadError::Stopped { reason: fatal.to_string() }),
    }
}

/// What this node has applied, if it takes itself for the leader.
fn unconfirmed(raft: &Raft) -> Result<u64, ReadError> {
    if raft.as_leader().is_err() {
        return Err(ReadError::NotLeader { leader: None });
    }
    let applied = raft.data_metrics().borrow_watched().last_applied.map(|log_id| log_id.index);
    applied.ok_or(ReadError::TimedOut)
}

/// Whether a quorum confirmed the leader here within the last seconds.
fn confirmed_lately(raft: &Raft) -> bool {
    let acked = raft.as_leader().ok().and_then(|leader| leader.last_quorum_acked());
    acked.is_some_and(|acked| acked.elapsed() < BARRIER_WAIT_MAX * 10)
}

const _: () = assert!(BARRIER_WAIT_MAX.as_millis() > Duration::from_millis(100).as_millis());
