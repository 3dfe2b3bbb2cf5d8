//! The channels of the peer connection that the wing and the hall use, and the small envelope
//! around calls: tag, group, payload; and around answers: the answerer's flushed log number.

use bytes::{BufMut, Bytes, BytesMut};

use crate::model::GroupId;
use crate::peer::Channel;

/// A stream of append requests for one group, and of their results.
pub const RAFT_STREAM: Channel = Channel(1);
/// A single Raft request: heartbeat, vote, pre-vote, leader transfer.
pub const RAFT_CALL: Channel = Channel(2);
/// A checkpoint on its way to a follower (bulk).
pub const SNAPSHOT: Channel = Channel(3);
/// Commit marks of the groups that a node leads; see `marks`.
pub const MARKS: Channel = Channel(4);
/// Founding of the cluster.
pub const FOUND: Channel = Channel(5);
/// One step of a replica's move.
pub const MOVE: Channel = Channel(6);
/// What a node's groups no longer hold of deleted namespaces; see `tend::doomed`.
pub const EMPTIED: Channel = Channel(7);
/// Which leases have ended at their home; see `tend::home`.
pub const LEASES: Channel = Channel(8);
/// What a node's groups hold of each namespace; see `tend::figures`.
pub const FIGURES: Channel = Channel(9);
/// To whom a node's replicas have promised themselves; see `confirm`.
pub const CONFIRM: Channel = Channel(10);
/// Which quiet groups a node vouches for; see `quiet`.
pub const QUIET: Channel = Channel(11);
/// A client's request, passed to the leader (the hall's).
pub const FORWARD: Channel = Channel(16);
/// A node's own view of the cluster (the hall's).
pub const STATUS: Channel = Channel(17);
/// A question of a scan or a watch for a replica (the hall's).
pub const FEED: Channel = Channel(18);
/// A question of whoever drives a switch to the other side, or of who watches it (the hall's).
pub const SWITCH: Channel = Channel(19);

/// Which Raft request a call carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RaftCall {
    /// Append, also as heartbeat.
    Append,
    /// A vote.
    Vote,
    /// A vote that would be asked for.
    PreVote,
    /// Take over leadership.
    Transfer,
}

impl RaftCall {
    const fn tag(self) -> u8 {
        match self {
            Self::Append => 1,
            Self::Vote => 2,
            Self::PreVote => 3,
            Self::Transfer => 4,
        }
    }

    const fn from_tag(tag: u8) -> Option<Self> {
        match tag {
            1 => Some(Self::Append),
            2 => Some(Self::Vote),
            3 => Some(Self::PreVote),
            4 => Some(Self::Transfer),
            _ => None,
        }
    }
}

/// Wraps a Raft request.
pub fn seal(call: RaftCall, group: GroupId, payload: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(9 + payload.len());
    bytes.put_u8(call.tag());
    bytes.put_u64(group.0);
    bytes.put_slice(payload);
    bytes.freeze()
}

/// Unwraps a Raft request; `None` when it is malformed.
pub fn open(bytes: &Bytes) -> Option<(RaftCall, GroupId, Bytes)> {
    let (tag, rest) = bytes.split_first()?;
    let (group, payload) = rest.split_first_chunk::<8>()?;
    let group = GroupId(u64::from_be_bytes(*group));
    Some((RaftCall::from_tag(*tag)?, group, bytes.slice_ref(payload)))
}

/// Wraps an answer with the answerer's flushed log number, by which a node that was restored from an
/// old copy is recognised.
pub fn stamp(flushed_lsn: u64, payload: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(8 + payload.len());
    bytes.put_u64(flushed_lsn);
    bytes.put_slice(payload);
    bytes.freeze()
}

/// Unwraps a stamped answer; `None` when it is malformed.
pub fn unstamp(bytes: &Bytes) -> Option<(u64, Bytes)> {
    let (lsn, payload) = bytes.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*lsn), bytes.slice_ref(payload)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn envelopes_survive_a_round_trip_and_refuse_stumps() {
        for call in [RaftCall::Append, RaftCall::Vote, RaftCall::PreVote, RaftCall::Transfer] {
            let bytes = seal(call, GroupId(7), b"x");
            assert_eq!(open(&bytes).unwrap(), (call, GroupId(7), Bytes::from_static(b"x")));
        }
        assert_eq!(unstamp(&stamp(9, b"y")).unwrap(), (9, Bytes::from_static(b"y")));
        assert!(open(&Bytes::from_static(&[1, 2, 3])).is_none());
        assert!(open(&Bytes::from_static(&[99, 0, 0, 0, 0, 0, 0, 0, 0])).is_none());
        assert!(unstamp(&Bytes::from_static(&[1, 2, 3])).is_none());
    }
}
