//! State syncs that are cut anywhere.

use super::*;
use crate::model::eventual::rows;

/// A source that has cut its log, and a reader that knows a part and has written something of its own.
async fn pair() -> (Replica, Replica) {
    let (a, b) = (Home::new(1, DataType::Lww, 2).open(), Home::new(2, DataType::Lww, 2).open());
    for number in 0..30 {
        a.put(&format!("key {number:02}"), &format!("{number:0>90}")).await;
    }
    a.send_to(&b).await;
    for number in (0..40).step_by(2) {
        a.put(&format!("key {number:02}"), "newer").await;
    }
    for number in (0..30).step_by(3) {
        a.ask(&format!("key {number:02}"), Ask::Delete).await.unwrap();
    }
    for number in (0..30).step_by(4) {
        b.put(&format!("key {number:02}"), "concurrent").await;
    }
    for _ in 0..3 {
        a.trim().unwrap();
    }
    assert_eq!(a.shard.seek(&b.shard.vector()), None, "the log does not reach back so far");
    (a, b)
}

#[tokio::test]
async fn a_state_sync_that_is_cut_anywhere_leaves_a_replica_that_only_knows_less() {
    let mut cuts = 0;
    for pages in 0.. {
        let (a, mut b) = pair().await;
        let before = b.shard.vector();
        let done = a.sync_to(&b, pages, None).await;
        if !done {
            assert_eq!(*b.shard.vector(), *before, "R1: the vector moves at the end");
            assert_eq!(b.shard.digest().settled, pages == 0, "half a sync is no digest");
        }
        // Writes over what is half merged (R3), here and there.
        for number in [3, 8, 12, 38] {
            b.put(&format!("key {number:02}"), "in between").await;
        }
        if pages % 2 == 1 {
            b = b.crash(pages as u64).await.open();
            assert_eq!(b.shard.digest().settled, done);
        }
        a.put("key 05", "later").await;
        heal(&[a, b]).await;
        cuts += 1;
        if done {
            break;
        }
    }
    assert!(cuts > 4, "{cuts} cuts");
    // The last pair is checked in full.
    let (a, b) = pair().await;
    assert!(!a.sync_to(&b, 3, None).await);
    b.put("key 08", "in between").await;
    let both = [a, b];
    heal(&both).await;
    assert_equal(&both);
    both[1].audit().await;
}

#[tokio::test]
async fn what_was_deleted_while_a_replica_was_away_does_not_come_back() {
    let (a, b) = pair().await;
    assert!(a.sync_to(&b, usize::MAX, None).await);
    assert_eq!(a.value("key 03"), None);
    assert_eq!(b.value("key 03"), None);
    assert_eq!(b.value("key 02").as_deref(), Some("newer"));
    b.send_to(&a).await;
    assert_eq!(a.value("key 03"), None);
    assert_eq!(b.value("key 12").as_deref(), Some("concurrent"), "what nobody had seen stays");

    let base = b.shard.base();
    assert_eq!(base.vector.of(a.shard.actor()), b.shard.vector().of(a.shard.actor()));
    assert_eq!(base.vector.of(b.shard.actor()), 0, "what it wrote itself its log says whole");
    assert_eq!(b.shard.seek(&Default::default()), None);
}

#[tokio::test]
async fn only_the_buckets_that_differ_need_to_be_sent() {
    let (a, b) = pair().await;
    let (mine, theirs) = (b.shard.digest(), a.shard.digest());
    let mut buckets = crate::convergence::BucketSet::default();
    for at in 0..mine.buckets.len() {
        if (mine.buckets[at], mine.losses[at]) != (theirs.buckets[at], theirs.losses[at]) {
            buckets.insert(at);
        }
    }
    assert!(!buckets.is_empty() && buckets.len() < 40);
    assert!(a.sync_to(&b, usize::MAX, Some(Arc::new(buckets))).await);
    let both = [a, b];
    heal(&both).await;
    assert_equal(&both);
}

#[tokio::test]
async fn a_sync_that_repeats_what_is_known_writes_nothing() {
    let (a, b) = pair().await;
    assert!(a.sync_to(&b, usize::MAX, None).await);
    let tail = b.shard.log_tail();
    let page = a.shard.snapshot_page(None, None, 1 << 20).await.unwrap();
    b.shard.merge(page).await.unwrap();
    assert_eq!(b.shard.log_tail(), tail);
}

#[tokio::test]
async fn a_cell_that_is_longer_than_an_entry_of_the_log_is_taken_all_the_same() {
    let nodes: Vec<Replica> = (1..=6).map(|n| Home::new(n, DataType::Mv, 6).open()).collect();
    for (node, digit) in nodes.iter().zip(1..) {
        node.put("k", &format!("{digit:0>3000}")).await;
    }
    for from in &nodes[..5] {
        from.send_to(&nodes[0]).await;
    }
    let (a, b) = (&nodes[0], &nodes[5]);
    let long = a.shard.snapshot_page(None, None, 1 << 20).await.unwrap();
    let before = b.shard.log_tail();
    b.shard.merge(long).await.unwrap();
    assert!(b.shard.log_tail() > before + 3, "in several entries");
    assert!(a.sync_to(b, usize::MAX, None).await);
    let shown = b.value("k");
    assert!(shown.as_ref().is_some_and(|shown| shown.len() > 5 * 3000));
    let root = b.shard.digest().root;
    let home = nodes.into_iter().next_back().unwrap().crash(1).await;
    let b = home.open();
    assert_eq!((b.value("k"), b.shard.digest().root), (shown, root));
    b.audit().await;
    // The log ends in the middle of such a record: it counts as not written.
    let bytes = text("no record, and never to be read");
    let piece = crate::model::eventual::Record::Piece { at: 0, left: 3, bytes }.encode();
    let index = b.shard.log_tail() + 1;
    let entry = crate::storage::log::Entry { index, bytes: piece };
    b.log.append(super::super::storage_group(NamespaceId(5)), vec![entry], Box::new(|_| {}));
    b.log.drive();
    let b = b.crash(2).await.open();
    b.put("another", "1").await;
    let b = b.crash(3).await.open();
    assert_eq!(b.value("another").as_deref(), Some("1"));
}

#[tokio::test]
async fn long_values_are_read_a_few_at_a_time() {
    let a = Home::new(1, DataType::Lww, 2).open();
    let value = "v".repeat(7_000);
    for number in 0..40 {
        a.put(&format!("key {number:02}"), &value).await;
    }
    let place = &a.shard.inner.place;
    let (mut range, mut seen, mut parts) = (rows::all_cells(), 0, 0);
    let bounds = super::super::part::Bounds { rows: 4_096, bytes: 30_000 };
    loop {
        let part = place.part(&range, bounds).unwrap();
        let bytes: usize = part.rows.iter().map(|(row, value)| row.len() + value.len()).sum();
        assert!(bytes < 30_000 + 8_000, "{bytes} bytes at once");
        (seen, parts) = (seen + part.rows.len(), parts + 1);
        let Some(next) = part.next else { break };
        range.start = next;
    }
    assert!(seen == 40 && parts >= 8, "{seen} rows in {parts} parts");
    let bounds = super::super::part::Bounds { rows: 3, bytes: 1 };
    assert_eq!(place.part(&rows::all_cells(), bounds).unwrap().rows.len(), 1, "one at least");
}
