//! One shard by itself: what it takes, refuses, remembers.

use super::*;

fn add(by: i64) -> Ask {
    Ask::Add(by)
}

#[tokio::test]
async fn a_write_is_visible_when_it_is_answered_and_the_vector_covers_it() {
    let replica = Home::new(1, DataType::Lww, 1).open();
    let wrote = replica.try_put("k", "v").await.unwrap();
    assert_eq!(replica.value("k").as_deref(), Some("v"));
    assert!(wrote.vector.covers(wrote.dot) && replica.shard.vector().covers(wrote.dot));
    replica.ask("k", Ask::Delete).await.unwrap();
    assert_eq!(replica.value("k"), None);
    replica.audit().await;
    assert_eq!(replica.shard.figures().cells, 0, "a removed key leaves no row");
}

#[tokio::test]
async fn writes_of_one_batch_see_each_other() {
    let replica = Home::new(1, DataType::Counter, 1).open();
    let all = (0..50).map(|_| replica.ask("n", add(2)));
    for wrote in futures_util::future::join_all(all).await {
        wrote.unwrap();
    }
    assert_eq!(replica.value("n").as_deref(), Some("100"));
    let batches = replica.shard.inner.counts.batches.load(std::sync::atomic::Ordering::Relaxed);
    assert!(batches < 25, "{batches} batches for 50 writes");
    replica.audit().await;
}

#[tokio::test]
async fn a_request_that_is_repeated_is_made_once_and_another_body_is_refused() {
    let home = Home::new(1, DataType::Counter, 1);
    let replica = home.open();
    let request = |body| WriteRequest {
        key: text("n"),
        ask: add(1),
        context: None,
        once: Some((77, body)),
        show: true,
        deadline: home.clock.now() + Duration::from_secs(60),
    };
    let first = replica.shard.write(request(1)).await.unwrap();
    replica.close().await;
    let replica = home.open();
    let again = replica.shard.write(request(1)).await.unwrap();
    assert_eq!((again.dot, again.replayed, first.replayed), (first.dot, true, false));
    assert!(matches!(again.after.unwrap().what, What::Text(sum) if sum == "1"));
    let other = replica.shard.write(request(2)).await;
    assert_eq!(other.unwrap_err(), WriteError::OnceMismatch);
    home.clock.advance(Duration::from_secs(2 * 3600));
    let late = replica.shard.write(request(1)).await.unwrap();
    assert!(!late.replayed, "an hour later it is another request");
    assert_eq!(replica.shard.inner.live.read().own.once, 1);
}

#[tokio::test]
async fn keys_and_values_that_are_too_long_are_refused_and_readers_write_nothing() {
    let replica = Home::new(1, DataType::Lww, 1).open();
    let mut part = part(1);
    part.limits.key_bytes_max = 3;
    part.limits.value_bytes_max = 5;
    replica.shard.set_part(part.clone());
    assert!(matches!(replica.try_put("long", "v").await, Err(WriteError::TooLarge { .. })));
    assert!(matches!(replica.try_put("k", "longer").await, Err(WriteError::Refused(_))));
    replica.put("k", "v").await;
    replica.ask("k", Ask::Delete).await.unwrap();
    part.is_reader = true;
    replica.shard.set_part(part);
    assert_eq!(replica.try_put("k", "v").await.unwrap_err(), WriteError::Reader);
}

#[tokio::test]
async fn a_node_whose_clock_leads_refuses_writes_that_are_ranked_by_it() {
    let replica = Home::new(1, DataType::Lww, 3).open();
    let (clock, now) = (&replica.home.clock, replica.home.clock.now());
    for node in [2, 3] {
        replica.clocks.heard(NodeId(node), clock.wall_ms() - 5_000, clock.wall_ms(), now);
    }
    let refused = replica.try_put("k", "v").await.unwrap_err();
    assert_eq!(refused, WriteError::ClockAhead { ms: 5_000 });
    let counter = Home::new(1, DataType::Counter, 3).open();
    for node in [2, 3] {
        counter.clocks.heard(NodeId(node), clock.wall_ms() - 5_000, clock.wall_ms(), now);
    }
    counter.ask("n", add(1)).await.unwrap();
}

