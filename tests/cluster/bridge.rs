//! Two clusters with a bridge between them take writes at every node of both, and come to the same rows,
//! although one is stopped and started again meanwhile, and the bridge too.

use std::collections::BTreeSet;
use std::process::{Child, Stdio};

use reqwest::Method;
use serde_json::Value;

use crate::support::cluster::{Cluster, Shape};
use crate::support::node::binary;
use crate::support::wait::wait_until;

const SPACES: [&str; 2] = ["counters", "sets"];

/// A bridge; gone when it is dropped.
struct Bridge(Child);

impl Bridge {
    fn start(space: &str, one: &Cluster, other: &Cluster) -> Self {
        let child = binary()
            .args(["ns", "bridge", space, "--interval", "200ms", "--timeout", "2s"])
            .args(["--endpoint", &one.all_urls().join(",")])
            .args(["--to", &other.all_urls().join(",")])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary under test can be started");
        Self(child)
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        // One that has ended by itself is the test's to notice.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// What all writes come to.
#[derive(Default)]
struct Done {
    sum: u64,
    elements: BTreeSet<String>,
}

impl Done {
    /// Some writes at every node.
    async fn write(&mut self, cluster: &Cluster, name: &str) {
        for node in cluster.ids() {
            for turn in 0..8 {
                change(cluster, node, "counters", r#"{"add":1}"#).await;
                self.sum += 1;
                if turn % 2 == 0 {
                    let element = format!("{name}-{node}-{turn}");
                    change(cluster, node, "sets", &format!(r#"{{"set_add":["{element}"]}}"#)).await;
                    self.elements.insert(element);
                }
            }
        }
    }

    /// What another cluster has added goes.
    async fn remove(&mut self, cluster: &Cluster, element: &str) {
        assert!(self.elements.remove(element), "{element} was never there");
        change(cluster, 2, "sets", &format!(r#"{{"set_remove":["{element}"]}}"#)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_bridged_clusters_come_to_the_same_although_one_is_restarted() {
    let shape = Shape { groups: Some(3), ..Shape::default() };
    let one = Cluster::start(&shape).await;
    let mut other = Cluster::start(&shape).await;
    for cluster in [&one, &other] {
        for space in SPACES {
            let kind = space.trim_end_matches('s');
            let body = format!(r#"{{"name":"{space}","mode":"eventual","type":"{kind}"}}"#);
            create(cluster, body).await;
        }
    }
    let mut done = Done::default();
    done.write(&other, "early").await;
    let mut bridges = SPACES.map(|space| Bridge::start(space, &one, &other));
    done.write(&one, "a").await;
    done.write(&other, "b").await;
    equal(&one, &other).await;
    done.remove(&one, "early-1-0").await;
    other.terminate_all().await;
    done.write(&one, "alone").await;
    bridges[0] = Bridge::start(SPACES[0], &one, &other);
    other.restart_all();
    other.wait_all_ready().await;
    done.write(&other, "back").await;
    done.remove(&other, "a-3-2").await;
    equal(&one, &other).await;
    for cluster in [&one, &other] {
        for node in cluster.ids() {
            assert_eq!(read(cluster, node, "counters").await, done.sum.to_string());
            let set: BTreeSet<String> =
                serde_json::from_str(&read(cluster, node, "sets").await).unwrap();
            assert_eq!(set, done.elements, "at node {node}");
        }
    }
    for bridge in &mut bridges {
        assert!(bridge.0.try_wait().unwrap().is_none(), "a bridge goes on until it is stopped");
    }
    drop(bridges);
    done.write(&one, "by file").await;
    by_file(&one, &other).await;
    assert_eq!(read(&other, 1, "counters").await, done.sum.to_string());
    println!("  {} increments, {} elements, the same everywhere", done.sum, done.elements.len());
}

/// Carries what one cluster lacks of the other's counters in a file.
async fn by_file(from: &Cluster, to: &Cluster) {
    let url = from.url(2);
    wait_until("node 2 has heard of all", async || {
        let answer = from.api.get_path(&url, "/v1/ns/counters/convergence").await;
        let text = answer.map_err(|silence| format!("{silence:?}"))?.text();
        if text.contains(r#""state":"converged""#) { Ok(()) } else { Err(text) }
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("counters.copy");
    let mut export = binary();
    export.args(["ns", "export", "counters", "--endpoint", &url, "--since-of", &to.url(1)]);
    assert!(export.arg(&file).status().unwrap().success());
    for _again in 0..2 {
        let mut import = binary();
        import.args(["ns", "import", "counters", "--endpoint", &to.url(1)]).stdout(Stdio::null());
        assert!(import.arg(&file).status().unwrap().success());
    }
}

async fn create(cluster: &Cluster, body: String) {
    wait_until("the namespace is made", async || {
        let url = format!("{}/v1/namespaces", cluster.url(1));
        let request = cluster.api.request(Method::POST, &url);
        let request = request.header("content-type", "application/json").body(body.clone());
        match cluster.api.send(request).await {
            Ok(answer) if answer.status < 300 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

/// One write, made once.
async fn change(cluster: &Cluster, node: u64, space: &str, op: &str) {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let once = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed).to_string();
    wait_until("a write is made", async || {
        let url = format!("{}/v1/ns/{space}/keys/all", cluster.url(node));
        let request = cluster
            .api
            .request(Method::PATCH, &url)
            .header("content-type", "application/kv-op+json")
            .header("idempotency-key", &once)
            .body(op.to_owned());
        match cluster.api.send(request).await {
            Ok(answer) if answer.status < 300 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

async fn read(cluster: &Cluster, node: u64, space: &str) -> String {
    let path = format!("/v1/ns/{space}/keys/all");
    let answer = cluster.api.get_path(&cluster.url(node), &path).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.text()
}

/// Waits until all nodes of both have heard of the same and hold the same.
async fn equal(one: &Cluster, other: &Cluster) {
    for space in SPACES {
        wait_until("both clusters have the same", async || {
            let mut states = BTreeSet::new();
            for cluster in [one, other] {
                let path = format!("/v1/ns/{space}/convergence");
                let answer = cluster.api.get_path(&cluster.url(1), &path).await;
                let answer = answer.map_err(|silence| format!("{silence:?}"))?;
                let found: Value = serde_json::from_slice(&answer.body)
                    .map_err(|error| format!("{error}: {}", answer.text()))?;
                assert_ne!(found["state"], "diverged", "{found}");
                for member in found["members"].as_array().ok_or_else(|| answer.text())? {
                    states.insert((member["vector"].to_string(), member["digest"].to_string()));
                }
            }
            match states.len() {
                1 => Ok(()),
                _ => Err(format!("{states:?}")),
            }
        })
        .await;
    }
}
