//! When the leases of one group end, at its leader.
//!
//! Promises: a lease is due no earlier than its full ttl after this leader saw its newest renewal
//! applied, or saw itself elected, whichever is later; every lease that is not renewed becomes due.
//! A look costs by what changed and what is due, never by how many leases there are. Borrowed leases
//! have no deadline here: their home decides. Relies on its caller to read the time *after* the
//! leases: a renewal must never be taken for older than it is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::model::{LeaseEvent, LeaseId, LeaseState};
use crate::runtime::Moment;
use crate::runtime::planted::{self, Bug};

/// Deadlines that others may look at between the looks of their driver.
pub type SharedDeadlines = Arc<Mutex<Deadlines>>;

/// The deadlines of one group's leases.
#[derive(Debug, Default)]
pub struct Deadlines {
    held: BTreeMap<LeaseId, Held>,
    due: BTreeSet<(Moment, LeaseId)>,
    borrowed: BTreeSet<LeaseId>,
    /// The time of the newest look.
    time: Moment,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    renewed: u64,
    due: Moment,
}

impl Deadlines {
    /// Gives every lease its full ttl from now: this node has just come to lead.
    pub fn begin(&mut self, time: Moment, leases: Vec<LeaseState>) {
        *self = Self::default();
        for mut lease in leases {
            if planted::active(Bug::LeaseEarly) {
                lease.ttl_ms = 0;
            }
            self.note(time, LeaseEvent::Lives(lease));
        }
    }

    /// Takes over what all leases are, when it is not known which have changed.
    pub fn replace(&mut self, time: Moment, leases: Vec<LeaseState>) {
        let there: BTreeSet<LeaseId> = leases.iter().map(|lease| lease.id).collect();
        let known = self.held.keys().chain(&self.borrowed);
        let ended: Vec<LeaseId> = known.filter(|id| !there.contains(id)).copied().collect();
        for id in ended {
            self.note(time, LeaseEvent::Ended(id));
        }
        for lease in leases {
            self.note(time, LeaseEvent::Lives(lease));
        }
    }

    /// Takes over what an entry did to a lease.
    pub fn note(&mut self, time: Moment, event: LeaseEvent) {
        let lease = match event {
            LeaseEvent::Ended(id) => {
                self.forget(id);
                self.borrowed.remove(&id);
                return;
            }
            LeaseEvent::Lives(lease) => lease,
        };
        let id = lease.id;
        if lease.borrowed {
            self.forget(id);
            self.borrowed.insert(id);
            return;
        }
        self.borrowed.remove(&id);
        if self.held.get(&id).is_some_and(|known| known.renewed == lease.renewed) {
            return;
        }
        self.forget(id);
        let due = time + Duration::from_millis(lease.ttl_ms);
        self.held.insert(id, Held { renewed: lease.renewed, due });
        self.due.insert((due, id));
    }

    /// The driver has seen all that there was to see at `time`.
    pub fn pass(&mut self, time: Moment) {
        self.time = time;
    }

    /// How long a lease whose home this group is still lived at the newest look. What that look did
    /// not see yet has all of its time: so will it be counted.
    pub fn remaining(&self, lease: &LeaseState) -> Duration {
        let held = self.held.get(&lease.id).filter(|held| held.renewed == lease.renewed);
        held.map_or(Duration::from_millis(lease.ttl_ms), |held| held.due.since(self.time))
    }

    fn forget(&mut self, id: LeaseId) {
        if let Some(known) = self.held.remove(&id) {
            self.due.remove(&(known.due, id));
        }
    }

    /// The leases that are due, the longest overdue first, each with the renewal that it is due by.
    pub fn expired(&self, time: Moment, most: usize) -> Vec<(LeaseId, u64)> {
        let due = self.due.iter().take_while(|(due, _)| *due <= time).take(most);
        due.filter_map(|(_, id)| self.held.get(id).map(|held| (*id, held.renewed))).collect()
    }

    /// The leases whose home is another group.
    pub fn borrowed(&self) -> &BTreeSet<LeaseId> {
        &self.borrowed
    }

