//! What the front door may ask of the hall, in the front door's words: names and keys, no slots.
//!
//! Why it exists: a client's condition names an ETag, `"<group>-<at>"`; which of them can match is
//! known only once the key's group is. Promises: turning these into the model's words is the hall's
//! work alone, so that a tag of another group never matches. Relies on `model` for what a write is.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::model::eventual::DataType;
use crate::model::{Cmp, Give, GroupId, LeaseId, Require, Space, Tag, WriteOp};
use crate::placement::{Layout, Mode, NamespaceEntry, NamespaceLimits, Topology};
use crate::runtime::Moment;

use super::session::Session;

/// What comes with every request.
#[derive(Clone, Debug)]
pub struct Context {
    /// When the client gives up.
    pub deadline: Moment,
    /// The request's name in the logs.
    pub request_id: Arc<str>,
    /// Makes a repetition harmless; `None` when the client gave no key.
    pub once: Option<OnceKey>,
    /// What the client has seen: no read may be older.
    pub session: Session,
}

impl Context {
    /// A request without a once key and without a session.
    pub fn new(deadline: Moment, request_id: impl Into<Arc<str>>) -> Self {
        Self { deadline, request_id: request_id.into(), once: None, session: Session::default() }
    }
}

/// A client's `Idempotency-Key`, and what it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnceKey {
    /// 1 to 255 bytes.
    pub key: Bytes,
    /// Of the whole request: the same key with another one is refused.
    pub fingerprint: [u8; 16],
}

/// An ETag: one write of one group's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EntityTag {
    /// The group.
    pub group: GroupId,
    /// The log index of the write.
    pub at: u64,
}

/// What must hold for a write to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    /// Nothing.
    #[default]
    None,
    /// The key exists: `If-Match: *`.
    Exists,
    /// The key does not exist: `If-None-Match: *`.
    Missing,
    /// The newest write is one of these: `If-Match`.
    Any(Vec<EntityTag>),
    /// The newest write is none of these: `If-None-Match`.
    NoneOf(Vec<EntityTag>),
}

impl Condition {
    /// In the words of a group. A tag of another group becomes one that no row has.
    pub(super) fn of_group(&self, group: GroupId) -> Require {
        self.with(&|tag| tag.of_group(group))
    }

    /// With the tags of all groups as they are: to compare requests, not to ask a group.
    pub(super) fn of_any(&self) -> Require {
        self.with(&|tag| Tag(tag.at))
    }

    fn with(&self, number: &dyn Fn(&EntityTag) -> Tag) -> Require {
        let tags = |tags: &[EntityTag]| tags.iter().map(number).collect();
        match self {
            Self::None => Require::None,
            Self::Exists => Require::Exists,
            Self::Missing => Require::Missing,
            Self::Any(any) => Require::Any(tags(any)),
            Self::NoneOf(none) => Require::NoneOf(tags(none)),
        }
    }
}

impl EntityTag {
    pub(super) fn of_group(self, group: GroupId) -> Tag {
        if self.group == group { Tag(self.at) } else { Tag::NEVER }
    }
}

/// A write of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRequest {
    /// What must hold.
    pub require: Condition,
    /// What to do.
    pub op: WriteOp,
    /// Which row the answer carries.
    pub give: Give,
}

impl From<WriteOp> for KeyRequest {
    fn from(op: WriteOp) -> Self {
        Self { require: Condition::None, op, give: Give::Nothing }
    }
}

/// One step of a txn or a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyStep {
    /// The key.
    pub key: Bytes,
    /// What to do with it.
    pub step: Step,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Writes.
    Write(KeyRequest),
    /// Reads.
    Get,
}

/// A comparison of a txn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// The key.
    pub key: Bytes,
    /// What must hold of it.
    pub check: Check,
}

/// What a txn may ask of a key. A missing key has revision, created and version 0; every comparison
/// with its value fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// Whether the key exists.
    Exists(bool),
    /// Its newest write.
    Tag(EntityTag),
    /// Its value.
    Value(Cmp, Bytes),
    /// Its revision.
    Revision(Cmp, u64),
    /// The revision of its creation.
    Created(Cmp, u64),
    /// Its writes since then.
    Version(Cmp, u64),
}

/// Comparisons, and what is done when all of them hold or one does not: one entry of one group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TxnRequest {
    /// All of them must hold.
    pub compare: Vec<Comparison>,
    /// Done when they do.
    pub then: Vec<KeyStep>,
    /// Done when one does not.
    pub or_else: Vec<KeyStep>,
}

/// An operation of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchOp {
    /// Its place in the whole request: together with the request's once key it names the operation.
    pub number: u64,
    /// What to do.
    pub step: KeyStep,
}

/// Which reads are good enough. The context's session is honoured by all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadMode {
    /// Reflects everything that was acknowledged before the read began.
    #[default]
    Linearizable,
    /// Whatever a replica has; the answer says how old it can be.
    Stale,
    /// Surely not older than this.
    Bounded(Duration),
    /// Whatever a near replica has once it has applied what the session asks for.
    Session,
}

/// What a lock is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockRequest {
    /// Whose life the lock hangs on.
    pub life: Life,
    /// Who asks, for people.
    pub owner: String,
    /// How long to wait in line; zero: only if the lock is free.
    pub wait: Duration,
}

/// What keeps a lock held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// A lease made for it.
    Ttl(Duration),
    /// A lease that there is.
    Lease(LeaseId),
}

/// A namespace to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceRequest {
    /// Its name.
    pub name: String,
    /// Which side of CAP it picks.
    pub mode: Mode,
    /// How its keys fall into slots.
    pub layout: Layout,
    /// What it accepts.
    pub limits: NamespaceLimits,
    /// Most bytes of keys and values; `None`: no bound.
    pub quota: Option<u64>,
    /// How long changes are kept for watches; zero: not at all.
    pub history: Duration,
    /// What its values are, if it is eventual.
    pub data_type: Option<DataType>,
    /// How its replicas are linked, if it is eventual.
    pub topology: Topology,
}

/// What to change of a namespace; `None` leaves as is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamespaceChange {
    /// Its longest key.
    pub key_bytes_max: Option<u64>,
    /// Its longest value.
    pub value_bytes_max: Option<u64>,
    /// Most bytes; `Some(None)` lifts the bound.
    pub quota: Option<Option<u64>>,
    /// How long changes are kept.
    pub history: Option<Duration>,
    /// How its replicas are linked.
    pub topology: Option<Topology>,
    /// Only at this epoch of the catalog.
    pub if_epoch: Option<u64>,
}

/// A namespace in the words of the groups.
pub(super) fn space_of(entry: &NamespaceEntry) -> Space {
    Space {
        id: entry.id,
        ordered: entry.layout == Layout::Ordered,
        recorded: entry.history_ms > 0,
        quota: entry.quota,
        value_bytes_max: entry.limits.value_bytes_max,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_of_another_group_never_matches() {
        let tags =
            vec![EntityTag { group: GroupId(1), at: 7 }, EntityTag { group: GroupId(2), at: 7 }];
        assert_eq!(
            Condition::Any(tags.clone()).of_group(GroupId(2)),
            Require::Any(vec![Tag::NEVER, Tag(7)])
        );
        assert_eq!(
            Condition::NoneOf(tags).of_group(GroupId(1)),
            Require::NoneOf(vec![Tag(7), Tag::NEVER])
        );
    }
}
