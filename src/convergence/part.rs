//! Rows from a place on, as many as fit.
//!
//! Why it exists: one row may be a hundred long values, and whoever goes through all rows must not hold
//! thousands of those at once. Promises: at most so many rows, of about so many bytes together, but one
//! row at least; what it says comes next is behind all that it gave and passes over nothing. Relies on
//! the pages of `storage::state`, which stop reading when they are full.

use std::collections::BTreeMap;
use std::ops::{Bound, Range};

use bytes::Bytes;

use super::draft::{Draft, Place};
use super::rows::after;
use super::words::ReadError;
use crate::storage::state::Page;

/// How much is read at a time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Most rows.
    pub(super) rows: usize,
    /// About so many bytes.
    pub(super) bytes: usize,
}

/// Rows of a range, from its start on.
#[derive(Debug)]
pub(super) struct Part {
    /// In order.
    pub(super) rows: Vec<(Bytes, Bytes)>,
    /// Where the others begin, if there may be more.
    pub(super) next: Option<Bytes>,
}

impl Place {
    /// Visible rows.
    pub(super) fn part(&self, range: &Range<Bytes>, bounds: Bounds) -> Result<Part, ReadError> {
        if range.is_empty() {
            return Ok(Part { rows: Vec::new(), next: None });
        }
        let page = Page {
            from: range.start.clone(),
            to: Some(range.end.clone()),
            reverse: false,
            at: None,
            limit: bounds.rows,
            bytes_max: bounds.bytes,
            keys_only: false,
        };
        let found = self.state.page(self.group, page)?;
        let found = found.map_err(|gone| ReadError { reason: gone.to_string() })?;
        let last = found.rows.last().filter(|_| found.more);
        let next = last.map(|(row, _)| after(row));
        Ok(Part { rows: found.rows, next })
    }
}

impl Draft {
    /// Rows as they will be: up to where the visible ones are known, changed ones are merged in.
    pub(super) fn part(&self, range: &Range<Bytes>, bounds: Bounds) -> Result<Part, ReadError> {
        let Part { rows, next } = self.place.part(range, bounds)?;
        let mut merged: BTreeMap<Bytes, Option<Bytes>> =
            rows.into_iter().map(|(row, value)| (row, Some(value))).collect();
        let upto = next.as_ref().unwrap_or(&range.end);
        if range.start < *upto {
            let here = (Bound::Included(&range.start), Bound::Excluded(upto));
            let changed = self.rows.range::<Bytes, _>(here);
            merged.extend(changed.map(|(row, value)| (row.clone(), value.clone())));
        }
        let rows = merged.into_iter().filter_map(|(row, value)| Some((row, value?)));
        Ok(Part { rows: rows.collect(), next })
    }
}
