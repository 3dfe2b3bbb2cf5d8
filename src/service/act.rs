//! Doing work with this node's own replica: the last step, whether the request came from a client
//! or from another node.
//!
//! Promises: a proposal runs to its end even when nobody waits for it any more (a client that left
//! must not leave a half-known write behind); a read is refused when the group does not own the
//! slot or asks for a newer catalog, so that an old route can never read the wrong group or a
//! namespace that is gone. Never passes anything on.

use std::time::Duration;

use bytes::Bytes;

use crate::consensus::{ProposeError, ReadError};
use crate::model::{GroupId, LeaseId, LockRow, OWNED_KEY, Slot, lease_key};
use crate::runtime::Moment;
use crate::runtime::limits::{LOCK_WAIT_STEP, SESSION_WAIT_MAX};
use crate::runtime::planted::{self, Bug};

use super::Hall;
use super::forward::{Decline, Done, Find, Freshness, LockWait, Work};

/// Where work is done: a group, asked by a catalog of this epoch, until the deadline.
#[derive(Clone, Copy, Debug)]
pub(super) struct Site<'a> {
    pub(super) hall: &'a Hall,
    pub(super) group: GroupId,
    pub(super) epoch: u64,
    pub(super) deadline: Moment,
}

/// Does the work here. Cancel-safe: a dropped proposal goes on by itself.
pub(super) async fn act(site: Site<'_>, work: Work) -> Result<Done, Decline> {
    match work {
        Work::Propose(command) => site.propose(command).await,
        Work::Read(find) => site.read(&find).await,
        Work::ReadIndex => {
            let index = site.barrier().await?;
            Ok(Done::ReadIndex { index })
        }
        Work::LockWait(wait) => site.lock_wait(&wait).await,
        Work::Lease(id) => site.lease(id).await,
    }
}

