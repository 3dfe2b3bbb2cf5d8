//! What a command came to: the same at every replica, and small enough to keep.
//!
//! Promises: [`Reply::decode`] of [`Reply::encode`] is the same reply; decoding never panics, and the
//! values of rows share the memory of what they were read from. Relies on [`codec`] for the
//! envelope. Variants that later releases add go to the end.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::codec::{self, CodecError, Share};
use super::denial::Denial;
use super::lease::LeaseId;
use super::lock::LockPlace;
use super::row::Row;

/// The deterministic result of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Of an `Own`: the group owns what the newest epoch says.
    Owned,
    /// The group does not own the slot, or knows a newer epoch than the request was routed by:
    /// nothing was changed. Look the namespace up in a newer catalog and ask again.
    NotOwner {
        /// The epoch by which the group knows what it owns.
        epoch: u64,
    },
    /// Of a catalog command, as placement encodes it.
    Catalog(Bytes),
    /// Of blank and membership entries.
    Nothing,
    /// Of a write of one key.
    Key(KeyReply),
    /// Of writes of several keys, in their order.
    Many(Vec<KeyReply>),
    /// Of a transaction.
    Txn(TxnReply),
    /// Of what was done to a lease.
    Lease(LeaseReply),
    /// Of what was done to a lock.
    Lock(LockReply),
    /// Of what a leader did by itself.
    Tended(TendReply),
    /// The idempotency key was used for another request: nothing was changed.
    OnceMismatch,
    /// The request was done before: this is what it came to then.
    Replayed {
        /// The log index at which it was done.
        index: u64,
        /// What it came to. Never `Replayed` itself.
        reply: Box<Reply>,
    },
}

/// What the write of one key came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyReply<B = Bytes> {
    /// The value is set.
    Put {
        /// Whether the key did not exist before.
        created: bool,
        /// The write's log index.
        at: u64,
        /// The write's revision.
        revision: u64,
        /// The row that was asked for.
        row: Option<Row<B>>,
    },
    /// The key does not exist now.
    Deleted {
        /// Whether it existed before.
        existed: bool,
        /// The write's log index.
        at: u64,
        /// The write's revision; the namespace's newest when nothing was deleted.
        revision: u64,
        /// The row before, when it was asked for.
        row: Option<Row<B>>,
    },
    /// The value is changed.
    Patched {
        /// Whether the key did not exist before.
        created: bool,
        /// The write's log index.
        at: u64,
        /// The write's revision.
        revision: u64,
        /// The row that was asked for; the row as it is now if none was.
        row: Row<B>,
    },
    /// Of a read within a transaction.
    Found(Option<Row<B>>),
    /// The precondition does not hold: nothing was changed.
    Unmet {
        /// The log index of the row that was found.
        row_at: Option<u64>,
        /// Its revision.
        revision: Option<u64>,
    },
    /// Refused: nothing was changed.
    Denied(Denial),
}

/// What a transaction came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TxnReply<B = Bytes> {
    /// Whether all tests held, so that `then` was done.
    pub succeeded: bool,
    /// Of each step that was done; empty when one failed.
    pub results: Vec<KeyReply<B>>,
    /// The transaction's log index.
    pub at: u64,
    /// The transaction's revision; the namespace's newest when it changed nothing.
    pub revision: u64,
    /// The step that was denied, which took everything back.
    pub failed: Option<(usize, Denial)>,
}

/// What came of a lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LeaseReply {
    /// It lives.
    Granted {
        /// Which.
        id: LeaseId,
        /// How long after it was renewed.
        ttl_ms: u64,
        /// The log index of this reply.
        at: u64,
    },
    /// It has its full time again.
    Renewed {
        /// How long it lives from now on.
        ttl_ms: u64,
        /// The log index of the renewal.
        at: u64,
    },
    /// It is gone.
    Revoked {
        /// Keys and places in locks of this group that went with it.
        keys: u64,
        /// The log index.
        at: u64,
    },
    /// There is none.
    Missing,
    /// Refused: nothing was changed.
    Denied(Denial),
}

/// What came of a lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LockReply {
    /// The asker holds it.
    Held {
        /// Larger than the token of every holder before.
        token: u64,
    },
    /// The asker waits.
    Queued {
        /// The token that it will hold the lock by.
        token: u64,
        /// How many come before it, the holder among them.
        ahead: u64,
    },
    /// Somebody else holds it, and the asker would not wait.
    Busy {
        /// Who.
        holder: LockPlace,
        /// How many wait.
        waiting: u64,
    },
    /// The place is given up.
    Released,
    /// There was no such place.
    NotHeld,
    /// Refused: nothing was changed.
    Denied(Denial),
}

/// What a leader's own command came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TendReply {
    /// Leases whose time was over.
    pub expired: u64,
    /// Borrowed leases that were gone.
    pub gone: u64,
    /// Keys and places in locks that went with them.
    pub keys: u64,
    /// Remembered results that were forgotten.
    pub forgotten: u64,
    /// Rows of the deleted namespace that were removed.
    pub purged: u64,
    /// Whether nothing of the deleted namespace is left here.
    pub purged_all: bool,
    /// Whether a bound of one entry left some of what was asked for undone: ask again.
    pub more: bool,
}

