//! What scans and watches ask of a replica, and how it travels.
//!
//! Why it exists: the questions are the same whether the replica is here or on another node.
//! Promises: what is read is what was written, or an error; nothing panics. Keys here are row keys.
//! Relies on [`codec`] for the version byte. New variants go to the end.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::model::codec::{self, CodecError};
use crate::model::{GroupId, NodeId};
use crate::storage::state::Change;

/// A question for a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::service) enum Ask {
    /// The index that a linearizable read must reflect. Only the leader knows.
    ReadIndex,
    /// Rows of a range.
    Page(PageAsk),
    /// How many rows a range has.
    Count(PageAsk),
    /// What changed in a range.
    Changes(ChangesAsk),
}

/// Which rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::service) struct PageAsk {
    /// The first row key that may come.
    pub(in crate::service) from: Bytes,
    /// All are below this one.
    pub(in crate::service) to: Bytes,
    /// From the last to the first.
    pub(in crate::service) reverse: bool,
    /// As of this index, exactly; otherwise as of now.
    pub(in crate::service) at: Option<u64>,
    /// As of now, but not before this index.
    pub(in crate::service) at_least: u64,
    /// Most items.
    pub(in crate::service) limit: usize,
    /// About so many bytes of them, one item at least.
    pub(in crate::service) bytes_max: usize,
    /// What of each row.
    pub(in crate::service) show: Show,
    /// Rows that are to become one item.
    pub(in crate::service) fold: Option<Fold>,
}

/// What of each row is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Show {
    /// All of it.
    #[default]
    Rows,
    /// All but the value.
    Heads,
    /// The key.
    Keys,
}

/// Rows whose keys are the same up to a delimiter are one item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::service) struct Fold {
    /// Bytes of the row key before those that are looked at.
    pub(in crate::service) skip: usize,
    /// Not empty.
    pub(in crate::service) delimiter: Bytes,
}

/// Which changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::service) struct ChangesAsk {
    /// Those of later entries.
    pub(in crate::service) after: u64,
    /// From this row key on.
    pub(in crate::service) from: Bytes,
    /// Below this one.
    pub(in crate::service) to: Bytes,
    /// About so many bytes.
    pub(in crate::service) bytes_max: usize,
    /// Only a replica that has applied this index may answer.
    pub(in crate::service) at_least: u64,
    /// How long to wait while nothing has been applied after `after`.
    pub(in crate::service) wait_ms: u64,
}

/// A replica's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::service) enum Answer {
    /// The read index.
    Index(u64),
    /// Rows.
    Page(PageAnswer),
    /// Changes.
    Changes(ChangesAnswer),
    /// Why there are none.
    Declined(Declined),
}

/// Rows of a range.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::service) struct PageAnswer {
    /// The index that they reflect.
    pub(in crate::service) at: u64,
    /// The group serves nothing that was routed by an older catalog.
    pub(in crate::service) epoch: u64,
    /// In the order that was asked for.
    pub(in crate::service) items: Vec<PageItem>,
    /// Rows that were counted.
    pub(in crate::service) count: u64,
    /// Whether there may be more, and if so from where on (forward), or below what (in reverse).
    pub(in crate::service) next: Option<Bytes>,
}

/// A row, or many that became one item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::service) struct PageItem {
    /// The row key, or what the row keys begin with.
    pub(in crate::service) key: Bytes,
    /// The encoded row, empty when only keys are wanted; `None`: folded.
    pub(in crate::service) row: Option<Bytes>,
}

/// What changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::service) struct ChangesAnswer {
    /// Whole entries, in order.
    #[serde(with = "changes")]
    pub(in crate::service) changes: Vec<Change>,
    /// What came after this index is known there.
    pub(in crate::service) floor: u64,
    /// All that was asked for up to this index is in `changes`.
    pub(in crate::service) upto: u64,
    /// What the replica has applied.
    pub(in crate::service) applied: u64,
}

