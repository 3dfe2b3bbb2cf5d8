//! The namespace that a workload makes for itself.
//!
//! Why it exists: several tests run against one cluster, and what one left behind must not be judged
//! by the next. Promises: every run gets a name of its own, and when `make` returned, every node
//! knows the namespace. Relies on: nothing being broken yet.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use super::{Completion, Ending, Task};
use crate::api::{Api, ApiError, Request};

/// Tries until a phase without faults is called broken, each a pause apart.
const TRIES: u32 = 150;
/// Between two tries.
pub(crate) const PAUSE: Duration = Duration::from_millis(200);

/// One namespace, named when it is made.
#[derive(Debug)]
pub(crate) struct Place {
    stem: &'static str,
    layout: &'static str,
    name: OnceLock<String>,
}

impl Place {
    /// A `spread` namespace.
    pub(crate) fn spread(stem: &'static str) -> Self {
        Self { stem, layout: "spread", name: OnceLock::new() }
    }

    /// An `ordered` namespace.
    pub(crate) fn ordered(stem: &'static str) -> Self {
        Self { stem, layout: "ordered", name: OnceLock::new() }
    }

    /// Its name: the stem and a number that no other run has.
    pub(crate) fn name(&self) -> &str {
        self.name.get_or_init(|| format!("{}-{:016x}", self.stem, fastrand::Rng::new().u64(..)))
    }

    /// Makes it and waits until every node knows it.
    pub(crate) async fn make(&self, api: &Api) -> Result<(), ApiError> {
        make(api, self.name(), self.layout).await
    }

    /// The path of a key; the key must need no escaping.
    pub(crate) fn key(&self, key: &str) -> String {
        format!("/v1/ns/{}/keys/{key}", self.name())
    }

    /// A path below the namespace, such as `txn`, `watch?prefix=k`.
    pub(crate) fn under(&self, rest: &str) -> String {
        format!("/v1/ns/{}/{rest}", self.name())
    }
}

/// The completion of a request that changes nothing: without an answer it certainly did nothing.
pub(crate) fn harmless(mut completion: Completion) -> Completion {
    if let Ending::Info(why) = completion.ending {
        completion.ending = Ending::Fail(why);
    }
    completion
}

/// The completion of a task that a workload never gives.
pub(crate) fn foreign(node: u32, task: &Task) -> Completion {
    Completion {
        ending: Ending::Fail("not a task of this workload".into()),
        value: task.value.clone(),
        node: Some(node),
        witness: None,
        extra: BTreeMap::new(),
    }
}

/// Makes a namespace of this name and layout.
async fn make(api: &Api, name: &str, layout: &str) -> Result<(), ApiError> {
    let body = json!({ "name": name, "layout": layout });
    let once = format!("make-{name}");
    let nodes = api.nodes();
    patiently(api, "making a namespace", |turn| {
        let node = nodes.get(turn % nodes.len().max(1)).copied().unwrap_or(1);
        let request = Request::new(Method::POST, "/v1/namespaces")
            .header("idempotency-key", once.clone())
            .body(body.to_string());
        (node, request)
    })
    .await?;
    for node in nodes {
        patiently(api, "seeing a new namespace", |_| {
            (node, Request::new(Method::GET, format!("/v1/namespaces/{name}")))
        })
        .await?;
    }
    Ok(())
}

/// Sends a request that may be repeated until it is answered well.
pub(crate) async fn patiently(
    api: &Api,
    what: &str,
    mut asked: impl FnMut(usize) -> (u32, Request) + Send,
) -> Result<crate::api::Reply, ApiError> {
    let mut why = String::new();
    for turn in 0..TRIES {
        let (node, request) = asked(usize::try_from(turn).unwrap_or(0));
        let reply = api.send(node, request).await;
        if (200..300).contains(&reply.status) {
            return Ok(reply);
        }
        why = format!("node {node}: {} {}", reply.status, reply.error.unwrap_or_default());
        tokio::time::sleep(PAUSE).await;
    }
    Err(ApiError { what: what.to_owned(), why })
}
