//! Writing one key: conditions, patches, attached leases, once keys.
//!
//! Promises: what cannot be done is refused before anything is proposed; a condition's tags reach the
//! group as numbers of its own order; a write with a once key is handed over again after a lost
//! answer, within the deadline, and has one effect. Relies on the group for the exact checks.

use bytes::Bytes;

use crate::model::{Action, Attach, GroupId, KeyOp, KeyReply, NodeId, Patch, Reply, WriteOp};
use crate::placement::{NamespaceEntry, NamespaceLimits, slot_of};

use super::answer::Wrote;
use super::ask::{Context, EntityTag, KeyRequest, space_of};
use super::denied::denied;
use super::error::{ErrorKind, ServiceError};
use super::forward::Done;
use super::pursue::{Reached, pursue};
use super::route::{Map, Target};
use super::{Hall, Service, check_key, internal};

/// What a proposal came to.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) group: GroupId,
    pub(super) by: NodeId,
    pub(super) index: u64,
    pub(super) reply: Reply,
    pub(super) replayed: bool,
}

impl Reached {
    /// The reply of a proposal; of the first time, when the once key was known.
    pub(super) fn answer(self) -> Result<Answer, ServiceError> {
        let Self { group, by, done } = self;
        let Done::Proposed { index, reply } = done else {
            return Err(internal(group, "a write was answered as a read"));
        };
        let reply = Reply::decode(&reply).map_err(|error| internal(group, &error.to_string()))?;
        match reply {
            Reply::OnceMismatch => {
                Err(ServiceError::from(ErrorKind::OnceMismatch).about(group, Some(by)))
            }
            Reply::Replayed { index, reply } => {
                Ok(Answer { group, by, index, reply: *reply, replayed: true })
            }
            reply => Ok(Answer { group, by, index, reply, replayed: false }),
        }
    }
}

impl Answer {
    pub(super) fn unexpected(&self) -> ServiceError {
        internal(self.group, &format!("a request was answered by {:?}", self.reply))
    }
}

impl Service {
    /// Writes a key. A dropped future says nothing of the write: it may go on.
    ///
    /// # Errors
    ///
    /// Ask the error for its outcome.
    pub async fn write(
        &self,
        namespace: &str,
        key: Bytes,
        request: KeyRequest,
        context: Context,
    ) -> Result<Wrote, ServiceError> {
        let map = self.hall.map_with(namespace, &context).await?;
        self.borrowed(&map, namespace, &key, &request.op, &context).await?;
        let planner = |map: &Map| {
            let (entry, op) = self.hall.key_op(map, namespace, &key, &request)?;
            let target = Target::Slot(op.slot);
            let action = Action::Key(space_of(entry), op);
            self.hall.proposal(map, target, entry.id, action, context.once.as_ref())
        };
        let answer = pursue(&self.hall, &context, &planner).await?.answer()?;
        let Answer { group, by, index, replayed, .. } = answer;
        let Reply::Key(reply) = answer.reply else { return Err(answer.unexpected()) };
        let reply = settled(namespace, group, reply).map_err(|e| e.about(group, Some(by)))?;
        Ok(Wrote { reply, group, index, leader: Some(by), replayed })
    }

    /// Refuses to attach a lease of another group that does not live. One of the key's own group is
    /// looked at by the group itself, in the same entry.
    pub(super) async fn borrowed(
        &self,
        map: &Map,
        namespace: &str,
        key: &Bytes,
        op: &WriteOp,
        context: &Context,
    ) -> Result<(), ServiceError> {
        let WriteOp::Put { attach: Attach::Lease(id), .. } = op else { return Ok(()) };
        let entry = map.namespace(namespace)?;
        let slot = slot_of(entry.id, entry.layout, key);
        self.lives_elsewhere(map, *id, slot, context).await
    }
}

impl Hall {
    /// A write of a key in the words of its group.
    pub(super) fn key_op<'a>(
        &self,
        map: &'a Map,
        namespace: &str,
        key: &Bytes,
        request: &KeyRequest,
    ) -> Result<(&'a NamespaceEntry, KeyOp), ServiceError> {
        let entry = map.namespace(namespace)?;
        check_key(key, entry.limits)?;
        check_op(&request.op, entry.limits)?;
        self.check_quota(namespace, entry, &request.op)?;
        let slot = slot_of(entry.id, entry.layout, key);
        let group = map.group(slot).ok_or_else(super::no_catalog)?;
        let op = KeyOp {
            slot,
            key: key.clone(),
            require: request.require.of_group(group),
            op: request.op.clone(),
            give: request.give,
        };
        Ok((entry, op))
    }

    /// Refuses growth of a namespace that is known to be full. Deletes always pass; what is not
    /// known yet is left to the groups, which know their own part exactly.
    fn check_quota(
        &self,
        namespace: &str,
        entry: &NamespaceEntry,
        op: &WriteOp,
    ) -> Result<(), ServiceError> {
        let grows = !matches!(op, WriteOp::Delete);
        if let Some(limit) = entry.quota
            && grows
            && let Some((used, _keys)) = self.usage.of(entry.id)
            && used >= limit
        {
            return Err(ErrorKind::Quota { name: namespace.to_owned(), used, limit }.into());
        }
        Ok(())
    }
}

/// A reply that did something; conditions that did not hold and refusals are errors.
pub(super) fn settled(
    namespace: &str,
    group: GroupId,
    reply: KeyReply,
) -> Result<KeyReply, ServiceError> {
    match reply {
        KeyReply::Unmet { row_at, revision } => {
            let tag = row_at.map(|at| EntityTag { group, at });
            Err(ErrorKind::Unmet { tag, revision }.into())
        }
        KeyReply::Denied(denial) => Err(denied(namespace, group, denial).into()),
        done => Ok(done),
    }
}

/// Bytes that a write brings along.
pub(super) fn op_bytes(op: &WriteOp) -> usize {
    match op {
        WriteOp::Put { value, .. } => value.len(),
        WriteOp::Delete => 0,
        WriteOp::Patch { patch } => match patch {
            Patch::Merge(bytes) | Patch::Json(bytes) | Patch::Append(bytes) => bytes.len(),
            Patch::Number(_) => 0,
        },
    }
}

fn check_op(op: &WriteOp, limits: NamespaceLimits) -> Result<(), ServiceError> {
    let limit = limits.value_bytes_max;
    if u64::try_from(op_bytes(op)).unwrap_or(u64::MAX) > limit {
        return Err(ErrorKind::TooLarge { limit }.into());
    }
    Ok(())
}
