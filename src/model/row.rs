//! A stored row: a value and what is known of its writes.
//!
//! Promises: [`Row::decode`] of [`Row::encode`] is the same row, never panics, and its value shares
//! the memory of what it was read from. The header is as short as the row is plain: one flags byte
//! says which of the less common facts follow.
//!
//! ```text
//! version 1 | flags 1 | at 8 | modified 8 | [revision 8] | [created 8, version 8] | [lease 8]
//!           | [length 2, content type] | value            numbers big-endian
//! ```

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::codec::{CodecError, Share, VERSION};
use super::lease::LeaseId;

/// What is kept of one key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row<B = Bytes> {
    /// Revision of the write that created the key; kept across overwrites.
    pub created: u64,
    /// Log index of the newest write: its ETag.
    pub at: u64,
    /// Revision of the newest write: the log index too, or in an ordered namespace its counter.
    pub revision: u64,
    /// Writes since the creation, which is the first.
    pub version: u64,
    /// Wall clock of the node that accepted the newest write, in milliseconds since 1970. For show.
    pub modified_ms: u64,
    /// What the key depends on.
    pub lease: Option<LeaseId>,
    /// The value's media type, when one was given.
    pub content_type: Option<String>,
    /// The value.
    pub value: B,
}

const WHAT: &str = "row";

/// Version, flags, at, modified.
const HEADER_BYTES_MIN: usize = 1 + 1 + 8 + 8;

/// The revision is not the log index.
const REVISED: u8 = 1;
/// Not the first write of the key: creation and version follow.
const OVERWRITTEN: u8 = 2;
/// A lease follows.
const LEASED: u8 = 4;
/// A content type follows.
const TYPED: u8 = 8;

impl Row {
    /// The row's bytes.
    ///
    /// # Panics
    /// If the content type is longer than 64 KiB: `apply` refuses all but short ones.
    pub fn encode(&self) -> Bytes {
        let typed = self.content_type.as_ref().map_or(0, |text| 2 + text.len());
        let mut buffer = Vec::with_capacity(HEADER_BYTES_MIN + 32 + typed + self.value.len());
        let flag = |on: bool, flag: u8| if on { flag } else { 0 };
        let revised = self.revision != self.at;
        let overwritten = self.version != 1 || self.created != self.revision;
        buffer.push(VERSION);
        buffer.push(
            flag(revised, REVISED)
                | flag(overwritten, OVERWRITTEN)
                | flag(self.lease.is_some(), LEASED)
                | flag(self.content_type.is_some(), TYPED),
        );
        let mut number = |number: u64| buffer.extend_from_slice(&number.to_be_bytes());
        number(self.at);
        number(self.modified_ms);
        if revised {
            number(self.revision);
        }
        if overwritten {
            number(self.created);
            number(self.version);
        }
        if let Some(lease) = self.lease {
            number(lease.0);
        }
        if let Some(text) = &self.content_type {
            let length = u16::try_from(text.len()).expect("apply refuses long content types");
            buffer.extend_from_slice(&length.to_be_bytes());
            buffer.extend_from_slice(text.as_bytes());
        }
        buffer.extend_from_slice(&self.value);
        Bytes::from(buffer)
    }

    /// Reads a row. The value is a slice of `bytes`.
    pub fn decode(bytes: &Bytes) -> Result<Self, CodecError> {
        let (&version, rest) = bytes.split_first().ok_or(CodecError::Empty { what: WHAT })?;
        if version != VERSION {
            return Err(CodecError::Version { what: WHAT, found: version });
        }
        let mut rest = Rest { rest, whole: bytes.len() };
        let [flags] = rest.take()?;
        let at = rest.number()?;
        let modified_ms = rest.number()?;
        let revision = if flags & REVISED == 0 { at } else { rest.number()? };
        let (created, version) =
            if flags & OVERWRITTEN == 0 { (revision, 1) } else { (rest.number()?, rest.number()?) };
        let lease = if flags & LEASED == 0 { None } else { Some(LeaseId(rest.number()?)) };
        let content_type = if flags & TYPED == 0 { None } else { Some(rest.text()?) };
        let value = bytes.slice_ref(rest.rest);
        Ok(Self { created, at, revision, version, modified_ms, lease, content_type, value })
    }
}

