//! What one hall asks another, and how it answers.
//!
//! Promises: an answer says precisely whether the work was done: `Done`, or a `Decline`, of which
//! only `Unknown` leaves doubt. Key, command and row are slices of the bytes they came in.
//! Relies on [`codec`] for version byte, header and raw tail. New variants go to the end.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::model::codec::{self, CodecError};
use crate::model::{GroupId, LeaseId, NodeId, Slot};

/// Something to do at a replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// Agree on an encoded command. Only the leader can.
    Propose(Bytes),
    /// Read a row.
    Read(Find),
    /// Say the index that a linearizable read must reflect. Only the leader can.
    ReadIndex,
    /// Wait until a place in a lock's line is at its head or gone, then read the lock's row. Every
    /// replica can.
    LockWait(LockWait),
    /// Read a lease's row after a barrier, and say about how long it has. Only the leader can.
    Lease(LeaseId),
}

/// A row to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Find {
    /// The slot that the group must own.
    pub(super) slot: Slot,
    /// The row's key.
    pub(super) key: Bytes,
    /// How new the row must be.
    pub(super) freshness: Freshness,
    /// The index that it must reflect at least, by the client's session.
    pub(super) at_least: u64,
}

/// How new a row must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Freshness {
    /// As of now: behind a barrier, which only the leader has.
    Now,
    /// At most so old, in milliseconds.
    Within(u64),
    /// As it is.
    Any,
}

/// A place in a lock's line to be followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LockWait {
    /// The lock's slot.
    pub(super) slot: Slot,
    /// The lock's row key.
    pub(super) key: Bytes,
    /// The place's token.
    pub(super) token: u64,
    /// The index of the entry that made the place: nothing older says anything of it.
    pub(super) after: u64,
}

impl Work {
    /// Whether doing it twice, or not knowing whether it was done, does harm.
    pub(super) const fn is_write(&self) -> bool {
        matches!(self, Self::Propose(_))
    }

    /// Whether a replica that does not lead can do it.
    pub(super) const fn is_local(&self) -> bool {
        match self {
            Self::Read(find) => !matches!(find.freshness, Freshness::Now),
            Self::LockWait(_) => true,
            Self::Propose(_) | Self::ReadIndex | Self::Lease(_) => false,
        }
    }
}

/// Work on its way to another node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Forwarded {
    pub(super) group: GroupId,
    /// The epoch of the catalog that the work was routed by.
    pub(super) epoch: u64,
    /// How long the client still waits.
    pub(super) remaining: Duration,
    /// How often the request was passed on, this time included. More than once is refused.
    pub(super) hops: u8,
    pub(super) request_id: String,
    pub(super) work: Work,
}

/// Work that was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Done {
    /// The command is applied; its encoded reply.
    Proposed { index: u64, reply: Bytes },
    /// The encoded row, the index that it reflects, and how old it can be at most.
    Read { index: u64, row: Option<Bytes>, age: Option<Duration> },
    /// The index that a linearizable read must reflect.
    ReadIndex { index: u64 },
    /// A lease's encoded row, and about how long the lease still has.
    Lease { index: u64, row: Option<Bytes>, remaining: Option<Duration> },
}

/// Why work was not done. All but `Unknown` are certain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Decline {
    /// No replica of the group is here.
    NotHere,
    /// Another node leads, or none does.
    NotLeader { leader: Option<NodeId> },
    /// The group does not own the key's slot, or serves only what was routed by a newer catalog:
    /// this is the epoch by which it knows.
    NotOwner { epoch: u64 },
    /// Too much waits.
    Overloaded,
    /// The time ran out before anything was proposed, or while a read waited.
    TimedOut,
    /// The group has stopped here.
    Stopped { reason: String },
    /// The request cannot be read, or was passed on too often.
    Malformed { reason: String },
    /// Proposed, and no answer came.
    Unknown { reason: String },
    /// Something is broken there.
    Broken { reason: String },
    /// The replica has not reached what the session asks for.
    Behind,
    /// The replica may be older than was asked for.
    TooStale,
}

