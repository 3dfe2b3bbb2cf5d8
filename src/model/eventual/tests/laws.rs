//! Laws that hold for all histories: merging, codecs, digests, what is final.

use super::*;

/// One step of a history of three replicas and one key.
#[derive(Clone, Debug)]
enum Step {
    Ask { at: usize, what: u8 },
    Merge { from: usize, to: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0..3_usize, any::<u8>()).prop_map(|(at, what)| Step::Ask { at, what }),
        (0..3_usize, 0..3_usize).prop_map(|(from, to)| Step::Merge { from, to }),
    ];
    proptest::collection::vec(step, 0..30)
}

fn types() -> impl Strategy<Value = DataType> {
    prop_oneof![
        Just(DataType::Lww),
        Just(DataType::Mv),
        Just(DataType::Counter),
        Just(DataType::Set),
        Just(DataType::Map),
    ]
}

fn ask(ty: DataType, what: u8) -> Ask {
    match (ty, what % 6) {
        (_, 0) => Ask::Delete,
        (DataType::Lww | DataType::Mv, number) => {
            Ask::Put { value: Bytes::from(vec![b'0' + number]), content_type: None }
        }
        (DataType::Counter, number) => Ask::Add(i64::from(number) - 2),
        (DataType::Set, 1) => put("[\"x\"]"),
        (DataType::Set, 2) => {
            Ask::SetEdit { add: Vec::new(), remove: vec![Bytes::from_static(b"y")] }
        }
        (DataType::Set, _) => {
            Ask::SetEdit { add: vec![Bytes::from_static(b"y")], remove: Vec::new() }
        }
        (DataType::Map, 1) => put("{\"a\":{\"b\":1}}"),
        (DataType::Map, 2) => patch("{\"a\":2}"),
        (DataType::Map, 3) => patch("{\"a\":{\"c\":3}}"),
        (DataType::Map, 4) => patch("{\"a\":null}"),
        (DataType::Map, _) => Ask::parse(b"{\"fields\":{\"n\":{\"add\":1}}}").unwrap(),
    }
}

fn replicas(ty: DataType, steps: Vec<Step>) -> [Desk; 3] {
    let mut desks = [Desk::new(1), Desk::new(2), Desk::new(3)];
    for step in steps {
        match step {
            Step::Ask { at, what } => drop(desks[at].ask(ty, ask(ty, what)).unwrap()),
            Step::Merge { from, to } => {
                let source = desks[from].clone();
                desks[to].merge(&source);
            }
        }
    }
    desks
}

fn joined(a: &Desk, b: &Desk) -> Desk {
    let mut joined = a.clone();
    joined.merge(b);
    joined.node = 0;
    joined
}

/// What counts: live versions, marks and the vector. Counts of writes end with their row, and are not
/// promised to be the same where somebody deletes.
fn essence(desk: &Desk) -> (Vec<(Field, Cell)>, Vector) {
    let bare = |(field, cell): (Field, Cell)| (field, Cell { writes: BTreeMap::new(), ..cell });
    (desk.all().into_iter().map(bare).collect(), desk.vector.clone())
}

