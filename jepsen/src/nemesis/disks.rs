//! Faults of disks and of what is on them: failing, slow and full ones, power cuts, damaged files, and
//! disks that are gone, whose node is replaced.
//!
//! Promises: installed means that a sync or write was seen to fail or to be late, that the room is
//! really gone, that unsynced bytes were really lost, or that bytes of a file were changed.

use std::time::Duration;

use async_trait::async_trait;
use fastrand::Rng;
use futures_util::future::join_all;
use tokio::time::{sleep, timeout};

use super::{Effect, Fault, aim, map, nodes, word};
use crate::cluster::{Cluster, DAMAGES, DiskFault, Miss, ShimCounts};
use crate::history::Value;

/// What is wrong with a disk: the first takes one of its own, the others the shim.
pub(super) const DISKS: &[&str] = &["full", "sync-error", "sync-flaky", "slow-sync", "no-space"];
/// Whose power is cut.
pub(super) const POWERS: &[&str] = &["one", "minority", "majority", "all", "leaders"];

/// A cluster under load syncs far more often than this.
const BITES_WITHIN: Duration = Duration::from_secs(5);
/// How often counts are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Longest wait for a replacement while other faults may be about.
const REPLACED_WITHIN: Duration = Duration::from_secs(60);

/// A disk that works badly or not at all.
#[derive(Debug)]
pub(super) struct Disk {
    fixed: Option<&'static str>,
    node: Option<u32>,
    value: Value,
}

impl Disk {
    pub(super) fn new(fixed: Option<&'static str>) -> Self {
        Self { fixed, node: None, value: Value::Nil }
    }
}

#[async_trait]
impl Fault for Disk {
    fn name(&self) -> &'static str {
        "disk"
    }

    async fn begin(&mut self, cluster: &Cluster, rng: &mut Rng) -> Effect {
        let kind = aim::variant(self.fixed, DISKS, rng);
        let whom = if rng.bool() { "leaders" } else { "one" };
        let node = aim::targets(cluster, whom, rng).await.first().copied().unwrap_or(0);
        self.value = map([("kind", word(kind)), ("node", i64::from(node).into())]);
        let value = self.value.clone();
        if !cluster.is_awake(node).await {
            return Effect::skipped(value, format!("node {node} does not run"));
        }
        let before = cluster.shim_counts(node).await;
        let done = match kind {
            "full" => cluster.set_full(node, true).await,
            kind => cluster.set_disk(node, fault(kind, rng)).await,
        };
        self.node = Some(node);
        match done {
            Err(Miss::Skipped(why)) => return Effect::skipped(value, why),
            Err(Miss::Failed(why)) => {
                drop(self.end(cluster).await);
                return Effect::failed(value, why);
            }
            Ok(()) if kind == "full" => return Effect::installed(value),
            Ok(()) => {}
        }
        let bites = |now: ShimCounts| match kind {
            "slow-sync" => now.syncs_delayed > before.syncs_delayed,
            "no-space" => now.writes_failed > before.writes_failed,
            _ => now.syncs_failed > before.syncs_failed,
        };
        let seen = async {
            while !bites(cluster.shim_counts(node).await) {
                sleep(LOOK_EVERY).await;
            }
        };
        if timeout(BITES_WITHIN, seen).await.is_ok() {
            return Effect::installed(value);
        }
        drop(self.end(cluster).await);
        Effect::failed(value, "the node did not use its disk")
    }

    async fn end(&mut self, cluster: &Cluster) -> Effect {
        let Some(node) = self.node.take() else {
            return Effect::skipped(self.value.clone(), "it was not there");
        };
        // One of the two does not apply; what still fails is seen when the cluster heals.
        drop(cluster.set_disk(node, DiskFault::default()).await);
        drop(cluster.set_full(node, false).await);
        // A node stops on a disk that fails, and an operator starts it again.
        if !cluster.runs(node).await {
            drop(cluster.start_node(node).await);
        }
        Effect::installed(self.value.clone())
    }
}

/// All numbers are drawn for every kind.
fn fault(kind: &str, rng: &mut Rng) -> DiskFault {
    let (slow, rare, seed) = (rng.u64(5..400), rng.i64(1_000..100_000), rng.u64(..));
    let plain = DiskFault { seed, ..DiskFault::default() };
    match kind {
        "sync-error" => DiskFault { sync_fails_ppm: 1_000_000, sync_fails_left: 1, ..plain },
        "sync-flaky" => DiskFault { sync_fails_ppm: rare, sync_fails_left: -1, ..plain },
        "slow-sync" => DiskFault { sync_delay: Duration::from_millis(slow), ..plain },
        _ => DiskFault { write_full_ppm: 1_000_000, ..plain },
    }
}

