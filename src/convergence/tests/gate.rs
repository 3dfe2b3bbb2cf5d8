//! A shard that was closed for a switch stays closed, whatever its node's catalog is after a crash.

use super::*;
use crate::convergence::Passage;
use crate::model::eventual::Gate;

fn told(passage: Passage, epoch: u64) -> Part {
    Part { passage, epoch, ..part(1) }
}

#[tokio::test]
async fn a_closed_shard_refuses_writes_after_a_crash_until_a_newer_catalog_opens_it() {
    let home = Home::new(1, DataType::Lww, 1);
    let replica = home.open();
    replica.try_put("before", "v").await.unwrap();
    replica.shard.set_part(told(Passage::Frozen, 7));
    replica.shard.close_gate(Gate { epoch: 7, sealed: false }).await.unwrap();
    assert_eq!(replica.try_put("k", "v").await.unwrap_err(), WriteError::Switching);
    let vector = replica.shard.vector();
    let home = replica.crash(1).await;
    // The catalog on its disk is older than the one that it knew.
    let replica = home.open();
    assert_eq!(replica.shard.passage(), Passage::Frozen, "epoch 1 does not open it");
    assert_eq!(replica.try_put("k", "v").await.unwrap_err(), WriteError::Switching);
    assert!(replica.shard.vector().includes(&vector), "what it said it had it has");
    replica.shard.set_part(told(Passage::Open, 8));
    replica.try_put("k", "v").await.unwrap();
}

#[tokio::test]
async fn a_write_that_was_let_in_before_the_gate_is_in_the_vector_after_it() {
    let home = Home::new(1, DataType::Lww, 1);
    let replica = home.open();
    let writes = (0..50).map(|n| {
        let shard = replica.shard.clone();
        let ask = Ask::Put { value: text("v"), content_type: None };
        let key = text(&format!("k{n}"));
        let deadline = home.clock.now() + Duration::from_secs(5);
        let (context, once, show) = (None, None, false);
        async move { shard.write(WriteRequest { key, ask, context, once, show, deadline }).await }
    });
    let close = async {
        replica.shard.set_part(told(Passage::Frozen, 7));
        replica.shard.close_gate(Gate { epoch: 7, sealed: false }).await.unwrap();
        replica.shard.vector()
    };
    let (written, vector) = tokio::join!(futures_util::future::join_all(writes), close);
    let acked: Vec<Wrote> = written.into_iter().filter_map(Result::ok).collect();
    for wrote in &acked {
        assert!(vector.covers(wrote.dot), "{} was acknowledged, and is not in the cut", wrote.dot);
    }
}

#[tokio::test]
async fn a_sealed_gate_is_known_after_a_crash() {
    let home = Home::new(1, DataType::Counter, 1);
    let replica = home.open();
    for (epoch, sealed) in [(7, false), (9, true), (8, false)] {
        replica.shard.close_gate(Gate { epoch, sealed }).await.unwrap();
    }
    let home = replica.crash(2).await;
    let replica = home.open();
    assert_eq!(replica.shard.passage(), Passage::Sealed, "the newest counts");
}
