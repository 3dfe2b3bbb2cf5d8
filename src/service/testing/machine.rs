//! The groups' state machines in memory: entries are applied by the model, as on a real node.
//!
//! Promises: an entry answers and changes what `consensus::machine` would have it answer and
//! change, one entry to a batch; what the model has recorded is history. Relies on `model::apply`
//! and `placement`.

use bytes::Bytes;

use crate::model::{
    self, Action, Book, Command, GroupId, Once, Outcome, Reply, Request, View, ViewError,
};
use crate::placement::{Catalog, CatalogCommand};
use crate::storage::Effect;
use crate::storage::state::Change;

use super::RowsOfAll;

/// One group as an entry at `index` finds it.
pub(super) struct Group<'a> {
    pub(super) rows: &'a mut RowsOfAll,
    pub(super) history: &'a mut Vec<(GroupId, Change)>,
    pub(super) id: GroupId,
    pub(super) index: u64,
}

impl Group<'_> {
    /// Applies a command; `catalog` is the one as applied so far.
    pub(super) fn apply(&mut self, command: &Command, catalog: &mut Catalog) -> Reply {
        let mut book = Book::default();
        let outcome = match command {
            Command::Catalog(bytes) => change(catalog, bytes),
            Command::Request(Request { once, action: Action::Catalog(bytes), .. }) => {
                self.change_once(&mut book, (once.as_ref(), bytes), catalog)
            }
            _ => model::apply(&mut book, self, self.index, command).unwrap(),
        };
        self.put(outcome.effects);
        self.put(book.flush());
        outcome.reply
    }

    fn change_once(
        &self,
        book: &mut Book,
        (once, bytes): (Option<&Once>, &Bytes),
        catalog: &mut Catalog,
    ) -> Outcome {
        let Some(once) = once else { return change(catalog, bytes) };
        if let Some(reply) = model::once::recall(self, once).unwrap() {
            return Outcome { reply, effects: Vec::new(), leases: Vec::new() };
        }
        let reply = change(catalog, bytes).reply;
        model::once::remember(book, self, self.index, once, reply).unwrap()
    }

    fn put(&mut self, effects: Vec<Effect>) {
        let mut seq = 0;
        for Effect { key, value, recorded } in effects {
            if let Some(recorded) = recorded {
                let (index, before, after) = (self.index, recorded.before, value.clone());
                let (key, note) = (key.clone(), recorded.note);
                self.history.push((self.id, Change { index, seq, key, before, after, note }));
                seq += 1;
            }
            match value {
                Some(value) => self.rows.insert((self.id, key), value),
                None => self.rows.remove(&(self.id, key)),
            };
        }
    }
}

fn change(catalog: &mut Catalog, bytes: &Bytes) -> Outcome {
    let reply = catalog.apply(&CatalogCommand::decode(bytes).unwrap());
    Outcome { reply: Reply::Catalog(reply.encode()), effects: Vec::new(), leases: Vec::new() }
}

impl View for Group<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, ViewError> {
        Ok(self.rows.get(&(self.id, Bytes::copy_from_slice(key))).cloned())
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<(Bytes, Bytes)>, ViewError> {
        let at = |key| (self.id, Bytes::copy_from_slice(key));
        let rows = self.rows.range(at(from)..at(to)).take(limit);
        Ok(rows.map(|((_, key), row)| (key.clone(), row.clone())).collect())
    }
}
