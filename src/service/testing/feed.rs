//! What scans and watches need of the fake wing: views and the history of what changed.
//!
//! Promises: a page of an earlier index is the rows of then. Relies on one index for all groups.

use std::collections::BTreeMap;

use bytes::Bytes;
use tokio::sync::watch;

use crate::consensus::ReadError;
use crate::model::GroupId;
use crate::storage::state::{Change, Changes, Gone, Page, PageRows};

use super::super::LocalFeed;
use super::{FakeWing, World};

impl World {
    /// Has all histories forget what came up to here.
    pub(crate) fn trim(&self, floor: u64) {
        let mut state = self.state.lock();
        state.floor = floor;
        state.history.retain(|(_, change)| change.index > floor);
    }

    /// All changes of a group that are kept: index, number and key.
    pub(crate) fn changes(&self, group: GroupId) -> Vec<(u64, u32, Bytes)> {
        let state = self.state.lock();
        let of_group = state.history.iter().filter(|(id, _)| *id == group);
        of_group.map(|(_, change)| (change.index, change.seq, change.key.clone())).collect()
    }

    /// The newest index of all groups.
    pub(crate) fn index(&self) -> u64 {
        self.state.lock().index
    }
}

impl LocalFeed for FakeWing {
    fn page(&self, group: GroupId, page: Page) -> Result<Result<PageRows, Gone>, ReadError> {
        if !self.hosts {
            return Err(ReadError::NotHere);
        }
        let state = self.world.state.lock();
        let (index, rows) = match state.held.get(&self.node) {
            Some(held) => (held.index, &held.rows),
            None => (state.index, &state.rows),
        };
        let at = page.at.unwrap_or(index);
        if at < state.floor {
            return Ok(Err(Gone { floor: state.floor }));
        }
        let of_group = rows.iter().filter(|((id, _), _)| *id == group);
        let mut rows: BTreeMap<Bytes, Bytes> =
            of_group.map(|((_, key), row)| (key.clone(), row.clone())).collect();
        for (_, change) in state.history.iter().rev().filter(|(id, _)| *id == group) {
            if change.index > at {
                match &change.before {
                    Some(row) => rows.insert(change.key.clone(), row.clone()),
                    None => rows.remove(&change.key),
                };
            }
        }
        let within = |key: &Bytes| *key >= page.from && page.to.as_ref().is_none_or(|to| key < to);
        rows.retain(|key, _| within(key));
        let mut rows: Vec<_> = rows.into_iter().collect();
        if page.reverse {
            rows.reverse();
        }
        let more = rows.len() > page.limit;
        rows.truncate(page.limit);
        if page.keys_only {
            rows.iter_mut().for_each(|(_, row)| *row = Bytes::new());
        }
        Ok(Ok(PageRows { rows, at, more }))
    }

    fn changes(
        &self,
        group: GroupId,
        after: u64,
        (from, to): (&[u8], Option<&[u8]>),
        _: usize,
    ) -> Result<Result<Changes, Gone>, ReadError> {
        if !self.hosts {
            return Err(ReadError::NotHere);
        }
        let applied = self.applied_here();
        let state = self.world.state.lock();
        if after < state.floor {
            return Ok(Err(Gone { floor: state.floor }));
        }
        let wanted = |(id, change): &&(GroupId, Change)| {
            *id == group
                && change.index > after
                && change.index <= applied
                && change.key >= from
                && to.is_none_or(|to| change.key < to)
        };
        let changes = state.history.iter().filter(wanted).map(|(_, c)| c.clone()).collect();
        let floor = state.floor;
        Ok(Ok(Changes { changes, floor, upto: applied.max(after), applied }))
    }

    fn applied_watch(&self, _: GroupId) -> watch::Receiver<u64> {
        if !self.hosts {
            return watch::channel(0).1;
        }
        if let Some(held) = self.world.state.lock().held.get(&self.node) {
            return held.applied.subscribe();
        }
        self.world.newest.subscribe()
    }

    fn hosts(&self, _: GroupId) -> bool {
        self.hosts
    }
}
