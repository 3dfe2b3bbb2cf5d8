//! What is written down: records of the log, the head row, records of lost writes.
//!
//! Why it exists: a shard's state is the fold of its log, so everything that changes a row is one of
//! these. Promises: reads back as written; enums grow at the end only. In the bytes of a record of an
//! operation the dot comes first, so that a stream can pass over what its reader has without reading
//! further ([`dot_of`]).

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::cell::{Cell, Content};
use super::dot::{Dot, Hlc, Vector};
use super::fate::{Beat, Member};
use super::op::{Field, Op};
use crate::model::codec::{self, CodecError};

/// One entry of an eventual shard's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record {
    /// An operation, of whichever origin.
    Op(Op),
    /// A part of a state sync, resolved: the cells as they are after it.
    Merge(Merge),
    /// A state sync is complete (rule R1): only now the vector moves.
    Reached(Reached),
    /// Losses whose fate is final: their marks go, their records stay.
    Final(Vec<LostRecord>),
    /// The shard was closed in good order: if this is the last record its actor goes on.
    Closed,
    /// A part of the bytes of a record that is too long for one entry. A record whose last part is
    /// missing was never flushed whole, and counts as not written.
    Piece {
        /// How many parts came before.
        at: u64,
        /// How many follow.
        left: u64,
        /// The bytes.
        bytes: Bytes,
    },
    /// This replica takes no writes of its own any more, as of an epoch of the catalog.
    Gate(Gate),
}

/// Until which epoch of the catalog a replica stays closed whatever its catalog says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gate {
    /// The epoch by which it was closed: a catalog before that does not open it.
    pub epoch: u64,
    /// Whether it is closed for reads, too.
    pub sealed: bool,
}

/// Some cells of a state sync.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Merge {
    /// What the source had applied when it read them.
    pub vector: Vector,
    /// The cells as they are now; `None` where one is gone.
    pub cells: Vec<(Bytes, Field, Option<Cell>)>,
    /// Records that the source had of keys in this part.
    pub lost: Vec<LostRecord>,
}

/// The end of a state sync.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reached {
    /// What the source had applied when it began.
    pub vector: Vector,
    /// The beats that it knew then.
    pub beats: BTreeMap<Member, Beat>,
    /// The highest stamp that it knew.
    pub hlc: Hlc,
}

/// A write that is lost for good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostRecord {
    /// Its key.
    pub key: Bytes,
    /// Its cell.
    pub field: Field,
    /// It.
    pub dot: Dot,
    /// When it was written.
    pub hlc: Hlc,
    /// What swept or outranked it.
    pub by: Dot,
    /// Whether it was swept. The record of one that was outranked is replaced by that of its sweeping.
    pub swept: bool,
    /// What it was, while it is kept.
    pub content: Option<Content>,
}

/// What a shard knows beside its cells.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// What is applied.
    pub vector: Vector,
    /// The newest beat of each member.
    pub beats: BTreeMap<Member, Beat>,
    /// The highest stamp that was given or observed.
    pub hlc: Hlc,
    /// Counts of what was lost.
    pub totals: Totals,
}

/// Counts of what was lost, of all records that there ever were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Writes that are lost for good.
    pub lost: u64,
    /// Bytes of their values.
    pub lost_bytes: u64,
}

/// The largest part of a record's bytes that is no number, to have room for it at once.
const VALUE_BYTES_GUESS: usize = 256;

macro_rules! coded {
    ($name:ident, $what:literal) => {
        impl $name {
            /// Its bytes.
            pub fn encode(&self) -> Bytes {
                codec::seal_whole(self, VALUE_BYTES_GUESS)
            }

            /// Reads its bytes.
            ///
            /// # Errors
            ///
            /// When they are not what a release that is known here wrote.
            pub fn decode(bytes: &Bytes) -> Result<Self, CodecError> {
                codec::open_whole($what, bytes)
            }
        }
    };
}

coded!(Record, "a record of an eventual log");
coded!(Head, "the head of an eventual shard");
coded!(LostRecord, "a record of a lost write");
coded!(Cell, "a cell");
coded!(Op, "an operation");

/// The bytes of the record of an operation.
pub fn encode_op(op: &Op) -> Bytes {
    /// As [`Record::Op`], borrowed.
    #[derive(Serialize)]
    enum Borrowed<'a> {
        Op(&'a Op),
    }
    codec::seal_whole(&Borrowed::Op(op), VALUE_BYTES_GUESS)
}

/// The dot of the operation whose record these bytes are; `None` if they are another record's.
pub fn dot_of(record: &[u8]) -> Option<Dot> {
    /// Of [`Record::Op`].
    const OP: u8 = 0;
    let rest = record.strip_prefix(&[codec::VERSION, OP])?;
    postcard::take_from_bytes::<Dot>(rest).ok().map(|(dot, _)| dot)
}
