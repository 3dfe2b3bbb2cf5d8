//! JSON documents as cells: one for each leaf, so that writers of different fields never conflict.
//!
//! Why it exists: a document that is one value loses a whole concurrent write; one that is flattened
//! loses at most a field that two wrote at once, by name. Every object has an `Exists` cell, so that
//! it may be empty and so that a deletion beside a concurrent write to a field can be told. An array
//! is one register.
//!
//! Where concurrent writes made one path several things, what is read is, in this order, the object,
//! the set, the counter, the register; the others stay until the field is written or removed.
//!
//! Promises: what is read back is what was written, members in the order of names. Relies on `local`
//! for what may be removed.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::ask::{Ask, DataType, FieldAsk, FieldEdit, Refusal};
use super::cell::{Cell, Content};
use super::local::{Draft, bounded, element, unsupported};
use super::op::{Field, FieldKind};
use super::read::sum;
use crate::model::json::Json;
use crate::runtime::limits::OP_CELLS_MAX;

/// The cells of a document by their place; also each object within it.
#[derive(Debug, Default)]
pub(super) struct Tree {
    exists: Option<Cell>,
    register: Option<Cell>,
    counter: Option<Cell>,
    elements: BTreeMap<Bytes, Cell>,
    children: BTreeMap<Bytes, Self>,
}

/// What a place is read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Missing,
    Object,
    Set,
    Counter,
    Register,
}

impl Shape {
    const fn name(self) -> &'static str {
        match self {
            Self::Missing => "nothing",
            Self::Object => "an object",
            Self::Set => "a set",
            Self::Counter => "a counter",
            Self::Register => "a value",
        }
    }
}

impl Tree {
    /// The document that these cells are.
    pub(super) fn of(cells: Vec<(Field, Cell)>) -> Self {
        let mut root = Self::default();
        for (mut field, cell) in cells {
            let own = if field.kind == FieldKind::Element { field.path.pop() } else { None };
            let mut at = &mut root;
            for name in field.path {
                at = at.children.entry(name).or_default();
            }
            match (field.kind, own) {
                (FieldKind::Exists, _) => at.exists = Some(cell),
                (FieldKind::Register, _) => at.register = Some(cell),
                (FieldKind::Counter, _) => at.counter = Some(cell),
                (FieldKind::Element, own) => {
                    at.elements.insert(own.unwrap_or_default(), cell);
                }
            }
        }
        root
    }

    /// Whether it was not deleted beside a write to one of its fields.
    pub(super) fn is_whole(&self) -> bool {
        is_live(self.exists.as_ref())
    }

    /// The document as it is read, if there is one.
    pub(super) fn json(&self) -> Option<Bytes> {
        let mut out = Vec::new();
        self.write(&mut out).then(|| out.into())
    }

    fn shape(&self) -> Shape {
        let is_object = is_live(self.exists.as_ref())
            || self.children.values().any(|child| child.shape() != Shape::Missing);
        if is_object {
            Shape::Object
        } else if self.elements.values().any(|cell| is_live(Some(cell))) {
            Shape::Set
        } else if is_live(self.counter.as_ref()) {
            Shape::Counter
        } else if is_live(self.register.as_ref()) {
            Shape::Register
        } else {
            Shape::Missing
        }
    }

    /// Writes what is read here; says whether that is anything.
    fn write(&self, out: &mut Vec<u8>) -> bool {
        let start = out.len();
        let mut is_object = is_live(self.exists.as_ref());
        out.push(b'{');
        for (name, child) in &self.children {
            let before = out.len();
            if before > start + 1 {
                out.push(b',');
            }
            text(name).write(out);
            out.push(b':');
            if child.write(out) {
                is_object = true;
            } else {
                out.truncate(before);
            }
        }
        if is_object {
            out.push(b'}');
            return true;
        }
        out.truncate(start);
        let names = self.elements.iter().filter(|(_, cell)| is_live(Some(cell)));
        let names: Vec<Json> = names.map(|(name, _)| text(name)).collect();
        if !names.is_empty() {
            Json::Array(names).write(out);
        } else if let Some(sum) = self.counter.as_ref().and_then(sum) {
            out.extend_from_slice(sum.to_string().as_bytes());
        } else if let Some(value) = self.register.as_ref().and_then(value) {
            out.extend_from_slice(value);
        }
        out.len() > start
    }

    fn at(&self, path: &[Bytes]) -> Option<&Self> {
        path.iter().try_fold(self, |at, name| at.children.get(name))
    }

