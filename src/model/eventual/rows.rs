//! How the rows of an eventual shard are keyed: a kind byte, then what orders rows of that kind.
//!
//! Why it exists: everything a shard knows stands in one ordered map, so that one checkpoint carries it
//! whole, and the cells of one key stand together, in the order of keys, which is what scans read. In
//! row keys a name is written with each zero byte as `00 FF`, so that it can end in `00 01` and names
//! keep their order.
//!
//! | kind | row | key behind the kind |
//! |---|---|---|
//! | `0x01` | the head: vector, beats, totals | |
//! | `0x10` | cell | key `00 01`, each name of the path `00 01`, `00 00`, kind of the field |
//! | `0x20` | lost write, in the order of time | stamp 8, dot 24, field as above |
//! | `0x28` | lost write, by where it stood | key and field as in a cell's, dot 24 |
//! | `0x30` | what was asked once | hash of the client's once key 8 |
//!
//! Promises: row keys stand in the order of what they are made of, and read back as that. Kinds are
//! never reused; all are below `0xF0`.

use std::ops::Range;

use bytes::Bytes;

use super::dot::{Actor, Dot, Hlc};
use super::op::{Field, FieldKind};

/// The row of the [`Head`](super::Head).
pub const HEAD_KEY: &[u8] = &[0x01];
/// Kind byte of cells.
pub const CELL: u8 = 0x10;
/// Kind byte of lost writes in the order of time.
pub const LOST: u8 = 0x20;
/// Kind byte of lost writes by where they stood.
pub const LOST_AT: u8 = 0x28;
/// Kind byte of what was asked once.
pub const ONCE: u8 = 0x30;

const NAME_END: [u8; 2] = [0, 1];
const PATH_END: [u8; 2] = [0, 0];
/// Bytes of a dot in a row key.
const DOT_BYTES: usize = 24;

fn push_escaped(row_key: &mut Vec<u8>, name: &[u8]) {
    for &byte in name {
        row_key.push(byte);
        if byte == 0 {
            row_key.push(0xFF);
        }
    }
}

fn push_key(row_key: &mut Vec<u8>, key: &[u8]) {
    push_escaped(row_key, key);
    row_key.extend_from_slice(&NAME_END);
}

fn push_field(row_key: &mut Vec<u8>, field: &Field) {
    for name in &field.path {
        push_key(row_key, name);
    }
    row_key.extend_from_slice(&PATH_END);
    row_key.push(kind_byte(field.kind));
}

fn push_dot(row_key: &mut Vec<u8>, dot: Dot) {
    row_key.extend_from_slice(&dot.actor.node.to_be_bytes());
    row_key.extend_from_slice(&dot.actor.home.to_be_bytes());
    row_key.extend_from_slice(&dot.actor.run.to_be_bytes());
    row_key.extend_from_slice(&dot.counter.to_be_bytes());
}

const fn kind_byte(kind: FieldKind) -> u8 {
    match kind {
        FieldKind::Exists => 0,
        FieldKind::Register => 1,
        FieldKind::Counter => 2,
        FieldKind::Element => 3,
    }
}

fn kind_of(byte: u8) -> Option<FieldKind> {
    match byte {
        0 => Some(FieldKind::Exists),
        1 => Some(FieldKind::Register),
        2 => Some(FieldKind::Counter),
        3 => Some(FieldKind::Element),
        _ => None,
    }
}

/// Row key of a cell.
pub fn cell_key(key: &[u8], field: &Field) -> Bytes {
    let names: usize = field.path.iter().map(|name| name.len() + 2).sum();
    let mut row_key = Vec::with_capacity(1 + key.len() + 2 + names + 3);
    row_key.push(CELL);
    push_key(&mut row_key, key);
    push_field(&mut row_key, field);
    row_key.into()
}

/// The key and field of a cell's row; `None` for a row of another kind.
pub fn split_cell_key(row_key: &[u8]) -> Option<(Bytes, Field)> {
    let mut rest = row_key.strip_prefix(&[CELL])?;
    let key = take_name(&mut rest)?;
    let field = take_field(&mut rest)?;
    rest.is_empty().then_some((key, field))
}

