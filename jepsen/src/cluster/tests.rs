//! A real cluster is broken and comes back. Needs a server's binary:
//! `TETRARCH_BINARY=target/debug/tetrarch cargo test -p tetrarch-jepsen -- --ignored`.

use std::time::Duration;

use tokio::time::timeout;

use super::*;
use crate::clock::Clock;
use crate::history::{Process, Recorder, Value};
use crate::nemesis::{Deadline, parse};

/// Far more than two elections.
const SOON: Duration = Duration::from_secs(60);

async fn cluster(dir: &tempfile::TempDir, nodes: u32) -> Arc<Cluster> {
    let binary = std::env::var_os("TETRARCH_BINARY").expect("TETRARCH_BINARY names the server");
    let options = ClusterOptions {
        binary: std::path::absolute(binary).unwrap(),
        nodes,
        dir: dir.path().to_owned(),
        backend: Backend::Proxy,
        flags: Vec::new(),
        environment: Vec::new(),
        own_disks: false,
        shim: false,
    };
    Cluster::start(options).await.unwrap()
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
    let cluster = cluster(&dir, 3).await;
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

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a server's binary in TETRARCH_BINARY"]
async fn a_plan_ends_healed_and_says_what_it_did() {
    let dir = tempfile::TempDir::with_prefix("jepsen-").unwrap();
    let cluster = cluster(&dir, 3).await;
    let recorder = Recorder::new(Clock::default());
    let plan = parse("partition,kill,pause,packet,restarts").unwrap();
    let mut rng = fastrand::Rng::with_seed(3);
    let (interval, time) = (Duration::from_secs(4), Duration::from_secs(24));
    let ran = plan.run(&cluster, &recorder, &mut rng, interval, Deadline::after(time)).await;
    let history = recorder.snapshot();
    for event in history.nemesis() {
        println!(
            "{:>6.2} s {} {} {:?}",
            event.time as f64 / 1e9,
            event.f,
            event.value,
            event.extra
        );
    }
    ran.unwrap();
    let installed = Some(Value::Keyword("installed".into()));
    assert!(history.events.iter().all(|event| event.process == Process::Nemesis));
    let bit = history.nemesis().filter(|event| event.extra.get("effect") == installed.as_ref());
    assert!(bit.count() >= 3);
    let last = history.events.last().unwrap();
    assert_eq!((last.f.as_str(), last.extra.get("effect")), ("heal", installed.as_ref()));
    cluster.stop().await;
}
