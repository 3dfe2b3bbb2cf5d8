//! Eventual namespaces take writes at every node whatever happens to the others, and come to the same
//! rows: counters and sets are exact at every node, although nodes are killed and paused meanwhile.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use reqwest::Method;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::support::api::{Answer, Api};
use crate::support::chance::{rounds, seeded};
use crate::support::cluster::{Cluster, Shape};
use crate::support::wait::wait_until;

/// Clients of each node.
const CLIENTS: u64 = 4;

/// A client gives up on an answer after so long, and asks again.
const PATIENCE: Duration = Duration::from_secs(1);
/// Far longer than any node is down or paused here.
const TRIES_FOR: Duration = Duration::from_secs(120);

const REST: Duration = Duration::from_millis(5);

/// What the clients know to be done.
#[derive(Debug, Default)]
struct Done {
    adds: AtomicU64,
    at: [AtomicU64; 4],
    stop: AtomicBool,
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_and_sets_are_exact_at_every_node_whatever_happens_to_the_nodes() {
    let mut rng = seeded("counters_and_sets_are_exact_at_every_node_whatever_happens_to_the_nodes");
    let mut cluster = Cluster::start(&Shape::default()).await;
    cluster.wait_leaders_home(1).await;
    for kind in ["counter", "set"] {
        let body = format!(r#"{{"name":"{kind}s","mode":"eventual","type":"{kind}"}}"#);
        let request =
            cluster.api.request(Method::POST, &format!("{}/v1/namespaces", cluster.url(1)));
        let request = request.header("content-type", "application/json").body(body);
        let answer = cluster.api.send(request).await.unwrap();
        assert_eq!(answer.status, 201, "{}", answer.text());
    }
    let done = Arc::new(Done::default());
    let mut clients = JoinSet::new();
    for node in cluster.ids() {
        for client in 0..CLIENTS {
            let (api, base, done) = (cluster.api.clone(), cluster.url(node), Arc::clone(&done));
            clients.spawn(write(api, base, node, client, done));
        }
    }
    for round in 0..rounds("TETRARCH_ROUNDS", 3) {
        progress(&done, 1, 30).await;
        // Node 1 is a minority of one, and goes on.
        cluster.pause(2);
        cluster.pause(3);
        progress(&done, 1, 30).await;
        cluster.resume(2);
        cluster.resume(3);
        let victim = 1 + rng.u64(..3);
        cluster.kill(victim);
        progress(&done, 1 + victim % 3, 30).await;
        cluster.restart(victim);
        cluster.wait_ready(victim).await;
        progress(&done, victim, 30).await;
        println!("  round {round}: node {victim} was killed");
    }
    done.stop.store(true, Ordering::Relaxed);
    let mut elements = BTreeSet::new();
    while let Some(added) = clients.join_next().await {
        elements.extend(added.expect("a client does not panic"));
    }
    for name in ["counters", "sets"] {
        converged(&cluster, name).await;
    }
    let adds = done.adds.load(Ordering::Relaxed);
    for node in cluster.ids() {
        let sum = read(&cluster, node, "counters/keys/all").await.text();
        assert_eq!(sum, adds.to_string(), "the counter at node {node}");
        let set: BTreeSet<String> =
            serde_json::from_str(&read(&cluster, node, "sets/keys/all").await.text()).unwrap();
        let (set, elements) = (set.len(), set == elements);
        assert!(elements, "the set at node {node} has {set} elements, and not those added");
    }
    println!("  {adds} increments and {} elements, exact at every node", elements.len());
}

/// Adds to a counter and to a set, each until it is told that it is done. Says what it put in the set.
async fn write(
    api: Api,
    base: String,
    node: u64,
    client: u64,
    done: Arc<Done>,
) -> BTreeSet<String> {
    let mut elements = BTreeSet::new();
    let mut turn = 0_u64;
    while !done.stop.load(Ordering::Relaxed) {
        turn += 1;
        let name = format!("{node}-{client}-{turn}");
        let add = r#"{"add":1}"#.to_owned();
        until_done(&api, &base, "counters", &name, add).await;
        done.adds.fetch_add(1, Ordering::Relaxed);
        if turn.is_multiple_of(5) {
            let add = format!(r#"{{"set_add":["{name}"]}}"#);
            until_done(&api, &base, "sets", &name, add).await;
            elements.insert(name);
        }
        done.at[usize::try_from(node).unwrap()].fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(REST).await;
    }
    elements
}

/// At one node only: a replica cannot know what another one was asked.
async fn until_done(api: &Api, base: &str, space: &str, once: &str, op: String) {
    let began = Instant::now();
    let mut last = String::new();
    loop {
        let waited = began.elapsed();
        assert!(waited < TRIES_FOR, "{base} does not take {op} for {waited:?}: {last}");
        let url = format!("{base}/v1/ns/{space}/keys/all");
        let request = api
            .request(Method::PATCH, &url)
            .header("content-type", "application/kv-op+json")
            .header("idempotency-key", once)
            .timeout(PATIENCE)
            .body(op.clone());
        match api.send(request).await {
            Ok(answer) if answer.status < 300 => return,
            // Not here yet, overloaded, starting; or nobody is there.
            Ok(answer) if answer.status == 404 || answer.status >= 500 => last = answer.text(),
            Ok(answer) => panic!("{}: {}", answer.status, answer.text()),
            Err(silence) => last = format!("{silence:?}"),
        }
        tokio::time::sleep(REST).await;
    }
}

async fn progress(done: &Done, node: u64, more: u64) {
    let count = &done.at[usize::try_from(node).unwrap()];
    let goal = count.load(Ordering::Relaxed) + more;
    wait_until(&format!("{more} more writes are made at node {node}"), async || {
        let made = count.load(Ordering::Relaxed);
        if made >= goal { Ok(()) } else { Err(format!("{made} of {goal}")) }
    })
    .await;
}

async fn converged(cluster: &Cluster, name: &str) {
    wait_until(&format!("{name} has converged"), async || {
        let path = format!("/v1/ns/{name}/convergence");
        let answer = cluster.api.get_path(&cluster.url(2), &path).await;
        let answer = answer.map_err(|silence| format!("{silence:?}"))?;
        let view: Value = serde_json::from_slice(&answer.body).map_err(|e| e.to_string())?;
        assert_ne!(view["state"], "diverged", "{view}");
        let members = view["members"].as_array().ok_or_else(|| view.to_string())?;
        let all = members.len() == 3 && members.iter().all(|member| member["reachable"] == true);
        if all && view["state"] == "converged" { Ok(()) } else { Err(view.to_string()) }
    })
    .await;
}

async fn read(cluster: &Cluster, node: u64, path: &str) -> Answer {
    let answer = cluster.api.get_path(&cluster.url(node), &format!("/v1/ns/{path}")).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer
}
