//! What the hall answers when it cannot do what was asked, and what the client may conclude.
//!
//! Promises: every error says its outcome. `NotApplied` is said only where nothing was handed to a
//! group, or where the group surely refused it; everything else is `Unknown`, but for a write that
//! is done and lacks what was asked for beside it.

use std::time::Duration;

use bytes::Bytes;

use crate::model::eventual::Dot;
use crate::model::{GroupId, LeaseId, LockPlace, NodeId};
use crate::placement::RefusalCode;

use super::ask::EntityTag;

/// How a client must treat a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It took effect.
    Applied,
    /// It surely took no effect: repeating it is safe.
    NotApplied,
    /// It may or may not have taken effect, or may still do so.
    Unknown,
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ErrorKind {
    /// The request makes no sense.
    #[error("{reason}")]
    Invalid {
        /// What to change.
        reason: String,
    },
    /// There is no such namespace.
    #[error("there is no namespace {name:?}")]
    NamespaceNotFound {
        /// The name that was asked for.
        name: String,
    },
    /// The change was made, and then another one deleted the namespace.
    #[error("namespace {name:?} was deleted while this was done")]
    NamespaceDeleted {
        /// The namespace.
        name: String,
    },
    /// The namespace is on its way to the other side: nothing was done.
    #[error("the namespace is being switched to the other side; ask again when that is done")]
    Switching,
    /// No switch of the namespace is under way, or none ever was.
    #[error("no switch of namespace {name:?} is under way")]
    NoSwitch {
        /// The namespace.
        name: String,
    },
    /// The namespace's mode, or its type, cannot promise this.
    #[error("{reason}")]
    ModeUnsupported {
        /// What it cannot promise, and what to do.
        reason: String,
    },
    /// The key is longer than its namespace allows.
    #[error("the key has {bytes} bytes, the limit is {limit}")]
    KeyTooLong {
        /// Length of the key.
        bytes: u64,
        /// The longest that is taken.
        limit: u64,
    },
    /// The value is longer than its namespace allows.
    #[error("the value is longer than the limit of {limit} bytes")]
    TooLarge {
        /// The longest that is taken.
        limit: u64,
    },
    /// There is a namespace of this name with other settings.
    #[error("there is a namespace {name:?} with other settings")]
    NamespaceExists {
        /// The name.
        name: String,
    },
    /// The namespace has reached its quota: deletes pass, growth does not.
    #[error("namespace {name:?} uses {used} bytes of its quota of {limit}: delete something first")]
    Quota {
        /// The namespace.
        name: String,
        /// Bytes that it uses, as far as this is known here.
        used: u64,
        /// Bytes that it may use.
        limit: u64,
    },
    /// The condition did not hold: nothing was changed.
    #[error("the condition does not hold: {}", found(*tag))]
    Unmet {
        /// The newest write of the key; `None` when there is no such key.
        tag: Option<EntityTag>,
        /// Its revision.
        revision: Option<u64>,
    },
    /// The keys of a txn belong to several groups.
    #[error(
        "the keys belong to {} groups: give them a common {{tag}}, or use an ordered namespace",
        groups.len()
    )]
    CrossGroup {
        /// The groups.
        groups: Vec<GroupId>,
    },
    /// A txn writes a key twice.
    #[error("the key {:?} is written twice", String::from_utf8_lossy(key))]
    DuplicateKey {
        /// The key.
        key: Bytes,
    },
    /// What the cursor points into is not kept any more.
    #[error("{reason}")]
    CursorGone {
        /// Of which kind it is.
        gone: Gone,
        /// What was lost.
        reason: String,
        /// Where to go on from, when there is such a place.
        restart: Option<String>,
    },
    /// The cursor is none, or not one for this request.
    #[error("{reason}")]
    InvalidCursor {
        /// What is wrong with it.
        reason: String,
    },
    /// No replica has applied what the session asks for, in time.
    #[error("no replica has reached index {asked} of its group, which the session asks for")]
    SessionBehind {
        /// The index that the session asks for.
        asked: u64,
    },
    /// This node has not heard of all writes that the session, or `min_vector`, asks for.
    #[error("this node has not heard of {missing} writes yet that the request has seen")]
    VectorBehind {
        /// How many it lacks.
        missing: u64,
    },
    /// The write is flushed here, and not on as many nodes as were asked for.
    #[error("the write {dot} is flushed here, but {nodes} nodes have not confirmed it in time")]
    Unacknowledged {
        /// The write.
        dot: Dot,
        /// How many were asked for.
        nodes: usize,
    },
    /// No replica can keep the bound now.
    #[error("no replica can promise an age of at most {} ms now", bound.as_millis())]
    TooStale {
        /// The bound.
        bound: Duration,
    },
    /// The once key was used for another request.
    #[error("this Idempotency-Key was used for another request")]
    OnceMismatch,
    /// There is no such lease, or no more.
    #[error("there is no lease {id}, or no more")]
    NoLease {
        /// The lease.
        id: LeaseId,
    },
    /// Another one holds the lock.
    #[error("the lock is held by {}", holder.as_ref().map_or("another one", |h| h.owner.as_str()))]
    LockBusy {
        /// Who holds it, when that is known.
        holder: Option<LockPlace>,
    },
    /// The lock is not held by whoever wants to release it.
    #[error("the lock is not held, nor waited for, with this token or lease")]
    LockNotHeld,
    /// The patch and the value do not fit.
    #[error("{reason}")]
    Patch {
        /// Whether the patch makes sense by itself, and only this value does not take it.
        conflict: bool,
        /// What is wrong.
        reason: String,
    },
    /// The namespace keeps no history.
    #[error("namespace {name:?} keeps no history: it cannot be watched")]
    HistoryOff {
        /// The namespace.
        name: String,
    },
    /// This node serves as many watches as it may.
    #[error("this node serves {limit} watches already")]
    TooManyWatches {
        /// How many it serves.
        limit: usize,
    },
    /// The group refused the command for another reason.
    #[error("{reason}")]
    Denied {
        /// Why, for programs.
        code: &'static str,
        /// Why, for people.
        reason: String,
    },
    /// The cluster refused a change of the catalog.
    #[error("{reason}")]
    Refused {
        /// Why, for programs.
        code: RefusalCode,
        /// Why, for people.
        reason: String,
    },
    /// No leader, no quorum, starting or stopping, and the time ran out before anything was
    /// proposed.
    #[error("{reason}")]
    Unavailable {
        /// What was missing.
        reason: String,
    },
    /// Too much waits already.
    #[error("{reason}")]
    Overloaded {
        /// Which queue was full.
        reason: String,
    },
    /// Handed over, and no answer came.
    #[error("{reason}")]
    Undetermined {
        /// What happened.
        reason: String,
    },
    /// Something is broken here.
    #[error("{reason}")]
    Internal {
        /// For the log; clients see the request id only.
        reason: String,
    },
}

