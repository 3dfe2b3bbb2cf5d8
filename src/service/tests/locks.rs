//! Leases and locks: lines, waiting, giving up.

use super::*;
use crate::model::{Holder, LeaseId};

const TTL: Duration = Duration::from_secs(10);

fn asks(owner: &str, wait_ms: u64) -> LockRequest {
    let wait = Duration::from_millis(wait_ms);
    LockRequest { life: Life::Ttl(TTL), owner: owner.into(), wait }
}

async fn acquire(service: &Service, request: LockRequest) -> Result<LockDone, ServiceError> {
    let context = within(service, 10_000);
    service.lock_acquire("default", Bytes::from_static(b"l"), request, context).await
}

async fn look(service: &Service) -> LockView {
    let context = within(service, 1_000);
    service.lock_get("default", Bytes::from_static(b"l"), context).await.unwrap()
}

async fn release(service: &Service, token: u64) -> Result<LockView, ServiceError> {
    let by = Holder::Token(token);
    service.lock_release("default", Bytes::from_static(b"l"), by, within(service, 1_000)).await
}

/// Waits until so many stand in the lock's line.
async fn until_line(service: &Service, waiting: usize) {
    while look(service).await.queue.len() != waiting {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_lock_goes_from_one_to_the_next_with_a_larger_token() {
    let world = World::new();
    let (leader, follower) = (world.service(1, true), world.service(2, true));
    let first = acquire(&leader, asks("one", 0)).await.unwrap();
    let hand_over = async {
        until_line(&leader, 1).await;
        release(&leader, first.token).await.unwrap();
    };
    let (second, ()) = tokio::join!(acquire(&follower, asks("two", 5_000)), hand_over);
    let second = second.unwrap();
    assert!(second.token > first.token);
    let view = look(&leader).await;
    assert_eq!(view.holder.unwrap().owner, "two");
    assert_eq!(release(&leader, first.token).await.unwrap_err().code(), "lock_not_held");
}

#[tokio::test]
async fn a_node_without_replicas_waits_through_another_one() {
    let world = World::new();
    let (leader, outside) = (world.service(1, true), world.service(9, false));
    let first = acquire(&leader, asks("one", 0)).await.unwrap();
    let hand_over = async {
        until_line(&leader, 1).await;
        release(&leader, first.token).await.unwrap();
    };
    let (second, ()) = tokio::join!(acquire(&outside, asks("two", 5_000)), hand_over);
    assert!(second.unwrap().token > first.token);
}

#[tokio::test]
async fn a_busy_lock_says_who_holds_it_and_leaves_nothing_behind() {
    let world = World::new();
    let service = world.service(1, true);
    let held = acquire(&service, asks("one", 0)).await.unwrap();
    for wait in [0, 100] {
        let error = acquire(&service, asks("two", wait)).await.unwrap_err();
        let ErrorKind::LockBusy { holder: Some(holder) } = &error.kind else { panic!("{error}") };
        assert_eq!((holder.owner.as_str(), error.outcome()), ("one", Outcome::NotApplied));
        assert!(look(&service).await.queue.is_empty(), "the place was given up");
    }
    assert_eq!(look(&service).await.holder.unwrap().token, held.token);
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_the_line() {
    let world = World::new();
    let service = world.service(1, true);
    let _held = acquire(&service, asks("one", 0)).await.unwrap();
    let mut waiting = Box::pin(acquire(&service, asks("two", 5_000)));
    tokio::select! {
        result = &mut waiting => panic!("{result:?}"),
        () = until_line(&service, 1) => {}
    }
    drop(waiting);
    until_line(&service, 0).await;
}

#[tokio::test]
async fn an_enqueue_whose_answer_is_lost_stands_in_line_once() {
    let world = World::new();
    let service = world.service(1, true);
    let granted = service.lease_grant(TTL, None, within(&service, 1_000)).await.unwrap();
    world.lose_next(1);
    let request = LockRequest { life: Life::Lease(granted.id), ..asks("one", 0) };
    let done = acquire(&service, request).await.unwrap();
    let view = look(&service).await;
    assert_eq!((view.holder.unwrap().token, view.queue.len()), (done.token, 0));
}

#[tokio::test]
async fn a_lease_lives_until_it_is_revoked_and_is_found_again_by_its_once_key() {
    let world = World::new();
    let service = world.service(1, true);
    let key = Bytes::from_static(b"lease-1");
    let once = Some(OnceKey { key, fingerprint: [0; 16] });
    let grant = || {
        let context = Context { once: once.clone(), ..within(&service, 1_000) };
        service.lease_grant(TTL, None, context)
    };
    let granted = grant().await.unwrap();
    assert_eq!(grant().await.unwrap().id, granted.id);
    let context = || within(&service, 1_000);
    assert_eq!(service.lease_get(granted.id, context()).await.unwrap().ttl, TTL);
    assert_eq!(service.lease_renew(granted.id, context()).await.unwrap().ttl, TTL);
    service.lease_revoke(granted.id, context()).await.unwrap();
    let error = service.lease_get(granted.id, context()).await.unwrap_err();
    assert_eq!(error.code(), "lease_not_found");
}

#[tokio::test]
async fn only_a_lease_that_lives_can_be_attached_whatever_its_home() {
    let world = World::new();
    let service = world.service(1, true);
    let granted = service.lease_grant(TTL, None, within(&service, 1_000)).await.unwrap();
    let attach = |key: String, id: LeaseId| {
        let op =
            WriteOp::Put { value: Bytes::new(), content_type: None, attach: Attach::Lease(id) };
        let (service, context) = (service.clone(), within(&service, 1_000));
        async move { service.write("default", key.into(), op.into(), context).await }
    };
    for n in 0..20 {
        attach(format!("key-{n}"), granted.id).await.unwrap();
        let nobodys = LeaseId(granted.id.0 ^ 1);
        let error = attach(format!("key-{n}"), nobodys).await.unwrap_err();
        assert_eq!(error.code(), "lease_not_found");
    }
}

#[tokio::test]
async fn a_repeated_request_for_a_lock_that_was_given_back_does_not_take_it_again() {
    let world = World::new();
    let service = world.service(1, true);
    let key = Bytes::from_static(b"lock-1");
    let context = || {
        let once = Some(OnceKey { key: key.clone(), fingerprint: [0; 16] });
        Context { once, ..within(&service, 2_000) }
    };
    let ask =
        || service.lock_acquire("default", Bytes::from_static(b"l"), asks("one", 0), context());
    let first = ask().await.unwrap();
    let held = ask().await.unwrap();
    assert!(!first.replayed && held.replayed && held.token == first.token);
    release(&service, first.token).await.unwrap();
    service.lease_revoke(first.lease, within(&service, 1_000)).await.unwrap();
    let late = ask().await.unwrap();
    assert!(late.replayed && late.token == first.token, "the first answer");
    assert_eq!(look(&service).await.holder, None, "nobody holds it");
}
