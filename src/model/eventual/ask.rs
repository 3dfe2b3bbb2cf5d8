//! What clients ask of eventual namespaces, and why it may be refused.
//!
//! Why it exists: one list of wishes for all types; which of them a type can keep is decided where
//! the operation is made (`local`). Promises: a refusal has a code that never changes, and nothing
//! was written.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::dot::{Actor, Dot, Vector};

/// The conflict rule of a namespace. New types go to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DataType {
    /// A register: the latest of concurrent writes is shown, the others are named as lost.
    Lww,
    /// A register: all concurrent writes are shown.
    Mv,
    /// A sum.
    Counter,
    /// A set of texts; adding wins over a concurrent removal.
    Set,
    /// A JSON document: fields are registers, counters, sets or objects, each by itself.
    Map,
}

impl DataType {
    /// Whether of concurrent values of a register only the latest is shown.
    pub const fn ranks(self) -> bool {
        matches!(self, Self::Lww | Self::Map)
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lww => "lww",
            Self::Mv => "mv",
            Self::Counter => "counter",
            Self::Set => "set",
            Self::Map => "map",
        }
    }
}

/// What to do with a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Sets the value: of a register its bytes, of a set a JSON array of texts, of a map a JSON
    /// object.
    Put {
        /// The value.
        value: Bytes,
        /// Its media type.
        content_type: Option<String>,
    },
    /// Removes what is there.
    Delete,
    /// Adds to a counter; a negative number subtracts.
    Add(i64),
    /// Changes a set: removals first.
    SetEdit {
        /// Elements that shall be there.
        add: Vec<Bytes>,
        /// Elements that shall not.
        remove: Vec<Bytes>,
    },
    /// Changes a map by a JSON merge patch (RFC 7396).
    Merge(Bytes),
    /// Changes some fields of a map.
    Fields(Vec<FieldAsk>),
}

/// A change of one field of a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldAsk {
    /// The names of the objects around it, then its own.
    pub path: Vec<Bytes>,
    /// What to do with it.
    pub edit: FieldEdit,
}

/// What to do with a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldEdit {
    /// Sets it to a JSON value, which replaces whatever was there.
    Put(Bytes),
    /// Removes it with all that is in it.
    Delete,
    /// Adds to it as a counter.
    Add(i64),
    /// Changes it as a set: removals first.
    SetEdit {
        /// Elements that shall be there.
        add: Vec<Bytes>,
        /// Elements that shall not.
        remove: Vec<Bytes>,
    },
}

/// A write as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The key.
    pub key: Bytes,
    /// What to do.
    pub ask: Ask,
    /// The versions that the client had been shown, if it said so. Counts for registers only.
    pub context: Option<Vec<Dot>>,
    /// Hashes of the client's once key and of its request.
    pub once: Option<(u64, u64)>,
    /// Longest value that the namespace takes.
    pub value_bytes_max: u64,
}

/// Who makes the operation, and what it has applied (rule R3).
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// Its actor.
    pub actor: Actor,
    /// What is applied here.
    pub vector: &'a Vector,
    /// What it has told others that it has, if by that alone nobody can have judged anything above it
    /// ([`bears_witness()`](super::fate::bears_witness)).
    pub witnessed: Option<&'a Vector>,
}

/// Why a write was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The namespace's type has no such operation.
    #[error("a namespace of type {ty} does not take this: {instead}")]
    Unsupported {
        /// The type's name.
        ty: &'static str,
        /// What it takes instead.
        instead: &'static str,
    },
    /// The value, element or path is too long.
    #[error("the {what} would be longer than {limit} bytes")]
    TooLarge {
        /// Which.
        what: &'static str,
        /// The longest.
        limit: u64,
    },
    /// Too many cells would change at once.
    #[error("more than {limit} elements or fields in one write: use several")]
    TooMany {
        /// The most.
        limit: usize,
    },
    /// The key has too many siblings.
    #[error("the key has {limit} siblings already: read them and write with their context")]
    TooManySiblings {
        /// The most.
        limit: usize,
    },
    /// The sum of this node's part would not fit.
    #[error("the counter cannot be changed so: this node's part of it would leave 64 bits")]
    Overflow,
    /// The body is not what it should be.
    #[error("{reason}")]
    Malformed {
        /// What is wrong.
        reason: String,
    },
    /// The field holds something else.
    #[error("the field {path} holds {holds}")]
    Holds {
        /// Which field.
        path: String,
        /// What.
        holds: &'static str,
    },
}

impl Refusal {
    /// The code, which never changes.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unsupported { .. } => "mode_unsupported",
            Self::TooLarge { .. } => "value_too_large",
            Self::TooMany { .. } => "too_many_fields",
            Self::TooManySiblings { .. } => "too_many_siblings",
            Self::Overflow => "not_a_number",
            Self::Malformed { .. } => "patch_invalid",
            Self::Holds { .. } => "patch_conflict",
        }
    }
}

/// Why no operation was made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LocalError<E> {
    /// The write was refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The cells cannot be read.
    #[error("the cells cannot be read")]
    View(E),
}
