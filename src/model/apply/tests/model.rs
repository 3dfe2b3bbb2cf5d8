//! Random requests: what must hold after each, against a recount and a plain reading of replies.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::model::lease::LeaseRow;
use crate::model::lock::LockRow;
use crate::model::op::{Compare, Holder, LeaseOp, LockOp, NumberOp, Patch, Test, Txn, TxnOp};
use crate::model::rows::{
    ATTACHED, LEASE, LOCK, ONCE, ONCE_AT, TALLY_KEY, attached_key, figures_key, kind_rows,
    split_attached_key, split_data_key, split_lease_key,
};
use crate::model::{Figures, Tally, Tend};

fn any_space() -> impl Strategy<Value = Space> {
    let tight = Space { quota: Some(12), ..spread() };
    prop::sample::select(vec![tight, ordered()])
}

fn any_lease() -> impl Strategy<Value = LeaseId> {
    // Two of this home, one of another, and own ones as they may come to be.
    let ids = vec![
        LeaseId::new(slot(3), 1),
        LeaseId::new(slot(3), 2),
        LeaseId::new(slot(7000), 1),
        LeaseId::own(slot(3), 4),
        LeaseId::own(slot(3), 9),
    ];
    prop::sample::select(ids)
}

fn any_key_op() -> impl Strategy<Value = KeyOp> {
    let key = prop::sample::select(vec!["a", "b", "c", "d"]);
    let value = prop::sample::select(vec!["", "1", "12345", "x"]);
    let attach = prop_oneof![
        3 => Just(Attach::None),
        3 => any_lease().prop_map(Attach::Lease),
        2 => (0u64..3).prop_map(Attach::Ttl),
    ];
    let op = prop_oneof![
        5 => (value.clone(), attach).prop_map(|(value, attach)| WriteOp::Put {
            value: value.into(),
            content_type: None,
            attach,
        }),
        2 => Just(WriteOp::Delete),
        1 => value.prop_map(|more| WriteOp::Patch { patch: Patch::Append(more.into()) }),
        1 => Just(WriteOp::Patch { patch: Patch::Number(NumberOp::Add("7".parse().unwrap())) }),
    ];
    let require = prop_oneof![
        4 => Just(Require::None), 1 => Just(Require::Exists), 1 => Just(Require::Missing),
    ];
    (key, op, require).prop_map(|(key, op, require)| KeyOp { require, ..on(key, op) })
}

fn any_action() -> impl Strategy<Value = Action> {
    let lease = (any_lease(), 0u8..4).prop_map(|(id, which)| match which {
        0 | 1 => LeaseOp::Grant { id, ttl_ms: 5 },
        2 => LeaseOp::Renew { id },
        _ => LeaseOp::Revoke { id },
    });
    let name = prop::sample::select(vec!["l", "m"]).prop_map(Bytes::from);
    let lock = (name, any_lease(), 0u8..4).prop_map(|(name, lease, which)| {
        let owner = String::new();
        match which {
            0 => LockOp::Release { slot: slot(3), name, by: Holder::Lease(lease) },
            _ => LockOp::Acquire { slot: slot(3), name, lease, owner, queue: which > 1 },
        }
    });
    let ops = || prop::collection::vec(any_key_op(), 0..4);
    let txn = (ops(), any::<bool>()).prop_map(|(ops, exists)| Txn {
        compare: vec![Compare { slot: slot(3), key: "a".into(), test: Test::Exists(exists) }],
        then: ops.into_iter().map(TxnOp::Write).collect(),
        or_else: vec![TxnOp::Get { slot: slot(3), key: "a".into() }],
    });
    prop_oneof![
        6 => (any_space(), any_key_op()).prop_map(|(space, op)| Action::Key(space, op)),
        2 => (any_space(), ops()).prop_map(|(space, ops)| Action::Many(space, ops)),
        2 => (any_space(), txn).prop_map(|(space, txn)| Action::Txn(space, txn)),
        3 => lease.prop_map(Action::Lease),
        3 => (any_space(), lock).prop_map(|(space, lock)| Action::Lock(space, lock)),
    ]
}

