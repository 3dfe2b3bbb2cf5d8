//! The whole of a node's corridor on the network in memory, for nodes that are built room by room.
//!
//! Why it exists: a node has its transport before it has an inbox. Promises: the node is on the network
//! from `set_inbox` on. Connections are made when they are needed, so `set_peers` has nothing to do.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;

use super::{MemoryNetwork, MemoryTransport};
use crate::model::NodeId;
use crate::peer::{Channel, Corridor, Doorkeeper, Inbox, Lane, PeerError, PeerStream, Transport};
use crate::runtime::{Env, Moment};

/// One node's corridor on a [`MemoryNetwork`].
#[derive(Clone, Debug)]
pub struct MemoryCorridor {
    network: MemoryNetwork,
    transport: MemoryTransport,
    node: NodeId,
    env: Env,
    doorkeeper: Arc<dyn Doorkeeper>,
}

impl MemoryCorridor {
    /// The corridor of the node that this doorkeeper speaks for.
    pub fn new(network: MemoryNetwork, env: Env, doorkeeper: Arc<dyn Doorkeeper>) -> Self {
        let node = doorkeeper.hello().node;
        let transport = MemoryTransport::new(network.clone(), node, env.clone());
        Self { network, transport, node, env, doorkeeper }
    }
}

impl Corridor for MemoryCorridor {
    fn set_inbox(&self, inbox: Arc<dyn Inbox>) {
        // The network's own handle on this node is the same as ours.
        drop(self.network.attach(self.env.clone(), Arc::clone(&self.doorkeeper), inbox));
    }

    fn set_peers(&self, _nodes: &[NodeId]) {}

    fn disconnect(&self, node: NodeId) {
        self.network.reset(self.node, node);
    }
}

#[async_trait]
impl Transport for MemoryCorridor {
    async fn call(
        &self,
        to: NodeId,
        channel: Channel,
        lane: Lane,
        body: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, PeerError> {
        self.transport.call(to, channel, lane, body, timeout).await
    }

    async fn open_stream(
        &self,
        to: NodeId,
        channel: Channel,
        lane: Lane,
        header: Bytes,
    ) -> Result<PeerStream, PeerError> {
        self.transport.open_stream(to, channel, lane, header).await
    }

    async fn send_bulk(
        &self,
        to: NodeId,
        channel: Channel,
        header: Bytes,
        body: BoxStream<'static, io::Result<Bytes>>,
    ) -> Result<Bytes, PeerError> {
        self.transport.send_bulk(to, channel, header, body).await
    }

    fn is_connected(&self, to: NodeId) -> bool {
        self.transport.is_connected(to)
    }

    fn connected_since(&self, to: NodeId) -> Option<Moment> {
        self.transport.connected_since(to)
    }
}
