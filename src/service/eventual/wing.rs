//! What the hall asks of the eventual wing.
//!
//! Why it exists: tests of the hall have no shards; a node has [`convergence`](crate::convergence)'s.
//! Promises: nothing here waits for another node, but [`EventualWing::convergence`], which is for that.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::watch;

use crate::convergence::{Convergence, Exchange, Shard, Shards, Streams};
use crate::model::{NamespaceId, NodeId};
use crate::placement::LinkMode;
use crate::runtime::Moment;

/// The shards of this node.
#[async_trait]
pub trait EventualWing: Send + Sync {
    /// The shard of a namespace, once it is open here.
    fn shard(&self, namespace: NamespaceId) -> Option<Shard>;

    /// Changes whenever a shard comes or goes.
    fn changed(&self) -> watch::Receiver<u64>;

    /// What takes in copies of a namespace; `None` when it is not here.
    fn exchange(&self, namespace: NamespaceId) -> Option<Arc<Exchange>>;

    /// Asks for a pass over the link from a node, if it waits to be asked. Says of which mode it is;
    /// `None` when there is none.
    fn ask_pass(&self, namespace: NamespaceId, from: NodeId) -> Option<LinkMode>;

    /// Asks every node that holds a namespace what it has; `None` when it is not here.
    async fn convergence(&self, namespace: NamespaceId, deadline: Moment) -> Option<Convergence>;
}

#[async_trait]
impl EventualWing for (Arc<Shards>, Arc<Streams>) {
    fn shard(&self, namespace: NamespaceId) -> Option<Shard> {
        self.0.get(namespace)
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.0.changed()
    }

    fn exchange(&self, namespace: NamespaceId) -> Option<Arc<Exchange>> {
        self.1.exchange(namespace)
    }

    fn ask_pass(&self, namespace: NamespaceId, from: NodeId) -> Option<LinkMode> {
        self.1.ask_pass(namespace, from)
    }

    async fn convergence(&self, namespace: NamespaceId, deadline: Moment) -> Option<Convergence> {
        self.1.convergence(namespace, deadline).await
    }
}

/// A node that has no shards: where the other side is tested.
#[cfg(test)]
#[derive(Debug)]
pub(crate) struct NoShards(watch::Sender<u64>);

#[cfg(test)]
impl Default for NoShards {
    fn default() -> Self {
        Self(watch::Sender::new(0))
    }
}

#[cfg(test)]
#[async_trait]
impl EventualWing for NoShards {
    fn shard(&self, _: NamespaceId) -> Option<Shard> {
        None
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.0.subscribe()
    }

    fn exchange(&self, _: NamespaceId) -> Option<Arc<Exchange>> {
        None
    }

    fn ask_pass(&self, _: NamespaceId, _: NodeId) -> Option<LinkMode> {
        None
    }

    async fn convergence(&self, _: NamespaceId, _: Moment) -> Option<Convergence> {
        None
    }
}
