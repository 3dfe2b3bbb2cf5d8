//! Making the operation that does what a client asked.
//!
//! Why it exists: only the node that a client reached decides which versions a write removes; every
//! other node just applies the result. Three rules carry what is promised about loss:
//!
//! * R3: only versions are removed that the own vector covers. Others, from an interrupted state
//!   sync, stay beside the new one and sort themselves out.
//! * R5: a write to a register of which only the winner is shown removes all of the others too. They
//!   are lost, and that is on record.
//! * A version counts as seen if it is shown here at this moment, or if the client says that it knows it
//!   and nobody can have called its loss final yet: no beat of this node knows of it. A client may
//!   know one that is swept or outranked here already; counting it as seen later than that could
//!   contradict a final verdict (rule R6).
//!
//! Promises: a function of its arguments. Relies on its caller to give the operation the next dot of
//! the actor, and a stamp above all that it has observed.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::ask::{Ask, DataType, LocalError, Origin, Refusal, Write};
use super::cell::{Cell, Content};
use super::document;
use super::dot::Dot;
use super::op::{Act, CellChange, Field, FieldKind, Put, Removed};
use crate::model::json::Json;
use crate::runtime::limits::{FIELD_BYTES_MAX, JSON_DEPTH_MAX, OP_CELLS_MAX, SIBLINGS_MAX};
use crate::runtime::planted::{self, Bug};

/// The cells that a write is made over.
pub trait Cells {
    /// Why they cannot be read.
    type Error;

    /// One cell.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    fn cell(&self, key: &[u8], field: &Field) -> Result<Option<Cell>, Self::Error>;

    /// All cells of a key, in the order of fields.
    ///
    /// # Errors
    ///
    /// When they cannot be read.
    fn cells_of(&self, key: &[u8]) -> Result<Vec<(Field, Cell)>, Self::Error>;
}

/// The act that does what was asked. It may change nothing, as when what is to be removed is not there.
///
/// # Errors
///
/// When the namespace's type or bounds do not allow it, or the cells cannot be read.
pub fn local<V: Cells>(
    ty: DataType,
    view: &V,
    origin: Origin<'_>,
    write: &Write,
) -> Result<Act, LocalError<V::Error>> {
    let mut draft = Draft::new(origin, write);
    match ty {
        DataType::Lww | DataType::Mv => register(ty, view, &mut draft)?,
        DataType::Counter => counter(view, &mut draft)?,
        DataType::Set => set(view, &mut draft)?,
        DataType::Map => {
            let cells = view.cells_of(&write.key).map_err(LocalError::View)?;
            document::change(cells, &mut draft)?;
        }
    }
    Ok(draft.act()?)
}

/// An operation in the making.
pub(super) struct Draft<'a> {
    origin: Origin<'a>,
    pub(super) write: &'a Write,
    changes: BTreeMap<Field, CellChange>,
}

impl<'a> Draft<'a> {
    const fn new(origin: Origin<'a>, write: &'a Write) -> Self {
        Self { origin, write, changes: BTreeMap::new() }
    }

    fn act(mut self) -> Result<Act, Refusal> {
        self.changes.retain(|_, change| change.put.is_some() || !change.removes.is_empty());
        if self.changes.len() > OP_CELLS_MAX {
            return Err(Refusal::TooMany { limit: OP_CELLS_MAX });
        }
        Ok(Act::Write {
            key: self.write.key.clone(),
            changes: self.changes.into_values().collect(),
            once: self.write.once,
        })
    }

    fn change(&mut self, field: &Field) -> &mut CellChange {
        self.changes.entry(field.clone()).or_insert_with(|| CellChange {
            field: field.clone(),
            removes: Vec::new(),
            put: None,
        })
    }

    /// Removes from a cell what may be removed; a second time is no different.
    pub(super) fn clear(&mut self, field: &Field, cell: &Cell, seen: impl Fn(Dot) -> bool) {
        let removes: Vec<Removed> = cell
            .live
            .keys()
            .filter(|dot| self.origin.vector.covers(**dot))
            .map(|dot| Removed { dot: *dot, seen: seen(*dot) })
            .collect();
        if !removes.is_empty() {
            self.change(field).removes = removes;
        }
    }

