//! A real cluster is broken and comes back, some seconds for each kind of fault.
//!
//! Relies on the server's binary beside the test's own, as `cargo test --workspace` builds it, or
//! `TETRARCH_BINARY`. What this machine cannot do (no binary, no root, no C compiler) is skipped with a message.

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::*;
use crate::clock::Clock;
use crate::history::{History, Process, Recorder, Value};
use crate::nemesis::{Deadline, Plan, parse};

/// Far more than two elections.
const SOON: Duration = Duration::from_secs(60);
/// A period of a plan.
const INTERVAL: Duration = Duration::from_secs(2);

/// Clusters at a time: each is three busy processes.
static ROOM: Semaphore = Semaphore::const_new(3);

/// The server, if there is one.
fn server() -> Option<PathBuf> {
    let given = std::env::var_os("TETRARCH_BINARY").map(PathBuf::from);
    let beside = || Some(std::env::current_exe().ok()?.ancestors().nth(2)?.join("tetrarch"));
    let binary = std::path::absolute(given.or_else(beside)?).ok()?;
    binary.exists().then_some(binary)
}

/// A cluster on which a plan can be tried; `None` with a message where that is not possible.
async fn cluster(dir: &tempfile::TempDir, backend: Backend, plan: &Plan) -> Option<Arc<Cluster>> {
    let Some(binary) = server() else {
        println!("skipped: there is no server; cargo test --workspace builds one");
        return None;
    };
    let options = ClusterOptions {
        binary,
        nodes: 3,
        dir: dir.path().to_owned(),
        backend,
        flags: vec!["--groups".into(), "4".into()],
        environment: Vec::new(),
        link_delay: Duration::ZERO,
        own_disks: plan.needs().own_disks,
        shim: plan.needs().shim,
    };
    match Cluster::start(options).await {
        Ok(cluster) if cluster.missing().is_empty() => Some(cluster),
        Ok(cluster) => {
            println!("skipped: {:?}", cluster.missing());
            cluster.stop().await;
            None
        }
        Err(ClusterError::Unavailable(why)) => {
            println!("skipped: {why}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let seen = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(SOON, seen).await.unwrap_or_else(|_| panic!("never: {what}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_cut_off_leads_nothing_until_it_is_healed() {
    let _room = ROOM.acquire().await.unwrap();
    let dir = tempfile::TempDir::with_prefix("jepsen-").unwrap();
    let Some(cluster) = cluster(&dir, Backend::Proxy, &parse("none").unwrap()).await else {
        return;
    };
    assert!(cluster.leaders().await.values().any(|leader| *leader == 2));
    for other in [1, 3] {
        cluster.set_block(2, other, Block::Stall);
        cluster.set_block(other, 2, Block::Stall);
    }
    eventually("the others lead what node 2 led", async || {
        let leaders = cluster.leaders().await;
        !leaders.is_empty() && leaders.values().all(|leader| *leader != 2)
    })
    .await;
    let url = cluster.urls().remove(&2).unwrap();
    eventually("node 2 knows that it is alone", async || cluster.asks.ready(&url).await.is_err())
        .await;
    assert!(cluster.link_counts(1, 2).withheld > 0);
    cluster.heal().await.unwrap();
    eventually("node 2 leads again", async || {
        cluster.leaders().await.values().any(|leader| *leader == 2)
    })
    .await;
    cluster.stop().await;
    assert!(!cluster.runs(1).await);
}

/// Runs a plan against a cluster of three under a little load, and returns what the nemesis did; nothing
/// where it cannot be done.
async fn ran(backend: Backend, spec: &str, seed: u64, seconds: u64) -> Option<History> {
    let _room = ROOM.acquire().await.unwrap();
    let dir = tempfile::TempDir::with_prefix("jepsen-").unwrap();
    let plan = parse(spec).unwrap();
    let cluster = cluster(&dir, backend, &plan).await?;
    let recorder = Recorder::new(Clock::default());
    let mut rng = fastrand::Rng::with_seed(seed);
    let until = Deadline::after(Duration::from_secs(seconds));
    let ran = tokio::select! {
        ran = plan.run(&cluster, &recorder, &mut rng, INTERVAL, until) => ran,
        () = load(cluster.urls().into_values().collect()) => Ok(()),
    };
    let history = recorder.snapshot();
    for event in history.nemesis() {
        let millis = event.time / 1_000_000;
        println!("{millis:>6} ms {} {} {:?}", event.f, event.value, event.extra);
    }
    if let Err(error) = ran {
        panic!("{error}; logs are in {}", dir.keep().display());
    }
    cluster.stop().await;
    assert_eq!(installed(&history, "heal"), 1);
    Some(history)
}

/// Writes at all nodes for ever.
async fn load(urls: Vec<String>) {
    let http = reqwest::Client::new();
    let writing = urls.iter().zip(0..).map(async |(url, writer)| {
        for write in 0.. {
            let url = format!("{url}/v1/ns/default/keys/k{}-{}", writer, write % 50);
            let put = http.put(url).body(vec![b'v'; 500]).timeout(Duration::from_secs(1));
            if put.send().await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    });
    futures_util::future::join_all(writing).await;
}

fn installed(history: &History, f: &str) -> usize {
    let installed = Value::Keyword("installed".into());
    let is_there = |event: &&crate::history::Event| event.extra.get("effect") == Some(&installed);
    history.nemesis().filter(|event| event.f == f).filter(is_there).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_ends_healed_and_says_what_it_did() {
    let spec = "partition,kill,pause,packet,restarts,transfer";
    let Some(history) = ran(Backend::Proxy, spec, 3, 8).await else { return };
    assert!(history.events.iter().all(|event| event.process == Process::Nemesis));
    let faults = spec.split(',').map(|f| installed(&history, &format!("start-{f}")));
    assert!(faults.sum::<usize>() >= 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn power_cuts_lose_what_was_not_synced_and_the_cluster_comes_back() {
    let Some(history) = ran(Backend::Proxy, "power:all,power:one", 4, 4).await else { return };
    assert!(installed(&history, "power") >= 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn disks_and_clocks_fail_and_the_cluster_comes_back() {
    let spec = "disk:sync-error,disk:slow-sync,clock:5s";
    let Some(history) = ran(Backend::Proxy, spec, 5, 6).await else { return };
    assert!(installed(&history, "start-disk") >= 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_node_is_replaced() {
    let Some(history) = ran(Backend::Proxy, "files:flip", 6, 4).await else { return };
    assert!(installed(&history, "start-files") >= 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_disk_is_gone_is_replaced() {
    let Some(history) = ran(Backend::Proxy, "replace", 9, 2).await else { return };
    assert!(installed(&history, "replace") >= 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn packets_are_lost_repeated_and_reordered_between_namespaces() {
    let spec = "partition:one,packet:reorder,packet:duplicate,packet:loss";
    let Some(history) = ran(Backend::Namespaces, spec, 8, 8).await else { return };
    assert!(installed(&history, "start-packet") >= 1);
}
