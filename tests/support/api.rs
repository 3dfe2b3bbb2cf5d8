//! The HTTP API as a client without any knowledge of the servers uses it.
//!
//! Why it exists: the crate's own client retries and follows hints; a test must see every answer as
//! it came, and must know of every failure whether the request can have had an effect.

use std::time::Duration;

use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Method, RequestBuilder};
use tetrarch::wire::{ClusterView, KV_GROUP, KV_INDEX, Outcome, Problem, RouteView};

/// Longer than any deadline of the servers: a request that takes longer is a failure of its own.
const ANSWER_MAX: Duration = Duration::from_secs(20);

/// What stands for itself in a path.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'~').remove(b'/');

/// A client.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    http: reqwest::Client,
}

/// An answer, whatever its status.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: Bytes,
}

/// No answer.
#[derive(Clone, Debug)]
pub(crate) enum Silence {
    /// Nobody listened: surely without effect.
    NotSent(String),
    /// The connection broke, or the time ran out: the effect is unknown.
    Lost(String),
}

/// What became of a write.
#[derive(Clone, Debug)]
pub(crate) enum Fate {
    /// Acknowledged.
    Applied(Answer),
    /// Surely without effect, as the server or the connection says.
    NotApplied(String),
    /// Nobody knows.
    Unknown(String),
}

impl Api {
    pub(crate) fn new() -> Self {
        let http = reqwest::Client::builder()
            .no_proxy()
            .connect_timeout(Duration::from_secs(2))
            .timeout(ANSWER_MAX)
            .build()
            .unwrap();
        Self { http }
    }

    /// The URL of a key of namespace `default`.
    pub(crate) fn key_url(base: &str, key: &[u8]) -> String {
        format!("{base}/v1/ns/default/keys/{}", encode(key))
    }

    pub(crate) async fn put(
        &self,
        base: &str,
        key: &[u8],
        value: Bytes,
    ) -> Result<Answer, Silence> {
        self.send(self.request(Method::PUT, &Self::key_url(base, key)).body(value)).await
    }

    pub(crate) async fn get(&self, base: &str, key: &[u8]) -> Result<Answer, Silence> {
        self.send(self.request(Method::GET, &Self::key_url(base, key))).await
    }

    pub(crate) async fn get_stale(&self, base: &str, key: &[u8]) -> Result<Answer, Silence> {
        let url = format!("{}?read=stale", Self::key_url(base, key));
        self.send(self.request(Method::GET, &url)).await
    }

    pub(crate) async fn delete(&self, base: &str, key: &[u8]) -> Result<Answer, Silence> {
        self.send(self.request(Method::DELETE, &Self::key_url(base, key))).await
    }

    /// A request that can still be changed.
    pub(crate) fn request(&self, method: Method, url: &str) -> RequestBuilder {
        self.http.request(method, url)
    }

    /// GET of any path.
    pub(crate) async fn get_path(&self, base: &str, path: &str) -> Result<Answer, Silence> {
        self.send(self.request(Method::GET, &format!("{base}{path}"))).await
    }

    /// The cluster as one node sees it.
    pub(crate) async fn cluster(&self, base: &str) -> Result<ClusterView, String> {
        let answer = self.get_path(base, "/v1/cluster").await.map_err(|s| format!("{s:?}"))?;
        serde_json::from_slice(&answer.body)
            .map_err(|error| format!("status {}: {error}: {}", answer.status, answer.text()))
    }

    /// Where a key lives.
    pub(crate) async fn route(&self, base: &str, key: &str) -> Result<RouteView, String> {
        let path = format!("/v1/route?key={}", utf8_percent_encode(key, NON_ALPHANUMERIC));
        let answer = self.get_path(base, &path).await.map_err(|s| format!("{s:?}"))?;
        serde_json::from_slice(&answer.body)
            .map_err(|error| format!("status {}: {error}: {}", answer.status, answer.text()))
    }

    /// Sends a request and reads its whole answer.
    pub(crate) async fn send(&self, request: RequestBuilder) -> Result<Answer, Silence> {
        let response = request.send().await.map_err(|error| silence(&error))?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.bytes().await.map_err(|error| Silence::Lost(chain(&error)))?;
        Ok(Answer { status, headers, body })
    }
}

fn silence(error: &reqwest::Error) -> Silence {
    if error.is_connect() { Silence::NotSent(chain(error)) } else { Silence::Lost(chain(error)) }
}

/// An error with its causes: the outermost alone says nothing.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

fn encode(key: &[u8]) -> String {
    percent_encoding::percent_encode(key, PLAIN).to_string()
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.header(name)?.parse().ok()
    }

    pub(crate) fn group(&self) -> Option<u64> {
        self.number(KV_GROUP)
    }

    pub(crate) fn index(&self) -> Option<u64> {
        self.number(KV_INDEX)
    }

    pub(crate) fn etag(&self) -> Option<&str> {
        self.header("etag")
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The error's body, when there is a proper one.
    pub(crate) fn problem(&self) -> Option<Problem> {
        serde_json::from_slice(&self.body).ok()
    }

    /// Whether it says that the key does not exist.
    pub(crate) fn is_missing_key(&self) -> bool {
        self.status == 404 && self.problem().is_some_and(|p| p.code == "key_not_found")
    }
}

/// What a writer may conclude from what came back.
pub(crate) fn fate(came_back: Result<Answer, Silence>) -> Fate {
    match came_back {
        Ok(answer) if matches!(answer.status, 201 | 204) || answer.is_missing_key() => {
            Fate::Applied(answer)
        }
        Ok(answer) => match answer.problem() {
            Some(p) if p.outcome == Outcome::NotApplied => {
                Fate::NotApplied(format!("{} {}: {}", p.status, p.code, p.detail))
            }
            Some(p) => Fate::Unknown(format!("{} {}: {}", p.status, p.code, p.detail)),
            None => Fate::Unknown(format!("status {} without a problem", answer.status)),
        },
        Err(Silence::NotSent(reason)) => Fate::NotApplied(reason),
        Err(Silence::Lost(reason)) => Fate::Unknown(reason),
    }
}
