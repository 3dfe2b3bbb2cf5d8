//! How the rows of a group are keyed: a kind byte, then what orders rows of that kind.
//!
//! Why it exists: one ordered map per group holds everything that the group knows, so that one
//! checkpoint carries it whole. The kind byte keeps the group's own facts (below `0x10`) apart from
//! users' keys, and within a namespace rows stand in the order of their keys, which is what scans
//! will read.
//!
//! Kinds in use: `0x01` ownership, `0x02` catalog, `0x10` data. Kinds are never reused.

use bytes::Bytes;

use super::id::NamespaceId;

/// Row of the group's [`Ownership`](super::Ownership).
pub const OWNED_KEY: &[u8] = &[0x01];

/// Row of the catalog (group 0 only).
pub const CATALOG_KEY: &[u8] = &[0x02];

/// Kind byte of users' keys.
const DATA: u8 = 0x10;

/// Row key of a user's key: `0x10`, namespace big-endian, key.
pub fn data_key(namespace: NamespaceId, key: &[u8]) -> Bytes {
    let mut row_key = Vec::with_capacity(1 + 8 + key.len());
    row_key.push(DATA);
    row_key.extend_from_slice(&namespace.0.to_be_bytes());
    row_key.extend_from_slice(key);
    Bytes::from(row_key)
}

/// The namespace and key of a data row; `None` for a row of another kind.
pub fn split_data_key(row_key: &[u8]) -> Option<(NamespaceId, &[u8])> {
    let (&kind, rest) = row_key.split_first()?;
    if kind != DATA {
        return None;
    }
    let (namespace, key) = rest.split_first_chunk::<8>()?;
    Some((NamespaceId(u64::from_be_bytes(*namespace)), key))
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
