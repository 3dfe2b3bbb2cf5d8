//! What is bounded stays so, and what was removed is not looked through again.

use super::scenes::{acquire, granted, lease, lock};
use super::*;
use crate::model::op::{LeaseOp, Patch};
use crate::model::reply::{LeaseReply, LockReply, TendReply};
use crate::model::rows::{DATA, ONCE_AT, TALLY_KEY, figures_key, kind_rows, lock_key};
use crate::model::{Figures, Tally, Tend, once};
use crate::runtime::limits::{
    LEASE_KEYS_MAX, LEASES_MAX, LOCK_QUEUE_MAX, ONCE_BYTES_MAX, ONCE_RECORDS_MAX, PATCH_WORK_MAX,
    PURGE_ROWS_MAX, TEND_KEYS_MAX,
};

fn tally(group: &Group) -> Tally {
    let row = group.rows.rows.get(TALLY_KEY);
    row.map(|row| Tally::decode(row).unwrap()).unwrap_or_default()
}

fn set_tally(group: &mut Group, tally: Tally) {
    group.rows.rows.insert(Bytes::from_static(TALLY_KEY), tally.encode());
}

fn tended(group: &mut Group, tend: Tend) -> TendReply {
    match group.run(&Command::Tend(tend)) {
        Reply::Tended(reply) => reply,
        other => panic!("{other:?}"),
    }
}

fn many(group: &mut Group, space: &Space, ops: Vec<KeyOp>) -> Vec<KeyReply> {
    match group.run(&request(Action::Many(*space, ops))) {
        Reply::Many(replies) => replies,
        other => panic!("{other:?}"),
    }
}

/// Has as many keys depend on a lease as may.
fn fill(group: &mut Group, id: LeaseId, prefix: &str) {
    let op = |number| put_on(&format!("{prefix}{number:05}"), "1", Attach::Lease(id));
    let replies = many(group, &spread(), (0..LEASE_KEYS_MAX).map(op).collect());
    assert!(replies.iter().all(|reply| matches!(reply, KeyReply::Put { .. })));
}

#[test]
fn a_lease_carries_so_many_keys_and_they_all_vanish_with_it() {
    let mut group = Group::new();
    let id = granted(&mut group, 1);
    fill(&mut group, id, "a");
    let full = KeyReply::Denied(Denial::TooManyKeys { limit: LEASE_KEYS_MAX });
    assert_eq!(group.key(&spread(), put_on("b", "1", Attach::Lease(id))), full);
    let again = group.key(&spread(), put_on("a00007", "2", Attach::Lease(id)));
    assert!(matches!(again, KeyReply::Put { .. }), "it depends on it already");
    let LeaseReply::Revoked { keys, .. } = lease(&mut group, LeaseOp::Revoke { id }) else {
        panic!("revoked")
    };
    assert_eq!(keys, LEASE_KEYS_MAX);
    let (from, to) = kind_rows(DATA);
    assert_eq!(group.rows.scan(&from, &to, 1), Ok(vec![]));
    assert_eq!(tally(&group), Tally::default());
}

#[test]
fn one_entry_ends_only_so_many_keys_leases() {
    let mut group = Group::new();
    let count = TEND_KEYS_MAX / LEASE_KEYS_MAX + 2;
    for number in 1..=count {
        let id = granted(&mut group, number);
        fill(&mut group, id, &format!("{number}-"));
    }
    let expire: Vec<_> = group.leases.values().map(|lease| (lease.id, lease.renewed)).collect();
    let first = tended(&mut group, Tend { expire: expire.clone(), ..Tend::default() });
    assert_eq!((first.keys, first.expired, first.more), (TEND_KEYS_MAX, count - 2, true));
    let second = tended(&mut group, Tend { expire, ..Tend::default() });
    assert_eq!((second.expired, second.more, group.leases.len()), (2, false, 0));
}

