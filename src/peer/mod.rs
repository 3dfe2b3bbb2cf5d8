//! The corridor: framed connections between nodes. It does not know what a payload means.
//!
//! Why it exists: an HTTP request per Raft message costs 20 to 50 times more CPU than a frame on a
//! long-lived connection, and the rooms above need to know exactly what a failure means: surely not
//! delivered, or perhaps delivered.
//!
//! ```text
//!   call, open_stream          one connection A -> B                 Inbox::call, ::stream
//!   --------------------> [ lanes | writer ] ====> [ reader ] --> tasks, bounded
//!   <-------------------- [ reader ] <==== [ writer | lanes ] <-- answers
//!   send_bulk                  a connection of its own               Inbox::bulk
//! ```
//!
//! Promises: a message is delivered at most once and never by itself a second time; messages of one
//! stream arrive in order; control goes before data; every queue is bounded and what does not fit is
//! refused at once. Does not promise: that separate calls arrive in the order they were made.
//!
//! Relies on: hyper's HTTP/1.1 upgrade, tokio, `runtime` for time, chance and tasks. The bytes on
//! the wire are described in `docs/peer-protocol.md`.

mod bulk;
mod connection;
mod dispatch;
pub mod frame;
mod handshake;
pub mod hello;
mod lab;
mod lanes;
mod link;
pub mod memory;
pub mod metrics;
mod peers;
mod streams;

#[cfg(test)]
mod tests;

use std::fmt::Debug;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::model::NodeId;
use crate::runtime::Moment;

pub use hello::{Doorkeeper, Hello, Refusal};
pub use lab::{LAB_PATH, Lab};
pub use link::LinkStatus;
pub use memory::{MemoryCorridor, MemoryNetwork, MemoryTransport};
pub use metrics::PeerMetrics;
pub use peers::{PEER_PATH, PeerOptions, Peers};

/// Says which part of the receiving node a message is for. The numbers belong to the rooms above.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Channel(pub u8);

/// Which of the two queues a message waits in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Lane {
    /// Small and urgent: heartbeats, votes, barriers. Written before all data that waits.
    Control,
    /// Everything else.
    Data,
}

impl Lane {
    /// The lane's name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::Data => "data",
        }
    }
}

/// Why a message got no answer, split by what the sender may conclude.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// Surely not delivered: no connection, a full queue, or refused by the handshake.
    #[error("not sent: {reason}")]
    NotSent {
        /// What was in the way.
        reason: String,
    },
    /// Perhaps delivered: the connection broke or the time ran out after it may have been written.
    #[error("outcome unknown: {reason}")]
    Unknown {
        /// What went wrong.
        reason: String,
    },
    /// Delivered, and refused by the other side's inbox before it acted.
    #[error("refused by the peer: {reason}")]
    Refused {
        /// The other side's words.
        reason: String,
    },
}

impl PeerError {
    pub(crate) fn not_sent(reason: impl Into<String>) -> Self {
        Self::NotSent { reason: reason.into() }
    }

    pub(crate) fn unknown(reason: impl Into<String>) -> Self {
        Self::Unknown { reason: reason.into() }
    }
}

/// An inbox's word that it did nothing with a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Refused {
    /// Why, for the sender's log and error.
    pub reason: String,
}

impl Refused {
    /// A refusal in these words.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into() }
    }
}

/// Two ordered, bounded queues of messages between two nodes.
///
/// # Invariants
///
/// * Messages arrive in the order sent, each at most once, without gaps until the stream ends.
/// * Dropping `send` ends the other side's `recv` once it has taken what was sent before.
/// * Dropping `recv` makes the other side's `send` fail.
/// * When the connection breaks, `recv` ends and `send` fails; what was under way may be lost.
#[derive(Debug)]
pub struct PeerStream {
    /// To the other side; waits when the other side is slow.
    pub send: mpsc::Sender<Bytes>,
    /// From the other side.
    pub recv: mpsc::Receiver<Bytes>,
}

/// How a node reaches the others.
#[async_trait]
pub trait Transport: Send + Sync + Debug {
    /// Asks a question and waits for its answer, for at most `timeout`.
    ///
    /// The other side also gives up at that time. While a first connection is being made the call
    /// waits for it, at most `PEER_CONNECT_WAIT_MAX`; otherwise a missing connection fails at once.
    async fn call(
        &self,
        to: NodeId,
        channel: Channel,
        lane: Lane,
        body: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, PeerError>;

    /// Opens a stream; returns before the other side has seen it.
    async fn open_stream(
        &self,
        to: NodeId,
        channel: Channel,
        lane: Lane,
        header: Bytes,
    ) -> Result<PeerStream, PeerError>;

    /// Sends a long body on a connection of its own, paced by TCP, and waits for the answer.
    ///
    /// An error after the first byte is `Unknown`: the receiver has seen a part, and knows that it
    /// is only a part.
    async fn send_bulk(
        &self,
        to: NodeId,
        channel: Channel,
        header: Bytes,
        body: BoxStream<'static, io::Result<Bytes>>,
    ) -> Result<Bytes, PeerError>;

    /// Whether our connection to the node is up.
    fn is_connected(&self, to: NodeId) -> bool;

    /// Since when our connection to the node is up.
    fn connected_since(&self, to: NodeId) -> Option<Moment>;
}

/// A node's way to the others as the node itself sees it: a transport that must be told who there is
/// and who takes what they send.
pub trait Corridor: Transport {
    /// Says who takes the messages; once. Until then nobody can speak to this node.
    fn set_inbox(&self, inbox: Arc<dyn Inbox>);

    /// Starts connecting to all of these nodes.
    fn set_peers(&self, nodes: &[NodeId]);

    /// Ends the connections with a node, both directions: it must be judged again.
    fn disconnect(&self, node: NodeId);
}

/// What a node does with messages from others.
#[async_trait]
pub trait Inbox: Send + Sync + Debug {
    /// Answers a question. Runs on a task of its own; dropped when the caller's time is over.
    async fn call(&self, from: NodeId, channel: Channel, body: Bytes) -> Result<Bytes, Refused>;

    /// Serves a stream until it returns. Runs on a task of its own.
    async fn stream(&self, from: NodeId, channel: Channel, header: Bytes, stream: PeerStream);

    /// Takes a long body. The body is whole only when `recv` returned `None` without an `Err`
    /// before; an `Err` is its last item.
    async fn bulk(
        &self,
        from: NodeId,
        channel: Channel,
        header: Bytes,
        body: mpsc::Receiver<io::Result<Bytes>>,
    ) -> Result<Bytes, Refused>;
}
