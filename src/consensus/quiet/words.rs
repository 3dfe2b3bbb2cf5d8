//! What the nodes say to each other about quiet groups.
//!
//! Promises: a message names for each group all that two replicas must have in common for the one to
//! rely on the other: who leads since which vote, and the last entry, which both have applied.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::consensus::codec::{self, CodecError};
use crate::model::{GroupId, NodeId};

/// A leadership, or a vote for one: openraft orders them in this way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Reign {
    /// The term.
    pub term: u64,
    /// Who leads, or wants to.
    pub node: NodeId,
}

/// An entry's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Under whom it was written.
    pub reign: Reign,
    /// Its index.
    pub index: u64,
}

/// A leader's word about one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vouched {
    /// The group.
    pub group: GroupId,
    /// Its leader, who is the node that speaks.
    pub reign: Reign,
    /// The last entry of the log, committed and applied.
    pub last: Mark,
}

/// All that one node vouches for to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vouch {
    /// A random number of the speaking process: another one means that it has restarted.
    pub run: u64,
    /// The groups, in order.
    pub groups: Vec<Vouched>,
}

impl Vouch {
    /// As it is sent.
    pub fn encode(&self) -> Bytes {
        codec::encode(self)
    }

    /// Reads what was sent.
    ///
    /// # Errors
    ///
    /// When it is malformed.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        codec::decode("a word about quiet groups", bytes)
    }
}

/// The groups that the other node cannot agree on, as it is sent.
pub fn encode_refused(refused: &[GroupId]) -> Bytes {
    codec::encode(&refused)
}

/// Reads what was sent.
///
/// # Errors
///
/// When it is malformed.
pub fn decode_refused(bytes: &[u8]) -> Result<Vec<GroupId>, CodecError> {
    codec::decode("an answer about quiet groups", bytes)
}
