//! All nodes killed at once, again and again: nothing acknowledged is missing.

use std::time::Duration;

use tokio::time::Instant;

use crate::support::chance::{rounds, seeded};
use crate::support::cluster::{Cluster, Shape};
use crate::support::digests;
use crate::support::ledger::Reading;
use crate::support::load::{Load, Plan};

/// Writers; each has one request under way.
const WRITERS: usize = 32;

/// Acknowledgements before each blow.
const WRITES: u64 = 400;

/// Small logs, so that segments turn over and checkpoints are under way when the blow falls.
const SMALL: [&str; 4] = ["--segment-mib", "9", "--checkpoint-after-mib", "1"];

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_when_all_nodes_are_killed_at_once() {
    let mut rng = seeded("nothing_acknowledged_is_lost_when_all_nodes_are_killed_at_once");
    let rounds = rounds("TETRARCH_ROUNDS", 2);
    let shape = Shape { flags: SMALL.to_vec(), ..Shape::default() };
    let mut cluster = Cluster::start(&shape).await;
    let load = Load::start(&cluster.api, &cluster.all_urls(), &Plan::spread(WRITERS), &mut rng);
    for round in 1..=rounds {
        load.progress(WRITES).await;
        // Not a wait for anything: the blow falls at a random moment of the load.
        tokio::time::sleep(Duration::from_millis(rng.u64(..200))).await;
        cluster.kill_all();
        let acked = load.acked();
        let dead = Instant::now();
        cluster.restart_all();
        cluster.wait_all_ready().await;
        let ready = dead.elapsed();
        load.progress(1).await;
        let writes = dead.elapsed();
        println!(
            "  round {round}/{rounds}: {acked} acknowledged when all died; ready after {ready:?}, \
             first write after {writes:?}"
        );
    }
    load.progress(WRITES).await;
    let ledger = load.stop().await;
    assert!(!ledger.unknown.is_empty(), "kill -9 under load leaves requests without answer");
    ledger.check(&cluster.api, &cluster.all_urls(), Reading::Linearizable).await;
    digests::agree(&cluster).await;
}
