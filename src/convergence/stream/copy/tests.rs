//! The form: what is written reads back, and what is damaged anywhere does not.

use bytes::Bytes;

use super::form::{COPY_VERSION, CopyHead, Damage, Origin, Part, Reader, Writer};
use crate::convergence::words::SnapshotPage;
use crate::model::eventual::{
    Act, Actor, CellChange, DataType, Dot, Field, Hlc, Op, Removed, Vector, encode_op,
};

const A: Actor = Actor { node: 3, home: 9, run: 1 };

fn op(counter: u64) -> Op {
    let removes = vec![Removed { dot: Dot { actor: A, counter: 1 }, seen: true }];
    let changes = vec![CellChange { field: Field::default(), removes, put: None }];
    let key = Bytes::from_static(b"key");
    let act = Act::Write { key, changes, once: None };
    Op { dot: Dot { actor: A, counter }, hlc: Hlc(7), act }
}

fn copy() -> Vec<Bytes> {
    let head = CopyHead {
        namespace: "notes".to_owned(),
        origin: Origin::default(),
        data_type: DataType::Set,
        source: A,
        since: Vector::default(),
        vector: Vector([(A, 3)].into()),
        rows: None,
    };
    let page = SnapshotPage {
        vector: head.vector.clone(),
        from: Bytes::from_static(b"\x10"),
        to: None,
        buckets: None,
        entries: Vec::new(),
        lost: Vec::new(),
    };
    let (mut writer, begin) = Writer::begin(head);
    let ops = writer.ops(&[encode_op(&op(1)), encode_op(&op(2))]);
    let more = writer.ops(&[encode_op(&op(3))]);
    let page = writer.page(page);
    vec![begin, ops, more, page, writer.end()]
}

/// Reads all, in pieces of a length; the number of its parts.
fn read(bytes: &[u8], piece: usize) -> Result<usize, Damage> {
    let mut reader = Reader::new();
    let mut parts = 0;
    for piece in bytes.chunks(piece) {
        reader.push(piece);
        while let Some(part) = reader.next()? {
            parts += 1;
            if let Part::Ops(ops) = part {
                assert!(ops.iter().all(|read| *read == op(read.dot.counter)));
            }
        }
    }
    reader.finish().map(|()| parts)
}

#[test]
fn a_copy_reads_back_however_it_is_cut_into_pieces() {
    let whole = copy().concat();
    for piece in 1..=whole.len() {
        assert_eq!(read(&whole, piece), Ok(5));
    }
}

#[test]
fn damage_anywhere_is_refused() {
    let whole = copy().concat();
    for at in 0..whole.len() {
        for bit in 0..8 {
            let mut damaged = whole.clone();
            damaged[at] ^= 1 << bit;
            assert!(read(&damaged, 64).is_err(), "bit {bit} of byte {at}");
        }
        assert!(read(&whole[..at], 64).is_err(), "cut at {at}");
    }
    assert!(read(&[&whole[..], b"x"].concat(), 64).is_err(), "something follows");
    assert!(read(&[&whole[..], &whole[..]].concat(), 64).is_err(), "it is there twice");
}

#[test]
fn parts_that_are_missing_doubled_or_in_another_order_are_refused() {
    let parts = copy();
    for at in 0..parts.len() {
        let mut missing = parts.clone();
        missing.remove(at);
        assert!(read(&missing.concat(), 64).is_err(), "part {at} is missing");
        let mut doubled = parts.clone();
        doubled.insert(at, parts[at].clone());
        assert!(read(&doubled.concat(), 64).is_err(), "part {at} is there twice");
    }
    let mut swapped = parts.clone();
    swapped.swap(1, 2);
    assert!(read(&swapped.concat(), 64).is_err(), "two parts are swapped");
}

#[test]
fn what_is_no_copy_or_of_a_later_form_is_named() {
    assert_eq!(read(b"{\"key\":1}", 4), Err(Damage::Other));
    assert_eq!(read(b"", 4), Err(Damage::Cut));
    let mut later = copy().concat();
    later[7] = COPY_VERSION + 1;
    assert_eq!(read(&later, 4), Err(Damage::Version(COPY_VERSION + 1)));
    let mut long = copy().concat();
    long[8] = 0xff;
    assert_eq!(read(&long, 4), Err(Damage::Broken("a part of it is longer than any")));
}
