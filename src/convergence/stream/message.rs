//! What travels on a stream of writes, and how it is written.
//!
//! ```text
//!   subscriber                                   source
//!      | hello{namespace, vector, terms}  --------> |      (the stream's header)
//!      | <------------ ops, ops, …                  |
//!      | taken{bytes, reached}  ------------------> |      credit, and who has what flushed
//!      | vector  ---------------------------------> |      every second while something changes
//!      | <------------ short                        |      the log does not reach back
//!      | rows ------------------------------------> |      ... then by rows: a state sync
//!      | <------------ offer{v0, 64 sums}           |
//!      | differ{groups} --------------------------> |
//!      | <------------ sums of the buckets in them  |
//!      | want{buckets} ---------------------------> |
//!      | <------------ page, page, …, done          |      a long page in parts
//! ```
//!
//! Promises: a version byte leads; kinds grow at the end only; operations are slices of the message
//! that they came in. Relies on `model::codec` for the envelope.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::convergence::words::{BucketSet, Heads, SnapshotPage};
use crate::model::NamespaceId;
use crate::model::codec::{self, CodecError};
use crate::model::eventual::{Actor, Vector};

/// What a subscriber asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hello {
    /// Of which namespace.
    pub namespace: NamespaceId,
    /// What the subscriber has flushed and applied.
    pub vector: Vector,
    /// How it is sent.
    pub terms: Terms,
}

/// How a stream is sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Terms {
    /// Whether others' writes are sent at once, too.
    pub all: bool,
    /// Whether the stream ends when the subscriber has what the source has now.
    pub pass: bool,
    /// Whether the source says what it has: the subscriber does not hear it any other way.
    pub tell: bool,
    /// Bytes per second that the source may send.
    pub pace: Option<u64>,
    /// Bytes that the source may send before the first of them is taken.
    pub window: u64,
    /// How many others stand before this source in passing on what the subscriber lacks.
    pub rank: u32,
}

/// What a subscriber says later. New kinds go to the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Asked {
    /// Something was taken off the stream.
    Taken {
        /// Its bytes.
        bytes: u64,
        /// How far the subscriber is, of the actors that were in it.
        reached: Vec<(Actor, u64)>,
        /// Actors whose operations come in time some other way.
        pruned: Vec<Actor>,
    },
    /// How far the subscriber is.
    State(State),
    /// It is ready for rows.
    Rows,
    /// The groups of buckets that are not the same.
    Differ(Vec<u16>),
    /// The buckets that are not the same.
    Want(BucketSet),
}

/// What a replica has, and the sum of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    /// What it has.
    pub vector: Vector,
    /// Of its rows and losses, exactly then; `None` while they say nothing, in a state sync.
    pub root: Option<(u128, u128)>,
}

/// What a source says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// Operations as they stand in the source's log, in its order.
    Ops(Vec<Bytes>),
    /// How far the source is.
    State(State),
    /// The log does not reach back.
    Short,
    /// A state sync to this vector, with the sums of the groups.
    Offer(Vector, Vec<u128>),
    /// Sums of the buckets of the groups asked for.
    Buckets(Vec<(u16, u128)>),
    /// The wanted rows of a range. What is not among them is not at the source.
    Page(Box<SnapshotPage>),
    /// All wanted rows were sent.
    Done(Vector, Box<Heads>),
    /// The subscriber was sent what the source had at the hello.
    Passed,
    /// The next part of a message that is too long for the network, and how many follow.
    Part { left: u32, bytes: Bytes },
}

#[derive(Serialize, Deserialize)]
enum Wire {
    Ops(Vec<u32>),
    State(State),
    Short,
    Offer(Vector, Vec<u128>),
    Buckets(Vec<(u16, u128)>),
    Page(Box<SnapshotPage>),
    Done(Vector, Box<Heads>),
    Passed,
    Part(u32),
}

impl Hello {
    /// As bytes.
    pub(super) fn encode(&self) -> Bytes {
        codec::seal(self, &[])
    }

    /// From bytes.
    pub(super) fn decode(bytes: &Bytes) -> Result<Self, CodecError> {
        plain("hello of a stream", bytes)
    }
}

impl Asked {
    /// As bytes.
    pub(super) fn encode(&self) -> Bytes {
        codec::seal(self, &[])
    }

    /// From bytes.
    pub(super) fn decode(bytes: &Bytes) -> Result<Self, CodecError> {
        plain("subscriber's message", bytes)
    }
}

