//! What may be asked of keys, leases and locks: the parts of a request.
//!
//! Promises: enums grow at the end only (postcard writes a variant as its number); byte strings are
//! borrowed while a command is read and then share the memory of its entry, which is what the
//! parameter `B` is for. It is [`Bytes`] everywhere but inside [`Command::decode`].
//! Relies on the front door for what is worth refusing early; `apply` refuses it again.
//!
//! [`Command::decode`]: super::Command::decode

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::codec::Share;
use super::id::{NamespaceId, Slot};
use super::lease::LeaseId;
use super::number::Decimal;

/// A namespace as a request's sender knew it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Space {
    /// Its id.
    pub id: NamespaceId,
    /// Whether its revisions are a counter of its own.
    pub ordered: bool,
    /// Whether the history keeps its changes for a while.
    pub recorded: bool,
    /// Most bytes of keys and values in one group; writes that add to more are refused.
    pub quota: Option<u64>,
    /// Longest value, which patches must keep as well.
    pub value_bytes_max: u64,
}

/// The log index of the write that made a row: what an ETag carries of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tag(pub u64);

impl Tag {
    /// No row ever has it: stands for the ETag of another group.
    pub const NEVER: Self = Self(0);
}

/// One key and what to do with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyOp<B = Bytes> {
    /// The key's slot, as the router computed it; applied only by the slot's owner.
    pub slot: Slot,
    /// The key.
    pub key: B,
    /// What the row must be like.
    pub require: Require,
    /// What to do.
    pub op: WriteOp<B>,
    /// Which row the reply carries.
    pub give: Give,
}

/// A precondition on a key's row.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Require {
    /// Whatever there is.
    #[default]
    None,
    /// There is one.
    Exists,
    /// There is none.
    Missing,
    /// There is one with one of these tags.
    Any(Vec<Tag>),
    /// There is none with one of these tags.
    NoneOf(Vec<Tag>),
}

/// Which row a reply carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Give {
    /// None.
    #[default]
    Nothing,
    /// The row as it was before.
    Before,
    /// The row as it is now.
    After,
}

/// What a write does to its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WriteOp<B = Bytes> {
    /// Sets the value.
    Put {
        /// The new value.
        value: B,
        /// Its media type; `None` for bytes of no known type.
        content_type: Option<String>,
        /// What the key depends on from now on.
        attach: Attach,
    },
    /// Removes the key.
    Delete,
    /// Makes a new value of the old one. Type and lease stay.
    Patch {
        /// How.
        patch: Patch<B>,
    },
}

/// What a key depends on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Attach {
    /// Nothing.
    #[default]
    None,
    /// A lease that was granted.
    Lease(LeaseId),
    /// A time of its own, in milliseconds.
    Ttl(u64),
}

/// How a new value is made of the old one. A key without a row starts from JSON `null`, 0 or nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Patch<B = Bytes> {
    /// A JSON merge patch (RFC 7396).
    Merge(B),
    /// A JSON patch (RFC 6902).
    Json(B),
    /// Counting with a decimal number.
    Number(NumberOp),
    /// Bytes behind the value.
    Append(B),
}

/// What to do with a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NumberOp {
    /// Adds; a negative one subtracts.
    Add(Decimal),
    /// Keeps the larger.
    Max(Decimal),
    /// Keeps the smaller.
    Min(Decimal),
}

/// Several keys of one group at once: all tests, then one of two lists, as one step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Txn<B = Bytes> {
    /// What must hold; nothing holds always.
    pub compare: Vec<Compare<B>>,
    /// What is done when all of it holds.
    pub then: Vec<TxnOp<B>>,
    /// What is done otherwise.
    pub or_else: Vec<TxnOp<B>>,
}

/// A test of one key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compare<B = Bytes> {
    /// The key's slot.
    pub slot: Slot,
    /// The key.
    pub key: B,
    /// What must hold.
    pub test: Test<B>,
}

/// What may be tested. A missing key has revision, creation and version 0; its value passes no test.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Test<B = Bytes> {
    /// Whether there is a row.
    Exists(bool),
    /// That the row has this tag.
    Tag(Tag),
    /// The value, compared byte by byte.
    Value(Cmp, B),
    /// The revision of the newest write.
    Revision(Cmp, u64),
    /// The revision of the creation.
    Created(Cmp, u64),
    /// The number of writes since the creation.
    Version(Cmp, u64),
}

/// How what is stored must stand to what is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cmp {
    /// Equal.
    Eq,
    /// Not equal.
    Ne,
    /// Less.
    Lt,
    /// Greater.
    Gt,
    /// Less or equal.
    Le,
    /// Greater or equal.
    Ge,
}

impl Cmp {
    /// Whether `stored` stands so to `given`.
    pub fn holds<T: Ord + ?Sized>(self, stored: &T, given: &T) -> bool {
        match self {
            Self::Eq => stored == given,
            Self::Ne => stored != given,
            Self::Lt => stored < given,
            Self::Gt => stored > given,
            Self::Le => stored <= given,
            Self::Ge => stored >= given,
        }
    }
}

