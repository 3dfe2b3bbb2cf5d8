//! How the wing writes its entries, marks and messages as bytes.
//!
//! Everything stored or sent begins with a version byte. Small structures are postcard; a command's
//! bytes, which may be a megabyte, stand raw behind their header, so that decoding is a slice and
//! not a copy.
//!
//! Promises: decoding never panics, whatever the bytes. Relies on: `types`.

use bytes::{BufMut, Bytes, BytesMut};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::types::{
    AppendRequest, Entry, EntryPayload, LeaderId, LogId, Membership, Payload, StoredMembership,
    Vote,
};

/// Version of all formats in this file.
pub const VERSION: u8 = 1;

/// Bytes that this program cannot read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CodecError {
    /// Nothing there.
    #[error("{what}: empty")]
    Empty {
        /// What was being read.
        what: &'static str,
    },
    /// Written by another version of the program.
    #[error("{what}: format version {found}, this program reads {VERSION}")]
    Version {
        /// What was being read.
        what: &'static str,
        /// The version found.
        found: u8,
    },
    /// Not what the version byte promises.
    #[error("{what}: malformed")]
    Malformed {
        /// What was being read.
        what: &'static str,
    },
}

/// Encodes a value behind the version byte.
pub fn encode<T: Serialize>(value: &T) -> Bytes {
    let bytes = postcard::to_extend(value, vec![VERSION])
        .expect("a vector takes any length, and our types always serialize");
    Bytes::from(bytes)
}

/// Decodes what `encode` wrote.
///
/// # Errors
///
/// When the bytes are not of this version or not of this type.
pub fn decode<T: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T, CodecError> {
    let (version, rest) = bytes.split_first().ok_or(CodecError::Empty { what })?;
    if *version != VERSION {
        return Err(CodecError::Version { what, found: *version });
    }
    postcard::from_bytes(rest).map_err(|_error| CodecError::Malformed { what })
}

#[derive(Serialize, Deserialize)]
enum Kind {
    Blank,
    Normal,
    Membership(Membership),
}

#[derive(Serialize, Deserialize)]
struct EntryHeader {
    log_id: LogId,
    kind: Kind,
}

/// Encodes an entry: version, header, and a command's bytes raw.
pub fn encode_entry(entry: &Entry) -> Bytes {
    let (kind, raw) = match &entry.payload {
        EntryPayload::Blank => (Kind::Blank, None),
        EntryPayload::Normal(payload) => (Kind::Normal, Some(&payload.0)),
        EntryPayload::Membership(membership) => (Kind::Membership(membership.clone()), None),
    };
    let header = EntryHeader { log_id: entry.log_id, kind };
    let capacity = 40 + raw.map_or(0, Bytes::len);
    let mut bytes = Vec::with_capacity(capacity);
    bytes.push(VERSION);
    let mut bytes = postcard::to_extend(&header, bytes)
        .expect("a vector takes any length, and our types always serialize");
    if let Some(raw) = raw {
        bytes.extend_from_slice(raw);
    }
    Bytes::from(bytes)
}

/// Decodes an entry; a command is a slice of `bytes`.
///
/// # Errors
///
/// When the bytes are not an entry of this version.
pub fn decode_entry(bytes: &Bytes) -> Result<Entry, CodecError> {
    let what = "log entry";
    let (header, rest) = split_entry(bytes)?;
    let payload = match header.kind {
        Kind::Normal => EntryPayload::Normal(Payload(bytes.slice_ref(rest))),
        Kind::Blank if rest.is_empty() => EntryPayload::Blank,
        Kind::Membership(membership) if rest.is_empty() => EntryPayload::Membership(membership),
        Kind::Blank | Kind::Membership(_) => return Err(CodecError::Malformed { what }),
    };
    Ok(Entry { log_id: header.log_id, payload })
}

/// Decodes only an entry's place.
///
/// # Errors
///
/// When the bytes are not an entry of this version.
pub fn decode_entry_log_id(bytes: &[u8]) -> Result<LogId, CodecError> {
    Ok(split_entry(bytes)?.0.log_id)
}

fn split_entry(bytes: &[u8]) -> Result<(EntryHeader, &[u8]), CodecError> {
    let what = "log entry";
    let (version, rest) = bytes.split_first().ok_or(CodecError::Empty { what })?;
    if *version != VERSION {
        return Err(CodecError::Version { what, found: *version });
    }
    postcard::take_from_bytes(rest).map_err(|_error| CodecError::Malformed { what })
}

/// What the state carries beside its rows: how far it is applied, and the membership there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppliedMark {
    /// The last applied entry.
    pub log_id: Option<LogId>,
    /// The last applied membership.
    pub membership: StoredMembership,
}

#[derive(Serialize, Deserialize)]
struct AppendHeader {
    vote: Vote,
    prev_log_id: Option<LogId>,
    leader_commit: Option<LogId>,
    entries: u32,
}