const SAID: &str = "source's message";

impl Said {
    /// As bytes.
    pub(super) fn encode(self) -> Bytes {
        let wire = match self {
            Self::Ops(ops) => {
                let lengths = ops.iter().map(|op| u32::try_from(op.len()).unwrap_or(u32::MAX));
                let wire = Wire::Ops(lengths.collect());
                let tails: Vec<&[u8]> = ops.iter().map(|op| &op[..]).collect();
                return codec::seal(&wire, &tails);
            }
            Self::State(state) => Wire::State(state),
            Self::Short => Wire::Short,
            Self::Offer(vector, sums) => Wire::Offer(vector, sums),
            Self::Buckets(sums) => Wire::Buckets(sums),
            Self::Page(page) => Wire::Page(page),
            Self::Done(vector, heads) => Wire::Done(vector, heads),
            Self::Passed => Wire::Passed,
            Self::Part { left, bytes } => return codec::seal(&Wire::Part(left), &[&bytes]),
        };
        codec::seal(&wire, &[])
    }

    /// From bytes.
    pub(super) fn decode(bytes: &Bytes) -> Result<Self, CodecError> {
        let (wire, mut tail) = codec::open::<Wire>(SAID, bytes)?;
        let said = match wire {
            Wire::Ops(lengths) => {
                let mut ops = Vec::with_capacity(lengths.len());
                for length in lengths {
                    let length = usize::try_from(length).unwrap_or(usize::MAX);
                    if length > tail.len() {
                        let found = tail.len();
                        return Err(CodecError::Length { what: SAID, expected: length, found });
                    }
                    ops.push(tail.split_to(length));
                }
                Self::Ops(ops)
            }
            Wire::State(state) => Self::State(state),
            Wire::Short => Self::Short,
            Wire::Offer(vector, sums) => Self::Offer(vector, sums),
            Wire::Buckets(sums) => Self::Buckets(sums),
            Wire::Page(page) => Self::Page(page),
            Wire::Done(vector, heads) => Self::Done(vector, heads),
            Wire::Passed => Self::Passed,
            Wire::Part(left) => {
                let bytes = std::mem::take(&mut tail);
                Self::Part { left, bytes }
            }
        };
        codec::no_tail(SAID, &tail)?;
        Ok(said)
    }
}

fn plain<T: for<'a> Deserialize<'a>>(what: &'static str, bytes: &Bytes) -> Result<T, CodecError> {
    let (value, tail) = codec::open(what, bytes)?;
    codec::no_tail(what, &tail)?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector() -> Vector {
        Vector([(Actor { node: 3, home: 9, run: 1 }, 12)].into())
    }

    #[test]
    fn every_message_reads_back_as_it_was_written() {
        let terms = Terms { all: true, pace: Some(5), window: 9, rank: 1, ..Terms::default() };
        let hello = Hello { namespace: NamespaceId(4), vector: vector(), terms };
        assert_eq!(Hello::decode(&hello.encode()), Ok(hello));
        let actor = Actor::default();
        let state = State { vector: vector(), root: Some((3, 4)) };
        for asked in [
            Asked::Taken { bytes: 7, reached: vec![(actor, 2)], pruned: vec![actor] },
            Asked::State(state.clone()),
            Asked::Rows,
            Asked::Differ(vec![1, 63]),
            Asked::Want(BucketSet::default()),
        ] {
            assert_eq!(Asked::decode(&asked.encode()), Ok(asked));
        }
        for said in [
            Said::Ops(vec![Bytes::from_static(b"one"), Bytes::new(), Bytes::from_static(b"3")]),
            Said::State(state),
            Said::Short,
            Said::Offer(vector(), vec![1, u128::MAX]),
            Said::Buckets(vec![(7, 8)]),
            Said::Passed,
            Said::Part { left: 3, bytes: Bytes::from_static(b"of something") },
        ] {
            assert_eq!(Said::decode(&said.clone().encode()), Ok(said));
        }
    }

    #[test]
    fn operations_whose_lengths_lie_are_refused() {
        for length in [3, 5] {
            let bytes = codec::seal(&Wire::Ops(vec![length]), &[b"four"]);
            assert!(Said::decode(&bytes).is_err());
        }
        let many = codec::seal(&Wire::Ops(vec![u32::MAX; 9]), &[b"four"]);
        assert!(Said::decode(&many).is_err());
    }
}
