//! Transactions: tests of several keys, then one of two lists of steps, as one change.
//!
//! Promises: all steps are done or none; each step sees the ones before it; the whole is one
//! revision. The quota is looked at once, at the end: a transaction may grow in one step what it
//! shrinks in another.

use super::ApplyError;
use super::draft::Draft;
use super::key;
use crate::model::denial::Denial;
use crate::model::op::{Compare, Space, Tag, Test, Txn, TxnOp};
use crate::model::reply::{KeyReply, TxnReply};
use crate::model::row::Row;
use crate::model::rows::data_key;

/// Runs a transaction.
pub(super) fn run(draft: &mut Draft<'_>, space: &Space, txn: &Txn) -> Result<TxnReply, ApplyError> {
    let mut succeeded = true;
    for compare in &txn.compare {
        succeeded = succeeded && holds(draft, space, compare)?;
    }
    let steps = if succeeded { &txn.then } else { &txn.or_else };
    let revision = draft.next_revision(space)?;
    let before = draft.figures(space.id)?;
    let (results, failed) = run_steps(draft, space, steps, revision)?;
    let figures = draft.figures(space.id)?;
    let over = |limit: &u64| figures.bytes > before.bytes && figures.bytes > *limit;
    let failed = failed.or_else(|| {
        let limit = space.quota.filter(over)?;
        let writes = |step: &TxnOp| matches!(step, TxnOp::Write(_));
        let last = steps.iter().rposition(writes).unwrap_or_default();
        Some((last, Denial::Quota { used: before.bytes, limit }))
    });
    let at = draft.index;
    let changed = failed.is_none()
        && results.iter().any(|result| {
            matches!(
                result,
                KeyReply::Put { .. }
                    | KeyReply::Patched { .. }
                    | KeyReply::Deleted { existed: true, .. }
            )
        });
    if failed.is_some() {
        draft.clear();
    }
    let revision = if changed { revision } else { draft.newest_revision(space)? };
    let results = if failed.is_some() { Vec::new() } else { results };
    Ok(TxnReply { succeeded, results, at, revision, failed })
}

/// What the steps came to, up to the one that failed.
type Steps = (Vec<KeyReply>, Option<(usize, Denial)>);

fn run_steps(
    draft: &mut Draft<'_>,
    space: &Space,
    steps: &[TxnOp],
    revision: u64,
) -> Result<Steps, ApplyError> {
    let unlimited = Space { quota: None, ..*space };
    let mut results = Vec::with_capacity(steps.len());
    for (place, step) in steps.iter().enumerate() {
        let reply = match step {
            TxnOp::Write(op) => key::write(draft, &unlimited, op, revision)?,
            TxnOp::Get { key, .. } => {
                let row = key::read(draft, &data_key(space.id, key))?;
                KeyReply::Found(row.map(|(_, row)| row))
            }
        };
        let denial = match reply {
            KeyReply::Denied(denial) => denial,
            KeyReply::Unmet { row_at, revision } => Denial::Unmet { row_at, revision },
            done => {
                results.push(done);
                continue;
            }
        };
        return Ok((results, Some((place, denial))));
    }
    Ok((results, None))
}

fn holds(draft: &Draft<'_>, space: &Space, compare: &Compare) -> Result<bool, ApplyError> {
    let row = key::read(draft, &data_key(space.id, &compare.key))?.map(|(_, row)| row);
    let number = |of: fn(&Row) -> u64| row.as_ref().map_or(0, of);
    Ok(match &compare.test {
        Test::Exists(exists) => row.is_some() == *exists,
        Test::Tag(tag) => row.as_ref().is_some_and(|row| Tag(row.at) == *tag),
        Test::Value(cmp, value) => {
            row.as_ref().is_some_and(|row| cmp.holds(row.value.as_ref(), value.as_ref()))
        }
        Test::Revision(cmp, given) => cmp.holds(&number(|row| row.revision), given),
        Test::Created(cmp, given) => cmp.holds(&number(|row| row.created), given),
        Test::Version(cmp, given) => cmp.holds(&number(|row| row.version), given),
    })
}
