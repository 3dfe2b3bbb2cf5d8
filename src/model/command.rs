//! What a group may be asked to do: the content of one log entry.
//!
//! Promises: [`Command::decode`] of [`Command::encode`] is the same command; decoding never panics,
//! and keys, values and patches share the memory of the entry they came from. Relies on [`codec`]
//! for the envelope; the parts of a request are in [`op`](super::op).
//!
//! What clients ask for travels as [`Request`], what a leader does by itself as [`Tend`]. Variants
//! that later releases add go to the end.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::codec::{self, CodecError, Share};
use super::id::{NamespaceId, Slot, SlotRange};
use super::lease::LeaseId;
use super::op::{KeyOp, LeaseOp, LockOp, Patch, Space, Txn, TxnOp, WriteOp};

/// One log entry of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command<B = Bytes> {
    /// Sets the slots that the group owns: the first command of every data group.
    Own {
        /// The owned slots.
        ranges: Vec<SlotRange>,
        /// The catalog's epoch that says so; a newer one wins.
        epoch: u64,
    },
    /// Changes the catalog (group 0 only). Opaque here: placement encodes and applies it.
    Catalog(B),
    /// What a client asks for.
    Request(Request<B>),
    /// What a leader does by itself.
    Tend(Tend),
}

/// Which slots a group owns, and by which epoch of the catalog: the row that `Own` leaves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ownership {
    /// The owned slots.
    pub ranges: Vec<SlotRange>,
    /// The catalog's epoch that says so; a newer one wins. Requests that were routed by an older
    /// one are refused.
    pub epoch: u64,
}

/// What a client asks of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request<B = Bytes> {
    /// The epoch of the catalog that it was routed by.
    pub epoch: u64,
    /// The wall clock of the node that accepted it, in milliseconds since 1970; only for show.
    pub at_ms: u64,
    /// Set when it must be done once, however often it is asked.
    pub once: Option<Once<B>>,
    /// What to do.
    pub action: Action<B>,
}

/// The name under which a request's first result is remembered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Once<B = Bytes> {
    /// The namespace in which the key counts; 0 for the whole cluster.
    pub space: NamespaceId,
    /// The client's key.
    pub key: B,
    /// Says whether two requests are the same.
    pub fingerprint: [u8; 16],
}

/// What a request does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action<B = Bytes> {
    /// Writes one key.
    Key(Space, KeyOp<B>),
    /// Writes several keys, each by itself; never one key twice.
    Many(Space, Vec<KeyOp<B>>),
    /// Tests and writes several keys as one step.
    Txn(Space, Txn<B>),
    /// Changes the catalog (group 0 only).
    Catalog(B),
    /// Makes, renews or ends a lease.
    Lease(LeaseOp),
    /// Takes or gives up a lock.
    Lock(Space, LockOp<B>),
}

/// What a leader does by itself; the state machine knows no time and is told what is over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tend {
    /// Leases of this home whose time is over, each with the index of the renewal that the leader
    /// counted from: nothing happens to one that was renewed since.
    pub expire: Vec<(LeaseId, u64)>,
    /// Borrowed leases that their homes do not know any more.
    pub gone: Vec<LeaseId>,
    /// Remembered results up to this index are forgotten.
    pub forget: u64,
    /// A deleted namespace, and how many of its rows to remove at most.
    pub purge: Option<(NamespaceId, u32)>,
}

const WHAT: &str = "command";
const WHAT_OWNERSHIP: &str = "ownership";

impl Command {
    /// The bytes of the log entry.
    pub fn encode(&self) -> Bytes {
        codec::seal_whole(self, self.bytes())
    }

    /// About how many bytes the command has, so that the buffer is made once.
    fn bytes(&self) -> usize {
        match self {
            Self::Own { .. } => 0,
            Self::Catalog(bytes) => bytes.len(),
            Self::Request(request) => request.bytes(),
            Self::Tend(tend) => 16 * (tend.expire.len() + tend.gone.len()),
        }
    }

    /// Reads a log entry. Keys, values, patches and catalog bytes are slices of `bytes`.
    pub fn decode(bytes: &Bytes) -> Result<Self, CodecError> {
        let read: Command<&[u8]> = codec::open_whole(WHAT, bytes)?;
        Ok(match read {
            Command::Own { ranges, epoch } => Self::Own { ranges, epoch },
            Command::Catalog(catalog) => Self::Catalog(catalog.share(bytes)),
            Command::Request(request) => Self::Request(request.share(bytes)),
            Command::Tend(tend) => Self::Tend(tend),
        })
    }
}

/// What a request has beside its byte strings, generously.
const OP_BYTES_GUESS: usize = 64;

impl Request {
    fn bytes(&self) -> usize {
        let once = self.once.as_ref().map_or(0, |once| once.key.len() + 32);
        let action = match &self.action {
            Action::Key(_, op) => op_bytes(op),
            Action::Many(_, ops) => ops.iter().map(op_bytes).sum(),
            Action::Txn(_, txn) => {
                let tests: usize = txn.compare.iter().map(|c| c.key.len() + OP_BYTES_GUESS).sum();
                let writes = txn.then.iter().chain(&txn.or_else).map(|op| match op {
                    TxnOp::Write(op) => op_bytes(op),
                    TxnOp::Get { key, .. } => key.len() + OP_BYTES_GUESS,
                });
                tests + writes.sum::<usize>()
            }
            Action::Catalog(bytes) => bytes.len(),
            Action::Lease(_) | Action::Lock(..) => OP_BYTES_GUESS,
        };
        once + action + OP_BYTES_GUESS
    }
}

fn op_bytes(op: &KeyOp) -> usize {
    let value = match &op.op {
        WriteOp::Put { value, .. } => value.len(),
        WriteOp::Patch { patch: Patch::Merge(b) | Patch::Json(b) | Patch::Append(b) } => b.len(),
        WriteOp::Patch { patch: Patch::Number(_) } | WriteOp::Delete => 0,
    };
    op.key.len() + value + OP_BYTES_GUESS
}

impl Share for Request<&[u8]> {
    type Shared = Request;

    fn share(self, whole: &Bytes) -> Request {
        let Self { epoch, at_ms, once, action } = self;
        let action = match action {
            Action::Key(space, op) => Action::Key(space, op.share(whole)),
            Action::Many(space, ops) => Action::Many(space, ops.share(whole)),
            Action::Txn(space, txn) => Action::Txn(space, txn.share(whole)),
            Action::Catalog(bytes) => Action::Catalog(bytes.share(whole)),
            Action::Lease(op) => Action::Lease(op),
            Action::Lock(space, op) => Action::Lock(space, op.share(whole)),
        };
        Request { epoch, at_ms, once: once.share(whole), action }
    }
}

impl Share for Once<&[u8]> {
    type Shared = Once;

    fn share(self, whole: &Bytes) -> Once {
        let Self { space, key, fingerprint } = self;
        Once { space, key: key.share(whole), fingerprint }
    }
}

impl Ownership {
    /// Whether the slot is owned.
    pub fn owns(&self, slot: Slot) -> bool {
        self.ranges.iter().any(|range| range.contains(slot))
    }

    /// The bytes of the ownership row.
    pub fn encode(&self) -> Bytes {
        codec::seal(self, &[])
    }

    /// Reads the ownership row.
    pub fn decode(bytes: &Bytes) -> Result<Self, CodecError> {
        codec::open_whole(WHAT_OWNERSHIP, bytes)
    }
}

#[cfg(test)]
mod tests;
