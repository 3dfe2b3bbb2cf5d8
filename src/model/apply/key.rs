//! Writing one key: precondition, new value, what it depends on, what it counts.
//!
//! Promises: either all of a write is done or nothing; whatever may be denied is looked at before
//! anything changes. The same key twice in one entry is denied, never applied out of order.

use bytes::Bytes;

use super::draft::{Draft, Support, cost};
use super::{ApplyError, NOTE_DELETE, NOTE_PUT};
use crate::model::denial::{Denial, Part};
use crate::model::lease::LeaseId;
use crate::model::op::{Attach, Give, KeyOp, Patch, Require, Space, Tag, WriteOp};
use crate::model::patch;
use crate::model::reply::KeyReply;
use crate::model::row::Row;
use crate::model::rows::data_key;
use crate::runtime::limits::{CONTENT_TYPE_BYTES_MAX, KEY_BYTES_MAX};
use crate::runtime::planted::{self, Bug};

/// A key as it is found.
struct Found {
    row_key: Bytes,
    /// As stored and as read.
    before: Option<(Bytes, Row)>,
}

impl Found {
    fn row(&self) -> Option<&Row> {
        self.before.as_ref().map(|(_, row)| row)
    }
}

/// Writes a key as a change of its own.
pub(super) fn write_one(
    draft: &mut Draft<'_>,
    space: &Space,
    asked: &KeyOp,
) -> Result<KeyReply, ApplyError> {
    let revision = draft.next_revision(space)?;
    write(draft, space, asked, revision)
}

/// Writes a key as a part of the change that gets `revision`.
pub(super) fn write(
    draft: &mut Draft<'_>,
    space: &Space,
    asked: &KeyOp,
    revision: u64,
) -> Result<KeyReply, ApplyError> {
    if let Err(denial) = check_length(Part::Key, asked.key.len(), KEY_BYTES_MAX) {
        return Ok(KeyReply::Denied(denial));
    }
    let row_key = data_key(space.id, &asked.key);
    if draft.is_changed(&row_key) {
        return Ok(KeyReply::Denied(Denial::DuplicateKey));
    }
    let before = read(draft, &row_key)?;
    let found = Found { row_key, before };
    let late = planted::active(Bug::CasOldValue) && held(&asked.require, found.row(), draft.index);
    if !late && !holds(&asked.require, found.row()) {
        let (row_at, revision) = (found.row().map(|r| r.at), found.row().map(|r| r.revision));
        return Ok(KeyReply::Unmet { row_at, revision });
    }
    match &asked.op {
        WriteOp::Delete => delete(draft, space, asked, found, revision),
        WriteOp::Put { value, content_type, attach } => {
            let length = content_type.as_ref().map_or(0, String::len);
            if let Err(denial) = check_length(Part::ContentType, length, CONTENT_TYPE_BYTES_MAX) {
                return Ok(KeyReply::Denied(denial));
            }
            let next = Next { value: value.clone(), content_type: content_type.clone() };
            set(draft, space, asked, found, (revision, next, Some(*attach)))
        }
        WriteOp::Patch { patch } => {
            let old = found.row().map(|row| &row.value);
            let value = match patch::apply(patch, old, space.value_bytes_max, &mut draft.patching) {
                Ok(value) => value,
                Err(denial) => return Ok(KeyReply::Denied(denial)),
            };
            let content_type = match found.row() {
                Some(row) => row.content_type.clone(),
                None => made_type(patch),
            };
            set(draft, space, asked, found, (revision, Next { value, content_type }, None))
        }
    }
}

/// A key's new value.
struct Next {
    value: Bytes,
    content_type: Option<String>,
}

/// Reads a data row, as stored and decoded.
pub(super) fn read(draft: &Draft<'_>, row_key: &Bytes) -> Result<Option<(Bytes, Row)>, ApplyError> {
    let Some(bytes) = draft.get(row_key)? else { return Ok(None) };
    let row = Row::decode(&bytes)?;
    if row.at >= draft.index && !draft.is_changed(row_key) && !planted::active(Bug::ApplyTwice) {
        return Err(ApplyError::OutOfOrder { index: draft.index, at: row.at });
    }
    Ok(Some((bytes, row)))
}

/// Refuses a part of a request that is too long.
pub(super) fn check_length(what: Part, length: usize, limit: usize) -> Result<(), Denial> {
    let limit_bytes = u64::try_from(limit).unwrap_or(u64::MAX);
    if length > limit { Err(Denial::TooLong { what, limit: limit_bytes }) } else { Ok(()) }
}

fn holds(require: &Require, row: Option<&Row>) -> bool {
    let is_one = |tags: &[Tag]| row.is_some_and(|row| tags.iter().any(|tag| tag.0 == row.at));
    match require {
        Require::None => true,
        Require::Exists => row.is_some(),
        Require::Missing => row.is_none(),
        Require::Any(tags) => is_one(tags),
        Require::NoneOf(tags) => !is_one(tags),
    }
}

/// Whether the condition may have held a moment ago.
fn held(require: &Require, row: Option<&Row>, index: u64) -> bool {
    let Require::Any(tags) = require else { return false };
    row.is_some_and(|row| row.at + 64 > index && tags.iter().any(|tag| tag.0 < row.at))
}

