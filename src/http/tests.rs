//! Tests of `http`: each name says what it holds.

use std::sync::Arc;

use axum::body::{Body, Bytes, to_bytes};
use axum::http::Request;
use tower::ServiceExt;

use super::*;
use crate::service::testing::World;
use crate::wire::{KV_GROUP, KV_INDEX, KV_LEADER, KV_READ, KV_SERVED_BY, Problem, REQUEST_ID};

mod keys;
mod spaces;

pub(super) struct Door {
    service: Service,
    pub(super) world: Arc<World>,
    router: Entrance,
}

/// An answer, read to its end.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: axum::http::HeaderMap,
    pub(super) body: Bytes,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(super) fn problem(&self) -> Problem {
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem: Problem = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(problem.status, self.status);
        assert_eq!(problem.request_id, self.header(REQUEST_ID));
        problem
    }
}

impl Door {
    pub(super) fn new(requests_max: usize) -> Self {
        let world = World::new();
        let service = world.service(1, true);
        let options = FrontOptions { requests_max };
        let router = router(service.clone(), &Metrics::default(), Router::new(), options);
        Self { service, world, router }
    }

    fn clock(&self) -> crate::runtime::Moment {
        self.service.env().clock.now()
    }

    /// Sends a request, and holds the answer against the description.
    pub(super) async fn send(&self, request: Request<Body>) -> Answer {
        let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap();
        let answer = Answer { status: parts.status.as_u16(), headers: parts.headers, body };
        doc::tests::declared(&method, &path, answer.status, answer.header("content-type"));
        answer
    }

    /// The head of an answer, whose body is not read yet.
    pub(super) async fn begin(&self, method: &str, uri: &str) -> Response {
        let request = Request::builder().method(method).uri(uri).body(Body::empty()).unwrap();
        self.router.clone().oneshot(request).await.unwrap()
    }

    /// Sends a request with headers.
    pub(super) async fn with(
        &self,
        method: &str,
        uri: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(body.into()).unwrap()).await
    }

    pub(super) async fn ask(&self, method: &str, uri: &str, body: impl Into<Body>) -> Answer {
        let request = Request::builder().method(method).uri(uri).body(body.into()).unwrap();
        self.send(request).await
    }

    async fn ask_with(&self, method: &str, name: &str, value: &str) -> Answer {
        let uri = "/v1/ns/default/keys/k";
        let request = Request::builder().method(method).uri(uri).header(name, value);
        self.send(request.body(Body::from("v")).unwrap()).await
    }
}

#[tokio::test]
async fn a_key_lives_from_put_to_delete() {
    let door = Door::new(8);
    let uri = "/v1/ns/default/keys/a%2Fb/%00%ff";
    let created = door.ask("PUT", uri, "one").await;
    assert_eq!((created.status, created.header("location")), (201, uri));
    assert_eq!(door.ask("PUT", uri, vec![0, 255]).await.status, 204);
    let got = door.ask("GET", uri, "").await;
    assert_eq!((got.status, got.body.as_ref()), (200, &[0, 255][..]));
    let (group, index) = (got.header(KV_GROUP), got.header(KV_INDEX));
    assert_eq!(got.header("etag"), format!("\"{group}-{index}\""));
    assert_eq!(got.header(KV_READ), "linearizable");
    assert_eq!(got.header(KV_LEADER), "http://127.0.0.1:7101");
    assert_eq!(got.header(KV_SERVED_BY), "1");
    let head = door.ask("HEAD", uri, "").await;
    assert_eq!((head.status, head.body.len(), head.header("content-length")), (200, 0, "2"));
    assert_eq!(head.header("etag"), got.header("etag"));
    assert_eq!(door.ask("DELETE", uri, "").await.status, 204);
    for method in ["GET", "DELETE"] {
        let gone = door.ask(method, uri, "").await;
        assert_eq!((gone.status, gone.problem().code.as_str()), (404, "key_not_found"));
        assert!(!gone.header(KV_GROUP).is_empty() && !gone.header(KV_INDEX).is_empty());
    }
    assert_eq!(door.ask("HEAD", uri, "").await.status, 404);
}

