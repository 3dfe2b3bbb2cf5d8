//! What is asked of a shard, and what it answers.
//!
//! Why it exists: streams and the hall speak to shards in these words and need not know how a shard
//! works. Promises: an error says what its reader may conclude; only `TimeUp` leaves open whether a
//! write was made.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::model::codec::CodecError;
use crate::model::eventual::{
    Ask, Beat, Cell, Dot, Fate, Field, Hlc, LostRecord, Member, Op, Record, Refusal, Shown, Vector,
};
use crate::runtime::Moment;
use crate::runtime::limits::BUCKET_WORDS;

/// A client's write.
#[derive(Clone, Debug)]
pub struct WriteRequest {
    /// The key.
    pub key: Bytes,
    /// What is to be done with it.
    pub ask: Ask,
    /// The versions that the client had been shown, if it said so.
    pub context: Option<Vec<Dot>>,
    /// Hashes of the client's once key and of the request's body.
    pub once: Option<(u64, u64)>,
    /// Whether the answer says what the key holds afterwards.
    pub show: bool,
    /// Until when an answer is of use.
    pub deadline: Moment,
}

/// A write that is made: flushed here, and visible.
#[derive(Clone, Debug)]
pub struct Wrote {
    /// The operation's name: the receipt.
    pub dot: Dot,
    /// When, by the hybrid clock.
    pub hlc: Hlc,
    /// Whether an earlier request with the same once key had made it.
    pub replayed: bool,
    /// What this replica knows now, the write included.
    pub vector: Arc<Vector>,
    /// How many versions stand beside each other in the key's register.
    pub siblings: usize,
    /// What the key holds now, if that was asked.
    pub after: Option<Shown>,
}

/// Why a write was not made; only after `TimeUp` it may have been, or still be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// It makes no sense for this type, or for what the key holds.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The once key was used for another request.
    #[error("idempotency mismatch: this key was used for another request")]
    OnceMismatch,
    /// A key or a value is longer than the namespace takes.
    #[error("{what} has {bytes} bytes, at most {max} are taken")]
    TooLarge {
        /// The key, or the value.
        what: &'static str,
        /// Its length.
        bytes: u64,
        /// The bound.
        max: u64,
    },
    /// This node takes no writes of the namespace: no link leads from it.
    #[error("this node only reads this namespace")]
    Reader,
    /// The namespace is on its way to the other side.
    #[error("the namespace is being switched to the other side; writes go on when that is done")]
    Switching,
    /// There is nothing to restore.
    #[error("there is nothing to restore: {reason}")]
    Restore {
        /// Why.
        reason: &'static str,
    },
    /// Too much waits; nothing was done.
    #[error("too many writes wait here")]
    Overloaded,
    /// This node's clock leads the others', and would win unfairly.
    #[error("this node's clock is {ms} ms ahead of the others'")]
    ClockAhead {
        /// By how much.
        ms: u64,
    },
    /// There was no answer in time; the write may be made or not.
    #[error("no answer in time; the write may have been made")]
    TimeUp,
    /// The shard is closed, or has failed.
    #[error("{0}")]
    Stopped(#[from] Stop),
}

/// The shard takes nothing more: the namespace is gone, or the node stops.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the shard has stopped: {reason}")]
pub struct Stop {
    /// Why.
    pub reason: String,
}

/// What could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot read the shard: {reason}")]
pub struct ReadError {
    /// Why.
    pub reason: String,
}

/// Which keys are asked for.
#[derive(Clone, Debug)]
pub struct PageAsk {
    /// First key, inclusive.
    pub from: Bytes,
    /// Last key, exclusive; without it to the end.
    pub to: Option<Bytes>,
    /// From the last key to the first.
    pub reverse: bool,
    /// Most keys.
    pub limit: usize,
    /// About so many bytes of rows, and one key at least.
    pub bytes_max: usize,
}

/// A page of keys.
#[derive(Clone, Debug)]
pub struct KeyPage {
    /// Keys with what they hold, in the order asked for.
    pub keys: Vec<(Bytes, Shown)>,
    /// The key after which the next page begins; `None` if there is none.
    pub next: Option<Bytes>,
    /// What this replica knew when the page was begun: at least this is in it.
    pub vector: Arc<Vector>,
}

/// What became of operations that were received.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// How many were applied: flushed and visible.
    pub applied: u64,
    /// How many had been known.
    pub known: u64,
    /// Those that do not follow yet, in their order; their sender's reader holds them back.
    pub early: Vec<Op>,
}

/// An operation as it stands in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedOp {
    /// Its place in this node's log.
    pub index: u64,
    /// Its name.
    pub dot: Dot,
    /// The record of it, as [`decode_op`] reads it.
    pub bytes: Bytes,
}

