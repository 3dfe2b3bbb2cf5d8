//! What is shown of a key: the reading rule of each type.
//!
//! Why it exists: cells keep everything that nobody has removed; what a reader sees of it is the
//! type's choice. Promises: equal cells show the same everywhere.

use bytes::Bytes;

use super::ask::DataType;
use super::cell::{Cell, Content, Version};
use super::document::Tree;
use super::dot::{Dot, Hlc};
use super::op::{Field, FieldKind};
use crate::model::json::Json;

/// A key as a reader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// What is there.
    pub what: What,
    /// Of registers: the versions that are shown, for the next write's context.
    pub context: Vec<Dot>,
    /// Whether it is a document that was deleted while some of its fields were written.
    pub partial: bool,
    /// The latest version, shown or not.
    pub latest: Option<(Dot, Hlc)>,
}

/// What is at a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Nothing.
    Missing,
    /// One value.
    Value(Sibling),
    /// Several that nobody has merged yet, the latest first.
    Siblings(Vec<Sibling>),
    /// A counter, as decimal text.
    Text(String),
    /// A set or a document.
    Json(Bytes),
}

/// A value of a register.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sibling {
    /// Who wrote it.
    pub dot: Dot,
    /// When.
    pub hlc: Hlc,
    /// The value.
    pub value: Bytes,
    /// Its media type.
    pub content_type: Option<String>,
}

/// Shows a key of which these are all cells, in the order of fields.
pub fn read(ty: DataType, cells: &[(Field, Cell)]) -> Shown {
    let live = || cells.iter().flat_map(|(_, cell)| &cell.live);
    let latest = live().map(|(dot, version)| (*dot, version.hlc)).max_by_key(|(d, h)| (*h, *d));
    let mut shown = Shown { what: What::Missing, context: Vec::new(), partial: false, latest };
    match ty {
        DataType::Lww | DataType::Mv => {
            let cell = cells.iter().find(|(field, _)| *field == Field::default());
            let mut siblings = cell.map(|(_, cell)| siblings(cell)).unwrap_or_default();
            if ty == DataType::Lww {
                siblings.truncate(1);
            }
            shown.context = siblings.iter().map(|sibling| sibling.dot).collect();
            shown.what = match siblings.pop() {
                None => What::Missing,
                Some(only) if siblings.is_empty() => What::Value(only),
                Some(last) => {
                    siblings.push(last);
                    What::Siblings(siblings)
                }
            };
        }
        DataType::Counter => {
            if let Some(sum) = cells.iter().find_map(|(_, cell)| sum(cell)) {
                shown.what = What::Text(sum.to_string());
            }
        }
        DataType::Set => {
            let there = cells.iter().filter(|(_, cell)| !cell.live.is_empty());
            let names: Vec<Json> = there.filter_map(|(field, _)| name(field)).collect();
            if !names.is_empty() {
                let mut text = Vec::new();
                Json::Array(names).write(&mut text);
                shown.what = What::Json(text.into());
            }
        }
        DataType::Map => {
            let tree = Tree::of(cells.to_vec());
            if let Some(text) = tree.json() {
                shown.what = What::Json(text);
                shown.partial = !tree.is_whole();
            }
        }
    }
    shown
}

/// The values of a register, the latest first.
pub fn siblings(cell: &Cell) -> Vec<Sibling> {
    let sibling = |(dot, version): (&Dot, &Version)| match &version.content {
        Content::Value { value, content_type } => Some(Sibling {
            dot: *dot,
            hlc: version.hlc,
            value: value.clone(),
            content_type: content_type.clone(),
        }),
        Content::Total(_) | Content::Present | Content::Dropped => None,
    };
    let mut siblings: Vec<Sibling> = cell.live.iter().filter_map(sibling).collect();
    siblings.sort_by_key(|sibling| std::cmp::Reverse((sibling.hlc, sibling.dot)));
    siblings
}

/// The sum of a counter; `None` if it has no part.
pub(super) fn sum(cell: &Cell) -> Option<i128> {
    let total = |version: &Version| match version.content {
        Content::Total(total) => i128::from(total),
        Content::Value { .. } | Content::Present | Content::Dropped => 0,
    };
    (!cell.live.is_empty()).then(|| cell.live.values().map(total).sum())
}

/// The element that a field stands for, as JSON.
fn name(field: &Field) -> Option<Json> {
    let name = field.path.last().filter(|_| field.kind == FieldKind::Element)?;
    Some(Json::Text(String::from_utf8_lossy(name).into_owned()))
}
