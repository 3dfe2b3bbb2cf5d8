//! Following a local replica and looking back in it: changes, pages, earlier values, its index.
//!
//! Why it exists: watches and views are answered by any replica, so what they need is asked of the
//! node's own state; only the index that a linearizable read must reflect is the leader's to say.
//!
//! Promises: a group without a replica here is `NotHere`; damage that shows itself stops the node.
//! Relies on: `barrier` for the index, `storage::state` for the rest.

use tokio::sync::watch;

use super::error::ReadError;
use super::groups::Groups;
use crate::model::GroupId;
use crate::runtime::clock::Moment;
use crate::runtime::limits::APPLIED_RETRY;
use crate::storage::StorageError;
use crate::storage::state::{Changes, Digest, Gone, Page, PageRows, Read, State};

/// What a state says, or that its history no longer reaches back so far.
type Found<T> = Result<Result<T, Gone>, StorageError>;

impl Groups {
    /// Recorded changes of a local replica; see [`State::changes`].
    ///
    /// # Errors
    ///
    /// When there is no replica here or the state has failed; inside, when they are forgotten.
    pub fn changes(
        &self,
        group: GroupId,
        after: u64,
        prefix: &[u8],
        bytes_max: usize,
    ) -> Result<Result<Changes, Gone>, ReadError> {
        self.look(group, |state| state.changes(group.0, after, prefix, bytes_max))
    }

    /// The same for the keys from the first bound on and below the second.
    ///
    /// # Errors
    ///
    /// As `changes`.
    pub fn changes_within(
        &self,
        group: GroupId,
        after: u64,
        range: (&[u8], Option<&[u8]>),
        bytes_max: usize,
    ) -> Result<Result<Changes, Gone>, ReadError> {
        self.look(group, |state| state.changes_within(group.0, after, range, bytes_max))
    }

    /// A page of rows of a local replica; see [`State::page`].
    ///
    /// # Errors
    ///
    /// When there is no replica here or the state cannot be read; inside, when the view is gone.
    pub fn page(&self, group: GroupId, page: Page) -> Result<Result<PageRows, Gone>, ReadError> {
        self.look(group, |state| state.page(group.0, page))
    }

    /// A row of a local replica as of an index; see [`State::get_at`].
    ///
    /// # Errors
    ///
    /// As `page`.
    pub fn get_at(
        &self,
        group: GroupId,
        key: &[u8],
        at: u64,
    ) -> Result<Result<Read, Gone>, ReadError> {
        self.look(group, |state| state.get_at(group.0, key, at))
    }

    /// The digest of a local replica; see [`State::digest`]. Blocks.
    ///
    /// # Errors
    ///
    /// As `page`.
    pub fn digest(&self, group: GroupId, until: Moment) -> Result<Option<Digest>, ReadError> {
        if self.group(group).is_none() {
            return Err(ReadError::NotHere);
        }
        self.state().digest(group.0, until).map_err(|error| self.cannot_read(&error))
    }

    fn look<T>(
        &self,
        group: GroupId,
        ask: impl FnOnce(&State) -> Found<T>,
    ) -> Result<Result<T, Gone>, ReadError> {
        if self.group(group).is_none() {
            return Err(ReadError::NotHere);
        }
        ask(self.state()).map_err(|error| self.cannot_read(&error))
    }

    /// Follows the applied index of a local replica; closed where there is none, or it has applied
    /// nothing yet.
    pub fn applied_watch(&self, group: GroupId) -> watch::Receiver<u64> {
        self.state().applied_watch(group.0)
    }

    /// Waits until a local replica has applied an index.
    ///
    /// # Errors
    ///
    /// `NotHere` also when the replica goes meanwhile; `TimedOut` at the deadline.
    pub async fn wait_applied(
        &self,
        group: GroupId,
        index: u64,
        deadline: Moment,
    ) -> Result<(), ReadError> {
        loop {
            if self.group(group).is_none() {
                return Err(ReadError::NotHere);
            }
            let mut applied = self.applied_watch(group);
            let left = deadline.since(self.env().clock.now());
            let reached = tokio::time::timeout(left, applied.wait_for(|applied| *applied >= index))
                .await
                .map(|reached| reached.is_ok());
            match reached {
                Ok(true) => return Ok(()),
                // Nothing is applied yet, or the group was discarded.
                Ok(false) => tokio::time::sleep(APPLIED_RETRY.min(left)).await,
                Err(_elapsed) => return Err(ReadError::TimedOut),
            }
            if left.is_zero() {
                return Err(ReadError::TimedOut);
            }
        }
    }

    /// The index that a linearizable read of now must reflect, from the group's leader; applied here
    /// when it returns. See `barrier`.
    ///
    /// # Errors
    ///
    /// See [`ReadError`].
    pub async fn read_index(&self, group: GroupId, deadline: Moment) -> Result<u64, ReadError> {
        self.barrier(group, deadline).await
    }

    /// Forgets the changes of a local replica up to `floor`; see [`State::trim_history`].
    pub fn trim_history(&self, group: GroupId, floor: u64) {
        self.state().trim_history(group.0, floor);
    }
}
