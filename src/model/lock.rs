//! A lock: a queue of those who want it, of which the first has it.
//!
//! Promises: the token of a place is the log index at which it was taken, so the tokens of
//! successive holders only grow, and whatever a lock protects can refuse an older one.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::codec::{self, CodecError};
use super::lease::LeaseId;

/// What is kept of a lock that somebody holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockRow {
    /// Those who want it, in the order in which they asked. Never empty in a stored row.
    pub queue: Vec<LockPlace>,
}

/// A place in a lock's queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockPlace {
    /// What the place depends on.
    pub lease: LeaseId,
    /// The log index at which the place was taken.
    pub token: u64,
    /// Who asked, for people.
    pub owner: String,
}

const WHAT: &str = "lock";

impl LockRow {
    /// Who holds the lock.
    pub fn holder(&self) -> Option<&LockPlace> {
        self.queue.first()
    }

    /// The row's bytes.
    pub fn encode(&self) -> Bytes {
        codec::seal(self, &[])
    }

    /// Reads the row.
    pub fn decode(bytes: &Bytes) -> Result<Self, CodecError> {
        codec::open_whole(WHAT, bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_lock_reads_back_as_written() {
        let place = |token| LockPlace { lease: LeaseId(9), token, owner: "ä".to_owned() };
        let row = LockRow { queue: vec![place(3), place(4)] };
        assert_eq!(LockRow::decode(&row.encode()), Ok(row.clone()));
        assert_eq!(row.holder().map(|place| place.token), Some(3));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_lock_or_an_error(bytes: Vec<u8>) {
            drop(LockRow::decode(&Bytes::from(bytes)));
        }
    }
}
