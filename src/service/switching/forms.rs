//! What a key becomes on the other side. Pure.
//!
//! | type | there | here |
//! |---|---|---|
//! | `lww`, `mv` | the value with its media type | the same |
//! | `counter` | decimal text, `text/plain` | a sum within 64 bits |
//! | `set` | a JSON array of texts, sorted | the same, and not empty |
//! | `map` | a JSON document | an object |
//!
//! Promises: what does not fit is named with a reason and never bent; the operations that plant a
//! namespace are a function of its rows and of the switch, so that they are the same whoever makes
//! them. Relies on `model::eventual` for what a value is.

use bytes::Bytes;
use xxhash_rust::xxh3::Xxh3;

use crate::model::eventual::{
    Act, Actor, Ask, Cell, Cells, DataType, Dot, Field, Hlc, LocalError, Op, Origin, Shown,
    Sibling, Vector, What, Write, apply, local, read,
};
use crate::model::{ClusterId, NamespaceId, Row};
use crate::placement::Siblings;

/// A key's value as bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Flat {
    pub(super) value: Bytes,
    pub(super) content_type: Option<String>,
}

/// What a key of an eventual namespace holds, as one value; `None` when it holds nothing.
pub(super) fn flat(shown: Shown, siblings: Siblings) -> Result<Option<Flat>, String> {
    let typed = |value: Bytes, content_type: &str| Flat {
        value,
        content_type: Some(content_type.to_owned()),
    };
    let one = |sibling: Sibling| Flat { value: sibling.value, content_type: sibling.content_type };
    Ok(match shown.what {
        What::Missing => None,
        What::Value(only) => Some(one(only)),
        What::Siblings(all) => {
            let count = all.len();
            match (siblings, all.into_iter().next()) {
                (Siblings::Latest, latest) => latest.map(one),
                (Siblings::Refuse, _) => {
                    return Err(format!("{count} values stand beside each other, unresolved"));
                }
            }
        }
        What::Text(sum) => Some(typed(sum.into(), "text/plain")),
        What::Json(json) => Some(typed(json, "application/json")),
    })
}

/// Who plants what a namespace becomes: nobody else ever bears this name, in no cluster.
pub(super) fn planter(cluster: ClusterId, target: NamespaceId) -> Actor {
    let low =
        |number: u64| u32::try_from(number & u64::from(u32::MAX)).expect("it is masked to 32 bits");
    Actor { node: 0, home: low(cluster.0 ^ (cluster.0 >> 32)), run: low(target.0) }
}

/// The soil: a namespace in which no key stands yet.
struct Empty;

impl Cells for Empty {
    type Error = std::convert::Infallible;

    fn cell(&self, _: &[u8], _: &Field) -> Result<Option<Cell>, Self::Error> {
        Ok(None)
    }

    fn cells_of(&self, _: &[u8]) -> Result<Vec<(Field, Cell)>, Self::Error> {
        Ok(Vec::new())
    }
}

/// How a namespace is planted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Planting {
    pub(super) actor: Actor,
    pub(super) data_type: DataType,
    pub(super) value_bytes_max: u64,
    pub(super) began_ms: u64,
}

impl Planting {
    /// The operation that makes the `nth` key, from 1.
    pub(super) fn op(&self, nth: u64, key: Bytes, row: Row) -> Result<Op, String> {
        if row.lease.is_some() {
            return Err("it hangs on a lease, or has a time to live".to_owned());
        }
        let ask = match self.data_type {
            DataType::Counter => Ask::Add(number(&row.value)?),
            _ => Ask::Put { value: row.value, content_type: row.content_type },
        };
        let value_bytes_max = self.value_bytes_max;
        let write = Write { key, ask, context: None, once: None, value_bytes_max };
        let vector = Vector([(self.actor, nth.saturating_sub(1))].into());
        let origin = Origin { actor: self.actor, vector: &vector, witnessed: None };
        let act = match local(self.data_type, &Empty, origin, &write) {
            Ok(act) => act,
            Err(LocalError::Refused(refusal)) => return Err(refusal.to_string()),
            Err(LocalError::View(never)) => match never {},
        };
        if matches!(&act, Act::Write { changes, .. } if changes.is_empty()) {
            return Err("an empty set cannot exist on the other side".to_owned());
        }
        let dot = Dot { actor: self.actor, counter: nth };
        Ok(Op { dot, hlc: Hlc::at_ms(self.began_ms), act })
    }

    /// What is read of a key that this operation made.
    pub(super) fn shown(&self, op: &Op) -> Shown {
        let Act::Write { changes, .. } = &op.act else { return read(self.data_type, &[]) };
        let cells: Vec<(Field, Cell)> = changes
            .iter()
            .filter_map(|change| Some((change.field.clone(), apply(None, op.dot, op.hlc, change)?)))
            .collect();
        read(self.data_type, &cells)
    }
}

/// A counter's value.
fn number(value: &[u8]) -> Result<i64, String> {
    let text = std::str::from_utf8(value).ok().map(str::trim);
    let number = text.and_then(|text| text.parse().ok());
    number.ok_or_else(|| "it is no whole number of 64 bits".to_owned())
}

/// A sum over keys and values in their order: equal for equal contents.
#[derive(Clone, Default)]
pub(super) struct Sum {
    pub(super) keys: u64,
    hash: Xxh3,
}

impl Sum {
    /// One key more.
    pub(super) fn add(&mut self, key: &[u8], flat: &Flat) {
        self.keys += 1;
        let kind = flat.content_type.as_deref().unwrap_or_default();
        for part in [key, &flat.value, kind.as_bytes()] {
            self.hash.update(&part.len().to_le_bytes());
            self.hash.update(part);
        }
    }

    /// Count and hash.
    pub(super) fn total(&self) -> (u64, u128) {
        (self.keys, self.hash.digest128())
    }
}

#[cfg(test)]
mod tests;
