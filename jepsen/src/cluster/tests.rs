//! A real cluster is broken and comes back. Needs a server's binary:
//! `TETRARCH_BINARY=target/debug/tetrarch cargo test -p tetrarch-jepsen -- --ignored`.

use std::time::Duration;

use tokio::time::timeout;

use super::*;
use crate::clock::Clock;
use crate::history::{History, Process, Recorder, Value};
use crate::nemesis::{Deadline, Plan, parse};

/// Far more than two elections.
const SOON: Duration = Duration::from_secs(60);

async fn cluster(
    dir: &tempfile::TempDir,
    backend: Backend,
    plan: &Plan,
) -> Result<Arc<Cluster>, ClusterError> {
    let binary = std::env::var_os("TETRARCH_BINARY").expect("TETRARCH_BINARY names the server");
    let options = ClusterOptions {
        binary: std::path::absolute(binary).unwrap(),
        nodes: 3,
        dir: dir.path().to_owned(),
        backend,
        flags: Vec::new(),
        environment: Vec::new(),
        link_delay: Duration::ZERO,
        own_disks: plan.needs().own_disks,
        shim: plan.needs().shim,
    };
    let cluster = Cluster::start(options).await?;
    println!("missing: {:?}", cluster.missing());
    Ok(cluster)
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
#[ignore = "needs a server's binary in TETRARCH_BINARY"]
async fn a_node_that_is_cut_off_leads_nothing_until_it_is_healed() {
    let dir = tempfile::TempDir::with_prefix("jepsen-").unwrap();
    let cluster = cluster(&dir, Backend::Proxy, &parse("none").unwrap()).await.unwrap();
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

/// Runs a plan against a cluster of three under a little load, and returns what the nemesis did.
async fn ran(spec: &str, seed: u64, seconds: u64) -> History {
    ran_on(Backend::Proxy, spec, seed, seconds).await.unwrap()
}

async fn ran_on(
    backend: Backend,
    spec: &str,
    seed: u64,
    seconds: u64,
) -> Result<History, ClusterError> {
    let dir = tempfile::TempDir::with_prefix("jepsen-").unwrap();
    let plan = parse(spec).unwrap();
    let cluster = cluster(&dir, backend, &plan).await?;
    let recorder = Recorder::new(Clock::default());
    let mut rng = fastrand::Rng::with_seed(seed);
    let (interval, time) = (Duration::from_secs(4), Duration::from_secs(seconds));
    let until = Deadline::after(time);
    let ran = tokio::select! {
        ran = plan.run(&cluster, &recorder, &mut rng, interval, until) => ran,
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
    Ok(history)
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
#[ignore = "needs a server's binary in TETRARCH_BINARY"]
async fn a_plan_ends_healed_and_says_what_it_did() {
    let history = ran("partition,kill,pause,packet,restarts,transfer", 3, 24).await;
    assert!(history.events.iter().all(|event| event.process == Process::Nemesis));
    let faults = ["partition", "kill", "pause", "packet", "restarts", "transfer"];
    let bit: usize = faults.iter().map(|f| installed(&history, &format!("start-{f}"))).sum();
    assert!(bit >= 2, "{bit}");
    assert_eq!(installed(&history, "heal"), 1);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a server's binary in TETRARCH_BINARY, and root"]
async fn power_cuts_lose_what_was_not_synced_and_the_cluster_comes_back() {
    let history = ran("power:all,power:one", 4, 16).await;
    assert!(installed(&history, "power") >= 1);
    assert_eq!(installed(&history, "heal"), 1);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a server's binary in TETRARCH_BINARY, and a C compiler"]
async fn disks_and_clocks_fail_and_the_cluster_comes_back() {
    let history = ran("disk:sync-error,disk:slow-sync,disk:full,clock", 5, 30).await;
    assert!(installed(&history, "start-disk") >= 1);
    assert_eq!(installed(&history, "heal"), 1);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a server's binary in TETRARCH_BINARY"]
async fn a_damaged_node_is_replaced() {
    for (seed, kind) in (6..).zip(DAMAGES) {
        let history = ran(&format!("files:{kind}"), seed, 8).await;
        assert!(installed(&history, "start-files") >= 1);
        assert_eq!(installed(&history, "heal"), 1);
    }
    let history = ran("replace", 9, 4).await;
    assert!(installed(&history, "replace") >= 1);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a server's binary in TETRARCH_BINARY, and root"]
async fn packets_are_lost_repeated_and_reordered_between_namespaces() {
    let spec = "partition:one,packet:reorder,packet:duplicate,packet:loss,kill:one";
    match ran_on(Backend::Namespaces, spec, 8, 24).await {
        Ok(history) => {
            assert!(installed(&history, "start-packet") >= 1);
            assert!(installed(&history, "start-partition") >= 1);
            assert_eq!(installed(&history, "heal"), 1);
        }
        Err(ClusterError::Unavailable(why)) => println!("skipped: {why}"),
        Err(error) => panic!("{error}"),
    }
}