/// What is left of a row's bytes while they are read.
struct Rest<'a> {
    rest: &'a [u8],
    whole: usize,
}

impl<'a> Rest<'a> {
    fn short(&self) -> CodecError {
        CodecError::Length { what: WHAT, expected: HEADER_BYTES_MIN, found: self.whole }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], CodecError> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or_else(|| self.short())?;
        self.rest = rest;
        Ok(*taken)
    }

    fn number(&mut self) -> Result<u64, CodecError> {
        self.take().map(u64::from_be_bytes)
    }

    fn text(&mut self) -> Result<String, CodecError> {
        let length = usize::from(u16::from_be_bytes(self.take()?));
        let (text, rest): (&'a [u8], _) =
            self.rest.split_at_checked(length).ok_or_else(|| self.short())?;
        self.rest = rest;
        let text = std::str::from_utf8(text)
            .map_err(|error| CodecError::Malformed { what: WHAT, reason: error.to_string() })?;
        Ok(text.to_owned())
    }
}

impl Share for Row<&[u8]> {
    type Shared = Row;

    fn share(self, whole: &Bytes) -> Row {
        let Self { created, at, revision, version, modified_ms, lease, content_type, value } = self;
        let value = value.share(whole);
        Row { created, at, revision, version, modified_ms, lease, content_type, value }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn any_row() -> impl Strategy<Value = Row> {
        let numbers = any::<(u64, u64, u64, u64, u64)>();
        let lease = prop::option::of(any::<u64>().prop_map(LeaseId));
        let content_type = prop::option::of("[a-z/]{0,300}");
        (numbers, 0u8..4, lease, content_type, any::<Vec<u8>>()).prop_map(
            |((created, at, revision, version, modified_ms), plain, lease, content_type, value)| {
                // Plain rows are the common ones and have shorter headers.
                let revision = if plain & 1 == 0 { revision } else { at };
                let (created, version) =
                    if plain & 2 == 0 { (created, version) } else { (revision, 1) };
                let value = value.into();
                Row { created, at, revision, version, modified_ms, lease, content_type, value }
            },
        )
    }

    fn plain(value: Bytes) -> Row {
        let (lease, content_type) = (None, None);
        Row {
            created: 258,
            at: 258,
            revision: 258,
            version: 1,
            modified_ms: 3,
            lease,
            content_type,
            value,
        }
    }

    proptest! {
        #[test]
        fn a_row_reads_back_as_written(row in any_row()) {
            prop_assert_eq!(Row::decode(&row.encode()), Ok(row));
        }

        #[test]
        fn any_bytes_are_a_row_or_an_error(bytes: Vec<u8>, versioned: bool) {
            let mut bytes = bytes;
            if versioned {
                bytes.insert(0, VERSION);
            }
            if Row::decode(&Bytes::from(bytes.clone())).is_ok() {
                prop_assert!(bytes.len() >= HEADER_BYTES_MIN);
            }
        }
    }

    #[test]
    fn the_value_is_not_copied_out_of_the_row() {
        let bytes = plain(vec![7; 1 << 20].into()).encode();
        let read = Row::decode(&bytes).unwrap();
        assert_eq!(read.value.as_ptr() as usize, bytes.as_ptr() as usize + HEADER_BYTES_MIN);
    }

    #[test]
    fn the_bytes_of_a_row_are_what_earlier_releases_wrote() {
        let mut row = plain(Bytes::from_static(b"v"));
        let bytes = [1, 0, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 0, 3, b'v'];
        assert_eq!(row.encode().as_ref(), bytes);
        row.lease = Some(LeaseId(9));
        row.content_type = Some("a".to_owned());
        let tail = [0, 0, 0, 0, 0, 0, 0, 9, 0, 1, b'a', b'v'];
        let bytes = row.encode();
        assert_eq!((bytes[1], &bytes[18..]), (LEASED | TYPED, tail.as_slice()));
    }
}
