//! Once keys under lost answers, and requests that were routed by an old catalog.

use super::*;
const DEFAULT_NAMESPACE: &str = "default";

fn once(key: &'static str, fingerprint: u8) -> Option<OnceKey> {
    Some(OnceKey { key: Bytes::from_static(key.as_bytes()), fingerprint: [fingerprint; 16] })
}

async fn put_once(service: &Service, key: &'static str, print: u8) -> Result<Wrote, ServiceError> {
    let context = Context { once: once(key, print), ..within(service, 5_000) };
    service.write("default", Bytes::from_static(b"k"), value("v").into(), context).await
}

async fn version(service: &Service) -> u64 {
    get(service, ReadMode::Linearizable, 1_000).await.unwrap().row.unwrap().version
}

#[tokio::test]
async fn a_once_key_makes_a_lost_answer_an_answer_with_one_effect() {
    let world = World::new();
    let (leader, service) = (world.service(1, true), world.service(2, true));
    world.set_way(1, Way::Deaf);
    let heal = async {
        while world.proposals() == 0 {
            tokio::task::yield_now().await;
        }
        world.set_way(1, Way::Open);
    };
    let (wrote, ()) = tokio::join!(put_once(&service, "a", 1), heal);
    let wrote = wrote.unwrap();
    assert!(wrote.replayed && is_put(&wrote, true));
    assert_eq!((version(&leader).await, world.proposals()), (1, 2));
}

#[tokio::test]
async fn a_leader_that_loses_its_own_answer_is_asked_again() {
    let world = World::new();
    let service = world.service(1, true);
    world.lose_next(2);
    assert!(is_put(&put_once(&service, "a", 1).await.unwrap(), true));
    assert_eq!((version(&service).await, world.proposals()), (1, 3));
}

#[tokio::test]
async fn a_once_key_for_another_request_is_refused() {
    let world = World::new();
    let service = world.service(1, true);
    put_once(&service, "a", 1).await.unwrap();
    let error = put_once(&service, "a", 2).await.unwrap_err();
    assert_eq!((error.code(), error.outcome()), ("idempotency_mismatch", Outcome::NotApplied));
    assert!(put_once(&service, "b", 2).await.is_ok());
}

#[tokio::test]
async fn answers_that_stay_lost_end_as_undetermined() {
    let world = World::new();
    let (_leader, service) = (world.service(1, true), world.service(2, true));
    world.set_way(1, Way::Deaf);
    let context = Context { once: once("a", 1), ..within(&service, 600) };
    let key = Bytes::from_static(b"k");
    let error = service.write("default", key, value("v").into(), context).await.unwrap_err();
    assert_eq!((error.code(), error.outcome()), ("undetermined", Outcome::Unknown));
    assert!(world.proposals() > 1, "it was tried again");
}

#[tokio::test]
async fn what_an_old_catalog_routed_waits_for_the_newer_one_and_starts_over() {
    let world = World::new();
    let service = world.service(1, true);
    world.own(7, 0, Slot::COUNT - 1);
    let learn = async {
        while world.proposals() == 0 {
            tokio::task::yield_now().await;
        }
        world.edit_catalog(|catalog| catalog.epoch = 7);
    };
    let (wrote, ()) = tokio::join!(put(&service, 5_000), learn);
    assert!(is_put(&wrote.unwrap(), true));
    assert_eq!(version(&service).await, 1);
}

#[tokio::test]
async fn a_namespace_that_went_meanwhile_is_not_found_and_nothing_was_done() {
    let world = World::new();
    let service = world.service(1, true);
    put(&service, 1_000).await.unwrap();
    world.own(7, 0, Slot::COUNT - 1);
    let learn = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        world.edit_catalog(|catalog| {
            catalog.epoch = 7;
            catalog.namespaces.remove(DEFAULT_NAMESPACE);
        });
    };
    let asked = async {
        let wrote = put(&service, 5_000);
        let got = get(&service, ReadMode::Stale, 5_000);
        tokio::join!(wrote, got)
    };
    let ((wrote, got), ()) = tokio::join!(asked, learn);
    let error = wrote.unwrap_err();
    assert_eq!((error.code(), error.outcome()), ("namespace_not_found", Outcome::NotApplied));
    assert_eq!(got.unwrap_err().code(), "namespace_not_found");
}
