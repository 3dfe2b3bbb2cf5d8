//! Namespaces that come and go, seen by nodes that have not heard of it.

use super::*;
use crate::placement::{Layout, Mode, NamespaceLimits, Topology};

const NAME: &str = "jobs";

fn wanted(layout: Layout) -> NamespaceRequest {
    NamespaceRequest {
        name: NAME.into(),
        mode: Mode::Linearizable,
        layout,
        limits: NamespaceLimits::default(),
        quota: None,
        history: Duration::from_secs(300),
        data_type: None,
        topology: Topology::Mesh,
    }
}

async fn create(service: &Service, layout: Layout) {
    let made = service.create_namespace(wanted(layout), within(service, 2_000)).await.unwrap();
    assert!(made.created);
}

async fn remove(service: &Service) -> Result<NamespaceGone, ServiceError> {
    service.delete_namespace(NAME, within(service, 1_000)).await
}

async fn put_in(service: &Service, key: &str) -> Result<Wrote, ServiceError> {
    let key = Bytes::copy_from_slice(key.as_bytes());
    service.write(NAME, key, value("v").into(), within(service, 5_000)).await
}

async fn row_in(service: &Service, key: &str) -> Option<crate::model::Row> {
    let key = Bytes::copy_from_slice(key.as_bytes());
    let context = within(service, 5_000);
    service.get(NAME, key, ReadMode::Linearizable, context).await.unwrap().row
}

async fn counted(service: &Service) -> u64 {
    let request = ScanRequest::default();
    service.count(NAME, request, within(service, 5_000)).await.unwrap().count
}

async fn listed(service: &Service) -> usize {
    let context = within(service, 5_000);
    let page = service.scan(NAME, ScanRequest::default(), 100, None, context).await;
    page.unwrap().items.len()
}

/// Catches up after a moment.
async fn late(world: &World, node: u64) {
    tokio::time::sleep(Duration::from_millis(150)).await;
    world.release(node);
}

#[tokio::test]
async fn what_a_node_with_an_old_catalog_writes_after_a_new_start_is_there() {
    for (old, new) in [(Layout::Spread, Layout::Spread), (Layout::Ordered, Layout::Spread)] {
        let world = World::new();
        let (leader, other) = (world.service(1, true), world.service(2, true));
        create(&leader, old).await;
        put_in(&leader, "old").await.unwrap();
        world.hold(2);
        remove(&leader).await.unwrap();
        create(&leader, new).await;
        let keys = ["a", "b", "c", "d"];
        let puts = futures_util::future::join_all(keys.map(|key| put_in(&other, key)));
        let (wrote, ()) = tokio::join!(puts, late(&world, 2));
        for (key, wrote) in keys.iter().zip(wrote) {
            wrote.unwrap();
            assert!(row_in(&leader, key).await.is_some(), "{key} was acknowledged and is lost");
        }
    }
}

#[tokio::test]
async fn an_acknowledged_write_never_goes_to_a_deleted_namespace() {
    let world = World::new();
    let (leader, other) = (world.service(1, true), world.service(2, true));
    create(&leader, Layout::Spread).await;
    world.hold(2);
    remove(&leader).await.unwrap();
    let (wrote, ()) = tokio::join!(put_in(&other, "k"), late(&world, 2));
    let error = wrote.unwrap_err();
    assert_eq!((error.code(), error.outcome()), ("namespace_not_found", Outcome::NotApplied));
    world.hold(2);
    create(&leader, Layout::Spread).await;
    let (wrote, ()) = tokio::join!(put_in(&other, "k"), late(&world, 2));
    wrote.unwrap();
    assert!(row_in(&leader, "k").await.is_some());
}

#[tokio::test]
async fn no_linearizable_read_shows_what_a_deleted_namespace_held() {
    let world = World::new();
    let (leader, other) = (world.service(1, true), world.service(2, true));
    create(&leader, Layout::Spread).await;
    for key in ["a", "b", "c"] {
        put_in(&leader, key).await.unwrap();
    }
    world.hold(2);
    remove(&leader).await.unwrap();
    create(&leader, Layout::Spread).await;
    put_in(&leader, "new").await.unwrap();
    let reads = async { tokio::join!(row_in(&other, "a"), counted(&other), listed(&other)) };
    let ((row, count, keys), ()) = tokio::join!(reads, late(&world, 2));
    assert_eq!((row, count, keys), (None, 1, 1));
}

