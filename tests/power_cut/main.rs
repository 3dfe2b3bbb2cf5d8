//! Power cuts: all nodes lose power at once and what was not made durable is gone.
//!
//! Each node's data is an ext4 of its own on a loop device. A cut is: kill -9, the file system's
//! shutdown ioctl without flushing its journal, unmount, mount. A file that was written and not synced
//! must be lost by every cut, or the test fails: a run in which no fault happened shows nothing.
//! Needs root, loop devices and python3; skips with a message where that is missing.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, talks to whoever runs it, and is no part of a node"
)]

#[allow(dead_code, reason = "each test target uses its part of the support")]
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use support::chance::{rounds, seeded};
use support::cluster::{Cluster, Shape};
use support::ledger::Reading;
use support::load::{Load, Plan};
use support::mount::Mount;
use tempfile::TempDir;
use tokio::time::Instant;

/// Small logs, so that segments turn over and checkpoints are under way when the power fails.
const SMALL: [&str; 4] = ["--segment-mib", "9", "--checkpoint-after-mib", "1"];

const DISK_MIB: u64 = 1024;
const WRITERS: usize = 32;
const WRITES: u64 = 400;

/// One disk for each node.
fn disks(dir: &Path, ids: std::ops::RangeInclusive<u64>) -> Result<BTreeMap<u64, Mount>, String> {
    ids.map(|id| Ok((id, Mount::ext4(dir, &format!("disk-{id}"), DISK_MIB)?))).collect()
}

fn shape(disks: &BTreeMap<u64, Mount>) -> Shape {
    let data_dirs = disks.iter().map(|(id, disk)| (*id, disk.at.join("data"))).collect();
    Shape { flags: SMALL.to_vec(), data_dirs, ..Shape::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_when_all_nodes_lose_power_at_once() {
    let test = "nothing_acknowledged_is_lost_when_all_nodes_lose_power_at_once";
    let mut rng = seeded(test);
    let rounds = rounds("TETRARCH_POWER_ROUNDS", 2);
    let dir = TempDir::with_prefix("tetrarch-test-").unwrap();
    let mut disks = match disks(dir.path(), 1..=3) {
        Ok(disks) => disks,
        Err(reason) => return println!("{test}: skipped, no file system of its own: {reason}"),
    };
    let mut cluster = Cluster::start(&shape(&disks)).await;
    let load = Load::start(&cluster.api, &cluster.all_urls(), &Plan::spread(WRITERS), &mut rng);
    let mut cuts = 0;
    for round in 1..=rounds {
        load.progress(WRITES).await;
        // Not a wait for anything: the power fails at a random moment of the load.
        tokio::time::sleep(Duration::from_millis(rng.u64(..200))).await;
        cluster.kill_all();
        let acked = load.acked();
        for disk in disks.values() {
            disk.cut_power().unwrap();
        }
        for disk in disks.values_mut() {
            disk.power_returns();
            cuts += 1;
        }
        let dark = Instant::now();
        cluster.restart_all();
        cluster.wait_all_ready().await;
        println!(
            "  round {round}/{rounds}: {acked} acknowledged when the power failed; ready after {:?}",
            dark.elapsed()
        );
        load.progress(1).await;
    }
    load.progress(WRITES).await;
    let ledger = load.stop().await;
    assert_eq!(cuts, rounds * 3, "every disk lost its power in every round");
    ledger.check(&cluster.api, &cluster.all_urls(), Reading::Linearizable).await;
    drop(cluster);
    drop(disks);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_fsync_stops_one_node_with_a_clear_error_and_loses_nothing() {
    let test = "a_failing_fsync_stops_one_node_with_a_clear_error_and_loses_nothing";
    let mut rng = seeded(test);
    let dir = TempDir::with_prefix("tetrarch-test-").unwrap();
    let mut disks = match disks(dir.path(), 2..=2) {
        Ok(disks) => disks,
        Err(reason) => return println!("{test}: skipped, no file system of its own: {reason}"),
    };
    let mut cluster = Cluster::start(&shape(&disks)).await;
    cluster.wait_leaders_home(1).await;
    let load = Load::start(&cluster.api, &cluster.all_urls(), &Plan::spread(WRITERS), &mut rng);
    load.progress(WRITES).await;
    let disk = disks.get_mut(&2).expect("node 2 has a disk of its own");
    // The node lives on over a file system on which everything fails from now on.
    disk.cut_power().unwrap();
    let node = cluster.node_mut(2);
    let status = node.wait_exit().await;
    assert!(!status.success() && status.code().is_some(), "{status}:\n{}", node.tail());
    let log = node.log();
    assert!(log.contains("the log failed"), "the cause is not said:\n{}", node.tail());
    load.progress(WRITES).await;
    disk.power_returns();
    cluster.restart(2);
    cluster.wait_ready(2).await;
    cluster.wait_leaders_home(1).await;
    load.progress(WRITES).await;
    let ledger = load.stop().await;
    ledger.check(&cluster.api, &cluster.all_urls(), Reading::Linearizable).await;
    ledger.check(&cluster.api, &cluster.urls(&[2]), Reading::OwnCopy).await;
    drop(cluster);
    drop(disks);
}
