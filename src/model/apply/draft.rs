//! The changes of one entry while they are made: what a later step of the entry reads.
//!
//! Promises: reads see what the entry did before; each row changes once, with the value from before
//! the entry in its record; [`Draft::clear`] takes everything back. Relies on the [`Book`] for
//! figures, which it changes only at [`Draft::finish`].

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{ApplyError, Outcome, View};
use crate::model::book::Book;
use crate::model::codec;
use crate::model::command::Ownership;
use crate::model::denial::Denial;
use crate::model::figures::{Figures, Tally};
use crate::model::id::{NamespaceId, Slot};
use crate::model::lease::{LeaseEvent, LeaseId, LeaseRow, LeaseState};
use crate::model::op::Space;
use crate::model::patch::Budget;
use crate::model::reply::Reply;
use crate::model::row::Row;
use crate::model::rows::{attached_key, lease_key};
use crate::runtime::limits::{LEASE_KEYS_MAX, LEASES_MAX};
use crate::storage::{Effect, Recorded};

/// One entry's changes.
pub(super) struct Draft<'a> {
    book: &'a mut Book,
    pub(super) view: &'a dyn View,
    pub(super) index: u64,
    /// Wall clock of the node that accepted the request.
    pub(super) at_ms: u64,
    /// What its patches may still cost; what was taken back has cost its time all the same.
    pub(super) patching: Budget,
    changes: Changes,
}

#[derive(Default)]
struct Changes {
    effects: Vec<Effect>,
    places: BTreeMap<Bytes, usize>,
    leases: BTreeMap<LeaseId, Option<LeaseRow>>,
    figures: BTreeMap<NamespaceId, Figures>,
    tally: Option<Tally>,
}

/// What a key or a place in a lock is about to depend on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Support {
    id: LeaseId,
    row: LeaseRow,
}

impl<'a> Draft<'a> {
    pub(super) fn new(book: &'a mut Book, view: &'a dyn View, index: u64, at_ms: u64) -> Self {
        Self { book, view, index, at_ms, patching: Budget::default(), changes: Changes::default() }
    }

    /// Takes back all changes.
    pub(super) fn clear(&mut self) {
        self.changes = Changes::default();
    }

    /// Makes the changes.
    pub(super) fn finish(self, reply: Reply) -> Outcome {
        let Changes { mut effects, leases, figures, tally, .. } = self.changes;
        let mut events = Vec::with_capacity(leases.len());
        for (id, row) in leases {
            effects.push(Effect::plain(lease_key(id), row.map(|row| row.encode())));
            events.push(match row {
                Some(row) => LeaseEvent::Lives(LeaseState::of(id, &row)),
                None => LeaseEvent::Ended(id),
            });
        }
        for (namespace, figures) in figures {
            self.book.set_figures(namespace, figures);
        }
        if let Some(tally) = tally {
            self.book.set_tally(tally);
        }
        Outcome { reply, effects, leases: events }
    }

    /// A row, with what the entry did to it.
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Bytes>, ApplyError> {
        match self.changes.places.get(key).and_then(|place| self.changes.effects.get(*place)) {
            Some(effect) => Ok(effect.value.clone()),
            None => Ok(self.view.get(key)?),
        }
    }

    /// Whether the entry has changed a row.
    pub(super) fn is_changed(&self, key: &[u8]) -> bool {
        self.changes.places.contains_key(key)
    }

    /// Changes a row that the history does not keep.
    pub(super) fn put(&mut self, key: Bytes, value: Option<Bytes>) {
        self.change(Effect::plain(key, value));
    }

    /// Changes a row that the history keeps. `before` is the row as the entry finds it now.
    pub(super) fn put_recorded(
        &mut self,
        key: Bytes,
        before: Option<Bytes>,
        value: Option<Bytes>,
        note: u8,
    ) {
        self.change(Effect { key, value, recorded: Some(Recorded { before, note }) });
    }

    fn change(&mut self, effect: Effect) {
        let Changes { effects, places, .. } = &mut self.changes;
        match places.get(&effect.key).and_then(|place| effects.get_mut(*place)) {
            Some(earlier) => {
                earlier.value = effect.value;
                match (&mut earlier.recorded, &effect.recorded) {
                    (Some(earlier), Some(now)) => earlier.note = now.note,
                    // What is purged leaves no history, with whatever came of it just before.
                    (recorded, _) => *recorded = None,
                }
            }
            None => {
                places.insert(effect.key.clone(), effects.len());
                effects.push(effect);
            }
        }
    }

    /// What the group owns.
    pub(super) fn owned(&mut self) -> Result<&Ownership, ApplyError> {
        self.book.owned(self.view)
    }

    /// A namespace's figures, with what the entry did to them.
    pub(super) fn figures(&mut self, namespace: NamespaceId) -> Result<Figures, ApplyError> {
        match self.changes.figures.get(&namespace) {
            Some(figures) => Ok(*figures),
            None => self.book.figures(self.view, namespace),
        }
    }

    /// Sets a namespace's figures.
    pub(super) fn set_figures(&mut self, namespace: NamespaceId, figures: Figures) {
        self.changes.figures.insert(namespace, figures);
    }

    /// The group's tally, with what the entry did to it.
    pub(super) fn tally(&mut self) -> Result<Tally, ApplyError> {
        match self.changes.tally {
            Some(tally) => Ok(tally),
            None => self.book.tally(self.view),
        }
    }

    /// Sets the group's tally.
    pub(super) fn set_tally(&mut self, tally: Tally) {
        self.changes.tally = Some(tally);
    }