#[tokio::test]
async fn a_node_that_has_not_heard_of_a_namespace_asks_before_it_says_that_there_is_none() {
    let world = World::new();
    let (leader, other) = (world.service(1, true), world.service(2, true));
    world.hold(2);
    create(&leader, Layout::Spread).await;
    let batch = async {
        let step = KeyStep { key: Bytes::from_static(b"b"), step: Step::Write(value("v").into()) };
        let ops = vec![BatchOp { number: 0, step }];
        other.batch(NAME).run(ops, within(&other, 5_000)).await
    };
    let lock = async {
        let life = Life::Ttl(Duration::from_secs(10));
        let request = LockRequest { life, owner: "o".into(), wait: Duration::ZERO };
        let context = within(&other, 5_000);
        other.lock_acquire(NAME, Bytes::from_static(b"l"), request, context).await
    };
    let watch = async {
        let request = WatchRequest {
            range: KeyRange::default(),
            since: Since::Now,
            initial: false,
            previous: false,
            kinds: Kinds::ALL,
        };
        other.watch(NAME, request, within(&other, 5_000)).await
    };
    let described = other.namespace(NAME, within(&other, 5_000));
    let asked = async {
        tokio::join!(
            put_in(&other, "k"),
            row_in(&other, "none"),
            listed(&other),
            batch,
            lock,
            watch,
            described
        )
    };
    let ((wrote, row, _, batch, lock, watch, described), ()) = tokio::join!(asked, late(&world, 2));
    assert!(wrote.is_ok() && row.is_none() && batch.iter().all(Result::is_ok));
    assert!(lock.is_ok() && watch.is_ok() && described.is_ok());
}

#[tokio::test]
async fn requests_for_what_does_not_exist_share_their_questions() {
    let world = World::new();
    let (leader, other) = (world.service(1, true), world.service(2, true));
    // An answer takes its time: this node has not applied what it must know.
    world.hold(2);
    put(&leader, 1_000).await.unwrap();
    let reads = (0..100).map(|_| {
        let (other, context) = (other.clone(), within(&other, 5_000));
        async move { other.get("nope", Bytes::from_static(b"k"), ReadMode::Stale, context).await }
    });
    let reads = futures_util::future::join_all(reads);
    let (reads, ()) = tokio::join!(reads, late(&world, 2));
    for got in reads {
        assert_eq!(got.unwrap_err().code(), "namespace_not_found");
    }
    assert!(world.feeds() <= 10, "100 requests that came together asked {} times", world.feeds());
}

#[tokio::test]
async fn a_deletion_of_which_a_group_cannot_hear_is_unknown_and_holds_up_nobody_else() {
    let world = World::new();
    let service = world.service(1, true);
    create(&service, Layout::Spread).await;
    let deaf = service.route(NAME, b"k").unwrap().group;
    world.silence(Some(deaf));
    let away = (0..)
        .map(|n| format!("k{n}"))
        .find(|key| service.route("default", key.as_bytes()).unwrap().group != deaf);
    let elsewhere = async {
        let key = Bytes::from(away.unwrap());
        service.write("default", key, value("v").into(), within(&service, 900)).await
    };
    let (gone, wrote) = tokio::join!(remove(&service), elsewhere);
    let error = gone.unwrap_err();
    assert_eq!((error.code(), error.outcome()), ("undetermined", Outcome::Unknown));
    assert!(wrote.is_ok());
    world.silence(None);
    create(&service, Layout::Spread).await;
    put_in(&service, "k").await.unwrap();
    assert!(row_in(&service, "k").await.is_some());
}

fn once(service: &Service, key: &'static str, print: u8) -> Context {
    let key = Bytes::from_static(key.as_bytes());
    Context { once: Some(OnceKey { key, fingerprint: [print; 16] }), ..within(service, 2_000) }
}

