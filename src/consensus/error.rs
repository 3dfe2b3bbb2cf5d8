//! What proposing and reading can fail with, each with its outcome.

use crate::model::NodeId;

/// Why a command was not acknowledged. Only `Unknown` may have been applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// This node has no replica of the group.
    #[error("this node has no replica of the group")]
    NotHere,
    /// Another node leads the group, or none does.
    #[error("this node does not lead the group")]
    NotLeader {
        /// Who leads, as far as this node knows.
        leader: Option<NodeId>,
    },
    /// The group's queue is full.
    #[error("too many proposals wait")]
    Overloaded,
    /// The deadline passed before the command was handed to the group.
    #[error("the deadline passed while the command waited in the queue")]
    TimedOut,
    /// The command was handed over and no answer came: it may or may not be applied.
    #[error("handed to the group, then {reason}")]
    Unknown {
        /// What happened.
        reason: String,
    },
    /// The group has stopped on this node.
    #[error("{reason}")]
    Stopped {
        /// Why.
        reason: String,
    },
}

impl ProposeError {
    /// Whether the command may have been applied.
    pub fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown { .. })
    }
}

/// Why a linearizable read was not answered. Reads change nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// This node has no replica of the group.
    #[error("this node has no replica of the group")]
    NotHere,
    /// Another node leads the group, or none does.
    #[error("this node does not lead the group")]
    NotLeader {
        /// Who leads, as far as this node knows.
        leader: Option<NodeId>,
    },
    /// No quorum confirmed in time.
    #[error("no quorum confirmed the leader in time")]
    TimedOut,
    /// Too many reads wait.
    #[error("too many reads wait")]
    Overloaded,
    /// The group has stopped on this node.
    #[error("{reason}")]
    Stopped {
        /// Why.
        reason: String,
    },
}