/// Encodes an append request: version, header, then each entry behind its length.
pub fn encode_append(request: &AppendRequest) -> Bytes {
    let header = AppendHeader {
        vote: request.vote,
        prev_log_id: request.prev_log_id,
        leader_commit: request.leader_commit,
        entries: u32::try_from(request.entries.len()).expect("a request has few entries"),
    };
    let header = encode(&header);
    let entries: Vec<Bytes> = request.entries.iter().map(encode_entry).collect();
    let total = entries.iter().map(|e| e.len() + 4).sum::<usize>() + header.len();
    let mut bytes = BytesMut::with_capacity(total);
    bytes.put_slice(&header);
    for entry in entries {
        bytes.put_u32(u32::try_from(entry.len()).expect("an entry is below 4 GiB"));
        bytes.put_slice(&entry);
    }
    bytes.freeze()
}

/// Decodes an append request; commands are slices of `bytes`.
///
/// # Errors
///
/// When the bytes are not an append request of this version.
pub fn decode_append(bytes: &Bytes) -> Result<AppendRequest, CodecError> {
    let what = "append request";
    let malformed = CodecError::Malformed { what };
    let (version, rest) = bytes.split_first().ok_or(CodecError::Empty { what })?;
    if *version != VERSION {
        return Err(CodecError::Version { what, found: *version });
    }
    let (header, mut rest): (AppendHeader, &[u8]) =
        postcard::take_from_bytes(rest).map_err(|_error| CodecError::Malformed { what })?;
    let mut entries = Vec::new();
    for _ in 0..header.entries {
        let Some((length, tail)) = rest.split_first_chunk::<4>() else { return Err(malformed) };
        let Ok(length) = usize::try_from(u32::from_be_bytes(*length)) else {
            return Err(malformed);
        };
        let Some((entry, tail)) = tail.split_at_checked(length) else { return Err(malformed) };
        entries.push(decode_entry(&bytes.slice_ref(entry))?);
        rest = tail;
    }
    if !rest.is_empty() {
        return Err(malformed);
    }
    Ok(AppendRequest {
        vote: header.vote,
        prev_log_id: header.prev_log_id,
        entries,
        leader_commit: header.leader_commit,
    })
}

/// A log id from its parts; for tests and for what is made up at founding.
pub fn log_id(term: u64, node: u64, index: u64) -> LogId {
    LogId { leader_id: LeaderId { term, node_id: node }, index }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(index: u64, payload: EntryPayload) -> Entry {
        Entry { log_id: log_id(3, 2, index), payload }
    }

    #[test]
    fn entries_of_every_kind_survive_a_round_trip() {
        let membership = Membership::new_with_defaults(
            vec![[1, 2, 3].into()],
            std::collections::BTreeSet::from([4]),
        );
        for payload in [
            EntryPayload::Blank,
            EntryPayload::Normal(Payload(Bytes::from_static(b"put"))),
            EntryPayload::Normal(Payload(Bytes::new())),
            EntryPayload::Membership(membership.clone()),
        ] {
            let before = entry(9, payload);
            let bytes = encode_entry(&before);
            assert_eq!(decode_entry(&bytes).unwrap(), before);
            assert_eq!(decode_entry_log_id(&bytes).unwrap(), before.log_id);
        }
        let mark = AppliedMark {
            log_id: Some(log_id(1, 1, 7)),
            membership: StoredMembership::new(Some(log_id(1, 1, 1)), membership),
        };
        assert_eq!(decode::<AppliedMark>("mark", &encode(&mark)).unwrap(), mark);
    }

    #[test]
    fn another_version_is_named() {
        assert_eq!(
            decode_entry(&Bytes::from_static(&[9, 1])).unwrap_err(),
            CodecError::Version { what: "log entry", found: 9 }
        );
    }

    proptest! {
        #[test]
        fn append_requests_survive_a_round_trip(
            values in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..20),
            commit in proptest::option::of(0u64..100),
        ) {
            let request = AppendRequest {
                vote: Vote { leader_id: LeaderId { term: 4, node_id: 1 }, committed: true },
                prev_log_id: Some(log_id(4, 1, 10)),
                leader_commit: commit.map(|c| log_id(4, 1, c)),
                entries: (11u64..).zip(values)
                    .map(|(i, v)| entry(i, EntryPayload::Normal(Payload(v.into()))))
                    .collect(),
            };
            let decoded = decode_append(&encode_append(&request)).unwrap();
            prop_assert_eq!(decoded.entries, request.entries);
            prop_assert_eq!(decoded.vote, request.vote);
            prop_assert_eq!(decoded.prev_log_id, request.prev_log_id);
            prop_assert_eq!(decoded.leader_commit, request.leader_commit);
        }

        #[test]
        fn arbitrary_bytes_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Some(first) = bytes.first_mut() { *first = VERSION; }
            let bytes = Bytes::from(bytes);
            let _entry = decode_entry(&bytes);
            let _append = decode_append(&bytes);
            let _mark = decode::<AppliedMark>("mark", &bytes);
        }
    }
}
