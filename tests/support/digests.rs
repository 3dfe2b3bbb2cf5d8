//! Whether all replicas of each group hold the same rows at the same index.

use std::collections::BTreeMap;

use tetrarch::wire::{DIGEST_PATH, DigestView, GroupDigest};

use super::cluster::Cluster;
use super::wait::wait_until;

/// Waits until the nodes have applied equally far, and holds what they say then, and whenever two
/// of them met before, against each other.
pub(crate) async fn agree(cluster: &Cluster) {
    let mut seen: BTreeMap<(u64, u64), GroupDigest> = BTreeMap::new();
    wait_until("all replicas stand at the same index", async || {
        let mut applied: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        for id in cluster.ids() {
            let answer = cluster.api.get_path(&cluster.url(id), DIGEST_PATH).await;
            let answer = answer.map_err(|silence| format!("{silence:?}"))?;
            let view: DigestView = serde_json::from_slice(&answer.body)
                .map_err(|error| format!("status {}: {error}", answer.status))?;
            assert_eq!(view.node, id, "a node answers for itself");
            for replica in view.groups {
                applied.entry(replica.group).or_default().push(replica.applied);
                let place = (replica.group, replica.applied);
                let other = seen.entry(place).or_insert_with(|| replica.clone());
                assert_eq!(*other, replica, "node {id} differs from a node that was asked before");
            }
        }
        let apart: Vec<_> =
            applied.iter().filter(|(_, at)| at.windows(2).any(|pair| pair[0] != pair[1])).collect();
        if apart.is_empty() && !applied.is_empty() {
            return Ok(());
        }
        Err(format!("(group, applied): {apart:?}"))
    })
    .await;
    println!("  {} digests were compared", seen.len());
}
