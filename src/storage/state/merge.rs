//! One ordered pass over layers of rows, in either direction, the newest layer winning.
//!
//! Promises: each key of the window once, in its order, removed rows left out or told as such; memory
//! bounded by one block or chunk for each layer. Relies on: the layers not changing while they are
//! read.

use std::collections::VecDeque;
use std::collections::btree_map;
use std::ops::Bound;

use bytes::Bytes;

use super::group::{Rows, untag};
use crate::runtime::limits::INDEX_SCAN_ROWS;
use crate::runtime::planted::{self, Bug};
use crate::storage::StorageError;
use crate::storage::checkpoint::Table;
use crate::storage::engine::{Engine, Space};

/// A row of one layer; `None` hides the rows of older layers.
pub(super) type Layered = (Bytes, Option<Bytes>);

/// Which keys a pass covers, and in which direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) from: Bytes,
    /// Exclusive; without it to the last key.
    pub(super) to: Option<Bytes>,
    pub(super) reverse: bool,
}

impl Window {
    /// All rows in key order.
    pub(super) const fn all() -> Self {
        Self { from: Bytes::new(), to: None, reverse: false }
    }

    pub(super) fn contains(&self, key: &[u8]) -> bool {
        key >= &self.from[..] && self.to.as_ref().is_none_or(|to| key < &to[..])
    }

    pub(super) fn is_empty(&self) -> bool {
        self.to.as_ref().is_some_and(|to| *to <= self.from)
    }

    /// Leaves what a pass that has come to `key` has not seen yet.
    pub(super) fn pass(&mut self, key: &[u8]) {
        if self.reverse {
            self.to = Some(Bytes::copy_from_slice(key));
        } else {
            self.from = successor(key);
        }
    }

    /// Leaves what a pass that has come to `key` has seen, `key` included.
    pub(super) fn end_with(&mut self, key: &[u8]) {
        if self.reverse {
            self.from = Bytes::copy_from_slice(key);
        } else {
            self.to = Some(successor(key));
        }
    }

    /// What follows `seen`, which is the first part of this window.
    pub(super) fn without(&self, seen: &Self) -> Option<Self> {
        let mut rest = self.clone();
        if self.reverse {
            rest.to = Some(seen.from.clone());
        } else {
            rest.from = seen.to.clone()?;
        }
        (!rest.is_empty()).then_some(rest)
    }

    /// Leaves what comes before `key`.
    pub(super) fn stop_before(&mut self, key: Bytes) {
        if self.reverse {
            self.from = successor(&key);
        } else {
            self.to = Some(key);
        }
    }
}

/// One layer, read in the window's direction.
#[derive(Debug)]
pub(super) enum Source<'a> {
    Map {
        range: btree_map::Range<'a, Bytes, Option<Bytes>>,
        reverse: bool,
    },
    Index {
        engine: &'a dyn Engine,
        space: Space,
        /// `None` when all was read.
        left: Option<Window>,
        rows: VecDeque<Layered>,
    },
    Table {
        table: &'a Table,
        next: Option<usize>,
        window: Window,
        rows: VecDeque<Layered>,
    },
}

impl<'a> Source<'a> {
    /// The window is not empty.
    pub(super) fn map(rows: &'a Rows, window: &Window) -> Self {
        let to = window.to.clone().map_or(Bound::Unbounded, Bound::Excluded);
        let range = rows.range((Bound::Included(window.from.clone()), to));
        Self::Map { range, reverse: window.reverse }
    }

    pub(super) fn index(engine: &'a dyn Engine, space: Space, window: &Window) -> Self {
        Self::Index { engine, space, left: Some(window.clone()), rows: VecDeque::new() }
    }

    pub(super) fn table(table: &'a Table, window: &Window) -> Self {
        let next = match &window.to {
            _ if !window.reverse => Some(table.block_of(&window.from)),
            Some(to) => Some(table.block_of(to)),
            None => table.blocks().checked_sub(1),
        };
        Self::Table { table, next, window: window.clone(), rows: VecDeque::new() }
    }

