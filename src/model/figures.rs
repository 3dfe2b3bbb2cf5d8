//! What a group counts: bytes and keys of each namespace, and its own small totals.
//!
//! Promises: after every batch of entries the rows say what a recount of the data rows would say.
//! Rows read back as written.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::codec::{self, CodecError};

/// What a group knows of one namespace's part in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figures {
    /// Bytes of keys and values.
    pub bytes: u64,
    /// Keys.
    pub keys: u64,
    /// The newest revision of an ordered namespace; 0 in a spread one.
    pub counter: u64,
}

const WHAT_FIGURES: &str = "namespace figures";
const WHAT_TALLY: &str = "group tally";

impl Figures {
    /// The row's bytes.
    pub fn encode(&self) -> Bytes {
        codec::seal(self, &[])
    }

    /// Reads the row.
    pub fn decode(bytes: &Bytes) -> Result<Self, CodecError> {
        codec::open_whole(WHAT_FIGURES, bytes)
    }
}

/// What a group counts of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Remembered results.
    pub once_records: u64,
    /// Their bytes.
    pub once_bytes: u64,
    /// Every remembered result up to this index is forgotten.
    pub once_forgotten: u64,
    /// Leases, borrowed ones among them.
    pub leases: u64,
    /// The number of the newest own lease, so that none is given twice.
    pub own_newest: u64,
}

impl Tally {
    /// The row's bytes.
    pub fn encode(&self) -> Bytes {
        codec::seal(self, &[])
    }

    /// Reads the row.
    pub fn decode(bytes: &Bytes) -> Result<Self, CodecError> {
        codec::open_whole(WHAT_TALLY, bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn figures_and_tallies_read_back_as_written(numbers: [u64; 5]) {
            let [a, b, c, d, e] = numbers;
            let figures = Figures { bytes: a, keys: b, counter: c };
            prop_assert_eq!(Figures::decode(&figures.encode()), Ok(figures));
            let tally = Tally {
                once_records: a, once_bytes: b, once_forgotten: c, leases: d, own_newest: e,
            };
            prop_assert_eq!(Tally::decode(&tally.encode()), Ok(tally));
        }

        #[test]
        fn any_bytes_are_figures_or_an_error(bytes: Vec<u8>) {
            let bytes = Bytes::from(bytes);
            drop(Figures::decode(&bytes));
            drop(Tally::decode(&bytes));
        }
    }
}
