//! A node whose directory is gone is replaced by a fresh one, while writes go on.

use std::fs;
use std::time::Duration;

use tetrarch::wire::ClusterView;

use crate::support::chance::seeded;
use crate::support::cluster::{Cluster, Shape};
use crate::support::command::tetrarch;
use crate::support::ledger::Reading;
use crate::support::load::{Load, Plan};
use crate::support::wait::wait_at_most;

/// The replica of every group moves, one after the other.
const MOVES_MAX: Duration = Duration::from_secs(240);

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_node_is_replaced_while_writes_go_on() {
    let mut rng = seeded("a_lost_node_is_replaced_while_writes_go_on");
    let mut cluster = Cluster::start(&Shape::default()).await;
    let load = Load::start(&cluster.api, &cluster.urls(&[1, 3]), &Plan::spread(16), &mut rng);
    load.progress(300).await;
    cluster.kill(2);
    fs::remove_dir_all(&cluster.node(2).data_dir).unwrap();
    load.progress(100).await;

    cluster.join(4, 1, &[]);
    cluster.wait_view(1, "node 4 is known", |view| state_is(view, 4, "joining")).await;
    let before = load.acked();
    let ran =
        tetrarch(&["cluster", "replace", "2", "--with", "4", "--endpoint", &cluster.url(1)]).await;
    assert!(ran.success, "{}{}", ran.stdout, ran.stderr);
    let (api, url) = (cluster.api.clone(), cluster.url(1));
    let view = wait_at_most(MOVES_MAX, "every replica has moved to node 4", async || {
        let view = api.cluster(&url).await?;
        has_moved(&view)?;
        Ok(view)
    })
    .await;
    println!("  {} writes were acknowledged while the replicas moved", load.acked() - before);
    assert!(load.acked() > before, "writes went on");
    for group in view.groups.iter().filter(|group| group.id != 0) {
        let mut nodes: Vec<u64> = group.replicas.iter().map(|replica| replica.node).collect();
        nodes.sort_unstable();
        assert_eq!(nodes, [1, 3, 4], "replicas of group {}", group.id);
    }
    state_is(&view, 2, "removed").unwrap();
    cluster.wait_ready(4).await;
    cluster.wait_leaders_home(4).await;
    load.progress(200).await;
    let ledger = load.stop().await;
    let urls = cluster.urls(&[1, 3, 4]);
    ledger.check(&cluster.api, &urls, Reading::Linearizable).await;
    ledger.check(&cluster.api, &cluster.urls(&[4]), Reading::OwnCopy).await;

    // The newcomer counts: the cluster does without any other node now.
    cluster.kill(1);
    ledger.check(&cluster.api, &cluster.urls(&[3, 4]), Reading::Linearizable).await;
}

fn has_moved(view: &ClusterView) -> Result<(), String> {
    if view.groups.is_empty() {
        return Err("there are no groups".to_owned());
    }
    let mut left = Vec::new();
    for group in &view.groups {
        let mut voters = group.voters.clone();
        voters.sort_unstable();
        if voters != [1, 3, 4] || !group.learners.is_empty() {
            left.push((group.id, voters, group.learners.clone()));
        }
    }
    if !left.is_empty() {
        return Err(format!("(group, voters, learners): {left:?}"));
    }
    if view.moves_left > 0 {
        return Err(format!("{} moves are left", view.moves_left));
    }
    Ok(())
}

fn state_is(view: &ClusterView, node: u64, state: &str) -> Result<(), String> {
    let found = view.nodes.iter().find(|n| n.id == node).map(|n| n.state.as_str());
    if found == Some(state) { Ok(()) } else { Err(format!("node {node} is {found:?}")) }
}
