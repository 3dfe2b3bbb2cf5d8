//! Locks: a line in which the first holds, and a token that only grows.
//!
//! ```text
//!   lease (made for the request, or the caller's) -> enqueue -> held?
//!                                                      '-> follow the line's row -> head: held
//!                                                                 '-> time over: leave the line
//! ```
//!
//! Promises: an enqueue whose answer is lost is found again by its once key, so nobody stands in line
//! twice, and a repetition never takes the lock again: whoever held it gets the first answer; whoever gives up leaves the line, also when the client went away; a lease made for the
//! request is renewed while it waits, and ends when the request does without the lock. Does not
//! promise: that a holder still holds when its answer arrives; what the lock protects must compare
//! tokens. Relies on the lock's group for the order, and on leases for ends.

use bytes::Bytes;

use crate::model::{
    Action, GroupId, Holder, LockOp, LockReply, LockRow, NamespaceId, Reply, Slot, lock_key,
};
use crate::placement::slot_of;

use super::answer::{LockDone, LockView};
use super::ask::{Context, Life, LockRequest, OnceKey, space_of};
use super::denied::denied;
use super::error::{ErrorKind, ServiceError};
use super::forward::{Done, Find, Freshness, LockWait, Work};
use super::line::Line;
use super::pursue::{Plan, Reached, pursue};
use super::route::{Map, Target};
use super::write::Answer;
use super::{Service, check_key, internal};

/// What a lock's group said to an enqueue.
pub(super) enum Entered {
    /// At the head, with this token.
    Held { token: u64 },
    /// In line, with this token.
    Waits { token: u64 },
}

