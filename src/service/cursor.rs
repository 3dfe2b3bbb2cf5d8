//! Where a scan or a watch goes on: opaque to clients, the same for every node.
//!
//! Why it exists: positions of many groups must travel through a client and come back unharmed, at
//! any node. Promises: what reads back is what was written, or an error: damaged text, a cursor of
//! another kind, cluster or namespace, one for other keys. No secrecy: who makes one up reads what
//! it may read anyway. The text is base64url without padding of a version byte (which names the kind
//! too), postcard, and eight bytes of xxh3.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::model::{GroupId, NamespaceId};
use crate::runtime::limits::CURSOR_TEXT_BYTES_MAX;

const SCAN: u8 = 0x11;
const WATCH: u8 = 0x21;
const CHECK_BYTES: usize = 8;

/// The cursor cannot be used here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no cursor for this request: {why}")]
pub(super) struct CursorError {
    pub(super) why: &'static str,
}

/// Positions of groups, in the order of their ids.
pub(super) type Vector = BTreeMap<GroupId, u64>;

/// Whose cursor it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Scope {
    pub(super) cluster: u64,
    pub(super) namespace: NamespaceId,
    /// The history that it points into, by the epoch at which that was switched on.
    pub(super) recorded_since: u64,
}

/// Where a scan goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ScanCursor {
    pub(super) scope: Scope,
    /// Of the keys, direction and folding: a cursor belongs to one question.
    pub(super) query: u64,
    /// Row key: forward the first that may come, in reverse the one that all are below.
    pub(super) edge: Bytes,
    /// The view of each group; `None` in a namespace that keeps no history.
    pub(super) view: Option<Steps>,
}

/// Where a watch goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct WatchCursor {
    pub(super) scope: Scope,
    /// All of these entries are done with.
    pub(super) at: Steps,
    /// The entries that are not, though begun: group, index, and the last change that is.
    pub(super) parts: Vec<(GroupId, u64, u32)>,
    /// While the initial state is not done with: the question and the next row key.
    pub(super) initial: Option<(u64, Bytes)>,
}

/// A vector on its way: ids as steps, so that a thousand groups take a few kilobytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Steps(Vec<(u64, u64)>);

impl From<&Vector> for Steps {
    fn from(vector: &Vector) -> Self {
        let mut last = 0;
        let step = |(group, index): (&GroupId, &u64)| {
            let step = group.0 - last;
            last = group.0;
            (step, *index)
        };
        Self(vector.iter().map(step).collect())
    }
}

impl Steps {
    /// The vector; `None` when it cannot have been one.
    pub(super) fn vector(&self) -> Option<Vector> {
        let mut last = 0u64;
        let mut vector = Vector::new();
        for (step, index) in &self.0 {
            last = last.checked_add(*step)?;
            if vector.insert(GroupId(last), *index).is_some() {
                return None;
            }
        }
        Some(vector)
    }
}

impl ScanCursor {
    /// The cursor's text.
    pub(super) fn encode(&self) -> String {
        seal(SCAN, self)
    }

    /// Reads a cursor for this question.
    pub(super) fn decode(text: &str, scope: Scope, query: u64) -> Result<Self, CursorError> {
        let cursor: Self = open(SCAN, text)?;
        check_scope(cursor.scope, scope)?;
        if cursor.query != query {
            return Err(CursorError { why: "it belongs to other keys or another direction" });
        }
        Ok(cursor)
    }
}

impl WatchCursor {
    /// The cursor's text.
    pub(super) fn encode(&self) -> String {
        seal(WATCH, self)
    }

    /// Reads a cursor of this namespace.
    pub(super) fn decode(text: &str, scope: Scope) -> Result<Self, CursorError> {
        let cursor: Self = open(WATCH, text)?;
        check_scope(cursor.scope, scope)?;
        Ok(cursor)
    }
}

fn check_scope(found: Scope, scope: Scope) -> Result<(), CursorError> {
    if found.cluster != scope.cluster {
        return Err(CursorError { why: "it is of another cluster" });
    }
    if found.namespace != scope.namespace {
        return Err(CursorError { why: "it is of another namespace" });
    }
    Ok(())
}

