//! One key of an eventual namespace: read and written here.
//!
//! Promises: what is read is flushed here; a write that is answered is flushed here, and with `ack` on
//! as many nodes. Relies on the shard for what a write comes to.

use std::sync::Arc;

use bytes::Bytes;

use crate::convergence::{ReadError, WriteError, WriteRequest, Wrote};
use crate::model::eventual::text::Context as Seen;
use crate::model::eventual::{Ask, Dot, Refusal, Shown, Vector};
use crate::runtime::limits::KEY_CELLS_MAX;
use crate::service::ask::{Context, OnceKey};
use crate::service::error::{ErrorKind, ServiceError};

use super::Space;

/// What a key holds, and what this node had heard of when that was read.
#[derive(Clone, Debug)]
pub struct Held {
    /// What is there.
    pub shown: Shown,
    /// What is in it, exactly.
    pub vector: Arc<Vector>,
}

/// A write of one key.
#[derive(Clone, Debug)]
pub struct Order {
    /// What to do.
    pub ask: Ask,
    /// What the client had been shown.
    pub seen: Option<Seen>,
    /// Whether the answer shall show the key.
    pub show: bool,
    /// On how many nodes it shall be flushed before the answer; this one is the first.
    pub ack: usize,
}

impl From<Ask> for Order {
    fn from(ask: Ask) -> Self {
        Self { ask, seen: None, show: false, ack: 1 }
    }
}

/// A write that is flushed.
#[derive(Clone, Debug)]
pub struct SpaceWrote {
    /// What the shard says of it.
    pub wrote: Wrote,
    /// Whether the key had been missing here before.
    pub created: bool,
}

impl Space {
    /// Reads a key. Cancel-safe.
    ///
    /// # Errors
    ///
    /// Reads have no effect, so every error but `Internal` may be retried.
    pub async fn get(
        &self,
        key: &Bytes,
        need: Option<&Vector>,
        context: &Context,
    ) -> Result<Held, ServiceError> {
        self.admit(key)?;
        self.reach(need, context).await?;
        let held = self.shard.get(key).await.map_err(unread)?;
        let (shown, vector) = held.ok_or_else(too_many)?;
        Ok(Held { shown, vector })
    }

    /// Writes a key. A dropped future says nothing of the write: it may go on.
    ///
    /// # Errors
    ///
    /// Ask the error for its outcome.
    pub async fn write(
        &self,
        key: Bytes,
        order: Order,
        context: &Context,
    ) -> Result<SpaceWrote, ServiceError> {
        self.admit(&key)?;
        let seen = order.seen.map(|seen| self.own(seen)).transpose()?;
        self.check_ack(order.ack)?;
        self.reach(None, context).await?;
        // Only a PUT says whether it made the key.
        let created =
            matches!(order.ask, Ask::Put { .. }) && !self.shard.is_there(&key).map_err(unread)?;
        let request = WriteRequest {
            key,
            ask: order.ask,
            context: seen,
            once: context.once.as_ref().map(hashes),
            show: order.show,
            deadline: context.deadline,
        };
        let wrote = self.shard.write(request).await.map_err(refused)?;
        self.acknowledged(&wrote, order.ack, context).await?;
        Ok(SpaceWrote { wrote, created })
    }

    /// Deletes a key; `None` when it is missing here and nothing was written. With a once key it is
    /// written all the same: the first try may be what has made it so.
    ///
    /// # Errors
    ///
    /// As [`Space::write`].
    pub async fn delete(
        &self,
        key: Bytes,
        order: Order,
        context: &Context,
    ) -> Result<Option<SpaceWrote>, ServiceError> {
        if context.once.is_none() {
            self.admit(&key)?;
            self.reach(None, context).await?;
            if !self.shard.is_there(&key).map_err(unread)? {
                return Ok(None);
            }
        }
        self.write(key, order, context).await.map(Some)
    }

    /// The versions of a context, if it is one of this namespace.
    fn own(&self, seen: Seen) -> Result<Vec<Dot>, ServiceError> {
        if seen.namespace == self.id {
            return Ok(seen.dots);
        }
        let reason = "KV-Context is of another namespace".to_owned();
        Err(ErrorKind::Invalid { reason }.into())
    }

    fn check_ack(&self, ack: usize) -> Result<(), ServiceError> {
        let members = self.shard.members().len();
        if (1..=members).contains(&ack) {
            return Ok(());
        }
        let reason = format!("ack is between 1 and {members}, the nodes of the cluster");
        Err(ErrorKind::Invalid { reason }.into())
    }

    /// Waits until the write is flushed on as many nodes.
    async fn acknowledged(
        &self,
        wrote: &Wrote,
        ack: usize,
        context: &Context,
    ) -> Result<(), ServiceError> {
        if ack <= 1 || self.shard.acknowledged(wrote.dot, ack, context.deadline).await {
            return Ok(());
        }
        let kind = ErrorKind::Unacknowledged { dot: wrote.dot, nodes: ack };
        Err(ServiceError::from(kind).again(wrote.replayed))
    }
}

/// A once key as a shard remembers it.
fn hashes(once: &OnceKey) -> (u64, u64) {
    let OnceKey { key, fingerprint } = once;
    let (request, _) = fingerprint.split_at(8);
    let request = request.try_into().map(u64::from_le_bytes).unwrap_or_default();
    (xxhash_rust::xxh3::xxh3_64(key), request)
}

fn too_many() -> ServiceError {
    let reason = format!(
        "the key has more than {KEY_CELLS_MAX} elements or fields, more than one answer can hold: \
         spread them over several keys; they can still be added and removed by name"
    );
    ErrorKind::ModeUnsupported { reason }.into()
}

#[allow(clippy::needless_pass_by_value, reason = "it is what map_err gives")]
pub(super) fn unread(error: ReadError) -> ServiceError {
    ErrorKind::Internal { reason: error.to_string() }.into()
}

pub(super) fn refused(error: WriteError) -> ServiceError {
    let reason = error.to_string();
    let kind = match error {
        WriteError::Refused(refusal) => of_refusal(&refusal),
        WriteError::OnceMismatch => ErrorKind::OnceMismatch,
        WriteError::TooLarge { max, .. } => ErrorKind::TooLarge { limit: max },
        WriteError::Reader => ErrorKind::Denied { code: "read_replica", reason },
        WriteError::Switching => ErrorKind::Switching,
        WriteError::Restore { .. } => ErrorKind::Denied { code: "nothing_to_restore", reason },
        WriteError::Overloaded => ErrorKind::Overloaded { reason },
        WriteError::ClockAhead { .. } | WriteError::Stopped(_) => ErrorKind::Unavailable { reason },
        WriteError::TimeUp => ErrorKind::Undetermined { reason },
    };
    kind.into()
}

fn of_refusal(refusal: &Refusal) -> ErrorKind {
    let reason = refusal.to_string();
    match refusal {
        Refusal::Unsupported { .. } => ErrorKind::ModeUnsupported { reason },
        Refusal::TooLarge { limit, .. } => ErrorKind::TooLarge { limit: *limit },
        Refusal::TooMany { .. } | Refusal::Malformed { .. } => {
            ErrorKind::Patch { conflict: false, reason }
        }
        Refusal::TooManySiblings { .. } => ErrorKind::Denied { code: "too_many_siblings", reason },
        Refusal::Overflow | Refusal::Holds { .. } => ErrorKind::Patch { conflict: true, reason },
    }
}
