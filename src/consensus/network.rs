//! openraft's outgoing calls, each tagged with its group and sent over the peer room.
//!
//! Appends flow through one stream per group and follower with a bounded window: enough to keep the
//! follower's disk busy, few enough that entries gather into batches. Heartbeats, votes and
//! transfers are single calls in the control lane. Checkpoints travel as bulk.
//!
//! Promises: results of an append stream come in the order of its requests (openraft regresses
//! silently otherwise). Relies on: `peer::Transport`.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream};
use futures_util::{Stream, StreamExt};
use openraft::errors::{NetworkError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2, stream_append_sequential};
use openraft::raft::StreamAppendError;
use openraft::{AnyError, EmptyNode, OptionalSend};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::channel::{self, RAFT_CALL, RAFT_STREAM, RaftCall, SNAPSHOT};
use super::codec;
use super::types::{
    AppendRequest, AppendResponse, LogId, RpcError, Snapshot, SnapshotResponse, StoredMembership,
    StreamAppendResult, TransferRequest, TransferResponse, TypeConfig, Vote, VoteRequest,
    VoteResponse,
};
use super::witness::Witness;
use crate::model::{GroupId, NodeId};
use crate::peer::{Lane, PeerError, PeerStream, Transport};
use crate::runtime::Tasks;
use crate::runtime::limits::{
    APPEND_WINDOW_BYTES, APPEND_WINDOW_REQUESTS, RAFT_CALL_TIMEOUT_MIN, SNAPSHOT_CHUNK_BYTES,
    STREAM_ANSWER_MAX,
};
use crate::runtime::planted::{self, Bug};
use crate::storage::checkpoint::Checkpoint;

/// What goes ahead of a checkpoint's bytes.
#[derive(Debug, Serialize, Deserialize)]
pub struct SnapshotHeader {
    /// The group.
    pub group: GroupId,
    /// The sending leader's vote.
    pub vote: Vote,
    /// The last entry in the checkpoint.
    pub last_log_id: Option<LogId>,
    /// The membership at that entry.
    pub membership: StoredMembership,
}

/// Makes the outgoing side of a group.
#[derive(Clone, Debug)]
pub struct NetworkFactory {
    /// The group.
    pub group: GroupId,
    /// The corridor.
    pub transport: Arc<dyn Transport>,
    /// Notes how far other nodes' logs are flushed.
    pub witness: Arc<Witness>,
    /// For reading checkpoint files off the async threads.
    pub tasks: Tasks,
}

impl RaftNetworkFactory<TypeConfig> for NetworkFactory {
    type Network = Network;

    async fn new_client(&mut self, target: u64, _node: &EmptyNode) -> Network {
        Network { factory: self.clone(), target: NodeId(target), is_heartbeat: false, told: false }
    }

    async fn new_heartbeat_client(&mut self, target: u64, _node: &EmptyNode) -> Network {
        Network { factory: self.clone(), target: NodeId(target), is_heartbeat: true, told: false }
    }
}

/// The way from one group to its replica on one other node.
#[derive(Debug)]
pub struct Network {
    factory: NetworkFactory,
    target: NodeId,
    is_heartbeat: bool,
    /// For a planted bug: whether a request was called taken that may not have been.
    told: bool,
}

impl Network {
    async fn call<Q: Serialize, A: DeserializeOwned>(
        &self,
        call: RaftCall,
        request: &Q,
        option: &RPCOption,
    ) -> Result<A, RpcError> {
        self.call_bytes(call, &codec::encode(request), option).await
    }

    async fn call_bytes<A: DeserializeOwned>(
        &self,
        call: RaftCall,
        request: &[u8],
        option: &RPCOption,
    ) -> Result<A, RpcError> {
        let body = channel::seal(call, self.factory.group, request);
        let timeout = option.hard_ttl().max(RAFT_CALL_TIMEOUT_MIN);
        let answer = self
            .factory
            .transport
            .call(self.target, RAFT_CALL, Lane::Control, body, timeout)
            .await
            .map_err(rpc_error)?;
        self.read_answer(&answer)
    }

    fn read_answer<A: DeserializeOwned>(&self, answer: &Bytes) -> Result<A, RpcError> {
        let (lsn, payload) = channel::unstamp(answer).ok_or_else(|| network("short answer"))?;
        self.factory.witness.saw(self.target, lsn);
        codec::decode("raft answer", &payload)
            .map_err(|error| RpcError::Network(NetworkError::new(&error)))
    }
}

