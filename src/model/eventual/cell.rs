//! The cell: versions under dots, and what was swept unseen.
//!
//! Why it exists: it is the one shape that all types are stored in, and the unit that state sync
//! merges. Promises: equal cells have equal bytes. Relies on the rules of the module above it.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::dot::{Actor, Dot, Hlc};

/// What stands at one field of one key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cell {
    /// The versions that no known operation has removed: the frontier.
    pub live: BTreeMap<Dot, Version>,
    /// Versions that were removed though nobody had seen them, until their fate is final: lost
    /// unless an operation turns up whose client had seen them.
    pub swept: BTreeMap<Dot, Swept>,
    /// Of registers: how many writes of each actor this cell has had since it is there. Less the
    /// winner's lineage it is how many have no effect any more. Exact while nobody deletes.
    pub writes: BTreeMap<Actor, u64>,
}

impl Cell {
    /// The cell, if anything stands in it.
    pub fn present(self) -> Option<Self> {
        (!self.live.is_empty() || !self.swept.is_empty()).then_some(self)
    }

    /// The version that is shown where one is: the latest by hybrid time.
    pub fn winner(&self) -> Option<(Dot, &Version)> {
        self.live.iter().map(|(dot, version)| (*dot, version)).max_by_key(|(dot, v)| (v.hlc, *dot))
    }

    /// Drops values of marks, those of the oldest writes first, until at most so many bytes of them are
    /// left; that of the newest stays. Who was swept by what stays as well: which losses there are must
    /// not depend on what a replica keeps of them.
    pub fn drop_values(&mut self, bytes_max: usize) {
        let bytes_of = |mark: &Swept| match &mark.version.content {
            Content::Value { value, .. } => value.len(),
            Content::Total(_) | Content::Present | Content::Dropped => 0,
        };
        if self.swept.values().map(bytes_of).sum::<usize>() <= bytes_max {
            return;
        }
        let mut newest: Vec<(Dot, &mut Swept)> =
            self.swept.iter_mut().map(|(dot, mark)| (*dot, mark)).collect();
        newest.sort_by_key(|(dot, mark)| std::cmp::Reverse((mark.version.hlc, *dot)));
        let mut bytes = 0_usize;
        for (at, (_, mark)) in newest.into_iter().enumerate() {
            bytes = bytes.saturating_add(bytes_of(mark));
            let is_value = matches!(mark.version.content, Content::Value { .. });
            if at > 0 && is_value && bytes > bytes_max {
                mark.version.content = Content::Dropped;
            }
        }
    }

    /// How many writes to this register have no effect on what it shows: they are neither the winner
    /// nor among what it stands on.
    pub fn without_effect(&self) -> u64 {
        let lineage = self.winner().map_or(0, |(_, version)| version.lineage);
        self.writes.values().sum::<u64>().saturating_sub(lineage)
    }
}

/// A value with what ranks it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// When it was written.
    pub hlc: Hlc,
    /// How many writes it stands on, itself included.
    pub lineage: u64,
    /// What it is.
    pub content: Content,
}

/// A version that was removed unseen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Swept {
    /// By which operation.
    pub by: Dot,
    /// What it was.
    pub version: Version,
}

/// What a version holds. New contents go to the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    /// A register's value.
    Value {
        /// The bytes; of a field of a document, its JSON.
        value: Bytes,
        /// Their media type, if it was given.
        content_type: Option<String>,
    },
    /// The sum of all that its actor has added to this counter since it is there.
    Total(i64),
    /// A set's element is there; an object is there.
    Present,
    /// Of a mark only: it was a value, which is not kept any more.
    Dropped,
}
