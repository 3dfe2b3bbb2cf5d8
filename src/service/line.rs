//! Standing in a lock's line: entering, following, renewing, leaving.
//!
//! Why it exists: whoever stands in line holds something, a place, that must not outlive the wish for
//! it. Promises: a [`Line`] that is not brought to the lock is left, by an answer, an error or a drop;
//! an answer that says "not held" waits for the leaving, for a moment, and says so when it cannot
//! tell. Relies on the lease as the last resort: it ends, and the place with it.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::model::{GroupId, Holder, LeaseId, LockOp, LockPlace, LockRow};
use crate::runtime::Moment;
use crate::runtime::limits::{LOCK_LEAVE_MARGIN, LOCK_LEAVE_MAX};

use super::Service;
use super::answer::LockDone;
use super::ask::{Context, LockRequest, OnceKey};
use super::error::{ErrorKind, Outcome, ServiceError};
use super::lock::{Entered, entered};

/// A lease's life is renewed so many times over while it waits.
const RENEWALS: u32 = 3;

/// Someone who wants a lock.
pub(super) struct Line {
    service: Service,
    namespace: String,
    name: Bytes,
    lease: LeaseId,
    /// The life of a lease that was made for this.
    made: Option<Duration>,
    /// Whether there is a place, or a lease, to be given up.
    stands: bool,
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.stands {
            drop(self.leave());
        }
    }
}

impl Line {
    pub(super) fn new(
        service: Service,
        namespace: &str,
        name: Bytes,
        lease: LeaseId,
        made: Option<Duration>,
    ) -> Self {
        let namespace = namespace.to_owned();
        Self { service, namespace, name, lease, made, stands: made.is_some() }
    }

    /// Enters the line and waits in it.
    pub(super) async fn acquire(
        mut self,
        request: &LockRequest,
        once: &OnceKey,
        context: &Context,
    ) -> Result<LockDone, ServiceError> {
        let result = self.stand(request, once, context).await;
        let error = match result {
            Ok(done) => {
                self.stands = false;
                return Ok(done);
            }
            Err(error) => error,
        };
        if !self.stands {
            return Err(error);
        }
        self.stands = false;
        let left = tokio::time::timeout(LOCK_LEAVE_MARGIN, self.leave()).await;
        if matches!(left, Ok(Ok(true))) {
            return Err(error);
        }
        let reason = format!("{error}; whether the line was left is not known: the lease will end");
        Err(ServiceError { kind: ErrorKind::Undetermined { reason }, ..error })
    }

    async fn stand(
        &mut self,
        request: &LockRequest,
        once: &OnceKey,
        context: &Context,
    ) -> Result<LockDone, ServiceError> {
        let clock = &self.service.hall.env.clock;
        let now = clock.now();
        let left = context.deadline.since(now).saturating_sub(LOCK_LEAVE_MARGIN);
        let until = now + request.wait.min(left);
        let queue = !request.wait.is_zero();
        let (lease, owner) = (self.lease, request.owner.clone());
        let op = |slot, name| {
            let owner = owner.clone();
            LockOp::Acquire { slot, name, lease, owner, queue }
        };
        let answer = self.service.lock_op(&self.namespace, &self.name, &op, once, context).await;
        // An enqueue of which nothing is known may stand in line.
        self.stands |= answer.as_ref().is_err_and(|e| e.outcome() == Outcome::Unknown);
        let answer = answer?;
        let (group, index, replayed) = (answer.group, answer.index, answer.replayed);
        match entered(answer)? {
            // Also when the first time was long ago and is over: the token says whose turn it was.
            Entered::Held { token } => Ok(self.done(token, group, index, replayed)),
            Entered::Waits { token } => {
                self.stands = true;
                // Looking once takes a moment, also for those who would not wait.
                let moment = clock.now() + LOCK_LEAVE_MARGIN;
                let until = until.max(moment.min(context.deadline));
                let waited = self.wait((token, index), until, context).await;
                match waited {
                    Ok(done) => Ok(LockDone { replayed, ..done }),
                    // It may have been held and given back since: it is not taken again.
                    Err(error) if replayed && matches!(error.kind, ErrorKind::NoLease { .. }) => {
                        Err(ServiceError { kind: ErrorKind::LockNotHeld, replayed, ..error })
                    }
                    Err(error) => Err(error),
                }
            }
        }
    }

