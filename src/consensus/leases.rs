//! The leases of one group as applied here, for the driver that ends them.
//!
//! Promises: equal to the lease rows after each apply. Relies on `machine` to tell every change, and
//! on `tend` to be the only one that takes the changes away.

use std::collections::{BTreeMap, BTreeSet};

use parking_lot::Mutex;

use crate::model::{LeaseEvent, LeaseId, LeaseState};

/// The leases of one group.
#[derive(Debug, Default)]
pub struct LeaseTable {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    leases: BTreeMap<LeaseId, LeaseState>,
    touched: BTreeSet<LeaseId>,
}

impl LeaseTable {
    /// A lease was granted, renewed or ended.
    pub fn note(&self, event: LeaseEvent) {
        let mut inner = self.inner.lock();
        let id = match event {
            LeaseEvent::Lives(lease) => {
                inner.leases.insert(lease.id, lease);
                lease.id
            }
            LeaseEvent::Ended(id) => {
                inner.leases.remove(&id);
                id
            }
        };
        inner.touched.insert(id);
    }

    /// Whether the lease lives.
    pub fn contains(&self, id: LeaseId) -> bool {
        self.inner.lock().leases.contains_key(&id)
    }

    /// All leases.
    pub fn all(&self) -> Vec<LeaseState> {
        self.inner.lock().leases.values().copied().collect()
    }

    /// What has changed since this was last asked; `None` when only a look at all tells.
    pub fn take_changes(&self) -> Option<Vec<LeaseEvent>> {
        let mut inner = self.inner.lock();
        let touched = std::mem::take(&mut inner.touched);
        let event = |id| match inner.leases.get(&id) {
            Some(lease) => LeaseEvent::Lives(*lease),
            None => LeaseEvent::Ended(id),
        };
        Some(touched.into_iter().map(event).collect())
    }
}
