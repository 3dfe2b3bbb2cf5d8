//! The newest catalog, asked for when what this node has may be too old to say "there is none".
//!
//! Why it exists: a node hears of a new namespace a moment after it was made; one that was paused, much
//! later. Promises: the catalog that comes back holds every change that was answered before it was
//! asked for; one question is under way at a time, and all who come meanwhile share the next one, so
//! that requests for what does not exist cost the system group little. Relies on the system group's
//! leader for its index, and on this node's replica to publish the catalog with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Mutex;

use crate::model::GroupId;
use crate::placement::Catalog;
use crate::runtime::{Env, Moment};

use super::error::{ErrorKind, ServiceError};
use super::feed::{Reach, read_index};
use super::scan::scan_error;
use super::wing::Wing;

/// Questions for the newest catalog.
#[derive(Debug)]
pub(super) struct Newest {
    env: Env,
    wing: Arc<dyn Wing>,
    reach: Arc<dyn Reach>,
    asking: Mutex<()>,
    /// Questions that have begun.
    begun: AtomicU64,
    /// The newest question that was answered.
    answered: AtomicU64,
}

impl Newest {
    /// Nothing was asked yet.
    pub(super) fn new(env: Env, wing: Arc<dyn Wing>, reach: Arc<dyn Reach>) -> Self {
        let asking = Mutex::new(());
        let (begun, answered) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { env, wing, reach, asking, begun, answered }
    }

    /// The catalog with all that was answered before this was called. Cancel-safe.
    ///
    /// # Errors
    ///
    /// `Unavailable` when the system group does not say in time.
    pub(super) async fn catalog(&self, deadline: Moment) -> Result<Arc<Catalog>, ServiceError> {
        let came = self.begun.load(Ordering::SeqCst);
        let left = deadline.since(self.env.clock.now());
        let late =
            || unavailable("the system group did not say in time which namespaces there are");
        let turn = tokio::time::timeout(left, self.asking.lock()).await.map_err(|_late| late())?;
        // Only a question that began after this one came speaks for it.
        if self.answered.load(Ordering::SeqCst) <= came {
            let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
            self.ask(deadline).await?;
            self.answered.store(number, Ordering::SeqCst);
        }
        drop(turn);
        let known = self.wing.catalog().borrow().clone();
        known.ok_or_else(|| unavailable("this node knows no catalog yet"))
    }

    async fn ask(&self, deadline: Moment) -> Result<(), ServiceError> {
        let index = read_index(self.reach.as_ref(), GroupId::SYSTEM, deadline).await;
        let index = index.map_err(scan_error)?;
        let reached = self.wing.wait_applied(GroupId::SYSTEM, index, deadline).await;
        reached.map_err(|error| unavailable(&format!("this node's catalog is behind: {error}")))
    }
}

fn unavailable(reason: &str) -> ServiceError {
    let kind = ErrorKind::Unavailable { reason: reason.to_owned() };
    ServiceError::from(kind).about(GroupId::SYSTEM, None)
}
