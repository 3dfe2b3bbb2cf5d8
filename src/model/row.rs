//! A stored row: a value and the two positions in its group's order that made it.
//!
//! Promises: [`Row::decode`] of [`Row::encode`] is the same row, never panics, and its value shares
//! the memory of what it was read from. The fixed header (version, created, revision; numbers
//! big-endian) keeps the value at a known place, so that reading a row costs no parsing.

use bytes::Bytes;

use super::codec::{CodecError, VERSION};

/// What is kept of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Log index of the write that created the key; kept across overwrites.
    pub created: u64,
    /// Log index of the newest write.
    pub revision: u64,
    /// The value.
    pub value: Bytes,
}

const WHAT: &str = "row";

/// Version, created, revision.
const HEADER_BYTES: usize = 1 + 8 + 8;

impl Row {
    /// The row's bytes.
    pub fn encode(&self) -> Bytes {
        let mut buffer = Vec::with_capacity(HEADER_BYTES + self.value.len());
        buffer.push(VERSION);
        buffer.extend_from_slice(&self.created.to_be_bytes());
        buffer.extend_from_slice(&self.revision.to_be_bytes());
        buffer.extend_from_slice(&self.value);
        Bytes::from(buffer)
    }

    /// Reads a row. The value is a slice of `bytes`.
    pub fn decode(bytes: &Bytes) -> Result<Self, CodecError> {
        let (&version, rest) = bytes.split_first().ok_or(CodecError::Empty { what: WHAT })?;
        if version != VERSION {
            return Err(CodecError::Version { what: WHAT, found: version });
        }
        let short =
            CodecError::Length { what: WHAT, expected: HEADER_BYTES - 1, found: rest.len() };
        let (created, rest) = rest.split_first_chunk::<8>().ok_or_else(|| short.clone())?;
        let (revision, value) = rest.split_first_chunk::<8>().ok_or(short)?;
        Ok(Self {
            created: u64::from_be_bytes(*created),
            revision: u64::from_be_bytes(*revision),
            value: bytes.slice_ref(value),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_row_reads_back_as_written(created: u64, revision: u64, value: Vec<u8>) {
            let row = Row { created, revision, value: value.into() };
            prop_assert_eq!(Row::decode(&row.encode()), Ok(row));
        }

        #[test]
        fn any_bytes_are_a_row_or_an_error(bytes: Vec<u8>, versioned: bool) {
            let mut bytes = bytes;
            if versioned {
                bytes.insert(0, VERSION);
            }
            let long_enough = bytes.len() >= HEADER_BYTES && bytes.first() == Some(&VERSION);
            prop_assert_eq!(Row::decode(&Bytes::from(bytes)).is_ok(), long_enough);
        }
    }

    #[test]
    fn the_value_is_not_copied_out_of_the_row() {
        let row = Row { created: 1, revision: 2, value: vec![7; 1 << 20].into() };
        let bytes = row.encode();
        let read = Row::decode(&bytes).unwrap();
        assert_eq!(read.value.as_ptr() as usize, bytes.as_ptr() as usize + HEADER_BYTES);
    }

    #[test]
    fn the_bytes_of_a_row_are_what_earlier_releases_wrote() {
        let row = Row { created: 1, revision: 258, value: Bytes::from_static(b"v") };
        let bytes = [1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 2, b'v'];
        assert_eq!(row.encode().as_ref(), bytes);
    }
}
