//! Leases: made, renewed, ended; what depends on one vanishes with it.
//!
//! Promises: a lease and everything in this group that depends on it go in one entry, each key as
//! one change of its own in the history.

use bytes::Bytes;

use super::draft::Draft;
use super::key;
use super::lock;
use super::{ApplyError, NOTE_EXPIRE};
use crate::model::codec;
use crate::model::denial::Denial;
use crate::model::lease::{LeaseId, LeaseRow};
use crate::model::op::LeaseOp;
use crate::model::reply::LeaseReply;
use crate::model::rows::{attached_rows, split_attached_key, split_data_key, split_lock_key};
use crate::runtime::limits::LEASE_KEYS_MAX;

/// Does what was asked of a lease.
pub(super) fn run(draft: &mut Draft<'_>, op: &LeaseOp) -> Result<LeaseReply, ApplyError> {
    let at = draft.index;
    match *op {
        LeaseOp::Grant { id, ttl_ms } => grant(draft, id, ttl_ms),
        LeaseOp::Renew { id } => Ok(match at_home(draft, id)? {
            Some(row) => {
                draft.set_lease(id, Some(LeaseRow { renewed: at, ..row }))?;
                LeaseReply::Renewed { ttl_ms: row.ttl_ms, at }
            }
            None => LeaseReply::Missing,
        }),
        LeaseOp::Revoke { id } => Ok(match at_home(draft, id)? {
            Some(_) => LeaseReply::Revoked { keys: end(draft, id)?, at },
            None => LeaseReply::Missing,
        }),
    }
}

/// A lease whose home is here. A borrowed row says nothing of whether the lease lives.
fn at_home(draft: &Draft<'_>, id: LeaseId) -> Result<Option<LeaseRow>, ApplyError> {
    Ok(draft.lease(id)?.filter(|row| !row.borrowed))
}

fn grant(draft: &mut Draft<'_>, id: LeaseId, ttl_ms: u64) -> Result<LeaseReply, ApplyError> {
    let at = draft.index;
    if ttl_ms == 0 || id.is_own() {
        let reason = "a lease lives longer than nothing, and its id is not of a key".to_owned();
        return Ok(LeaseReply::Denied(Denial::Invalid { reason }));
    }
    Ok(match draft.lease(id)? {
        Some(row) if row.ttl_ms == ttl_ms => LeaseReply::Granted { id, ttl_ms, at },
        Some(row) => LeaseReply::Denied(Denial::LeaseExists { ttl_ms: row.ttl_ms }),
        None => match draft.room_for_lease()? {
            Err(denial) => LeaseReply::Denied(denial),
            Ok(()) => {
                let (granted, renewed) = (at, at);
                let row = LeaseRow { ttl_ms, granted, renewed, borrowed: false, keys: 0 };
                draft.set_lease(id, Some(row))?;
                LeaseReply::Granted { id, ttl_ms, at }
            }
        },
    })
}

/// Ends a lease; how many keys and places in locks went with it.
pub(super) fn end(draft: &mut Draft<'_>, id: LeaseId) -> Result<u64, ApplyError> {
    let (from, to) = attached_rows(id);
    let most = usize::try_from(LEASE_KEYS_MAX).unwrap_or(usize::MAX);
    let rows = draft.view.scan(&from, &to, most)?;
    let mut keys = 0;
    for (attached, ordered) in rows {
        // Something before in this entry may have removed it.
        if draft.get(&attached)?.is_none() {
            continue;
        }
        let row_key = match split_attached_key(&attached) {
            Some((_, row_key)) => attached.slice_ref(row_key),
            None => continue,
        };
        let ordered = codec::open_whole("attachment", &ordered)?;
        end_one(draft, id, &row_key, ordered)?;
        draft.put(attached, None);
        keys += 1;
    }
    draft.set_lease(id, None)?;
    Ok(keys)
}

fn end_one(
    draft: &mut Draft<'_>,
    id: LeaseId,
    row_key: &Bytes,
    ordered: bool,
) -> Result<(), ApplyError> {
    if let Some((namespace, name)) = split_lock_key(row_key) {
        return lock::drop_places(draft, (namespace, name), id);
    }
    let Some((namespace, key)) = split_data_key(row_key) else { return Ok(()) };
    let Some((bytes, row)) = key::read(draft, row_key)? else { return Ok(()) };
    draft.remove_data((namespace, key), row_key, &row)?;
    if ordered {
        let mut figures = draft.figures(namespace)?;
        figures.counter += 1;
        draft.set_figures(namespace, figures);
    }
    // Whether its history is wanted is not known here; where it is not, nobody asks for it.
    draft.put_recorded(row_key.clone(), Some(bytes), None, NOTE_EXPIRE);
    Ok(())
}
