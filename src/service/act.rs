//! Doing work with this node's own replica: the last step, whether the request came from a client
//! or from another node.
//!
//! Promises: a proposal runs to its end even when nobody waits for it any more (a client that left
//! must not leave a half-known write behind); a read is refused when the group does not own the
//! slot, so that an old route can never read the wrong group. Never passes anything on.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use tracing::Instrument;

use crate::consensus::{ProposeError, ReadError};
use crate::model::{GroupId, OWNED_KEY, Ownership, Slot};
use crate::runtime::limits::PROPOSAL_GRACE;
use crate::runtime::{Env, Moment};

use super::forward::{Decline, Done, Work};
use super::wing::Wing;

/// Does the work here. Cancel-safe: a dropped proposal goes on by itself.
pub(super) async fn act(
    wing: &Arc<dyn Wing>,
    env: &Env,
    group: GroupId,
    work: Work,
    deadline: Moment,
) -> Result<Done, Decline> {
    match work {
        Work::Propose(command) => propose(wing, env, group, command, deadline).await,
        Work::Read(slot, key) => {
            wing.barrier(group, deadline).await.map_err(read_decline)?;
            read(wing.as_ref(), group, slot, &key, None)
        }
        Work::ReadStale(slot, key) => {
            // Asked before the read: what is read is then at least as new as the bound says.
            let asked = env.clock.now();
            let age = wing.staleness(group);
            let done = read(wing.as_ref(), group, slot, &key, age)?;
            Ok(aged(done, env.clock.now().since(asked)))
        }
    }
}

async fn propose(
    wing: &Arc<dyn Wing>,
    env: &Env,
    group: GroupId,
    command: Bytes,
    deadline: Moment,
) -> Result<Done, Decline> {
    let (answer, answered) = oneshot::channel();
    let proposer = Arc::clone(wing);
    let task = async move {
        let result = proposer.propose(group, command, deadline).await;
        // Nobody listens when the client has left; the write is done all the same.
        drop(answer.send(result));
    };
    drop(env.tasks.spawn_to_end("proposal", task.instrument(tracing::Span::current())));
    let patience = deadline.since(env.clock.now()) + PROPOSAL_GRACE;
    match tokio::time::timeout(patience, answered).await {
        Ok(Ok(Ok((reply, index)))) => Ok(Done::Proposed { index, reply }),
        Ok(Ok(Err(error))) => Err(propose_decline(error)),
        Ok(Err(_)) => Err(Decline::Unknown { reason: "the proposal's task ended".into() }),
        Err(_) => Err(Decline::Unknown { reason: "no answer before the deadline".into() }),
    }
}

fn read(
    wing: &dyn Wing,
    group: GroupId,
    slot: Slot,
    key: &[u8],
    age: Option<Duration>,
) -> Result<Done, Decline> {
    let row = wing.get(group, key).map_err(read_decline)?;
    // Looked up after the row: a group that has lost the slot since then has lost the row with it.
    let owned = wing.get(group, OWNED_KEY).map_err(read_decline)?;
    let ownership = owned
        .value
        .map(|bytes| Ownership::decode(&bytes))
        .transpose()
        .map_err(|error| Decline::Broken { reason: error.to_string() })?
        .unwrap_or_default();
    if !ownership.owns(slot) {
        return Err(Decline::NotOwner { epoch: ownership.epoch });
    }
    Ok(Done::Read { index: row.index, row: row.value, age })
}

fn aged(done: Done, spent: Duration) -> Done {
    match done {
        Done::Read { index, row, age } => {
            Done::Read { index, row, age: age.map(|age| age.saturating_add(spent)) }
        }
        done @ Done::Proposed { .. } => done,
    }
}

fn propose_decline(error: ProposeError) -> Decline {
    match error {
        ProposeError::NotHere => Decline::NotHere,
        ProposeError::NotLeader { leader } => Decline::NotLeader { leader },
        ProposeError::Overloaded => Decline::Overloaded,
        ProposeError::TimedOut => Decline::TimedOut,
        ProposeError::Unknown { reason } => Decline::Unknown { reason },
        ProposeError::Stopped { reason } => Decline::Stopped { reason },
    }
}

fn read_decline(error: ReadError) -> Decline {
    match error {
        ReadError::NotHere => Decline::NotHere,
        ReadError::NotLeader { leader } => Decline::NotLeader { leader },
        ReadError::Overloaded => Decline::Overloaded,
        ReadError::TimedOut => Decline::TimedOut,
        ReadError::Stopped { reason } => Decline::Stopped { reason },
    }
}