    /// About how many bytes are read here.
    fn bytes(&self) -> usize {
        let value = self.register.as_ref().and_then(value).map_or(0, |value| value.len());
        let elements: usize = self.elements.keys().map(|name| name.len() + 3).sum();
        let children = self.children.iter().map(|(name, child)| name.len() + 4 + child.bytes());
        value + elements + children.sum::<usize>()
    }

    /// Removes everything here.
    fn clear(&self, path: &[Bytes], draft: &mut Draft<'_>) {
        let cells = [
            (FieldKind::Exists, &self.exists),
            (FieldKind::Register, &self.register),
            (FieldKind::Counter, &self.counter),
        ];
        let is_shown = self.shape() == Shape::Register;
        for (kind, cell) in cells {
            let Some(cell) = cell else { continue };
            let winner = cell.winner().map(|(dot, _)| dot);
            let is_value = kind == FieldKind::Register;
            draft.clear(&field(path, kind), cell, |dot| {
                !is_value || (is_shown && winner == Some(dot))
            });
        }
        for (name, cell) in &self.elements {
            let mut element = field(path, FieldKind::Element);
            element.path.push(name.clone());
            draft.clear(&element, cell, |_| true);
        }
        for (name, child) in &self.children {
            child.clear(&within(path, name), draft);
        }
    }
}

/// Drafts what was asked of the document that these cells are.
pub(super) fn change(cells: Vec<(Field, Cell)>, draft: &mut Draft<'_>) -> Result<(), Refusal> {
    let tree = Tree::of(cells);
    let write = draft.write;
    let added = match &write.ask {
        Ask::Put { value, .. } => {
            let document = object(value, draft)?;
            tree.clear(&[], draft);
            put(&mut Vec::new(), Some(&tree), &Json::Object(document), draft)?;
            return Ok(());
        }
        Ask::Delete => {
            tree.clear(&[], draft);
            return Ok(());
        }
        Ask::Merge(patch) => {
            let patch_members = object(patch, draft)?;
            merge(&mut Vec::new(), Some(&tree), &patch_members, draft)?;
            patch.len()
        }
        Ask::Fields(fields) => {
            one_each(fields)?;
            let mut bytes = 0;
            for ask in fields {
                bytes += edit(&tree, ask, draft)?;
            }
            bytes
        }
        Ask::Add(_) | Ask::SetEdit { .. } => {
            return Err(unsupported(DataType::Map, "put an object, or patch its fields"));
        }
    };
    // A patch that only removes is always welcome.
    if draft.puts() { draft.fits("document", tree.bytes() + added) } else { Ok(()) }
}

/// Drafts a value where everything has been removed.
fn put(
    path: &mut Vec<Bytes>,
    here: Option<&Tree>,
    value: &Json,
    draft: &mut Draft<'_>,
) -> Result<(), Refusal> {
    bounded(path)?;
    if let Json::Object(members) = value {
        let cell = here.and_then(|tree| tree.exists.as_ref());
        draft.present(&field(path, FieldKind::Exists), cell);
        for (name, value) in members {
            path.push(Bytes::from(name.clone()));
            put(path, here.and_then(|tree| tree.children.get(name.as_bytes())), value, draft)?;
            path.pop();
        }
    } else {
        let cell = here.and_then(|tree| tree.register.as_ref());
        let mut text = Vec::with_capacity(value.bytes());
        value.write(&mut text);
        let content = Content::Value { value: text.into(), content_type: None };
        draft.put(&field(path, FieldKind::Register), cell, content);
    }
    Ok(())
}

/// RFC 7396.
fn merge(
    path: &mut Vec<Bytes>,
    here: Option<&Tree>,
    members: &[(String, Json)],
    draft: &mut Draft<'_>,
) -> Result<(), Refusal> {
    bounded(path)?;
    if here.is_none_or(|tree| tree.shape() != Shape::Object) {
        clear(path, here, draft);
        let cell = here.and_then(|tree| tree.exists.as_ref());
        draft.present(&field(path, FieldKind::Exists), cell);
    }
    for (name, value) in members {
        let child = here.and_then(|tree| tree.children.get(name.as_bytes()));
        path.push(Bytes::from(name.clone()));
        match value {
            Json::Null => clear(path, child, draft),
            Json::Object(members) => merge(path, child, members, draft)?,
            value => {
                clear(path, child, draft);
                put(path, child, value, draft)?;
            }
        }
        path.pop();
    }
    Ok(())
}

fn clear(path: &[Bytes], here: Option<&Tree>, draft: &mut Draft<'_>) {
    if let Some(tree) = here {
        tree.clear(path, draft);
    }
}