#[tokio::test]
async fn a_stale_read_says_that_it_is_one() {
    let door = Door::new(8);
    door.world.set_age(None);
    door.ask("PUT", "/v1/ns/default/keys/k", "v").await;
    let got = door.ask("GET", "/v1/ns/default/keys/k?read=stale", "").await;
    assert_eq!((got.status, got.header(KV_READ)), (200, "stale; age=unknown"));
}

#[tokio::test]
async fn bad_requests_are_problems_with_a_reason_and_reach_no_log() {
    let door = Door::new(8);
    let long = format!("/v1/ns/default/keys/{}", "k".repeat(4_097));
    for (method, uri, status, code) in [
        ("GET", "/v1/ns/default/keys/", 400, "invalid"),
        ("PUT", "/v1/ns/default/keys/a%2", 400, "invalid"),
        ("GET", "/v1/ns/default/keys/a?read=lease", 400, "invalid"),
        ("PUT", "/v1/ns/default/keys/a?ttl=1", 400, "invalid"),
        ("PUT", long.as_str(), 414, "key_too_long"),
        ("PUT", "/v1/ns/nope/keys/a", 404, "namespace_not_found"),
        ("GET", "/v1/nowhere", 404, "not_found"),
        ("POST", "/v1/ns/default/keys/a", 405, "method_not_allowed"),
        ("PATCH", "/v1/ns/default/keys/a", 415, "unsupported_media_type"),
        ("GET", "/v1/route", 400, "invalid"),
        ("POST", "/v1/cluster/nodes", 400, "invalid"),
    ] {
        let answer = door.ask(method, uri, "v").await;
        let problem = answer.problem();
        assert_eq!((answer.status, problem.code.as_str()), (status, code), "{method} {uri}");
        assert_eq!(problem.outcome, crate::wire::Outcome::NotApplied);
    }
    for (name, value) in [("request-timeout", "soon"), ("if-match", "1-1"), ("idempotency-key", "")]
    {
        assert_eq!(door.ask_with("PUT", name, value).await.status, 400, "{name}");
    }
    assert_eq!(door.world.proposals(), 0);
}

#[tokio::test]
async fn a_wrong_method_is_told_the_right_ones() {
    let door = Door::new(8);
    let answer = door.ask("POST", "/v1/ns/default/keys/a", "").await;
    let allow = answer.header("allow");
    assert!(["GET", "HEAD", "PUT", "DELETE"].iter().all(|m| allow.contains(m)), "{allow}");
}

#[tokio::test]
async fn a_value_beyond_the_limit_is_refused_with_and_without_a_length() {
    let door = Door::new(8);
    let uri = "/v1/ns/default/keys/k";
    let value = vec![7u8; 1024 * 1024];
    assert_eq!(door.ask("PUT", uri, value.clone()).await.status, 201);
    assert_eq!(door.ask("GET", uri, "").await.body, value);
    assert_eq!(door.ask("PUT", uri, vec![7u8; 1024 * 1024 + 1]).await.status, 413);
    assert_eq!(door.ask_with("PUT", "content-length", "1048577").await.status, 413);
    let chunks = (0..4).map(|_| Ok::<_, std::io::Error>(vec![7u8; 300_000]));
    let body = Body::from_stream(futures_util::stream::iter(chunks));
    let answer = door.ask("PUT", uri, body).await;
    assert_eq!((answer.status, answer.problem().code.as_str()), (413, "too_large"));
    assert_eq!(door.world.proposals(), 1);
}