    fn next(&mut self) -> Result<Option<Layered>, StorageError> {
        match self {
            Self::Map { range, reverse } => {
                let next = if *reverse { range.next_back() } else { range.next() };
                Ok(next.map(|(key, value)| (key.clone(), value.clone())))
            }
            Self::Index { engine, space, left, rows } => {
                // `take` only where the rows are used up: it is what says that more may follow.
                if rows.is_empty()
                    && let Some(mut window) = left.take()
                {
                    let found = if window.reverse {
                        engine.scan_back(*space, window.to.as_deref(), INDEX_SCAN_ROWS)?
                    } else {
                        engine.scan(*space, &window.from, INDEX_SCAN_ROWS)?
                    };
                    if let Some((last, _)) = found.last()
                        && found.len() == INDEX_SCAN_ROWS
                    {
                        window.pass(last);
                        *left = Some(window);
                    }
                    for (key, value) in found {
                        rows.push_back((key, untag(&value)?));
                    }
                }
                Ok(rows.pop_front())
            }
            Self::Table { table, next, window, rows } => {
                while rows.is_empty()
                    && let Some(number) = next.filter(|number| *number < table.blocks())
                {
                    let block = table.block(number)?.into_iter();
                    let block = block.map(|(key, value)| (key, Some(value)));
                    // Only at the near end of the window: the pass stops at its far end.
                    if window.reverse {
                        *next = number.checked_sub(1);
                        let to = window.to.as_ref();
                        rows.extend(block.rev().filter(|(key, _)| to.is_none_or(|to| key < to)));
                    } else {
                        *next = Some(number + 1);
                        rows.extend(block.filter(|(key, _)| *key >= window.from));
                    }
                }
                Ok(rows.pop_front())
            }
        }
    }
}

/// The smallest key above `key`.
pub(super) fn successor(key: &[u8]) -> Bytes {
    let mut next = Vec::with_capacity(key.len() + 1);
    next.extend_from_slice(key);
    next.push(0);
    next.into()
}

/// Rows of several layers as one.
#[derive(Debug)]
pub(super) struct Merge<'a> {
    // Newest first, each with its next row.
    layers: Vec<(Source<'a>, Option<Layered>)>,
    window: Window,
}

impl<'a> Merge<'a> {
    /// `sources` newest first, each made for the same window.
    pub(super) fn new(sources: Vec<Source<'a>>, window: Window) -> Result<Self, StorageError> {
        let mut layers = Vec::with_capacity(sources.len());
        for mut source in sources {
            let head = source.next()?;
            layers.push((source, head));
        }
        Ok(Self { layers, window })
    }

    /// The next key that some layer knows, with its row if there is one.
    pub(super) fn visit(&mut self) -> Result<Option<Layered>, StorageError> {
        let heads = self.layers.iter().filter_map(|(_, head)| head.as_ref());
        let keys = heads.map(|(key, _)| key);
        let first = if self.window.reverse { keys.max() } else { keys.min() };
        let Some(key) = first.filter(|key| self.window.contains(key)).cloned() else {
            return Ok(None);
        };
        let mut newest: Option<Option<Bytes>> = None;
        for (source, head) in &mut self.layers {
            if head.as_ref().is_some_and(|(found, _)| *found == key) {
                let taken = std::mem::replace(head, source.next()?);
                if planted::active(Bug::RemovedRowReappears) && newest == Some(None) {
                    newest = None;
                }
                newest = newest.or(taken.map(|(_, value)| value));
            }
        }
        Ok(Some((key, newest.flatten())))
    }

    /// The next row that exists.
    pub(super) fn next(&mut self) -> Result<Option<(Bytes, Bytes)>, StorageError> {
        while let Some((key, value)) = self.visit()? {
            if let Some(value) = value {
                return Ok(Some((key, value)));
            }
        }
        Ok(None)
    }
}
