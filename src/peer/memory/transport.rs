//! One node's view of the network in memory.
//!
//! Promises: the same verdicts as the real `Transport`: `NotSent` only when the inbox did not and
//! will not see the message. Relies on: `MemoryNetwork` for links, delays and members.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};

use super::link::carry;
use super::{Member, MemoryNetwork, Wire};
use crate::model::NodeId;
use crate::peer::{Channel, Lane, PeerError, PeerStream, Refused, Transport};
use crate::runtime::limits::{
    PEER_BULK_ANSWER_MAX, PEER_BULK_QUEUE, PEER_FRAME_BYTES_MAX, PEER_STREAM_QUEUE,
};
use crate::runtime::{Env, Moment};

/// The transport of one node on a [`MemoryNetwork`]. Cheap to clone.
#[derive(Clone, Debug)]
pub struct MemoryTransport {
    network: MemoryNetwork,
    node: NodeId,
    env: Env,
}

impl MemoryTransport {
    pub(super) const fn new(network: MemoryNetwork, node: NodeId, env: Env) -> Self {
        Self { network, node, env }
    }

    /// A node that was stopped is silent, also when another life of it has its place.
    fn connect(&self, to: NodeId) -> Result<(Wire, Member), PeerError> {
        if self.env.tasks.is_stopping() {
            return Err(PeerError::not_sent("this node has stopped"));
        }
        self.network.connect(self.node, to)
    }

    /// Carries one answer back; never resolves when it or the question is lost.
    async fn exchange(
        &self,
        to: NodeId,
        serve: impl Future<Output = Result<Bytes, Refused>> + Send + 'static,
        (wire, theirs): (&Wire, &Member),
    ) -> Result<Bytes, Refused> {
        let (answer, answered) = oneshot::channel();
        let (network, node, broken) = (self.network.clone(), self.node, wire.broken.clone());
        // On the other node's tasks: it goes on when the caller gives up, and stops with that node.
        theirs.env.tasks.spawn("memory-call", async move {
            let Some(there) = network.depart((node, to), &broken).await else { return };
            sleep(there).await;
            let result = serve.await;
            if let Some(back) = network.depart((to, node), &broken).await {
                sleep(back).await;
                // A caller that gave up does not need the answer.
                drop(answer.send(result));
            }
        });
        match answered.await {
            Ok(result) => result,
            Err(_) => std::future::pending().await,
        }
    }
}

fn check_length(body: &Bytes) -> Result<(), PeerError> {
    if body.len() > PEER_FRAME_BYTES_MAX {
        return Err(PeerError::not_sent(format!("{} bytes are too long", body.len())));
    }
    Ok(())
}

fn verdict(result: Result<Bytes, Refused>) -> Result<Bytes, PeerError> {
    result.map_err(|Refused { reason }| PeerError::Refused { reason })
}