/// Drafts a change of one field; says how many bytes it may add.
fn edit(tree: &Tree, ask: &FieldAsk, draft: &mut Draft<'_>) -> Result<usize, Refusal> {
    bounded(&ask.path)?;
    let here = tree.at(&ask.path);
    if ask.edit == FieldEdit::Delete {
        clear(&ask.path, here, draft);
        return Ok(0);
    }
    for (depth, _) in ask.path.iter().enumerate() {
        let around = ask.path.get(..depth).unwrap_or_default();
        let parent = tree.at(around);
        expect(Shape::Object, around, parent)?;
        if parent.is_none_or(|parent| parent.shape() == Shape::Missing) {
            let cell = parent.and_then(|parent| parent.exists.as_ref());
            draft.present(&field(around, FieldKind::Exists), cell);
        }
    }
    match &ask.edit {
        FieldEdit::Put(value) => {
            let json = parsed(value, draft)?;
            clear(&ask.path, here, draft);
            put(&mut ask.path.clone(), here, &json, draft)?;
            Ok(value.len())
        }
        FieldEdit::Add(by) => {
            expect(Shape::Counter, &ask.path, here)?;
            let cell = here.and_then(|tree| tree.counter.as_ref());
            draft.add(&field(&ask.path, FieldKind::Counter), cell, *by)?;
            Ok(0)
        }
        FieldEdit::SetEdit { add, remove } => {
            expect(Shape::Set, &ask.path, here)?;
            if add.len() + remove.len() > OP_CELLS_MAX {
                return Err(Refusal::TooMany { limit: OP_CELLS_MAX });
            }
            let known = |name: &Bytes| here.and_then(|tree| tree.elements.get(name));
            for name in remove {
                if let Some(cell) = known(name) {
                    draft.clear(&element(&ask.path, name)?, cell, |_| true);
                }
            }
            for name in add {
                draft.present(&element(&ask.path, name)?, known(name));
            }
            Ok(add.iter().map(|name| name.len() + 3).sum())
        }
        FieldEdit::Delete => Ok(0),
    }
}

/// Refuses a field that is read as something else.
fn expect(shape: Shape, path: &[Bytes], here: Option<&Tree>) -> Result<(), Refusal> {
    let found = here.map_or(Shape::Missing, Tree::shape);
    if found == shape || found == Shape::Missing {
        return Ok(());
    }
    let names: Vec<_> = path.iter().map(|name| String::from_utf8_lossy(name)).collect();
    Err(Refusal::Holds { path: format!("/{}", names.join("/")), holds: found.name() })
}

/// Refuses a field that is named twice, or with another one that it is in.
fn one_each(fields: &[FieldAsk]) -> Result<(), Refusal> {
    let malformed = |reason: &str| Refusal::Malformed { reason: reason.to_owned() };
    let paths: BTreeSet<&[Bytes]> = fields.iter().map(|ask| ask.path.as_slice()).collect();
    // In this order a path stands right before those that begin with it.
    let nested = paths.iter().zip(paths.iter().skip(1)).any(|(a, b)| b.starts_with(a));
    if nested || paths.len() < fields.len() {
        return Err(malformed("a field is named twice, or together with one that it is in"));
    }
    if paths.contains(&[][..]) {
        return Err(malformed("a field has a name"));
    }
    for path in paths {
        if path.iter().any(|name| std::str::from_utf8(name).is_err()) {
            return Err(malformed("the name of a field is a text"));
        }
    }
    Ok(())
}

fn parsed(text: &Bytes, draft: &Draft<'_>) -> Result<Json, Refusal> {
    draft.fits("value", text.len())?;
    Json::parse(text)
        .map_err(|error| Refusal::Malformed { reason: format!("it is no JSON: {error}") })
}

fn object(text: &Bytes, draft: &Draft<'_>) -> Result<Vec<(String, Json)>, Refusal> {
    match parsed(text, draft)? {
        Json::Object(members) => Ok(members),
        _ => Err(Refusal::Malformed { reason: "a document is a JSON object".to_owned() }),
    }
}

fn field(path: &[Bytes], kind: FieldKind) -> Field {
    Field { path: path.to_vec(), kind }
}

fn within(path: &[Bytes], name: &Bytes) -> Vec<Bytes> {
    path.iter().chain([name]).cloned().collect()
}

fn text(name: &Bytes) -> Json {
    Json::Text(String::from_utf8_lossy(name).into_owned())
}

fn is_live(cell: Option<&Cell>) -> bool {
    cell.is_some_and(|cell| !cell.live.is_empty())
}

fn value(cell: &Cell) -> Option<&Bytes> {
    match &cell.winner()?.1.content {
        Content::Value { value, .. } => Some(value),
        Content::Total(_) | Content::Present | Content::Dropped => None,
    }
}