/// Why a replica does not answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::service) enum Declined {
    /// There is none of the group.
    NotHere,
    /// It does not lead.
    NotLeader(Option<NodeId>),
    /// It has not applied what is asked for.
    Behind(u64),
    /// Its history no longer reaches back so far.
    Gone {
        /// What came after this index is known there.
        floor: u64,
    },
    /// Anything else.
    Failed(String),
}

/// A question on its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::service) struct Asked {
    pub(in crate::service) group: GroupId,
    pub(in crate::service) patience_ms: u64,
    pub(in crate::service) ask: Ask,
}

const WHAT_ASKED: &str = "question for a feed";
const WHAT_ANSWER: &str = "answer of a feed";

impl Asked {
    /// The question's bytes.
    pub(in crate::service) fn encode(&self) -> Bytes {
        codec::seal(self, &[])
    }

    /// Reads a question.
    pub(in crate::service) fn decode(bytes: &Bytes) -> Result<Self, CodecError> {
        let (asked, tail) = codec::open(WHAT_ASKED, bytes)?;
        codec::no_tail(WHAT_ASKED, &tail)?;
        Ok(asked)
    }
}

impl Answer {
    /// The answer's bytes.
    pub(in crate::service) fn encode(&self) -> Bytes {
        codec::seal(self, &[])
    }

    /// Reads an answer.
    pub(in crate::service) fn decode(bytes: &Bytes) -> Result<Self, CodecError> {
        let (answer, tail) = codec::open(WHAT_ANSWER, bytes)?;
        codec::no_tail(WHAT_ANSWER, &tail)?;
        Ok(answer)
    }
}

/// Changes as tuples: `storage` does not say how they travel.
mod changes {
    use bytes::Bytes;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::storage::state::Change;

    type Wire = (u64, u32, Bytes, Option<Bytes>, Option<Bytes>, u8);

    pub(super) fn serialize<S: Serializer>(changes: &[Change], to: S) -> Result<S::Ok, S::Error> {
        let wire: Vec<_> =
            changes.iter().map(|c| (c.index, c.seq, &c.key, &c.before, &c.after, c.note)).collect();
        wire.serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Change>, D::Error> {
        let change = |(index, seq, key, before, after, note): Wire| Change {
            index,
            seq,
            key,
            before,
            after,
            note,
        };
        Ok(Vec::<Wire>::deserialize(from)?.into_iter().map(change).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_and_answers_read_back_as_written() {
        let key = Bytes::from_static(b"\x10key");
        let page = PageAsk {
            from: key.clone(),
            to: key.clone(),
            reverse: true,
            at: Some(7),
            at_least: 3,
            limit: 10,
            bytes_max: 100,
            show: Show::Heads,
            fold: Some(Fold { skip: 9, delimiter: Bytes::from_static(b"/") }),
        };
        let changes = ChangesAsk {
            after: 9,
            from: key.clone(),
            to: key.clone(),
            bytes_max: 1,
            at_least: 8,
            wait_ms: 5,
        };
        for ask in
            [Ask::ReadIndex, Ask::Page(page.clone()), Ask::Count(page), Ask::Changes(changes)]
        {
            let asked = Asked { group: GroupId(4), patience_ms: 12, ask };
            assert_eq!(Asked::decode(&asked.encode()), Ok(asked));
        }
        let change = Change {
            index: 5,
            seq: 1,
            key: key.clone(),
            before: None,
            after: Some(Bytes::from_static(b"v")),
            note: 2,
        };
        let row = PageItem { key: key.clone(), row: Some(Bytes::new()) };
        let folded = PageItem { key: key.clone(), row: None };
        for answer in [
            Answer::Index(8),
            Answer::Page(PageAnswer {
                at: 1,
                epoch: 2,
                items: vec![row, folded],
                count: 3,
                next: Some(key),
            }),
            Answer::Changes(ChangesAnswer { changes: vec![change], floor: 1, upto: 5, applied: 6 }),
            Answer::Declined(Declined::Gone { floor: 3 }),
        ] {
            assert_eq!(Answer::decode(&answer.encode()), Ok(answer));
        }
        assert!(Answer::decode(&Bytes::from_static(&[1, 0xff])).is_err());
    }
}
