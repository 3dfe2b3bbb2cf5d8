//! Doing a request once, however often it is asked: the first result is remembered.
//!
//! Promises: a second request with the same key and fingerprint changes nothing and gets the first
//! one's result and log index; with another fingerprint it is refused. What is remembered is
//! bounded: the oldest results go first, and leaders say up to where the time is over
//! ([`Tend::forget`](crate::model::Tend)).
//! Relies on: a refusal by epoch or owner never being remembered, since it says nothing of the
//! request.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::draft::Draft;
use super::{ApplyError, Outcome, View};
use crate::model::Tally;
use crate::model::book::Book;
use crate::model::codec;
use crate::model::command::Once;
use crate::model::denial::{Denial, Part};
use crate::model::id::NamespaceId;
use crate::model::reply::{KeyReply, Reply};
use crate::model::rows::{ONCE_AT, TALLY_KEY, kind_rows, once_at_key, once_key, split_once_at_key};
use crate::runtime::limits::{
    ONCE_BYTES_MAX, ONCE_FORGET_AT_ONCE, ONCE_KEY_BYTES_MAX, ONCE_RECORDS_MAX,
};

/// The head of a remembered result; the reply's bytes follow.
#[derive(Serialize, Deserialize)]
struct Record {
    index: u64,
    fingerprint: [u8; 16],
}

/// The head of a place in the order; the idempotency key follows.
#[derive(Serialize, Deserialize)]
struct Place {
    space: NamespaceId,
    bytes: u64,
}

const WHAT: &str = "remembered result";
const WHAT_PLACE: &str = "place of a remembered result";

/// The answer to a request that was done before, or whose key cannot be kept; `None` for one that is
/// to be done.
///
/// # Errors
///
/// When the rows cannot be read.
pub fn recall(view: &dyn View, once: &Once) -> Result<Option<Reply>, ApplyError> {
    if once.key.is_empty() || once.key.len() > ONCE_KEY_BYTES_MAX {
        let limit = u64::try_from(ONCE_KEY_BYTES_MAX).unwrap_or(u64::MAX);
        let denial = Denial::TooLong { what: Part::OnceKey, limit };
        return Ok(Some(Reply::Key(KeyReply::Denied(denial))));
    }
    let Some(bytes) = view.get(&once_key(once.space, &once.key))? else { return Ok(None) };
    let (record, reply) = codec::open::<Record>(WHAT, &bytes)?;
    if record.fingerprint != once.fingerprint {
        return Ok(Some(Reply::OnceMismatch));
    }
    let reply = Box::new(Reply::decode(&reply)?);
    Ok(Some(Reply::Replayed { index: record.index, reply }))
}

/// Remembers the result of a request that placement applied. Never a request by itself: the caller
/// has asked [`recall`] before.
///
/// # Errors
///
/// When the rows cannot be read.
pub fn remember(
    book: &mut Book,
    view: &dyn View,
    index: u64,
    once: &Once,
    reply: Reply,
) -> Result<Outcome, ApplyError> {
    let mut draft = Draft::new(book, view, index, 0);
    keep(&mut draft, once, &reply)?;
    Ok(draft.finish(reply))
}

/// Remembers a result within the entry that made it.
pub(super) fn keep(draft: &mut Draft<'_>, once: &Once, reply: &Reply) -> Result<(), ApplyError> {
    let index = draft.index;
    let record = Record { index, fingerprint: once.fingerprint };
    let row_key = once_key(once.space, &once.key);
    let row = codec::seal(&record, &[&reply.encode()]);
    let bytes = bytes_of(&row_key, &row);
    let place = codec::seal(&Place { space: once.space, bytes }, &[&once.key]);
    draft.put(row_key, Some(row));
    draft.put(once_at_key(index), Some(place));
    let mut tally = draft.tally()?;
    tally.once_records += 1;
    tally.once_bytes += bytes;
    draft.set_tally(tally);
    make_room(draft)
}

fn bytes_of(row_key: &Bytes, row: &Bytes) -> u64 {
    u64::try_from(row_key.len() + row.len()).unwrap_or(u64::MAX)
}

