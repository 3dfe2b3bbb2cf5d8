//! The power goes at every sync: nothing acknowledged is lost, and rows are what the log comes to.

use super::*;

/// Writes, a checkpoint, a cut of the log, further writes; returns what was acknowledged, and whether
/// all was.
async fn script(replica: &Replica, acknowledged: &mut Vec<Dot>) -> bool {
    for step in 0..24_u64 {
        let key = format!("key {}", step % 5);
        let wrote = if step % 7 == 3 {
            replica.ask(&key, Ask::Delete).await
        } else {
            replica.try_put(&key, &format!("{step:0>3000}")).await
        };
        let Ok(wrote) = wrote else { return false };
        acknowledged.push(wrote.dot);
        if step == 8 || step == 16 {
            replica.tick().await;
            if replica.trim().is_err() {
                return false;
            }
        }
    }
    true
}

/// What the script's first operations come to.
fn model(writes: usize) -> Vec<Option<String>> {
    let mut rows = vec![None; 5];
    for step in 0..writes as u64 {
        let value = (step % 7 != 3).then(|| format!("{step:0>3000}"));
        rows[usize::try_from(step % 5).unwrap()] = value;
    }
    rows
}

fn rows(replica: &Replica) -> Vec<Option<String>> {
    (0..5).map(|key| replica.value(&format!("key {key}"))).collect()
}

/// Looks at what a start finds; the vector and the digest.
async fn check(replica: &Replica, acknowledged: &[Dot], case: &str) -> u128 {
    let vector = replica.shard.vector();
    for dot in acknowledged {
        assert!(vector.covers(*dot), "{case}: {dot} was acknowledged and is lost");
    }
    let writes = acknowledged.len();
    let found = rows(replica);
    // The write under way when the power went may be there or not.
    assert!(
        found == model(writes) || found == model(writes + 1),
        "{case}: rows are neither those of {writes} writes nor of one more"
    );
    replica.audit().await;
    replica.shard.digest().root
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_power_cut_at_every_sync() {
    let mut cases = 0;
    for nth in 1.. {
        let case = format!("power cut at sync {nth}");
        let home = Home::new(1, DataType::Lww, 1);
        let mut acknowledged = Vec::new();
        home.disk.die_at_sync(nth);
        let Some(replica) = home.try_open() else {
            home.disk.power_cut(nth);
            continue;
        };
        let before = replica.shard.actor();
        let all = script(&replica, &mut acknowledged).await;
        let live = all.then(|| (rows(&replica), replica.shard.digest().root));
        let home = replica.crash(nth).await;
        let replica = home.open();
        let root = check(&replica, &acknowledged, &case).await;
        if let Some(live) = live {
            assert_eq!((rows(&replica), root), live, "{case}: replay is what was live");
        }
        // One that was never flushed was never shown to anybody.
        let is_used = replica.shard.vector().of(before) > 0;
        assert!(!is_used || replica.shard.actor().run > before.run, "{case}: a new actor");
        // What a start has shown stays, and it goes on from there.
        let shown = rows(&replica);
        let home = replica.crash(nth + 1).await;
        let replica = home.open();
        assert_eq!(rows(&replica), shown, "{case}: shown once, then gone");
        replica.put("another", "write").await;
        replica.close().await;
        let replica = home.open();
        assert_eq!(replica.value("another").as_deref(), Some("write"));
        cases += 1;
        if all {
            break;
        }
    }
    assert!(cases > 25, "{cases} cuts");
}

#[tokio::test]
async fn a_failed_sync_acknowledges_nothing_and_shows_nothing() {
    let home = Home::new(1, DataType::Lww, 1);
    let replica = home.open();
    replica.put("k", "old").await;
    home.disk.fail_sync(home.disk.syncs() + 1);
    let failed = replica.try_put("k", "new").await.unwrap_err();
    let unknown = matches!(failed, WriteError::TimeUp);
    assert!(unknown, "it may be on the disk and be read by the next start: {failed}");
    assert_eq!(replica.value("k").as_deref(), Some("old"), "not flushed, not shown (R4)");
    let further = replica.try_put("k", "newer").await.unwrap_err();
    assert!(matches!(further, WriteError::Stopped(_) | WriteError::Overloaded), "{further}");
}

#[tokio::test]
async fn a_log_that_was_cut_says_from_where_on_it_can_be_read() {
    let home = Home::new(1, DataType::Counter, 1);
    let replica = home.open();
    for _ in 0..200 {
        replica.ask("n", Ask::Add(1)).await.unwrap();
    }
    replica.trim().unwrap();
    let base = replica.shard.base();
    assert!(base.index > 50 && base.index < 200, "{base:?}");
    assert_eq!(replica.shard.seek(&Default::default()), None, "R2");
    assert_eq!(replica.shard.seek(&base.vector), Some(base.index + 1));
    assert_eq!(replica.shard.read_ops(base.index, 1000), Err(crate::convergence::LogGone::Trimmed));
    replica.close().await;
    let replica = home.open();
    assert_eq!(replica.shard.base(), base, "the mark of the cut is kept");
    assert_eq!(replica.value("n").as_deref(), Some("200"));
    let mut vector = base.vector;
    for op in replica.shard.read_ops(base.index + 1, 1 << 20).unwrap().ops {
        vector.advance(op.dot);
    }
    assert_eq!(vector, *replica.shard.vector(), "base and log are all that is known");
}

#[tokio::test]
async fn old_entries_are_cut_however_few_they_are() {
    let replica = Home::new(1, DataType::Counter, 1).open();
    replica.ask("n", Ask::Add(1)).await.unwrap();
    replica.shard.trim(100, 1 << 20).unwrap();
    assert_eq!(replica.shard.base().index, 0, "young and small");
    replica.home.clock.advance(Duration::from_secs(8 * 24 * 3600));
    replica.ask("n", Ask::Add(1)).await.unwrap();
    replica.shard.trim(200, 1 << 20).unwrap();
    assert_eq!(replica.shard.base().index, 1);
}
