//! Faults of processes: killed, paused, started again and again.
//!
//! Promises: a killed process was seen dead and a paused one seen stopped before the event says so.
//! Nodes that something else has taken down are left to it.

use std::time::Duration;

use async_trait::async_trait;
use fastrand::Rng;
use futures_util::future::join_all;
use tokio::time::sleep;

use super::{Effect, Fault, aim, nodes};
use crate::cluster::{Cluster, Miss};

/// Who is killed. `elected` kills the node that leads most, and then the one that took over.
pub(super) const KILLS: &[&str] = &["one", "minority", "majority", "all", "leaders", "elected"];
/// Who is paused.
pub(super) const PAUSES: &[&str] = &["one", "minority", "majority", "all", "leaders"];
/// Who is started again and again.
pub(super) const RESTARTS: &[&str] = &["one", "leaders"];

/// How long a node of a restart loop lives, in milliseconds: from not yet listening to leading.
const LIVES: std::ops::Range<u64> = 20..3000;

/// kill -9; the end starts the dead again.
#[derive(Debug)]
pub(super) struct Kill {
    fixed: Option<&'static str>,
    dead: Vec<u32>,
}

impl Kill {
    pub(super) fn new(fixed: Option<&'static str>) -> Self {
        Self { fixed, dead: Vec::new() }
    }

    /// Kills all at the same moment, as far as one process can.
    async fn kill(&mut self, cluster: &Cluster, targets: &[u32]) -> Vec<(u32, Result<(), Miss>)> {
        let killing = targets.iter().map(async |node| (*node, cluster.kill(*node).await));
        let killed = join_all(killing).await;
        self.dead.extend(killed.iter().filter(|(_, result)| result.is_ok()).map(|(node, _)| *node));
        killed
    }
}

#[async_trait]
impl Fault for Kill {
    fn name(&self) -> &'static str {
        "kill"
    }

    async fn begin(&mut self, cluster: &Cluster, rng: &mut Rng) -> Effect {
        let whom = aim::variant(self.fixed, KILLS, rng);
        let before = cluster.leaders().await;
        let first = if whom == "elected" { "leaders" } else { whom };
        let targets = aim::targets(cluster, first, rng).await;
        let mut killed = self.kill(cluster, &targets).await;
        // With three nodes the second kill takes the majority, which is as it should be.
        if whom == "elected"
            && let Some(old) = self.dead.first().copied()
            && let Some(new) = aim::elected(cluster, &before, old).await
        {
            killed.extend(self.kill(cluster, &[new]).await);
        }
        Effect::of_nodes(killed)
    }

    async fn end(&mut self, cluster: &Cluster) -> Effect {
        start(cluster, std::mem::take(&mut self.dead)).await
    }
}

async fn start(cluster: &Cluster, dead: Vec<u32>) -> Effect {
    let starting = dead.iter().map(async |node| (*node, cluster.start_node(*node).await));
    Effect::of_nodes(join_all(starting).await)
}

/// SIGSTOP; the end resumes.
#[derive(Debug)]
pub(super) struct Pause {
    fixed: Option<&'static str>,
    paused: Vec<u32>,
}

impl Pause {
    pub(super) fn new(fixed: Option<&'static str>) -> Self {
        Self { fixed, paused: Vec::new() }
    }
}

#[async_trait]
impl Fault for Pause {
    fn name(&self) -> &'static str {
        "pause"
    }

    async fn begin(&mut self, cluster: &Cluster, rng: &mut Rng) -> Effect {
        let whom = aim::variant(self.fixed, PAUSES, rng);
        let targets = aim::targets(cluster, whom, rng).await;
        let pausing = targets.iter().map(async |node| (*node, cluster.pause(*node).await));
        let paused = join_all(pausing).await;
        self.paused = paused.iter().filter(|(_, r)| r.is_ok()).map(|(node, _)| *node).collect();
        Effect::of_nodes(paused)
    }

    async fn end(&mut self, cluster: &Cluster) -> Effect {
        let paused = std::mem::take(&mut self.paused);
        let resuming = paused.iter().map(async |node| (*node, cluster.resume(*node).await));
        Effect::of_nodes(join_all(resuming).await)
    }
}

/// Kills and starts a node for as long as it lasts, with lives of all lengths.
#[derive(Debug)]
pub(super) struct Restarts {
    fixed: Option<&'static str>,
    node: Option<u32>,
    kills: i64,
}

impl Restarts {
    pub(super) fn new(fixed: Option<&'static str>) -> Self {
        Self { fixed, node: None, kills: 0 }
    }
}

#[async_trait]
impl Fault for Restarts {
    fn name(&self) -> &'static str {
        "restarts"
    }

    async fn begin(&mut self, cluster: &Cluster, rng: &mut Rng) -> Effect {
        let whom = aim::variant(self.fixed, RESTARTS, rng);
        let targets = aim::targets(cluster, whom, rng).await;
        (self.node, self.kills) = (None, 0);
        let Some(node) = targets.first().copied() else {
            return Effect::skipped(nodes(&[]), "there is nobody to restart");
        };
        let killed = cluster.kill(node).await;
        if killed.is_ok() {
            (self.node, self.kills) = (Some(node), 1);
        }
        Effect::of_nodes(vec![(node, killed)])
    }

    async fn keep(&mut self, cluster: &Cluster, rng: &mut Rng) {
        let Some(node) = self.node else { return std::future::pending().await };
        loop {
            // Others may start or kill it too; what it lives through is still a restart.
            drop(cluster.start_node(node).await);
            sleep(Duration::from_millis(rng.u64(LIVES))).await;
            self.kills += i64::from(cluster.kill(node).await.is_ok());
        }
    }

    async fn end(&mut self, cluster: &Cluster) -> Effect {
        let Some(node) = self.node.take() else {
            return Effect::skipped(nodes(&[]), "it was not there");
        };
        if !cluster.runs(node).await {
            drop(cluster.start_node(node).await);
        }
        let value = super::map([("node", i64::from(node).into()), ("kills", self.kills.into())]);
        Effect::installed(value)
    }
}
