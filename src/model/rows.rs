//! How the rows of a group are keyed: a kind byte, then what orders rows of that kind.
//!
//! Why it exists: one ordered map per group holds everything that the group knows, so that one
//! checkpoint carries it whole. The kind byte keeps the group's own facts (below `0x10`) apart from
//! users' keys, and within a namespace rows stand in the order of their keys, which is what scans
//! read. Numbers in keys are big-endian.
//!
//! | kind | row | key behind the kind |
//! |---|---|---|
//! | `0x01` | ownership | |
//! | `0x02` | catalog (group 0) | |
//! | `0x03` | the group's tally | |
//! | `0x10` | data | namespace 8, key |
//! | `0x11` | a namespace's figures | namespace 8 |
//! | `0x12` | lock | namespace 8, name |
//! | `0x13` | remembered result | namespace 8, idempotency key |
//! | `0x14` | remembered results in order | index 8 |
//! | `0x15` | lease | id 8 |
//! | `0x16` | what depends on a lease | id 8, kind 1, namespace 8, key |
//! | `0x17` | how far a deleted namespace is removed | namespace 8 |
//!
//! Kinds are never reused. Kinds from `0x80` on belong to the cellar.

use bytes::Bytes;

use super::id::NamespaceId;
use super::lease::LeaseId;

/// Row of the group's [`Ownership`](super::Ownership).
pub const OWNED_KEY: &[u8] = &[0x01];

/// Row of the catalog (group 0 only).
pub const CATALOG_KEY: &[u8] = &[0x02];

/// Row of the group's [`Tally`](super::Tally).
pub const TALLY_KEY: &[u8] = &[0x03];

/// Kind byte of users' keys.
pub const DATA: u8 = 0x10;
/// Kind byte of namespaces' figures.
pub const FIGURES: u8 = 0x11;
/// Kind byte of locks.
pub const LOCK: u8 = 0x12;
/// Kind byte of remembered results.
pub const ONCE: u8 = 0x13;
/// Kind byte of the order of remembered results.
pub const ONCE_AT: u8 = 0x14;
/// Kind byte of leases.
pub const LEASE: u8 = 0x15;
/// Kind byte of what depends on leases.
pub const ATTACHED: u8 = 0x16;
/// Kind byte of how far a deleted namespace is removed.
pub const PURGED_TO: u8 = 0x17;

fn numbered(kind: u8, number: u64, rest: &[u8]) -> Bytes {
    let mut row_key = Vec::with_capacity(1 + 8 + rest.len());
    row_key.push(kind);
    row_key.extend_from_slice(&number.to_be_bytes());
    row_key.extend_from_slice(rest);
    Bytes::from(row_key)
}

fn split_numbered(kind: u8, row_key: &[u8]) -> Option<(u64, &[u8])> {
    let (&found, rest) = row_key.split_first()?;
    let (number, rest) = rest.split_first_chunk::<8>().filter(|_| found == kind)?;
    Some((u64::from_be_bytes(*number), rest))
}

/// The end of all rows of a kind with a number, and all before: for `[from, to)`.
fn after(kind: u8, number: u64) -> Bytes {
    match number.checked_add(1) {
        Some(next) => numbered(kind, next, &[]),
        None => Bytes::copy_from_slice(&[kind + 1]),
    }
}

/// Row key of a user's key.
pub fn data_key(namespace: NamespaceId, key: &[u8]) -> Bytes {
    numbered(DATA, namespace.0, key)
}

/// The namespace and key of a data row; `None` for a row of another kind.
pub fn split_data_key(row_key: &[u8]) -> Option<(NamespaceId, &[u8])> {
    split_numbered(DATA, row_key).map(|(number, key)| (NamespaceId(number), key))
}

/// The rows `[from, to)` of a kind (`DATA`, `LOCK`, `ONCE`) in a namespace.
pub fn namespace_rows(kind: u8, namespace: NamespaceId) -> (Bytes, Bytes) {
    (numbered(kind, namespace.0, &[]), after(kind, namespace.0))
}

