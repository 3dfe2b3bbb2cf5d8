//! Writing one key: conditions, patches, attached leases, once keys.
//!
//! Promises: what cannot be done is refused before anything is proposed; a condition's tags reach the
//! group as numbers of its own order; a write with a once key is handed over again after a lost
//! answer, within the deadline, and has one effect. Relies on the group for the exact checks.

use bytes::Bytes;

use crate::model::{
    Action, Attach, GroupId, KeyOp, KeyReply, NodeId, Patch, Reply, Space, WriteOp,
};
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
            let action = Action::Key(self.hall.space_of(entry), op);
            self.hall.proposal(map, target, entry.id, action, context.once.as_ref())
        };
        let answer = pursue(&self.hall, &context, &planner).await?.answer()?;
        let Answer { group, by, index, replayed, .. } = answer;
        let Reply::Key(reply) = answer.reply else { return Err(answer.unexpected()) };
        let reply = settled(namespace, group, reply).map_err(|error| {
            self.hall.with_figures(error).about(group, Some(by)).again(replayed)
        })?;
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
        self.lives_elsewhere(map, *id, (entry.id, slot), context.once.as_ref(), context).await
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
        let entry = map.writable(namespace)?;
        check_key(key, entry.limits)?;
        check_op(&request.op, entry.limits)?;
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

    /// A namespace in the words of the groups. Of one that is known to be full no group may take
    /// more: the group decides, which knows what a write replaces and what was done before.
    pub(super) fn space_of(&self, entry: &NamespaceEntry) -> Space {
        let space = space_of(entry);
        let used = self.usage.of(entry.id).map_or(0, |(used, _keys)| used);
        match entry.quota {
            Some(limit) if used >= limit => Space { quota: Some(0), ..space },
            _ => space,
        }
    }

    /// A group's refusal for a full namespace, with the figures of all groups.
    pub(super) fn with_figures(&self, error: ServiceError) -> ServiceError {
        let ErrorKind::Quota { name, used, .. } = &error.kind else { return error };
        let map = self.map();
        let Some(entry) = map.as_ref().and_then(|map| map.catalog.namespace(name)) else {
            return error;
        };
        let Some(limit) = entry.quota else { return error };
        let used = self.usage.of(entry.id).map_or(*used, |(all, _keys)| all.max(*used));
        let kind = ErrorKind::Quota { name: name.clone(), used, limit };
        ServiceError { kind, ..error }
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
