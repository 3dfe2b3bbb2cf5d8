//! The envelope of everything that is written down or sent: version byte, header, raw tail.
//!
//! Why it exists: a log entry must be readable by the next release, and a 1 MiB value must not be
//! copied to be read. So every record is one version byte, a postcard-encoded header of small
//! things, and then the large bytes as they are. [`open`] hands the tail out as a slice of the
//! buffer it came in, which shares its memory.
//!
//! It promises: [`open`] never panics on any input, and never allocates more than a small multiple
//! of the input's length. It relies on its users for the meaning of the tail, and for refusing one
//! where none belongs ([`no_tail`]).
//!
//! Header enums grow at the end only: postcard writes a variant as its number.

use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// The version that is written today.
pub const VERSION: u8 = 1;

/// Why bytes could not be read as what they should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// There is not even a version byte.
    #[error("{what}: no bytes at all")]
    Empty {
        /// What was expected.
        what: &'static str,
    },
    /// Written by a release that knows a newer format, or not one of ours.
    #[error("{what}: format version {found} is not known here (known: {VERSION})")]
    Version {
        /// What was expected.
        what: &'static str,
        /// The version byte found.
        found: u8,
    },
    /// The header does not decode.
    #[error("{what}: malformed: {reason}")]
    Malformed {
        /// What was expected.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The tail is longer or shorter than the header says.
    #[error("{what}: {found} bytes follow the header where {expected} belong")]
    Length {
        /// What was expected.
        what: &'static str,
        /// The least (or only) length that the header allows.
        expected: usize,
        /// The length found.
        found: usize,
    },
}

/// Writes version, header and tails into one buffer.
///
/// # Panics
/// Never for the headers of this crate: they hold numbers, booleans, strings, byte buffers and
/// vectors of these, all of which postcard can write.
pub fn seal<H: Serialize>(header: &H, tails: &[&[u8]]) -> Bytes {
    let tail_bytes: usize = tails.iter().map(|tail| tail.len()).sum();
    let mut buffer = Vec::with_capacity(HEADER_BYTES_GUESS + tail_bytes);
    buffer.push(VERSION);
    let mut buffer =
        postcard::to_extend(header, buffer).expect("headers hold only what postcard can write");
    for tail in tails {
        buffer.extend_from_slice(tail);
    }
    Bytes::from(buffer)
}

/// Room for version and header of most records, so that the buffer rarely grows.
const HEADER_BYTES_GUESS: usize = 32;

/// Reads version and header; the tail shares the memory of `bytes`.
pub fn open<H: DeserializeOwned>(
    what: &'static str,
    bytes: &Bytes,
) -> Result<(H, Bytes), CodecError> {
    let (&version, rest) = bytes.split_first().ok_or(CodecError::Empty { what })?;
    if version != VERSION {
        return Err(CodecError::Version { what, found: version });
    }
    let (header, tail) = postcard::take_from_bytes::<H>(rest)
        .map_err(|error| CodecError::Malformed { what, reason: error.to_string() })?;
    Ok((header, bytes.slice_ref(tail)))
}

/// Writes the version and a record whose large parts stand within it, as `bytes` says of their sum.
///
/// # Panics
/// As [`seal`].
pub fn seal_whole<T: Serialize>(record: &T, bytes: usize) -> Bytes {
    let mut buffer = Vec::with_capacity(HEADER_BYTES_GUESS + bytes);
    buffer.push(VERSION);
    let buffer =
        postcard::to_extend(record, buffer).expect("records hold only what postcard can write");
    Bytes::from(buffer)
}

/// Reads a record of which nothing may be left over. Its byte strings are borrowed: [`Share`] makes
/// them slices that share the memory of `bytes`.
pub fn open_whole<'a, T: Deserialize<'a>>(
    what: &'static str,
    bytes: &'a Bytes,
) -> Result<T, CodecError> {
    let (&version, rest) = bytes.split_first().ok_or(CodecError::Empty { what })?;
    if version != VERSION {
        return Err(CodecError::Version { what, found: version });
    }
    let (record, rest) = postcard::take_from_bytes::<T>(rest)
        .map_err(|error| CodecError::Malformed { what, reason: error.to_string() })?;
    if rest.is_empty() {
        Ok(record)
    } else {
        Err(CodecError::Length { what, expected: 0, found: rest.len() })
    }
}

/// A record with borrowed byte strings that can become one with [`Bytes`].
pub trait Share {
    /// The same with [`Bytes`] in place of the borrowed byte strings.
    type Shared;

    /// Makes every borrowed byte string a slice of `whole`, which it must lie in.
    fn share(self, whole: &Bytes) -> Self::Shared;
}

impl Share for &[u8] {
    type Shared = Bytes;

    fn share(self, whole: &Bytes) -> Bytes {
        whole.slice_ref(self)
    }
}

impl<T: Share> Share for Vec<T> {
    type Shared = Vec<T::Shared>;

    fn share(self, whole: &Bytes) -> Self::Shared {
        self.into_iter().map(|part| part.share(whole)).collect()
    }
}

impl<T: Share> Share for Option<T> {
    type Shared = Option<T::Shared>;

    fn share(self, whole: &Bytes) -> Self::Shared {
        self.map(|part| part.share(whole))
    }
}

/// Refuses a tail where the header says everything.
pub fn no_tail(what: &'static str, tail: &Bytes) -> Result<(), CodecError> {
    if tail.is_empty() {
        Ok(())
    } else {
        Err(CodecError::Length { what, expected: 0, found: tail.len() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_is_a_slice_of_what_came_in() {
        let sealed = seal(&7u64, &[b"ab", b"cd"]);
        let (header, tail) = open::<u64>("number", &sealed).unwrap();
        assert_eq!((header, tail.as_ref()), (7, b"abcd".as_slice()));
        let start = sealed.as_ptr() as usize;
        assert_eq!(tail.as_ptr() as usize, start + sealed.len() - tail.len(), "shared memory");
    }

    #[test]
    fn an_unknown_version_is_named() {
        let error = open::<u64>("number", &Bytes::from_static(&[9, 7])).unwrap_err();
        assert_eq!(error, CodecError::Version { what: "number", found: 9 });
        assert!(error.to_string().contains("version 9"), "{error}");
    }

    #[test]
    fn nothing_and_half_a_header_are_errors() {
        assert_eq!(
            open::<u64>("number", &Bytes::new()).unwrap_err(),
            CodecError::Empty { what: "number" }
        );
        let error = open::<u64>("number", &Bytes::from_static(&[VERSION, 0x80])).unwrap_err();
        assert!(matches!(error, CodecError::Malformed { .. }), "{error}");
    }

    #[test]
    fn bytes_after_a_full_header_are_refused_where_none_belong() {
        assert!(no_tail("number", &Bytes::new()).is_ok());
        assert_eq!(
            no_tail("number", &Bytes::from_static(b"x")).unwrap_err(),
            CodecError::Length { what: "number", expected: 0, found: 1 }
        );
    }
}