#[test]
fn a_group_has_so_many_leases_of_whatever_kind() {
    let mut group = Group::new();
    group.key(&spread(), put_on("a", "1", Attach::Ttl(9)));
    let nearly = Tally { leases: LEASES_MAX - 1, ..tally(&group) };
    set_tally(&mut group, nearly);
    granted(&mut group, 1);
    let full = Denial::TooManyLeases { limit: LEASES_MAX };
    let id = LeaseId::new(slot(3), 2);
    let reply = lease(&mut group, LeaseOp::Grant { id, ttl_ms: 5 });
    assert_eq!(reply, LeaseReply::Denied(full.clone()));
    for attach in [Attach::Ttl(9), Attach::Lease(LeaseId::new(slot(7000), 1))] {
        let reply = group.key(&spread(), put_on("b", "1", attach));
        assert_eq!(reply, KeyReply::Denied(full.clone()));
    }
    let instead = group.key(&spread(), put_on("a", "2", Attach::Ttl(9)));
    assert!(matches!(instead, KeyReply::Put { .. }), "one ends for it");
}

#[test]
fn so_many_wait_for_a_lock() {
    let mut group = Group::new();
    for number in 0..LOCK_QUEUE_MAX {
        let id = granted(&mut group, u64::try_from(number).unwrap());
        assert!(!matches!(lock(&mut group, acquire(id, true)), LockReply::Denied(_)));
    }
    let id = granted(&mut group, 9999);
    let limit = u64::try_from(LOCK_QUEUE_MAX).unwrap();
    let full = LockReply::Denied(Denial::LockQueueFull { limit });
    assert_eq!(lock(&mut group, acquire(id, true)), full);
    assert!(matches!(lock(&mut group, acquire(id, false)), LockReply::Busy { .. }));
}

#[test]
fn the_oldest_results_are_forgotten_when_there_are_too_many() {
    let over_records = Tally { once_records: ONCE_RECORDS_MAX, ..Tally::default() };
    let over_bytes = Tally { once_bytes: ONCE_BYTES_MAX, ..Tally::default() };
    for over in [over_records, over_bytes] {
        let mut group = Group::new();
        let write = |key: &str| Action::Key(spread(), put(key, "1"));
        group.run(&request_once("k", 1, write("a")));
        group.run(&request_once("l", 1, write("b")));
        let known = tally(&group);
        let once_records = over.once_records.max(known.once_records);
        let once_bytes = over.once_bytes.max(known.once_bytes);
        set_tally(&mut group, Tally { once_records, once_bytes, ..known });
        group.run(&request_once("m", 1, write("c")));
        assert_eq!(once::oldest(&group.rows), Ok(Some(group.index)), "the newest stays");
        assert!(matches!(group.run(&request_once("k", 1, write("a"))), Reply::Key(_)));
    }
}

#[test]
fn a_result_that_came_and_went_leaves_the_same_rows_in_one_batch_and_in_two() {
    let once = request_once("k", 1, Action::Key(spread(), put("a", "1")));
    let purge = Command::Tend(Tend { purge: Some((NamespaceId(1), 9)), ..Tend::default() });
    let mut apart = Group::new();
    let (mut rows, mut book) = (apart.rows.clone(), Book::default());
    for (index, command) in (2..).zip([&once, &purge]) {
        rows.put(apply(&mut book, &rows, index, command).unwrap().effects);
        apart.run(command);
    }
    rows.put(book.flush());
    assert_eq!(rows, apart.rows);
}

#[test]
fn forgetting_begins_behind_what_was_forgotten_and_hides_nothing_to_come() {
    let mut group = Group::new();
    let write = || Action::Key(spread(), put("a", "1"));
    group.run(&request_once("k", 1, write()));
    let all = Tend { purge: Some((NamespaceId(1), 100)), ..Tend::default() };
    tended(&mut group, all.clone());
    tended(&mut group, all);
    // An index that no leader could know of yet.
    tended(&mut group, Tend { forget: 1_000_000, ..Tend::default() });
    assert_eq!(tally(&group).once_forgotten, group.index - 1);
    group.run(&request_once("l", 1, write()));
    group.rows.scans.0.take();
    assert_eq!(once::oldest(&group.rows), Ok(Some(group.index)));
    let scans = group.rows.scans.0.take();
    assert!(scans[0] > kind_rows(ONCE_AT).0 && scans.len() == 1);
}