/// Reads the record of an operation.
///
/// # Errors
///
/// When the bytes are not such a record.
pub fn decode_op(bytes: &Bytes) -> Result<Op, CodecError> {
    match Record::decode(bytes)? {
        Record::Op(op) => Ok(op),
        _ => Err(CodecError::Malformed {
            what: "an operation",
            reason: "it is another record".to_owned(),
        }),
    }
}

/// Where a log begins, as far as readers are concerned. With the operations behind it, it is all that is
/// known; and of each actor everything behind it is in the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Base {
    /// What comes after this entry can be had.
    pub index: u64,
    /// What of each actor the log does not say: who lacks any of it needs a state sync (rule R2).
    pub vector: Vector,
}

/// A part of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Logged {
    /// Its operations, in order.
    pub ops: Vec<LoggedOp>,
    /// Where the next part begins.
    pub next: u64,
}

/// Why a part of the log cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogGone {
    /// It was cut off, or a state sync took its place: the reader needs a state sync.
    #[error("the log begins after that")]
    Trimmed,
    /// It cannot be read.
    #[error(transparent)]
    Unreadable(#[from] ReadError),
}

/// Some of a digest's buckets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketSet(Vec<u64>);

impl Default for BucketSet {
    fn default() -> Self {
        Self(vec![0; BUCKET_WORDS])
    }
}

impl BucketSet {
    /// Takes a bucket in.
    pub fn insert(&mut self, bucket: usize) {
        if let Some(word) = self.0.get_mut(bucket / 64) {
            *word |= 1 << (bucket % 64);
        }
    }

    /// Whether a bucket is among them.
    pub fn contains(&self, bucket: usize) -> bool {
        self.0.get(bucket / 64).is_some_and(|word| word & (1 << (bucket % 64)) != 0)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }
}

/// All cells of a range of rows, and all losses on record there, at one moment of their source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotPage {
    /// What the source knew exactly then.
    pub vector: Vector,
    /// The first row of the range.
    pub from: Bytes,
    /// The first row behind it: where the next page begins. `None` on the last page.
    pub to: Option<Bytes>,
    /// Only keys of these buckets; without it all.
    pub buckets: Option<Arc<BucketSet>>,
    /// The cells.
    pub entries: Vec<(Bytes, Field, Cell)>,
    /// The losses.
    pub lost: Vec<LostRecord>,
}

/// Digests of all that a shard holds.
#[derive(Clone, Debug)]
pub struct Digest {
    /// What the replica knew exactly then.
    pub vector: Arc<Vector>,
    /// Whether that is all: rows hold parts of a state sync that is not complete otherwise, and then
    /// the digest says nothing.
    pub settled: bool,
    /// One for all that lives.
    pub root: u128,
    /// One for each bucket: what lives.
    pub buckets: Vec<u128>,
    /// One for each bucket: what is lost.
    pub losses: Vec<u128>,
}

/// What an audit found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    /// Buckets whose digest in memory is not that of their rows.
    pub wrong: Vec<usize>,
    /// Rows that were read.
    pub rows: u64,
}

/// What another node is known to have flushed and applied.
#[derive(Clone, Debug)]
pub struct Heard {
    /// What.
    pub vector: Arc<Vector>,
    /// When that was heard.
    pub at: Moment,
}

/// What became of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FateView {
    /// What.
    pub fate: Fate,
    /// Whether that can change.
    pub is_final: bool,
    /// The cell that says so, if one does.
    pub field: Option<Field>,
    /// The record of the loss, if it is on record.
    pub lost: Option<LostRecord>,
}

/// A page of lost writes on record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConflictPage {
    /// The oldest writes first.
    pub records: Vec<LostRecord>,
    /// Where the next page begins; `None` if there is none.
    pub next: Option<Bytes>,
}

/// Losses in the order in which they came on record here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LostSince {
    /// The losses.
    pub records: Vec<LostRecord>,
    /// Where to go on.
    pub next: u64,
}

/// How much was lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LossTotals {
    /// Writes that are lost for good.
    pub lost: u64,
    /// Bytes of their values.
    pub lost_bytes: u64,
    /// Writes that look lost now; that may change until every member has confirmed it.
    pub open: u64,
    /// Writes to registers that are there which what is shown does not stand on: the lost, and what was
    /// built on them.
    pub without_effect: u64,
    /// Cells that this was summed up over.
    pub cells: u64,
}

/// What a replica knows of the others, for the end of a state sync.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heads {
    /// The newest beat of each member.
    pub beats: BTreeMap<Member, Beat>,
    /// The highest stamp that is known.
    pub hlc: Hlc,
}
