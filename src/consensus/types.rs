//! The only file that spells openraft's generics.
//!
//! Why it exists: openraft 0.10 is an alpha whose generics move between releases; a change of theirs
//! should touch one page of ours. Everything else in this room uses these names.
//!
//! Relies on: `openraft = "=0.10.0-alpha.37"`, pinned.

use std::fmt;

use bytes::Bytes;
use openraft::impls::leader_id_adv;
use serde::{Deserialize, Serialize};

use crate::storage::checkpoint::Checkpoint;

/// A command as the log carries it: bytes that only `model` and `placement` can read.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payload(pub Bytes);

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes)", self.0.len())
    }
}

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// A reply as the state machine gives it: bytes that only `model` and `placement` can read.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer(pub Bytes);

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Answer({} bytes)", self.0.len())
    }
}

openraft::declare_raft_types!(
    /// How Tetrarch instantiates openraft.
    pub TypeConfig:
        D = Payload,
        R = Answer,
        NodeId = u64,
        Node = openraft::EmptyNode,
        Term = u64,
        LeaderId = leader_id_adv::LeaderId<u64, u64>,
        AsyncRuntime = openraft_rt_tokio::TokioRuntime,
);

/// One Raft group on this node.
pub type Raft = openraft::Raft<TypeConfig, super::machine::Machine>;
/// Term and node of a leader.
pub type LeaderId = leader_id_adv::LeaderId<u64, u64>;
/// An entry's place in the log.
pub type LogId = openraft::LogId<LeaderId>;
/// A vote, granted or committed.
pub type Vote = openraft::Vote<LeaderId>;
/// What an entry carries.
pub type EntryPayload = openraft::EntryPayload<Payload, u64, openraft::EmptyNode>;
/// An entry of the log.
pub type Entry = openraft::Entry<LeaderId, EntryPayload>;
/// Voters and learners.
pub type Membership = openraft::Membership<u64, openraft::EmptyNode>;
/// Voters and learners with the entry that set them.
pub type StoredMembership = openraft::StoredMembership<LeaderId, u64, openraft::EmptyNode>;
/// A checkpoint as openraft passes it on.
pub type Snapshot = openraft::Snapshot<LeaderId, u64, openraft::EmptyNode, Checkpoint>;
/// What a checkpoint holds, without the rows.
pub type SnapshotMeta = openraft::SnapshotMeta<LeaderId, u64, openraft::EmptyNode>;
/// A request to append entries.
pub type AppendRequest = openraft::raft::AppendEntriesRequest<TypeConfig>;
/// The answer to a single append request.
pub type AppendResponse = openraft::raft::AppendEntriesResponse<TypeConfig>;
/// The answer to one request of an append stream.
pub type StreamAppendResult = openraft::raft::StreamAppendResult<TypeConfig>;
/// A request for a vote.
pub type VoteRequest = openraft::raft::VoteRequest<TypeConfig>;
/// The answer to it.
pub type VoteResponse = openraft::raft::VoteResponse<TypeConfig>;
/// An order to take over leadership.
pub type TransferRequest = openraft::raft::TransferLeaderRequest<TypeConfig>;
/// The answer to it.
pub type TransferResponse = openraft::raft::TransferLeaderResponse<TypeConfig>;
/// The answer to a snapshot.
pub type SnapshotResponse = openraft::raft::SnapshotResponse<TypeConfig>;
/// A failed call to another node.
pub type RpcError = openraft::errors::RPCError<TypeConfig>;
/// The group's task has stopped.
pub type Fatal = openraft::errors::Fatal<TypeConfig>;
/// Metrics of a group.
pub type RaftMetrics = openraft::RaftMetrics<TypeConfig>;