/// The rows `[from, to)` of all cells of one key.
pub fn key_cells(key: &[u8]) -> Range<Bytes> {
    key_rows(CELL, key)
}

/// The rows of all cells.
pub fn all_cells() -> Range<Bytes> {
    Bytes::from_static(&[CELL])..Bytes::from_static(&[CELL + 1])
}

/// Where the cells of this key begin, and behind those of all lower keys. As the end of a range it
/// leaves the key out.
pub fn cells_from(key: &[u8]) -> Bytes {
    let mut row_key = Vec::with_capacity(1 + key.len());
    row_key.push(CELL);
    push_escaped(&mut row_key, key);
    row_key.into()
}

/// The rows of all cells of all keys that begin so.
pub fn prefix_cells(prefix: &[u8]) -> Range<Bytes> {
    let from = cells_from(prefix);
    let to = successor(&from);
    from..to
}

/// Row key of a lost write in the order of time.
pub fn lost_key(hlc: Hlc, dot: Dot, field: &Field) -> Bytes {
    let mut row_key = vec![LOST];
    row_key.extend_from_slice(&hlc.0.to_be_bytes());
    push_dot(&mut row_key, dot);
    push_field(&mut row_key, field);
    row_key.into()
}

/// The rows of all lost writes in the order of time.
pub fn all_lost() -> Range<Bytes> {
    Bytes::from_static(&[LOST])..Bytes::from_static(&[LOST + 1])
}

/// Row key of a lost write by where it stood.
pub fn lost_at_key(key: &[u8], field: &Field, dot: Dot) -> Bytes {
    let mut row_key = lost_at(key, field);
    push_dot(&mut row_key, dot);
    row_key.into()
}

/// Key, field and dot of such a row; `None` for a row of another kind.
pub fn split_lost_at_key(row_key: &[u8]) -> Option<(Bytes, Field, Dot)> {
    let mut rest = row_key.strip_prefix(&[LOST_AT])?;
    let key = take_name(&mut rest)?;
    let field = take_field(&mut rest)?;
    let dot = take_dot(&mut rest)?;
    rest.is_empty().then_some((key, field, dot))
}

/// The rows by place of all lost writes of one key.
pub fn key_lost(key: &[u8]) -> Range<Bytes> {
    key_rows(LOST_AT, key)
}

/// The rows by place of all lost writes of all keys that begin so.
pub fn prefix_lost(prefix: &[u8]) -> Range<Bytes> {
    let mut from = vec![LOST_AT];
    push_escaped(&mut from, prefix);
    let to = successor(&from);
    from.into()..to
}

/// Row key of what was asked once.
pub fn once_key(hash: u64) -> Bytes {
    let mut row_key = vec![ONCE];
    row_key.extend_from_slice(&hash.to_be_bytes());
    row_key.into()
}

fn lost_at(key: &[u8], field: &Field) -> Vec<u8> {
    let mut row_key = vec![LOST_AT];
    push_key(&mut row_key, key);
    push_field(&mut row_key, field);
    row_key
}

fn key_rows(kind: u8, key: &[u8]) -> Range<Bytes> {
    let mut from = vec![kind];
    push_key(&mut from, key);
    let to = successor(&from);
    from.into()..to
}

/// The first row key behind all that begin so. The kind byte is below `0xFF`, so there is one.
fn successor(prefix: &[u8]) -> Bytes {
    let mut next = prefix.to_vec();
    while next.last() == Some(&0xFF) {
        next.pop();
    }
    if let Some(last) = next.last_mut() {
        *last += 1;
    }
    next.into()
}

fn take_name(rest: &mut &[u8]) -> Option<Bytes> {
    let mut name = Vec::new();
    loop {
        match **rest {
            [0, 1, ..] => {
                *rest = rest.get(2..)?;
                return Some(name.into());
            }
            [0, 0xFF, ..] => {
                name.push(0);
                *rest = rest.get(2..)?;
            }
            [0, ..] | [] => return None,
            [byte, ..] => {
                name.push(byte);
                *rest = rest.get(1..)?;
            }
        }
    }
}

