//! Single nodes and pairs of replicas: what each type shows, what is lost, what merging does.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;

mod laws;

/// A replica without a log: what operations and merges make of one key.
#[derive(Clone, Debug, Default)]
struct Desk {
    node: u64,
    vector: Vector,
    cells: BTreeMap<Field, Cell>,
}

impl Cells for Desk {
    type Error = std::convert::Infallible;

    fn cell(&self, _key: &[u8], field: &Field) -> Result<Option<Cell>, Self::Error> {
        Ok(self.cells.get(field).cloned())
    }

    fn cells_of(&self, _key: &[u8]) -> Result<Vec<(Field, Cell)>, Self::Error> {
        Ok(self.all())
    }
}

impl Desk {
    fn new(node: u64) -> Self {
        Self { node, ..Self::default() }
    }

    fn all(&self) -> Vec<(Field, Cell)> {
        self.cells.iter().map(|(field, cell)| (field.clone(), cell.clone())).collect()
    }

    fn set(&mut self, field: Field, cell: Option<Cell>) {
        match cell {
            Some(cell) => drop(self.cells.insert(field, cell)),
            None => drop(self.cells.remove(&field)),
        }
    }

    fn ask(&mut self, ty: DataType, ask: Ask) -> Result<Op, Refusal> {
        self.ask_with(ty, ask, None)
    }

    fn ask_with(
        &mut self,
        ty: DataType,
        ask: Ask,
        context: Option<Vec<Dot>>,
    ) -> Result<Op, Refusal> {
        let write = Write { key: Bytes::new(), ask, context, once: None, value_bytes_max: 1000 };
        let actor = Actor { node: self.node, home: 1, run: 1 };
        let origin = Origin { actor, vector: &self.vector, witnessed: None };
        let act = local(ty, self, origin, &write).map_err(|error| match error {
            LocalError::Refused(refusal) => refusal,
            LocalError::View(never) => match never {},
        })?;
        let counter = self.vector.of(actor) + 1;
        let op = Op { dot: Dot { actor, counter }, hlc: Hlc(counter * 10 + self.node), act };
        self.take(&op);
        Ok(op)
    }

    fn take(&mut self, op: &Op) {
        self.vector.advance(op.dot);
        let Act::Write { changes, .. } = &op.act else { return };
        for change in changes {
            let cell = self.cells.get(&change.field).cloned();
            self.set(change.field.clone(), apply(cell, op.dot, op.hlc, change));
        }
    }

    fn merge(&mut self, other: &Self) {
        let mut fields: Vec<Field> = self.cells.keys().chain(other.cells.keys()).cloned().collect();
        fields.dedup();
        for field in fields {
            let (mine, theirs) =
                (self.cells.get(&field).cloned(), other.cells.get(&field).cloned());
            let merged = merge_cell(mine, &self.vector, theirs, &other.vector);
            self.set(field, merged);
        }
        self.vector.join(&other.vector);
    }

    fn shown(&self, ty: DataType) -> String {
        match read(ty, &self.all()).what {
            What::Missing => "nothing".to_owned(),
            What::Value(one) => String::from_utf8_lossy(&one.value).into_owned(),
            What::Siblings(all) => {
                let texts = all.iter().map(|one| String::from_utf8_lossy(&one.value).into_owned());
                texts.collect::<Vec<_>>().join("|")
            }
            What::Text(text) => text,
            What::Json(text) => String::from_utf8_lossy(&text).into_owned(),
        }
    }
}

fn put(value: &'static str) -> Ask {
    Ask::Put { value: Bytes::from_static(value.as_bytes()), content_type: None }
}

fn patch(text: &'static str) -> Ask {
    Ask::Merge(Bytes::from_static(text.as_bytes()))
}

#[test]
fn of_concurrent_writes_the_later_is_shown_and_the_other_is_named_once_swept() {
    let (mut a, mut b) = (Desk::new(1), Desk::new(2));
    let first = a.ask(DataType::Lww, put("a")).unwrap();
    let second = b.ask(DataType::Lww, put("b")).unwrap();
    a.take(&second);
    assert_eq!(a.shown(DataType::Lww), "b");
    let cell = a.cells[&Field::default()].clone();
    assert_eq!(cell.without_effect(), 1);
    let place = (FieldKind::Register, true);
    let outranked = fate(first.dot, place, Some(&cell), None, &a.vector);
    assert_eq!(outranked, (Fate::Lost { by: second.dot }, false));
    let third = a.ask(DataType::Lww, put("c")).unwrap();
    let cell = &a.cells[&Field::default()];
    assert_eq!(cell.swept[&first.dot].by, third.dot);
    let is = |dot| fate(dot, place, Some(cell), None, &a.vector).0;
    assert_eq!(is(second.dot), Fate::Superseded);
    assert_eq!(is(third.dot), Fate::Current);
    assert_eq!(is(Dot { counter: 9, ..second.dot }), Fate::Unknown);
    assert_eq!(cell.live[&third.dot].lineage, 2);
}

