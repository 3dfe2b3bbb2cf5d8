//! Partitions: who can no longer send to whom.
//!
//! Promises: installed means that something was held back on the cut links and nothing passed.

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use fastrand::Rng;
use tokio::time::sleep;

use super::{Effect, Fault, aim, map, nodes, word};
use crate::cluster::{Block, Cluster};
use crate::history::Value;

/// Shapes of partitions that chance chooses from. `leaders` cuts off the node that leads most, `elected`
/// the one that has just taken over from it.
const USUAL: usize = 9;
/// All shapes: of `alone`, which leaves nobody with anybody, a plan must say the name, since nothing but
/// eventual namespaces can do anything then.
pub(super) const VARIANTS: &[&str] = &[
    "one", "majority", "halves", "bridge", "ring", "one-way", "flapping", "leaders", "elected",
    "alone",
];

/// What was under way when a link was blocked has passed by then.
const SETTLED: Duration = Duration::from_millis(100);
/// Nodes that reach each other send heartbeats far more often than this.
const BITES_WITHIN: Duration = Duration::from_secs(4);
/// How long a flapping link stays as it is.
const FLAP: std::ops::Range<u64> = 100..1500;

type Cuts = BTreeSet<(u32, u32)>;

/// A partition of a shape.
#[derive(Debug)]
pub(super) struct Partition {
    fixed: Option<&'static str>,
    shape: &'static str,
    block: Block,
    cuts: Cuts,
}

impl Partition {
    pub(super) fn new(fixed: Option<&'static str>) -> Self {
        Self { fixed, shape: "", block: Block::Open, cuts: Cuts::new() }
    }

    fn block_all(&self, cluster: &Cluster, block: Block) {
        for (from, to) in &self.cuts {
            cluster.set_block(*from, *to, block);
        }
    }

    fn value(&self) -> Value {
        let senders: BTreeSet<u32> = self.cuts.iter().map(|(from, _)| *from).collect();
        let deaf = |sender: u32| {
            let to = self.cuts.iter().filter(|(from, _)| *from == sender).map(|(_, to)| *to);
            nodes(&to.collect::<Vec<_>>())
        };
        let cut = senders.into_iter().map(|from| (Value::from(i64::from(from)), deaf(from)));
        map([
            ("shape", word(self.shape)),
            ("block", word(if self.block == Block::Cut { "cut" } else { "stall" })),
            ("cut", Value::Map(cut.collect())),
        ])
    }

    /// Whether the cut links hold back and let nothing through.
    async fn bites(&self, cluster: &Cluster) -> Result<(), String> {
        sleep(SETTLED).await;
        let links: Vec<(u32, u32)> = self.cuts.iter().copied().collect();
        let passed = || links.iter().map(|(from, to)| cluster.link_counts(*from, *to).passed);
        let before: Vec<u64> = passed().collect();
        let held = cluster.links_show(&links, BITES_WITHIN, |a, b| b.withheld > a.withheld).await;
        if !passed().eq(before.iter().copied()) {
            return Err("something passed a link that is cut".to_owned());
        }
        if held { Ok(()) } else { Err("nothing tried to pass the links that are cut".to_owned()) }
    }

    async fn undo(&mut self, cluster: &Cluster) {
        self.block_all(cluster, Block::Open);
        self.cuts.clear();
    }
}

#[async_trait]
impl Fault for Partition {
    fn name(&self) -> &'static str {
        "partition"
    }

    async fn begin(&mut self, cluster: &Cluster, rng: &mut Rng) -> Effect {
        self.shape = aim::variant(self.fixed, VARIANTS.get(..USUAL).unwrap_or(VARIANTS), rng);
        self.block = if rng.u8(..4) == 0 { Block::Cut } else { Block::Stall };
        let all = aim::shuffled(cluster, rng);
        if all.len() < 2 {
            return Effect::skipped(word(self.shape), "one node has nobody to be cut off from");
        }
        let before = cluster.leaders().await;
        self.cuts = match self.shape {
            "leaders" | "elected" => {
                let most = aim::targets(cluster, "leaders", rng).await;
                apart(&most, &all)
            }
            shape => cuts(shape, &all),
        };
        self.block_all(cluster, self.block);
        if self.shape == "elected" {
            let old = self.cuts.first().map(|_| aim_of(&self.cuts));
            let new = match old {
                Some(old) => aim::elected(cluster, &before, old).await,
                None => None,
            };
            let Some(new) = new else {
                let value = self.value();
                self.undo(cluster).await;
                return Effect::failed(value, "nobody was elected in place of the node cut off");
            };
            self.block_all(cluster, Block::Open);
            self.cuts = apart(&[new], &all);
            self.block_all(cluster, self.block);
        }
        let value = self.value();
        let mut awake = BTreeSet::new();
        for node in &all {
            if cluster.is_awake(*node).await {
                awake.insert(*node);
            }
        }
        match self.bites(cluster).await {
            Ok(()) => Effect::installed(value),
            Err(why) => {
                let mute = self.cuts.iter().all(|(from, _)| !awake.contains(from));
                self.undo(cluster).await;
                if mute {
                    Effect::skipped(value, "nobody who is cut off runs")
                } else {
                    Effect::failed(value, why)
                }
            }
        }
    }

    async fn keep(&mut self, cluster: &Cluster, rng: &mut Rng) {
        if self.shape != "flapping" {
            return std::future::pending().await;
        }
        loop {
            sleep(Duration::from_millis(rng.u64(FLAP))).await;
            self.block_all(cluster, Block::Open);
            sleep(Duration::from_millis(rng.u64(FLAP))).await;
            self.block_all(cluster, self.block);
        }
    }

    async fn end(&mut self, cluster: &Cluster) -> Effect {
        let value = self.value();
        let links: Vec<(u32, u32)> = self.cuts.iter().copied().collect();
        self.undo(cluster).await;
        if links.is_empty() {
            return Effect::skipped(value, "it was not there");
        }
        // Whether anything passes again is seen when the cluster is ready; a dead node sends nothing.
        Effect::installed(value)
    }
}