#[tokio::test]
async fn a_page_walks_over_all_keys_forward_and_backward() {
    let replica = Home::new(1, DataType::Set, 1).open();
    let mut expected = Vec::new();
    for number in 0..40 {
        let key = format!("key {number:02}");
        let add = (0..number % 4 + 1).map(|element| text(&format!("e{element}"))).collect();
        replica.ask(&key, Ask::SetEdit { add, remove: Vec::new() }).await.unwrap();
        expected.push(text(&key));
    }
    for reverse in [false, true] {
        let mut ask = crate::convergence::PageAsk {
            from: text("key"),
            to: Some(text("key 30")),
            reverse,
            limit: 7,
            bytes_max: 1 << 20,
        };
        let mut found = Vec::new();
        loop {
            let page = replica.shard.page(ask.clone()).await.unwrap();
            found.extend(page.keys.into_iter().map(|(key, _)| key));
            match page.next {
                None => break,
                Some(next) if reverse => ask.to = Some(next),
                Some(next) => ask.from = super::super::rows::after(&next),
            }
        }
        if reverse {
            found.reverse();
        }
        assert_eq!(found, expected[..30]);
    }
}

#[tokio::test]
async fn an_actor_goes_on_after_a_clean_stop_and_ends_with_any_other() {
    let home = Home::new(1, DataType::Lww, 1);
    let replica = home.open();
    let first = replica.put("k", "1").await.actor;
    replica.close().await;
    let replica = home.open();
    let second = replica.put("k", "2").await;
    assert_eq!((second.actor, second.counter), (first, 2), "a clean stop");
    let home = replica.crash(1).await;
    let replica = home.open();
    assert_eq!(replica.value("k").as_deref(), Some("2"));
    let third = replica.put("k", "3").await;
    assert!(third.actor.run > first.run && third.counter == 1, "{third}");
    replica.close().await;
    let replica = home.open();
    assert_eq!(replica.shard.actor(), third.actor);
    // Closed at once, without a write in between.
    replica.close().await;
    assert_eq!(home.open().shard.actor(), third.actor);
}

#[tokio::test]
async fn a_directory_that_has_forgotten_writes_goes_on_under_a_new_name() {
    let (a, b) = (Home::new(1, DataType::Lww, 2).open(), Home::new(2, DataType::Lww, 2).open());
    a.put("k", "1").await;
    a.send_to(&b).await;
    // The same actor in a directory that knows nothing: an old copy of it.
    let copy = Home::new(1, DataType::Lww, 2).open();
    assert_eq!(copy.shard.actor(), a.shard.actor());
    copy.shard.heard(NodeId(2), (*b.shard.vector()).clone());
    let dot = copy.put("k", "2").await;
    assert!(dot.actor.run > a.shard.actor().run);
    b.send_to(&copy).await;
    copy.send_to(&b).await;
    assert_eq!(copy.shard.digest().root, b.shard.digest().root);
}

#[tokio::test]
async fn operations_that_are_too_old_are_cut_off_also_behind_other_entries() {
    let home = Home::new(1, DataType::Lww, 1);
    let replica = home.open();
    // The first entry is no operation.
    replica.close().await;
    let replica = home.open();
    replica.put("k", "1").await;
    replica.put("k", "2").await;
    let last = replica.shard.log_tail();
    replica.shard.trim(0, u64::MAX).unwrap();
    assert_eq!(replica.shard.base().index, 0, "nothing is old");
    home.clock.advance(Duration::from_secs(8 * 24 * 3600));
    let new = replica.put("k", "3").await;
    replica.shard.trim(0, u64::MAX).unwrap();
    let base = replica.shard.base();
    assert_eq!(base.index, last);
    assert!(base.vector.of(new.actor) + 1 == new.counter, "the new one stays");
    assert_eq!(replica.value("k").as_deref(), Some("3"));
}

#[tokio::test]
async fn an_audit_finds_a_digest_that_is_not_that_of_the_rows() {
    let replica = Home::new(1, DataType::Lww, 1).open();
    replica.put("k", "1").await;
    replica.audit().await;
    assert!(!replica.shard.is_distrusted());
    replica.shard.inner.live.write().sums.losses[77] += 1;
    let found = replica.shard.audit().await.unwrap().unwrap();
    assert_eq!((found.wrong, replica.shard.is_distrusted()), (vec![77], true));
}
