//! What a command does: a function of the rows it may read, its log index and itself.
//!
//! ```text
//!   apply ---> own
//!         ---> request: owner and epoch? done before (once)? then  key, many, txn | lease | lock
//!         ---> tend: leases whose time is over, forgetting, removing deleted namespaces
//!   each works on a `Draft` (this entry's changes) over the `Book` (this batch's) over the `View`
//! ```
//!
//! Promises: the same inputs give the same [`Outcome`] at every replica and at every replay,
//! however entries are cut into batches; a request for a slot that the group does not own, or
//! routed by a catalog older than the one the group knows, changes nothing ([`Reply::NotOwner`]);
//! no row changes twice in one entry; an error means that the rows cannot be trusted and the shard
//! must stop, never that the command was bad.
//! Relies on its caller to apply every index once, in order, with the effects of the one visible to
//! the next, and [`Book::flush`] before the applied mark moves.

mod draft;
mod key;
mod lease;
mod lock;
pub mod once;
mod tend;
mod txn;

use bytes::Bytes;

use self::draft::Draft;
use super::codec::CodecError;
use super::command::{Action, Command, Ownership, Request};
use super::denial::Denial;
use super::id::Slot;
use super::lease::LeaseEvent;
use super::op::{Patch, TxnOp, WriteOp};
use super::reply::{KeyReply, Reply};
use super::rows::OWNED_KEY;
use crate::runtime::planted::{self, Bug};
use crate::storage::Effect;

pub use super::book::Book;
pub use tend::{leases, namespace_has_rows};

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

/// What the history says of a change beside the rows: put.
pub const NOTE_PUT: u8 = 0;
/// A delete that somebody asked for.
pub const NOTE_DELETE: u8 = 1;
/// A key or a place in a lock that went with its lease.
pub const NOTE_EXPIRE: u8 = 2;

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
    #[error("entry {index} comes to a row that entry {at} already wrote: applied out of order")]
    OutOfOrder {
        /// The index of the command.
        index: u64,
        /// The index found in the row.
        at: u64,
    },
}

/// What a command came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The answer to whoever asked.
    pub reply: Reply,
    /// The changes to the group's rows, to be made together.
    pub effects: Vec<Effect>,
    /// What happened to leases, for those who watch their time.
    pub leases: Vec<LeaseEvent>,
}

impl Outcome {
    const fn unchanged(reply: Reply) -> Self {
        Self { reply, effects: Vec::new(), leases: Vec::new() }
    }
}

/// Applies a command that stands at `index` of the group's log.
pub fn apply(
    book: &mut Book,
    view: &dyn View,
    index: u64,
    command: &Command,
) -> Result<Outcome, ApplyError> {
    match command {
        Command::Own { ranges, epoch } => {
            own(book, view, Ownership { ranges: ranges.clone(), epoch: *epoch })
        }
        Command::Request(asked) => request(book, view, index, asked),
        Command::Tend(asked) => {
            let mut draft = Draft::new(book, view, index, 0);
            let reply = tend::tend(&mut draft, asked)?;
            Ok(draft.finish(Reply::Tended(reply)))
        }
        Command::Catalog(_) => Err(ApplyError::NotHere),
    }
}

/// Takes over an ownership, unless one of the same or a newer epoch is known.
fn own(book: &mut Book, view: &dyn View, wanted: Ownership) -> Result<Outcome, ApplyError> {
    let known = book.owned(view)?;
    // Epoch 0 is before every catalog: a group that was never told anything is there.
    if known.epoch >= wanted.epoch && *known != Ownership::default() {
        return Ok(Outcome::unchanged(Reply::Owned));
    }
    let effect = Effect::plain(Bytes::from_static(OWNED_KEY), Some(wanted.encode()));
    book.set_owned(wanted);
    Ok(Outcome { reply: Reply::Owned, effects: vec![effect], leases: Vec::new() })
}

fn request(
    book: &mut Book,
    view: &dyn View,
    index: u64,
    asked: &Request,
) -> Result<Outcome, ApplyError> {
    if matches!(asked.action, Action::Catalog(_)) {
        return Err(ApplyError::NotHere);
    }
    let owned = book.owned(view)?;
    if (asked.epoch < owned.epoch || !owns_all(owned, &asked.action))
        && !planted::active(Bug::OldEpochRoute)
    {
        return Ok(Outcome::unchanged(Reply::NotOwner { epoch: owned.epoch }));
    }
    if let Some(once) = &asked.once
        && !(planted::active(Bug::CounterDoubled) && adds(&asked.action))
        && let Some(reply) = once::recall(view, once)?
    {
        return Ok(Outcome::unchanged(reply));
    }
    let mut draft = Draft::new(book, view, index, asked.at_ms);
    let reply = match &asked.action {
        Action::Key(space, op) => Reply::Key(key::write_one(&mut draft, space, op)?),
        Action::Many(space, ops) => {
            let replies = ops.iter().map(|op| key::write_one(&mut draft, space, op));
            Reply::Many(replies.collect::<Result<_, _>>()?)
        }
        Action::Txn(space, txn) => Reply::Txn(txn::run(&mut draft, space, txn)?),
        Action::Lease(op) => Reply::Lease(lease::run(&mut draft, op)?),
        Action::Lock(space, op) => Reply::Lock(lock::run(&mut draft, space, op)?),
        Action::Catalog(_) => return Err(ApplyError::NotHere),
    };
    if let Some(once) = asked.once.as_ref().filter(|_| !is_full(&reply)) {
        once::keep(&mut draft, once, &reply)?;
    }
    Ok(draft.finish(reply))
}

/// Whether an action adds to a number, for a planted bug.
fn adds(action: &Action) -> bool {
    let Action::Key(_, op) = action else { return false };
    matches!(op.op, WriteOp::Patch { patch: Patch::Number(_) })
}

/// Whether a namespace had no room for it. That passes, so a repetition is another try: what a node
/// refuses of itself for want of room is not remembered either.
const fn is_full(reply: &Reply) -> bool {
    match reply {
        Reply::Key(KeyReply::Denied(Denial::Quota { .. })) => true,
        Reply::Txn(reply) => matches!(reply.failed, Some((_, Denial::Quota { .. }))),
        _ => false,
    }
}

/// Whether the group owns every slot that an action needs.
fn owns_all(owned: &Ownership, action: &Action) -> bool {
    let owns = |slot: Slot| owned.owns(slot);
    match action {
        Action::Key(_, op) => owns(op.slot),
        Action::Many(_, ops) => ops.iter().all(|op| owns(op.slot)),
        Action::Txn(_, txn) => {
            let slot_of = |op: &TxnOp| match op {
                TxnOp::Write(op) => op.slot,
                TxnOp::Get { slot, .. } => *slot,
            };
            txn.compare.iter().all(|compare| owns(compare.slot))
                && txn.then.iter().chain(&txn.or_else).all(|op| owns(slot_of(op)))
        }
        Action::Lease(op) => owns(op.id().slot()),
        Action::Lock(_, op) => owns(op.slot()),
        Action::Catalog(_) => false,
    }
}

#[cfg(test)]
mod tests;
