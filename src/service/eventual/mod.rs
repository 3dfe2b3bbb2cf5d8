//! The hall's other side: eventual namespaces, answered by this node alone.
//!
//! ```text
//!   name -> cached catalog -> Space -> this node's shard: get, write, page, batch, losses
//! ```
//!
//! Promises: a request never leaves the node that it reached and never waits for a group, but for a
//! name that the cached catalog does not know, which is asked for as on the other side; what a
//! session or `min_vector` asks for is there before anything is read or written; an error says its
//! outcome. Relies on `convergence` for the shards; knows no JSON.

mod batch;
mod copies;
mod keys;
mod losses;
mod scan;
mod wing;

use std::sync::Arc;

use crate::convergence::{Convergence, Passage, Shard};
use crate::model::eventual::{DataType, Vector};
use crate::model::{NamespaceId, NodeId};
use crate::placement::{LinkMode, Mode, NamespaceLimits};

use super::ask::Context;
use super::error::{ErrorKind, ServiceError};
use super::{Hall, Service, check_key, no_catalog};

pub use batch::{SpaceOp, SpaceResult, SpaceStep};
pub use keys::{Held, Order, SpaceWrote};
pub use losses::Losses;
pub use scan::{SpaceItem, SpacePage, SpaceScan};
pub use wing::EventualWing;
#[cfg(test)]
pub(crate) use wing::NoShards;

/// An eventual namespace on this node. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Space {
    hall: Arc<Hall>,
    id: NamespaceId,
    data_type: DataType,
    limits: NamespaceLimits,
    cluster: u64,
    shard: Shard,
}

impl Service {
    /// The namespace, if it is an eventual one.
    ///
    /// # Errors
    ///
    /// When there is none of this name, or it is not open here in time.
    pub async fn eventual(
        &self,
        name: &str,
        context: &Context,
    ) -> Result<Option<Space>, ServiceError> {
        let hall = &self.hall;
        let known = hall.map().filter(|map| map.catalog.namespace(name).is_some());
        let map = match known {
            Some(map) => map,
            None => hall.map_knowing(name, context).await?,
        };
        let entry = map.catalog.namespace(name).ok_or_else(no_catalog)?;
        let (Mode::Eventual, Some(data_type)) = (entry.mode, entry.data_type) else {
            return Ok(None);
        };
        let shard = hall.shard(name, entry.id, context).await?;
        if shard.passage() == Passage::Sealed {
            return Err(ErrorKind::Switching.into());
        }
        Ok(Some(Space {
            hall: Arc::clone(hall),
            id: entry.id,
            data_type,
            limits: entry.limits,
            cluster: map.catalog.cluster.0,
            shard,
        }))
    }
}

impl Hall {
    /// The shard, waited for while it opens.
    async fn shard(
        &self,
        name: &str,
        id: NamespaceId,
        context: &Context,
    ) -> Result<Shard, ServiceError> {
        if let Some(shard) = self.eventual.shard(id) {
            return Ok(shard);
        }
        let mut changes = self.eventual.changed();
        let opened = async {
            loop {
                if let Some(shard) = self.eventual.shard(id) {
                    return Some(shard);
                }
                changes.changed().await.ok()?;
            }
        };
        let left = context.deadline.since(self.env.clock.now());
        let opened = tokio::time::timeout(left, opened).await.ok().flatten();
        opened.ok_or_else(|| {
            let reason = format!("namespace {name:?} is not open on this node yet");
            ErrorKind::Unavailable { reason }.into()
        })
    }
}

impl Space {
    /// Its id.
    pub fn id(&self) -> NamespaceId {
        self.id
    }

    /// What its values are.
    pub fn data_type(&self) -> DataType {
        self.data_type
    }

    /// What it accepts.
    pub fn limits(&self) -> NamespaceLimits {
        self.limits
    }

    /// What this node has heard of it.
    pub fn vector(&self) -> Arc<Vector> {
        self.shard.vector()
    }

    /// Asks every node what it has, and compares.
    ///
    /// # Errors
    ///
    /// When the namespace is gone.
    pub async fn convergence(&self, context: &Context) -> Result<Convergence, ServiceError> {
        // Whoever does not answer is named: a part of the time is kept for saying so.
        let left = context.deadline.since(self.hall.env.clock.now());
        let deadline = self.hall.env.clock.now() + left * 3 / 4;
        let found = self.hall.eventual.convergence(self.id, deadline).await;
        found.ok_or_else(|| {
            let reason = "the namespace is not open on this node any more".to_owned();
            ErrorKind::Unavailable { reason }.into()
        })
    }

    /// Asks for a pass over the link that leads to this node from another one, if it waits to be
    /// asked. Says of which mode it is; `None`: there is no such link.
    pub fn ask_pass(&self, from: NodeId) -> Option<LinkMode> {
        self.hall.eventual.ask_pass(self.id, from)
    }

    /// Refuses a key that the namespace does not take.
    ///
    /// # Errors
    ///
    /// When it is empty or too long.
    pub fn admit(&self, key: &[u8]) -> Result<(), ServiceError> {
        check_key(key, self.limits)
    }

    /// Waits until this node has what the session, and `need`, have seen.
    ///
    /// # Errors
    ///
    /// `VectorBehind` when it does not come in time.
    pub async fn reach(
        &self,
        need: Option<&Vector>,
        context: &Context,
    ) -> Result<(), ServiceError> {
        let of_session = context.session.vector_of(self.id);
        for wanted in [of_session, need].into_iter().flatten() {
            if !self.shard.vector().includes(wanted)
                && !self.shard.covered(wanted, context.deadline).await
            {
                let missing = self.shard.vector().missing(wanted);
                return Err(ErrorKind::VectorBehind { missing }.into());
            }
        }
        Ok(())
    }
}
