//! What the model's clients ask.
//!
//! Promises: every type, every kind of write, with fresh contexts, with old ones and without.

use bytes::Bytes;
use tetrarch::model::eventual::{Ask, DataType, Dot, FieldAsk, FieldEdit, Write};

/// The keys: of each type two, so that they meet often.
const KEYS: [&str; 10] = ["l1", "l2", "m1", "m2", "c1", "c2", "s1", "s2", "d1", "d2"];

/// The type of a key of the model.
pub fn type_of(key: &[u8]) -> DataType {
    match key.first() {
        Some(b'l') => DataType::Lww,
        Some(b'm') => DataType::Mv,
        Some(b'c') => DataType::Counter,
        Some(b's') => DataType::Set,
        _ => DataType::Map,
    }
}

fn text(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

/// Draws a write. `seen` are contexts that were shown somewhere before, the newest last.
pub fn draw(rng: &mut fastrand::Rng, number: u64, seen: &[(Bytes, Vec<Dot>)]) -> Write {
    let key = text(KEYS[rng.usize(..KEYS.len())]);
    let known: Vec<_> = seen.iter().filter(|(at, _)| *at == key).map(|(_, dots)| dots).collect();
    let context = match rng.u8(..4) {
        0 => known.last().map(|dots| (*dots).clone()),
        1 if !known.is_empty() => Some(known[rng.usize(..known.len())].clone()),
        _ => None,
    };
    let ask = match type_of(&key) {
        DataType::Lww | DataType::Mv => register(rng, number),
        DataType::Counter if rng.u8(..7) == 0 => Ask::Delete,
        DataType::Counter => Ask::Add(rng.i64(-3..6)),
        DataType::Set => set(rng),
        DataType::Map => document(rng, number),
    };
    Write { key, ask, context, once: None, value_bytes_max: 10_000 }
}

fn register(rng: &mut fastrand::Rng, number: u64) -> Ask {
    if rng.u8(..7) == 0 {
        return Ask::Delete;
    }
    Ask::Put { value: Bytes::from(number.to_string()), content_type: None }
}

fn element(rng: &mut fastrand::Rng) -> Bytes {
    text(["x", "y", "z"][rng.usize(..3)])
}

fn set(rng: &mut fastrand::Rng) -> Ask {
    match rng.u8(..10) {
        0 => Ask::Delete,
        1 => Ask::Put { value: text("[\"x\",\"w\"]"), content_type: None },
        2..=4 => Ask::SetEdit { add: Vec::new(), remove: vec![element(rng)] },
        5 => Ask::SetEdit { add: vec![element(rng)], remove: vec![element(rng)] },
        _ => Ask::SetEdit { add: vec![element(rng)], remove: Vec::new() },
    }
}

fn document(rng: &mut fastrand::Rng, number: u64) -> Ask {
    let name = ["a", "b"][rng.usize(..2)];
    match rng.u8(..12) {
        0 => Ask::Delete,
        1 => {
            Ask::Put { value: format!("{{\"a\":{number},\"o\":{{}}}}").into(), content_type: None }
        }
        2 => Ask::Merge(format!("{{\"{name}\":null}}").into()),
        3 => Ask::Merge(format!("{{\"o\":{{\"{name}\":{number}}}}}").into()),
        4 => Ask::Merge(format!("{{\"o\":{number}}}").into()),
        5..=7 => Ask::Merge(format!("{{\"{name}\":{number}}}").into()),
        8 => field("n", FieldEdit::Add(rng.i64(-2..5))),
        9 => {
            let (add, remove) = (vec![element(rng)], vec![element(rng)]);
            field("t", FieldEdit::SetEdit { add, remove })
        }
        10 => field(["n", "t", "o"][rng.usize(..3)], FieldEdit::Delete),
        _ => field(["n", "t", "a"][rng.usize(..3)], FieldEdit::Put(number.to_string().into())),
    }
}

fn field(name: &'static str, edit: FieldEdit) -> Ask {
    Ask::Fields(vec![FieldAsk { path: vec![text(name)], edit }])
}
