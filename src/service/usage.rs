//! How much the namespaces hold, over all groups, as far as this node knows.
//!
//! Why it exists: a quota is one number for a namespace, and its keys are spread over groups that know
//! only their own part. Promises: never exact, about a second old; what was never heard of is `None`,
//! and admits everything.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::model::NamespaceId;

/// Bytes and keys of the namespaces. Clones share.
#[derive(Clone, Debug, Default)]
pub struct Usage {
    known: Arc<RwLock<BTreeMap<NamespaceId, (u64, u64)>>>,
}

impl Usage {
    /// Bytes and keys of a namespace.
    pub fn of(&self, namespace: NamespaceId) -> Option<(u64, u64)> {
        self.known.read().get(&namespace).copied()
    }

    /// Replaces what is known.
    pub fn set(&self, known: BTreeMap<NamespaceId, (u64, u64)>) {
        *self.known.write() = known;
    }
}
