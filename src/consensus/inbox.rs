//! What other nodes ask of this wing: Raft messages to the right group, marks, founding, moves.
//!
//! Promises: a message for a group that is not open here is refused and creates nothing; a message
//! that cannot be read is refused. Every Raft answer carries our flushed LSN (see `witness`).

use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use tokio::sync::{OnceCell, mpsc};

use super::channel::{
    self, CONFIRM, EMPTIED, FIGURES, FOUND, LEASES, MARKS, MOVE, QUIET, RAFT_CALL, RAFT_STREAM,
    RaftCall, SNAPSHOT,
};
use super::codec;
use super::founding::Founding;
use super::group::Group;
use super::groups::Groups;
use super::network::SnapshotHeader;
use super::types::{AppendRequest, Fatal, Snapshot, SnapshotMeta};
use super::{confirm, marks, moves, quiet, tend};
use crate::model::{GroupId, NodeId};
use crate::peer::{Channel, Inbox, PeerStream, Refused};

/// The wing's inbox. The groups come once the node may take part; founding comes before.
#[derive(Debug)]
pub struct RaftInbox {
    founding: Arc<Founding>,
    groups: OnceCell<Arc<Groups>>,
}

impl RaftInbox {
    /// An inbox that knows no groups yet.
    pub fn new(founding: Arc<Founding>) -> Self {
        Self { founding, groups: OnceCell::new() }
    }

    /// Lets messages through to the groups.
    pub fn open(&self, groups: Arc<Groups>) {
        if self.groups.set(groups).is_err() {
            tracing::error!("the inbox was opened twice; the first groups stay");
        }
    }

    fn groups(&self) -> Result<&Arc<Groups>, Refused> {
        self.groups.get().ok_or_else(|| Refused::new("the node is starting"))
    }

    fn group(&self, id: GroupId) -> Result<Arc<Group>, Refused> {
        let found = self.groups()?.group(id);
        found.ok_or_else(|| Refused::new(format!("group {id} is not here")))
    }

    async fn raft_call(&self, body: &Bytes) -> Result<Bytes, Refused> {
        let (call, id, payload) =
            channel::open(body).ok_or_else(|| Refused::new("malformed raft call"))?;
        let raft = self.group(id)?;
        let raft = raft.raft();
        let answer = match call {
            RaftCall::Append => {
                let request = codec::decode_append(&payload).map_err(unreadable)?;
                codec::encode(&raft.append_entries(request).await.map_err(failed)?)
            }
            RaftCall::Vote => {
                let request = codec::decode("vote request", &payload).map_err(unreadable)?;
                codec::encode(&raft.vote(request).await.map_err(failed)?)
            }
            RaftCall::PreVote => {
                let request = codec::decode("pre-vote request", &payload).map_err(unreadable)?;
                codec::encode(&raft.pre_vote(request).await.map_err(failed)?)
            }
            RaftCall::Transfer => {
                let request = codec::decode("transfer request", &payload).map_err(unreadable)?;
                codec::encode(&raft.handle_transfer_leader(request).await.map_err(failed)?)
            }
        };
        Ok(channel::stamp(self.groups()?.log().flushed_lsn(), &answer))
    }

    async fn snapshot(
        &self,
        from: NodeId,
        header: &Bytes,
        mut body: mpsc::Receiver<io::Result<Bytes>>,
    ) -> Result<Bytes, Refused> {
        let header: SnapshotHeader =
            codec::decode("snapshot header", header).map_err(unreadable)?;
        let group = self.group(header.group)?;
        let groups = self.groups()?;
        let (state, tasks) = (groups.state().clone(), &groups.env().tasks);
        let id = header.group;
        tracing::info!(group = %id, %from, "snapshot arriving");
        let mut receiver = tasks.blocking(move || state.receive(id.0)).await.map_err(failed)?;
        while let Some(chunk) = body.recv().await {
            let chunk = chunk.map_err(failed)?;
            let written = tasks.blocking(move || receiver.write(&chunk).map(|()| receiver)).await;
            receiver = written.map_err(failed)?;
        }
        let checkpoint = tasks.blocking(move || receiver.finish()).await.map_err(failed)?;
        let meta =
            SnapshotMeta { last_log_id: header.last_log_id, last_membership: header.membership };
        let snapshot = Snapshot { meta, snapshot: checkpoint };
        let answer = group.raft().install_full_snapshot(header.vote, snapshot).await;
        let answer = codec::encode(&answer.map_err(failed)?);
        Ok(channel::stamp(groups.log().flushed_lsn(), &answer))
    }