/// What a cursor can have lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// A scan's view.
    View,
    /// Changes that a watch has not seen.
    History,
}

fn found(tag: Option<EntityTag>) -> String {
    match tag {
        Some(EntityTag { group, at }) => format!("the newest write is \"{group}-{at}\""),
        None => "the key does not exist".into(),
    }
}

/// An error, and what is known of the group that it concerns.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind}")]
pub struct ServiceError {
    /// What went wrong.
    pub kind: ErrorKind,
    /// The group that the request belongs to, once that was known.
    pub group: Option<GroupId>,
    /// Who leads it, as far as this node knows.
    pub leader: Option<NodeId>,
    /// Which operation of a txn it is about, from 0, over both lists as the branch was taken.
    pub op: Option<usize>,
    /// Whether it is the first answer to a once key, and nothing was tried again.
    pub replayed: bool,
}

impl From<ErrorKind> for ServiceError {
    fn from(kind: ErrorKind) -> Self {
        Self { kind, group: None, leader: None, op: None, replayed: false }
    }
}

impl ServiceError {
    /// What the client may conclude.
    pub fn outcome(&self) -> Outcome {
        match &self.kind {
            ErrorKind::Unacknowledged { .. } => Outcome::Applied,
            ErrorKind::Undetermined { .. }
            | ErrorKind::Internal { .. }
            | ErrorKind::NamespaceDeleted { .. } => Outcome::Unknown,
            ErrorKind::Invalid { .. }
            | ErrorKind::NamespaceNotFound { .. }
            | ErrorKind::ModeUnsupported { .. }
            | ErrorKind::Switching
            | ErrorKind::NoSwitch { .. }
            | ErrorKind::KeyTooLong { .. }
            | ErrorKind::TooLarge { .. }
            | ErrorKind::Refused { .. }
            | ErrorKind::Unavailable { .. }
            | ErrorKind::Overloaded { .. }
            | ErrorKind::NamespaceExists { .. }
            | ErrorKind::Quota { .. }
            | ErrorKind::Unmet { .. }
            | ErrorKind::CrossGroup { .. }
            | ErrorKind::DuplicateKey { .. }
            | ErrorKind::CursorGone { .. }
            | ErrorKind::InvalidCursor { .. }
            | ErrorKind::SessionBehind { .. }
            | ErrorKind::VectorBehind { .. }
            | ErrorKind::TooStale { .. }
            | ErrorKind::NoLease { .. }
            | ErrorKind::LockBusy { .. }
            | ErrorKind::Patch { .. }
            | ErrorKind::HistoryOff { .. }
            | ErrorKind::TooManyWatches { .. }
            | ErrorKind::Denied { .. }
            | ErrorKind::OnceMismatch
            | ErrorKind::LockNotHeld => Outcome::NotApplied,
        }
    }

