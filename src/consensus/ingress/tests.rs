//! When a batch gets a place, and how long a busy group pauses; in virtual time.

use futures_util::poll;
use tokio::time::{Instant, advance};

use super::*;

const FULL: usize = INGRESS_BATCH_ENTRIES_MAX;
const MOMENT: Duration = Duration::from_millis(1);

fn places() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(INGRESS_BATCHES_MAX))
}

#[tokio::test(start_paused = true)]
async fn an_idle_group_gives_a_place_at_once_and_keeps_the_others() {
    let (places, began) = (places(), Instant::now());
    let one = place(&places, 1).await.unwrap();
    assert_eq!((one.num_permits(), began.elapsed()), (1, Duration::ZERO));
    assert_eq!(places.available_permits(), INGRESS_BATCHES_MAX - 1);
    drop(one);
    assert_eq!(places.available_permits(), INGRESS_BATCHES_MAX);
}

#[tokio::test(start_paused = true)]
async fn a_batch_waits_for_the_one_under_way_and_goes_when_that_is_done() {
    let places = places();
    let first = place(&places, 1).await.unwrap();
    let (began, mut second) = (Instant::now(), Box::pin(place(&places, FULL - 1)));
    assert!(poll!(&mut second).is_pending());
    advance(INGRESS_LINGER_MAX - MOMENT).await;
    assert!(poll!(&mut second).is_pending());
    drop(first);
    let second = second.await.unwrap();
    assert_eq!(began.elapsed(), INGRESS_LINGER_MAX - MOMENT, "it does not wait its time out");
    assert_eq!(second.num_permits(), 1);
    assert_eq!(places.available_permits(), INGRESS_BATCHES_MAX - 1);
}

#[tokio::test(start_paused = true)]
async fn a_batch_follows_a_slow_one_after_the_bound() {
    let places = places();
    let slow = place(&places, 1).await.unwrap();
    let began = Instant::now();
    let second = place(&places, 1).await.unwrap();
    let waited = began.elapsed();
    assert!((INGRESS_LINGER_MAX..INGRESS_LINGER_MAX + MOMENT * 2).contains(&waited), "{waited:?}");
    assert_eq!(places.available_permits(), INGRESS_BATCHES_MAX - 2, "nothing is kept of the wait");
    drop((slow, second));
}

#[tokio::test(start_paused = true)]
async fn a_full_batch_does_not_wait_for_the_one_under_way() {
    let places = places();
    let _first = place(&places, 1).await.unwrap();
    let began = Instant::now();
    let second = place(&places, FULL).await.unwrap();
    assert_eq!((second.num_permits(), began.elapsed()), (1, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn no_more_batches_than_the_bound_are_under_way_however_long_they_take() {
    let places = places();
    let mut under_way = Vec::new();
    for _ in 0..INGRESS_BATCHES_MAX {
        under_way.push(place(&places, FULL).await.unwrap());
    }
    let (mut small, mut full) = (Box::pin(place(&places, 1)), Box::pin(place(&places, FULL)));
    assert!(poll!(&mut small).is_pending() && poll!(&mut full).is_pending());
    advance(INGRESS_LINGER_MAX * 100).await;
    assert!(poll!(&mut small).is_pending() && poll!(&mut full).is_pending());
    under_way.truncate(INGRESS_BATCHES_MAX - 1);
    let granted = full.await.unwrap();
    assert!(poll!(&mut small).is_pending(), "one that ends makes room for one");
    drop((granted, under_way));
    assert!(small.await.is_some());
    assert_eq!(places.available_permits(), INGRESS_BATCHES_MAX);
}

#[tokio::test(start_paused = true)]
async fn a_group_that_ends_gives_no_place() {
    let places = places();
    let _first = place(&places, 1).await.unwrap();
    let mut waiting = Box::pin(place(&places, 1));
    assert!(poll!(&mut waiting).is_pending());
    places.close();
    assert!(waiting.await.is_none());
    assert!(place(&places, FULL).await.is_none());
    assert!(place(&places, 1).await.is_none());
}

#[test]
fn a_shared_batch_pauses_for_a_part_of_its_time_and_at_most_for_the_bound() {
    let pace = Pace::default();
    assert_eq!(pace.pause(), Duration::ZERO, "nothing is known yet");
    pace.note(INGRESS_PAUSE_ENTRIES_MIN, MOMENT * 2);
    assert_eq!(pace.pause(), MOMENT * 2 / INGRESS_PAUSE_PART);
    pace.note(FULL, Duration::from_secs(60));
    assert_eq!(pace.pause(), INGRESS_PAUSE_MAX);
}

#[test]
fn a_batch_of_few_ends_the_pause() {
    let pace = Pace::default();
    pace.note(FULL, MOMENT * 2);
    assert!(!pace.pause().is_zero());
    pace.note(INGRESS_PAUSE_ENTRIES_MIN - 1, Duration::from_secs(60));
    assert_eq!(pace.pause(), Duration::ZERO, "whoever is alone does not wait for others");
}