    /// Counts as seen what the client knows although it was swept meanwhile.
    fn clear_marks(&mut self, field: &Field, cell: &Cell, seen: impl Fn(Dot) -> bool) {
        let swept = cell.swept.keys().filter(|dot| !cell.live.contains_key(*dot));
        let known = swept.filter(|dot| self.origin.vector.covers(**dot) && seen(**dot));
        let removes: Vec<Removed> = known.map(|dot| Removed { dot: *dot, seen: true }).collect();
        if !removes.is_empty() {
            self.change(field).removes.extend(removes);
        }
    }

    /// Puts a content that stands on the versions that were seen.
    pub(super) fn put(&mut self, field: &Field, cell: Option<&Cell>, content: Content) {
        let is_value = matches!(content, Content::Value { .. });
        let actor = self.origin.actor;
        let change = self.change(field);
        let lineage = |removed: &Removed| {
            let swept = || cell?.swept.get(&removed.dot).map(|mark| &mark.version);
            cell?.live.get(&removed.dot).or_else(swept).map(|version| version.lineage)
        };
        let under = change.removes.iter().filter(|removed| removed.seen).filter_map(lineage).max();
        let before = cell.and_then(|cell| cell.writes.get(&actor)).copied().unwrap_or(0);
        change.put = Some(Put {
            content,
            lineage: under.unwrap_or(0) + 1,
            nth: if is_value { before + 1 } else { 0 },
        });
    }

    /// Adds to a counter.
    pub(super) fn add(
        &mut self,
        field: &Field,
        cell: Option<&Cell>,
        by: i64,
    ) -> Result<(), Refusal> {
        let actor = self.origin.actor;
        let mut total = 0_i64;
        for (dot, version) in cell.iter().flat_map(|cell| &cell.live) {
            if let (true, Content::Total(known)) = (dot.actor == actor, &version.content) {
                total = total.checked_add(*known).ok_or(Refusal::Overflow)?;
                self.change(field).removes.push(Removed { dot: *dot, seen: true });
            }
        }
        let total = if planted::active(Bug::EventualTotalLost) { 0 } else { total };
        let total = total.checked_add(by).ok_or(Refusal::Overflow)?;
        self.put(field, cell, Content::Total(total));
        Ok(())
    }

    /// Adds an element, or says that something is there.
    pub(super) fn present(&mut self, field: &Field, cell: Option<&Cell>) {
        if let Some(cell) = cell {
            self.clear(field, cell, |_| true);
        }
        self.put(field, cell, Content::Present);
    }

    /// Whether something is put anywhere.
    pub(super) fn puts(&self) -> bool {
        self.changes.values().any(|change| change.put.is_some())
    }

    pub(super) fn fits(&self, what: &'static str, bytes: usize) -> Result<(), Refusal> {
        let limit = self.write.value_bytes_max;
        let fits = u64::try_from(bytes).is_ok_and(|bytes| bytes <= limit);
        if fits { Ok(()) } else { Err(Refusal::TooLarge { what, limit }) }
    }
}

fn register<V: Cells>(
    ty: DataType,
    view: &V,
    draft: &mut Draft<'_>,
) -> Result<(), LocalError<V::Error>> {
    let write = draft.write;
    let field = Field::default();
    let cell = view.cell(&write.key, &field).map_err(LocalError::View)?;
    let found = cell.as_ref().map(|cell| &cell.live);
    let value = match &write.ask {
        Ask::Put { value, content_type } => {
            draft.fits("value", value.len())?;
            Some(Content::Value { value: value.clone(), content_type: content_type.clone() })
        }
        Ask::Delete => None,
        _ => return Err(unsupported(ty, "put and delete whole values").into()),
    };
    let known = |dot: Dot| write.context.as_ref().is_none_or(|dots| dots.contains(&dot));
    if let Some(cell) = &cell {
        if ty.ranks() {
            let shown = cell.winner().map(|(dot, _)| dot);
            let origin = draft.origin;
            let late = |dot: Dot| {
                let is_named = write.context.as_ref().is_some_and(|dots| dots.contains(&dot));
                is_named && origin.witnessed.is_some_and(|witnessed| !witnessed.covers(dot))
            };
            draft.clear(&field, cell, |dot| (Some(dot) == shown && known(dot)) || late(dot));
            draft.clear_marks(&field, cell, late);
        } else if write.context.is_some() || value.is_none() {
            draft.clear(&field, cell, |_| true);
            draft.change(&field).removes.retain(|removed| known(removed.dot));
        }
    }
    if let Some(content) = value {
        let removed = draft.changes.get(&field).map_or(0, |change| change.removes.len());
        let beside = found.map_or(0, BTreeMap::len).saturating_sub(removed);
        if beside >= SIBLINGS_MAX && !ty.ranks() {
            return Err(Refusal::TooManySiblings { limit: SIBLINGS_MAX }.into());
        }
        draft.put(&field, cell.as_ref(), content);
    }
    Ok(())
}

