//! One ordered pass over layers of rows, the newest layer winning.
//!
//! Promises: each key once, in order, removed rows left out; memory bounded by one block or chunk
//! for each layer. Relies on: the layers not changing while they are read.

use std::collections::VecDeque;
use std::collections::btree_map;
use std::ops::Bound;

use bytes::Bytes;

use super::group::{Rows, untag};
use crate::runtime::limits::INDEX_SCAN_ROWS;
use crate::storage::StorageError;
use crate::storage::checkpoint::Table;
use crate::storage::engine::{Engine, Space};

/// A row of one layer; `None` hides the rows of older layers.
type Layered = (Bytes, Option<Bytes>);

/// One layer, read in key order.
#[derive(Debug)]
pub(super) enum Source<'a> {
    Map(btree_map::Range<'a, Bytes, Option<Bytes>>),
    Index { engine: &'a dyn Engine, space: Space, from: Option<Bytes>, rows: VecDeque<Layered> },
    Table { table: &'a Table, next: usize, from: Bytes, rows: VecDeque<Layered> },
}

impl<'a> Source<'a> {
    pub(super) fn map(rows: &'a Rows, from: &Bytes) -> Self {
        Self::Map(rows.range((Bound::Included(from.clone()), Bound::Unbounded)))
    }

    pub(super) fn index(engine: &'a dyn Engine, space: Space, from: &Bytes) -> Self {
        Self::Index { engine, space, from: Some(from.clone()), rows: VecDeque::new() }
    }

    pub(super) fn table(table: &'a Table, from: &Bytes) -> Self {
        let next = table.block_of(from);
        Self::Table { table, next, from: from.clone(), rows: VecDeque::new() }
    }

    fn next(&mut self) -> Result<Option<Layered>, StorageError> {
        match self {
            Self::Map(range) => Ok(range.next().map(|(key, value)| (key.clone(), value.clone()))),
            Self::Index { engine, space, from, rows } => {
                // `take` only where the rows are used up: it is what says that more may follow.
                if rows.is_empty()
                    && let Some(start) = from.take()
                {
                    let found = engine.scan(*space, &start, INDEX_SCAN_ROWS)?;
                    if found.len() == INDEX_SCAN_ROWS {
                        *from = found.last().map(|(key, _)| successor(key));
                    }
                    for (key, value) in found {
                        rows.push_back((key, untag(&value)?));
                    }
                }
                Ok(rows.pop_front())
            }
            Self::Table { table, next, from, rows } => {
                while rows.is_empty() && *next < table.blocks() {
                    let block = table.block(*next)?;
                    *next += 1;
                    let wanted = block.into_iter().filter(|(key, _)| *key >= *from);
                    rows.extend(wanted.map(|(key, value)| (key, Some(value))));
                }
                Ok(rows.pop_front())
            }
        }
    }
}

/// The smallest key above `key`.
fn successor(key: &[u8]) -> Bytes {
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
}

impl<'a> Merge<'a> {
    /// `sources` newest first.
    pub(super) fn new(sources: Vec<Source<'a>>) -> Result<Self, StorageError> {
        let mut layers = Vec::with_capacity(sources.len());
        for mut source in sources {
            let head = source.next()?;
            layers.push((source, head));
        }
        Ok(Self { layers })
    }

    /// The next row that exists.
    pub(super) fn next(&mut self) -> Result<Option<(Bytes, Bytes)>, StorageError> {
        loop {
            let heads = self.layers.iter().filter_map(|(_, head)| head.as_ref());
            let Some(key) = heads.map(|(key, _)| key).min().cloned() else { return Ok(None) };
            let mut newest: Option<Option<Bytes>> = None;
            for (source, head) in &mut self.layers {
                if head.as_ref().is_some_and(|(found, _)| *found == key) {
                    let taken = std::mem::replace(head, source.next()?);
                    newest = newest.or(taken.map(|(_, value)| value));
                }
            }
            if let Some(Some(value)) = newest {
                return Ok(Some((key, value)));
            }
        }
    }
}