fn any_command() -> impl Strategy<Value = Command> {
    let once = prop::option::weighted(0.3, (prop::sample::select(vec!["k", "l"]), 0u8..2));
    let asked = (once, any_action(), 0u64..3).prop_map(|(once, action, epoch)| {
        let mut asked = match once {
            Some((key, fingerprint)) => request_once(key, fingerprint, action),
            None => request(action),
        };
        if let Command::Request(asked) = &mut asked {
            // Mostly the epoch that is known, or a newer one.
            asked.epoch = epoch.max(1);
        }
        asked
    });
    let expire = prop::collection::vec((any_lease(), 1u64..30), 0..3);
    let tend = (expire, prop::collection::vec(any_lease(), 0..2), 0u64..20, any::<u8>()).prop_map(
        |(expire, gone, forget, purge)| {
            Command::Tend(Tend {
                expire,
                gone,
                forget: if forget > 10 { forget } else { 0 },
                purge: (purge < 60).then_some((NamespaceId(1), 3)),
            })
        },
    );
    prop_oneof![8 => asked, 1 => tend]
}

/// What must hold of the rows after every entry.
fn check(group: &Group) {
    let rows = &group.rows;
    let all = |kind: u8| {
        let (from, to) = kind_rows(kind);
        rows.scan(&from, &to, usize::MAX).unwrap()
    };
    let (mut figures, mut attached) = (BTreeMap::<_, Figures>::new(), BTreeSet::new());
    for (row_key, bytes) in all(crate::model::rows::DATA) {
        let (namespace, key) = split_data_key(&row_key).unwrap();
        let row = Row::decode(&bytes).unwrap();
        let figures = figures.entry(namespace).or_default();
        figures.bytes += u64::try_from(key.len() + row.value.len()).unwrap();
        figures.keys += 1;
        attached.extend(row.lease.map(|lease| attached_key(lease, &row_key)));
    }
    for space in [spread(), ordered()] {
        let stored = rows.rows.get(&figures_key(space.id)).map(|row| Figures::decode(row).unwrap());
        let stored = stored.unwrap_or_default();
        let counted = figures.remove(&space.id).unwrap_or_default();
        assert_eq!((stored.bytes, stored.keys), (counted.bytes, counted.keys), "a recount");
    }
    for (row_key, bytes) in all(LOCK) {
        let queue = LockRow::decode(&bytes).unwrap().queue;
        assert!(!queue.is_empty() && queue.is_sorted_by(|a, b| a.token < b.token));
        attached.extend(queue.iter().map(|place| attached_key(place.lease, &row_key)));
    }
    let stored: BTreeSet<_> = all(ATTACHED).into_iter().map(|(key, _)| key).collect();
    assert_eq!(stored, attached, "what depends on leases");
    let mut counts = BTreeMap::<LeaseId, u64>::new();
    for key in &stored {
        *counts.entry(split_attached_key(key).unwrap().0).or_default() += 1;
    }
    let tally = rows.rows.get(TALLY_KEY).map(|row| Tally::decode(row).unwrap()).unwrap_or_default();
    let leases = all(LEASE);
    assert_eq!(tally.leases, u64::try_from(leases.len()).unwrap());
    for (key, bytes) in &leases {
        let (id, row) = (split_lease_key(key).unwrap(), LeaseRow::decode(bytes).unwrap());
        assert_eq!(row.keys, counts.remove(&id).unwrap_or(0), "keys of lease {id}");
        assert!(row.keys > 0 || !(row.borrowed || id.is_own()), "lease {id} is for nothing");
    }
    assert!(counts.is_empty(), "without a lease: {counts:?}");
    let known: Vec<_> = group.leases.values().copied().collect();
    assert_eq!(super::super::leases(rows).unwrap(), known, "as events told it");
    let records = all(ONCE);
    let bytes: usize = records.iter().map(|(key, row)| key.len() + row.len()).sum();
    assert_eq!(tally.once_records, u64::try_from(records.len()).unwrap());
    assert_eq!(tally.once_bytes, u64::try_from(bytes).unwrap());
    assert_eq!(all(ONCE_AT).len(), records.len());
}