    async fn append_stream(&self, header: &Bytes, stream: PeerStream) -> Result<(), Refused> {
        let id: GroupId = codec::decode("stream header", header).map_err(unreadable)?;
        let group = self.group(id)?;
        let log = self.groups()?.log().clone();
        let PeerStream { send, recv } = stream;
        let results = group.raft().stream_append(requests(recv));
        let mut results = std::pin::pin!(results);
        while let Some(result) = results.next().await {
            let result = result.map_err(|fatal: Fatal| failed(fatal))?;
            let answer = channel::stamp(log.flushed_lsn(), &codec::encode(&result));
            if send.send(answer).await.is_err() {
                break;
            }
        }
        Ok(())
    }
}

/// Append requests as they arrive; the stream ends at the first that cannot be read.
fn requests(recv: mpsc::Receiver<Bytes>) -> impl Stream<Item = AppendRequest> + Send + 'static {
    stream::unfold(recv, |mut recv| async move {
        let bytes = recv.recv().await?;
        match codec::decode_append(&bytes) {
            Ok(request) => Some((request, recv)),
            Err(error) => {
                tracing::warn!(%error, "an append request could not be read");
                None
            }
        }
    })
}

#[allow(clippy::needless_pass_by_value, reason = "it stands behind map_err")]
fn unreadable(error: codec::CodecError) -> Refused {
    Refused::new(error.to_string())
}

fn failed(error: impl std::error::Error) -> Refused {
    Refused::new(error.to_string())
}

#[async_trait]
impl Inbox for RaftInbox {
    async fn call(&self, from: NodeId, channel: Channel, body: Bytes) -> Result<Bytes, Refused> {
        match channel {
            RAFT_CALL => self.raft_call(&body).await,
            CONFIRM => confirm::answer(self.groups()?, &body),
            MARKS => Ok(marks::answer(self.groups()?)),
            FOUND => self.founding.receive(&body),
            MOVE => Ok(moves::answer(self.groups()?, &body).await),
            EMPTIED => Ok(tend::doomed::answer(self.groups()?)),
            LEASES => tend::home::answer(self.groups()?, &body).await,
            FIGURES => tend::figures::answer(self.groups()?, &body),
            QUIET => quiet::drive::answer(self.groups()?, from, &body),
            Channel(other) => {
                tracing::warn!(%from, channel = other, "a call on an unknown channel");
                Err(Refused::new("unknown channel"))
            }
        }
    }

    async fn stream(&self, from: NodeId, channel: Channel, header: Bytes, stream: PeerStream) {
        if channel != RAFT_STREAM {
            tracing::warn!(%from, channel = channel.0, "a stream on an unknown channel");
            return;
        }
        if let Err(refused) = self.append_stream(&header, stream).await {
            tracing::debug!(%from, %refused, "an append stream ended");
        }
    }

    async fn bulk(
        &self,
        from: NodeId,
        channel: Channel,
        header: Bytes,
        body: mpsc::Receiver<io::Result<Bytes>>,
    ) -> Result<Bytes, Refused> {
        if channel != SNAPSHOT {
            return Err(Refused::new("unknown channel"));
        }
        let result = self.snapshot(from, &header, body).await;
        if let Err(refused) = &result {
            tracing::warn!(%from, %refused, "a snapshot was not installed");
        }
        result
    }
}
