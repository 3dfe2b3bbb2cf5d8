//! Commands: what is written reads back, nothing read can panic, large parts are not copied.

use proptest::prelude::*;

use super::*;
use crate::model::codec::VERSION;
use crate::model::op::{Attach, Cmp, Compare, Give, Holder, NumberOp, Require, Tag, Test as Check};

fn any_slot() -> impl Strategy<Value = Slot> {
    (0..Slot::COUNT).prop_map(|number| Slot::new(number).unwrap())
}

fn any_bytes() -> impl Strategy<Value = Bytes> {
    any::<Vec<u8>>().prop_map(Bytes::from)
}

fn any_lease() -> impl Strategy<Value = LeaseId> {
    any::<u64>().prop_map(LeaseId)
}

fn any_ranges() -> impl Strategy<Value = Vec<SlotRange>> {
    prop::collection::vec((any_slot(), any_slot()), 0..8).prop_map(|pairs| {
        pairs.into_iter().map(|(a, b)| SlotRange { first: a.min(b), last: a.max(b) }).collect()
    })
}

fn any_space() -> impl Strategy<Value = Space> {
    any::<(u64, bool, bool, Option<u64>, u64)>().prop_map(
        |(id, ordered, recorded, quota, value_bytes_max)| Space {
            id: NamespaceId(id),
            ordered,
            recorded,
            quota,
            value_bytes_max,
        },
    )
}

fn any_write_op() -> impl Strategy<Value = WriteOp> {
    let attach = prop_oneof![
        Just(Attach::None),
        any_lease().prop_map(Attach::Lease),
        any::<u64>().prop_map(Attach::Ttl),
    ];
    let number = any::<i64>().prop_map(|n| n.to_string().parse().unwrap());
    let patch = prop_oneof![
        any_bytes().prop_map(Patch::Merge),
        any_bytes().prop_map(Patch::Json),
        any_bytes().prop_map(Patch::Append),
        number.prop_map(|number| Patch::Number(NumberOp::Add(number))),
    ];
    prop_oneof![
        (any_bytes(), any::<Option<String>>(), attach)
            .prop_map(|(value, content_type, attach)| WriteOp::Put { value, content_type, attach }),
        Just(WriteOp::Delete),
        patch.prop_map(|patch| WriteOp::Patch { patch }),
    ]
}

fn any_key_op() -> impl Strategy<Value = KeyOp> {
    let tags = || prop::collection::vec(any::<u64>().prop_map(Tag), 0..3);
    let require = prop_oneof![
        Just(Require::None),
        Just(Require::Exists),
        Just(Require::Missing),
        tags().prop_map(Require::Any),
        tags().prop_map(Require::NoneOf),
    ];
    let give = prop::sample::select(vec![Give::Nothing, Give::Before, Give::After]);
    (any_slot(), any_bytes(), require, any_write_op(), give)
        .prop_map(|(slot, key, require, op, give)| KeyOp { slot, key, require, op, give })
}

fn any_txn() -> impl Strategy<Value = Txn> {
    let test = prop_oneof![
        any::<bool>().prop_map(Check::Exists),
        any_bytes().prop_map(|value| Check::Value(Cmp::Le, value)),
        any::<u64>().prop_map(|number| Check::Version(Cmp::Gt, number)),
    ];
    let compare =
        (any_slot(), any_bytes(), test).prop_map(|(slot, key, test)| Compare { slot, key, test });
    let op = || {
        prop_oneof![
            any_key_op().prop_map(TxnOp::Write),
            (any_slot(), any_bytes()).prop_map(|(slot, key)| TxnOp::Get { slot, key }),
        ]
    };
    let ops = || prop::collection::vec(op(), 0..3);
    (prop::collection::vec(compare, 0..3), ops(), ops()).prop_map(|(compare, then, or_else)| Txn {
        compare,
        then,
        or_else,
    })
}

fn any_action() -> impl Strategy<Value = Action> {
    let lease = prop_oneof![
        (any_lease(), any::<u64>()).prop_map(|(id, ttl_ms)| LeaseOp::Grant { id, ttl_ms }),
        any_lease().prop_map(|id| LeaseOp::Renew { id }),
        any_lease().prop_map(|id| LeaseOp::Revoke { id }),
    ];
    let acquire = (any_slot(), any_bytes(), any_lease(), any::<(String, bool)>()).prop_map(
        |(slot, name, lease, (owner, queue))| LockOp::Acquire { slot, name, lease, owner, queue },
    );
    let release = (any_slot(), any_bytes(), any::<u64>())
        .prop_map(|(slot, name, by)| LockOp::Release { slot, name, by: Holder::Token(by) });
    prop_oneof![
        (any_space(), any_key_op()).prop_map(|(space, op)| Action::Key(space, op)),
        (any_space(), prop::collection::vec(any_key_op(), 0..3))
            .prop_map(|(space, ops)| Action::Many(space, ops)),
        (any_space(), any_txn()).prop_map(|(space, txn)| Action::Txn(space, txn)),
        any_bytes().prop_map(Action::Catalog),
        lease.prop_map(Action::Lease),
        (any_space(), prop_oneof![acquire, release]).prop_map(|(s, op)| Action::Lock(s, op)),
    ]
}

