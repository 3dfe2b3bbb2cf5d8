//! Leases: what a key or a lock may depend on, and vanish with.
//!
//! A lease lives in its *home*, the group that owns the slot in its id; only that group's leader
//! watches its time. Where keys or locks of another group depend on it, that group keeps a
//! *borrowed* row of it, which says nothing of time. A key with a time to live of its own has an
//! *own* lease, made and ended with it.
//!
//! Promises: ids are never given twice; a row reads back as written. No clock here: the state
//! machine knows at which log index a lease was last renewed, and nothing else.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::codec::{self, CodecError};
use super::id::Slot;

/// The name of a lease: 14 bits slot, 1 bit for own leases, 49 bits that tell it from others.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct LeaseId(pub u64);

const SLOT_SHIFT: u32 = 50;
const OWN_BIT: u64 = 1 << 49;
const NUMBER_MASK: u64 = OWN_BIT - 1;

impl LeaseId {
    /// A granted lease: `number` is random, only its low 49 bits count.
    pub const fn new(slot: Slot, number: u64) -> Self {
        #[allow(clippy::cast_lossless, reason = "From is not const")]
        Self(((slot.get() as u64) << SLOT_SHIFT) | (number & NUMBER_MASK))
    }

    /// The lease of one key with a time to live.
    pub const fn own(slot: Slot, number: u64) -> Self {
        Self(Self::new(slot, number).0 | OWN_BIT)
    }

    /// The slot whose owner is the lease's home.
    pub const fn slot(self) -> Slot {
        Slot::of_hash(self.0 >> SLOT_SHIFT)
    }

    /// Whether it is the lease of one key with a time to live.
    pub const fn is_own(self) -> bool {
        self.0 & OWN_BIT != 0
    }
}

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The text is no lease id: 16 lower-case hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a lease id is 16 lower-case hex digits")]
pub struct NoLeaseId;

impl FromStr for LeaseId {
    type Err = NoLeaseId;

    fn from_str(text: &str) -> Result<Self, NoLeaseId> {
        let hex = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
        if text.len() != 16 || !text.as_bytes().iter().all(hex) {
            return Err(NoLeaseId);
        }
        u64::from_str_radix(text, 16).map(Self).map_err(|_| NoLeaseId)
    }
}

/// What a group keeps of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRow {
    /// How long it lives after it was renewed; 0 in a borrowed row.
    pub ttl_ms: u64,
    /// Log index of the grant, or of the first attachment.
    pub granted: u64,
    /// Log index of the newest grant or renewal.
    pub renewed: u64,
    /// Whether another group is its home.
    pub borrowed: bool,
    /// How many keys and locks of this group depend on it.
    pub keys: u64,
}

const WHAT: &str = "lease";

impl LeaseRow {
    /// The row's bytes.
    pub fn encode(&self) -> Bytes {
        codec::seal(self, &[])
    }

    /// Reads the row.
    pub fn decode(bytes: &Bytes) -> Result<Self, CodecError> {
        codec::open_whole(WHAT, bytes)
    }
}

/// A lease as those who watch its time see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseState {
    /// Which.
    pub id: LeaseId,
    /// How long it lives after it was renewed; 0 when borrowed.
    pub ttl_ms: u64,
    /// Log index of the newest grant or renewal.
    pub renewed: u64,
    /// Whether another group is its home.
    pub borrowed: bool,
    /// Whether it is the lease of one key with a time to live.
    pub own: bool,
}

impl LeaseState {
    /// The state that a row tells.
    pub const fn of(id: LeaseId, row: &LeaseRow) -> Self {
        let (ttl_ms, renewed, borrowed) = (row.ttl_ms, row.renewed, row.borrowed);
        Self { id, ttl_ms, renewed, borrowed, own: id.is_own() }
    }
}

/// What an entry did to a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseEvent {
    /// It exists, with this state now.
    Lives(LeaseState),
    /// It is gone.
    Ended(LeaseId),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_id_tells_its_slot_and_reads_back(slot in 0..Slot::COUNT, number: u64, own: bool) {
            let slot = Slot::new(slot).unwrap();
            let id = if own { LeaseId::own(slot, number) } else { LeaseId::new(slot, number) };
            prop_assert_eq!((id.slot(), id.is_own()), (slot, own));
            prop_assert_eq!(id.to_string().parse::<LeaseId>(), Ok(id));
        }

        #[test]
        fn any_bytes_are_a_lease_row_or_an_error(bytes: Vec<u8>) {
            drop(LeaseRow::decode(&Bytes::from(bytes)));
        }
    }

    #[test]
    fn a_lease_row_reads_back_as_written() {
        let row = LeaseRow { ttl_ms: 9, granted: 3, renewed: 4, borrowed: true, keys: 7 };
        assert_eq!(LeaseRow::decode(&row.encode()), Ok(row));
    }

    #[test]
    fn other_texts_are_no_ids() {
        for text in ["", "1", "+000000000000001", "00000000000000AB", "00000000000000000"] {
            assert_eq!(text.parse::<LeaseId>(), Err(NoLeaseId), "{text}");
        }
    }
}