#[allow(clippy::needless_pass_by_value, reason = "it stands behind map_err")]
fn rpc_error(error: PeerError) -> RpcError {
    match error {
        // openraft backs off from an unreachable node, and retries the others at once.
        PeerError::NotSent { .. } | PeerError::Refused { .. } => {
            RpcError::Unreachable(Unreachable::new(&error))
        }
        PeerError::Unknown { .. } => RpcError::Network(NetworkError::new(&error)),
    }
}

fn network(what: &'static str) -> RpcError {
    RpcError::Network(NetworkError::new(&AnyError::error(what)))
}

impl RaftNetworkV2<TypeConfig> for Network {
    type SnapshotData = Checkpoint;

    async fn append_entries(
        &mut self,
        rpc: AppendRequest,
        option: RPCOption,
    ) -> Result<AppendResponse, RpcError> {
        let answer = self.call_bytes(RaftCall::Append, &codec::encode_append(&rpc), &option).await;
        match answer {
            Ok(AppendResponse::Conflict) if planted::active(Bug::AckBeforeCommit) => {
                Err(network("a conflict is kept quiet"))
            }
            answer => answer,
        }
    }

    fn stream_append<'s, S>(
        &'s mut self,
        mut input: S,
        option: RPCOption,
    ) -> BoxFuture<'s, Result<BoxStream<'s, Result<StreamAppendResult, RpcError>>, RpcError>>
    where
        S: Stream<Item = AppendRequest> + OptionalSend + Unpin + 'static,
    {
        if self.is_heartbeat {
            return stream_append_sequential(self, input, option);
        }
        Box::pin(async move {
            // openraft's pause after errors lies in taking a request: one that dialled first would
            // dial a dead node without end.
            let Some(first) = input.next().await else { return Ok(stream::empty().boxed()) };
            let input = stream::once(std::future::ready(first)).chain(input);
            let header = codec::encode(&self.factory.group);
            let opened =
                self.factory.transport.open_stream(self.target, RAFT_STREAM, Lane::Data, header);
            let stream = opened.await.map_err(rpc_error)?;
            let flow = Flow {
                network: self,
                stream,
                input,
                input_ended: false,
                in_flight: VecDeque::new(),
                bytes: 0,
                fits: false,
                told: 0,
            };
            Ok(stream::unfold(Some(flow), Flow::next).boxed())
        })
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest,
        option: RPCOption,
    ) -> Result<VoteResponse, RpcError> {
        self.call(RaftCall::Vote, &rpc, &option).await
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest,
        option: RPCOption,
    ) -> Result<VoteResponse, RpcError> {
        self.call(RaftCall::PreVote, &rpc, &option).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse, StreamingError<TypeConfig>> {
        let group = self.factory.group;
        tracing::info!(%group, to = %self.target, bytes = snapshot.snapshot.bytes(), "snapshot sent");
        let header = codec::encode(&SnapshotHeader {
            group,
            vote,
            last_log_id: snapshot.meta.last_log_id,
            membership: snapshot.meta.last_membership,
        });
        let body = chunks(&snapshot.snapshot, &self.factory.tasks);
        let sent = self.factory.transport.send_bulk(self.target, SNAPSHOT, header, body);
        let answer = tokio::select! {
            closed = cancel => return Err(StreamingError::Closed(closed)),
            answer = sent => answer,
        };
        let answer =
            answer.map_err(|error| StreamingError::Unreachable(Unreachable::new(&error)))?;
        let answer: Result<SnapshotResponse, RpcError> = self.read_answer(&answer);
        answer.map_err(|error| StreamingError::Network(NetworkError::new(&error)))
    }

    async fn transfer_leader(
        &mut self,
        req: TransferRequest,
        option: RPCOption,
    ) -> Result<TransferResponse, RpcError> {
        self.call(RaftCall::Transfer, &req, &option).await
    }
}

