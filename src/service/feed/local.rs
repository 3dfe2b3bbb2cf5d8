//! What scans and watches need of this node's replicas.
//!
//! Why it exists: tests put groups in memory behind it. `consensus::Groups` is the other
//! implementation, a line per method. Promises: what is not here is `NotHere`.

use std::fmt::Debug;

use tokio::sync::watch;

use crate::consensus::{Groups, ReadError};
use crate::model::GroupId;
use crate::storage::state::{Changes, Gone, Page, PageRows};

/// This node's replicas, as scans and watches see them.
pub trait LocalFeed: Send + Sync + Debug {
    /// A page of rows. Blocks: it reads files.
    ///
    /// # Errors
    ///
    /// When there is no replica here or it cannot be read; inside, when the view is gone.
    fn page(&self, group: GroupId, page: Page) -> Result<Result<PageRows, Gone>, ReadError>;

    /// Recorded changes of later entries, of row keys within the bounds. Does not block.
    ///
    /// # Errors
    ///
    /// When there is no replica here or it has failed; inside, when they are forgotten.
    fn changes(
        &self,
        group: GroupId,
        after: u64,
        within: (&[u8], Option<&[u8]>),
        bytes_max: usize,
    ) -> Result<Result<Changes, Gone>, ReadError>;

    /// The applied index; closed where there is no replica.
    fn applied_watch(&self, group: GroupId) -> watch::Receiver<u64>;

    /// Whether there is a replica here.
    fn hosts(&self, group: GroupId) -> bool;
}

impl LocalFeed for Groups {
    fn page(&self, group: GroupId, page: Page) -> Result<Result<PageRows, Gone>, ReadError> {
        Self::page(self, group, page)
    }

    fn changes(
        &self,
        group: GroupId,
        after: u64,
        within: (&[u8], Option<&[u8]>),
        bytes_max: usize,
    ) -> Result<Result<Changes, Gone>, ReadError> {
        self.changes_within(group, after, within, bytes_max)
    }

    fn applied_watch(&self, group: GroupId) -> watch::Receiver<u64> {
        Self::applied_watch(self, group)
    }

    fn hosts(&self, group: GroupId) -> bool {
        self.group(group).is_some()
    }
}
