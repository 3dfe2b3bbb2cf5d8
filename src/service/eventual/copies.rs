//! Copies of an eventual namespace, given and taken.
//!
//! Promises: as [`copy`](crate::convergence::copy) says. Nothing here has a deadline: a copy takes as
//! long as it takes, and its carrier sees to it that it moves.

use bytes::Bytes;
use futures_util::Stream;

use super::Space;
use crate::convergence::copy::{Giving, Taken, Untaken, Untaking, take};
use crate::convergence::{Passage, Stop};
use crate::model::NodeId;
use crate::model::eventual::Vector;
use crate::service::error::{ErrorKind, ServiceError};

impl Space {
    /// A copy of what is here and not in `since`.
    ///
    /// # Errors
    ///
    /// When the rows cannot be read.
    pub async fn give_copy(&self, name: &str, since: Vector) -> Result<Giving, ServiceError> {
        let giving = Giving::begin(self.shard.clone(), name, self.cluster, since).await;
        giving.map_err(|error| ErrorKind::Internal { reason: error.to_string() }.into())
    }

    /// Takes a copy in, as it comes.
    ///
    /// # Errors
    ///
    /// See [`Untaking`].
    pub async fn take_copy(
        &self,
        pieces: impl Stream<Item = Result<Bytes, String>> + Unpin,
    ) -> Result<Taken, Untaken> {
        let Some(exchange) = self.hall.eventual.exchange(self.id) else {
            let reason = "the namespace is not open on this node any more".to_owned();
            return Err(Untaken { why: Untaking::Stop(Stop { reason }), partly: false });
        };
        self.may_take(false)?;
        let taken = take(&exchange, self.cluster, pieces).await?;
        // What came in after the namespace was closed may be in no copy of it.
        self.may_take(true).map(|()| taken)
    }

    fn may_take(&self, partly: bool) -> Result<(), Untaken> {
        if self.shard.passage() == Passage::Open {
            return Ok(());
        }
        let reason = "the namespace is being switched to the other side".to_owned();
        Err(Untaken { why: Untaking::Stop(Stop { reason }), partly })
    }

    /// The node that answers.
    pub fn node(&self) -> NodeId {
        NodeId(self.shard.actor().node)
    }
}
