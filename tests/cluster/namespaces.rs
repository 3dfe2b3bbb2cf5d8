//! A namespace that is deleted is gone, although every node dies in the middle of it; a full one
//! refuses by itself and recovers by itself; one that is made anew is so at every node at once.

use bytes::Bytes;
use reqwest::Method;
use serde_json::Value;

use crate::support::api::{Answer, Silence};
use crate::support::cluster::{Cluster, Shape};
use crate::support::wait::wait_until;

const KEYS: u64 = 6_000;

/// How often a namespace is deleted and made anew.
const ROUNDS: u64 = 12;

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_namespace_frees_its_data_although_all_nodes_die_meanwhile() {
    let mut cluster = Cluster::start(&Shape::default()).await;
    cluster.wait_leaders_home(1).await;
    create(&cluster, r#"{"name":"doomed"}"#).await;
    create(&cluster, r#"{"name":"spared"}"#).await;
    load(&cluster, "doomed", KEYS).await;
    load(&cluster, "spared", 500).await;
    settle(&cluster, Method::DELETE, "/v1/namespaces/doomed", None, 202).await;
    cluster.kill_all();
    cluster.restart_all();
    cluster.wait_all_ready().await;
    let answer = send(&cluster, 1, Method::GET, "/v1/ns/doomed/keys/k1", None).await;
    assert_eq!(answer.status, 404, "{}", answer.text());
    // The same name again is another namespace, empty although the old one's rows may still go.
    create(&cluster, r#"{"name":"doomed"}"#).await;
    assert_eq!(count(&cluster, "doomed").await, 0);
    assert_eq!(count(&cluster, "spared").await, 500);
    wait_until("the old data is gone from every node", async || {
        for id in cluster.ids() {
            let metrics = cluster.api.get_path(&cluster.url(id), "/metrics").await;
            let metrics = metrics.map_err(|silence| format!("{silence:?}"))?.text();
            let left = metrics
                .lines()
                .find_map(|line| line.strip_prefix("tetrarch_namespaces_doomed "))
                .and_then(|value| value.parse::<f64>().ok());
            if left != Some(0.0) {
                return Err(format!("node {id}: namespaces being freed: {left:?}"));
            }
        }
        Ok(())
    })
    .await;
    assert_eq!(count(&cluster, "spared").await, 500);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_namespace_refuses_alone_and_takes_writes_again_once_there_is_room() {
    let cluster = Cluster::start(&Shape::default()).await;
    cluster.wait_leaders_home(1).await;
    create(&cluster, r#"{"name":"small","quota":200000}"#).await;
    create(&cluster, r#"{"name":"one","layout":"ordered","quota":50000}"#).await;
    for name in ["small", "one"] {
        let mut written = 0_u64;
        let problem = loop {
            let path = format!("/v1/ns/{name}/keys/k{written}");
            let answer = wait_until(&format!("{path} is taken or refused"), async || {
                let answer = send(&cluster, 1, Method::PUT, &path, Some("v".repeat(1000))).await;
                // 200: the try before this one was applied although its answer said it is unknown.
                let told = matches!(answer.status, 200 | 201 | 507);
                if told { Ok(answer) } else { Err(answer.text()) }
            })
            .await;
            if answer.status == 507 {
                break answer.problem().unwrap();
            }
            written += 1;
            assert!(written < 2_000, "{name} is never full");
        };
        assert_eq!(problem.code, "quota_exceeded");
        assert!(written > 20, "{name} took only {written}");
        let answer =
            send(&cluster, 2, Method::PUT, "/v1/ns/default/keys/other", Some("v".into())).await;
        assert!(answer.status < 300, "another namespace notices: {}", answer.text());
        for number in 0..written / 2 {
            let path = format!("/v1/ns/{name}/keys/k{number}");
            let answer = send(&cluster, 3, Method::DELETE, &path, None).await;
            assert_eq!(answer.status, 204, "deletions are taken: {}", answer.text());
        }
        wait_until(&format!("{name} takes writes again"), async || {
            let path = format!("/v1/ns/{name}/keys/again");
            let answer = send(&cluster, 1, Method::PUT, &path, Some("v".repeat(1000))).await;
            if answer.status < 300 { Ok(()) } else { Err(answer.text()) }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_made_anew_is_the_same_at_every_node_at_once() {
    let cluster = Cluster::start(&Shape::default()).await;
    cluster.wait_leaders_home(1).await;
    for round in 0..ROUNDS {
        let layout = if round % 2 == 0 { "spread" } else { "ordered" };
        let body = format!(r#"{{"name":"again","layout":"{layout}"}}"#);
        create(&cluster, &body).await;
        // With and without a node that knows only what was before.
        let asleep = (round % 3 == 2).then_some(2);
        let path = |key: u64| format!("/v1/ns/again/keys/k{key}");
        let before = send(&cluster, 1, Method::PUT, &path(0), Some("before".into())).await;
        assert_eq!(before.status, 201, "round {round}: {}", before.text());
        if let Some(node) = asleep {
            cluster.pause(node);
        }
        let gone = settle(&cluster, Method::DELETE, "/v1/namespaces/again", None, 202).await;
        println!("  round {round}: deleted with {}", gone.status);
        settle(&cluster, Method::POST, "/v1/namespaces", Some(body.clone()), 201).await;
        if let Some(node) = asleep {
            cluster.resume(node);
        }
        for node in cluster.ids() {
            let read = send(&cluster, node, Method::GET, &path(0), None).await;
            let problem = read.problem().unwrap();
            assert_eq!(
                problem.code,
                "key_not_found",
                "round {round}, node {node}: {}",
                read.text()
            );
        }
        for key in 1..12_u64 {
            let node = 1 + key % 3;
            let wrote = send(&cluster, node, Method::PUT, &path(key), Some("v".into())).await;
            assert_eq!(wrote.status, 201, "round {round}, node {node}: {}", wrote.text());
            let read = send(&cluster, 1 + node % 3, Method::GET, &path(key), None).await;
            assert_eq!(read.status, 200, "round {round}: {}", read.text());
        }
        settle(&cluster, Method::DELETE, "/v1/namespaces/again", None, 202).await;
        for node in cluster.ids() {
            let late = send(&cluster, node, Method::PUT, &path(1), Some("late".into())).await;
            assert_eq!(late.status, 404, "round {round}, node {node}: {}", late.text());
        }
    }
}

/// Asks node 3 until the answer is certain: a paused leader costs an election.
async fn settle(
    cluster: &Cluster,
    method: Method,
    path: &str,
    body: Option<String>,
    wanted: u16,
) -> Answer {
    let key = format!("settle-{}", fresh());
    wait_until(&format!("{method} {path}"), async || {
        let url = format!("{}{path}", cluster.url(3));
        let mut request = cluster.api.request(method.clone(), &url);
        request = request.header("idempotency-key", &key);
        if let Some(body) = &body {
            request = request.header("content-type", "application/json").body(body.clone());
        }
        let answer = cluster.api.send(request).await.map_err(|silence| format!("{silence:?}"))?;
        if matches!(answer.status, 503 | 504) {
            return Err(answer.text());
        }
        assert_eq!(answer.status, wanted, "{method} {path}: {}", answer.text());
        Ok(answer)
    })
    .await
}

fn fresh() -> u64 {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}

async fn create(cluster: &Cluster, body: &str) {
    let answer = send(cluster, 3, Method::POST, "/v1/namespaces", Some(body.to_owned())).await;
    assert_eq!(answer.status, 201, "{body}: {}", answer.text());
}

async fn load(cluster: &Cluster, name: &str, keys: u64) {
    let lines: String =
        (0..keys).map(|n| format!("{{\"put\":\"k{n}\",\"value\":\"value {n}\"}}\n")).collect();
    let url = format!("{}/v1/ns/{name}/batch", cluster.url(1));
    let request = cluster.api.request(Method::POST, &url);
    let request = request.header("content-type", "application/x-ndjson").body(lines);
    let answer = cluster.api.send(request).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let text = answer.text();
    let end: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!((&end["ops"], &end["failed"]), (&keys.into(), &0.into()), "{end}");
}

async fn count(cluster: &Cluster, name: &str) -> u64 {
    let path = format!("/v1/ns/{name}/keys?fields=count");
    let answer = wait_until("keys are counted", async || {
        let answer = send(cluster, 2, Method::GET, &path, None).await;
        if answer.status == 200 { Ok(answer) } else { Err(answer.text()) }
    })
    .await;
    let view: Value = serde_json::from_slice(&answer.body).unwrap();
    view["count"].as_u64().expect("a count is a number")
}

async fn send(
    cluster: &Cluster,
    node: u64,
    method: Method,
    path: &str,
    body: Option<String>,
) -> Answer {
    let is_json = path == "/v1/namespaces";
    let mut request = cluster.api.request(method, &format!("{}{path}", cluster.url(node)));
    if is_json {
        request = request.header("content-type", "application/json");
    }
    if let Some(body) = body {
        request = request.body(Bytes::from(body));
    }
    match cluster.api.send(request).await {
        Ok(answer) => answer,
        Err(Silence::NotSent(reason) | Silence::Lost(reason)) => panic!("{path}: {reason}"),
    }
}