fn counter<V: Cells>(view: &V, draft: &mut Draft<'_>) -> Result<(), LocalError<V::Error>> {
    let field = Field { path: Vec::new(), kind: FieldKind::Counter };
    let cell = view.cell(&draft.write.key, &field).map_err(LocalError::View)?;
    match (&draft.write.ask, &cell) {
        (Ask::Add(by), cell) => draft.add(&field, cell.as_ref(), *by)?,
        (Ask::Delete, Some(cell)) => draft.clear(&field, cell, |_| true),
        (Ask::Delete, None) => {}
        _ => return Err(unsupported(DataType::Counter, "add to it, or delete it").into()),
    }
    Ok(())
}

fn set<V: Cells>(view: &V, draft: &mut Draft<'_>) -> Result<(), LocalError<V::Error>> {
    let write = draft.write;
    match &write.ask {
        Ask::SetEdit { add, remove } => {
            if add.len() + remove.len() > OP_CELLS_MAX {
                return Err(Refusal::TooMany { limit: OP_CELLS_MAX }.into());
            }
            for name in remove {
                let field = element(&[], name)?;
                if let Some(cell) = view.cell(&write.key, &field).map_err(LocalError::View)? {
                    draft.clear(&field, &cell, |_| true);
                }
            }
            for name in add {
                let field = element(&[], name)?;
                let cell = view.cell(&write.key, &field).map_err(LocalError::View)?;
                draft.present(&field, cell.as_ref());
            }
        }
        Ask::Put { value, .. } => {
            draft.fits("value", value.len())?;
            let mut wanted = BTreeMap::new();
            for name in elements(value)? {
                wanted.insert(element(&[], &name)?, ());
            }
            for (field, cell) in view.cells_of(&write.key).map_err(LocalError::View)? {
                // What is there already stays as it is.
                if wanted.remove(&field).is_none() {
                    draft.clear(&field, &cell, |_| true);
                }
            }
            for field in wanted.keys() {
                draft.present(field, None);
            }
        }
        Ask::Delete => {
            for (field, cell) in view.cells_of(&write.key).map_err(LocalError::View)? {
                draft.clear(&field, &cell, |_| true);
            }
        }
        _ => return Err(unsupported(DataType::Set, "add and remove elements, or put all").into()),
    }
    Ok(())
}

pub(super) const fn unsupported(ty: DataType, instead: &'static str) -> Refusal {
    Refusal::Unsupported { ty: ty.name(), instead }
}

/// The field of an element of the set at a path.
pub(super) fn element(path: &[Bytes], name: &Bytes) -> Result<Field, Refusal> {
    let path: Vec<Bytes> = path.iter().chain([name]).cloned().collect();
    if std::str::from_utf8(name).is_err() {
        return Err(Refusal::Malformed { reason: "an element of a set is a text".to_owned() });
    }
    bounded(&path)?;
    Ok(Field { path, kind: FieldKind::Element })
}

/// Refuses a path that is too long for a row key.
pub(super) fn bounded(path: &[Bytes]) -> Result<(), Refusal> {
    let bytes: usize = path.iter().map(|name| name.len() + 1).sum();
    if bytes > FIELD_BYTES_MAX {
        return Err(Refusal::TooLarge { what: "path", limit: FIELD_BYTES_MAX as u64 });
    }
    if path.len() > JSON_DEPTH_MAX {
        return Err(Refusal::Malformed { reason: "a field is nested too deep".to_owned() });
    }
    Ok(())
}

/// The elements that a JSON array lists.
fn elements(text: &[u8]) -> Result<Vec<Bytes>, Refusal> {
    let malformed = |reason: String| Refusal::Malformed { reason };
    let listed = Json::parse(text).map_err(|error| malformed(format!("it is no JSON: {error}")))?;
    texts(&listed).ok_or_else(|| malformed("a set is a JSON array of texts".to_owned()))
}

/// The texts that an array consists of.
pub(super) fn texts(listed: &Json) -> Option<Vec<Bytes>> {
    let Json::Array(items) = listed else { return None };
    let text = |item: &Json| match item {
        Json::Text(text) => Some(Bytes::from(text.clone())),
        _ => None,
    };
    items.iter().map(text).collect()
}
