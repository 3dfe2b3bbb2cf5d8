//! Rows that a shard keeps beside those of `model::eventual::rows`.
//!
//! Why it exists: the core says what must be the same everywhere; these rows are how one replica finds
//! its way. They are part of the fold all the same, so that a replay comes to them again.
//!
//! | kind | row | key behind the kind |
//! |---|---|---|
//! | `0x02` | [`Own`] | |
//! | `0x18` | a cell with losses that are not on record | as of the cell's row |
//! | `0x31` | what was asked once, by age | stamp 8, hash 8 |
//!
//! Promises: kinds are none of the core's, and are never reused.

use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use crate::model::codec::{self, CodecError};
use crate::model::eventual::rows::CELL;
use crate::model::eventual::{Dot, Gate, Hlc, Vector};

/// Row of [`Own`].
pub(super) const OWN_KEY: &[u8] = &[0x02];
const OPEN: u8 = 0x18;
const ONCE_AGE: u8 = 0x31;

/// What a replica knows of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Own {
    /// Of actors whose operations came with state syncs: up to where the log does not say them.
    pub(super) jumped: Vector,
    /// Whether the last entry of the log says that the shard was closed.
    pub(super) closed: bool,
    /// What rows hold parts of, of state syncs that are not complete: the digest says nothing before
    /// all of it is applied.
    pub(super) ahead: Vector,
    /// The highest stamp that was given here, by any run.
    pub(super) stamp: Hlc,
    /// Once keys that are remembered.
    pub(super) once: u64,
    /// Bytes of lost values that are kept.
    pub(super) lost_bytes: u64,
    /// Lost writes up to this row have lost their values here.
    pub(super) stripped: Bytes,
    /// When it was closed last, for a switch to the other side.
    pub(super) gate: Option<Gate>,
}

/// Where the record of a loss is; stands under [`lost_at_key`](crate::model::eventual::rows::lost_at_key).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LostAt {
    /// By what it was swept; nothing if it is on record as outranked.
    pub(super) swept_by: Option<Dot>,
    /// The row of the record.
    pub(super) row: Bytes,
}

/// What a once key was used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Once {
    /// A hash of the request.
    pub(super) body: u64,
    /// The operation.
    pub(super) dot: Dot,
    /// Its stamp.
    pub(super) hlc: Hlc,
}

macro_rules! coded {
    ($name:ident, $what:literal) => {
        impl $name {
            pub(super) fn encode(&self) -> Bytes {
                codec::seal_whole(self, 64)
            }

            pub(super) fn decode(bytes: &Bytes) -> Result<Self, CodecError> {
                codec::open_whole($what, bytes)
            }
        }
    };
}

coded!(Own, "a replica's own row");
coded!(LostAt, "the place of a lost write's record");
coded!(Once, "a request that was made once");

/// The row that says that a cell has losses which are not on record.
pub(super) fn open_key(cell_row: &[u8]) -> Bytes {
    with_kind(OPEN, cell_row)
}

/// The cell's row that such a row stands for.
pub(super) fn opened_cell(open_row: &[u8]) -> Bytes {
    with_kind(CELL, open_row)
}

fn with_kind(kind: u8, row: &[u8]) -> Bytes {
    let mut other = BytesMut::from(row);
    if let Some(first) = other.first_mut() {
        *first = kind;
    }
    other.freeze()
}

/// All of them.
pub(super) fn all_open() -> Range<Bytes> {
    Bytes::from_static(&[OPEN])..Bytes::from_static(&[OPEN + 1])
}

/// The row of a once key by its age.
pub(super) fn once_age_key(hlc: Hlc, hash: u64) -> Bytes {
    let mut key = BytesMut::with_capacity(17);
    key.put_u8(ONCE_AGE);
    key.put_u64(hlc.0);
    key.put_u64(hash);
    key.freeze()
}

/// Stamp and hash of such a row.
pub(super) fn split_once_age_key(row: &[u8]) -> Option<(Hlc, u64)> {
    let (hlc, rest) = row.get(1..)?.split_first_chunk::<8>()?;
    let hash = rest.first_chunk::<8>()?;
    Some((Hlc(u64::from_be_bytes(*hlc)), u64::from_be_bytes(*hash)))
}

/// All of them, the oldest first.
pub(super) fn all_once_ages() -> Range<Bytes> {
    Bytes::from_static(&[ONCE_AGE])..Bytes::from_static(&[ONCE_AGE + 1])
}

/// The first row behind one.
pub(super) fn after(row: &[u8]) -> Bytes {
    let mut next = BytesMut::with_capacity(row.len() + 1);
    next.put_slice(row);
    next.put_u8(0);
    next.freeze()
}