#[async_trait]
impl Transport for MemoryTransport {
    async fn call(
        &self,
        to: NodeId,
        channel: Channel,
        _lane: Lane,
        body: Bytes,
        time: Duration,
    ) -> Result<Bytes, PeerError> {
        check_length(&body)?;
        let (wire, theirs) = self.connect(to)?;
        let (inbox, from) = (Arc::clone(&theirs.inbox), self.node);
        let serve = async move {
            match timeout(time, inbox.call(from, channel, body)).await {
                Ok(result) => result,
                // Nobody waits any more.
                Err(_) => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            result = self.exchange(to, serve, (&wire, &theirs)) => verdict(result),
            () = wire.broken.cancelled() => Err(PeerError::unknown("the connection broke")),
            () = sleep(time) => Err(PeerError::unknown(format!("no answer within {time:?}"))),
        }
    }

    async fn open_stream(
        &self,
        to: NodeId,
        channel: Channel,
        _lane: Lane,
        header: Bytes,
    ) -> Result<PeerStream, PeerError> {
        check_length(&header)?;
        let (wire, theirs) = self.connect(to)?;
        let (send, outbound) = mpsc::channel(PEER_STREAM_QUEUE);
        let (deliver, recv) = mpsc::channel(PEER_STREAM_QUEUE);
        let (their_send, inbound) = mpsc::channel(PEER_STREAM_QUEUE);
        let (their_deliver, their_recv) = mpsc::channel(PEER_STREAM_QUEUE);
        let stream = PeerStream { send: their_send, recv: their_recv };
        let (network, from, Wire { broken, .. }) = (self.network.clone(), self.node, wire);
        let outward = carry(network.clone(), (from, to), broken.clone(), outbound, their_deliver);
        let inward = carry(network.clone(), (to, from), broken.clone(), inbound, deliver);
        self.env.tasks.spawn("memory-stream", outward);
        theirs.env.tasks.spawn("memory-stream", inward);
        theirs.env.tasks.spawn("memory-inbox-stream", async move {
            let Some(time) = network.depart((from, to), &broken).await else { return };
            if broken.run_until_cancelled(sleep(time)).await.is_some() {
                theirs.inbox.stream(from, channel, header, stream).await;
            }
        });
        Ok(PeerStream { send, recv })
    }

    async fn send_bulk(
        &self,
        to: NodeId,
        channel: Channel,
        header: Bytes,
        body: BoxStream<'static, io::Result<Bytes>>,
    ) -> Result<Bytes, PeerError> {
        check_length(&header)?;
        let (wire, theirs) = self.connect(to)?;
        let (deliver, received) = mpsc::channel(PEER_BULK_QUEUE);
        let (inbox, from) = (Arc::clone(&theirs.inbox), self.node);
        let serve = async move { inbox.bulk(from, channel, header, received).await };
        let answer = self.exchange(to, serve, (&wire, &theirs));
        tokio::pin!(answer);
        let send = send_body(&self.network, (from, to), body, deliver, &wire);
        tokio::select! {
            biased;
            result = &mut answer => return verdict(result),
            sent = send => sent?,
        }
        tokio::select! {
            biased;
            result = answer => verdict(result),
            () = wire.broken.cancelled() => Err(PeerError::unknown("the connection broke")),
            () = sleep(PEER_BULK_ANSWER_MAX) => {
                Err(PeerError::unknown(format!("no answer within {PEER_BULK_ANSWER_MAX:?}")))
            }
        }
    }

    fn is_connected(&self, to: NodeId) -> bool {
        self.connected_since(to).is_some()
    }

    /// Connects if that is possible: here there is no task that would have done so before.
    fn connected_since(&self, to: NodeId) -> Option<Moment> {
        Some(self.connect(to).ok()?.0.since)
    }
}

async fn send_body(
    network: &MemoryNetwork,
    (from, to): (NodeId, NodeId),
    mut body: BoxStream<'static, io::Result<Bytes>>,
    deliver: mpsc::Sender<io::Result<Bytes>>,
    wire: &Wire,
) -> Result<(), PeerError> {
    let feed = async {
        while let Some(chunk) = body.next().await {
            let chunk = chunk.map_err(|e| format!("the body's source failed: {e}"))?;
            let departed = network.depart((from, to), &wire.broken).await;
            let Some(time) = departed else { return std::future::pending().await };
            sleep(time).await;
            if deliver.send(Ok(chunk)).await.is_err() {
                // The inbox is about to answer without the rest.
                return Ok(());
            }
        }
        Ok(())
    };
    let reason = match wire.broken.run_until_cancelled(feed).await {
        Some(Ok(())) => return Ok(()),
        Some(Err(reason)) => reason,
        None => "the connection broke".to_owned(),
    };
    let cut = io::Error::new(io::ErrorKind::UnexpectedEof, reason.clone());
    // An inbox that is gone does not need to hear of the cut.
    drop(deliver.send(Err(cut)).await);
    Err(PeerError::Unknown { reason })
}
