//! What is lost, when that is final, and that everybody says the same.

use super::*;
use crate::model::eventual::Fate;

async fn three() -> Vec<Replica> {
    (1..=3).map(|node| Home::new(node, DataType::Lww, 3).open()).collect()
}

#[tokio::test]
async fn of_concurrent_writes_one_is_lost_by_name_everywhere_the_same() {
    let all = three().await;
    let loser = all[0].put("k", "early").await;
    all[1].home.clock.advance(Duration::from_secs(1));
    let winner = all[1].put("k", "late").await;
    all[0].send_to(&all[1]).await;
    assert_eq!(all[1].value("k").as_deref(), Some("late"));
    let seen = all[1].shard.fate(loser, b"k").unwrap();
    assert_eq!((seen.fate, seen.is_final), (Fate::Lost { by: winner }, false));
    assert_eq!(all[1].shard.fate(winner, b"k").unwrap().fate, Fate::Current);
    assert_eq!(all[0].shard.fate(winner, b"k").unwrap().fate, Fate::Unknown);
    heal(&all).await;
    assert_equal(&all);
    for replica in &all {
        let seen = replica.shard.fate(loser, b"k").unwrap();
        assert_eq!((seen.fate, seen.is_final), (Fate::Lost { by: winner }, true));
        let totals = replica.shard.totals(text("k")).await.unwrap();
        assert_eq!((totals.lost, totals.lost_bytes, totals.open), (1, 5, 0));
        assert_eq!(totals.without_effect, 1);
        assert_eq!(replica.shard.totals(text("other")).await.unwrap(), Default::default());
        let since = replica.shard.lost_since(1, 1 << 20).unwrap();
        assert_eq!(since.records.len(), 1, "once on record");
    }
}

#[tokio::test]
async fn no_loss_is_final_while_a_member_has_not_spoken() {
    let all = three().await;
    all[0].put("k", "1").await;
    all[1].put("k", "2").await;
    heal(&all[..2]).await;
    let totals = all[0].shard.totals(Bytes::new()).await.unwrap();
    assert_eq!((totals.lost, totals.open), (0, 1), "R6: the third may have built on it");
    heal(&all).await;
    assert_eq!(all[0].shard.totals(Bytes::new()).await.unwrap().lost, 1);
}

#[tokio::test]
async fn a_lost_value_can_be_put_back() {
    let all = three().await;
    let loser = all[0].put("k", "early").await;
    all[1].home.clock.advance(Duration::from_secs(1));
    all[1].put("k", "late").await;
    heal(&all).await;
    let deadline = all[2].home.clock.now() + Duration::from_secs(60);
    let restored = all[2].shard.restore(text("k"), loser, deadline).await.unwrap();
    assert_eq!(all[2].value("k").as_deref(), Some("early"));
    heal(&all).await;
    assert_equal(&all);
    assert_eq!(all[0].value("k").as_deref(), Some("early"));
    assert_eq!(all[0].shard.fate(restored.dot, b"k").unwrap().fate, Fate::Current);
    let never = all[2].shard.restore(text("k"), restored.dot, deadline).await.unwrap_err();
    assert!(matches!(never, WriteError::Restore { .. }));
}

#[tokio::test]
async fn a_write_that_was_seen_is_superseded_and_no_loss() {
    let all = three().await;
    let first = all[0].put("k", "1").await;
    all[0].send_to(&all[1]).await;
    all[1].put("k", "2").await;
    heal(&all).await;
    let seen = all[2].shard.fate(first, b"k").unwrap();
    assert_eq!((seen.fate, seen.is_final), (Fate::Superseded, true));
    assert_eq!(all[2].shard.totals(Bytes::new()).await.unwrap().lost, 0);
}

#[tokio::test]
async fn an_idle_namespace_becomes_silent() {
    let all = three().await;
    all[0].put("k", "1").await;
    heal(&all).await;
    let before = all[0].shard.vector();
    heal(&all).await;
    assert_eq!(*all[0].shard.vector(), *before, "beats answer writes, not beats");
}

#[tokio::test]
async fn who_has_what_is_known_from_what_was_heard() {
    let all = three().await;
    let dot = all[0].put("k", "1").await;
    let soon = all[0].home.clock.now() + Duration::from_millis(20);
    assert!(all[0].shard.acknowledged(dot, 1, soon).await);
    assert!(!all[0].shard.acknowledged(dot, 2, soon).await);
    all[0].send_to(&all[1]).await;
    all[0].shard.heard(NodeId(2), (*all[1].shard.vector()).clone());
    assert!(all[0].shard.acknowledged(dot, 2, soon).await);
    assert!(all[1].shard.covered(&all[0].shard.vector(), soon).await);
    assert!(!all[2].shard.covered(&all[0].shard.vector(), soon).await);
}

#[tokio::test]
async fn while_a_member_is_away_a_hot_key_keeps_the_newest_lost_values_and_the_names_of_all() {
    const ROUNDS: usize = 180;
    let all = three().await;
    let long = "x".repeat(7_000);
    let mut losers = Vec::new();
    all[1].home.clock.advance(Duration::from_millis(400));
    for round in 0..ROUNDS {
        all[0].home.clock.advance(Duration::from_secs(1));
        all[1].home.clock.advance(Duration::from_secs(1));
        losers.push(all[0].put("hot", &format!("{round} {long}")).await);
        all[1].put("hot", "late").await;
        all[0].send_to(&all[1]).await;
        all[1].put("hot", "latest").await;
        all[1].send_to(&all[0]).await;
    }
    for replica in &all[..2] {
        replica.audit().await;
        let figures = replica.shard.figures();
        assert_eq!(figures.marks, ROUNDS as u64, "every loss is named");
        assert!(figures.bytes < (crate::runtime::limits::SWEPT_VALUE_BYTES + 20_000) as u64);
    }
    heal(&all).await;
    assert_equal(&all);
    let deadline = all[0].home.clock.now() + Duration::from_secs(600);
    for replica in &all {
        replica.audit().await;
        assert_eq!(replica.shard.figures().marks, 0);
        let mut told = replica.shard.lost_since(1, 1).unwrap();
        while told.records.is_empty() {
            told = replica.shard.lost_since(told.next, 1).unwrap();
        }
        assert_eq!(told.records.len(), ROUNDS, "also by a record of several entries");
    }
    let (first, last) = (losers[0], losers[ROUNDS - 1]);
    let gone = all[1].shard.restore(text("hot"), first, deadline).await.unwrap_err();
    assert!(gone.to_string().contains("kept no more"), "{gone}");
    all[1].shard.restore(text("hot"), last, deadline).await.unwrap();
    assert!(all[1].value("hot").unwrap().starts_with("179 x"));
}

#[tokio::test]
async fn all_fields_of_a_lost_document_are_put_back() {
    let all: Vec<_> = (1..=3).map(|node| Home::new(node, DataType::Map, 3).open()).collect();
    let document = |text: &'static str| Ask::Merge(Bytes::from_static(text.as_bytes()));
    let lost = all[0].ask("k", document(r#"{"a":1,"b":{"c":2}}"#)).await.unwrap().dot;
    all[1].home.clock.advance(Duration::from_secs(1));
    all[1].ask("k", document(r#"{"a":8,"b":{"c":9},"d":0}"#)).await.unwrap();
    heal(&all).await;
    let deadline = all[0].home.clock.now() + Duration::from_secs(60);
    all[0].shard.restore(text("k"), lost, deadline).await.unwrap();
    assert_eq!(all[0].value("k").as_deref(), Some(r#"{"a":1,"b":{"c":2},"d":0}"#));
}