/// A checkpoint's bytes, read off the async threads, one chunk in memory at a time.
fn chunks(checkpoint: &Checkpoint, tasks: &Tasks) -> BoxStream<'static, io::Result<Bytes>> {
    let tasks = tasks.clone();
    let checkpoint = checkpoint.clone();
    stream::unfold(None, move |reader| {
        let (tasks, checkpoint) = (tasks.clone(), checkpoint.clone());
        async move {
            let (reader, chunk) = tasks
                .blocking(move || {
                    let mut reader = match reader {
                        Some(Some(reader)) => reader,
                        Some(None) => return (None, None),
                        None => match checkpoint.open() {
                            Ok(reader) => reader,
                            Err(error) => return (None, Some(Err(io::Error::from(error)))),
                        },
                    };
                    match reader.read(SNAPSHOT_CHUNK_BYTES) {
                        Ok(Some(chunk)) => (Some(reader), Some(Ok(chunk))),
                        Ok(None) => (None, None),
                        Err(error) => (None, Some(Err(io::Error::from(error)))),
                    }
                })
                .await;
            chunk.map(|chunk| (chunk, Some(reader)))
        }
    })
    .boxed()
}

/// One append stream under way.
struct Flow<'s, S> {
    network: &'s mut Network,
    stream: PeerStream,
    input: S,
    input_ended: bool,
    in_flight: VecDeque<usize>,
    bytes: usize,
    /// For a planted bug: whether the follower has taken a request, and how many of those in flight
    /// count as taken already.
    fits: bool,
    told: usize,
}

impl<S> fmt::Debug for Flow<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flow").field("in_flight", &self.in_flight).finish_non_exhaustive()
    }
}

type FlowItem = Result<StreamAppendResult, RpcError>;

impl<S: Stream<Item = AppendRequest> + Unpin> Flow<'_, S> {
    /// The next result, in the order of the requests; feeds requests while the window is open.
    async fn next(flow: Option<Self>) -> Option<(FlowItem, Option<Self>)> {
        let mut flow = flow?;
        loop {
            let is_open = !flow.input_ended
                && flow.in_flight.len() < APPEND_WINDOW_REQUESTS
                && (flow.bytes < APPEND_WINDOW_BYTES || flow.in_flight.is_empty());
            if flow.input_ended && flow.in_flight.is_empty() {
                return None;
            }
            tokio::select! {
                biased;
                answer = answer_within(&mut flow.stream, flow.in_flight.is_empty()) => {
                    let is_told = flow.network.told;
                    let finished = flow.finish(answer);
                    match finished {
                        // It was told when it was sent.
                        (Ok(Ok(_)), Some(same))
                            if planted::active(Bug::AckBeforeCommit) && same.told > 0 =>
                        {
                            flow = same;
                            flow.told -= 1;
                        }
                        // openraft would notice that the follower does not have it.
                        (Ok(Err(StreamAppendError::Conflict(_))), _) if is_told => {
                            return Some((Err(network("a conflict is kept quiet")), None));
                        }
                        finished => return Some(finished),
                    }
                }
                request = flow.input.next(), if is_open => {
                    let Some(request) = request else {
                        flow.input_ended = true;
                        continue;
                    };
                    let bytes = codec::encode_append(&request);
                    flow.bytes += bytes.len();
                    flow.in_flight.push_back(bytes.len());
                    if flow.stream.send.send(bytes).await.is_err() {
                        return Some((Err(network("append stream closed")), None));
                    }
                    if planted::active(Bug::AckBeforeCommit)
                        && flow.fits
                        && flow.told + 1 == flow.in_flight.len()
                    {
                        flow.told += 1;
                        flow.network.told = true;
                        let last = request.entries.last().map(|entry| entry.log_id);
                        return Some((Ok(Ok(last.or(request.prev_log_id))), Some(flow)));
                    }
                }
            }
        }
    }

    fn finish(mut self, answer: Result<Bytes, RpcError>) -> (FlowItem, Option<Self>) {
        let sent = self.in_flight.pop_front();
        let result: FlowItem = answer.and_then(|bytes| {
            sent.ok_or_else(|| network("an answer without a request"))?;
            self.network.read_answer(&bytes)
        });
        self.bytes -= sent.unwrap_or(0);
        // After an error, of the network or of Raft, the stream is over: openraft opens another.
        let goes_on = matches!(&result, Ok(Ok(_)));
        self.fits |= goes_on;
        (result, goes_on.then_some(self))
    }
}

async fn answer_within(stream: &mut PeerStream, is_idle: bool) -> Result<Bytes, RpcError> {
    let limit = if is_idle { Duration::MAX } else { STREAM_ANSWER_MAX };
    match tokio::time::timeout(limit, stream.recv.recv()).await {
        Ok(Some(bytes)) => Ok(bytes),
        Ok(None) => Err(network("append stream closed")),
        Err(_elapsed) => Err(network("no answer on the append stream")),
    }
}