/// The power of nodes fails and returns.
#[derive(Debug)]
pub(super) struct Power {
    fixed: Option<&'static str>,
}

impl Power {
    pub(super) fn new(fixed: Option<&'static str>) -> Self {
        Self { fixed }
    }
}

#[async_trait]
impl Fault for Power {
    fn name(&self) -> &'static str {
        "power"
    }

    fn is_one_shot(&self) -> bool {
        true
    }

    async fn begin(&mut self, cluster: &Cluster, rng: &mut Rng) -> Effect {
        let whom = aim::variant(self.fixed, POWERS, rng);
        let targets = aim::targets(cluster, whom, rng).await;
        Effect::of_nodes(cluster.cut_power(&targets).await)
    }

    async fn end(&mut self, _cluster: &Cluster) -> Effect {
        Effect::skipped(Value::Nil, "the power is back")
    }
}

/// A file of one node is damaged while it is down.
#[derive(Debug)]
pub(super) struct Files {
    fixed: Option<&'static str>,
    node: Option<u32>,
}

impl Files {
    pub(super) fn new(fixed: Option<&'static str>) -> Self {
        Self { fixed, node: None }
    }
}

#[async_trait]
impl Fault for Files {
    fn name(&self) -> &'static str {
        "files"
    }

    async fn begin(&mut self, cluster: &Cluster, rng: &mut Rng) -> Effect {
        let kind = aim::variant(self.fixed, DAMAGES, rng);
        let node = aim::targets(cluster, "one", rng).await.first().copied().unwrap_or(0);
        match cluster.damage(node, kind, rng).await {
            Ok(damage) => {
                self.node = Some(node);
                Effect::installed(map([
                    ("node", i64::from(node).into()),
                    ("kind", word(damage.kind)),
                    ("file", damage.file.into()),
                    ("offset", i64::try_from(damage.offset).unwrap_or(i64::MAX).into()),
                ]))
            }
            Err(Miss::Skipped(why)) => Effect::skipped(nodes(&[node]), why),
            Err(Miss::Failed(why)) => {
                drop(cluster.start_node(node).await);
                Effect::failed(nodes(&[node]), why)
            }
        }
    }

    async fn end(&mut self, cluster: &Cluster) -> Effect {
        let Some(node) = self.node.take() else {
            return Effect::skipped(nodes(&[]), "it was not there");
        };
        match cluster.judge_damage(node).await {
            Ok(said) => {
                Effect::installed(map([("node", i64::from(node).into()), ("then", said.into())]))
            }
            Err(miss) => Effect::failed(nodes(&[node]), miss.to_string()),
        }
    }
}

/// A disk that is gone: the node is replaced by one with a new id.
#[derive(Debug)]
pub(super) struct Replace;

#[async_trait]
impl Fault for Replace {
    fn name(&self) -> &'static str {
        "replace"
    }

    fn is_one_shot(&self) -> bool {
        true
    }

    async fn begin(&mut self, cluster: &Cluster, rng: &mut Rng) -> Effect {
        let all = aim::shuffled(cluster, rng);
        let node = all.first().copied().unwrap_or(0);
        let awake = join_all(all.iter().map(|node| cluster.is_awake(*node))).await;
        if awake.len() < 3 || awake.contains(&false) {
            return Effect::skipped(nodes(&[node]), "a replacement needs all the others");
        }
        if cluster.is_short_of_copies().await {
            return Effect::skipped(nodes(&[node]), "another node is damaged");
        }
        match timeout(REPLACED_WITHIN, cluster.replace(node)).await {
            Ok(Ok(())) => Effect::installed(nodes(&[node])),
            Ok(Err(Miss::Skipped(why))) => Effect::skipped(nodes(&[node]), why),
            Ok(Err(Miss::Failed(why))) => Effect::failed(nodes(&[node]), why),
            // It goes on by itself, and is finished when the cluster heals.
            Err(_late) => Effect::failed(nodes(&[node]), "the replacement is not done yet"),
        }
    }

    async fn end(&mut self, _cluster: &Cluster) -> Effect {
        Effect::skipped(Value::Nil, "it was over when it had begun")
    }
}
