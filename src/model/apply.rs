//! What a command does: a pure function of the rows it may read, its log index and itself.
//!
//! Promises: the same inputs give the same [`Outcome`] at every replica and at every replay; a
//! command for a slot that the group does not own changes nothing ([`Reply::NotOwner`]); an error
//! means that the rows cannot be trusted and the shard must stop, never that the command was bad.
//! Relies on its caller to apply every index once, in order, with the effects of the one visible to
//! the next.

use bytes::Bytes;

use super::codec::CodecError;
use super::command::{Action, Command, Ownership};
use super::denial::Denial;
use super::lease::LeaseEvent;
use super::op::{KeyOp, Space, WriteOp};
use super::reply::{KeyReply, Reply};
use super::row::Row;
use super::rows::{OWNED_KEY, data_key};
use crate::storage::Effect;

/// What apply may read: the group's rows as of the entry before.
pub trait View {
    /// The row of a key.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, ViewError>;

    /// At most `limit` rows of `[from, to)`, in key order.
    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<(Bytes, Bytes)>, ViewError>;
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
    /// What happened to leases.
    pub leases: Vec<LeaseEvent>,
}

/// What entries of one batch share.
#[derive(Debug, Default)]
pub struct Book {}

impl Book {
    /// The rows that the batch changed on the side; before the applied mark moves.
    pub fn flush(&mut self) -> Vec<Effect> {
        Vec::new()
    }
}

impl Outcome {
    fn unchanged(reply: Reply) -> Self {
        Self { reply, effects: Vec::new(), leases: Vec::new() }
    }
}

/// Applies a command that stands at `index` of the group's log.
pub fn apply(
    _book: &mut Book,
    view: &dyn View,
    index: u64,
    command: &Command,
) -> Result<Outcome, ApplyError> {
    match command {
        Command::Own { ranges, epoch } => {
            own(view, &Ownership { ranges: ranges.clone(), epoch: *epoch })
        }
        Command::Request(request) => match &request.action {
            Action::Key(space, op) => write(view, index, space, op),
            _ => Err(ApplyError::NotHere),
        },
        Command::Catalog(_) | Command::Tend(_) => Err(ApplyError::NotHere),
    }
}

/// Takes over an ownership, unless one of the same or a newer epoch is known.
fn own(view: &dyn View, wanted: &Ownership) -> Result<Outcome, ApplyError> {
    if ownership(view)?.is_some_and(|known| known.epoch >= wanted.epoch) {
        return Ok(Outcome::unchanged(Reply::Owned));
    }
    let effect = Effect::plain(Bytes::from_static(OWNED_KEY), Some(wanted.encode()));
    Ok(Outcome { reply: Reply::Owned, effects: vec![effect], leases: Vec::new() })
}

fn ownership(view: &dyn View) -> Result<Option<Ownership>, ApplyError> {
    let Some(bytes) = view.get(OWNED_KEY)? else { return Ok(None) };
    Ok(Some(Ownership::decode(&bytes)?))
}

fn write(view: &dyn View, index: u64, space: &Space, asked: &KeyOp) -> Result<Outcome, ApplyError> {
    let owned = ownership(view)?.unwrap_or_default();
    if !owned.owns(asked.slot) {
        return Ok(Outcome::unchanged(Reply::NotOwner { epoch: owned.epoch }));
    }
    let key = data_key(space.id, &asked.key);
    let before = view.get(&key)?.map(|bytes| Row::decode(&bytes)).transpose()?;
    Ok(match &asked.op {
        WriteOp::Put { value, content_type, .. } => {
            let created = before.as_ref().map_or(index, |row| row.created);
            let row = Row {
                created,
                at: index,
                revision: index,
                version: before.as_ref().map_or(1, |row| row.version + 1),
                modified_ms: 0,
                lease: None,
                content_type: content_type.clone(),
                value: value.clone(),
            };
            let created = before.is_none();
            Outcome {
                reply: Reply::Key(KeyReply::Put { created, at: index, revision: index, row: None }),
                effects: vec![Effect::plain(key, Some(row.encode()))],
                leases: Vec::new(),
            }
        }
        WriteOp::Delete => {
            let existed = before.is_some();
            let reply = KeyReply::Deleted { existed, at: index, revision: index, row: None };
            Outcome {
                reply: Reply::Key(reply),
                effects: before.map(|_| Effect::plain(key, None)).into_iter().collect(),
                leases: Vec::new(),
            }
        }
        WriteOp::Patch { .. } => {
            Outcome::unchanged(Reply::Key(KeyReply::Denied(Denial::DuplicateKey)))
        }
    })
}