#[tokio::test]
async fn a_repeated_change_of_a_namespace_gets_its_first_answer_and_changes_nothing() {
    let world = World::new();
    let (leader, other) = (world.service(1, true), world.service(2, true));
    let make = || leader.create_namespace(wanted(Layout::Ordered), once(&leader, "make", 1));
    let first = make().await.unwrap();
    let again = other.create_namespace(wanted(Layout::Ordered), once(&other, "make", 1));
    let again = again.await.unwrap();
    assert!(first.created && !first.replayed && again.created && again.replayed);
    assert_eq!(first.view.id, again.view.id);
    let quota = |quota, key| {
        let change = NamespaceChange { quota: Some(Some(quota)), ..NamespaceChange::default() };
        leader.change_namespace(NAME, change, once(&leader, key, 2))
    };
    quota(5_000, "one").await.unwrap();
    quota(6_000, "two").await.unwrap();
    let repeated = quota(5_000, "one").await.unwrap();
    assert!(repeated.replayed && repeated.view.quota == Some(5_000), "as it was then");
    let now = leader.namespace(NAME, within(&leader, 1_000)).await.unwrap();
    assert_eq!(now.quota, Some(6_000));
    let gone = leader.delete_namespace(NAME, once(&leader, "gone", 3)).await.unwrap();
    create(&leader, Layout::Spread).await;
    put_in(&leader, "k").await.unwrap();
    let late = other.delete_namespace(NAME, once(&other, "gone", 3)).await.unwrap();
    assert!(!gone.replayed && late.replayed && late.epoch == gone.epoch);
    assert!(row_in(&leader, "k").await.is_some(), "the new one is spared");
    let late = make().await.unwrap();
    assert!(late.replayed && late.view.id == first.view.id, "also when that one is gone");
    let other = leader.delete_namespace("default", once(&leader, "gone", 4)).await.unwrap_err();
    assert_eq!(other.code(), "idempotency_mismatch");
}

#[tokio::test]
async fn a_refusal_is_repeated_as_a_first_answer() {
    let world = World::new();
    let service = world.service(1, true);
    let refused = |key| {
        let require = Condition::Exists;
        let request = KeyRequest { require, ..KeyRequest::from(value("v")) };
        service.write("default", Bytes::from_static(b"k"), request, once(&service, key, 1))
    };
    let first = refused("a").await.unwrap_err();
    put(&service, 1_000).await.unwrap();
    let again = refused("a").await.unwrap_err();
    assert_eq!((first.code(), again.code()), ("precondition_failed", "precondition_failed"));
    assert!(!first.replayed && again.replayed);
    assert!(refused("b").await.is_ok());
}

#[tokio::test]
async fn a_full_namespace_still_repeats_its_first_answers() {
    let world = World::new();
    let service = world.service(1, true);
    let write = |key, text| {
        service.write(
            "default",
            Bytes::from_static(b"k"),
            value(text).into(),
            once(&service, key, 1),
        )
    };
    write("a", "v").await.unwrap();
    let id = service.catalog().unwrap().namespace("default").unwrap().id;
    world.edit_catalog(|catalog| {
        catalog.namespaces.get_mut("default").unwrap().quota = Some(100);
    });
    service.usage().set([(id, (100, 1))].into());
    assert!(write("a", "v").await.unwrap().replayed);
    assert_eq!(write("b", "longer").await.unwrap_err().code(), "quota_exceeded");
    service.usage().set([(id, (10, 1))].into());
    let wrote = write("b", "longer").await.unwrap();
    assert!(!wrote.replayed, "a refusal for want of room is not kept");
}

#[tokio::test]
async fn a_cursor_from_before_its_history_was_off_is_gone() {
    let world = World::new();
    let service = world.service(1, true);
    create(&service, Layout::Spread).await;
    let watch = |since| {
        let request = WatchRequest {
            range: KeyRange::default(),
            since,
            initial: false,
            previous: false,
            kinds: Kinds::ALL,
        };
        service.watch(NAME, request, within(&service, 2_000))
    };
    let page = |cursor: Option<String>| {
        let (service, context) = (service.clone(), within(&service, 2_000));
        async move { service.scan(NAME, ScanRequest::default(), 1, cursor.as_deref(), context).await }
    };
    put_in(&service, "a").await.unwrap();
    put_in(&service, "b").await.unwrap();
    let cursor = watch(Since::Now).await.unwrap().cursor().to_string();
    let next = page(None).await.unwrap().next.unwrap();
    for history in [0, 300] {
        let history = Some(Duration::from_secs(history));
        let change = NamespaceChange { history, ..NamespaceChange::default() };
        service.change_namespace(NAME, change, within(&service, 2_000)).await.unwrap();
        put_in(&service, "unseen").await.unwrap();
    }
    let error = watch(Since::Cursor(cursor)).await.unwrap_err();
    let ErrorKind::CursorGone { restart: Some(restart), .. } = &error.kind else {
        panic!("{error}")
    };
    assert_eq!(error.code(), "history_trimmed");
    assert!(watch(Since::Cursor(restart.clone())).await.is_ok());
    assert_eq!(page(Some(next)).await.unwrap_err().code(), "view_gone");
}
