//! Replies: what is written reads back, nothing read can panic.

use proptest::prelude::*;

use super::*;
use crate::model::codec::VERSION;
use crate::model::number::NumberFault;
use crate::model::row::tests::any_row;
use crate::model::{Part, PatchFault};

fn any_denial() -> impl Strategy<Value = Denial> {
    let text = || ".{0,20}".prop_map(String::from);
    prop_oneof![
        any::<(u64, u64)>().prop_map(|(used, limit)| Denial::Quota { used, limit }),
        any::<u64>().prop_map(|limit| Denial::TooLarge { limit }),
        text().prop_map(|reason| Denial::Patch { fault: PatchFault::Conflict, reason }),
        Just(Denial::NotANumber { fault: NumberFault::Malformed }),
        any::<u64>().prop_map(|id| Denial::NoLease(LeaseId(id))),
        any::<u64>().prop_map(|limit| Denial::TooLong { what: Part::Owner, limit }),
        any::<Option<u64>>().prop_map(|at| Denial::Unmet { row_at: at, revision: at }),
        Just(Denial::DuplicateKey),
    ]
}

fn any_key_reply() -> impl Strategy<Value = KeyReply> {
    let some_row = || prop::option::of(any_row());
    prop_oneof![
        (any::<(bool, u64, u64)>(), some_row()).prop_map(|((created, at, revision), row)| {
            KeyReply::Put { created, at, revision, row }
        }),
        (any::<(bool, u64, u64)>(), some_row()).prop_map(|((existed, at, revision), row)| {
            KeyReply::Deleted { existed, at, revision, row }
        }),
        (any::<(bool, u64, u64)>(), any_row()).prop_map(|((created, at, revision), row)| {
            KeyReply::Patched { created, at, revision, row }
        }),
        some_row().prop_map(KeyReply::Found),
        any::<(Option<u64>, Option<u64>)>()
            .prop_map(|(row_at, revision)| KeyReply::Unmet { row_at, revision }),
        any_denial().prop_map(KeyReply::Denied),
    ]
}

fn any_txn_reply() -> impl Strategy<Value = TxnReply> {
    let results = prop::collection::vec(any_key_reply(), 0..4);
    let failed = prop::option::of((0usize..9, any_denial()));
    (any::<(bool, u64, u64)>(), results, failed).prop_map(
        |((succeeded, at, revision), results, failed)| TxnReply {
            succeeded,
            results,
            at,
            revision,
            failed,
        },
    )
}

fn any_plain_reply() -> impl Strategy<Value = Reply> {
    let place = |(lease, token, owner)| LockPlace { lease: LeaseId(lease), token, owner };
    prop_oneof![
        Just(Reply::Owned),
        Just(Reply::Nothing),
        Just(Reply::OnceMismatch),
        any::<u64>().prop_map(|epoch| Reply::NotOwner { epoch }),
        any::<Vec<u8>>().prop_map(|bytes| Reply::Catalog(Bytes::from(bytes))),
        any_key_reply().prop_map(Reply::Key),
        prop::collection::vec(any_key_reply(), 0..4).prop_map(Reply::Many),
        any_txn_reply().prop_map(Reply::Txn),
        any::<(u64, u64)>().prop_map(|(keys, at)| Reply::Lease(LeaseReply::Revoked { keys, at })),
        any_denial().prop_map(|denial| Reply::Lease(LeaseReply::Denied(denial))),
        any::<(u64, u64)>()
            .prop_map(|(token, ahead)| Reply::Lock(LockReply::Queued { token, ahead })),
        (any::<(u64, u64, String)>(), any::<u64>()).prop_map(move |(holder, waiting)| {
            Reply::Lock(LockReply::Busy { holder: place(holder), waiting })
        }),
        any::<(u64, u64, bool)>().prop_map(|(expired, keys, more)| {
            Reply::Tended(TendReply { expired, keys, more, ..TendReply::default() })
        }),
    ]
}

fn any_reply() -> impl Strategy<Value = Reply> {
    (any_plain_reply(), any::<Option<u64>>()).prop_map(|(reply, replayed)| match replayed {
        Some(index) => Reply::Replayed { index, reply: Box::new(reply) },
        None => reply,
    })
}

proptest! {
    #[test]
    fn a_reply_reads_back_as_written(reply in any_reply()) {
        prop_assert_eq!(Reply::decode(&reply.encode()), Ok(reply));
    }

    #[test]
    fn any_bytes_are_a_reply_or_an_error(bytes: Vec<u8>, kind in prop::option::of(0u8..13)) {
        let mut bytes = bytes;
        if let Some(kind) = kind {
            bytes.splice(0..0, [VERSION, kind]);
        }
        // Either outcome is fine; a panic is not.
        drop(Reply::decode(&Bytes::from(bytes)));
    }

    #[test]
    fn a_reply_with_changed_bytes_is_a_reply_or_an_error(
        reply in any_reply(), place: prop::sample::Index, byte: u8,
    ) {
        let mut bytes = reply.encode().to_vec();
        let place = place.index(bytes.len());
        bytes[place] = byte;
        drop(Reply::decode(&Bytes::from(bytes)));
    }
}

#[test]
fn bytes_behind_a_short_reply_are_refused() {
    let mut bytes = Reply::Owned.encode().to_vec();
    bytes.push(0);
    assert!(matches!(Reply::decode(&bytes.into()), Err(CodecError::Length { .. })));
}

#[test]
fn a_replayed_reply_holds_no_other_one() {
    let inner = Reply::Replayed { index: 1, reply: Box::new(Reply::Nothing) };
    let bytes = Reply::Replayed { index: 2, reply: Box::new(inner) }.encode();
    assert!(matches!(Reply::decode(&bytes), Err(CodecError::Malformed { .. })));
}

#[test]
fn the_bytes_of_replies_are_what_earlier_releases_wrote() {
    // A change here is a change of format: it needs a new version byte.
    let put = KeyReply::Put { created: true, at: 7, revision: 300, row: None };
    assert_eq!(Reply::Owned.encode().as_ref(), [1, 0]);
    assert_eq!(Reply::NotOwner { epoch: 300 }.encode().as_ref(), [1, 1, 0xac, 0x02]);
    assert_eq!(Reply::Catalog(Bytes::from_static(b"x")).encode().as_ref(), [1, 2, 1, b'x']);
    assert_eq!(Reply::Nothing.encode().as_ref(), [1, 3]);
    assert_eq!(Reply::Key(put.clone()).encode().as_ref(), [1, 4, 0, 1, 7, 0xac, 0x02, 0]);
    let replayed = Reply::Replayed { index: 9, reply: Box::new(Reply::Key(put)) };
    assert_eq!(replayed.encode().as_ref(), [1, 11, 9, 8, 1, 4, 0, 1, 7, 0xac, 0x02, 0]);
}