impl Service {
    /// Takes a lock, waiting in line for as long as the request says. A future that is dropped
    /// leaves the line.
    ///
    /// # Errors
    ///
    /// `LockBusy` when the waiting was in vain: the place in line is given up then.
    pub async fn lock_acquire(
        &self,
        namespace: &str,
        name: Bytes,
        request: LockRequest,
        context: Context,
    ) -> Result<LockDone, ServiceError> {
        let map = self.hall.map_with(namespace, &context).await?;
        let place = lock_slot(&map, namespace, &name)?;
        let once = self.hall.once(&context);
        let ttl = match request.life {
            Life::Lease(id) => {
                let once = once.part("lock", 0);
                self.lives_elsewhere(&map, id, place, Some(&once), &context).await?;
                let line = Line::new(self.clone(), namespace, name, id, None);
                return line.acquire(&request, &once, &context).await;
            }
            Life::Ttl(ttl) => ttl,
        };
        let mut tries = 0;
        loop {
            let lease = once.part("lock lease", tries);
            let granted = self.grant(ttl, place.1, &lease, &context).await?;
            let made = Some(granted.ttl);
            let line = Line::new(self.clone(), namespace, name.clone(), granted.id, made);
            let error = match line.acquire(&request, &once.part("lock", tries), &context).await {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            // The lease is ours, and ended while its group had no leader: its place went with it,
            // and the client, who knows of no lease, can be served with another one.
            if !matches!(error.kind, ErrorKind::NoLease { .. }) {
                return Err(error);
            }
            if context.deadline <= self.hall.env.clock.now() {
                let reason = "the lock's lease ended while waiting".to_owned();
                return Err(ServiceError { kind: ErrorKind::Unavailable { reason }, ..error });
            }
            tries += 1;
        }
    }

    /// Gives a lock back, or a place in its line.
    ///
    /// # Errors
    ///
    /// `LockNotHeld` when there is no such place.
    pub async fn lock_release(
        &self,
        namespace: &str,
        name: Bytes,
        by: Holder,
        context: Context,
    ) -> Result<LockView, ServiceError> {
        let once = self.hall.once(&context);
        let op = |slot, name| LockOp::Release { slot, name, by };
        let answer = self.lock_op(namespace, &name, &op, &once, &context).await?;
        let (group, by, index, replayed) = (answer.group, answer.by, answer.index, answer.replayed);
        match answer.reply {
            Reply::Lock(LockReply::Released) => {
                Ok(LockView { holder: None, queue: Vec::new(), group, index, replayed })
            }
            Reply::Lock(LockReply::NotHeld) => {
                let error = ServiceError::from(ErrorKind::LockNotHeld);
                Err(error.about(group, Some(by)).again(replayed))
            }
            _ => Err(answer.unexpected()),
        }
    }

    /// Looks at a lock, as of now.
    ///
    /// # Errors
    ///
    /// Reads have no effect, so every error but `Internal` may be retried.
    pub async fn lock_get(
        &self,
        namespace: &str,
        name: Bytes,
        context: Context,
    ) -> Result<LockView, ServiceError> {
        let find_in = |map: &Map| {
            let (id, slot) = lock_slot(map, namespace, &name)?;
            let key = lock_key(id, &name);
            Ok(Find { slot, key, freshness: Freshness::Now, at_least: 0 })
        };
        let Reached { group, done, .. } = self.find(&find_in, &context).await?;
        let Done::Read { index, row, .. } = done else {
            return Err(internal(group, "a lock was read as something else"));
        };
        let lock = row.as_ref().map(LockRow::decode).transpose();
        let lock = lock.map_err(|error| internal(group, &error.to_string()))?.unwrap_or_default();
        let mut places = lock.queue.into_iter();
        let (holder, queue) = (places.next(), places.collect());
        Ok(LockView { holder, queue, group, index, replayed: false })
    }

    pub(super) async fn lock_op(
        &self,
        namespace: &str,
        name: &Bytes,
        op: &(dyn Fn(Slot, Bytes) -> LockOp + Send + Sync),
        once: &OnceKey,
        context: &Context,
    ) -> Result<Answer, ServiceError> {
        self.hall.founded(context).await?;
        let planner = |map: &Map| {
            let (id, slot) = lock_slot(map, namespace, name)?;
            let action = Action::Lock(space_of(map.writable(namespace)?), op(slot, name.clone()));
            self.hall.proposal(map, Target::Slot(slot), id, action, Some(once))
        };
        pursue(&self.hall, context, &planner).await?.answer()
    }

    /// Follows a place in line until it is at the head, gone, or the time is over; the lock then.
    pub(super) async fn lock_follow(
        &self,
        namespace: &str,
        name: &Bytes,
        (token, after): (u64, u64),
        context: &Context,
    ) -> Result<(LockRow, GroupId, u64), ServiceError> {
        let planner = |map: &Map| {
            let (id, slot) = lock_slot(map, namespace, name)?;
            let wait = LockWait { slot, key: lock_key(id, name), token, after };
            Ok(Plan::read(Target::Slot(slot), Work::LockWait(wait)))
        };
        let Reached { group, done, .. } = pursue(&self.hall, context, &planner).await?;
        let Done::Read { index, row, .. } = done else {
            return Err(internal(group, "a lock was read as something else"));
        };
        let lock = row.as_ref().map(LockRow::decode).transpose();
        let lock = lock.map_err(|error| internal(group, &error.to_string()))?.unwrap_or_default();
        Ok((lock, group, index))
    }
}

fn lock_slot(map: &Map, namespace: &str, name: &[u8]) -> Result<(NamespaceId, Slot), ServiceError> {
    let entry = map.namespace(namespace)?;
    check_key(name, entry.limits)?;
    Ok((entry.id, slot_of(entry.id, entry.layout, name)))
}

/// What an enqueue came to.
pub(super) fn entered(answer: Answer) -> Result<Entered, ServiceError> {
    let (group, by, replayed) = (answer.group, answer.by, answer.replayed);
    let kind = match answer.reply {
        Reply::Lock(LockReply::Held { token }) => return Ok(Entered::Held { token }),
        Reply::Lock(LockReply::Queued { token, .. }) => return Ok(Entered::Waits { token }),
        Reply::Lock(LockReply::Busy { holder, .. }) => ErrorKind::LockBusy { holder: Some(holder) },
        Reply::Lock(LockReply::Denied(denial)) => denied("", group, denial),
        _ => return Err(answer.unexpected()),
    };
    Err(ServiceError::from(kind).about(group, Some(by)).again(replayed))
}
