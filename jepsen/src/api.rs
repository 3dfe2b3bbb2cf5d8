//! The store's HTTP API as the harness uses it: one request, one answer, nothing retried.
//!
//! Why it exists: what an answer means for the history is decided in one place, by the server's own
//! `outcome` alone. Promises: a request that did not get a whole answer is `Unknown` unless the
//! connection was refused before anything was sent. Relies on: reqwest; nothing of the server's code.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::RwLock;
use reqwest::Method;
use serde_json::Value as Json;

use crate::history::Witness;
use crate::workload::{Completion, Ending};

/// Longest wait for a connection.
const CONNECT_WITHIN: Duration = Duration::from_secs(1);
/// How much longer than the server the client waits for an answer.
const GRACE: Duration = Duration::from_secs(1);

/// What the history says about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It took effect, or a read was answered.
    Applied,
    /// It certainly took no effect.
    NotApplied,
    /// Nobody knows.
    Unknown,
}

/// The store could not be used in a phase in which it must work.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {why}")]
pub struct ApiError {
    /// What was tried.
    pub what: String,
    /// What happened.
    pub why: String,
}

/// A request to one node.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// Path and query, from the `/`.
    pub path: String,
    /// Headers.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Request {
    /// A request without headers and body.
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        Self { method, path: path.into(), headers: Vec::new(), body: Vec::new() }
    }

    /// The same with a header.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The same with a body.
    #[must_use]
    pub fn body(self, body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..self }
    }
}

/// An answer, or what came instead of one.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The node that was asked.
    pub node: u32,
    /// The HTTP status; 0 without an answer.
    pub status: u16,
    /// Headers, names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: Vec<u8>,
    /// How to treat the request.
    pub outcome: Outcome,
    /// The error's code, or what went wrong on the way.
    pub error: Option<String>,
}

impl Reply {
    /// A header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// The body as JSON; null when it is none.
    pub fn json(&self) -> Json {
        serde_json::from_slice(&self.body).unwrap_or(Json::Null)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Where the answer stands in its group's order.
    pub fn witness(&self) -> Option<Witness> {
        let number = |name| self.header(name)?.parse().ok();
        Some(Witness { group: number("kv-group")?, index: number("kv-index")? })
    }

    /// The completion that this answer makes, with the value still to be filled in. An answer that
    /// the caller takes for a success although its status says otherwise (a 404 to a read) has to be
    /// handled before.
    pub fn completion(&self) -> Completion {
        let error = self.error.clone().unwrap_or_default();
        let ending = match self.outcome {
            Outcome::Applied => Ending::Ok,
            Outcome::NotApplied => Ending::Fail(error),
            Outcome::Unknown => Ending::Info(error),
        };
        Completion {
            ending,
            value: crate::history::Value::Nil,
            node: Some(self.node),
            witness: self.witness(),
            extra: BTreeMap::new(),
        }
    }
}

/// All nodes of the cluster under test.
#[derive(Debug)]
pub struct Api {
    http: reqwest::Client,
    nodes: RwLock<BTreeMap<u32, String>>,
    timeout: Duration,
    run: String,
}

impl Api {
    /// Nodes by id with their base URLs; `timeout` is what each request gives the server.
    ///
    /// # Errors
    ///
    /// When the HTTP client cannot be made.
    pub fn new(nodes: BTreeMap<u32, String>, timeout: Duration) -> Result<Self, ApiError> {
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_WITHIN)
            .pool_max_idle_per_host(1024)
            .tcp_nodelay(true)
            .no_proxy()
            .build()
            .map_err(|error| ApiError { what: "the HTTP client".into(), why: error.to_string() })?;
        Ok(Self { http, nodes: RwLock::new(nodes), timeout, run: "run".into() })
    }

    /// The same with a name of this run, which no other run on the same cluster has.
    #[must_use]
    pub fn named(self, run: impl Into<String>) -> Self {
        Self { run: run.into(), ..self }
    }

    /// What no other run on this cluster uses: the name of a namespace, the start of an idempotency key.
    pub fn own(&self, what: &str) -> String {
        format!("{what}-{}", self.run)
    }

    /// Ids of the nodes.
    pub fn nodes(&self) -> Vec<u32> {
        self.nodes.read().keys().copied().collect()
    }

    /// Says where a node is reached from now on.
    pub fn moved(&self, node: u32, url: String) {
        self.nodes.write().insert(node, url);
    }

    /// A node's base URL.
    pub fn url(&self, node: u32) -> Option<String> {
        self.nodes.read().get(&node).cloned()
    }

    /// What each request gives the server, and the client a little more.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The client itself, for streams.
    pub fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// Sends a request to a node, once.
    pub async fn send(&self, node: u32, request: Request) -> Reply {
        let nothing = |outcome, error: String| Reply {
            node,
            status: 0,
            headers: BTreeMap::new(),
            body: Vec::new(),
            outcome,
            error: Some(error),
        };
        let Some(url) = self.url(node) else {
            return nothing(Outcome::NotApplied, format!("no node {node}"));
        };
        let mut sending = self
            .http
            .request(request.method.clone(), format!("{url}{}", request.path))
            .timeout(self.timeout + GRACE)
            .header("request-timeout", format!("{}ms", self.timeout.as_millis()));
        for (name, value) in &request.headers {
            sending = sending.header(*name, value);
        }
        let response = match sending.body(request.body).send().await {
            Ok(response) => response,
            // No connection, hence not a byte of the request.
            Err(error) if error.is_connect() => {
                return nothing(Outcome::NotApplied, "no-connection".into());
            }
            Err(error) => return nothing(Outcome::Unknown, broken(&error)),
        };
        let status = response.status().as_u16();
        let headers = response
            .headers()
            .iter()
            .map(|(name, value)| {
                (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
            })
            .collect();
        match response.bytes().await {
            Ok(body) => judged(node, status, headers, body.to_vec()),
            Err(error) => nothing(Outcome::Unknown, broken(&error)),
        }
    }
}

fn broken(error: &reqwest::Error) -> String {
    if error.is_timeout() { "timeout".into() } else { "connection-lost".into() }
}

fn judged(node: u32, status: u16, headers: BTreeMap<String, String>, body: Vec<u8>) -> Reply {
    let (outcome, error) = if (200..400).contains(&status) {
        (Outcome::Applied, None)
    } else {
        let problem: Json = serde_json::from_slice(&body).unwrap_or(Json::Null);
        let text = |field: &str| problem.get(field).and_then(Json::as_str).map(str::to_owned);
        // Whatever does not say that nothing happened is unknown: a 4xx without a body too.
        let outcome = match text("outcome").as_deref() {
            Some("not_applied") => Outcome::NotApplied,
            _ => Outcome::Unknown,
        };
        (outcome, Some(text("code").unwrap_or_else(|| format!("status-{status}"))))
    };
    Reply { node, status, headers, body, outcome, error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_servers_own_word_makes_a_failure_certain() {
        let reply = |status, body: &str| judged(1, status, BTreeMap::new(), body.into());
        let refused = r#"{"outcome":"not_applied","code":"unavailable"}"#;
        assert_eq!(reply(503, refused).outcome, Outcome::NotApplied);
        assert_eq!(reply(503, refused).error.as_deref(), Some("unavailable"));
        assert_eq!(reply(503, "").outcome, Outcome::Unknown);
        assert_eq!(reply(500, r#"{"outcome":"unknown"}"#).outcome, Outcome::Unknown);
        assert_eq!(reply(204, "").outcome, Outcome::Applied);
    }
}
