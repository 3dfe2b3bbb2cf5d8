//! One scene for each promise.

use super::*;
use crate::model::lock::LockRow;
use crate::model::op::{Cmp, Compare, Holder, LeaseOp, LockOp, Patch, Tag, Test, Txn, TxnOp};
use crate::model::reply::{LeaseReply, LockReply, TxnReply};
use crate::model::rows::{attached_rows, lock_key};
use crate::model::{Tend, once};

fn txn(group: &mut Group, space: Space, txn: Txn) -> TxnReply {
    match group.run(&request(Action::Txn(space, txn))) {
        Reply::Txn(reply) => reply,
        other => panic!("{other:?}"),
    }
}

pub(super) fn lease(group: &mut Group, op: LeaseOp) -> LeaseReply {
    match group.run(&request(Action::Lease(op))) {
        Reply::Lease(reply) => reply,
        other => panic!("{other:?}"),
    }
}

pub(super) fn lock(group: &mut Group, op: LockOp) -> LockReply {
    match group.run(&request(Action::Lock(spread(), op))) {
        Reply::Lock(reply) => reply,
        other => panic!("{other:?}"),
    }
}

pub(super) fn acquire(lease: LeaseId, queue: bool) -> LockOp {
    let (name, owner) = (Bytes::from_static(b"l"), "me".to_owned());
    LockOp::Acquire { slot: slot(3), name, lease, owner, queue }
}

pub(super) fn granted(group: &mut Group, number: u64) -> LeaseId {
    let id = LeaseId::new(slot(3), number);
    let reply = lease(group, LeaseOp::Grant { id, ttl_ms: 500 });
    assert_eq!(reply, LeaseReply::Granted { id, ttl_ms: 500, at: group.index });
    id
}

#[test]
fn a_put_creates_once_and_counts_its_writes() {
    let mut group = Group::new();
    let reply = group.key(&spread(), put("a", "one"));
    assert_eq!(reply, KeyReply::Put { created: true, at: 2, revision: 2, row: None });
    let before = group.row(&spread(), "a");
    let again = KeyOp { give: Give::Before, ..put("a", "two") };
    let reply = group.key(&spread(), again);
    assert_eq!(reply, KeyReply::Put { created: false, at: 3, revision: 3, row: before });
    let row = group.row(&spread(), "a").unwrap();
    assert_eq!((row.created, row.at, row.version, row.modified_ms), (2, 3, 2, 7));
}

#[test]
fn preconditions_are_asked_of_the_row_as_it_is() {
    let mut group = Group::new();
    group.key(&spread(), put("a", "one"));
    let unmet = KeyReply::Unmet { row_at: Some(2), revision: Some(2) };
    for (require, holds) in [
        (Require::Exists, true),
        (Require::Missing, false),
        (Require::Any(vec![Tag(2)]), true),
        (Require::Any(vec![Tag::NEVER, Tag(1)]), false),
        (Require::NoneOf(vec![Tag(2)]), false),
        (Require::NoneOf(vec![Tag(1)]), true),
    ] {
        let mut group = Group { rows: group.rows.clone(), index: 2, leases: BTreeMap::new() };
        let reply = group.key(&spread(), KeyOp { require: require.clone(), ..put("a", "x") });
        assert_eq!(reply != unmet, holds, "{require:?}");
        assert_eq!(group.value(&spread(), "a").unwrap() == "x", holds, "{require:?}");
    }
    let reply = group.key(&spread(), KeyOp { require: Require::Exists, ..delete("b") });
    assert_eq!(reply, KeyReply::Unmet { row_at: None, revision: None });
}

#[test]
fn old_epochs_and_foreign_slots_change_nothing() {
    let mut group = Group::new();
    group.run(&own(0, 99, 5));
    let before = group.rows.clone();
    let asked =
        Request { epoch: 4, at_ms: 0, once: None, action: Action::Key(spread(), put("a", "")) };
    assert_eq!(group.run(&Command::Request(asked.clone())), Reply::NotOwner { epoch: 5 });
    let elsewhere = Action::Key(spread(), KeyOp { slot: slot(100), ..put("a", "") });
    let moved = Request { epoch: 9, action: elsewhere, ..asked.clone() };
    assert_eq!(group.run(&Command::Request(moved)), Reply::NotOwner { epoch: 5 });
    assert_eq!(group.rows, before);
    assert!(matches!(group.run(&Command::Request(Request { epoch: 5, ..asked })), Reply::Key(_)));
}

