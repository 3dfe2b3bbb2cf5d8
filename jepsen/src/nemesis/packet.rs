//! Links that pass everything, but badly.
//!
//! Promises: installed means that something was seen to be treated on the links concerned.

use std::time::Duration;

use async_trait::async_trait;
use fastrand::Rng;

use super::{Effect, Fault, aim, map, nodes, word};
use crate::cluster::{Cluster, Shape};
use crate::history::Value;

/// What can be wrong with a link. The last two only where there are packets.
pub(super) const VARIANTS: &[&str] =
    &["delay", "jitter", "loss", "bandwidth", "everything", "duplicate", "reorder"];

/// Nodes send heartbeats far more often than this.
const BITES_WITHIN: Duration = Duration::from_secs(4);

/// Bad links.
#[derive(Debug)]
pub(super) struct Packet {
    fixed: Option<&'static str>,
    links: Vec<(u32, u32)>,
    value: Value,
}

impl Packet {
    pub(super) fn new(fixed: Option<&'static str>) -> Self {
        Self { fixed, links: Vec::new(), value: Value::Nil }
    }
}

#[async_trait]
impl Fault for Packet {
    fn name(&self) -> &'static str {
        "packet"
    }

    async fn begin(&mut self, cluster: &Cluster, rng: &mut Rng) -> Effect {
        let count = if cluster.has_packets() { VARIANTS.len() } else { VARIANTS.len() - 2 };
        let possible = VARIANTS.get(..count).unwrap_or(VARIANTS);
        let variant = aim::variant(self.fixed, possible, rng);
        let seed = rng.u64(..);
        let shape = shape(variant, seed, rng);
        // All links, or those of one node, or one alone: a grey failure.
        let all = aim::shuffled(cluster, rng);
        let whose = rng.u8(..3);
        self.links = links(&all, whose);
        self.value = map([
            ("kind", word(variant)),
            ("nodes", if whose == 0 { nodes(&all) } else { nodes(all.get(..1).unwrap_or(&[])) }),
            ("one-way", (whose == 2).into()),
            ("delay-ms", millis(shape.delay)),
            ("jitter-ms", millis(shape.jitter)),
            ("lost-of-1000", i64::from(shape.loss).into()),
        ]);
        if !possible.contains(&variant) {
            let why = "on proxied connections there are no packets";
            return Effect::skipped(self.value.clone(), why);
        }
        for (from, to) in &self.links {
            cluster.set_shape(*from, *to, shape);
        }
        if cluster.links_show(&self.links, BITES_WITHIN, |a, b| b.treated > a.treated).await {
            return Effect::installed(self.value.clone());
        }
        drop(self.end(cluster).await);
        Effect::failed(self.value.clone(), "nothing went over the links that are bad")
    }

    async fn end(&mut self, cluster: &Cluster) -> Effect {
        for (from, to) in std::mem::take(&mut self.links) {
            cluster.set_shape(from, to, Shape::default());
        }
        Effect::installed(self.value.clone())
    }
}

fn millis(time: Duration) -> Value {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX).into()
}

fn links(all: &[u32], whose: u8) -> Vec<(u32, u32)> {
    let pairs = all.iter().flat_map(|a| all.iter().map(move |b| (*a, *b)));
    let apart = pairs.filter(|(a, b)| a != b);
    let (first, second) = (all.first().copied(), all.get(1).copied());
    let concerned = |(a, b): &(u32, u32)| match whose {
        0 => true,
        1 => Some(*a) == first || Some(*b) == first,
        _ => Some(*a) == first && Some(*b) == second,
    };
    apart.filter(concerned).collect()
}

/// All numbers are drawn for every variant, so that a seed means the same for each.
fn shape(variant: &str, seed: u64, rng: &mut Rng) -> Shape {
    let delay = Duration::from_millis(rng.u64(20..400));
    let jitter = Duration::from_millis(rng.u64(1..100));
    let (loss, rare) = (rng.u32(20..300), rng.u32(10..200));
    let rate = rng.u64(8..256) * 1024;
    let plain = Shape { seed, ..Shape::default() };
    match variant {
        "delay" => Shape { delay, ..plain },
        "jitter" => Shape { delay: jitter, jitter, ..plain },
        "loss" => Shape { loss, ..plain },
        "bandwidth" => Shape { bytes_per_second: Some(rate), ..plain },
        "duplicate" => Shape { duplicate: rare, ..plain },
        "reorder" => Shape { delay: jitter, reorder: rare, ..plain },
        _ => Shape {
            delay,
            jitter,
            loss: loss / 4,
            duplicate: rare,
            reorder: rare,
            bytes_per_second: Some(rate * 4),
            ..plain
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_links_are_all_or_of_one_node_or_one() {
        assert_eq!(links(&[2, 1, 3], 0).len(), 6);
        assert_eq!(links(&[2, 1, 3], 1), [(2, 1), (2, 3), (1, 2), (3, 2)]);
        assert_eq!(links(&[2, 1, 3], 2), [(2, 1)]);
    }

    #[test]
    fn every_variant_treats_something() {
        for variant in VARIANTS {
            assert!(!shape(variant, 1, &mut Rng::with_seed(1)).is_plain(), "{variant}");
        }
    }
}
