//! Reads by followers, sessions, bounds.

use super::*;

#[tokio::test]
async fn a_follower_asks_for_the_read_index_and_reads_itself() {
    let world = World::new();
    let (leader, follower) = (world.service(1, true), world.service(2, true));
    let wrote = put(&leader, 1_000).await.unwrap();
    let got = get(&follower, ReadMode::Linearizable, 1_000).await.unwrap();
    assert_eq!((got.served_by, got.index), (NodeId(2), wrote.index));
    assert_eq!(got.row.unwrap().at, wrote.index);
    assert_eq!(world.forwards(), [1], "the read index, nothing else");
}

#[tokio::test]
async fn a_follower_that_lags_passes_the_read_on() {
    let world = World::new();
    let (leader, follower) = (world.service(1, true), world.service(2, true));
    world.hold(2);
    let wrote = put(&leader, 1_000).await.unwrap();
    let got = get(&follower, ReadMode::Linearizable, 1_000).await.unwrap();
    assert_eq!((got.served_by, got.row.unwrap().at), (NodeId(1), wrote.index));
}

#[tokio::test]
async fn a_session_waits_for_what_it_has_seen() {
    let world = World::new();
    let (leader, follower) = (world.service(1, true), world.service(2, true));
    world.hold(2);
    let wrote = put(&leader, 1_000).await.unwrap();
    let stale = get(&follower, ReadMode::Session, 1_000).await.unwrap();
    assert_eq!(stale.row, None, "without a session the replica may lag");
    let mut context = within(&follower, 5_000);
    context.session.note(wrote.group, wrote.index);
    let read = follower.get("default", Bytes::from_static(b"k"), ReadMode::Session, context);
    let catch_up = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        world.release(2);
    };
    let (got, ()) = tokio::join!(read, catch_up);
    let got = got.unwrap();
    assert_eq!((got.served_by, got.row.unwrap().at), (NodeId(2), wrote.index));
}

#[tokio::test]
async fn a_session_that_no_replica_can_keep_is_refused() {
    let world = World::new();
    let service = world.service(1, true);
    let wrote = put(&service, 1_000).await.unwrap();
    for read in [ReadMode::Session, ReadMode::Stale, ReadMode::Linearizable] {
        let mut context = within(&service, 200);
        context.session.note(wrote.group, wrote.index + 1_000);
        let error = service.get("default", Bytes::from_static(b"k"), read, context).await;
        assert_eq!(error.unwrap_err().code(), "session_behind", "{read:?}");
    }
}

#[tokio::test]
async fn a_bound_is_kept_by_a_near_replica_or_the_leader_or_refused() {
    let world = World::new();
    let (_leader, follower) = (world.service(1, true), world.service(2, true));
    let bounded = ReadMode::Bounded(Duration::from_millis(500));
    world.set_age(Some(Duration::from_millis(20)));
    assert_eq!(get(&follower, bounded, 1_000).await.unwrap().served_by, NodeId(2));
    world.set_age(Some(Duration::from_secs(5)));
    let got = get(&follower, bounded, 1_000).await.unwrap();
    assert_eq!((got.served_by, got.staleness), (NodeId(1), Some(Duration::ZERO)));
    world.leader.send_replace(None);
    let error = get(&follower, bounded, 1_000).await.unwrap_err();
    assert_eq!((error.code(), error.outcome()), ("too_stale", Outcome::NotApplied));
}

#[tokio::test]
async fn many_reads_of_a_follower_share_questions() {
    let world = World::new();
    let (leader, follower) = (world.service(1, true), world.service(2, true));
    put(&leader, 1_000).await.unwrap();
    let reads = (0..100).map(|_| get(&follower, ReadMode::Linearizable, 1_000));
    for got in futures_util::future::join_all(reads).await {
        assert_eq!(got.unwrap().served_by, NodeId(2));
    }
    let asked = world.forwards().len();
    assert!(asked <= 10, "100 reads that came together asked {asked} times");
}
