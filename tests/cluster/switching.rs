//! A namespace goes to the other side while clients write to it and whoever drives the switch is killed:
//! what was acknowledged is there afterwards, counters are exact, and nobody was told of success in vain.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use reqwest::Method;
use serde_json::Value;
use tokio::task::JoinSet;

use crate::support::api::{Answer, Api};
use crate::support::cluster::{Cluster, Shape};
use crate::support::wait::wait_until;

/// Clients of each node.
const CLIENTS: u64 = 3;

/// Keys that are there before, so that copying takes a while.
const KEYS: u64 = 3_000;

/// Keys that clients count in.
const COUNTERS: u64 = 5;

const PATIENCE: Duration = Duration::from_secs(2);

const REST: Duration = Duration::from_millis(5);

/// What the clients know.
#[derive(Debug, Default)]
struct Known {
    /// Increments of each counter that were acknowledged, and those whose fate is unknown.
    acked: [AtomicU64; 5],
    unsure: [AtomicU64; 5],
    /// Writes that were refused because of the switch.
    refused: AtomicU64,
    stop: AtomicBool,
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_are_exact_after_a_switch_to_consensus_whose_driver_was_killed() {
    let mut cluster = cluster().await;
    create(&cluster, r#"{"name":"visits","mode":"eventual","type":"counter"}"#).await;
    fill(&cluster, "visits", |n| format!(r#"{{"patch":"k{n:05}","add":{n}}}"#)).await;
    let known = Arc::new(Known::default());
    let mut clients = JoinSet::new();
    for node in cluster.ids() {
        for client in 0..CLIENTS {
            let (api, base) = (cluster.api.clone(), cluster.url(node));
            clients.spawn(count(api, base, node * CLIENTS + client, Arc::clone(&known)));
        }
    }
    progress(&known, 100).await;
    switch_and_kill(&mut cluster, "visits", r#"{"to":"linearizable"}"#).await;
    progress(&known, 100).await;
    known.stop.store(true, Ordering::Relaxed);
    while let Some(ended) = clients.join_next().await {
        ended.expect("a client does not panic");
    }
    for counter in 0..COUNTERS {
        let at = usize::try_from(counter).unwrap();
        let acked = known.acked[at].load(Ordering::Relaxed);
        let most = acked + known.unsure[at].load(Ordering::Relaxed);
        let answer = get(&cluster, 2, &format!("/v1/ns/visits/keys/c{counter}")).await;
        let value: u64 = answer.text().parse().unwrap();
        assert!((acked..=most).contains(&value), "c{counter}: {value}, not {acked} to {most}");
        println!("  c{counter}: {value}, acknowledged {acked}, at most {most}");
    }
    for n in [0, 1, KEYS / 2, KEYS - 1] {
        let answer = get(&cluster, 3, &format!("/v1/ns/visits/keys/k{n:05}")).await;
        assert_eq!(answer.text(), n.to_string());
    }
    assert!(known.refused.load(Ordering::Relaxed) > 0, "the switch was noticed");
    assert_eq!(keys(&cluster, "visits").await, KEYS + COUNTERS);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_acknowledged_key_is_at_every_node_after_a_switch_from_consensus_whose_driver_was_killed()
 {
    let mut cluster = cluster().await;
    create(&cluster, r#"{"name":"carts"}"#).await;
    fill(&cluster, "carts", |n| format!(r#"{{"put":"k{n:05}","value":"v{n}"}}"#)).await;
    let known = Arc::new(Known::default());
    let mut clients = JoinSet::new();
    for node in cluster.ids() {
        for client in 0..CLIENTS {
            let (api, base) = (cluster.api.clone(), cluster.url(node));
            clients.spawn(put(api, base, format!("n{node}-{client}"), Arc::clone(&known)));
        }
    }
    progress(&known, 100).await;
    switch_and_kill(&mut cluster, "carts", r#"{"to":"eventual","type":"lww"}"#).await;
    progress(&known, 100).await;
    known.stop.store(true, Ordering::Relaxed);
    let (mut acked, mut unsure) = (BTreeSet::new(), 0);
    while let Some(ended) = clients.join_next().await {
        let (done, doubtful) = ended.expect("a client does not panic");
        acked.extend(done);
        unsure += doubtful;
    }
    converged(&cluster, "carts").await;
    for node in cluster.ids() {
        for key in &acked {
            let path = format!("/v1/ns/carts/keys/{key}");
            let answer = cluster.api.get_path(&cluster.url(node), &path).await.unwrap();
            assert_eq!(answer.status, 200, "{key} was acknowledged, at node {node} it is not");
        }
        let answer = get(&cluster, node, "/v1/ns/carts/keys/k00077").await;
        assert_eq!(answer.text(), "v77");
    }
    let there = keys(&cluster, "carts").await;
    let least = KEYS + u64::try_from(acked.len()).unwrap();
    assert!(
        (least..=least + unsure).contains(&there),
        "{there} keys, not {least} and {unsure} more"
    );
    println!("  {} keys were acknowledged, {unsure} are of unknown fate", acked.len());
}

async fn cluster() -> Cluster {
    let cluster = Cluster::start(&Shape::default()).await;
    cluster.wait_leaders_home(1).await;
    cluster
}

/// Begins a switch, kills whoever drives it, starts that node again, and waits until the switch is done.
async fn switch_and_kill(cluster: &mut Cluster, name: &str, body: &str) {
    let path = format!("/v1/namespaces/{name}/switch");
    let view = cluster.api.cluster(&cluster.url(1)).await.unwrap();
    let system = view.groups.iter().find(|group| group.id == 0).unwrap();
    let driver = system.leader.expect("the system group is led");
    let answer = send(cluster, 1, Method::POST, &path, Some(body.to_owned())).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    let other = cluster.url(1 + driver % 3);
    let phase = wait_until("the switch is under way", async || {
        let view = look(cluster, &other, &path).await?;
        let phase = view["phase"].as_str().unwrap_or_default().to_owned();
        if phase == "freezing" { Err(view.to_string()) } else { Ok(phase) }
    })
    .await;
    cluster.kill(driver);
    println!("  node {driver}, which drove the switch, was killed while it was {phase}");
    cluster.restart(driver);
    cluster.wait_ready(driver).await;
    let done = wait_until("the switch is done", async || {
        let view = look(cluster, &other, &path).await?;
        assert_ne!(view["phase"], "stopped", "{view}");
        if view["phase"] == "done" { Ok(view) } else { Err(view.to_string()) }
    })
    .await;
    println!("  {done}");
}

async fn look(cluster: &Cluster, base: &str, path: &str) -> Result<Value, String> {
    let answer = cluster.api.get_path(base, path).await.map_err(|s| format!("{s:?}"))?;
    if answer.status == 200 {
        serde_json::from_slice(&answer.body).map_err(|error| error.to_string())
    } else {
        Err(answer.text())
    }
}

/// What a write came to.
enum Fate {
    Done,
    NotDone,
    Unsure,
}

async fn attempt(api: &Api, request: reqwest::RequestBuilder, known: &Known) -> Fate {
    match api.send(request.timeout(PATIENCE)).await {
        Ok(answer) if answer.status < 300 => Fate::Done,
        Ok(answer) => {
            let problem = answer.problem().expect("a refusal says why");
            if problem.code == "switching" {
                known.refused.fetch_add(1, Ordering::Relaxed);
            }
            match serde_json::to_value(problem.outcome).unwrap().as_str() {
                Some("not_applied") => Fate::NotDone,
                _ => Fate::Unsure,
            }
        }
        Err(_silence) => Fate::Unsure,
    }
}

async fn count(api: Api, base: String, seed: u64, known: Arc<Known>) {
    let mut turn = seed;
    while !known.stop.load(Ordering::Relaxed) {
        turn += 1;
        let at = usize::try_from(turn % COUNTERS).unwrap();
        let request = api
            .request(Method::PATCH, &format!("{base}/v1/ns/visits/keys/c{at}"))
            .header("content-type", "application/kv-op+json")
            .body(r#"{"add":1}"#);
        let count = match attempt(&api, request, &known).await {
            Fate::Done => &known.acked[at],
            Fate::Unsure => &known.unsure[at],
            Fate::NotDone => {
                tokio::time::sleep(REST * 4).await;
                continue;
            }
        };
        count.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(REST).await;
    }
}

/// Writes keys that nobody else writes. Says which are there for sure, and how many may be.
async fn put(api: Api, base: String, name: String, known: Arc<Known>) -> (Vec<String>, u64) {
    let (mut acked, mut unsure, mut turn) = (Vec::new(), 0, 0_u64);
    while !known.stop.load(Ordering::Relaxed) {
        turn += 1;
        let key = format!("{name}-{turn}");
        let url = format!("{base}/v1/ns/carts/keys/{key}");
        match attempt(&api, api.request(Method::PUT, &url).body("v"), &known).await {
            Fate::Done => {
                acked.push(key);
                known.acked[0].fetch_add(1, Ordering::Relaxed);
            }
            Fate::Unsure => unsure += 1,
            Fate::NotDone => tokio::time::sleep(REST * 4).await,
        }
        tokio::time::sleep(REST).await;
    }
    (acked, unsure)
}

async fn progress(known: &Known, more: u64) {
    let made = || known.acked.iter().map(|count| count.load(Ordering::Relaxed)).sum::<u64>();
    let goal = made() + more;
    wait_until(&format!("{more} more writes are made"), async || {
        if made() >= goal { Ok(()) } else { Err(format!("{} of {goal}", made())) }
    })
    .await;
}

async fn create(cluster: &Cluster, body: &str) {
    let answer = send(cluster, 1, Method::POST, "/v1/namespaces", Some(body.to_owned())).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
}

async fn fill(cluster: &Cluster, name: &str, line: impl Fn(u64) -> String) {
    let lines: Vec<String> = (0..KEYS).map(line).collect();
    let request = cluster
        .api
        .request(Method::POST, &format!("{}/v1/ns/{name}/batch", cluster.url(1)))
        .header("content-type", "application/x-ndjson")
        .body(lines.join("\n"));
    let answer = cluster.api.send(request).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.text().contains(r#""failed":0"#), "{}", answer.text());
}

async fn keys(cluster: &Cluster, name: &str) -> u64 {
    let path = format!("/v1/ns/{name}/keys?fields=count");
    let answer = get(cluster, 1, &path).await;
    let view: Value = serde_json::from_slice(&answer.body).unwrap();
    view["count"].as_u64().unwrap_or_else(|| panic!("{view}"))
}

async fn converged(cluster: &Cluster, name: &str) {
    wait_until(&format!("{name} has converged"), async || {
        let view = look(cluster, &cluster.url(2), &format!("/v1/ns/{name}/convergence")).await?;
        assert_ne!(view["state"], "diverged", "{view}");
        if view["state"] == "converged" { Ok(()) } else { Err(view.to_string()) }
    })
    .await;
}

async fn send(
    cluster: &Cluster,
    node: u64,
    method: Method,
    path: &str,
    body: Option<String>,
) -> Answer {
    let mut request = cluster.api.request(method, &format!("{}{path}", cluster.url(node)));
    if let Some(body) = body {
        request = request.header("content-type", "application/json").body(body);
    }
    cluster.api.send(request).await.unwrap()
}

async fn get(cluster: &Cluster, node: u64, path: &str) -> Answer {
    let answer = cluster.api.get_path(&cluster.url(node), path).await.unwrap();
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer
}