fn take_field(rest: &mut &[u8]) -> Option<Field> {
    let mut path = Vec::new();
    while !rest.starts_with(&PATH_END) {
        path.push(take_name(rest)?);
    }
    let kind = kind_of(*rest.get(2)?)?;
    *rest = rest.get(3..)?;
    Some(Field { path, kind })
}

fn take_u64(rest: &mut &[u8]) -> Option<u64> {
    let (number, more) = rest.split_first_chunk::<8>()?;
    *rest = more;
    Some(u64::from_be_bytes(*number))
}

fn take_u32(rest: &mut &[u8]) -> Option<u32> {
    let (number, more) = rest.split_first_chunk::<4>()?;
    *rest = more;
    Some(u32::from_be_bytes(*number))
}

fn take_dot(rest: &mut &[u8]) -> Option<Dot> {
    if rest.len() < DOT_BYTES {
        return None;
    }
    let actor = Actor { node: take_u64(rest)?, home: take_u32(rest)?, run: take_u32(rest)? };
    Some(Dot { actor, counter: take_u64(rest)? })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(prop_oneof![Just(0), Just(1), Just(0xFF), any::<u8>()], 0..4)
    }

    fn fields() -> impl Strategy<Value = Field> {
        (proptest::collection::vec(names(), 0..3), 0u8..4).prop_map(|(path, kind)| Field {
            path: path.into_iter().map(Bytes::from).collect(),
            kind: kind_of(kind).unwrap(),
        })
    }

    fn dots() -> impl Strategy<Value = Dot> {
        any::<(u64, u32, u32, u64)>().prop_map(|(node, home, run, counter)| Dot {
            actor: Actor { node, home, run },
            counter,
        })
    }

    proptest! {
        #[test]
        fn row_keys_read_back_as_what_they_were_made_of(
            key in names(), field in fields(), dot in dots(),
        ) {
            let key = Bytes::from(key);
            prop_assert_eq!(
                split_cell_key(&cell_key(&key, &field)),
                Some((key.clone(), field.clone()))
            );
            prop_assert_eq!(
                split_lost_at_key(&lost_at_key(&key, &field, dot)),
                Some((key, field, dot))
            );
        }

        #[test]
        fn cells_stand_in_the_order_of_key_and_field(
            a in (names(), fields()), b in (names(), fields()),
        ) {
            prop_assert_eq!(cell_key(&a.0, &a.1).cmp(&cell_key(&b.0, &b.1)), a.cmp(&b));
        }

        #[test]
        fn ranges_hold_exactly_what_they_are_of(
            a in names(), b in names(), field in fields(), dot in dots(),
        ) {
            let cell = cell_key(&b, &field);
            prop_assert_eq!(key_cells(&a).contains(&cell), a == b);
            prop_assert_eq!(prefix_cells(&a).contains(&cell), b.starts_with(&a));
            prop_assert_eq!(cells_from(&a) <= cell, a <= b);
            prop_assert!(all_cells().contains(&cell));
            let lost = lost_at_key(&b, &field, dot);
            prop_assert_eq!(key_lost(&a).contains(&lost), a == b);
            prop_assert_eq!(prefix_lost(&a).contains(&lost), b.starts_with(&a));
        }

        #[test]
        fn lost_writes_stand_in_the_order_of_time(a: u64, b: u64, dot in dots(), field in fields()) {
            let (x, y) = (lost_key(Hlc(a), dot, &field), lost_key(Hlc(b), dot, &field));
            prop_assert_eq!(x.cmp(&y), a.cmp(&b));
            prop_assert!(all_lost().contains(&x));
        }

        #[test]
        fn any_bytes_are_a_row_key_or_none(bytes: Vec<u8>) {
            if let Some((key, field)) = split_cell_key(&bytes) {
                prop_assert_eq!(cell_key(&key, &field), bytes);
            }
        }
    }
}