#[tokio::test]
async fn a_body_that_does_not_come_ends_at_the_deadline() {
    let door = Door::new(8);
    let body = Body::from_stream(futures_util::stream::pending::<std::io::Result<Bytes>>());
    let request = Request::put("/v1/ns/default/keys/k").header("request-timeout", "50ms");
    let answer = door.send(request.body(body).unwrap()).await;
    assert_eq!((answer.status, answer.problem().code.as_str()), (408, "request_timeout"));
}

#[tokio::test]
async fn without_a_leader_the_answer_is_503_with_retry_after_within_the_asked_time() {
    let door = Door::new(8);
    door.world.leader.send_replace(None);
    let began = door.clock();
    let answer = door.ask_with("PUT", "request-timeout", "250ms").await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, "1"));
    assert_eq!(answer.problem().retry_after, Some(1));
    let spent = door.clock().since(began);
    assert!(spent < std::time::Duration::from_secs(3), "well below the default: {spent:?}");
    let ready = door.ask("GET", "/readyz", "").await;
    assert_eq!((ready.status, ready.problem().code.as_str()), (503, "not_ready"));
}

#[tokio::test]
async fn request_ids_are_taken_or_made_and_come_back() {
    let door = Door::new(8);
    assert_eq!(door.ask_with("PUT", "request-id", "mine-1").await.header(REQUEST_ID), "mine-1");
    let made = door.ask("GET", "/v1/ns/default/keys/none", "").await;
    assert_eq!(made.problem().request_id.len(), 16);
}

#[tokio::test]
async fn beyond_the_bound_clients_wait_outside_and_probes_pass() {
    let door = Door::new(0);
    let answer = door.ask("GET", "/v1/cluster", "").await;
    assert_eq!((answer.status, answer.problem().code.as_str()), (503, "overloaded"));
    for probe in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(door.ask("GET", probe, "").await.status, 200, "{probe}");
    }
}

#[tokio::test]
async fn the_cluster_the_route_and_the_figures_can_be_read() {
    let door = Door::new(8);
    door.ask("PUT", "/v1/ns/default/keys/k", "v").await;
    let cluster = door.ask("GET", "/v1/cluster", "").await;
    let view: crate::wire::ClusterView = serde_json::from_slice(&cluster.body).unwrap();
    assert_eq!((view.nodes.len(), view.groups.len()), (3, 9));
    let route = door.ask("GET", "/v1/route?ns=default&key=k", "").await;
    let route: crate::wire::RouteView = serde_json::from_slice(&route.body).unwrap();
    assert_eq!(route.leader_url.as_deref(), Some("http://127.0.0.1:7101"));
    let figures = door.ask("GET", "/metrics", "").await;
    let text = String::from_utf8(figures.body.to_vec()).unwrap();
    let put = "route=\"/v1/ns/{ns}/keys/{*key}\",method=\"PUT\",status=\"201\",outcome=\"applied\"";
    assert!(text.contains(put), "{text}");
}

#[tokio::test]
async fn nodes_join_and_are_replaced() {
    let door = Door::new(8);
    let join = r#"{"id":9,"address":"127.0.0.1:7109","incarnation":"00000000000000aa"}"#;
    let joined = door.ask("POST", "/v1/cluster/nodes", join).await;
    let reply: crate::wire::ChangeReply = serde_json::from_slice(&joined.body).unwrap();
    assert!(reply.nodes.iter().any(|node| node.id == 9 && node.incarnation.ends_with("aa")));
    let taken = join.replace("aa\"", "bb\"");
    assert_eq!(door.ask("POST", "/v1/cluster/nodes", taken).await.status, 409);
    let replaced = door.ask("POST", "/v1/cluster/replace", r#"{"old":3,"new":9}"#).await;
    assert_eq!(replaced.status, 200);
    let cluster = door.ask("GET", "/v1/cluster", "").await;
    let view: crate::wire::ClusterView = serde_json::from_slice(&cluster.body).unwrap();
    assert!(view.moves_left > 0);
}
