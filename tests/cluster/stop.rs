//! A planned stop: nothing is lost, nobody is left waiting, and the next start has nothing to mend.

use tokio::time::Instant;

use crate::support::chance::seeded;
use crate::support::cluster::{Cluster, Shape};
use crate::support::ledger::Reading;
use crate::support::load::{Load, Plan};

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_was_asked_to_stop_starts_again_with_everything() {
    let mut rng = seeded("a_cluster_that_was_asked_to_stop_starts_again_with_everything");
    let mut cluster = Cluster::start(&Shape::default()).await;
    let load = Load::start(&cluster.api, &cluster.all_urls(), &Plan::spread(16), &mut rng);
    load.progress(600).await;
    let asked = Instant::now();
    // Under load: what is under way is answered, or refused with an outcome.
    cluster.terminate_all().await;
    println!("  stopped within {:?}", asked.elapsed());
    let started = Instant::now();
    cluster.restart_all();
    cluster.wait_all_ready().await;
    println!("  ready again within {:?}", started.elapsed());
    load.progress(100).await;
    let ledger = load.stop().await;
    ledger.check(&cluster.api, &cluster.all_urls(), Reading::Linearizable).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_stopped_one_after_the_other_cost_no_acknowledged_write() {
    let mut rng = seeded("nodes_stopped_one_after_the_other_cost_no_acknowledged_write");
    let mut cluster = Cluster::start(&Shape::default()).await;
    cluster.wait_leaders_home(1).await;
    let load = Load::start(&cluster.api, &cluster.all_urls(), &Plan::spread(16), &mut rng);
    for id in cluster.ids() {
        load.progress(100).await;
        cluster.node(id).signal(rustix::process::Signal::TERM);
        let node = cluster.node_mut(id);
        let status = node.wait_exit().await;
        assert!(status.success(), "node {id} ended with {status}:\n{}", node.tail());
        load.progress(50).await;
        cluster.restart(id);
        cluster.wait_ready(id).await;
        cluster.wait_leaders_home(id).await;
    }
    let ledger = load.stop().await;
    ledger.check(&cluster.api, &cluster.all_urls(), Reading::Linearizable).await;
}
