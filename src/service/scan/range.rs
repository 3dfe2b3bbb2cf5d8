//! Which keys a scan or a watch is about: a prefix, a range, or both.
//!
//! Promises: [`KeyRange::row_bounds`] are exactly the row keys of the namespace's keys that
//! [`KeyRange::contains`]. Pure.

use bytes::Bytes;

use crate::model::{NamespaceId, data_key};

/// Keys from one on and below another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyRange {
    from: Bytes,
    to: Option<Bytes>,
}

impl KeyRange {
    /// The keys that begin with `prefix`, are not below `start`, and are below `end`.
    pub fn new(prefix: &[u8], start: &[u8], end: Option<&[u8]>) -> Self {
        let from = Bytes::copy_from_slice(prefix.max(start));
        let to = match (end_of(prefix), end) {
            (Some(a), Some(b)) => Some(a.min(Bytes::copy_from_slice(b))),
            (Some(a), None) => Some(a),
            (None, b) => b.map(Bytes::copy_from_slice),
        };
        Self { from, to }
    }

    /// Whether the key is among them.
    pub fn contains(&self, key: &[u8]) -> bool {
        self.from <= key && self.to.as_ref().is_none_or(|to| key < to)
    }

    /// Whether there can be no such key.
    pub fn is_empty(&self) -> bool {
        self.to.as_ref().is_some_and(|to| *to <= self.from)
    }

    /// The longest beginning that all of them share.
    pub fn shared_prefix(&self) -> Bytes {
        let Some(to) = &self.to else { return Bytes::new() };
        let shared = self.from.iter().zip(to.iter()).take_while(|(a, b)| a == b).count();
        if end_of(&self.from).as_ref() == Some(to) {
            return self.from.clone();
        }
        self.from.slice(..shared)
    }

    /// The first key that may be one of them, and the first above them all.
    pub(in crate::service) fn bounds(&self) -> (&Bytes, Option<&Bytes>) {
        (&self.from, self.to.as_ref())
    }

    /// The row keys of these keys: from the first on and below the second.
    pub fn row_bounds(&self, namespace: NamespaceId) -> (Bytes, Bytes) {
        let from = data_key(namespace, &self.from);
        let to = match &self.to {
            Some(to) => data_key(namespace, to),
            None => end_of(&data_key(namespace, b"")).expect("a row's kind is not 0xff"),
        };
        (from, to)
    }
}

/// The smallest key above all that begin with `prefix`; `None` when there is none.
pub(in crate::service) fn end_of(prefix: &[u8]) -> Option<Bytes> {
    let kept = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut end = prefix.get(..=kept)?.to_vec();
    *end.last_mut()? += 1;
    Some(end.into())
}

/// The smallest key above `key`.
pub(in crate::service) fn after(key: &[u8]) -> Bytes {
    let mut next = Vec::with_capacity(key.len() + 1);
    next.extend_from_slice(key);
    next.push(0);
    next.into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn short() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(prop_oneof![Just(0u8), Just(97), Just(255)], 0..4)
    }

    proptest! {
        #[test]
        fn a_range_holds_exactly_what_its_parts_say(
            prefix in short(), start in short(), end in proptest::option::of(short()),
            key in short(), namespace: u64,
        ) {
            let range = KeyRange::new(&prefix, &start, end.as_deref());
            let wanted = key.starts_with(&prefix)
                && key >= start
                && end.as_ref().is_none_or(|end| key < *end);
            prop_assert_eq!(range.contains(&key), wanted);
            prop_assert!(!wanted || key.starts_with(&range.shared_prefix()));
            let (from, to) = range.row_bounds(NamespaceId(namespace));
            let row = data_key(NamespaceId(namespace), &key);
            prop_assert_eq!(from <= row && row < to, wanted);
        }

        #[test]
        fn no_key_lies_between_one_and_the_next(key in short(), other in short()) {
            prop_assert_eq!(other > key, other[..] >= after(&key)[..]);
        }
    }

    #[test]
    fn a_prefix_alone_is_what_its_keys_share() {
        assert_eq!(KeyRange::new(b"a/", b"", None).shared_prefix(), "a/");
        assert_eq!(KeyRange::new(b"", b"abc", Some(b"abx")).shared_prefix(), "ab");
        assert!(KeyRange::new(b"b", b"", Some(b"a")).is_empty());
    }
}