#[test]
fn a_quota_stops_growth_and_never_shrinking() {
    let mut group = Group::new();
    let space = Space { quota: Some(10), ..spread() };
    group.key(&space, put("a", "123456789"));
    let denied = KeyReply::Denied(Denial::Quota { used: 10, limit: 10 });
    assert_eq!(group.key(&space, put("b", "")), denied);
    assert!(matches!(group.key(&space, put("a", "1")), KeyReply::Put { .. }));
    assert!(matches!(group.key(&space, put("b", "1")), KeyReply::Put { .. }));
    let tight = Space { quota: Some(1), ..spread() };
    assert!(matches!(group.key(&tight, put("b", "")), KeyReply::Put { .. }), "shrinks");
    assert!(matches!(group.key(&tight, delete("a")), KeyReply::Deleted { existed: true, .. }));
}

#[test]
fn a_denied_step_takes_the_transaction_back() {
    let mut group = Group::new();
    group.key(&ordered(), put("a", "1"));
    let before = group.rows.clone();
    let long = "x".repeat(65);
    let then = vec![TxnOp::Write(put_on("b", "2", Attach::Ttl(5))), TxnOp::Write(put("a", &long))];
    let reply = txn(&mut group, ordered(), Txn { compare: vec![], then, or_else: vec![] });
    assert_eq!(reply.failed, Some((1, Denial::TooLarge { limit: 64 })));
    assert_eq!((reply.revision, reply.results.len()), (1, 0));
    assert_eq!(group.rows, before);
    assert!(group.leases.is_empty());
}

#[test]
fn a_transaction_sees_its_steps_and_is_one_revision() {
    let mut group = Group::new();
    group.key(&ordered(), put("a", "1"));
    let get = |key: &str| TxnOp::Get { slot: slot(3), key: Bytes::copy_from_slice(key.as_bytes()) };
    let then = vec![TxnOp::Write(put("b", "2")), TxnOp::Write(delete("a")), get("b"), get("a")];
    let test = |test| Compare { slot: slot(3), key: Bytes::from_static(b"a"), test };
    let compare = vec![test(Test::Revision(Cmp::Eq, 1)), test(Test::Value(Cmp::Lt, "2".into()))];
    let reply = txn(&mut group, ordered(), Txn { compare, then, or_else: vec![get("a")] });
    assert!(reply.succeeded);
    assert_eq!((reply.revision, reply.at), (2, 3));
    let found = |reply: &KeyReply| reply.row().map(|row| (row.revision, row.value.clone()));
    assert_eq!(found(&reply.results[2]), Some((2, Bytes::from_static(b"2"))));
    assert_eq!(reply.results[3], KeyReply::Found(None));
    let missing =
        Compare { slot: slot(3), key: Bytes::from_static(b"a"), test: Test::Version(Cmp::Gt, 0) };
    let or_else = vec![get("b")];
    let reply = txn(&mut group, ordered(), Txn { compare: vec![missing], then: vec![], or_else });
    assert_eq!((reply.succeeded, reply.revision, reply.results.len()), (false, 2, 1));
}

#[test]
fn a_key_named_twice_is_denied_and_the_shard_lives() {
    let mut group = Group::new();
    let action = Action::Many(ordered(), vec![put("a", "1"), put("a", "2"), delete("b")]);
    let Reply::Many(replies) = group.run(&request(action)) else { panic!("many") };
    assert_eq!(replies[1], KeyReply::Denied(Denial::DuplicateKey));
    assert_eq!(replies[2], KeyReply::Deleted { existed: false, at: 2, revision: 1, row: None });
    assert_eq!(group.value(&ordered(), "a").as_deref(), Some("1"));
}

#[test]
fn a_request_with_a_key_is_done_once() {
    let mut group = Group::new();
    let action = |value| Action::Key(spread(), put("a", value));
    let first = group.run(&request_once("k", 1, action("one")));
    group.run(&request(action("two")));
    let again = group.outcome(&request_once("k", 1, action("one")));
    assert_eq!(again.reply, Reply::Replayed { index: 2, reply: Box::new(first) });
    assert!(again.effects.is_empty());
    assert_eq!(group.run(&request_once("k", 2, action("one"))), Reply::OnceMismatch);
    assert_eq!(once::oldest(&group.rows), Ok(Some(2)));
    let Reply::Tended(tended) = group.run(&Command::Tend(Tend { forget: 2, ..Tend::default() }))
    else {
        panic!("tended")
    };
    assert_eq!((tended.forgotten, once::oldest(&group.rows)), (1, Ok(None)));
    assert!(matches!(group.run(&request_once("k", 2, action("one"))), Reply::Key(_)));
}

