//! What the client repeats and what it does not, against a server that answers by script.
#![allow(clippy::disallowed_methods, reason = "the scripted server is a task of its own")]

use std::collections::VecDeque;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use parking_lot::Mutex;

use super::*;
use crate::wire::{GroupView, KV_GROUP, KV_LEADER, NodeView, Outcome};

/// What the server does with the next request.
enum Step {
    Answer(u16, &'static str),
    Problem(u16, &'static str, &'static str),
    Hint(String),
    Hang,
}

#[derive(Clone, Default)]
struct Script {
    steps: Arc<Mutex<VecDeque<Step>>>,
    seen: Arc<Mutex<Vec<String>>>,
    view: Arc<Mutex<Option<ClusterView>>>,
}

async fn answer(State(script): State<Script>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    if path == CLUSTER_PATH {
        let view = script.view.lock().clone();
        return view.map_or(axum::http::StatusCode::SERVICE_UNAVAILABLE.into_response(), |v| {
            axum::Json(v).into_response()
        });
    }
    script.seen.lock().push(format!("{} {path}", request.method()));
    let step = script.steps.lock().pop_front();
    let problem = |status: u16, code: &str, outcome: &str| {
        serde_json::json!({"type": "t", "title": "t", "status": status, "detail": "as scripted",
            "code": code, "outcome": outcome, "request_id": "r"})
        .to_string()
    };
    let response = Response::builder();
    match step.expect("the script has a step for every request") {
        Step::Answer(status, body) => response.status(status).body(body.into()).unwrap(),
        Step::Problem(status, code, outcome) => {
            response.status(status).body(problem(status, code, outcome).into()).unwrap()
        }
        Step::Hint(leader) => response
            .status(503)
            .header(KV_LEADER, leader)
            .header(KV_GROUP, "3")
            .body(problem(503, "not_leader", "not_applied").into())
            .unwrap(),
        Step::Hang => std::future::pending().await,
    }
}

async fn serve(steps: Vec<Step>) -> (String, Script) {
    let script = Script { steps: Arc::new(Mutex::new(steps.into())), ..Script::default() };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = axum::Router::new().fallback(answer).with_state(script.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, script)
}

fn client(endpoints: &[&str], timeout_ms: u64) -> Client {
    let options = Options {
        endpoints: endpoints.iter().map(|e| (*e).to_owned()).collect(),
        timeout: Duration::from_millis(timeout_ms),
        pinned: false,
    };
    Client::new(options, &Env::system()).unwrap()
}

/// An address at which nobody listens.
async fn nobody() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

#[tokio::test]
async fn a_write_that_surely_was_not_applied_is_repeated() {
    let steps = vec![
        Step::Problem(503, "overloaded", "not_applied"),
        Step::Problem(503, "no_leader", "not_applied"),
        Step::Answer(201, ""),
    ];
    let (url, script) = serve(steps).await;
    let wrote = client(&[&url], 5000).put("default", b"a/b", Bytes::from("v")).await.unwrap();
    assert!(!wrote.existed);
    assert_eq!(*script.seen.lock(), vec!["PUT /v1/ns/default/keys/a%2Fb"; 3]);
}

#[tokio::test]
async fn a_write_of_unknown_fate_is_never_repeated() {
    for step in [
        Step::Problem(504, "timeout", "unknown"),
        Step::Answer(502, "a proxy's page"),
        Step::Problem(500, "internal", "unknown"),
    ] {
        let (url, script) = serve(vec![step, Step::Answer(201, "")]).await;
        let error = client(&[&url], 5000).put("default", b"k", Bytes::new()).await.unwrap_err();
        assert_eq!(error.outcome(), Outcome::Unknown, "{error}");
        assert_eq!(script.seen.lock().len(), 1);
    }
}

#[tokio::test]
async fn a_write_without_an_answer_is_unknown_and_ends_in_time() {
    let (url, script) = serve(vec![Step::Hang]).await;
    let error = client(&[&url], 300).delete("default", b"k").await.unwrap_err();
    assert_eq!(error.outcome(), Outcome::Unknown, "{error}");
    assert_eq!(script.seen.lock().len(), 1);
}

#[tokio::test]
async fn a_bad_request_is_not_repeated() {
    let (url, script) = serve(vec![Step::Problem(413, "too_large", "not_applied")]).await;
    let error = client(&[&url], 5000).put("default", b"k", Bytes::new()).await.unwrap_err();
    assert_eq!(error.outcome(), Outcome::NotApplied, "{error}");
    assert_eq!(script.seen.lock().len(), 1);
}

#[tokio::test]
async fn a_read_is_repeated_whatever_happened() {
    let steps = vec![
        Step::Problem(500, "internal", "unknown"),
        Step::Answer(502, "a proxy's page"),
        Step::Answer(200, "value"),
    ];
    let (url, _) = serve(steps).await;
    let got = client(&[&url], 5000).get("default", b"k", ReadMode::Stale).await.unwrap();
    assert_eq!(got.unwrap().value, "value");
}

#[tokio::test]
async fn a_dead_endpoint_is_passed_over() {
    let dead = nobody().await;
    let steps = (0..10).map(|_| Step::Answer(201, "")).collect();
    let (url, script) = serve(steps).await;
    let client = client(&[&dead, &url], 5000);
    for _ in 0..10 {
        client.put("default", b"k", Bytes::new()).await.unwrap();
    }
    assert_eq!(script.seen.lock().len(), 10);
}

#[tokio::test]
async fn with_all_endpoints_dead_a_write_is_not_applied() {
    let error = client(&[&nobody().await], 200).put("default", b"k", Bytes::new()).await;
    let error = error.unwrap_err();
    assert_eq!(error.outcome(), Outcome::NotApplied, "{error}");
    assert!(error.to_string().contains("is the node running?"), "{error}");
}

#[tokio::test]
async fn a_hint_leads_to_the_leader() {
    let (leader, at_leader) = serve(vec![Step::Answer(201, "")]).await;
    let (other, _) = serve(vec![Step::Hint(leader)]).await;
    client(&[&other], 5000).put("default", b"k", Bytes::new()).await.unwrap();
    assert_eq!(at_leader.seen.lock().len(), 1);
}

#[tokio::test]
async fn requests_go_straight_to_the_leader_once_the_routes_are_known() {
    let steps = (0..5).map(|_| Step::Answer(200, "v")).collect();
    let (leader, at_leader) = serve(steps).await;
    let (other, at_other) = serve(Vec::new()).await;
    let node = NodeView {
        id: 7,
        address: leader.trim_start_matches("http://").to_owned(),
        state: "active".to_owned(),
        replaced_by: None,
        reachable: true,
        incarnation: "0".to_owned(),
        leads: 1,
        replicas: 1,
        moves_left: 0,
        uptime_ms: None,
        version: None,
    };
    let group = GroupView {
        id: 1,
        leader: Some(7),
        preferred: 7,
        term: 1,
        committed: 1,
        applied: 1,
        last: 1,
        voters: vec![7],
        learners: Vec::new(),
        slots: vec![[0, 16_383]],
        replicas: Vec::new(),
    };
    let view = ClusterView { nodes: vec![node], groups: vec![group], ..ClusterView::default() };
    *at_other.view.lock() = Some(view);
    let client = client(&[&other], 5000);
    for key in 0..5u8 {
        client.get("default", &[key], ReadMode::Linearizable).await.unwrap().unwrap();
    }
    assert_eq!(at_leader.seen.lock().len(), 5);
    assert!(at_other.seen.lock().is_empty());
}

#[tokio::test]
async fn a_missing_key_is_not_an_error_but_a_missing_namespace_is() {
    let (url, _) = serve(vec![
        Step::Problem(404, "key_not_found", "not_applied"),
        Step::Problem(404, "namespace_not_found", "not_applied"),
        Step::Problem(404, "key_not_found", "not_applied"),
        Step::Answer(404, ""),
    ])
    .await;
    let client = client(&[&url], 5000);
    assert_eq!(client.get("default", b"k", ReadMode::Linearizable).await.unwrap(), None);
    client.get("other", b"k", ReadMode::Linearizable).await.unwrap_err();
    assert!(!client.delete("default", b"k").await.unwrap().existed);
    assert_eq!(client.head("default", b"k", ReadMode::Linearizable).await.unwrap(), None);
}

#[tokio::test]
async fn a_key_that_a_url_cannot_carry_is_refused_before_it_is_sent() {
    let client = client(&["http://127.0.0.1:1"], 100);
    for key in [&b"."[..], b"..", b""] {
        let error = client.put("default", key, Bytes::new()).await.unwrap_err();
        assert!(matches!(error, ClientError::Key), "{error}");
    }
}

#[test]
fn keys_are_encoded_so_that_no_url_parser_changes_them() {
    assert_eq!(key_path("default", b"a/.."), "/v1/ns/default/keys/a%2F%2E%2E");
    assert_eq!(key_path("a b", b"x/\xff"), "/v1/ns/a%20b/keys/x%2F%FF");
}
