//! Transactions, batches, namespaces: what is refused, in which order it happens, who loses what.

use super::*;
use crate::model::Cmp;
use crate::placement::{Layout, Mode, NamespaceLimits, Topology};

fn write(key: &str, text: &'static str) -> KeyStep {
    KeyStep { key: Bytes::copy_from_slice(key.as_bytes()), step: Step::Write(value(text).into()) }
}

fn read(key: &str) -> KeyStep {
    KeyStep { key: Bytes::copy_from_slice(key.as_bytes()), step: Step::Get }
}

fn numbered(steps: Vec<KeyStep>) -> Vec<BatchOp> {
    (0..).zip(steps).map(|(number, step)| BatchOp { number, step }).collect()
}

#[tokio::test]
async fn a_txn_over_groups_is_refused_with_the_groups_and_a_tag_is_the_remedy() {
    let world = World::new();
    let service = world.service(1, true);
    let txn = |keys: [&str; 2]| {
        let then = keys.map(|key| write(key, "v")).to_vec();
        let request = TxnRequest { then, ..TxnRequest::default() };
        let context = within(&service, 1_000);
        let service = service.clone();
        async move { service.txn("default", request, context).await }
    };
    let error = txn(["a", "b"]).await.unwrap_err();
    let ErrorKind::CrossGroup { groups } = &error.kind else { panic!("{error}") };
    assert_eq!((groups.len(), error.outcome()), (2, Outcome::NotApplied));
    assert!(error.to_string().contains("{tag}"), "{error}");
    assert!(txn(["a{t}", "b{t}"]).await.unwrap().reply.succeeded);
    assert_eq!(txn(["a{t}", "a{t}"]).await.unwrap_err().code(), "duplicate_key");
    assert_eq!(world.proposals(), 1);
}

#[tokio::test]
async fn a_txn_compares_and_takes_one_of_its_branches() {
    let world = World::new();
    let service = world.service(1, true);
    let key = Bytes::from_static(b"k");
    let request = TxnRequest {
        compare: vec![Comparison { key, check: Check::Version(Cmp::Eq, 0) }],
        then: vec![write("k", "new")],
        or_else: vec![read("k")],
    };
    let first = service.txn("default", request.clone(), within(&service, 1_000)).await.unwrap();
    let second = service.txn("default", request, within(&service, 1_000)).await.unwrap();
    assert!(first.reply.succeeded && !second.reply.succeeded);
    let [KeyReply::Found(Some(row))] = second.reply.results.as_slice() else {
        panic!("{second:?}")
    };
    assert_eq!((row.value.as_ref(), row.at), (&b"new"[..], first.index));
}

#[tokio::test]
async fn a_txn_that_is_too_large_is_refused_unproposed() {
    let world = World::new();
    let service = world.service(1, true);
    let then = (0..200).map(|n| write(&format!("{n}{{t}}"), "v")).collect();
    let request = TxnRequest { then, ..TxnRequest::default() };
    let error = service.txn("default", request, within(&service, 1_000)).await.unwrap_err();
    assert_eq!((error.code(), world.proposals()), ("invalid", 0));
}

#[tokio::test]
async fn a_condition_that_does_not_hold_says_what_was_found() {
    let world = World::new();
    let service = world.service(1, true);
    let wrote = put(&service, 1_000).await.unwrap();
    let mine = EntityTag { group: wrote.group, at: wrote.index };
    let others = EntityTag { group: GroupId(wrote.group.0 + 1), ..mine };
    let on = |tag| {
        let require = Condition::Any(vec![tag]);
        let request = KeyRequest { require, ..KeyRequest::from(value("w")) };
        let (service, context) = (service.clone(), within(&service, 1_000));
        async move { service.write("default", Bytes::from_static(b"k"), request, context).await }
    };
    let error = on(others).await.unwrap_err();
    assert_eq!((error.code(), error.outcome()), ("precondition_failed", Outcome::NotApplied));
    assert!(matches!(error.kind, ErrorKind::Unmet { tag: Some(tag), .. } if tag == mine));
    assert!(is_put(&on(mine).await.unwrap(), false));
}

#[tokio::test]
async fn a_batch_does_the_operations_of_a_key_in_their_order() {
    let world = World::new();
    let service = world.service(1, true);
    let ops = numbered(vec![
        write("k", "one"),
        read("k"),
        write("other", "x"),
        write("k", "two"),
        read("k"),
        write("k", "three"),
    ]);
    let results = service.batch("default").run(ops, within(&service, 2_000)).await;
    let text = |n: usize| match &results[n].as_ref().unwrap().reply {
        KeyReply::Found(Some(row)) => String::from_utf8_lossy(&row.value).into_owned(),
        other => panic!("{n}: {other:?}"),
    };
    assert_eq!((text(1), text(4)), ("one".to_owned(), "two".to_owned()));
    let row = get(&service, ReadMode::Linearizable, 1_000).await.unwrap().row.unwrap();
    assert_eq!((row.value.as_ref(), row.version), (&b"three"[..], 3));
}

