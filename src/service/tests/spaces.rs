//! Namespaces that come and go, seen by nodes that have not heard of it.

use super::*;
use crate::placement::{Layout, Mode, NamespaceLimits};

const NAME: &str = "jobs";

fn wanted(layout: Layout) -> NamespaceRequest {
    NamespaceRequest {
        name: NAME.into(),
        mode: Mode::Linearizable,
        layout,
        limits: NamespaceLimits::default(),
        quota: None,
        history: Duration::from_secs(300),
    }
}

async fn create(service: &Service, layout: Layout) {
    let made = service.create_namespace(wanted(layout), within(service, 2_000)).await.unwrap();
    assert!(made.created);
}

async fn remove(service: &Service) -> Result<u64, ServiceError> {
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
        for key in ["a", "b", "c", "d"] {
            world.release(2);
            world.hold(2);
            let (wrote, ()) = tokio::join!(put_in(&other, key), late(&world, 2));
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
