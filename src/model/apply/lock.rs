//! Locks: a place in a queue depends on a lease; the first place holds the lock.
//!
//! Promises: places are served in the order in which they were taken, and their tokens are the log
//! indices at which that was; who comes to hold the lock has the full time of its lease again. Every
//! change is in the history, so that waiting for a lock is watching it.

use bytes::Bytes;

use super::draft::Draft;
use super::key::check_length;
use super::{ApplyError, NOTE_DELETE, NOTE_EXPIRE, NOTE_PUT};
use crate::model::denial::{Denial, Part};
use crate::model::id::NamespaceId;
use crate::model::lease::{LeaseId, LeaseRow};
use crate::model::lock::{LockPlace, LockRow};
use crate::model::op::{Holder, LockOp, Space};
use crate::model::reply::LockReply;
use crate::model::rows::lock_key;
use crate::runtime::limits::{KEY_BYTES_MAX, LOCK_OWNER_BYTES_MAX, LOCK_QUEUE_MAX};
use crate::runtime::planted::{self, Bug};

/// A lock as it is found.
struct Found {
    row_key: Bytes,
    before: Option<Bytes>,
    row: LockRow,
}

fn find(draft: &Draft<'_>, namespace: NamespaceId, name: &[u8]) -> Result<Found, ApplyError> {
    let row_key = lock_key(namespace, name);
    let before = draft.get(&row_key)?;
    let row = before.as_ref().map(LockRow::decode).transpose()?.unwrap_or_default();
    Ok(Found { row_key, before, row })
}

/// Does what was asked of a lock.
pub(super) fn run(
    draft: &mut Draft<'_>,
    space: &Space,
    op: &LockOp,
) -> Result<LockReply, ApplyError> {
    match op {
        LockOp::Acquire { name, lease, owner, queue, .. } => {
            let checked = check_length(Part::Key, name.len(), KEY_BYTES_MAX)
                .and_then(|()| check_length(Part::Owner, owner.len(), LOCK_OWNER_BYTES_MAX));
            if let Err(denial) = checked {
                return Ok(LockReply::Denied(denial));
            }
            let found = find(draft, space.id, name)?;
            let mut token = draft.index;
            if planted::active(Bug::FencingTokenReset) {
                token = found.row.queue.last().map_or(1, |last| last.token + 1);
            }
            let place = LockPlace { lease: *lease, token, owner: owner.clone() };
            acquire(draft, found, place, *queue)
        }
        LockOp::Release { name, by, .. } => {
            let found = find(draft, space.id, name)?;
            release(draft, found, *by)
        }
    }
}

fn acquire(
    draft: &mut Draft<'_>,
    mut found: Found,
    place: LockPlace,
    queue: bool,
) -> Result<LockReply, ApplyError> {
    let places = &found.row.queue;
    if let Some(known) = places.iter().position(|known| known.lease == place.lease) {
        let token = places.get(known).map_or(0, |known| known.token);
        return Ok(standing(token, known));
    }
    let support = match draft.support(place.lease)? {
        Ok(support) => support,
        Err(denial) => return Ok(LockReply::Denied(denial)),
    };
    if let (Some(holder), false) = (found.row.holder(), queue) {
        let waiting = u64::try_from(places.len() - 1).unwrap_or(u64::MAX);
        return Ok(LockReply::Busy { holder: holder.clone(), waiting });
    }
    if places.len() >= LOCK_QUEUE_MAX {
        let limit = u64::try_from(LOCK_QUEUE_MAX).unwrap_or(u64::MAX);
        return Ok(LockReply::Denied(Denial::LockQueueFull { limit }));
    }
    draft.attach(support, &found.row_key, false)?;
    let reply = standing(place.token, places.len());
    found.row.queue.push(place);
    let value = Some(found.row.encode());
    draft.put_recorded(found.row_key, found.before, value, NOTE_PUT);
    Ok(reply)
}

fn standing(token: u64, ahead: usize) -> LockReply {
    match u64::try_from(ahead).unwrap_or(u64::MAX) {
        0 => LockReply::Held { token },
        ahead => LockReply::Queued { token, ahead },
    }
}

fn release(draft: &mut Draft<'_>, found: Found, by: Holder) -> Result<LockReply, ApplyError> {
    let is_it = |place: &LockPlace| match by {
        Holder::Token(token) => place.token == token,
        Holder::Lease(lease) => place.lease == lease,
    };
    let Some(place) = found.row.queue.iter().find(|place| is_it(place)) else {
        return Ok(LockReply::NotHeld);
    };
    let lease = place.lease;
    draft.detach(lease, &found.row_key)?;
    leave(draft, found, lease, NOTE_DELETE)?;
    Ok(LockReply::Released)
}

/// Takes a lease that has ended out of a lock's queue.
pub(super) fn drop_places(
    draft: &mut Draft<'_>,
    (namespace, name): (NamespaceId, &[u8]),
    lease: LeaseId,
) -> Result<(), ApplyError> {
    let found = find(draft, namespace, name)?;
    leave(draft, found, lease, NOTE_EXPIRE)
}

/// Takes a lease out of the queue; `note` is for a lock that nobody holds then.
fn leave(draft: &mut Draft<'_>, found: Found, lease: LeaseId, note: u8) -> Result<(), ApplyError> {
    let Found { row_key, before, mut row } = found;
    let held = row.holder().map(|place| place.token);
    row.queue.retain(|place| place.lease != lease);
    let Some(holder) = row.holder() else {
        draft.put_recorded(row_key, before, None, note);
        return Ok(());
    };
    if Some(holder.token) != held {
        renew(draft, holder.lease)?;
    }
    let value = Some(row.encode());
    draft.put_recorded(row_key, before, value, NOTE_PUT);
    Ok(())
}

/// Gives a new holder's lease its full time. The home of a borrowed one is not asked: the holder
/// renews it there.
fn renew(draft: &mut Draft<'_>, id: LeaseId) -> Result<(), ApplyError> {
    match draft.lease(id)? {
        Some(row) if !row.borrowed => {
            let renewed = draft.index;
            draft.set_lease(id, Some(LeaseRow { renewed, ..row }))
        }
        _ => Ok(()),
    }
}