/// The effects name each row once, and nothing was promised that they do not keep.
fn check_outcome(before: &Rows, outcome: &Outcome, command: &Command) {
    let keys: BTreeSet<_> = outcome.effects.iter().map(|effect| &effect.key).collect();
    assert_eq!(keys.len(), outcome.effects.len(), "each row changes once");
    if matches!(
        outcome.reply,
        Reply::Replayed { .. } | Reply::OnceMismatch | Reply::NotOwner { .. }
    ) {
        assert!(outcome.effects.is_empty());
    }
    for effect in &outcome.effects {
        // Every change of a recorded namespace is in the history, but for what is purged.
        let data = split_data_key(&effect.key).is_some_and(|(ns, _)| ns == spread().id);
        let purged = matches!(command, Command::Tend(_)) && effect.value.is_none();
        assert!(!data || purged || effect.recorded.is_some());
        if let Some(recorded) = &effect.recorded {
            assert_eq!(recorded.before, before.rows.get(&effect.key).cloned());
            assert_eq!(recorded.note == NOTE_PUT, effect.value.is_some());
        }
    }
}

proptest! {
    #[test]
    fn whatever_is_asked_rows_agree_with_each_other_and_requests_are_done_once(
        commands in prop::collection::vec(any_command(), 0..40),
    ) {
        let mut group = Group::new();
        let mut holders = BTreeMap::<Bytes, u64>::new();
        let mut remembered = BTreeMap::<(Bytes, [u8; 16]), (u64, Reply)>::new();
        let mut kept = BTreeSet::new();
        for command in &commands {
            if matches!(command, Command::Tend(_)) {
                // It may forget any of them.
                kept.clear();
            }
            let before = group.rows.clone();
            let used = |rows: &Rows| {
                let row = rows.rows.get(&figures_key(spread().id));
                row.map_or(0, |row| Figures::decode(row).unwrap().bytes)
            };
            let outcome = group.outcome(command);
            check_outcome(&before, &outcome, command);
            check(&group);
            prop_assert!(used(&group.rows) <= used(&before).max(12), "the quota holds");
            let (from, to) = kind_rows(LOCK);
            for (key, row) in group.rows.scan(&from, &to, usize::MAX).unwrap() {
                let token = LockRow::decode(&row).unwrap().queue[0].token;
                let last = holders.insert(key, token).unwrap_or(0);
                prop_assert!(last <= token, "tokens of holders grow");
            }
            let Command::Request(Request { once: Some(once), .. }) = command else { continue };
            let name = (once.key.clone(), once.fingerprint);
            match outcome.reply {
                Reply::Replayed { index, reply } => {
                    prop_assert_eq!(remembered.get(&name), Some(&(index, *reply)));
                }
                Reply::NotOwner { .. } | Reply::OnceMismatch => {}
                // Another try, each time.
                reply if super::super::is_full(&reply) => {}
                reply => {
                    prop_assert!(kept.insert(name.clone()), "done twice");
                    remembered.insert(name, (group.index, reply));
                }
            }
        }
    }

    #[test]
    fn replicas_with_other_batches_come_to_the_same_rows_and_replies(
        commands in prop::collection::vec((any_command(), any::<bool>()), 0..40),
    ) {
        let mut one_by_one = Group::new();
        let (mut rows, mut book) = (one_by_one.rows.clone(), Book::default());
        for (index, (command, cut)) in (2u64..).zip(&commands) {
            let outcome = apply(&mut book, &rows, index, command).unwrap();
            rows.put(outcome.effects);
            prop_assert_eq!(one_by_one.run(command), outcome.reply, "entry {}", index);
            if *cut {
                rows.put(book.flush());
                book = Book::default();
            }
        }
        rows.put(book.flush());
        prop_assert_eq!(&rows, &one_by_one.rows);
    }
}
