//! A follower that was away for longer than the log is kept comes back by snapshot.

use crate::support::chance::seeded;
use crate::support::cluster::{Cluster, Shape};
use crate::support::digests;
use crate::support::ledger::Reading;
use crate::support::load::{Load, Plan};

const GROUPS: u64 = 3;

/// A log that is kept for a moment only.
const FORGETFUL: [&str; 6] =
    ["--segment-mib", "9", "--checkpoint-after-mib", "1", "--log-keep-entries", "16"];

/// Written while the follower is away: many times what the log keeps.
const WRITES: u64 = 900;

const INSTALLED: &str = "snapshot installed";

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_was_away_too_long_comes_back_by_snapshot() {
    let mut rng = seeded("a_follower_that_was_away_too_long_comes_back_by_snapshot");
    let shape = Shape { groups: Some(GROUPS), flags: FORGETFUL.to_vec(), ..Shape::default() };
    let mut cluster = Cluster::start(&shape).await;
    cluster.wait_leaders_home(1).await;
    let plan = Plan { value_bytes: 20_000..60_000, ..Plan::spread(8) };
    let load = Load::start(&cluster.api, &cluster.urls(&[1, 2]), &plan, &mut rng);
    load.progress(30).await;
    cluster.kill(3);
    load.progress(WRITES).await;
    let before = cluster.node(3).said(INSTALLED);
    // Writes go on while it catches up.
    cluster.restart(3);
    cluster.wait_ready(3).await;
    cluster.wait_leaders_home(1).await;
    let ledger = load.stop().await;
    cluster
        .wait_view(1, "the follower has everything", |view| {
            let copies = view.groups.iter().flat_map(|g| g.replicas.iter().map(move |r| (g.id, r)));
            let late: Vec<_> = copies
                .filter(|(_, r)| r.node == 3 && r.lag != Some(0))
                .map(|(g, r)| (g, r.lag))
                .collect();
            if late.is_empty() { Ok(()) } else { Err(format!("(group, lag): {late:?}")) }
        })
        .await;
    let installed = cluster.node(3).said(INSTALLED) - before;
    println!("  {installed} snapshots were installed on the node that was away");
    assert!(installed > 0, "the log was kept long enough for the test to show nothing");
    let urls = cluster.all_urls();
    ledger.check(&cluster.api, &urls, Reading::Linearizable).await;
    ledger.check(&cluster.api, &cluster.urls(&[3]), Reading::OwnCopy).await;
    digests::agree(&cluster).await;
}
