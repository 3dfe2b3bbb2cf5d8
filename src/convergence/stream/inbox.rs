//! What other nodes ask of the streams.
//!
//! Promises: a question about a namespace that is not here is refused, and a stream for it ends at
//! once: the catalog that names it has not come here yet, or has gone on. Relies on `peer` for
//! streams and answers.

use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::mpsc;

use super::clocks;
use super::follow::Streams;
use super::message::Hello;
use super::source::{Ended, Source};
use super::verdict::{self, Question};
use crate::model::NodeId;
use crate::model::codec;
use crate::peer::{Channel, Inbox, PeerStream, Refused};

/// Operations of one namespace, from one node to another.
pub const CONVERGE_STREAM: Channel = Channel(32);
/// A question about what a node has, or about its clock.
pub const CONVERGE_CALL: Channel = Channel(33);
/// The first channel that is this wing's, ...
const FIRST: u8 = 32;
/// ... and the last.
const LAST: u8 = 39;

/// The wing's inbox.
#[derive(Clone, Debug)]
pub struct ConvergeInbox {
    streams: Arc<Streams>,
}

impl ConvergeInbox {
    /// The inbox of these streams.
    pub const fn new(streams: Arc<Streams>) -> Self {
        Self { streams }
    }

    /// Whether a channel is this wing's.
    pub const fn takes(channel: Channel) -> bool {
        channel.0 >= FIRST && channel.0 <= LAST
    }

    async fn serve(&self, from: NodeId, header: &Bytes, stream: PeerStream) -> Result<(), Ended> {
        let hello = Hello::decode(header)?;
        let exchange = self.streams.exchange(hello.namespace).ok_or(Ended::Gone)?;
        Source::serve(exchange, from, hello, stream).await
    }
}

#[async_trait]
impl Inbox for ConvergeInbox {
    async fn call(&self, _: NodeId, channel: Channel, body: Bytes) -> Result<Bytes, Refused> {
        if channel != CONVERGE_CALL {
            return Err(Refused::new("unknown channel"));
        }
        let (question, tail) = codec::open::<Question>("question about convergence", &body)
            .map_err(|error| Refused::new(error.to_string()))?;
        codec::no_tail("question about convergence", &tail)
            .map_err(|error| Refused::new(error.to_string()))?;
        match question {
            Question::Clock => Ok(clocks::answer(&self.streams)),
            Question::State { namespace } => verdict::answer_state(&self.streams, namespace),
            Question::Buckets { namespace } => verdict::answer_buckets(&self.streams, namespace),
            Question::Oldest { namespace, vectors } => {
                verdict::answer_oldest(&self.streams, namespace, &vectors).await
            }
        }
    }

    async fn stream(&self, from: NodeId, channel: Channel, header: Bytes, stream: PeerStream) {
        if channel != CONVERGE_STREAM {
            tracing::warn!(%from, channel = channel.0, "a stream on an unknown channel");
            return;
        }
        match self.serve(from, &header, stream).await {
            Ok(()) | Err(Ended::Gone) => {}
            Err(error) => tracing::warn!(%from, %error, "a stream of writes ended"),
        }
    }

    async fn bulk(
        &self,
        _from: NodeId,
        _channel: Channel,
        _header: Bytes,
        _body: mpsc::Receiver<io::Result<Bytes>>,
    ) -> Result<Bytes, Refused> {
        Err(Refused::new("unknown channel"))
    }
}
