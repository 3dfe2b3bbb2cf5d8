//! A node whose disk is full says so and stops; the others serve; with room it comes back.

use tempfile::TempDir;

use crate::support::chance::seeded;
use crate::support::cluster::{Cluster, Shape};
use crate::support::ledger::Reading;
use crate::support::load::{Load, Plan};
use crate::support::mount::Mount;

/// Enough to come up, not enough for what is written then.
const MIB_BEFORE: u64 = 28;
const MIB_AFTER: u64 = 1024;

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_stops_one_node_with_a_clear_error_and_loses_nothing() {
    let test = "a_full_disk_stops_one_node_with_a_clear_error_and_loses_nothing";
    let mut rng = seeded(test);
    let dir = TempDir::with_prefix("tetrarch-test-").unwrap();
    let disk = match Mount::tmpfs(dir.path(), "small", MIB_BEFORE) {
        Ok(disk) => disk,
        Err(reason) => return println!("{test}: skipped, a tmpfs cannot be mounted: {reason}"),
    };
    let data_dirs = [(2, disk.at.join("data"))].into();
    let flags = vec!["--segment-mib", "9"];
    let mut cluster = Cluster::start(&Shape { flags, data_dirs, ..Shape::default() }).await;
    cluster.wait_leaders_home(1).await;
    let plan = Plan { value_bytes: 10_000..60_000, ..Plan::spread(16) };
    let load = Load::start(&cluster.api, &cluster.all_urls(), &plan, &mut rng);
    load.progress(20).await;

    let node = cluster.node_mut(2);
    let status = node.wait_exit().await;
    assert!(!status.success() && status.code().is_some(), "{status}:\n{}", node.tail());
    let log = node.log();
    assert!(log.contains("the disk is full"), "the cause is not said:\n{}", node.tail());
    load.progress(200).await;

    disk.resize(MIB_AFTER);
    cluster.restart(2);
    cluster.wait_ready(2).await;
    cluster.wait_leaders_home(1).await;
    load.progress(100).await;
    let ledger = load.stop().await;
    ledger.check(&cluster.api, &cluster.all_urls(), Reading::Linearizable).await;
    ledger.check(&cluster.api, &cluster.urls(&[2]), Reading::OwnCopy).await;
    // The node is gone before its file system is.
    drop(cluster);
    drop(disk);
}