fn any_command() -> impl Strategy<Value = Command> {
    let once = (any::<u64>(), any_bytes(), any::<[u8; 16]>())
        .prop_map(|(space, key, fingerprint)| Once { space: NamespaceId(space), key, fingerprint });
    let request = (any::<(u64, u64)>(), prop::option::of(once), any_action())
        .prop_map(|((epoch, at_ms), once, action)| Request { epoch, at_ms, once, action });
    let expire = prop::collection::vec((any_lease(), any::<u64>()), 0..3);
    let tend =
        (expire, prop::collection::vec(any_lease(), 0..3), any::<(u64, Option<(u64, u32)>)>())
            .prop_map(|(expire, gone, (forget, purge))| Tend {
                expire,
                gone,
                forget,
                purge: purge.map(|(namespace, rows)| (NamespaceId(namespace), rows)),
            });
    prop_oneof![
        (any_ranges(), any::<u64>()).prop_map(|(ranges, epoch)| Command::Own { ranges, epoch }),
        any_bytes().prop_map(Command::Catalog),
        request.prop_map(Command::Request),
        tend.prop_map(Command::Tend),
    ]
}

proptest! {
    #[test]
    fn a_command_reads_back_as_written(command in any_command()) {
        prop_assert_eq!(Command::decode(&command.encode()), Ok(command));
    }

    #[test]
    fn an_ownership_reads_back_as_written(ranges in any_ranges(), epoch: u64) {
        let ownership = Ownership { ranges, epoch };
        prop_assert_eq!(Ownership::decode(&ownership.encode()), Ok(ownership));
    }

    #[test]
    fn any_bytes_are_a_command_or_an_error(bytes: Vec<u8>, kind in prop::option::of(0u8..5)) {
        let mut bytes = bytes;
        if let Some(kind) = kind {
            bytes.splice(0..0, [VERSION, kind]);
        }
        let bytes = Bytes::from(bytes);
        // Either outcome is fine; a panic is not.
        drop(Command::decode(&bytes));
        drop(Ownership::decode(&bytes));
    }

    #[test]
    fn a_command_with_a_changed_byte_is_a_command_or_an_error(
        command in any_command(), place: prop::sample::Index, byte: u8,
    ) {
        let mut bytes = command.encode().to_vec();
        let place = place.index(bytes.len());
        bytes[place] = byte;
        drop(Command::decode(&Bytes::from(bytes)));
    }

    #[test]
    fn a_command_cut_short_or_with_more_behind_is_refused(
        command in any_command(), cut in 1usize..64,
    ) {
        let bytes = command.encode();
        prop_assert!(Command::decode(&bytes.slice(..bytes.len().saturating_sub(cut))).is_err());
        let longer = Bytes::from([&bytes[..], b"!"].concat());
        prop_assert!(Command::decode(&longer).is_err());
    }
}

fn write(op: WriteOp) -> Command {
    let id = NamespaceId(9);
    let space = Space { id, ordered: false, recorded: true, quota: None, value_bytes_max: 300 };
    let (slot, key) = (Slot::new(5).unwrap(), Bytes::from_static(b"k"));
    let op = KeyOp { slot, key, require: Require::None, op, give: Give::Nothing };
    Command::Request(Request { epoch: 2, at_ms: 3, once: None, action: Action::Key(space, op) })
}

fn put(value: Bytes) -> Command {
    write(WriteOp::Put { value, content_type: None, attach: Attach::None })
}

#[test]
fn key_and_value_share_the_memory_of_the_entry() {
    let entry = put(Bytes::from(vec![7; 1 << 20])).encode();
    let Command::Request(Request { action: Action::Key(_, read), .. }) =
        Command::decode(&entry).unwrap()
    else {
        panic!("a write of a key")
    };
    let WriteOp::Put { value, .. } = &read.op else { panic!("a put") };
    let within = entry.as_ptr() as usize..entry.as_ptr() as usize + entry.len();
    assert!(within.contains(&(value.as_ptr() as usize)) && value.len() == 1 << 20);
    assert!(within.contains(&(read.key.as_ptr() as usize)));
}

#[test]
fn a_slot_that_does_not_exist_is_refused() {
    // Version, Own, one range from slot 16,384 on.
    let bytes = Bytes::from_static(&[VERSION, 0, 1, 0x80, 0x80, 1, 0, 1]);
    let error = Command::decode(&bytes).unwrap_err();
    assert!(matches!(error, CodecError::Malformed { .. }), "{error}");
}

#[test]
fn the_bytes_of_commands_are_what_earlier_releases_wrote() {
    // A change here is a change of format: it needs a new version byte.
    let slot = |number| Slot::new(number).unwrap();
    let own =
        Command::Own { ranges: vec![SlotRange { first: slot(0), last: slot(200) }], epoch: 3 };
    assert_eq!(own.encode().as_ref(), [1, 0, 1, 0, 0xc8, 1, 3]);
    assert_eq!(Command::Catalog(Bytes::from_static(b"c")).encode().as_ref(), [1, 1, 1, b'c']);
    let head = [1, 2, 2, 3, 0, 0, 9, 0, 1, 0, 0xac, 2, 5, 1, b'k', 0];
    let put = put(Bytes::from_static(b"v")).encode();
    assert_eq!(put.as_ref(), [&head[..], &[0, 1, b'v', 0, 0, 0]].concat());
    assert_eq!(write(WriteOp::Delete).encode().as_ref(), [&head[..], &[1, 0]].concat());
    let tend = Tend { forget: 300, ..Tend::default() };
    assert_eq!(Command::Tend(tend).encode().as_ref(), [1, 3, 0, 0, 0xac, 2, 0]);
}