#[test]
fn a_write_with_an_old_context_has_not_seen_what_is_shown_now() {
    let mut a = Desk::new(1);
    let first = a.ask(DataType::Lww, put("1")).unwrap();
    let second = a.ask(DataType::Lww, put("2")).unwrap();
    let third = a.ask_with(DataType::Lww, put("3"), Some(vec![first.dot])).unwrap();
    let cell = &a.cells[&Field::default()];
    assert_eq!(cell.swept[&second.dot].by, third.dot);
}

#[test]
fn siblings_stay_until_a_write_brings_their_context() {
    let mut a = Desk::new(1);
    let first = a.ask(DataType::Mv, put("1")).unwrap();
    a.ask(DataType::Mv, put("2")).unwrap();
    assert_eq!(a.shown(DataType::Mv), "2|1");
    a.ask_with(DataType::Mv, put("3"), Some(vec![first.dot])).unwrap();
    assert_eq!(a.shown(DataType::Mv), "3|2");
    let context = read(DataType::Mv, &a.all()).context;
    a.ask_with(DataType::Mv, put("4"), Some(context)).unwrap();
    assert_eq!(a.shown(DataType::Mv), "4");
    a.ask(DataType::Mv, Ask::Delete).unwrap();
    assert_eq!(a.shown(DataType::Mv), "nothing");
}

#[test]
fn siblings_without_end_are_refused() {
    let mut a = Desk::new(1);
    for _ in 0..crate::runtime::limits::SIBLINGS_MAX {
        a.ask(DataType::Mv, put("x")).unwrap();
    }
    assert_eq!(a.ask(DataType::Mv, put("x")).unwrap_err().code(), "too_many_siblings");
    let context = read(DataType::Mv, &a.all()).context;
    assert!(a.ask_with(DataType::Mv, put("x"), Some(context)).is_ok());
}

#[test]
fn counters_add_up_and_refuse_what_does_not_fit() {
    let (mut a, mut b) = (Desk::new(1), Desk::new(2));
    a.ask(DataType::Counter, Ask::Add(5)).unwrap();
    b.ask(DataType::Counter, Ask::Add(i64::MAX)).unwrap();
    a.ask(DataType::Counter, Ask::Add(-7)).unwrap();
    a.merge(&b);
    b.merge(&a);
    let sum = (i128::from(i64::MAX) - 2).to_string();
    assert_eq!((a.shown(DataType::Counter), b.shown(DataType::Counter)), (sum.clone(), sum));
    assert_eq!(b.ask(DataType::Counter, Ask::Add(1)), Err(Refusal::Overflow));
    assert_eq!(a.ask(DataType::Counter, put("3")).unwrap_err().code(), "mode_unsupported");
    a.ask(DataType::Counter, Ask::Delete).unwrap();
    assert_eq!(a.shown(DataType::Counter), "nothing");
}

#[test]
fn adding_an_element_wins_over_removing_it_at_once() {
    let (mut a, mut b) = (Desk::new(1), Desk::new(2));
    a.ask(DataType::Set, put("[\"x\",\"y\"]")).unwrap();
    b.merge(&a);
    let x = || vec![Bytes::from_static(b"x")];
    a.ask(DataType::Set, Ask::SetEdit { add: Vec::new(), remove: x() }).unwrap();
    b.ask(DataType::Set, Ask::SetEdit { add: x(), remove: Vec::new() }).unwrap();
    a.merge(&b);
    b.merge(&a);
    assert_eq!(
        (a.shown(DataType::Set), b.shown(DataType::Set)),
        ("[\"x\",\"y\"]".into(), "[\"x\",\"y\"]".into())
    );
    a.ask(DataType::Set, put("[\"z\"]")).unwrap();
    assert_eq!(a.shown(DataType::Set), "[\"z\"]");
    for wrong in [put("{}"), put("[1]"), put("x")] {
        assert_eq!(a.ask(DataType::Set, wrong).unwrap_err().code(), "patch_invalid");
    }
}