/// The type of a value that a patch made of nothing.
fn made_type(patch: &Patch) -> Option<String> {
    match patch {
        Patch::Merge(_) | Patch::Json(_) => Some("application/json".to_owned()),
        Patch::Number(_) | Patch::Append(_) => None,
    }
}

fn delete(
    draft: &mut Draft<'_>,
    space: &Space,
    asked: &KeyOp,
    found: Found,
    revision: u64,
) -> Result<KeyReply, ApplyError> {
    let at = draft.index;
    let Some((bytes, row)) = found.before else {
        let revision = draft.newest_revision(space)?;
        return Ok(KeyReply::Deleted { existed: false, at, revision, row: None });
    };
    draft.remove_data((space.id, &asked.key), &found.row_key, &row)?;
    if space.recorded {
        draft.put_recorded(found.row_key, Some(bytes), None, NOTE_DELETE);
    } else {
        draft.put(found.row_key, None);
    }
    if space.ordered {
        let mut figures = draft.figures(space.id)?;
        figures.counter = revision;
        draft.set_figures(space.id, figures);
    }
    let row = (asked.give == Give::Before).then_some(row);
    Ok(KeyReply::Deleted { existed: true, at, revision, row })
}

/// Sets a key's value; without `attach` what it depends on stays.
fn set(
    draft: &mut Draft<'_>,
    space: &Space,
    asked: &KeyOp,
    found: Found,
    (revision, next, attach): (u64, Next, Option<Attach>),
) -> Result<KeyReply, ApplyError> {
    let Found { row_key, before } = found;
    let (before_bytes, before) = before.unzip();
    let held = before.as_ref().and_then(|row| row.lease);
    if let Err(denial) = check_room(draft, space, &asked.key, before.as_ref(), &next.value)? {
        return Ok(KeyReply::Denied(denial));
    }
    let lease = match attach {
        None => held,
        Some(attach) => match depend(draft, asked, attach, held)? {
            Err(denial) => return Ok(KeyReply::Denied(denial)),
            Ok(Depends::AsBefore) => held,
            Ok(Depends::On(support)) => {
                if let Some(held) = held {
                    draft.detach(held, &row_key)?;
                }
                support.map(|on| draft.attach(on, &row_key, space.ordered)).transpose()?
            }
        },
    };
    let mut figures = draft.figures(space.id)?;
    let old = before.as_ref().map_or(0, |row| cost(&asked.key, &row.value));
    figures.bytes = figures.bytes.saturating_sub(old).saturating_add(cost(&asked.key, &next.value));
    figures.keys += u64::from(before.is_none());
    figures.counter = if space.ordered { revision } else { 0 };
    let row = Row {
        created: before.as_ref().map_or(revision, |row| row.created),
        at: draft.index,
        revision,
        version: before.as_ref().map_or(1, |row| row.version + 1),
        modified_ms: draft.at_ms,
        lease,
        content_type: next.content_type,
        value: next.value,
    };
    if space.recorded {
        draft.put_recorded(row_key, before_bytes, Some(row.encode()), NOTE_PUT);
    } else {
        draft.put(row_key, Some(row.encode()));
    }
    draft.set_figures(space.id, figures);
    let (created, at) = (before.is_none(), draft.index);
    Ok(match (&asked.op, asked.give) {
        (WriteOp::Patch { .. }, Give::Before) => {
            KeyReply::Patched { created, at, revision, row: before.unwrap_or(row) }
        }
        (WriteOp::Patch { .. }, _) => KeyReply::Patched { created, at, revision, row },
        (_, Give::Nothing) => KeyReply::Put { created, at, revision, row: None },
        (_, Give::Before) => KeyReply::Put { created, at, revision, row: before },
        (_, Give::After) => KeyReply::Put { created, at, revision, row: Some(row) },
    })
}

/// What a put makes its key depend on.
enum Depends {
    AsBefore,
    On(Option<Support>),
}

fn depend(
    draft: &mut Draft<'_>,
    asked: &KeyOp,
    attach: Attach,
    held: Option<LeaseId>,
) -> Result<Result<Depends, Denial>, ApplyError> {
    Ok(match attach {
        Attach::None => Ok(Depends::On(None)),
        // An own lease is the key's alone, and ends with what it was made for.
        Attach::Lease(id) if held == Some(id) && !id.is_own() => Ok(Depends::AsBefore),
        Attach::Lease(id) => draft.support(id)?.map(|on| Depends::On(Some(on))),
        Attach::Ttl(ttl_ms) => {
            let at_once = held.is_some_and(LeaseId::is_own);
            draft.own_support(asked.slot, ttl_ms, at_once)?.map(|on| Depends::On(Some(on)))
        }
    })
}

/// Whether the value may be as long, and the namespace as large, as they would be.
fn check_room(
    draft: &mut Draft<'_>,
    space: &Space,
    key: &[u8],
    before: Option<&Row>,
    value: &[u8],
) -> Result<Result<(), Denial>, ApplyError> {
    if u64::try_from(value.len()).unwrap_or(u64::MAX) > space.value_bytes_max {
        return Ok(Err(Denial::TooLarge { limit: space.value_bytes_max }));
    }
    let old = before.map_or(0, |row| cost(key, &row.value));
    let new = cost(key, value);
    let used = draft.figures(space.id)?.bytes;
    let will = used.saturating_sub(old).saturating_add(new);
    Ok(match space.quota {
        Some(limit) if new > old && will > limit => Err(Denial::Quota { used, limit }),
        _ => Ok(()),
    })
}