#[tokio::test]
async fn the_loss_of_one_entry_leaves_the_others_and_holds_back_what_follows_on_its_keys() {
    let world = World::new();
    let service = world.service(1, true);
    let spread: Vec<_> = (0..40).map(|n| write(&format!("key-{n}"), "v")).collect();
    let again = spread.clone();
    world.lose_next(1);
    let ops = numbered(spread.into_iter().chain(again).collect());
    let results = service.batch("default").run(ops, within(&service, 2_000)).await;
    let (first, second) = results.split_at(40);
    let lost = first.iter().filter(|result| result.is_err()).count();
    assert!(lost > 0 && lost < 40, "one group of eight lost its answer, {lost} operations");
    for (first, second) in first.iter().zip(second) {
        match first {
            Ok(_) => assert!(second.is_ok()),
            Err(error) => {
                assert_eq!(error.outcome(), Outcome::Unknown);
                let held = second.as_ref().unwrap_err();
                assert_eq!(held.outcome(), Outcome::NotApplied, "not begun: {held}");
            }
        }
    }
}

#[tokio::test]
async fn a_batch_that_is_repeated_with_its_once_key_has_one_effect() {
    let world = World::new();
    let service = world.service(1, true);
    let run = |ops: Vec<BatchOp>| {
        let key = Bytes::from_static(b"batch-1");
        let once = Some(OnceKey { key, fingerprint: [3; 16] });
        let context = Context { once, ..within(&service, 2_000) };
        let batch = service.batch("default");
        async move { batch.run(ops, context).await }
    };
    let ops = numbered(vec![write("k", "one"), write("other", "x"), write("k", "two")]);
    let first = run(ops.clone()).await;
    // Cut another way the second time.
    let (head, tail) = ops.split_at(1);
    let mut second = run(head.to_vec()).await;
    second.extend(run(tail.to_vec()).await);
    for (first, second) in first.iter().zip(&second) {
        let (first, second) = (first.as_ref().unwrap(), second.as_ref().unwrap());
        assert!(!first.replayed && second.replayed && first.index == second.index);
    }
    let row = get(&service, ReadMode::Linearizable, 1_000).await.unwrap().row.unwrap();
    assert_eq!((row.value.as_ref(), row.version), (&b"two"[..], 2));
}

#[tokio::test]
async fn a_full_namespace_refuses_growth_and_lets_deletes_pass() {
    let world = World::new();
    let service = world.service(1, true);
    put(&service, 1_000).await.unwrap();
    let id = service.catalog().unwrap().namespace("default").unwrap().id;
    world.edit_catalog(|catalog| {
        catalog.namespaces.get_mut("default").unwrap().quota = Some(100);
    });
    service.usage().set([(id, (99, 1))].into());
    put(&service, 1_000).await.unwrap();
    service.usage().set([(id, (100, 1))].into());
    let grow = |text| {
        let (service, context) = (service.clone(), within(&service, 1_000));
        async move {
            service.write("default", Bytes::from_static(b"k"), value(text).into(), context).await
        }
    };
    let error = grow("longer").await.unwrap_err();
    assert_eq!((error.code(), error.outcome()), ("quota_exceeded", Outcome::NotApplied));
    assert!(error.to_string().contains("uses 100 bytes of its quota of 100"), "{error}");
    assert!(grow("w").await.is_ok(), "what makes it no larger is taken");
    let delete = KeyRequest::from(WriteOp::Delete);
    let context = within(&service, 1_000);
    assert!(service.write("default", Bytes::from_static(b"k"), delete, context).await.is_ok());
}

#[tokio::test]
async fn namespaces_are_made_changed_and_deleted_and_known_here_at_once() {
    let world = World::new();
    let (_leader, service) = (world.service(1, true), world.service(2, true));
    let request = NamespaceRequest {
        name: "jobs".into(),
        mode: Mode::Linearizable,
        layout: Layout::Ordered,
        limits: NamespaceLimits::default(),
        quota: None,
        history: Duration::from_secs(300),
        data_type: None,
        topology: Topology::Mesh,
    };
    let context = || within(&service, 1_000);
    let made = service.create_namespace(request.clone(), context()).await.unwrap();
    assert!(made.created && made.view.groups == 1);
    assert!(!service.create_namespace(request.clone(), context()).await.unwrap().created);
    let other = NamespaceRequest { layout: Layout::Spread, ..request };
    let error = service.create_namespace(other, context()).await.unwrap_err();
    assert_eq!(error.code(), "namespace_exists");
    let change = NamespaceChange { quota: Some(Some(5_000)), ..NamespaceChange::default() };
    let view = service.change_namespace("jobs", change, context()).await.unwrap().view;
    assert_eq!((view.quota, view.history), (Some(5_000), Duration::from_secs(300)));
    service.delete_namespace("jobs", context()).await.unwrap();
    let error = service.namespace("jobs", context()).await.unwrap_err();
    assert_eq!(error.code(), "namespace_not_found");
    assert_eq!(service.namespaces(context()).await.unwrap().len(), 1);
}
