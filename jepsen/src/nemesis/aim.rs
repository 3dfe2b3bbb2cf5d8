//! Who is hit: at random, or those whose loss hurts most.

use std::collections::BTreeMap;
use std::time::Duration;

use fastrand::Rng;
use tokio::time::{sleep, timeout};

use crate::cluster::Cluster;

/// Longest wait for a new leader; about three elections at the usual heartbeat.
const ELECTED_WITHIN: Duration = Duration::from_secs(8);
/// How often the leaders are asked for.
const ASK_EVERY: Duration = Duration::from_millis(100);

/// One of these.
pub(super) fn one_of<'a, T>(items: &'a [T], rng: &mut Rng) -> Option<&'a T> {
    if items.is_empty() { None } else { items.get(rng.usize(..items.len())) }
}

/// The fixed variant, or one by chance. A number is drawn either way.
pub(super) fn variant(
    fixed: Option<&'static str>,
    all: &'static [&'static str],
    rng: &mut Rng,
) -> &'static str {
    let drawn = one_of(all, rng).copied().unwrap_or_default();
    fixed.unwrap_or(drawn)
}

/// How many nodes are the largest minority.
pub(super) fn minority(nodes: usize) -> usize {
    nodes.saturating_sub(1) / 2
}

/// All nodes in an order of chance.
pub(super) fn shuffled(cluster: &Cluster, rng: &mut Rng) -> Vec<u32> {
    let mut nodes = cluster.nodes();
    rng.shuffle(&mut nodes);
    nodes
}

/// Which nodes a word means: `one`, `minority`, `majority`, `all`, `leaders`; the one that leads the
/// most groups is the only one meant by `leaders`.
pub(super) async fn targets(cluster: &Cluster, word: &str, rng: &mut Rng) -> Vec<u32> {
    let mut nodes = shuffled(cluster, rng);
    let some = rng.usize(1..=minority(nodes.len()).max(1));
    let count = match word {
        "all" => nodes.len(),
        "majority" => nodes.len() - minority(nodes.len()),
        "minority" => some,
        "leaders" => {
            let leads = leads(&cluster.leaders().await);
            nodes.sort_by_key(|node| std::cmp::Reverse(leads.get(node).copied().unwrap_or(0)));
            1
        }
        _ => 1,
    };
    nodes.truncate(count);
    nodes.sort_unstable();
    nodes
}

/// How many groups each node leads.
fn leads(leaders: &BTreeMap<u64, u32>) -> BTreeMap<u32, usize> {
    let mut count = BTreeMap::new();
    for leader in leaders.values() {
        *count.entry(*leader).or_insert(0) += 1;
    }
    count
}

/// Waits until a group that `before` says was led by `old` is led by somebody else, and says by whom.
pub(super) async fn elected(
    cluster: &Cluster,
    before: &BTreeMap<u64, u32>,
    old: u32,
) -> Option<u32> {
    let seen = async {
        loop {
            let now = cluster.leaders().await;
            let moved = before.iter().filter(|(_, leader)| **leader == old);
            let successors = moved.filter_map(|(group, _)| now.get(group).copied());
            if let Some(successor) = successors.into_iter().find(|leader| *leader != old) {
                return successor;
            }
            sleep(ASK_EVERY).await;
        }
    };
    timeout(ELECTED_WITHIN, seen).await.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minority_is_less_than_half() {
        let sizes: Vec<usize> = (0..=7).map(minority).collect();
        assert_eq!(sizes, [0, 0, 0, 1, 1, 2, 2, 3]);
    }

    #[test]
    fn a_fixed_variant_draws_as_much_as_a_random_one() {
        let (mut fixed, mut free) = (Rng::with_seed(5), Rng::with_seed(5));
        assert_eq!(variant(Some("b"), &["a", "b"], &mut fixed), "b");
        variant(None, &["a", "b"], &mut free);
        assert_eq!(fixed.u64(..), free.u64(..));
    }
}
