//! A thousand groups: slower, but they work.

use std::collections::BTreeSet;

use bytes::Bytes;
use tokio::time::Instant;

use crate::support::api::{Fate, fate};
use crate::support::chance::{rounds, seeded};
use crate::support::cluster::{Cluster, Shape};
use crate::support::wait::wait_until;

/// Set `TETRARCH_GROUPS=1000` for the demonstration, with `--release`: unoptimized it takes minutes.
/// Everyday runs use fewer.
const VARIABLE: &str = "TETRARCH_GROUPS";
const EVERYDAY: u64 = 64;

/// Groups that must take a write.
const WRITTEN: usize = 100;

#[tokio::test(flavor = "multi_thread")]
async fn many_groups_come_up_and_take_writes() {
    let groups = rounds(VARIABLE, EVERYDAY);
    let mut rng = seeded("many_groups_come_up_and_take_writes");
    let started = Instant::now();
    let mut cluster = Cluster::start(&Shape { groups: Some(groups), ..Shape::default() }).await;
    println!("  {groups} groups were ready after {:?}", started.elapsed());
    let view = cluster.wait_leaders_home(1).await;
    println!("  each was led by its preferred node after {:?}", started.elapsed());
    assert_eq!(view.groups.iter().filter(|group| group.id != 0).count() as u64, groups);
    let urls = cluster.all_urls();
    let goal = WRITTEN.min(usize::try_from(groups).unwrap() / 2);
    let mut written = BTreeSet::new();
    let mut keys = Vec::new();
    while written.len() < goal {
        let (url, key) = (rng.choice(&urls).unwrap(), format!("key {}", rng.u64(..)).into_bytes());
        // With so many groups some may still be electing: what was not applied is asked again.
        let group = wait_until("a write is acknowledged", async || {
            match fate(cluster.api.put(url, &key, Bytes::from(key.clone())).await) {
                Fate::Applied(answer) => Ok(answer.group().unwrap()),
                Fate::NotApplied(reason) | Fate::Unknown(reason) => Err(reason),
            }
        })
        .await;
        written.insert(group);
        keys.push(key);
    }
    println!("  {} groups took {} writes", written.len(), keys.len());
    cluster.kill_all();
    let restarted = Instant::now();
    cluster.restart_all();
    cluster.wait_all_ready().await;
    println!("  ready again {:?} after kill -9 of all", restarted.elapsed());
    for key in &keys {
        let url = rng.choice(&urls).unwrap();
        let got = wait_until("the key is read", async || match cluster.api.get(url, key).await {
            Ok(answer) if answer.status == 200 || answer.is_missing_key() => Ok(answer),
            other => Err(format!("{other:?}")),
        })
        .await;
        assert_eq!((got.status, got.body), (200, Bytes::from(key.clone())));
    }
}
