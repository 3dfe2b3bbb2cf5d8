//! How a copy is written.
//!
//! ```text
//!   "TTRCOPY" | version | frame, frame, ...
//!   frame: length (4 bytes) | xxh3-64 of the body (8 bytes) | body: codec version, header, tail
//! ```
//!
//! Promises: damage is noticed before a frame is used, and anything that is missing, doubled or in
//! another order at the end at the latest; a reader holds one frame of bounded length. Kinds of
//! frames grow at the end only. Relies on `model::codec` for the body.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::convergence::decode_op;
use crate::convergence::words::{Heads, SnapshotPage};
use crate::model::NamespaceId;
use crate::model::codec::{self, CodecError};
use crate::model::eventual::{Actor, DataType, Op, Vector};
use crate::runtime::limits::COPY_FRAME_BYTES_MAX;

/// The form that is written today.
pub const COPY_VERSION: u8 = 1;

const MAGIC: &[u8] = b"TTRCOPY";
const FRAME_HEAD: usize = 12;
const WHAT: &str = "part of a copy";

/// A namespace among those of all clusters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The cluster.
    pub cluster: u64,
    /// The namespace in it.
    pub namespace: NamespaceId,
}

/// What a copy begins with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyHead {
    /// The name of the namespace at its source. A namespace of any name can take it.
    pub namespace: String,
    /// Which namespace of which cluster that is.
    pub origin: Origin,
    /// What its values are.
    pub data_type: DataType,
    /// Who has written it.
    pub source: Actor,
    /// What whoever takes it must have; empty if it holds rows.
    pub since: Vector,
    /// What whoever has taken it has.
    pub vector: Vector,
    /// Of a copy of rows, what its end needs to know of other nodes.
    pub rows: Option<Box<Heads>>,
}

/// A part of a copy.
#[derive(Clone, Debug)]
pub(super) enum Part {
    /// It begins.
    Head(Box<CopyHead>),
    /// Operations, in an order in which they can be applied.
    Ops(Vec<Op>),
    /// Rows.
    Page(Box<SnapshotPage>),
    /// It is whole.
    End,
}

