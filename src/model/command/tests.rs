//! Commands: what is written reads back, nothing read can panic, large parts are not copied.

use proptest::prelude::*;

use super::*;
use crate::model::codec::VERSION;

fn any_slot() -> impl Strategy<Value = Slot> {
    (0..Slot::COUNT).prop_map(|number| Slot::new(number).unwrap())
}

fn any_bytes() -> impl Strategy<Value = Bytes> {
    any::<Vec<u8>>().prop_map(Bytes::from)
}

fn any_ranges() -> impl Strategy<Value = Vec<SlotRange>> {
    prop::collection::vec((any_slot(), any_slot()), 0..8).prop_map(|pairs| {
        pairs.into_iter().map(|(a, b)| SlotRange { first: a.min(b), last: a.max(b) }).collect()
    })
}

fn any_write() -> impl Strategy<Value = Write> {
    let op =
        prop_oneof![any_bytes().prop_map(|value| WriteOp::Put { value }), Just(WriteOp::Delete),];
    (any::<u64>(), any_slot(), any_bytes(), op).prop_map(|(namespace, slot, key, op)| Write {
        namespace: NamespaceId(namespace),
        slot,
        key,
        op,
    })
}

fn any_command() -> impl Strategy<Value = Command> {
    prop_oneof![
        (any_ranges(), any::<u64>()).prop_map(|(ranges, epoch)| Command::Own { ranges, epoch }),
        any_write().prop_map(Command::Write),
        any_bytes().prop_map(Command::Catalog),
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
    fn any_bytes_are_a_command_or_an_error(bytes: Vec<u8>, kind in prop::option::of(0u8..4)) {
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
    fn a_command_cut_short_is_never_another_key(command in any_write(), cut in 1usize..64) {
        let bytes = Command::Write(command.clone()).encode();
        let short = bytes.slice(..bytes.len().saturating_sub(cut));
        // A put that lost its end may still read as a put of a shorter value: the log's checksums
        // guard against that. Its key and namespace are never other ones.
        if let Ok(Command::Write(read)) = Command::decode(&short) {
            prop_assert_eq!((read.namespace, read.key), (command.namespace, command.key));
        }
    }
}

#[test]
fn key_and_value_share_the_memory_of_the_entry() {
    let value = Bytes::from(vec![7; 1 << 20]);
    let write = Write {
        namespace: NamespaceId(1),
        slot: Slot::new(5).unwrap(),
        key: Bytes::from_static(b"key"),
        op: WriteOp::Put { value: value.clone() },
    };
    let entry = Command::Write(write).encode();
    let Command::Write(read) = Command::decode(&entry).unwrap() else { panic!("a write") };
    let WriteOp::Put { value: read_value } = &read.op else { panic!("a put") };
    assert_eq!(*read_value, value);
    let end = entry.as_ptr() as usize + entry.len();
    assert_eq!(read_value.as_ptr() as usize, end - value.len());
    assert_eq!(read.key.as_ptr() as usize, end - value.len() - 3);
}

#[test]
fn a_delete_with_a_value_behind_it_is_refused() {
    let write = Write {
        namespace: NamespaceId(1),
        slot: Slot::new(5).unwrap(),
        key: Bytes::from_static(b"key"),
        op: WriteOp::Delete,
    };
    let mut bytes = Command::Write(write).encode().to_vec();
    bytes.push(b'!');
    let error = Command::decode(&bytes.into()).unwrap_err();
    assert_eq!(error, CodecError::Length { what: "command", expected: 3, found: 4 });
}

#[test]
fn a_slot_that_does_not_exist_is_refused() {
    // Version, Write, namespace 1, slot 16,384, no key, Delete.
    let bytes = Bytes::from_static(&[VERSION, 1, 1, 0x80, 0x80, 1, 0, 1]);
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
    let write = |op| {
        let key = Bytes::from_static(b"k");
        Command::Write(Write { namespace: NamespaceId(9), slot: slot(5), key, op }).encode()
    };
    let put = write(WriteOp::Put { value: Bytes::from_static(b"v") });
    assert_eq!(put.as_ref(), [1, 1, 9, 5, 1, 0, b'k', b'v']);
    assert_eq!(write(WriteOp::Delete).as_ref(), [1, 1, 9, 5, 1, 1, b'k']);
    assert_eq!(Command::Catalog(Bytes::from_static(b"c")).encode().as_ref(), [1, 2, b'c']);
}