/// All rows `[from, to)` of a kind.
pub fn kind_rows(kind: u8) -> (Bytes, Bytes) {
    (Bytes::copy_from_slice(&[kind]), Bytes::copy_from_slice(&[kind + 1]))
}

/// Row key of a namespace's figures.
pub fn figures_key(namespace: NamespaceId) -> Bytes {
    numbered(FIGURES, namespace.0, &[])
}

/// The namespace of a row of figures; `None` for a row of another kind.
pub fn split_figures_key(row_key: &[u8]) -> Option<NamespaceId> {
    split_numbered(FIGURES, row_key).map(|(number, _)| NamespaceId(number))
}

/// Row key of a lock.
pub fn lock_key(namespace: NamespaceId, name: &[u8]) -> Bytes {
    numbered(LOCK, namespace.0, name)
}

/// The namespace and name of a lock's row; `None` for a row of another kind.
pub fn split_lock_key(row_key: &[u8]) -> Option<(NamespaceId, &[u8])> {
    split_numbered(LOCK, row_key).map(|(number, name)| (NamespaceId(number), name))
}

/// Row key of a remembered result.
pub fn once_key(space: NamespaceId, key: &[u8]) -> Bytes {
    numbered(ONCE, space.0, key)
}

/// Row key of a remembered result's place in the order of all.
pub fn once_at_key(index: u64) -> Bytes {
    numbered(ONCE_AT, index, &[])
}

/// The index of a remembered result's place; `None` for a row of another kind.
pub fn split_once_at_key(row_key: &[u8]) -> Option<u64> {
    split_numbered(ONCE_AT, row_key).map(|(index, _)| index)
}

/// Row key of a lease.
pub fn lease_key(id: LeaseId) -> Bytes {
    numbered(LEASE, id.0, &[])
}

/// The id of a lease's row; `None` for a row of another kind.
pub fn split_lease_key(row_key: &[u8]) -> Option<LeaseId> {
    split_numbered(LEASE, row_key).map(|(id, _)| LeaseId(id))
}

/// Row key of the fact that another row (of data or a lock) depends on a lease: the id, then the
/// key of that row.
pub fn attached_key(id: LeaseId, row_key: &[u8]) -> Bytes {
    numbered(ATTACHED, id.0, row_key)
}

/// The lease and the key of the dependent row; `None` for a row of another kind.
pub fn split_attached_key(row_key: &[u8]) -> Option<(LeaseId, &[u8])> {
    split_numbered(ATTACHED, row_key).map(|(id, row_key)| (LeaseId(id), row_key))
}

/// The rows `[from, to)` that say what depends on a lease.
pub fn attached_rows(id: LeaseId) -> (Bytes, Bytes) {
    (numbered(ATTACHED, id.0, &[]), after(ATTACHED, id.0))
}

/// Row key of how far a deleted namespace is removed.
pub fn purged_to_key(namespace: NamespaceId) -> Bytes {
    numbered(PURGED_TO, namespace.0, &[])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_data_key_splits_into_what_it_was_made_of(namespace: u64, key: Vec<u8>) {
            let row_key = data_key(NamespaceId(namespace), &key);
            prop_assert_eq!(
                split_data_key(&row_key),
                Some((NamespaceId(namespace), key.as_slice()))
            );
        }

        #[test]
        fn rows_stand_in_order_of_namespace_and_key(
            a: (u64, Vec<u8>),
            b: (u64, Vec<u8>),
        ) {
            let rows = data_key(NamespaceId(a.0), &a.1).cmp(&data_key(NamespaceId(b.0), &b.1));
            prop_assert_eq!(rows, a.cmp(&b));
        }

        #[test]
        fn any_bytes_are_a_data_key_or_none(bytes: Vec<u8>) {
            let data = bytes.first() == Some(&DATA) && bytes.len() >= 9;
            prop_assert_eq!(split_data_key(&bytes).is_some(), data);
        }
    }

    #[test]
    fn no_users_key_can_name_a_row_of_the_group() {
        for own in [OWNED_KEY, CATALOG_KEY] {
            assert_eq!(split_data_key(own), None);
            assert!(own < data_key(NamespaceId(0), b"").as_ref(), "kinds of the group come first");
        }
    }
}