/// A number for a question, so that its cursors can be told from those of others.
pub(super) fn query_of(parts: &[&[u8]]) -> u64 {
    let mut hash = Xxh3::new();
    for part in parts {
        // Lengths in between: ("a", "b") is not ("ab", "").
        hash.update(&(part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.digest()
}

fn seal(version: u8, cursor: &impl Serialize) -> String {
    let mut bytes = postcard::to_extend(cursor, vec![version])
        .expect("numbers and bytes are written into memory, which does not fail");
    let check = xxh3_64(&bytes).to_be_bytes();
    bytes.extend_from_slice(&check);
    URL_SAFE_NO_PAD.encode(bytes)
}

fn open<T: DeserializeOwned>(version: u8, text: &str) -> Result<T, CursorError> {
    let wrong = |why| CursorError { why };
    if text.len() > CURSOR_TEXT_BYTES_MAX {
        return Err(wrong("it is too long"));
    }
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_error| wrong("it is not base64url"))?;
    let (sealed, check) =
        bytes.split_last_chunk::<CHECK_BYTES>().ok_or_else(|| wrong("it is too short"))?;
    if xxh3_64(sealed).to_be_bytes() != *check {
        return Err(wrong("it is damaged"));
    }
    let (&found, body) = sealed.split_first().ok_or_else(|| wrong("it is too short"))?;
    if found != version {
        return Err(wrong("it is of another kind or release"));
    }
    let (cursor, rest) =
        postcard::take_from_bytes(body).map_err(|_error| wrong("its content cannot be read"))?;
    if !rest.is_empty() {
        return Err(wrong("its content cannot be read"));
    }
    Ok(cursor)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SCOPE: Scope = Scope { cluster: 7, namespace: NamespaceId(3), recorded_since: 0 };

    fn watch(vector: &Vector) -> WatchCursor {
        WatchCursor { scope: SCOPE, at: vector.into(), parts: vec![], initial: None }
    }

    proptest! {
        #[test]
        fn cursors_read_back_as_written(
            vector in proptest::collection::btree_map(0u64.., any::<u64>(), 0..20),
            edge: Vec<u8>, query: u64, parts: Vec<(u64, u64, u32)>,
        ) {
            let vector: Vector = vector.into_iter().map(|(g, i)| (GroupId(g), i)).collect();
            let cursor = ScanCursor {
                scope: SCOPE, query, edge: edge.clone().into(), view: Some((&vector).into()),
            };
            let read = ScanCursor::decode(&cursor.encode(), SCOPE, query).unwrap();
            prop_assert_eq!(read.view.as_ref().and_then(Steps::vector), Some(vector.clone()));
            prop_assert_eq!(read, cursor);
            let cursor = WatchCursor {
                parts: parts.into_iter().map(|(g, i, s)| (GroupId(g), i, s)).collect(),
                initial: Some((query, edge.into())),
                ..watch(&vector)
            };
            prop_assert_eq!(WatchCursor::decode(&cursor.encode(), SCOPE), Ok(cursor));
        }

        #[test]
        fn any_text_is_a_cursor_or_an_error(text: String) {
            drop(WatchCursor::decode(&text, SCOPE));
            drop(ScanCursor::decode(&text, SCOPE, 1));
        }

        #[test]
        fn any_sealed_bytes_are_a_cursor_or_an_error(body: Vec<u8>) {
            let mut bytes = vec![WATCH];
            bytes.extend(body);
            let check = xxh3_64(&bytes).to_be_bytes();
            bytes.extend(check);
            let text = URL_SAFE_NO_PAD.encode(bytes);
            drop(WatchCursor::decode(&text, SCOPE).map(|cursor| cursor.at.vector()));
        }
    }

    #[test]
    fn a_cursor_is_refused_where_it_does_not_belong() {
        let vector: Vector = [(GroupId(1), 900)].into();
        let text = watch(&vector).encode();
        let refused = |text: &str, scope| WatchCursor::decode(text, scope).unwrap_err().why;
        let elsewhere = Scope { cluster: 8, ..SCOPE };
        assert_eq!(refused(&text, elsewhere), "it is of another cluster");
        let elsewhere = Scope { namespace: NamespaceId(4), ..SCOPE };
        assert_eq!(refused(&text, elsewhere), "it is of another namespace");
        let why = ScanCursor::decode(&text, SCOPE, 0).unwrap_err().why;
        assert_eq!(why, "it is of another kind or release");
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            assert!(WatchCursor::decode(&changed, SCOPE).is_err(), "{changed} passes for {text}");
        }
        let scan = ScanCursor { scope: SCOPE, query: 5, edge: Bytes::new(), view: None }.encode();
        assert!(ScanCursor::decode(&scan, SCOPE, 5).is_ok());
        assert!(ScanCursor::decode(&scan, SCOPE, 6).is_err());
    }

    #[test]
    fn a_thousand_groups_and_the_longest_key_fit() {
        let vector: Vector = (1..=1000).map(|g| (GroupId(g), u64::MAX >> 16)).collect();
        let edge = Bytes::from(vec![7; crate::runtime::limits::KEY_BYTES_MAX + 9]);
        let cursor = WatchCursor { initial: Some((u64::MAX, edge)), ..watch(&vector) };
        let text = cursor.encode();
        assert!(text.len() <= CURSOR_TEXT_BYTES_MAX, "{}", text.len());
        assert_eq!(WatchCursor::decode(&text, SCOPE), Ok(cursor));
    }

    #[test]
    fn questions_differ_when_any_part_does() {
        assert_ne!(query_of(&[b"a", b"b"]), query_of(&[b"ab", b""]));
        assert_eq!(query_of(&[b"a", b"b"]), query_of(&[b"a", b"b"]));
    }
}