    /// How many leases there are, the borrowed ones included.
    pub fn len(&self) -> usize {
        self.held.len() + self.borrowed.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(id: u64, ttl_ms: u64, renewed: u64) -> LeaseState {
        LeaseState { id: LeaseId(id), ttl_ms, renewed, borrowed: false, own: false }
    }

    fn lives(id: u64, ttl_ms: u64, renewed: u64) -> LeaseEvent {
        LeaseEvent::Lives(lease(id, ttl_ms, renewed))
    }

    fn at(ms: u64) -> Moment {
        Moment::default() + Duration::from_millis(ms)
    }

    #[test]
    fn what_remains_of_a_lease_is_counted_from_the_newest_look() {
        let mut deadlines = Deadlines::default();
        assert_eq!(deadlines.remaining(&lease(1, 100, 5)), Duration::from_millis(100), "not seen");
        deadlines.note(at(10), lives(1, 100, 5));
        deadlines.pass(at(40));
        assert_eq!(deadlines.remaining(&lease(1, 100, 5)), Duration::from_millis(70));
        assert_eq!(deadlines.remaining(&lease(1, 100, 8)), Duration::from_millis(100), "renewed");
        deadlines.pass(at(500));
        assert_eq!(deadlines.remaining(&lease(1, 100, 5)), Duration::ZERO);
    }

    #[test]
    fn a_lease_is_due_a_ttl_after_its_newest_renewal() {
        let mut deadlines = Deadlines::default();
        let id = LeaseId(1);
        deadlines.note(at(10), lives(1, 100, 5));
        deadlines.note(at(50), lives(1, 100, 5));
        assert_eq!(deadlines.expired(at(109), 9), []);
        assert_eq!(deadlines.expired(at(110), 9), [(id, 5)], "seen again is not renewed");
        deadlines.note(at(110), lives(1, 100, 8));
        assert_eq!(deadlines.expired(at(209), 9), []);
        assert_eq!(deadlines.expired(at(210), 9), [(id, 8)]);
        deadlines.note(at(220), LeaseEvent::Ended(id));
        assert!(deadlines.is_empty() && deadlines.due.is_empty());
    }

    #[test]
    fn a_new_leader_gives_every_lease_its_full_time() {
        let mut deadlines = Deadlines::default();
        deadlines.note(at(0), lives(1, 100, 5));
        deadlines.begin(at(90), vec![lease(1, 100, 5), lease(2, 50, 6)]);
        assert_eq!(deadlines.expired(at(139), 9), []);
        assert_eq!(deadlines.expired(at(200), 9), [(LeaseId(2), 6), (LeaseId(1), 5)]);
        assert_eq!(deadlines.expired(at(200), 1), [(LeaseId(2), 6)], "a bounded portion");
    }

    #[test]
    fn a_borrowed_lease_has_no_deadline_here() {
        let mut deadlines = Deadlines::default();
        let borrowed = LeaseState { borrowed: true, ..lease(1, 1, 1) };
        deadlines.note(at(0), LeaseEvent::Lives(borrowed));
        assert_eq!(deadlines.expired(at(9999), 9), []);
        assert_eq!(deadlines.borrowed().len(), 1);
        deadlines.replace(at(1), vec![lease(2, 5, 3)]);
        assert_eq!((deadlines.borrowed().len(), deadlines.len()), (0, 1));
        deadlines.replace(at(3), vec![lease(2, 5, 3)]);
        assert_eq!(deadlines.expired(at(6), 9), [(LeaseId(2), 3)], "a second look is no renewal");
    }

    #[test]
    fn a_hundred_thousand_leases_are_looked_at_only_when_due() {
        let mut deadlines = Deadlines::default();
        let leases = (0..100_000).map(|id| lease(id, 60_000 + id, 1)).collect();
        deadlines.begin(at(0), leases);
        // A scan of all for each of these looks would take minutes.
        for look in 0..10_000 {
            assert_eq!(deadlines.expired(at(look), 256).len(), 0);
        }
        assert_eq!(deadlines.expired(at(60_255), 1000).len(), 256);
    }
}