proptest! {
    #[test]
    fn merging_is_commutative_associative_and_idempotent(ty in types(), steps in steps()) {
        let [a, b, c] = replicas(ty, steps);
        prop_assert_eq!(essence(&joined(&a, &b)), essence(&joined(&b, &a)));
        let left = joined(&joined(&a, &b), &c);
        prop_assert_eq!(essence(&left), essence(&joined(&a, &joined(&b, &c))));
        prop_assert_eq!(essence(&joined(&left, &a)), essence(&left));
        prop_assert_eq!(essence(&joined(&a, &a)), essence(&a));
    }

    #[test]
    fn cells_and_records_read_back(ty in types(), steps in steps()) {
        let [mut a, b, _] = replicas(ty, steps);
        let op = a.ask(ty, ask(ty, 5)).unwrap();
        let bytes = encode_op(&op);
        prop_assert_eq!(dot_of(&bytes), Some(op.dot));
        prop_assert_eq!(Record::decode(&bytes), Ok(Record::Op(op.clone())));
        prop_assert_eq!(Op::decode(&op.encode()), Ok(op.clone()));
        let cells = a.all().into_iter().map(|(field, cell)| (Bytes::new(), field, Some(cell)));
        let merge = Record::Merge(Merge { vector: Default::default(), cells: cells.collect(), lost: Vec::new() });
        let encoded = merge.encode();
        prop_assert_eq!(dot_of(&encoded), None);
        prop_assert_eq!(Record::decode(&encoded), Ok(merge));
        let beat = Beat { dot: op.dot, hlc: op.hlc, vector: b.vector.clone(), members: 3 };
        let mut head = Head { vector: a.vector.clone(), ..Head::default() };
        note_beat(&mut head.beats, beat);
        prop_assert_eq!(Head::decode(&head.encode()), Ok(head));
    }

    #[test]
    fn equal_cells_have_equal_digests_and_others_do_not(ty in types(), steps in steps()) {
        let [a, b, _] = replicas(ty, steps);
        for (field, cell) in a.all() {
            let digest = |cell: &Cell| digest::cell_digest(b"key", &field, cell);
            let same = b.cells.get(&field).map(|other| digest(other) == digest(&cell));
            let equal = b.cells.get(&field).map(|other| other.live == cell.live);
            prop_assert_eq!(same, equal);
            let other = Field { path: vec![Bytes::from_static(b"other")], ..field.clone() };
            let moved = digest::cell_digest(b"key", &other, &cell);
            prop_assert!(cell.live.is_empty() || moved != digest(&cell));
        }
    }

    #[test]
    fn texts_read_back(node: u64, home: u32, run: u32, counter: u64, ty in types(), steps in steps()) {
        let dot = Dot { actor: Actor { node, home, run }, counter };
        prop_assert_eq!(dot.to_string().parse(), Ok(dot));
        let [a, ..] = replicas(ty, steps);
        prop_assert_eq!(a.vector.to_string().parse(), Ok(a.vector.clone()));
        let context = Context { namespace: crate::model::NamespaceId(node), dots: vec![dot] };
        let text = context.to_string();
        prop_assert_eq!(text.parse(), Ok(context));
        let cut = &text[..text.len() - 1];
        prop_assert!(cut.parse::<Context>().is_err());
    }

    #[test]
    fn any_text_is_a_receipt_or_none(text: String) {
        if let Ok(dot) = text.parse::<Dot>() {
            prop_assert_eq!(&dot.to_string(), &text);
        }
        prop_assert!(text.parse::<Context>().is_err());
    }
}

fn member(node: u64) -> Member {
    Member { node, home: 1 }
}

#[test]
fn nothing_is_stable_before_every_member_has_confirmed_it() {
    let actor = |node| Actor { node, home: 1, run: 1 };
    let dot = |node, counter| Dot { actor: actor(node), counter };
    let mut own = Vector(BTreeMap::from([(actor(1), 5), (actor(2), 4)]));
    let members = Members { version: 3, all: [member(1), member(2)].into() };
    let beat = |node, counter, known: &[(Actor, u64)], members| Beat {
        dot: dot(node, counter),
        hlc: Hlc(1),
        vector: Vector(known.iter().copied().collect()),
        members,
    };
    let mut beats = BTreeMap::new();
    note_beat(&mut beats, beat(1, 5, &[(actor(1), 4), (actor(2), 3)], 3));
    assert_eq!(stable(&own, &beats, &members), None, "node 2 has not said anything");
    note_beat(&mut beats, beat(2, 3, &[(actor(1), 2), (actor(2), 2)], 2));
    assert_eq!(stable(&own, &beats, &members), None, "node 2 went by another list");
    note_beat(&mut beats, beat(2, 4, &[(actor(1), 3), (actor(2), 3), (actor(7), 1)], 3));
    assert_eq!(stable(&own, &beats, &members), None, "an operation of a stranger is missing");
    own.0.insert(actor(7), 1);
    let least = stable(&own, &beats, &members).unwrap();
    assert_eq!(least, Vector(BTreeMap::from([(actor(1), 3), (actor(2), 3)])));
    note_beat(&mut beats, beat(2, 3, &[], 3));
    assert_eq!(stable(&own, &beats, &members), Some(least), "older beats are passed over");
}