    /// Whether it says that a namespace does not exist: so far as the catalog knows by which that was
    /// looked up.
    pub(super) const fn is_unknown_namespace(&self) -> bool {
        matches!(self.kind, ErrorKind::NamespaceNotFound { .. })
    }

    /// The machine-readable name of the error; contract.
    pub fn code(&self) -> &'static str {
        match &self.kind {
            ErrorKind::Invalid { .. } => "invalid",
            ErrorKind::NamespaceNotFound { .. } => "namespace_not_found",
            ErrorKind::NamespaceDeleted { .. } => "namespace_deleted",
            ErrorKind::ModeUnsupported { .. } => "mode_unsupported",
            ErrorKind::Switching => "switching",
            ErrorKind::NoSwitch { .. } => "no_switch",
            ErrorKind::KeyTooLong { .. } => "key_too_long",
            ErrorKind::TooLarge { .. } => "too_large",
            ErrorKind::Refused { .. } => "refused",
            ErrorKind::NamespaceExists { .. } => "namespace_exists",
            ErrorKind::Quota { .. } => "quota_exceeded",
            ErrorKind::Unmet { .. } => "precondition_failed",
            ErrorKind::CrossGroup { .. } => "cross_group",
            ErrorKind::DuplicateKey { .. } => "duplicate_key",
            ErrorKind::CursorGone { gone: Gone::View, .. } => "view_gone",
            ErrorKind::CursorGone { gone: Gone::History, .. } => "history_trimmed",
            ErrorKind::InvalidCursor { .. } => "invalid_cursor",
            ErrorKind::SessionBehind { .. } | ErrorKind::VectorBehind { .. } => "session_behind",
            ErrorKind::Unacknowledged { .. } => "unacknowledged",
            ErrorKind::TooStale { .. } => "too_stale",
            ErrorKind::OnceMismatch => "idempotency_mismatch",
            ErrorKind::NoLease { .. } => "lease_not_found",
            ErrorKind::LockBusy { .. } => "lock_held",
            ErrorKind::LockNotHeld => "lock_not_held",
            ErrorKind::Patch { conflict: true, .. } => "patch_conflict",
            ErrorKind::Patch { conflict: false, .. } => "patch_invalid",
            ErrorKind::HistoryOff { .. } => "watch_off",
            ErrorKind::TooManyWatches { .. } => "too_many_watches",
            ErrorKind::Denied { code, .. } => code,
            ErrorKind::Unavailable { .. } => "unavailable",
            ErrorKind::Overloaded { .. } => "overloaded",
            ErrorKind::Undetermined { .. } => "undetermined",
            ErrorKind::Internal { .. } => "internal",
        }
    }

    /// Says whether it is the first answer again.
    pub(super) const fn again(mut self, replayed: bool) -> Self {
        self.replayed = replayed;
        self
    }

    pub(super) fn about(mut self, group: GroupId, leader: Option<NodeId>) -> Self {
        self.group = Some(group);
        self.leader = self.leader.or(leader);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_handed_over_has_an_unknown_outcome() {
        let reason = String::new();
        for (kind, outcome) in [
            (ErrorKind::Unavailable { reason: reason.clone() }, Outcome::NotApplied),
            (ErrorKind::Overloaded { reason: reason.clone() }, Outcome::NotApplied),
            (ErrorKind::Undetermined { reason: reason.clone() }, Outcome::Unknown),
            (ErrorKind::Internal { reason }, Outcome::Unknown),
            (ErrorKind::TooLarge { limit: 1 }, Outcome::NotApplied),
        ] {
            assert_eq!(ServiceError::from(kind.clone()).outcome(), outcome, "{kind:?}");
        }
    }
}