#[derive(Serialize, Deserialize)]
struct RequestHeader {
    group: GroupId,
    epoch: u64,
    remaining_ms: u64,
    hops: u8,
    request_id: String,
    work: WorkHeader,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
enum WorkHeader {
    Propose,
    Read { slot: Slot, freshness: Freshness, at_least: u64 },
    ReadIndex,
    LockWait { slot: Slot, token: u64, after: u64 },
    Lease { id: u64 },
}

#[derive(Serialize, Deserialize)]
enum AnswerHeader {
    Proposed { index: u64 },
    Found { index: u64, age_ms: Option<u64> },
    Missing { index: u64, age_ms: Option<u64> },
    Declined(Decline),
    ReadIndex { index: u64 },
    Lease { index: u64, found: bool, remaining_ms: Option<u64> },
}

const WHAT_REQUEST: &str = "forwarded request";
const WHAT_ANSWER: &str = "forwarded answer";

/// A duration in whole milliseconds, rounded up: an age bound must not shrink on the wire.
pub(crate) fn ceil_ms(time: Duration) -> u64 {
    u64::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

impl Forwarded {
    pub(super) fn encode(&self) -> Bytes {
        let (work, tail) = self.work.split();
        let header = RequestHeader {
            group: self.group,
            epoch: self.epoch,
            // Rounded down: the receiver must give up before the client does.
            remaining_ms: u64::try_from(self.remaining.as_millis()).unwrap_or(u64::MAX),
            hops: self.hops,
            request_id: self.request_id.clone(),
            work,
        };
        codec::seal(&header, &[tail])
    }

    pub(super) fn decode(bytes: &Bytes) -> Result<Self, CodecError> {
        let (header, tail) = codec::open::<RequestHeader>(WHAT_REQUEST, bytes)?;
        Ok(Self {
            group: header.group,
            epoch: header.epoch,
            remaining: Duration::from_millis(header.remaining_ms),
            hops: header.hops,
            request_id: header.request_id,
            work: Work::join(header.work, tail)?,
        })
    }
}

impl Work {
    /// What postcard writes of it, and what follows as it is.
    fn split(&self) -> (WorkHeader, &[u8]) {
        match self {
            Self::Propose(command) => (WorkHeader::Propose, command),
            Self::Read(Find { slot, key, freshness, at_least }) => {
                let (slot, freshness, at_least) = (*slot, *freshness, *at_least);
                (WorkHeader::Read { slot, freshness, at_least }, key)
            }
            Self::ReadIndex => (WorkHeader::ReadIndex, &[]),
            Self::LockWait(LockWait { slot, key, token, after }) => {
                (WorkHeader::LockWait { slot: *slot, token: *token, after: *after }, key)
            }
            Self::Lease(id) => (WorkHeader::Lease { id: id.0 }, &[]),
        }
    }

    fn join(header: WorkHeader, tail: Bytes) -> Result<Self, CodecError> {
        let work = match header {
            WorkHeader::Propose => return Ok(Self::Propose(tail)),
            WorkHeader::Read { slot, freshness, at_least } => {
                return Ok(Self::Read(Find { slot, key: tail, freshness, at_least }));
            }
            WorkHeader::LockWait { slot, token, after } => {
                return Ok(Self::LockWait(LockWait { slot, key: tail, token, after }));
            }
            WorkHeader::ReadIndex => Self::ReadIndex,
            WorkHeader::Lease { id } => Self::Lease(LeaseId(id)),
        };
        codec::no_tail(WHAT_REQUEST, &tail)?;
        Ok(work)
    }
}

/// The bytes of an answer.
pub(super) fn encode_answer(answer: &Result<Done, Decline>) -> Bytes {
    let (header, tail): (_, &[u8]) = match answer {
        Ok(Done::Proposed { index, reply }) => (AnswerHeader::Proposed { index: *index }, reply),
        Ok(Done::Read { index, row, age }) => {
            let (index, age_ms) = (*index, age.map(ceil_ms));
            match row {
                Some(row) => (AnswerHeader::Found { index, age_ms }, row),
                None => (AnswerHeader::Missing { index, age_ms }, &[]),
            }
        }
        Ok(Done::ReadIndex { index }) => (AnswerHeader::ReadIndex { index: *index }, &[]),
        Ok(Done::Lease { index, row, remaining }) => {
            let remaining_ms = remaining.map(ceil_ms);
            let header = AnswerHeader::Lease { index: *index, found: row.is_some(), remaining_ms };
            (header, row.as_deref().unwrap_or_default())
        }
        Err(decline) => (AnswerHeader::Declined(decline.clone()), &[]),
    };
    codec::seal(&header, &[tail])
}

/// Reads an answer.
pub(super) fn decode_answer(bytes: &Bytes) -> Result<Result<Done, Decline>, CodecError> {
    let (header, tail) = codec::open(WHAT_ANSWER, bytes)?;
    let answer = match header {
        AnswerHeader::Proposed { index } => {
            return Ok(Ok(Done::Proposed { index, reply: tail }));
        }
        AnswerHeader::Found { index, age_ms } => {
            let age = age_ms.map(Duration::from_millis);
            return Ok(Ok(Done::Read { index, row: Some(tail), age }));
        }
        AnswerHeader::Missing { index, age_ms } => {
            Ok(Done::Read { index, row: None, age: age_ms.map(Duration::from_millis) })
        }
        AnswerHeader::Lease { index, found, remaining_ms } => {
            let remaining = remaining_ms.map(Duration::from_millis);
            if found {
                return Ok(Ok(Done::Lease { index, row: Some(tail), remaining }));
            }
            Ok(Done::Lease { index, row: None, remaining })
        }
        AnswerHeader::ReadIndex { index } => Ok(Done::ReadIndex { index }),
        AnswerHeader::Declined(decline) => Err(decline),
    };
    codec::no_tail(WHAT_ANSWER, &tail)?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(freshness: Freshness, at_least: u64) -> Work {
        let key = Bytes::from_static(b"key\0\xff");
        Work::Read(Find { slot: Slot::of_hash(5), key, freshness, at_least })
    }

    #[test]
    fn requests_read_back_as_written() {
        for work in [
            Work::Propose(Bytes::from_static(b"command")),
            find(Freshness::Now, 0),
            find(Freshness::Within(250), 9),
            find(Freshness::Any, u64::MAX),
            Work::ReadIndex,
            Work::LockWait(LockWait {
                slot: Slot::of_hash(6),
                key: Bytes::from_static(b"lock"),
                token: 5,
                after: 6,
            }),
            Work::Lease(LeaseId(1 << 60)),
        ] {
            let request = Forwarded {
                group: GroupId(7),
                epoch: 3,
                remaining: Duration::from_millis(1_234),
                hops: 1,
                request_id: "r-1".into(),
                work,
            };
            assert_eq!(Forwarded::decode(&request.encode()).unwrap(), request);
        }
    }

    #[test]
    fn answers_read_back_as_written() {
        let age = Some(Duration::from_millis(5));
        for answer in [
            Ok(Done::Proposed { index: 9, reply: Bytes::from_static(b"r") }),
            Ok(Done::Read { index: 9, row: Some(Bytes::new()), age }),
            Ok(Done::Read { index: 9, row: None, age: None }),
            Ok(Done::ReadIndex { index: 4 }),
            Ok(Done::Lease { index: 4, row: Some(Bytes::new()), remaining: age }),
            Ok(Done::Lease { index: 4, row: None, remaining: None }),
            Err(Decline::Behind),
            Err(Decline::TooStale),
            Err(Decline::NotLeader { leader: Some(NodeId(2)) }),
            Err(Decline::NotOwner { epoch: 8 }),
            Err(Decline::Unknown { reason: "lost".into() }),
        ] {
            assert_eq!(decode_answer(&encode_answer(&answer)).unwrap(), answer);
        }
    }

    #[test]
    fn an_age_bound_is_never_rounded_down() {
        assert_eq!(ceil_ms(Duration::from_micros(1)), 1);
        assert_eq!(ceil_ms(Duration::from_millis(3)), 3);
    }

    #[test]
    fn another_version_and_stumps_are_refused() {
        for bytes in [&[][..], &[9, 1, 2], &[1, 0xff]] {
            let bytes = Bytes::copy_from_slice(bytes);
            assert!(Forwarded::decode(&bytes).is_err() && decode_answer(&bytes).is_err());
        }
    }
}
