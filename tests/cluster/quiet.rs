//! Groups that nobody uses keep quiet, and serve as ever when they are asked.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::support::api::{Fate, fate};
use crate::support::cluster::{Cluster, Shape};
use crate::support::digests;
use crate::support::wait::wait_until;

const GROUPS: u64 = 12;

/// Quiet soon, with the usual beat.
const FLAGS: [&str; 1] = ["--quiesce=300"];

/// The usual one.
const HEARTBEAT: Duration = Duration::from_millis(300);

async fn figure(cluster: &Cluster, node: u64, name: &str) -> Result<u64, String> {
    let answer = cluster.api.get_path(&cluster.url(node), "/metrics").await;
    let text = answer.map_err(|silence| format!("{silence:?}"))?.text();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|value| value.parse().ok()).ok_or_else(|| format!("{name} is not told"))
}

/// Waits until every replica of these nodes is quiet; group 0 among them.
async fn wait_quiet(cluster: &Cluster, nodes: &[u64]) {
    for node in nodes {
        wait_until("all groups are quiet", async || {
            match figure(cluster, *node, "tetrarch_quiet_groups").await? {
                quiet if quiet == GROUPS + 1 => Ok(()),
                quiet => Err(format!("node {node}: {quiet} quiet groups")),
            }
        })
        .await;
    }
}

/// Waits until no leader has a lease of what was before: a lease lasts for five heartbeats.
async fn wait_leases_over() {
    let quiet = Instant::now();
    wait_until("the leases are over", async || {
        let left = (HEARTBEAT * 7).checked_sub(quiet.elapsed());
        left.map_or(Ok(()), |left| Err(format!("{left:?} to go")))
    })
    .await;
}

async fn elections(cluster: &Cluster) -> u64 {
    let mut sum = 0;
    for node in 1..=3 {
        sum += figure(cluster, node, "tetrarch_leader_changes_total").await.unwrap();
    }
    sum
}

/// A key in each group.
async fn keys(cluster: &Cluster) -> BTreeMap<u64, String> {
    let mut keys = BTreeMap::new();
    for number in 0.. {
        let key = format!("key {number}");
        let route = cluster.api.route(&cluster.url(1), &key).await.unwrap();
        keys.entry(route.group).or_insert(key);
        if keys.len() as u64 == GROUPS {
            break;
        }
    }
    keys
}

async fn put(cluster: &Cluster, node: u64, key: &str, value: &str) {
    wait_until("a write is acknowledged", async || {
        let body = Bytes::from(value.to_owned());
        match fate(cluster.api.put(&cluster.url(node), key.as_bytes(), body).await) {
            Fate::Applied(_) => Ok(()),
            Fate::NotApplied(reason) | Fate::Unknown(reason) => Err(reason),
        }
    })
    .await;
}

async fn expect(cluster: &Cluster, node: u64, key: &str, value: &str) {
    let got = wait_until("a key is read", async || {
        match cluster.api.get(&cluster.url(node), key.as_bytes()).await {
            Ok(answer) if answer.status == 200 => Ok(answer.text()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    assert_eq!(got, value, "{key} at node {node}");
}

/// Reads what was there, writes anew, each group at one of these nodes in turn.
async fn use_all(
    cluster: &Cluster,
    nodes: &[u64],
    keys: &BTreeMap<u64, String>,
    values: [&str; 2],
) {
    for ((group, key), node) in keys.iter().zip(nodes.iter().cycle()) {
        let began = Instant::now();
        expect(cluster, *node, key, values[0]).await;
        put(cluster, *node, key, values[1]).await;
        let took = began.elapsed();
        if took.as_millis() > 100 {
            println!("  group {group} answered and took a write after {took:?}");
        }
    }
}

async fn start() -> (Cluster, BTreeMap<u64, String>) {
    let shape = Shape { groups: Some(GROUPS), flags: FLAGS.to_vec(), ..Shape::default() };
    let cluster = Cluster::start(&shape).await;
    cluster.wait_leaders_home(1).await;
    let keys = keys(&cluster).await;
    for key in keys.values() {
        put(&cluster, 1, key, "first").await;
    }
    wait_quiet(&cluster, &[1, 2, 3]).await;
    (cluster, keys)
}

#[tokio::test(flavor = "multi_thread")]
async fn quiet_groups_serve_when_asked_and_elect_nobody_anew() {
    let (cluster, keys) = start().await;
    let before = elections(&cluster).await;
    use_all(&cluster, &[1, 2, 3], &keys, ["first", "second"]).await;
    wait_quiet(&cluster, &[1, 2, 3]).await;
    wait_leases_over().await;
    use_all(&cluster, &[2, 3, 1], &keys, ["second", "third"]).await;
    wait_quiet(&cluster, &[1, 2, 3]).await;
    assert_eq!(elections(&cluster).await, before, "nobody needed an election");
    digests::agree(&cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_quiet_groups_of_a_killed_node_are_led_by_others() {
    let (mut cluster, keys) = start().await;
    let killed = Instant::now();
    cluster.kill(3);
    use_all(&cluster, &[1, 2], &keys, ["first", "second"]).await;
    println!("  every group took a write {:?} after the kill", killed.elapsed());
    cluster.restart(3);
    cluster.wait_ready(3).await;
    cluster.wait_leaders_home(1).await;
    wait_quiet(&cluster, &[1, 2, 3]).await;
    use_all(&cluster, &[3], &keys, ["second", "third"]).await;
    // All at once, and quiet again afterwards.
    cluster.kill_all();
    cluster.restart_all();
    cluster.wait_all_ready().await;
    use_all(&cluster, &[2], &keys, ["third", "fourth"]).await;
    wait_quiet(&cluster, &[1, 2, 3]).await;
    digests::agree(&cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_quiet_groups_of_a_hanging_node_are_led_by_others() {
    let (cluster, keys) = start().await;
    let paused = Instant::now();
    cluster.pause(3);
    // Of a node that hangs, the others know only that it is silent.
    use_all(&cluster, &[1, 2], &keys, ["first", "second"]).await;
    println!("  every group took a write {:?} after the node hung", paused.elapsed());
    cluster.resume(3);
    // It still believes that it leads, and that it is quiet: what it says must be true all the same.
    use_all(&cluster, &[3], &keys, ["second", "third"]).await;
    cluster.wait_leaders_home(1).await;
    wait_quiet(&cluster, &[1, 2, 3]).await;
    digests::agree(&cluster).await;
}
