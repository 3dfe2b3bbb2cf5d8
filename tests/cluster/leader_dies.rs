//! While a leader is dead, only the groups that it led notice.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tetrarch::wire::ClusterView;
use tokio::time::Instant;

use crate::support::chance::seeded;
use crate::support::cluster::{Cluster, Shape};
use crate::support::gaps::{NOTICED, longest, worst};
use crate::support::ledger::{Ledger, Reading};
use crate::support::load::{Load, Plan};

/// Acknowledgements of every writer before, during and after the outage.
const WRITES: u64 = 40;

const SLOTS: u64 = 16_384;

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_leader_stalls_only_what_it_led() {
    let mut rng = seeded("a_dead_leader_stalls_only_what_it_led");
    let mut cluster = Cluster::start(&Shape::default()).await;
    let view = cluster.wait_leaders_home(1).await;
    let tags = one_tag_per_group(&cluster, &view).await;
    // Two writers for each group: one may be waiting for an answer of the dead node.
    let writers = tags.iter().flat_map(|tag| [format!("{tag}a/"), format!("{tag}b/")]);
    let plan = Plan { prefixes: writers.collect(), value_bytes: 0..200 };
    let load = Load::start(&cluster.api, &cluster.all_urls(), &plan, &mut rng);

    let calm = Instant::now();
    load.progress_of_each(WRITES).await;
    let victim = rng.u64(1..=3);
    let watcher = if victim == 1 { 2 } else { 1 };
    let killed = Instant::now();
    cluster.kill(victim);
    load.progress_of_each(WRITES).await;
    let restarted = Instant::now();
    cluster.restart(victim);
    cluster.wait_ready(victim).await;
    let back = Instant::now();
    cluster.wait_leaders_home(watcher).await;
    let home = Instant::now();
    load.progress_of_each(WRITES).await;
    let end = Instant::now();
    let ledger = load.stop().await;

    println!("  node {victim} was dead for {:?}", restarted - killed);
    println!(
        "  ready {:?} after its start, all leaders home {:?} later",
        back - restarted,
        home - back
    );
    let phases = [("calm", calm, killed), ("dead", killed, restarted), ("back", restarted, end)];
    for (phase, from, to) in phases {
        report(phase, &ledger, &view, victim, (from, to));
    }
    ledger.check(&cluster.api, &cluster.all_urls(), Reading::Linearizable).await;
}

/// A hash tag for each data group: keys with the same tag live together.
async fn one_tag_per_group(cluster: &Cluster, view: &ClusterView) -> Vec<String> {
    let wanted: BTreeSet<u64> = view.groups.iter().map(|g| g.id).filter(|id| *id != 0).collect();
    let mut found = BTreeMap::new();
    for number in 0.. {
        let tag = format!("{{t{number}}}");
        let route = cluster.api.route(&cluster.url(1), &tag).await.unwrap();
        found.entry(route.group).or_insert(tag);
        if found.len() == wanted.len() {
            break;
        }
    }
    assert_eq!(found.keys().copied().collect::<BTreeSet<_>>(), wanted);
    found.into_values().collect()
}

fn report(
    phase: &str,
    ledger: &Ledger,
    view: &ClusterView,
    victim: u64,
    (from, to): (Instant, Instant),
) {
    let data = view.groups.iter().filter(|group| group.id != 0);
    let (led, others): (Vec<_>, Vec<_>) = data.partition(|group| group.leader == Some(victim));
    let (led, others): (Vec<u64>, Vec<u64>) =
        (led.iter().map(|g| g.id).collect(), others.iter().map(|g| g.id).collect());
    let pauses = longest(&ledger.acks, led.iter().chain(&others).copied(), from, to);
    let untouched: u64 = view
        .groups
        .iter()
        .filter(|group| pauses.get(&group.id).is_some_and(|pause| *pause < NOTICED))
        .flat_map(|group| &group.slots)
        .map(|slots| u64::from(slots[1] - slots[0]) + 1)
        .sum();
    let ms = |pause: Duration| pause.as_millis();
    println!(
        "  {phase}: longest pause of its {} groups {} ms, of the {} others {} ms; {:.1} % of the \
         keyspace never paused for {} ms",
        led.len(),
        ms(worst(&pauses, &led)),
        others.len(),
        ms(worst(&pauses, &others)),
        f64::from(u32::try_from(untouched).unwrap()) * 100.0
            / f64::from(u32::try_from(SLOTS).unwrap()),
        ms(NOTICED),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_leader_is_replaced_and_comes_back() {
    let mut rng = seeded("a_hanging_leader_is_replaced_and_comes_back");
    let cluster = Cluster::start(&Shape::default()).await;
    cluster.wait_leaders_home(1).await;
    // A client of the hanging node could only wait; these ask the others.
    let load = Load::start(&cluster.api, &cluster.urls(&[1, 2]), &Plan::spread(16), &mut rng);
    load.progress(200).await;
    cluster.pause(3);
    cluster
        .wait_view(1, "the hanging node leads nothing", |view| {
            let led = view.groups.iter().filter(|g| g.leader == Some(3) || g.leader.is_none());
            let led: Vec<u64> = led.map(|group| group.id).collect();
            if led.is_empty() { Ok(()) } else { Err(format!("groups {led:?}")) }
        })
        .await;
    load.progress(200).await;
    cluster.resume(3);
    cluster.wait_leaders_home(1).await;
    load.progress(200).await;
    let ledger = load.stop().await;
    ledger.check(&cluster.api, &cluster.all_urls(), Reading::Linearizable).await;
}