/// A reply as postcard writes it. New variants go to the end.
#[derive(Serialize, Deserialize)]
enum Wire<B> {
    Owned,
    NotOwner { epoch: u64 },
    Catalog(B),
    Nothing,
    Key(KeyReply<B>),
    Many(Vec<KeyReply<B>>),
    Txn(TxnReply<B>),
    Lease(LeaseReply),
    Lock(LockReply),
    Tended(TendReply),
    OnceMismatch,
    // The bytes of a whole reply, so that reading never recurses further.
    Replayed { index: u64, reply: B },
}

const WHAT: &str = "reply";

impl Reply {
    /// The reply's bytes.
    pub fn encode(&self) -> Bytes {
        let wire = match self {
            Self::Owned => Wire::Owned,
            Self::NotOwner { epoch } => Wire::NotOwner { epoch: *epoch },
            Self::Catalog(bytes) => Wire::Catalog(bytes.clone()),
            Self::Nothing => Wire::Nothing,
            Self::Key(reply) => Wire::Key(reply.clone()),
            Self::Many(replies) => Wire::Many(replies.clone()),
            Self::Txn(reply) => Wire::Txn(reply.clone()),
            Self::Lease(reply) => Wire::Lease(reply.clone()),
            Self::Lock(reply) => Wire::Lock(reply.clone()),
            Self::Tended(reply) => Wire::Tended(*reply),
            Self::OnceMismatch => Wire::OnceMismatch,
            Self::Replayed { index, reply } => {
                Wire::Replayed { index: *index, reply: reply.encode() }
            }
        };
        codec::seal_whole(&wire, wire.bytes())
    }

    /// Reads a reply. Catalog bytes and values are slices of `bytes`.
    pub fn decode(bytes: &Bytes) -> Result<Self, CodecError> {
        let wire: Wire<&[u8]> = codec::open_whole(WHAT, bytes)?;
        if let Wire::Replayed { index, reply } = wire {
            let inner = reply.share(bytes);
            let wire = codec::open_whole(WHAT, &inner)?;
            let reply = Self::of(wire, &inner)?;
            return Ok(Self::Replayed { index, reply: Box::new(reply) });
        }
        Self::of(wire, bytes)
    }

    fn of(wire: Wire<&[u8]>, bytes: &Bytes) -> Result<Self, CodecError> {
        Ok(match wire {
            Wire::Owned => Self::Owned,
            Wire::NotOwner { epoch } => Self::NotOwner { epoch },
            Wire::Catalog(catalog) => Self::Catalog(catalog.share(bytes)),
            Wire::Nothing => Self::Nothing,
            Wire::Key(reply) => Self::Key(reply.share(bytes)),
            Wire::Many(replies) => Self::Many(replies.share(bytes)),
            Wire::Txn(reply) => Self::Txn(TxnReply {
                succeeded: reply.succeeded,
                results: reply.results.share(bytes),
                at: reply.at,
                revision: reply.revision,
                failed: reply.failed,
            }),
            Wire::Lease(reply) => Self::Lease(reply),
            Wire::Lock(reply) => Self::Lock(reply),
            Wire::Tended(reply) => Self::Tended(reply),
            Wire::OnceMismatch => Self::OnceMismatch,
            Wire::Replayed { .. } => {
                let reason = "a replayed reply within another".to_owned();
                return Err(CodecError::Malformed { what: WHAT, reason });
            }
        })
    }
}

/// What a reply has beside the values in it, generously.
const ROW_BYTES_GUESS: usize = 64;

impl Wire<Bytes> {
    /// About how many bytes the reply has, so that the buffer is made once.
    fn bytes(&self) -> usize {
        let all = |replies: &[KeyReply]| replies.iter().map(KeyReply::bytes).sum();
        match self {
            Self::Catalog(bytes) | Self::Replayed { reply: bytes, .. } => bytes.len(),
            Self::Key(reply) => reply.bytes(),
            Self::Many(replies) => all(replies),
            Self::Txn(reply) => all(&reply.results),
            Self::Owned
            | Self::NotOwner { .. }
            | Self::Nothing
            | Self::Lease(_)
            | Self::Lock(_)
            | Self::Tended(_)
            | Self::OnceMismatch => 0,
        }
    }
}

impl KeyReply {
    /// The row that comes with it.
    pub const fn row(&self) -> Option<&Row> {
        match self {
            Self::Put { row, .. } | Self::Deleted { row, .. } | Self::Found(row) => row.as_ref(),
            Self::Patched { row, .. } => Some(row),
            Self::Unmet { .. } | Self::Denied(_) => None,
        }
    }

    fn bytes(&self) -> usize {
        16 + self.row().map_or(0, |row| row.value.len() + ROW_BYTES_GUESS)
    }
}

impl Share for KeyReply<&[u8]> {
    type Shared = KeyReply;

    fn share(self, whole: &Bytes) -> KeyReply {
        match self {
            Self::Put { created, at, revision, row } => {
                KeyReply::Put { created, at, revision, row: row.share(whole) }
            }
            Self::Deleted { existed, at, revision, row } => {
                KeyReply::Deleted { existed, at, revision, row: row.share(whole) }
            }
            Self::Patched { created, at, revision, row } => {
                KeyReply::Patched { created, at, revision, row: row.share(whole) }
            }
            Self::Found(row) => KeyReply::Found(row.share(whole)),
            Self::Unmet { row_at, revision } => KeyReply::Unmet { row_at, revision },
            Self::Denied(denial) => KeyReply::Denied(denial),
        }
    }
}

#[cfg(test)]
mod tests;