/// Forgets the oldest when there are too many; some more than needed, to search less often.
fn make_room(draft: &mut Draft<'_>) -> Result<(), ApplyError> {
    let over =
        |tally: &Tally| tally.once_records > ONCE_RECORDS_MAX || tally.once_bytes > ONCE_BYTES_MAX;
    let spare = |tally: &Tally| {
        tally.once_records > ONCE_RECORDS_MAX - ONCE_RECORDS_MAX / 64
            || tally.once_bytes > ONCE_BYTES_MAX - ONCE_BYTES_MAX / 64
    };
    if over(&draft.tally()?) {
        // Its own record is not visible yet, so the newest always stays.
        forget(draft, u64::MAX, spare)?;
    }
    Ok(())
}

/// Forgets the oldest results up to an index while `wanted`; how many, and whether more are left.
pub(super) fn forget(
    draft: &mut Draft<'_>,
    upto: u64,
    wanted: impl Fn(&Tally) -> bool,
) -> Result<(u64, bool), ApplyError> {
    let mut tally = draft.tally()?;
    if upto <= tally.once_forgotten {
        return Ok((0, false));
    }
    // What was forgotten may still stand in the way as removed rows: begin behind it.
    let from = once_at_key(tally.once_forgotten.saturating_add(1));
    let to = upto.checked_add(1).map_or_else(|| kind_rows(ONCE_AT).1, once_at_key);
    let rows = draft.view.scan(&from, &to, ONCE_FORGET_AT_ONCE)?;
    let more = rows.len() == ONCE_FORGET_AT_ONCE;
    let (mut forgotten, mut all) = (0, !more);
    for (at_key, place) in rows {
        if !wanted(&tally) {
            all = false;
            break;
        }
        let (place, key) = codec::open::<Place>(WHAT_PLACE, &place)?;
        // A namespace that is being removed takes its own along.
        if draft.get(&at_key)?.is_some() {
            draft.put(once_key(place.space, &key), None);
            draft.put(at_key.clone(), None);
            tally.once_records = tally.once_records.saturating_sub(1);
            tally.once_bytes = tally.once_bytes.saturating_sub(place.bytes);
            forgotten += 1;
        }
        tally.once_forgotten = split_once_at_key(&at_key).unwrap_or(tally.once_forgotten);
    }
    if all {
        // What went with its namespace left no row to go by. This entry's own is yet to come.
        let known = upto.min(draft.index.saturating_sub(1));
        tally.once_forgotten = tally.once_forgotten.max(known);
    }
    draft.set_tally(tally);
    Ok((forgotten, more))
}

/// Removes a remembered result as a row of a deleted namespace.
pub(super) fn purge(draft: &mut Draft<'_>, row_key: Bytes, row: &Bytes) -> Result<(), ApplyError> {
    let (record, _) = codec::open::<Record>(WHAT, row)?;
    let mut tally = draft.tally()?;
    tally.once_records = tally.once_records.saturating_sub(1);
    tally.once_bytes = tally.once_bytes.saturating_sub(bytes_of(&row_key, row));
    draft.set_tally(tally);
    draft.put(row_key, None);
    draft.put(once_at_key(record.index), None);
    Ok(())
}

/// How many results are remembered.
///
/// # Errors
///
/// When the row cannot be read.
pub fn records(view: &dyn View) -> Result<u64, ApplyError> {
    let tally = view.get(TALLY_KEY)?.map(|bytes| Tally::decode(&bytes)).transpose()?;
    Ok(tally.unwrap_or_default().once_records)
}

/// The log index of the oldest remembered result.
///
/// # Errors
///
/// When the rows cannot be read.
pub fn oldest(view: &dyn View) -> Result<Option<u64>, ApplyError> {
    let tally = view.get(TALLY_KEY)?.map(|bytes| Tally::decode(&bytes)).transpose()?;
    let from = once_at_key(tally.unwrap_or_default().once_forgotten.saturating_add(1));
    let rows = view.scan(&from, &kind_rows(ONCE_AT).1, 1)?;
    Ok(rows.first().and_then(|(key, _)| split_once_at_key(key)))
}
