//! Operations as they are logged and sent.
//!
//! Why it exists: the delta of every type is its operation: which dots of which cells it removes, and
//! what it puts in their place under its own dot. Promises: reads back as written; enums grow at the
//! end only. Relies on `codec` for the envelope: the dot comes first, so that a stream can skip what
//! its reader has without reading further.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::cell::Content;
use super::dot::{Dot, Hlc, Vector};

/// One write, or a sign of life, with its name and time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Op {
    /// Its name; also its place among its actor's operations.
    pub dot: Dot,
    /// When, by its origin's hybrid clock.
    pub hlc: Hlc,
    /// What it does.
    pub act: Act,
}

/// What an operation does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Act {
    /// Changes cells of one key, all at once.
    Write {
        /// The key.
        key: Bytes,
        /// One change for each cell, in the order of fields.
        changes: Vec<CellChange>,
        /// A hash of the client's once key and of the request's body, for those who ask again.
        once: Option<(u64, u64)>,
    },
    /// Says what its origin had applied when it was written: what is final follows from these.
    Beat {
        /// What it had, this operation not included.
        vector: Vector,
        /// Which list of members its origin went by.
        members: u64,
    },
}

/// A change of one cell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CellChange {
    /// Which cell of the key.
    pub field: Field,
    /// The versions that it removes: only dots that its origin's vector covered (rule R3).
    pub removes: Vec<Removed>,
    /// What it puts there under the operation's dot.
    pub put: Option<Put>,
}

/// A version that an operation removes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    /// Which.
    pub dot: Dot,
    /// Whether its client had been shown it, or would have been by a read then. If not it is lost.
    pub seen: bool,
}

/// A new version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Put {
    /// Its content.
    pub content: Content,
    /// How many writes it stands on, itself included: one more than the most of what was seen.
    pub lineage: u64,
    /// Of a register: the how-many-th write of its actor to this cell it is, so that counting it twice
    /// makes no difference. Of others 0.
    pub nth: u64,
}

/// Which cell of a key: names from the outermost object to the innermost, and what the cell is.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Field {
    /// The path; empty for the key itself. Of a set's element the last name is the element.
    pub path: Vec<Bytes>,
    /// What the cell holds.
    pub kind: FieldKind,
}

/// What a cell holds. New kinds go to the end.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub enum FieldKind {
    /// That the key, or the object at the path, exists though it may be empty.
    Exists,
    /// A value.
    #[default]
    Register,
    /// Running totals, one version per actor.
    Counter,
    /// An element of a set.
    Element,
}
