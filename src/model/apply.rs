//! What a command does: a pure function of the rows it may read, its log index and itself.
//!
//! Promises: the same inputs give the same [`Outcome`] at every replica and at every replay; a
//! command for a slot that the group does not own changes nothing ([`Reply::NotOwner`]); an error
//! means that the rows cannot be trusted and the shard must stop, never that the command was bad.
//! Relies on its caller to apply every index once, in order, with the effects of the one visible to
//! the next.

use bytes::Bytes;

use super::codec::CodecError;
use super::command::{Command, Ownership, Write, WriteOp};
use super::reply::Reply;
use super::row::Row;
use super::rows::{OWNED_KEY, data_key};
use crate::storage::Effect;

/// What apply may read: the group's rows as of the entry before.
pub trait View {
    /// The row of a key.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, ViewError>;
}

/// The rows cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("rows cannot be read: {0}")]
pub struct ViewError(pub String);

/// Why a command could not be applied. Each of these stops the shard.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// A catalog command: placement applies these, in group 0.
    #[error("a catalog command does not belong here: only group 0 carries it, through placement")]
    NotHere,
    /// The rows cannot be read.
    #[error(transparent)]
    View(#[from] ViewError),
    /// A row was read but is not what was written.
    #[error("a stored row is damaged: {0}")]
    Damaged(#[from] CodecError),
    /// An entry was applied twice or out of order.
    #[error(
        "entry {index} comes to a row that entry {revision} already wrote: applied out of order"
    )]
    OutOfOrder {
        /// The index of the command.
        index: u64,
        /// The revision found in the row.
        revision: u64,
    },
}

/// What a command came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The answer to whoever asked.
    pub reply: Reply,
    /// The changes to the group's rows, to be made together.
    pub effects: Vec<Effect>,
}

impl Outcome {
    fn unchanged(reply: Reply) -> Self {
        Self { reply, effects: Vec::new() }
    }
}

/// Applies a command that stands at `index` of the group's log.
pub fn apply(view: &dyn View, index: u64, command: &Command) -> Result<Outcome, ApplyError> {
    match command {
        Command::Own { ranges, epoch } => {
            own(view, &Ownership { ranges: ranges.clone(), epoch: *epoch })
        }
        Command::Write(asked) => write(view, index, asked),
        Command::Catalog(_) => Err(ApplyError::NotHere),
        Command::Tend(_) => Ok(Outcome::unchanged(Reply::Tended(super::TendReply::default()))),
    }
}

/// Takes over an ownership, unless one of the same or a newer epoch is known.
fn own(view: &dyn View, wanted: &Ownership) -> Result<Outcome, ApplyError> {
    if ownership(view)?.is_some_and(|known| known.epoch >= wanted.epoch) {
        return Ok(Outcome::unchanged(Reply::Owned));
    }
    let effect = Effect::plain(Bytes::from_static(OWNED_KEY), Some(wanted.encode()));
    Ok(Outcome { reply: Reply::Owned, effects: vec![effect] })
}

fn ownership(view: &dyn View) -> Result<Option<Ownership>, ApplyError> {
    let Some(bytes) = view.get(OWNED_KEY)? else { return Ok(None) };
    Ok(Some(Ownership::decode(&bytes)?))
}

fn write(view: &dyn View, index: u64, asked: &Write) -> Result<Outcome, ApplyError> {
    // A group that was never told what it owns owns nothing.
    let owned = ownership(view)?.unwrap_or_default();
    if !owned.owns(asked.slot) {
        return Ok(Outcome::unchanged(Reply::NotOwner { epoch: owned.epoch }));
    }
    let key = data_key(asked.namespace, &asked.key);
    let before = view.get(&key)?.map(|bytes| Row::decode(&bytes)).transpose()?;
    if let Some(row) = &before
        && row.revision >= index
    {
        return Err(ApplyError::OutOfOrder { index, revision: row.revision });
    }
    Ok(match &asked.op {
        WriteOp::Put { value } => {
            let created = before.as_ref().map_or(index, |row| row.created);
            let row = Row { created, revision: index, value: value.clone() };
            Outcome {
                reply: Reply::Written { created: before.is_none() },
                effects: vec![Effect::plain(key, Some(row.encode()))],
            }
        }
        WriteOp::Delete if before.is_none() => {
            Outcome::unchanged(Reply::Deleted { existed: false })
        }
        WriteOp::Delete => Outcome {
            reply: Reply::Deleted { existed: true },
            effects: vec![Effect::plain(key, None)],
        },
    })
}

#[cfg(test)]
mod tests;