    /// Follows the line until the head, the end of the place, or the end of the time.
    async fn wait(
        &self,
        place: (u64, u64),
        until: Moment,
        context: &Context,
    ) -> Result<LockDone, ServiceError> {
        let env = &self.service.hall.env;
        let token = place.0;
        let mut ahead = None;
        let mut renew = self.made.map(|ttl| env.clock.now() + ttl / RENEWALS);
        loop {
            let deadline = renew.map_or(until, |renew| renew.min(until));
            let step = Context { deadline, ..context.clone() };
            let followed =
                self.service.lock_follow(&self.namespace, &self.name, place, &step).await;
            let over = env.clock.now() >= until || env.tasks.is_stopping();
            match followed {
                Ok((lock, group, index)) => match standing(&lock, token) {
                    Standing::Head => return Ok(self.done(token, group, index, false)),
                    Standing::Gone => return Err(ErrorKind::NoLease { id: self.lease }.into()),
                    Standing::InLine => {
                        ahead = lock.queue.into_iter().next().map(|holder| (holder, group));
                        if over {
                            return Err(busy(ahead));
                        }
                    }
                },
                // The end came while nothing new was heard of the line.
                Err(error) if over && is_passing(&error) && ahead.is_some() => {
                    return Err(busy(ahead));
                }
                Err(error) if over || !is_passing(&error) => return Err(error),
                Err(_) => {}
            }
            if let Some(ttl) = self.made
                && renew.is_some_and(|renew| env.clock.now() >= renew)
            {
                self.renew(ttl / RENEWALS, context).await?;
                renew = Some(env.clock.now() + ttl / RENEWALS);
            }
        }
    }

    async fn renew(&self, patience: Duration, context: &Context) -> Result<(), ServiceError> {
        let deadline = self.service.hall.env.clock.now() + patience;
        let step =
            Context { deadline: deadline.min(context.deadline), once: None, ..context.clone() };
        match self.service.lease_renew(self.lease, step).await {
            Ok(_) => Ok(()),
            Err(error @ ServiceError { kind: ErrorKind::NoLease { .. }, .. }) => Err(error),
            // The lease has more time than this; the next renewal may do better.
            Err(error) => {
                tracing::debug!(%error, "a waiting lease was not renewed");
                Ok(())
            }
        }
    }

    fn done(&self, token: u64, group: GroupId, index: u64, replayed: bool) -> LockDone {
        LockDone { token, lease: self.lease, ttl: self.made, group, index, replayed }
    }

    /// Leaves the line in a task of its own, so that it goes on when nobody waits for it; whether it
    /// was left.
    fn leave(&self) -> oneshot::Receiver<bool> {
        let (told, left) = oneshot::channel();
        let service = self.service.clone();
        let (namespace, name) = (self.namespace.clone(), self.name.clone());
        let (lease, made) = (self.lease, self.made.is_some());
        let task = async move {
            let deadline = service.hall.env.clock.now() + LOCK_LEAVE_MAX;
            let context = Context::new(deadline, "leaving a lock's line");
            let result = if made {
                // The place goes with its lease, in one entry.
                service.lease_revoke(lease, context).await.map(drop)
            } else {
                let by = Holder::Lease(lease);
                service.lock_release(&namespace, name, by, context).await.map(drop)
            };
            let left = match result {
                Ok(()) => true,
                Err(error) => matches!(
                    error.kind,
                    ErrorKind::NoLease { .. }
                        | ErrorKind::LockNotHeld
                        | ErrorKind::NamespaceNotFound { .. }
                ),
            };
            if told.send(left).is_err() {
                tracing::debug!("nobody waits to hear that a lock's line was left");
            }
        };
        self.service.hall.env.tasks.spawn("leave a lock", task);
        left
    }
}

/// The waiting was in vain.
fn busy(ahead: Option<(LockPlace, GroupId)>) -> ServiceError {
    let (holder, group) = ahead.unzip();
    let error = ServiceError::from(ErrorKind::LockBusy { holder });
    match group {
        Some(group) => error.about(group, None),
        None => error,
    }
}

/// Where a token stands.
enum Standing {
    Head,
    InLine,
    Gone,
}

fn standing(lock: &LockRow, token: u64) -> Standing {
    match lock.queue.iter().position(|place| place.token == token) {
        Some(0) => Standing::Head,
        Some(_) => Standing::InLine,
        None => Standing::Gone,
    }
}

/// Whether following may simply go on.
fn is_passing(error: &ServiceError) -> bool {
    matches!(error.kind, ErrorKind::Unavailable { .. } | ErrorKind::Overloaded { .. })
}