#[test]
fn a_refusal_for_want_of_room_is_not_remembered() {
    let mut group = Group::new();
    let once = |quota| {
        let space = Space { quota: Some(quota), ..spread() };
        request_once("k", 1, Action::Key(space, put("a", "value")))
    };
    let full = group.run(&once(0));
    assert!(matches!(full, Reply::Key(KeyReply::Denied(_))), "{full:?}");
    let done = group.run(&once(1_000));
    assert!(matches!(done, Reply::Key(KeyReply::Put { .. })), "{done:?}");
    assert!(matches!(group.run(&once(0)), Reply::Replayed { .. }));
}

#[test]
fn a_refusal_by_epoch_is_not_remembered() {
    let mut group = Group::new();
    group.run(&own(0, 99, 2));
    let once = request_once("k", 1, Action::Key(spread(), put("a", "")));
    assert_eq!(group.run(&once), Reply::NotOwner { epoch: 2 });
    assert_eq!(once::oldest(&group.rows), Ok(None));
}

#[test]
fn keys_vanish_with_their_lease_in_one_entry() {
    let mut group = Group::new();
    let id = granted(&mut group, 1);
    for key in ["a", "b"] {
        group.key(&spread(), put_on(key, "1", Attach::Lease(id)));
    }
    group.key(&spread(), put("b", "free"));
    lease(&mut group, LeaseOp::Renew { id });
    let renewed = group.index;
    let stale = Tend { expire: vec![(id, renewed - 1)], ..Tend::default() };
    assert!(group.outcome(&Command::Tend(stale)).effects.is_empty(), "renewed since");
    let over = Tend { expire: vec![(id, renewed)], ..Tend::default() };
    let outcome = group.outcome(&Command::Tend(over));
    let notes: Vec<_> =
        outcome.effects.iter().filter_map(|e| e.recorded.as_ref().map(|r| r.note)).collect();
    assert_eq!(notes, [NOTE_EXPIRE]);
    assert_eq!(
        (group.value(&spread(), "a"), group.value(&spread(), "b").as_deref()),
        (None, Some("free"))
    );
    assert_eq!(outcome.leases, [LeaseEvent::Ended(id)]);
    assert_eq!(lease(&mut group, LeaseOp::Renew { id }), LeaseReply::Missing);
    let reply = group.key(&spread(), put_on("a", "1", Attach::Lease(id)));
    assert_eq!(reply, KeyReply::Denied(Denial::NoLease(id)));
}

#[test]
fn a_time_to_live_ends_with_its_key_and_the_key_with_it() {
    let mut group = Group::new();
    let many = vec![put_on("a", "1", Attach::Ttl(9)), put_on("b", "1", Attach::Ttl(9))];
    group.run(&request(Action::Many(spread(), many)));
    assert_eq!(group.leases.len(), 2, "two keys of one entry have two leases");
    let id = group.row(&spread(), "a").unwrap().lease.unwrap();
    assert!(id.is_own() && id.slot() == slot(3));
    let patch = Patch::Append(Bytes::from_static(b"2"));
    group.key(&spread(), on("a", WriteOp::Patch { patch }));
    assert_eq!(group.row(&spread(), "a").unwrap().lease, Some(id), "a patch keeps it");
    group.key(&spread(), put("a", "free"));
    assert!(!group.leases.contains_key(&id));
    let other = group.row(&spread(), "b").unwrap().lease.unwrap();
    let expire = vec![(other, 2)];
    group.run(&Command::Tend(Tend { expire, ..Tend::default() }));
    assert_eq!((group.value(&spread(), "b"), group.leases.len()), (None, 0));
}

#[test]
fn a_borrowed_lease_lives_as_long_as_something_depends_on_it() {
    let mut group = Group::new();
    let id = LeaseId::new(slot(5000), 1);
    group.key(&spread(), put_on("a", "1", Attach::Lease(id)));
    assert!(group.leases[&id].borrowed);
    assert_eq!(group.leases[&id].renewed, 2);
    // Its time is not watched here.
    let expire = Tend { expire: vec![(id, 2)], ..Tend::default() };
    assert!(group.outcome(&Command::Tend(expire)).effects.is_empty());
    group.key(&spread(), delete("a"));
    assert!(group.leases.is_empty());
    group.key(&spread(), put_on("a", "1", Attach::Lease(id)));
    group.run(&Command::Tend(Tend { gone: vec![id], ..Tend::default() }));
    assert_eq!((group.value(&spread(), "a"), group.leases.len()), (None, 0));
}

