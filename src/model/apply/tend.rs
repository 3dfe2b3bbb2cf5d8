//! What leaders do by themselves: ending leases, forgetting results, removing deleted namespaces.
//!
//! Promises: a lease that was renewed since its leader looked is not touched; one entry does a
//! bounded part and says whether more is left; after `purged_all` no row names the namespace.
//! Relies on: no request for a deleted namespace coming through any more, since its group knows
//! the epoch at which it was deleted.

use bytes::Bytes;

use super::draft::Draft;
use super::{ApplyError, View};
use super::{lease, once};
use crate::model::command::Tend;
use crate::model::figures::Figures;
use crate::model::id::NamespaceId;
use crate::model::lease::{LeaseRow, LeaseState};
use crate::model::lock::LockRow;
use crate::model::reply::TendReply;
use crate::model::row::Row;
use crate::model::rows::{
    DATA, LEASE, LOCK, ONCE, figures_key, kind_rows, namespace_rows, purged_to_key, split_data_key,
    split_lease_key,
};
use crate::runtime::limits::{PURGE_ROWS_MAX, TEND_KEYS_MAX};

/// Does what the leader asks for.
pub(super) fn tend(draft: &mut Draft<'_>, asked: &Tend) -> Result<TendReply, ApplyError> {
    let mut reply = TendReply::default();
    for &(id, renewed) in &asked.expire {
        let over = |row: &LeaseRow| !row.borrowed && row.renewed == renewed;
        if draft.lease(id)?.as_ref().is_some_and(over) {
            if reply.keys >= TEND_KEYS_MAX {
                reply.more = true;
                break;
            }
            reply.keys += lease::end(draft, id)?;
            reply.expired += 1;
        }
    }
    for &id in &asked.gone {
        if draft.lease(id)?.is_some_and(|row| row.borrowed) {
            if reply.keys >= TEND_KEYS_MAX {
                reply.more = true;
                break;
            }
            reply.keys += lease::end(draft, id)?;
            reply.gone += 1;
        }
    }
    let (forgotten, more) = once::forget(draft, asked.forget, |_| true)?;
    reply.forgotten = forgotten;
    reply.more |= more;
    if let Some((namespace, rows)) = asked.purge {
        purge(draft, namespace, rows.min(PURGE_ROWS_MAX), &mut reply)?;
    }
    Ok(reply)
}

/// The kinds of rows that a namespace has of its own, in their order.
const KINDS: [u8; 3] = [DATA, LOCK, ONCE];

/// Removes a portion of a namespace's rows. It begins behind the last one and never looks back: rows
/// that were removed stand in the way of a scan until a checkpoint is written.
fn purge(
    draft: &mut Draft<'_>,
    namespace: NamespaceId,
    rows_max: u32,
    reply: &mut TendReply,
) -> Result<(), ApplyError> {
    let position_key = purged_to_key(namespace);
    let position = draft.get(&position_key)?;
    let mut left = usize::try_from(rows_max).unwrap_or(usize::MAX);
    let mut last = None;
    for kind in KINDS {
        // Nothing to look for where a count says so: it may be behind very many removed rows.
        if kind == DATA && draft.figures(namespace)?.keys == 0 {
            continue;
        }
        let (first, to) = namespace_rows(kind, namespace);
        let from = match &position {
            Some(position) if *position >= first => successor(position),
            _ => first,
        };
        if from >= to || left == 0 {
            continue;
        }
        let rows = draft.view.scan(&from, &to, left)?;
        left -= rows.len();
        for (key, _) in rows {
            remove(draft, namespace, &key)?;
            reply.purged += 1;
            last = Some(key);
        }
    }
    if last.is_some() {
        draft.put(position_key, last);
    } else if left > 0 && draft.figures(namespace)?.keys == 0 {
        draft.set_figures(namespace, Figures::default());
        draft.put(position_key, None);
        reply.purged_all = true;
    } else {
        // Keys came behind the position, or none may be removed: from the start again.
        draft.put(position_key, None);
    }
    Ok(())
}

/// The smallest key above another.
fn successor(key: &[u8]) -> Bytes {
    [key, &[0]].concat().into()
}

fn remove(
    draft: &mut Draft<'_>,
    namespace: NamespaceId,
    row_key: &Bytes,
) -> Result<(), ApplyError> {
    // A lease that ended before in this entry may have taken it along.
    let Some(bytes) = draft.get(row_key)? else { return Ok(()) };
    match row_key.first() {
        Some(&LOCK) => {
            for place in LockRow::decode(&bytes)?.queue {
                draft.detach(place.lease, row_key)?;
            }
            draft.put(row_key.clone(), None);
        }
        Some(&ONCE) => once::purge(draft, row_key.clone(), &bytes)?,
        _ => {
            let row = Row::decode(&bytes)?;
            let key = split_data_key(row_key).map_or(&[][..], |(_, key)| key);
            draft.remove_data((namespace, key), row_key, &row)?;
            draft.put(row_key.clone(), None);
        }
    }
    Ok(())
}

fn has_keyed_rows(view: &dyn View, namespace: NamespaceId) -> Result<bool, ApplyError> {
    for kind in KINDS {
        let (from, to) = namespace_rows(kind, namespace);
        if !view.scan(&from, &to, 1)?.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether any row of a group names a namespace: one that was deleted is not yet removed here.
///
/// # Errors
///
/// When the rows cannot be read.
pub fn namespace_has_rows(view: &dyn View, namespace: NamespaceId) -> Result<bool, ApplyError> {
    Ok(view.get(&figures_key(namespace))?.is_some()
        || view.get(&purged_to_key(namespace))?.is_some()
        || has_keyed_rows(view, namespace)?)
}

/// Leases that one search of the rows gives.
const LEASES_AT_ONCE: usize = 1024;

/// All leases of a group, for those who watch their time.
///
/// # Errors
///
/// When the rows cannot be read.
pub fn leases(view: &dyn View) -> Result<Vec<LeaseState>, ApplyError> {
    let (mut from, to) = kind_rows(LEASE);
    let mut leases = Vec::new();
    loop {
        let rows = view.scan(&from, &to, LEASES_AT_ONCE)?;
        for (key, row) in &rows {
            if let Some(id) = split_lease_key(key) {
                leases.push(LeaseState::of(id, &LeaseRow::decode(row)?));
            }
        }
        match rows.last() {
            Some((key, _)) if rows.len() == LEASES_AT_ONCE => from = successor(key),
            _ => return Ok(leases),
        }
    }
}
