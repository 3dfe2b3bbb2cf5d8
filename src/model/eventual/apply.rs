//! What an operation does to one cell.
//!
//! Why it exists: it is the one step that local writes, streams and replay share. Promises: over cells
//! that its origin's removed dots are covered by, the order of concurrent operations makes no
//! difference; applying what a state sync has brought already changes nothing that lasts.
//! Relies on its caller to apply every operation once, in an order that keeps vectors gap-free and
//! what an operation removes before it.

use super::cell::{Cell, Content, Swept, Version};
use super::dot::{Dot, Hlc};
use super::merge::{keep_mark, newest_totals};
use super::op::CellChange;
use crate::runtime::planted::{self, Bug};

/// A cell after a change of it by an operation; `None` is no cell.
pub fn apply(cell: Option<Cell>, dot: Dot, hlc: Hlc, change: &CellChange) -> Option<Cell> {
    let mut cell = cell.unwrap_or_default();
    for removed in &change.removes {
        let version = cell.live.remove(&removed.dot);
        let version = version.filter(|_| !planted::active(Bug::EventualLossUnsaid));
        if removed.seen {
            // Somebody built on it, so it is not lost, whoever else had swept it before.
            cell.swept.remove(&removed.dot);
        } else if let Some(version) = version {
            keep_mark(&mut cell, removed.dot, Swept { by: dot, version });
        } else if let Some(mark) = cell.swept.get_mut(&removed.dot) {
            mark.by = mark.by.min(dot);
        }
    }
    if change.put.is_none() && planted::active(Bug::EventualRemoveUnseen) {
        cell.live.clear();
    }
    if let Some(put) = &change.put {
        let version = Version { hlc, lineage: put.lineage, content: put.content.clone() };
        if matches!(put.content, Content::Value { .. }) {
            let count = cell.writes.entry(dot.actor).or_default();
            *count = (*count).max(put.nth);
        }
        cell.live.insert(dot, version);
        newest_totals(&mut cell);
    }
    cell.present()
}
