//! The leases of one group as its replica has applied them, for whoever watches their time.
//!
//! Why it exists: a leader must know every lease of its group at any moment, and must not read all
//! of their rows to find the one that is over. Promises: the table is what the rows say at the
//! applied index, from opening on and after every snapshot; one reader learns of changes without
//! looking at everything ([`LeaseTable::news`]). Bounded: by `LEASES_MAX` a group, and news by
//! [`LEASE_NEWS_MAX`]. Relies on [`Machine`](super::machine::Machine) to feed it, in log order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use crate::model::{LeaseEvent, LeaseId, LeaseState};
use crate::runtime::limits::LEASE_NEWS_MAX;

/// The leases of one group.
#[derive(Debug)]
pub struct LeaseTable {
    inner: Mutex<Inner>,
    /// Counts changes, so that a reader can wait for the next one.
    changes: watch::Sender<u64>,
    /// Told of every change too: one for all tables of a node, so that nobody looks at each in vain.
    stirred: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Inner {
    leases: BTreeMap<LeaseId, LeaseState>,
    /// Changed since the last news; `None` when everything may have.
    touched: Option<BTreeSet<LeaseId>>,
}

/// What changed since the news before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseNews {
    /// Possibly everything: all leases as they are.
    All(Vec<LeaseState>),
    /// These, each with its state; `None` for one that ended.
    Some(Vec<(LeaseId, Option<LeaseState>)>),
}

impl Default for LeaseTable {
    fn default() -> Self {
        Self::telling(Arc::default())
    }
}

impl LeaseTable {
    /// An empty table that tells of its changes.
    pub fn telling(stirred: Arc<Notify>) -> Self {
        Self { inner: Mutex::default(), changes: watch::Sender::new(0), stirred }
    }

    /// Replaces everything, as read from the rows.
    pub fn load(&self, leases: Vec<LeaseState>) {
        let leases = leases.into_iter().map(|lease| (lease.id, lease)).collect();
        *self.inner.lock() = Inner { leases, touched: None };
        self.tell();
    }

    /// Takes over what entries did.
    pub fn apply(&self, events: &[LeaseEvent]) {
        if events.is_empty() {
            return;
        }
        let mut inner = self.inner.lock();
        let Inner { leases, touched } = &mut *inner;
        for event in events {
            let id = match event {
                LeaseEvent::Lives(lease) => {
                    leases.insert(lease.id, *lease);
                    lease.id
                }
                LeaseEvent::Ended(id) => {
                    leases.remove(id);
                    *id
                }
            };
            if let Some(ids) = touched {
                ids.insert(id);
            }
        }
        // Nobody reads news on a follower: then the next reader gets everything.
        if touched.as_ref().is_some_and(|ids| ids.len() > LEASE_NEWS_MAX) {
            *touched = None;
        }
        drop(inner);
        self.tell();
    }

    fn tell(&self) {
        self.changes.send_modify(|changes| *changes += 1);
        self.stirred.notify_one();
    }

    /// What changed since the last call; everything at the first one. For one reader.
    pub fn news(&self) -> LeaseNews {
        let mut inner = self.inner.lock();
        match inner.touched.replace(BTreeSet::new()) {
            None => LeaseNews::All(inner.leases.values().copied().collect()),
            Some(ids) => LeaseNews::Some(
                ids.into_iter().map(|id| (id, inner.leases.get(&id).copied())).collect(),
            ),
        }
    }

    /// All leases, in the order of their ids.
    pub fn all(&self) -> Vec<LeaseState> {
        self.inner.lock().leases.values().copied().collect()
    }

    /// One lease.
    pub fn get(&self, id: LeaseId) -> Option<LeaseState> {
        self.inner.lock().leases.get(&id).copied()
    }

    /// How many leases there are.
    pub fn count(&self) -> usize {
        self.inner.lock().leases.len()
    }

    /// Changes whenever a lease does.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(id: u64, renewed: u64) -> LeaseState {
        LeaseState { id: LeaseId(id), ttl_ms: 5, renewed, borrowed: false, own: false }
    }

    #[test]
    fn the_first_news_is_everything_and_the_next_what_changed() {
        let table = LeaseTable::default();
        table.load(vec![lease(1, 1), lease(2, 2)]);
        assert_eq!(table.news(), LeaseNews::All(vec![lease(1, 1), lease(2, 2)]));
        assert_eq!(table.news(), LeaseNews::Some(vec![]));
        table.apply(&[LeaseEvent::Lives(lease(1, 9)), LeaseEvent::Ended(LeaseId(2))]);
        let expected = vec![(LeaseId(1), Some(lease(1, 9))), (LeaseId(2), None)];
        assert_eq!(table.news(), LeaseNews::Some(expected));
        assert_eq!((table.all(), table.count()), (vec![lease(1, 9)], 1));
        table.load(vec![]);
        assert_eq!(table.news(), LeaseNews::All(vec![]));
    }

    #[test]
    fn news_that_nobody_reads_stay_bounded() {
        let table = LeaseTable::default();
        assert_eq!(table.news(), LeaseNews::All(vec![]));
        let most = u64::try_from(LEASE_NEWS_MAX).unwrap();
        for id in 0..=most {
            table.apply(&[LeaseEvent::Ended(LeaseId(id))]);
        }
        assert_eq!(table.news(), LeaseNews::All(vec![]));
    }

    #[test]
    fn a_change_wakes_who_waits_and_no_change_does_not() {
        let table = LeaseTable::default();
        let mut watch = table.watch();
        watch.mark_unchanged();
        table.apply(&[]);
        assert!(!watch.has_changed().unwrap());
        table.apply(&[LeaseEvent::Lives(lease(1, 1))]);
        assert!(watch.has_changed().unwrap());
    }
}
