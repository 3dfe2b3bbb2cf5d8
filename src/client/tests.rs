//! What the client repeats and what it does not, against a server that answers by script.
#![allow(clippy::disallowed_methods, reason = "the scripted server is a task of its own")]

use std::collections::VecDeque;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use parking_lot::Mutex;

use bytes::Bytes;

use super::*;
use crate::wire::{
    CLUSTER_PATH, ClusterView, GroupView, IDEMPOTENCY_KEY, KV_GROUP, KV_LEADER, NodeView, Outcome,
};

mod held;
mod streams;

/// What the server does with the next request.
enum Step {
    Answer(u16, &'static str),
    Problem(u16, &'static str, &'static str),
    Hint(String),
    Hang,
    /// Does what was asked, and cuts the connection before it says so.
    Lose,
    /// Asks for patience of this many seconds.
    Later(u32),
    /// Lines of a stream; then it ends well, or is cut.
    Lines(Vec<String>, bool),
}

#[derive(Clone, Default)]
struct Script {
    steps: Arc<Mutex<VecDeque<Step>>>,
    seen: Arc<Mutex<Vec<String>>>,
    queries: Arc<Mutex<Vec<String>>>,
    bodies: Arc<Mutex<Vec<String>>>,
    /// The idempotency key of each request.
    keys: Arc<Mutex<Vec<Option<String>>>>,
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
    script.queries.lock().push(request.uri().query().unwrap_or_default().to_owned());
    let key = request.headers().get(IDEMPOTENCY_KEY).map(|key| key.to_str().unwrap().to_owned());
    script.keys.lock().push(key);
    let body = axum::body::to_bytes(request.into_body(), usize::MAX).await.unwrap();
    script.bodies.lock().push(String::from_utf8_lossy(&body).into_owned());
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
        // Ends the connection's task, without a word.
        Step::Lose => std::panic::resume_unwind(Box::new(())),
        Step::Later(seconds) => response
            .status(503)
            .header("retry-after", seconds)
            .body(problem(503, "overloaded", "not_applied").into())
            .unwrap(),
        Step::Lines(lines, cut) => {
            let lines = lines.into_iter().map(|line| Ok(Bytes::from(line + "\n")));
            // A moment without data, in which the lines go out before the connection is cut.
            let end = futures_util::stream::once(async {
                tokio::task::yield_now().await;
                Err(std::io::Error::other("cut"))
            });
            let end = futures_util::StreamExt::take(end, usize::from(cut));
            let lines = futures_util::stream::iter(lines);
            let body = futures_util::StreamExt::chain(lines, end);
            response.body(axum::body::Body::from_stream(body)).unwrap()
        }
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

/// What may have taken effect.
fn losses() -> Vec<Step> {
    vec![
        Step::Problem(504, "timeout", "unknown"),
        Step::Answer(502, "a proxy's page"),
        Step::Problem(500, "internal", "unknown"),
        Step::Lose,
    ]
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_is_repeated_under_the_same_name() {
    let mut steps = losses();
    steps.push(Step::Answer(201, ""));
    let (url, script) = serve(steps).await;
    client(&[&url], 20_000).put("default", b"k", Bytes::new()).await.unwrap();
    let keys = script.keys.lock().clone();
    assert_eq!(keys.len(), 5);
    let one = keys[0].clone().unwrap();
    assert!(one.len() == 32 && one.bytes().all(|b| b.is_ascii_hexdigit()), "{one}");
    assert!(keys.iter().all(|key| key.as_deref() == Some(&one)), "{keys:?}");
}

#[tokio::test]
async fn a_lost_write_is_repeated_at_another_endpoint() {
    let (one, at_one) = serve(vec![Step::Lose, Step::Lose]).await;
    let (other, at_other) = serve(vec![Step::Answer(201, "")]).await;
    // The second one is asked for the routes; then it is the first one's turn.
    client(&[&one, &other], 20_000).put("default", b"k", Bytes::new()).await.unwrap();
    assert_eq!(at_one.keys.lock().len(), 1);
    let keys = at_one.keys.lock().clone();
    assert_eq!(keys, *at_other.keys.lock());
}

#[tokio::test]
async fn without_a_name_a_write_of_unknown_fate_is_never_repeated() {
    for step in losses() {
        let (url, script) = serve(vec![step, Step::Answer(201, "")]).await;
        let off = WriteOptions { idempotency: Idempotency::Off, ..WriteOptions::default() };
        let client = client(&[&url], 5000);
        let error = client.put_with("default", b"k", Bytes::new(), &off).await.unwrap_err();
        assert_eq!(error.outcome(), Outcome::Unknown, "{error}");
        assert_eq!(*script.keys.lock(), [None]);
    }
}

#[tokio::test]
async fn a_write_without_an_answer_is_unknown_and_ends_in_time() {
    let (url, _script) = serve(vec![Step::Hang]).await;
    let error = client(&[&url], 300).delete("default", b"k").await.unwrap_err();
    assert_eq!(error.outcome(), Outcome::Unknown, "{error}");
}

#[tokio::test]
async fn what_was_lost_once_stays_unknown_until_the_group_has_spoken() {
    // Each of these says of the second try alone that it had no effect.
    for last in [
        Step::Problem(404, "namespace_not_found", "not_applied"),
        Step::Problem(422, "idempotency_mismatch", "not_applied"),
    ] {
        let (url, _) = serve(vec![Step::Lose, last]).await;
        let error = client(&[&url], 5000).put("default", b"k", Bytes::new()).await.unwrap_err();
        assert_eq!(error.outcome(), Outcome::Unknown, "{error}");
    }
    let unmet = Step::Problem(412, "precondition_failed", "not_applied");
    let (url, _) = serve(vec![Step::Lose, unmet]).await;
    let error = client(&[&url], 5000).put("default", b"k", Bytes::new()).await.unwrap_err();
    assert!(error.is_unmet() && error.outcome() == Outcome::NotApplied, "{error}");
}

#[tokio::test]
async fn a_mismatch_is_final() {
    let (url, script) =
        serve(vec![Step::Problem(422, "idempotency_mismatch", "not_applied")]).await;
    let given = Idempotency::Key("order-7".to_owned());
    let given = WriteOptions { idempotency: given, ..WriteOptions::default() };
    let client = client(&[&url], 5000);
    let error = client.put_with("default", b"k", Bytes::new(), &given).await.unwrap_err();
    assert_eq!(error.code(), Some("idempotency_mismatch"));
    assert_eq!(*script.keys.lock(), [Some("order-7".to_owned())]);
}

#[tokio::test]
async fn who_asks_for_patience_is_not_asked_before() {
    let (one, at_one) = serve(vec![Step::Later(3600)]).await;
    let (other, at_other) = serve((0..4).map(|_| Step::Answer(201, "")).collect()).await;
    let client = client(&[&other, &one], 5000);
    for _ in 0..4 {
        client.put("default", b"k", Bytes::new()).await.unwrap();
    }
    assert_eq!((at_one.seen.lock().len(), at_other.seen.lock().len()), (1, 4));
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
async fn a_strict_read_is_asked_for_in_words_so_that_an_eventual_namespace_refuses_it() {
    let refused = Step::Problem(422, "mode_unsupported", "not_applied");
    let (url, script) = serve(vec![Step::Answer(200, "v"), refused]).await;
    let client = client(&[&url], 5000);
    client.get("default", b"k", ReadMode::Usual).await.unwrap().unwrap();
    client.get("default", b"k", ReadMode::Linearizable).await.unwrap_err();
    assert_eq!(*script.queries.lock(), ["", "read=linearizable"]);
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
async fn an_empty_key_is_refused_and_dots_travel_in_the_query() {
    let (url, script) = serve(vec![Step::Answer(201, "")]).await;
    let client = client(&[&url], 5000);
    let error = client.put("default", b"", Bytes::new()).await.unwrap_err();
    assert!(matches!(error, ClientError::Key), "{error}");
    client.put("default", b"..", Bytes::new()).await.unwrap();
    assert_eq!(*script.seen.lock(), ["PUT /v1/ns/default/key"]);
    assert_eq!(*script.queries.lock(), ["key64=Li4"]);
}