impl Site<'_> {
    async fn propose(&self, command: Bytes) -> Result<Done, Decline> {
        let Self { hall, group, deadline, .. } = *self;
        // When the client leaves, this ends here and the write is done all the same.
        match hall.wing.propose(group, command, deadline).await {
            Ok((reply, index)) => Ok(Done::Proposed { index, reply }),
            Err(error) => Err(propose_decline(error)),
        }
    }

    async fn barrier(&self) -> Result<u64, Decline> {
        self.hall.wing.barrier(self.group, self.deadline).await.map_err(read_decline)
    }

    async fn read(&self, find: &Find) -> Result<Done, Decline> {
        if find.at_least > 0 {
            self.reach(find.at_least, SESSION_WAIT_MAX).await?;
        }
        let clock = &self.hall.env.clock;
        // Asked before the read: what is read is then at least as new as the bound says.
        let aging = || (clock.now(), self.hall.wing.staleness(self.group));
        match find.freshness {
            Freshness::Now => {
                self.barrier().await?;
                self.row(find, None)
            }
            Freshness::Any => {
                let (asked, age) = aging();
                let done = self.row(find, age)?;
                Ok(aged(done, clock.now().since(asked)))
            }
            Freshness::Within(bound_ms) => {
                let (asked, age) = aging();
                let bound = Duration::from_millis(bound_ms);
                if age.is_some_and(|age| age <= bound) {
                    let done = aged(self.row(find, age)?, clock.now().since(asked));
                    if matches!(done, Done::Read { age: Some(age), .. } if age <= bound) {
                        return Ok(done);
                    }
                }
                if self.hall.wing.leader(self.group) != Some(self.hall.node) {
                    return Err(Decline::TooStale);
                }
                self.barrier().await?;
                self.row(find, Some(Duration::ZERO))
            }
        }
    }

    /// The row as it is here.
    pub(super) fn row(&self, find: &Find, age: Option<Duration>) -> Result<Done, Decline> {
        let row = self.hall.wing.get(self.group, &find.key).map_err(read_decline)?;
        // Looked up after the row: a group that has lost the slot since then has lost the row with it.
        self.owns(find.slot)?;
        Ok(Done::Read { index: row.index, row: row.value, age })
    }

    fn owns(&self, slot: Slot) -> Result<(), Decline> {
        if self.group == GroupId::SYSTEM || planted::active(Bug::OldEpochRoute) {
            return Ok(());
        }
        let owned = self.hall.wing.get(self.group, OWNED_KEY).map_err(read_decline)?;
        let ownership =
            self.hall.owned.of(self.group, owned.value).map_err(|error| broken(&error))?;
        if self.epoch < ownership.epoch || !ownership.owns(slot) {
            return Err(Decline::NotOwner { epoch: ownership.epoch });
        }
        Ok(())
    }

    /// Waits until the replica here has applied an index, but no longer than `patience`.
    async fn reach(&self, index: u64, patience: Duration) -> Result<(), Decline> {
        let until = self.deadline.min(self.hall.env.clock.now() + patience);
        match self.hall.wing.wait_applied(self.group, index, until).await {
            Ok(()) => Ok(()),
            Err(ReadError::TimedOut) => Err(Decline::Behind),
            Err(error) => Err(read_decline(error)),
        }
    }

    async fn lock_wait(&self, wait: &LockWait) -> Result<Done, Decline> {
        self.reach(wait.after, LOCK_WAIT_STEP).await?;
        let clock = &self.hall.env.clock;
        let until = self.deadline.min(clock.now() + LOCK_WAIT_STEP);
        let find =
            Find { slot: wait.slot, key: wait.key.clone(), freshness: Freshness::Any, at_least: 0 };
        loop {
            let done = self.row(&find, None)?;
            let Done::Read { index, row, .. } = &done else {
                return Err(Decline::Broken { reason: "a row was read as something else".into() });
            };
            let lock = row.as_ref().map(LockRow::decode).transpose().map_err(|e| broken(&e))?;
            if !is_waiting(lock.as_ref(), wait.token) || clock.now() >= until {
                return Ok(done);
            }
            match self.hall.wing.wait_applied(self.group, index + 1, until).await {
                // At the end of its time it says how the lock stands then.
                Ok(()) | Err(ReadError::TimedOut) => {}
                Err(error) => return Err(read_decline(error)),
            }
        }
    }

    async fn lease(&self, id: LeaseId) -> Result<Done, Decline> {
        self.barrier().await?;
        let read = self.hall.wing.get(self.group, &lease_key(id)).map_err(read_decline)?;
        self.owns(id.slot())?;
        let remaining = self.hall.wing.lease_remaining(self.group, id);
        Ok(Done::Lease { index: read.index, row: read.value, remaining })
    }
}

/// Whether the place is in line, but not at its head.
fn is_waiting(lock: Option<&LockRow>, token: u64) -> bool {
    lock.is_some_and(|lock| lock.queue.iter().skip(1).any(|place| place.token == token))
}

fn aged(done: Done, spent: Duration) -> Done {
    match done {
        Done::Read { index, row, age } => {
            Done::Read { index, row, age: age.map(|age| age.saturating_add(spent)) }
        }
        other => other,
    }
}

fn broken(error: &dyn std::fmt::Display) -> Decline {
    Decline::Broken { reason: error.to_string() }
}

fn propose_decline(error: ProposeError) -> Decline {
    match error {
        ProposeError::NotHere => Decline::NotHere,
        ProposeError::NotLeader { leader } => Decline::NotLeader { leader },
        ProposeError::Overloaded => Decline::Overloaded,
        ProposeError::TimedOut => Decline::TimedOut,
        ProposeError::Unknown { reason } => Decline::Unknown { reason },
        ProposeError::Stopped { reason } => Decline::Stopped { reason },
    }
}

pub(super) fn read_decline(error: ReadError) -> Decline {
    match error {
        ReadError::NotHere => Decline::NotHere,
        ReadError::NotLeader { leader } => Decline::NotLeader { leader },
        ReadError::Overloaded => Decline::Overloaded,
        ReadError::TimedOut => Decline::TimedOut,
        ReadError::Stopped { reason } => Decline::Stopped { reason },
    }
}
