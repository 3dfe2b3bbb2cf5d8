//! A data directory that has forgotten votes and entries takes no part under its old identity.

use std::fs;
use std::path::Path;

use crate::support::chance::seeded;
use crate::support::cluster::{Cluster, Shape};
use crate::support::ledger::Reading;
use crate::support::load::{Load, Plan};

/// What the node must tell its operator to do.
const ADVICE: &str = "cluster replace";

#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_directory_is_recognised_and_takes_no_part() {
    let mut rng = seeded("a_wiped_directory_is_recognised_and_takes_no_part");
    let mut cluster = Cluster::start(&Shape::default()).await;
    let load = Load::start(&cluster.api, &cluster.all_urls(), &Plan::spread(16), &mut rng);
    load.progress(200).await;
    cluster.kill(2);
    fs::remove_dir_all(&cluster.node(2).data_dir).unwrap();
    refused(&mut cluster, 2, "is not the one that the cluster knows").await;
    load.progress(200).await;
    let ledger = load.stop().await;
    ledger.check(&cluster.api, &cluster.urls(&[1, 3]), Reading::Linearizable).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_restored_from_an_old_copy_is_recognised_and_takes_no_part() {
    let mut rng = seeded("a_directory_restored_from_an_old_copy_is_recognised_and_takes_no_part");
    let mut cluster = Cluster::start(&Shape::default()).await;
    let load = Load::start(&cluster.api, &cluster.all_urls(), &Plan::spread(16), &mut rng);
    load.progress(200).await;
    cluster.kill(3);
    let data = cluster.node(3).data_dir.clone();
    let backup = data.with_extension("backup");
    copy(&data, &backup);
    cluster.restart(3);
    cluster.wait_ready(3).await;
    cluster.wait_leaders_home(1).await;
    load.progress(400).await;
    cluster.kill(3);
    fs::remove_dir_all(&data).unwrap();
    fs::rename(&backup, &data).unwrap();
    refused(&mut cluster, 3, "is an old copy").await;
    load.progress(200).await;
    let ledger = load.stop().await;
    ledger.check(&cluster.api, &cluster.urls(&[1, 2]), Reading::Linearizable).await;
}

/// Starts the node with its old command line: it must end by itself, with an explanation.
async fn refused(cluster: &mut Cluster, id: u64, why: &str) {
    cluster.restart(id);
    let node = cluster.node_mut(id);
    let status = node.wait_exit().await;
    assert!(!status.success(), "node {id} ended as if nothing were wrong:\n{}", node.tail());
    assert!(status.code().is_some(), "node {id} ended by a signal: {status}");
    let log = node.log();
    assert!(log.contains(why), "node {id} does not say why:\n{}", node.tail());
    assert!(log.contains(ADVICE), "node {id} does not say what to do:\n{}", node.tail());
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
