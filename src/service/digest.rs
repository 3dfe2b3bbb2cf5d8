//! What this node's replicas hold, as one number for each group.
//!
//! Why it exists: replicas that have applied the same entries must hold the same rows. Whoever doubts
//! it (a test after its faults, an operator after a repair) asks every node and compares.
//!
//! Promises: each digest is of exactly the index beside it; a node works on one such question at a
//! time, also when whoever asked has left, and no longer than the deadline says. Relies on `Wing`.

use std::sync::Arc;

use tokio::sync::{Semaphore, oneshot};

use crate::consensus::ReadError;
use crate::model::GroupId;
use crate::runtime::Moment;
use crate::storage::state::Digest;

use super::ask::Context;
use super::error::{ErrorKind, ServiceError};
use super::{Hall, Service, internal};

/// The place of the one who asks.
#[derive(Debug)]
pub(super) struct Digesting(Arc<Semaphore>);

impl Default for Digesting {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

type Digests = Vec<(GroupId, Digest)>;

impl Service {
    /// The digests of all replicas of this node, in the order of their groups.
    ///
    /// # Errors
    ///
    /// `Overloaded` while another one asks, `Unavailable` when the deadline comes first.
    pub async fn digests(&self, context: &Context) -> Result<Digests, ServiceError> {
        let hall = Arc::clone(&self.hall);
        let Ok(place) = Arc::clone(&hall.digesting.0).try_acquire_owned() else {
            let reason = "this node makes its digests already".to_owned();
            return Err(ErrorKind::Overloaded { reason }.into());
        };
        let (send, answer) = oneshot::channel();
        let until = context.deadline;
        let tasks = hall.env.tasks.clone();
        // A task of its own: a client that leaves does not make room for a second one.
        hall.env.tasks.clone().spawn("digests", async move {
            let made = tasks.blocking(move || {
                let made = hall.all_digests(until);
                drop(place);
                made
            });
            if send.send(made.await).is_err() {
                tracing::debug!("whoever asked for digests has left");
            }
        });
        let stopping = |_closed| {
            ServiceError::from(ErrorKind::Unavailable { reason: "the node is stopping".into() })
        };
        answer.await.map_err(stopping)?
    }
}

impl Hall {
    fn all_digests(&self, until: Moment) -> Result<Digests, ServiceError> {
        let mut digests = Vec::new();
        for group in self.wing.statuses().into_iter().map(|status| status.group) {
            match self.wing.digest(group, until) {
                Ok(Some(digest)) => digests.push((group, digest)),
                Ok(None) => {
                    let reason =
                        format!("the digest of group {group} takes longer than is allowed");
                    return Err(ErrorKind::Unavailable { reason }.into());
                }
                // It has left this node since the list was made.
                Err(ReadError::NotHere) => {}
                Err(error) => return Err(internal(group, &error.to_string())),
            }
        }
        Ok(digests)
    }
}