#[test]
fn two_writers_of_different_fields_do_not_conflict() {
    let (mut a, mut b) = (Desk::new(1), Desk::new(2));
    a.ask(DataType::Map, put("{\"n\":1.50,\"o\":{},\"l\":[1,{\"x\":null}]}")).unwrap();
    b.merge(&a);
    a.ask(DataType::Map, patch("{\"o\":{\"a\":true}}")).unwrap();
    b.ask(DataType::Map, patch("{\"o\":{\"b\":\"t\"},\"l\":null}")).unwrap();
    a.merge(&b);
    b.merge(&a);
    assert_eq!(a.shown(DataType::Map), "{\"n\":1.50,\"o\":{\"a\":true,\"b\":\"t\"}}");
    assert_eq!(a.cells, b.cells);
    a.ask(DataType::Map, put("{\"only\":0}")).unwrap();
    assert_eq!(a.shown(DataType::Map), "{\"only\":0}");
}

#[test]
fn a_field_written_beside_a_deletion_survives_and_is_called_partial() {
    let (mut a, mut b) = (Desk::new(1), Desk::new(2));
    a.ask(DataType::Map, put("{\"x\":1,\"y\":2}")).unwrap();
    b.merge(&a);
    a.ask(DataType::Map, Ask::Delete).unwrap();
    assert_eq!(a.shown(DataType::Map), "nothing");
    b.ask(DataType::Map, patch("{\"y\":3}")).unwrap();
    a.merge(&b);
    let shown = read(DataType::Map, &a.all());
    assert_eq!((shown.what, shown.partial), (What::Json(Bytes::from_static(b"{\"y\":3}")), true));
    a.ask(DataType::Map, put("{}")).unwrap();
    let shown = read(DataType::Map, &a.all());
    assert_eq!((shown.what, shown.partial), (What::Json(Bytes::from_static(b"{}")), false));
}

#[test]
fn fields_may_be_counters_and_sets_and_keep_their_kind() {
    let mut a = Desk::new(1);
    let ask = |text: &str| Ask::parse(text.as_bytes()).unwrap();
    a.ask(DataType::Map, ask("{\"fields\":{\"a.n\":{\"add\":2},\"t\":{\"set_add\":[\"x\"]}}}"))
        .unwrap();
    a.ask(DataType::Map, ask("{\"fields\":{\"a.n\":{\"add\":3},\"t\":{\"set_add\":[\"w\"]}}}"))
        .unwrap();
    assert_eq!(a.shown(DataType::Map), "{\"a\":{\"n\":5},\"t\":[\"w\",\"x\"]}");
    for wrong in ["{\"t\":{\"add\":1}}", "{\"a\":{\"add\":1}}", "{\"t.x\":{\"put\":1}}"] {
        let text = format!("{{\"fields\":{wrong}}}");
        assert_eq!(
            a.ask(DataType::Map, ask(&text)).unwrap_err().code(),
            "patch_conflict",
            "{wrong}"
        );
    }
    let twice = ask("{\"fields\":{\"a\":{\"put\":1},\"a.n\":{\"add\":1}}}");
    assert_eq!(a.ask(DataType::Map, twice).unwrap_err().code(), "patch_invalid");
    a.ask(DataType::Map, ask("{\"fields\":{\"a\":{\"put\":7},\"t\":{\"delete\":true}}}")).unwrap();
    assert_eq!(a.shown(DataType::Map), "{\"a\":7}");
}

#[test]
fn what_is_too_large_or_too_much_is_refused() {
    let mut a = Desk::new(1);
    let long = Bytes::from(vec![b'x'; 1001]);
    let value = Ask::Put { value: long.clone(), content_type: None };
    assert_eq!(a.ask(DataType::Lww, value).unwrap_err().code(), "value_too_large");
    let element = Bytes::from(vec![b'x'; 2000]);
    let edit = Ask::SetEdit { add: vec![element], remove: Vec::new() };
    assert_eq!(a.ask(DataType::Set, edit).unwrap_err().code(), "value_too_large");
    let many = Ask::SetEdit { add: vec![Bytes::new(); 20_000], remove: Vec::new() };
    assert_eq!(a.ask(DataType::Set, many).unwrap_err().code(), "too_many_fields");
}
