//! Which watches a change concerns.
//!
//! Why it exists: ten thousand idle watches must cost a change nothing. Watches stand under the
//! namespace and the prefix that all of their keys share; a key is looked up once for each length
//! that such prefixes have. Promises: every watch whose range holds the key is found; one whose range
//! does not may be found too, and looks for itself. Pure but for the bells.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::model::{GroupId, NamespaceId, split_data_key};
use crate::storage::state::Change;

use super::bell::{Bell, Span};

/// Watches by what they are about.
#[derive(Debug, Default)]
pub(super) struct Index {
    namespaces: BTreeMap<NamespaceId, Prefixes>,
}

#[derive(Debug, Default)]
struct Prefixes {
    /// How many prefixes there are of each length.
    lengths: BTreeMap<usize, usize>,
    watches: BTreeMap<Bytes, BTreeMap<u64, Arc<Bell>>>,
}

impl Index {
    /// Adds a watch.
    pub(super) fn add(&mut self, namespace: NamespaceId, prefix: &Bytes, id: u64, bell: Arc<Bell>) {
        let prefixes = self.namespaces.entry(namespace).or_default();
        if !prefixes.watches.contains_key(prefix) {
            *prefixes.lengths.entry(prefix.len()).or_default() += 1;
        }
        prefixes.watches.entry(prefix.clone()).or_default().insert(id, bell);
    }

    /// Removes a watch.
    pub(super) fn remove(&mut self, namespace: NamespaceId, prefix: &Bytes, id: u64) {
        let Some(prefixes) = self.namespaces.get_mut(&namespace) else { return };
        let Some(watches) = prefixes.watches.get_mut(prefix) else { return };
        watches.remove(&id);
        if !watches.is_empty() {
            return;
        }
        prefixes.watches.remove(prefix);
        if let Some(count) = prefixes.lengths.get_mut(&prefix.len()) {
            *count -= 1;
            if *count == 0 {
                prefixes.lengths.remove(&prefix.len());
            }
        }
        if prefixes.watches.is_empty() {
            self.namespaces.remove(&namespace);
        }
    }

    /// Whether there are no watches.
    pub(super) fn is_empty(&self) -> bool {
        self.namespaces.is_empty()
    }

    /// Rings for the watches that these changes of a group may concern, each once.
    pub(super) fn ring(&self, group: GroupId, changes: &[Change]) {
        let mut hit: BTreeMap<(NamespaceId, &[u8]), Span> = BTreeMap::new();
        for change in changes {
            let Some((namespace, key)) = split_data_key(&change.key) else { continue };
            let Some(prefixes) = self.namespaces.get(&namespace) else { continue };
            for length in prefixes.lengths.keys() {
                let Some(prefix) = key.get(..*length) else { break };
                if prefixes.watches.contains_key(prefix) {
                    let span = Span { first: change.index, last: change.index };
                    hit.entry((namespace, prefix)).or_insert(span).last = change.index;
                }
            }
        }
        for ((namespace, prefix), span) in hit {
            let watches = self.namespaces.get(&namespace).and_then(|p| p.watches.get(prefix));
            for bell in watches.into_iter().flat_map(BTreeMap::values) {
                bell.ring(group, span);
            }
        }
    }

    /// Rings for all.
    pub(super) fn ring_all(&self, group: GroupId, span: Span) {
        let all = self.namespaces.values().flat_map(|prefixes| prefixes.watches.values());
        for bell in all.flat_map(BTreeMap::values) {
            bell.ring(group, span);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::data_key;

    fn change(namespace: u64, key: &[u8], index: u64) -> Change {
        let key = data_key(NamespaceId(namespace), key);
        Change { index, seq: 0, key, before: None, after: None, note: 0 }
    }

    fn text() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(prop_oneof![Just(b'a'), Just(b'b')], 0..4)
    }

    proptest! {
        #[test]
        fn exactly_the_watches_whose_prefix_a_key_has_are_rung(
            watches in proptest::collection::vec((1u64..3, text()), 0..12),
            gone in proptest::collection::vec(any::<bool>(), 12),
            namespace in 1u64..3, key in text(),
        ) {
            let mut index = Index::default();
            let bells: Vec<Arc<Bell>> = watches.iter().map(|_| Arc::default()).collect();
            for (id, ((ns, prefix), bell)) in (0u64..).zip(watches.iter().zip(&bells)) {
                index.add(NamespaceId(*ns), &prefix.clone().into(), id, Arc::clone(bell));
            }
            for (id, ((ns, prefix), gone)) in (0u64..).zip(watches.iter().zip(&gone)) {
                if *gone {
                    index.remove(NamespaceId(*ns), &prefix.clone().into(), id);
                }
            }
            index.ring(GroupId(1), &[change(namespace, &key, 7)]);
            for ((watch, bell), gone) in watches.iter().zip(&bells).zip(gone) {
                let wanted = !gone && watch.0 == namespace && key.starts_with(&watch.1);
                prop_assert_eq!(!bell.is_quiet(), wanted);
            }
            for (id, (ns, prefix)) in (0u64..).zip(watches) {
                index.remove(NamespaceId(ns), &prefix.into(), id);
            }
            prop_assert!(index.is_empty());
        }
    }
}