/// The node that all cuts of a single node have in common.
fn aim_of(cuts: &Cuts) -> u32 {
    let nodes: BTreeSet<u32> = cuts.iter().flat_map(|(from, to)| [*from, *to]).collect();
    let in_all = |node: &u32| cuts.iter().all(|(from, to)| from == node || to == node);
    nodes.into_iter().find(in_all).unwrap_or(0)
}

/// These on one side, the others on the other, both ways.
fn apart(side: &[u32], all: &[u32]) -> Cuts {
    let others = || all.iter().filter(|node| !side.contains(node));
    side.iter().flat_map(|a| others().flat_map(move |b| [(*a, *b), (*b, *a)])).collect()
}

/// The cuts of a shape; `all` in an order of chance.
fn cuts(shape: &str, all: &[u32]) -> Cuts {
    let (first, rest) = all.split_first().expect("there are at least two nodes");
    let small = aim::minority(all.len()).max(1);
    match shape {
        "majority" => apart(all.get(..small).unwrap_or_default(), all),
        "halves" => apart(all.get(..all.len() / 2).unwrap_or_default(), all),
        // The first node sees both halves of the others, which do not see each other.
        "bridge" => apart(rest.get(..rest.len() / 2).unwrap_or_default(), rest),
        "ring" => ring(all),
        "alone" => all.iter().flat_map(|node| apart(&[*node], all)).collect(),
        // What the first node sends arrives nowhere; it hears everybody.
        "one-way" => rest.iter().map(|to| (*first, *to)).collect(),
        _ => apart(&[*first], all),
    }
}

/// Each node sees a majority, and no two the same one: its neighbours in a circle.
fn ring(all: &[u32]) -> Cuts {
    let count = all.len();
    let reach = (count / 2).div_ceil(2);
    let near = |a: usize, b: usize| {
        let apart = a.abs_diff(b);
        apart.min(count - apart) <= reach
    };
    let pairs = (0..count).flat_map(|a| (0..count).map(move |b| (a, b)));
    let cut = pairs.filter(|(a, b)| a != b && !near(*a, *b));
    let cut: Cuts = cut.filter_map(|(a, b)| Some((*all.get(a)?, *all.get(b)?))).collect();
    // Of three nodes each is next to both others: the smallest ring leaves out one pair.
    match (cut.is_empty(), all) {
        (true, [a, b, ..]) => Cuts::from([(*a, *b), (*b, *a)]),
        _ => cut,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sees(cuts: &Cuts, all: &[u32], node: u32) -> Vec<u32> {
        let both = |to: &&u32| !cuts.contains(&(node, **to)) && !cuts.contains(&(**to, node));
        all.iter().filter(both).copied().collect()
    }

    #[test]
    fn shapes_cut_what_they_say() {
        let five = [3, 1, 5, 2, 4];
        assert_eq!(sees(&cuts("one", &five), &five, 3), [3]);
        assert_eq!(sees(&cuts("one", &five), &five, 1), [1, 5, 2, 4]);
        assert_eq!(sees(&cuts("halves", &five), &five, 3), [3, 1]);
        assert_eq!(sees(&cuts("majority", &five), &five, 5), [5, 2, 4]);
        let bridge = cuts("bridge", &five);
        assert_eq!(sees(&bridge, &five, 3).len(), 5, "the bridge sees everybody");
        assert_eq!(sees(&bridge, &five, 1), [3, 1, 5]);
        let alone = cuts("alone", &five);
        assert!(five.iter().all(|node| sees(&alone, &five, *node) == [*node]));
        let one_way = cuts("one-way", &five);
        assert_eq!(one_way.len(), 4);
        assert!(one_way.iter().all(|(from, _)| *from == 3));
    }

    #[test]
    fn a_ring_leaves_each_node_another_majority() {
        for count in [3u32, 4, 5, 6, 7] {
            let all: Vec<u32> = (1..=count).collect();
            let ring = cuts("ring", &all);
            assert!(!ring.is_empty(), "{count} nodes");
            let majority = all.len() / 2 + 1;
            assert!(all.iter().all(|node| sees(&ring, &all, *node).len() >= majority), "{ring:?}");
            if count >= 5 {
                let seen: BTreeSet<_> = all.iter().map(|node| sees(&ring, &all, *node)).collect();
                assert_eq!(seen.len(), all.len(), "{count}: {ring:?}");
            }
        }
    }

    #[test]
    fn the_node_that_is_cut_off_is_known_by_its_cuts() {
        assert_eq!(aim_of(&apart(&[4], &[1, 2, 3, 4])), 4);
    }
}