/// One step of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TxnOp<B = Bytes> {
    /// Writes a key; a precondition that does not hold takes the whole transaction back.
    Write(KeyOp<B>),
    /// Reads a key, with what the steps before did to it.
    Get {
        /// The key's slot.
        slot: Slot,
        /// The key.
        key: B,
    },
}

/// What may be done to a lease, at its home.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LeaseOp {
    /// Makes it. Again with the same time: nothing.
    Grant {
        /// Made by the asker; its slot decides the home.
        id: LeaseId,
        /// How long it lives after it was renewed.
        ttl_ms: u64,
    },
    /// Gives it its full time again.
    Renew {
        /// Which.
        id: LeaseId,
    },
    /// Ends it, and what depends on it.
    Revoke {
        /// Which.
        id: LeaseId,
    },
}

impl LeaseOp {
    /// The lease.
    pub const fn id(&self) -> LeaseId {
        match self {
            Self::Grant { id, .. } | Self::Renew { id } | Self::Revoke { id } => *id,
        }
    }
}

/// What may be done to a lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LockOp<B = Bytes> {
    /// Takes it, or a place in its queue. Again with the same lease: tells the place.
    Acquire {
        /// The slot of the name.
        slot: Slot,
        /// The lock's name.
        name: B,
        /// What the place depends on.
        lease: LeaseId,
        /// Who asks, for people.
        owner: String,
        /// Whether to wait in the queue when it is held.
        queue: bool,
    },
    /// Gives up the lock, or the place in its queue.
    Release {
        /// The slot of the name.
        slot: Slot,
        /// The lock's name.
        name: B,
        /// Whose place.
        by: Holder,
    },
}

impl<B> LockOp<B> {
    /// The slot of the lock's name.
    pub const fn slot(&self) -> Slot {
        match self {
            Self::Acquire { slot, .. } | Self::Release { slot, .. } => *slot,
        }
    }
}

/// How a holder proves that it is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Holder {
    /// By the token that it was given.
    Token(u64),
    /// By its lease.
    Lease(LeaseId),
}

impl Share for KeyOp<&[u8]> {
    type Shared = KeyOp;

    fn share(self, whole: &Bytes) -> KeyOp {
        let Self { slot, key, require, op, give } = self;
        KeyOp { slot, key: key.share(whole), require, op: op.share(whole), give }
    }
}

impl Share for WriteOp<&[u8]> {
    type Shared = WriteOp;

    fn share(self, whole: &Bytes) -> WriteOp {
        match self {
            Self::Put { value, content_type, attach } => {
                WriteOp::Put { value: value.share(whole), content_type, attach }
            }
            Self::Delete => WriteOp::Delete,
            Self::Patch { patch } => WriteOp::Patch {
                patch: match patch {
                    Patch::Merge(bytes) => Patch::Merge(bytes.share(whole)),
                    Patch::Json(bytes) => Patch::Json(bytes.share(whole)),
                    Patch::Number(op) => Patch::Number(op),
                    Patch::Append(bytes) => Patch::Append(bytes.share(whole)),
                },
            },
        }
    }
}

impl Share for Txn<&[u8]> {
    type Shared = Txn;

    fn share(self, whole: &Bytes) -> Txn {
        let Self { compare, then, or_else } = self;
        Txn {
            compare: compare.share(whole),
            then: then.share(whole),
            or_else: or_else.share(whole),
        }
    }
}

impl Share for Compare<&[u8]> {
    type Shared = Compare;

    fn share(self, whole: &Bytes) -> Compare {
        let test = match self.test {
            Test::Exists(exists) => Test::Exists(exists),
            Test::Tag(tag) => Test::Tag(tag),
            Test::Value(cmp, value) => Test::Value(cmp, value.share(whole)),
            Test::Revision(cmp, number) => Test::Revision(cmp, number),
            Test::Created(cmp, number) => Test::Created(cmp, number),
            Test::Version(cmp, number) => Test::Version(cmp, number),
        };
        Compare { slot: self.slot, key: self.key.share(whole), test }
    }
}

impl Share for TxnOp<&[u8]> {
    type Shared = TxnOp;

    fn share(self, whole: &Bytes) -> TxnOp {
        match self {
            Self::Write(op) => TxnOp::Write(op.share(whole)),
            Self::Get { slot, key } => TxnOp::Get { slot, key: key.share(whole) },
        }
    }
}

impl Share for LockOp<&[u8]> {
    type Shared = LockOp;

    fn share(self, whole: &Bytes) -> LockOp {
        match self {
            Self::Acquire { slot, name, lease, owner, queue } => {
                LockOp::Acquire { slot, name: name.share(whole), lease, owner, queue }
            }
            Self::Release { slot, name, by } => {
                LockOp::Release { slot, name: name.share(whole), by }
            }
        }
    }
}