/// Why a copy cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// It is something else.
    #[error("it does not begin as a copy of a namespace does")]
    Other,
    /// A later release has written it.
    #[error("its form {0} is not known to this release, which knows {COPY_VERSION}")]
    Version(u8),
    /// Bytes are not those that were written.
    #[error("{0}")]
    Broken(&'static str),
    /// It ends too early.
    #[error("its end is missing: it was cut off")]
    Cut,
    /// A part of it is undamaged but of a form that this release does not know.
    #[error(transparent)]
    Unknown(#[from] CodecError),
}

#[derive(Serialize, Deserialize)]
enum Wire {
    Head(Box<CopyHead>),
    Ops(Vec<u32>),
    Page(Box<SnapshotPage>),
    End(u128),
}

/// Writes a copy, part by part.
pub(super) struct Writer {
    sum: Xxh3,
}

impl Writer {
    /// The writer, and the first bytes.
    pub(super) fn begin(head: CopyHead) -> (Self, Bytes) {
        let mut writer = Self { sum: Xxh3::new() };
        let start = [MAGIC, &[COPY_VERSION]].concat();
        writer.sum.update(&start);
        let frame = writer.frame(&Wire::Head(Box::new(head)), &[]);
        (writer, [&start[..], &frame].concat().into())
    }

    /// Operations as records of the log.
    pub(super) fn ops(&mut self, ops: &[Bytes]) -> Bytes {
        let lengths = ops.iter().map(|op| u32::try_from(op.len()).unwrap_or(u32::MAX));
        let tails: Vec<&[u8]> = ops.iter().map(|op| &op[..]).collect();
        self.frame(&Wire::Ops(lengths.collect()), &tails)
    }

    /// Rows.
    pub(super) fn page(&mut self, page: SnapshotPage) -> Bytes {
        self.frame(&Wire::Page(Box::new(page)), &[])
    }

    /// The end.
    pub(super) fn end(mut self) -> Bytes {
        let sum = self.sum.digest128();
        self.frame(&Wire::End(sum), &[])
    }

    fn frame(&mut self, wire: &Wire, tails: &[&[u8]]) -> Bytes {
        let body = codec::seal(wire, tails);
        let mut frame = BytesMut::with_capacity(FRAME_HEAD + body.len());
        frame.put_u32(u32::try_from(body.len()).expect("pages and batches are bounded far below"));
        frame.put_u64(xxh3_64(&body));
        frame.extend_from_slice(&body);
        self.sum.update(&frame);
        frame.freeze()
    }
}

/// Reads a copy, however it is cut into pieces.
pub(super) struct Reader {
    held: BytesMut,
    sum: Xxh3,
    begun: bool,
    ended: bool,
}

impl Reader {
    pub(super) fn new() -> Self {
        Self { held: BytesMut::new(), sum: Xxh3::new(), begun: false, ended: false }
    }

    /// Takes the next piece. All parts must be taken out before the one after it.
    pub(super) fn push(&mut self, piece: &[u8]) {
        self.held.extend_from_slice(piece);
    }

    /// Bytes of the part that is not there whole.
    pub(super) fn held(&self) -> usize {
        self.held.len()
    }

    /// The next part, if it is there whole.
    pub(super) fn next(&mut self) -> Result<Option<Part>, Damage> {
        if self.ended {
            return if self.held.is_empty() {
                Ok(None)
            } else {
                Err(Damage::Broken("something follows its end"))
            };
        }
        if !self.begun && !self.start()? {
            return Ok(None);
        }
        let Some(mut head) = self.held.get(..FRAME_HEAD) else { return Ok(None) };
        let (length, check) = (head.get_u32(), head.get_u64());
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > COPY_FRAME_BYTES_MAX {
            return Err(Damage::Broken("a part of it is longer than any"));
        }
        if self.held.len() < FRAME_HEAD + length {
            return Ok(None);
        }
        let frame = self.held.split_to(FRAME_HEAD + length).freeze();
        let body = frame.slice(FRAME_HEAD..);
        if xxh3_64(&body) != check {
            return Err(Damage::Broken("a part of it is not as it was written"));
        }
        let before = self.sum.digest128();
        self.sum.update(&frame);
        self.part(&body, before).map(Some)
    }

    /// Says whether all was there.
    pub(super) fn finish(&self) -> Result<(), Damage> {
        if self.ended && self.held.is_empty() { Ok(()) } else { Err(Damage::Cut) }
    }

    /// Passes over magic and version once they are there.
    fn start(&mut self) -> Result<bool, Damage> {
        let length = self.held.len().min(MAGIC.len());
        if self.held.get(..length) != MAGIC.get(..length) {
            return Err(Damage::Other);
        }
        match self.held.get(MAGIC.len()) {
            None => return Ok(false),
            Some(&COPY_VERSION) => {}
            Some(&other) => return Err(Damage::Version(other)),
        }
        let start = self.held.split_to(MAGIC.len() + 1);
        self.sum.update(&start);
        self.begun = true;
        Ok(true)
    }

    fn part(&mut self, body: &Bytes, sum: u128) -> Result<Part, Damage> {
        let (wire, mut tail) = codec::open::<Wire>(WHAT, body)?;
        let part = match wire {
            Wire::Ops(lengths) => {
                let mut ops = Vec::with_capacity(lengths.len());
                for length in lengths {
                    let length = usize::try_from(length).unwrap_or(usize::MAX);
                    if length > tail.len() {
                        let found = tail.len();
                        let expected = length;
                        return Err(CodecError::Length { what: WHAT, expected, found }.into());
                    }
                    ops.push(decode_op(&tail.split_to(length))?);
                }
                Part::Ops(ops)
            }
            Wire::Head(head) => Part::Head(head),
            Wire::Page(page) => Part::Page(page),
            Wire::End(all) if all == sum => {
                self.ended = true;
                Part::End
            }
            Wire::End(_) => return Err(Damage::Broken("its end does not fit what came before")),
        };
        codec::no_tail(WHAT, &tail)?;
        Ok(part)
    }
}