#[test]
fn a_purge_never_looks_behind_what_it_removed() {
    let mut group = Group::new();
    let id = granted(&mut group, 1);
    for number in 0..8 {
        group.key(&spread(), put(&format!("{number}"), "1"));
    }
    group.run(&request_once("k", 1, Action::Key(spread(), put("8", "1"))));
    lock(&mut group, acquire(id, true));
    let mut removed: Option<Bytes> = None;
    loop {
        group.rows.scans.0.take();
        let purge = Some((NamespaceId(1), 3));
        let outcome = group.outcome(&Command::Tend(Tend { purge, ..Tend::default() }));
        for from in group.rows.scans.0.take() {
            assert!(removed.as_ref().is_none_or(|last| from > *last), "{from:?} {removed:?}");
        }
        let Reply::Tended(reply) = outcome.reply else { panic!("tended") };
        if reply.purged_all {
            break;
        }
        let kinds = [0x10, 0x12, 0x13];
        let gone = outcome.effects.into_iter().filter(|effect| effect.value.is_none());
        removed = gone.map(|e| e.key).filter(|key| kinds.contains(&key[0])).max().or(removed);
    }
    assert_eq!(namespace_has_rows(&group.rows, NamespaceId(1)), Ok(false));
}

#[test]
fn a_lock_that_passes_on_and_is_purged_in_one_entry_leaves_no_history() {
    let mut group = Group::new();
    for number in 1..=2 {
        let id = granted(&mut group, number);
        lock(&mut group, acquire(id, true));
    }
    let holder = group.leases[&LeaseId::new(slot(3), 1)];
    let expire = vec![(holder.id, holder.renewed)];
    let purge = Some((NamespaceId(1), 9));
    let outcome = group.outcome(&Command::Tend(Tend { expire, purge, ..Tend::default() }));
    let row_key = lock_key(NamespaceId(1), b"l");
    let effect = outcome.effects.iter().find(|effect| effect.key == row_key).unwrap();
    assert_eq!((&effect.value, &effect.recorded), (&None, &None));
}

#[test]
fn one_entry_purges_only_so_many_rows() {
    let mut group = Group::new();
    let rows = u64::from(PURGE_ROWS_MAX) + 1;
    let op = |number| put(&format!("{number}"), "");
    many(&mut group, &spread(), (0..rows).map(op).collect());
    let purge = Some((NamespaceId(1), u32::MAX));
    let reply = tended(&mut group, Tend { purge, ..Tend::default() });
    assert_eq!((reply.purged, reply.purged_all), (u64::from(PURGE_ROWS_MAX), false));
    let left = Figures::decode(&group.rows.rows[&figures_key(NamespaceId(1))]).unwrap();
    assert_eq!(left.keys, 1);
}

#[test]
fn the_patches_of_an_entry_share_one_budget() {
    let mut group = Group::new();
    let space = Space { value_bytes_max: 1 << 20, ..spread() };
    let long = format!("[{}1]", "1,".repeat(500_000));
    let ops: Vec<_> = (0..20).map(|number| put(&format!("{number}"), &long)).collect();
    many(&mut group, &space, ops);
    let patch = Patch::Json(Bytes::from_static(b"[]"));
    let op = |number: u8| on(&format!("{number}"), WriteOp::Patch { patch: patch.clone() });
    let replies = many(&mut group, &space, (0..20).map(op).collect());
    let done = replies.iter().take_while(|reply| matches!(reply, KeyReply::Patched { .. })).count();
    assert_eq!(done, PATCH_WORK_MAX / (long.len() + 2));
    let code = |reply: &KeyReply| match reply {
        KeyReply::Denied(denial) => denial.code(),
        _ => "",
    };
    assert!(replies[done..].iter().all(|reply| code(reply) == "patch_invalid"));
    assert!(matches!(group.key(&space, op(19)), KeyReply::Patched { .. }), "the next has its own");
}
