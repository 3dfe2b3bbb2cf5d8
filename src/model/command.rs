//! What a group may be asked to do: the content of one log entry.
//!
//! Promises: [`Command::decode`] of [`Command::encode`] is the same command; decoding never panics,
//! and the key and value of a write share the memory of the entry they came from. Relies on
//! [`codec`] for the envelope.
//!
//! On disk a command is `version, header, tail`. The tail of a write is its key and then its value;
//! the header says where the one ends. Room for what comes next (conditions, idempotency keys,
//! transactions, leases) is at the end of `Header`, as new variants.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::codec::{self, CodecError};
use super::id::{NamespaceId, Slot, SlotRange};
use super::tend::Tend;

/// One log entry of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Sets the slots that the group owns: the first command of every data group.
    Own {
        /// The owned slots.
        ranges: Vec<SlotRange>,
        /// The catalog's epoch that says so; a newer one wins.
        epoch: u64,
    },
    /// Writes one key.
    Write(Write),
    /// Changes the catalog (group 0 only). Opaque here: placement encodes and applies it.
    Catalog(Bytes),
    /// What a leader does by itself.
    Tend(Tend),
}

/// Which slots a group owns, and by which epoch of the catalog: the row that `Own` leaves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ownership {
    /// The owned slots.
    pub ranges: Vec<SlotRange>,
    /// The catalog's epoch that says so; a newer one wins.
    pub epoch: u64,
}

/// A write of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The key's namespace.
    pub namespace: NamespaceId,
    /// The key's slot, as the router computed it; applied only by the slot's owner.
    pub slot: Slot,
    /// The key.
    pub key: Bytes,
    /// What to do with it.
    pub op: WriteOp,
}

/// What a write does to its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteOp {
    /// Sets the value.
    Put {
        /// The new value.
        value: Bytes,
    },
    /// Removes the key.
    Delete,
}

/// The part of a command that postcard writes. New variants go to the end.
#[derive(Serialize, Deserialize)]
enum Header {
    Own { ranges: Vec<SlotRange>, epoch: u64 },
    Write { namespace: NamespaceId, slot: Slot, key_bytes: u32, op: OpHeader },
    Catalog,
    Tend(Tend),
}

/// The part of a write's operation that postcard writes. New variants go to the end.
#[derive(Clone, Copy, Serialize, Deserialize)]
enum OpHeader {
    Put,
    Delete,
}

const WHAT: &str = "command";
const WHAT_OWNERSHIP: &str = "ownership";

impl Command {
    /// The bytes of the log entry.
    ///
    /// # Panics
    /// If a key is longer than 4 GiB: the front door refuses keys a million times shorter.
    pub fn encode(&self) -> Bytes {
        match self {
            Self::Own { ranges, epoch } => {
                codec::seal(&Header::Own { ranges: ranges.clone(), epoch: *epoch }, &[])
            }
            Self::Write(write) => write.encode(),
            Self::Tend(tend) => codec::seal(&Header::Tend(tend.clone()), &[]),
            Self::Catalog(bytes) => codec::seal(&Header::Catalog, &[bytes.as_ref()]),
        }
    }

    /// Reads a log entry. Key, value and catalog bytes are slices of `bytes`.
    pub fn decode(bytes: &Bytes) -> Result<Self, CodecError> {
        let (header, tail) = codec::open(WHAT, bytes)?;
        match header {
            Header::Own { ranges, epoch } => {
                codec::no_tail(WHAT, &tail)?;
                Ok(Self::Own { ranges, epoch })
            }
            Header::Write { namespace, slot, key_bytes, op } => {
                let (key, op) = split_write(key_bytes, op, tail)?;
                Ok(Self::Write(Write { namespace, slot, key, op }))
            }
            Header::Catalog => Ok(Self::Catalog(tail)),
            Header::Tend(tend) => codec::no_tail(WHAT, &tail).map(|()| Self::Tend(tend)),
        }
    }
}

impl Write {
    fn encode(&self) -> Bytes {
        let key_bytes =
            u32::try_from(self.key.len()).expect("a key is bounded by KEY_BYTES_MAX, a few KiB");
        let (op, value) = match &self.op {
            WriteOp::Put { value } => (OpHeader::Put, value.as_ref()),
            WriteOp::Delete => (OpHeader::Delete, [].as_slice()),
        };
        let header = Header::Write { namespace: self.namespace, slot: self.slot, key_bytes, op };
        codec::seal(&header, &[self.key.as_ref(), value])
    }
}

/// Cuts a write's tail into its key and its operation.
fn split_write(
    key_bytes: u32,
    op: OpHeader,
    mut tail: Bytes,
) -> Result<(Bytes, WriteOp), CodecError> {
    let wrong = |expected, found| CodecError::Length { what: WHAT, expected, found };
    let key_bytes = usize::try_from(key_bytes).unwrap_or(usize::MAX);
    if tail.len() < key_bytes {
        return Err(wrong(key_bytes, tail.len()));
    }
    let key = tail.split_to(key_bytes);
    match op {
        OpHeader::Put => Ok((key, WriteOp::Put { value: tail })),
        OpHeader::Delete if tail.is_empty() => Ok((key, WriteOp::Delete)),
        OpHeader::Delete => Err(wrong(key_bytes, key_bytes + tail.len())),
    }
}

impl Ownership {
    /// Whether the slot is owned.
    pub fn owns(&self, slot: Slot) -> bool {
        self.ranges.iter().any(|range| range.contains(slot))
    }

    /// The bytes of the ownership row.
    pub fn encode(&self) -> Bytes {
        codec::seal(self, &[])
    }

    /// Reads the ownership row.
    pub fn decode(bytes: &Bytes) -> Result<Self, CodecError> {
        let (ownership, tail) = codec::open(WHAT_OWNERSHIP, bytes)?;
        codec::no_tail(WHAT_OWNERSHIP, &tail)?;
        Ok(ownership)
    }
}

#[cfg(test)]
mod tests;
