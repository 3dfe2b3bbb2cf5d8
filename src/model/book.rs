//! What the entries of one batch share: small rows, decoded once and written once.
//!
//! Why it exists: every write reads who owns what and changes the namespace's figures. Doing that
//! row by row would cost each write two lookups and one more change. Promises: what
//! [`Book::flush`] gives depends only on the entries, not on how they were cut into batches, as long
//! as it is made visible before the applied mark moves.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::apply::{ApplyError, View};
use super::command::Ownership;
use super::figures::{Figures, Tally};
use super::id::NamespaceId;
use super::rows::{OWNED_KEY, TALLY_KEY, figures_key};
use crate::storage::Effect;

/// Decoded rows of a group, over a batch of entries.
#[derive(Debug, Default)]
pub struct Book {
    owned: Option<Ownership>,
    figures: BTreeMap<NamespaceId, Page<Figures>>,
    tally: Option<Page<Tally>>,
}

/// A row as it was read, and as it is now.
#[derive(Clone, Copy, Debug, Default)]
struct Page<T> {
    stored: T,
    now: T,
}

impl Book {
    /// What the group owns; nothing, if it was never told.
    pub(super) fn owned(&mut self, view: &dyn View) -> Result<&Ownership, ApplyError> {
        let owned = match self.owned.take() {
            Some(owned) => owned,
            None => match view.get(OWNED_KEY)? {
                Some(bytes) => Ownership::decode(&bytes)?,
                None => Ownership::default(),
            },
        };
        Ok(self.owned.insert(owned))
    }

    /// Takes over what the group owns from now on; the row is the caller's to change.
    pub(super) fn set_owned(&mut self, owned: Ownership) {
        self.owned = Some(owned);
    }

    /// A namespace's figures.
    pub(super) fn figures(
        &mut self,
        view: &dyn View,
        namespace: NamespaceId,
    ) -> Result<Figures, ApplyError> {
        if let Some(page) = self.figures.get(&namespace) {
            return Ok(page.now);
        }
        let stored = match view.get(&figures_key(namespace))? {
            Some(bytes) => Figures::decode(&bytes)?,
            None => Figures::default(),
        };
        self.figures.insert(namespace, Page { stored, now: stored });
        Ok(stored)
    }

    /// Changes figures that were read before.
    pub(super) fn set_figures(&mut self, namespace: NamespaceId, figures: Figures) {
        self.figures.entry(namespace).or_default().now = figures;
    }

    /// The group's tally.
    pub(super) fn tally(&mut self, view: &dyn View) -> Result<Tally, ApplyError> {
        if let Some(page) = &self.tally {
            return Ok(page.now);
        }
        let stored = match view.get(TALLY_KEY)? {
            Some(bytes) => Tally::decode(&bytes)?,
            None => Tally::default(),
        };
        self.tally = Some(Page { stored, now: stored });
        Ok(stored)
    }

    /// Changes the tally that was read before.
    pub(super) fn set_tally(&mut self, tally: Tally) {
        self.tally.get_or_insert_default().now = tally;
    }

    /// The rows to change, before the applied mark moves. Figures and a
    /// tally of nothing are no row, so that it makes no difference whether one was written between.
    pub fn flush(&mut self) -> Vec<Effect> {
        let mut effects = Vec::new();
        for (namespace, page) in &mut self.figures {
            if page.now != page.stored {
                page.stored = page.now;
                let row = (page.now != Figures::default()).then(|| page.now.encode());
                effects.push(Effect::plain(figures_key(*namespace), row));
            }
        }
        if let Some(page) = &mut self.tally
            && page.now != page.stored
        {
            page.stored = page.now;
            let row = (page.now != Tally::default()).then(|| page.now.encode());
            effects.push(Effect::plain(Bytes::from_static(TALLY_KEY), row));
        }
        effects
    }
}