#[test]
fn a_lock_goes_to_who_asked_next_with_a_larger_token() {
    let mut group = Group::new();
    let [a, b, c] = [1, 2, 3].map(|number| granted(&mut group, number));
    let LockReply::Held { token: first } = lock(&mut group, acquire(a, true)) else { panic!() };
    assert!(matches!(lock(&mut group, acquire(b, false)), LockReply::Busy { waiting: 0, .. }));
    let LockReply::Queued { token: second, ahead: 1 } = lock(&mut group, acquire(b, true)) else {
        panic!()
    };
    let third = LockReply::Queued { token: group.index + 1, ahead: 2 };
    assert_eq!(lock(&mut group, acquire(c, true)), third);
    assert_eq!(lock(&mut group, acquire(a, false)), LockReply::Held { token: first });
    assert!(second > first);
    // The holder's lease ends: the next one holds the lock, with its full time.
    group.run(&Command::Tend(Tend {
        expire: vec![(a, group.leases[&a].renewed)],
        ..Tend::default()
    }));
    assert_eq!(lock(&mut group, acquire(b, false)), LockReply::Held { token: second });
    assert_eq!(group.leases[&b].renewed, group.index - 1);
    let release = |by| LockOp::Release { slot: slot(3), name: Bytes::from_static(b"l"), by };
    assert_eq!(lock(&mut group, release(Holder::Token(first))), LockReply::NotHeld);
    assert_eq!(lock(&mut group, release(Holder::Token(second))), LockReply::Released);
    assert_eq!(lock(&mut group, release(Holder::Lease(c))), LockReply::Released);
    assert_eq!(group.rows.rows.get(&lock_key(NamespaceId(1), b"l")), None);
}

#[test]
fn a_deleted_namespace_goes_in_portions_and_wholly() {
    let mut group = Group::new();
    let id = granted(&mut group, 1);
    for key in ["a", "b", "c"] {
        group.key(&spread(), put_on(key, "1", Attach::Lease(id)));
    }
    group.key(&spread(), put_on("d", "1", Attach::Ttl(9)));
    group.key(&ordered(), put_on("a", "1", Attach::Lease(id)));
    group.run(&request_once("k", 1, Action::Key(spread(), put("e", "1"))));
    lock(&mut group, acquire(id, true));
    let mut portions = 0;
    loop {
        let purge = Some((NamespaceId(1), 2));
        let Reply::Tended(tended) = group.run(&Command::Tend(Tend { purge, ..Tend::default() }))
        else {
            panic!("tended")
        };
        assert!(tended.purged <= 2);
        portions += 1;
        if tended.purged_all {
            break;
        }
        assert!(portions < 10);
    }
    assert_eq!(namespace_has_rows(&group.rows, NamespaceId(1)), Ok(false));
    assert_eq!(group.value(&ordered(), "a").as_deref(), Some("1"));
    let (from, to) = attached_rows(id);
    assert_eq!(group.rows.scan(&from, &to, 9).unwrap().len(), 1);
    assert_eq!(group.leases.keys().collect::<Vec<_>>(), [&id]);
    assert!(LockRow::decode(&Bytes::new()).is_err());
}

#[test]
fn rows_that_cannot_be_read_or_are_damaged_stop_the_shard() {
    let group = Group::new();
    let asked = request(Action::Key(spread(), put("a", "1")));
    let run = |rows: &Rows| apply(&mut Book::default(), rows, 9, &asked);
    group.rows.broken.set(true);
    let error = run(&group.rows).unwrap_err();
    assert_eq!(error.to_string(), "rows cannot be read: the disk is gone");
    let mut rows = Rows { broken: Cell::new(false), ..group.rows };
    rows.rows.insert(data_key(NamespaceId(1), b"a"), Bytes::from_static(b"\x01short"));
    assert!(matches!(run(&rows), Err(ApplyError::Damaged(_))));
    rows.rows.insert(Bytes::from_static(OWNED_KEY), Bytes::from_static(b"\xff"));
    assert!(matches!(run(&rows), Err(ApplyError::Damaged(_))));
}

#[test]
fn an_entry_applied_twice_is_noticed_and_not_answered() {
    let mut group = Group::new();
    group.key(&spread(), put("a", "one"));
    let asked = request(Action::Key(spread(), put("a", "one")));
    let error = apply(&mut Book::default(), &group.rows, 2, &asked).unwrap_err();
    assert_eq!(error, ApplyError::OutOfOrder { index: 2, at: 2 });
    let catalog = Command::Catalog(Bytes::new());
    let error = apply(&mut Book::default(), &group.rows, 3, &catalog).unwrap_err();
    assert_eq!(error, ApplyError::NotHere);
}

#[test]
fn a_plain_put_changes_its_row_and_the_figures_once() {
    let mut group = Group::new();
    let asked = request(Action::Key(spread(), put("a", "one")));
    let outcome = group.outcome(&asked);
    assert_eq!((outcome.effects.len(), outcome.leases.len()), (1, 0));
}