    /// The revision that the next change in a namespace gets.
    pub(super) fn next_revision(&mut self, space: &Space) -> Result<u64, ApplyError> {
        Ok(if space.ordered { self.figures(space.id)?.counter + 1 } else { self.index })
    }

    /// The revision of the newest change in a namespace.
    pub(super) fn newest_revision(&mut self, space: &Space) -> Result<u64, ApplyError> {
        Ok(if space.ordered { self.figures(space.id)?.counter } else { self.index })
    }

    /// A lease, with what the entry did to it.
    pub(super) fn lease(&self, id: LeaseId) -> Result<Option<LeaseRow>, ApplyError> {
        if let Some(row) = self.changes.leases.get(&id) {
            return Ok(*row);
        }
        Ok(self.view.get(&lease_key(id))?.map(|bytes| LeaseRow::decode(&bytes)).transpose()?)
    }

    /// Changes, makes or removes a lease.
    pub(super) fn set_lease(
        &mut self,
        id: LeaseId,
        row: Option<LeaseRow>,
    ) -> Result<(), ApplyError> {
        let existed = self.lease(id)?.is_some();
        if existed != row.is_some() {
            let mut tally = self.tally()?;
            tally.leases = if existed { tally.leases - 1 } else { tally.leases + 1 };
            self.set_tally(tally);
        }
        self.changes.leases.insert(id, row);
        Ok(())
    }

    /// Whether the group may have one more lease.
    pub(super) fn room_for_lease(&mut self) -> Result<Result<(), Denial>, ApplyError> {
        let full = self.tally()?.leases >= LEASES_MAX;
        Ok(if full { Err(Denial::TooManyLeases { limit: LEASES_MAX }) } else { Ok(()) })
    }

    /// Whether something may depend on a granted lease. A lease of another home is taken on trust:
    /// the asker has looked it up there, and this group's leader goes on doing so.
    pub(super) fn support(&mut self, id: LeaseId) -> Result<Result<Support, Denial>, ApplyError> {
        if id.is_own() {
            return Ok(Err(Denial::NoLease(id)));
        }
        if let Some(row) = self.lease(id)? {
            let full = row.keys >= LEASE_KEYS_MAX;
            let denial = Denial::TooManyKeys { limit: LEASE_KEYS_MAX };
            return Ok(if full { Err(denial) } else { Ok(Support { id, row }) });
        }
        if self.owned()?.owns(id.slot()) {
            return Ok(Err(Denial::NoLease(id)));
        }
        let index = self.index;
        let row = LeaseRow { ttl_ms: 0, granted: index, renewed: index, borrowed: true, keys: 0 };
        Ok(self.room_for_lease()?.map(|()| Support { id, row }))
    }

    /// Makes a time to live of a key's own. `at_once` says that the key gives one up for it.
    pub(super) fn own_support(
        &mut self,
        slot: Slot,
        ttl_ms: u64,
        at_once: bool,
    ) -> Result<Result<Support, Denial>, ApplyError> {
        if ttl_ms == 0 {
            let reason = "a time to live of nothing".to_owned();
            return Ok(Err(Denial::Invalid { reason }));
        }
        if !at_once && let Err(denial) = self.room_for_lease()? {
            return Ok(Err(denial));
        }
        // As the index, but never the same twice: one entry may make several.
        let number = self.index.max(self.tally()?.own_newest + 1);
        let (granted, renewed) = (self.index, self.index);
        let row = LeaseRow { ttl_ms, granted, renewed, borrowed: false, keys: 0 };
        Ok(Ok(Support { id: LeaseId::own(slot, number), row }))
    }

    /// Has a row depend on a lease.
    pub(super) fn attach(
        &mut self,
        support: Support,
        row_key: &[u8],
        ordered: bool,
    ) -> Result<LeaseId, ApplyError> {
        let Support { id, mut row } = support;
        if id.is_own() {
            let mut tally = self.tally()?;
            tally.own_newest = self.index.max(tally.own_newest + 1);
            self.set_tally(tally);
        }
        row.keys += 1;
        self.set_lease(id, Some(row))?;
        self.put(attached_key(id, row_key), Some(codec::seal(&ordered, &[])));
        Ok(id)
    }

    /// Has a row depend on a lease no longer. An own lease ends with that, and a borrowed one with
    /// the last of what depends on it.
    pub(super) fn detach(&mut self, id: LeaseId, row_key: &[u8]) -> Result<(), ApplyError> {
        self.put(attached_key(id, row_key), None);
        let Some(mut row) = self.lease(id)? else { return Ok(()) };
        row.keys = row.keys.saturating_sub(1);
        let over = id.is_own() || (row.borrowed && row.keys == 0);
        self.set_lease(id, (!over).then_some(row))
    }

    /// Removes a data row, its figures and what it depends on.
    pub(super) fn remove_data(
        &mut self,
        (namespace, key): (NamespaceId, &[u8]),
        row_key: &Bytes,
        row: &Row,
    ) -> Result<(), ApplyError> {
        if let Some(lease) = row.lease {
            self.detach(lease, row_key)?;
        }
        let mut figures = self.figures(namespace)?;
        figures.bytes = figures.bytes.saturating_sub(cost(key, &row.value));
        figures.keys = figures.keys.saturating_sub(1);
        self.set_figures(namespace, figures);
        Ok(())
    }
}

/// What a key and its value count in a namespace's figures.
pub(super) fn cost(key: &[u8], value: &[u8]) -> u64 {
    u64::try_from(key.len() + value.len()).unwrap_or(u64::MAX)
}
