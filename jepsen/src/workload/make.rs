//! Requests that several workloads make in the same way.
//!
//! Promises: one request each, nothing retried, except `namespace`, which runs before any fault and
//! waits until every node answers for what it made.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value as Json, json};

use crate::api::{Api, ApiError, Outcome, Reply, Request};
use crate::workload::{Completion, Ending};

/// How often a step of the preparation is tried, and the pause between.
const TRIES: u32 = 40;
const PAUSE: Duration = Duration::from_millis(250);

/// Makes a namespace, and waits until each node knows it.
pub(super) async fn namespace(api: &Api, name: &str, mut wishes: Json) -> Result<(), ApiError> {
    if let Some(wishes) = wishes.as_object_mut() {
        wishes.insert("name".into(), json!(name));
    }
    let text = wishes.to_string();
    for node in api.nodes() {
        let request = || {
            Request::new(Method::POST, "/v1/namespaces")
                .header("content-type", "application/json")
                .body(text.clone())
        };
        // The node knows the name when it refuses to make it again.
        let known = |reply: &Reply| {
            reply.outcome == Outcome::Applied || reply.error.as_deref() == Some("namespace_exists")
        };
        until(api, node, &format!("namespace {name} at node {node}"), request, known).await?;
    }
    Ok(())
}

/// Writes a value before the test begins, at the first node.
pub(super) async fn value(api: &Api, path: &str, text: &str) -> Result<(), ApiError> {
    let node = api.nodes().first().copied().unwrap_or(1);
    let request = || Request::new(Method::PUT, path).body(text.to_owned());
    until(api, node, path, request, |reply| reply.outcome == Outcome::Applied).await
}

async fn until(
    api: &Api,
    node: u32,
    what: &str,
    request: impl Fn() -> Request,
    done: impl Fn(&Reply) -> bool,
) -> Result<(), ApiError> {
    let mut why = String::new();
    for _ in 0..TRIES {
        let reply = api.send(node, request()).await;
        if done(&reply) {
            return Ok(());
        }
        why = reply.error.unwrap_or_else(|| format!("status {}", reply.status));
        tokio::time::sleep(PAUSE).await;
    }
    Err(ApiError { what: what.to_owned(), why })
}

/// Rows of a page of a scan.
const PAGE: usize = 1_000;

/// The rows of all keys with a prefix, as one view, page by page at one node; with the last answer.
///
/// # Errors
///
/// The completion of the page that did not come.
pub(super) async fn rows(
    api: &Api,
    node: u32,
    space: &str,
    prefix: &str,
) -> Result<(Vec<Json>, Reply), Box<Completion>> {
    let prefix = prefix.replace('{', "%7B").replace('}', "%7D");
    let mut rows = Vec::new();
    let mut cursor = String::new();
    loop {
        let path = format!("/v1/ns/{space}/keys?prefix={prefix}&limit={PAGE}{cursor}");
        let reply = api.send(node, Request::new(Method::GET, path)).await;
        if reply.outcome != Outcome::Applied {
            return Err(Box::new(harmless(reply.completion())));
        }
        let mut page = reply.json();
        match page.get_mut("items").map(Json::take) {
            Some(Json::Array(items)) => rows.extend(items),
            _ => return Err(Box::new(refused(node, "not-a-page"))),
        }
        match page.get("next").and_then(Json::as_str) {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok((rows, reply)),
        }
    }
}

/// The numbers in the texts of all keys with a prefix, sorted: a read of a set.
pub(super) async fn all_numbers(api: &Api, node: u32, space: &str, prefix: &str) -> Completion {
    let (rows, reply) = match rows(api, node, space, prefix).await {
        Ok(found) => found,
        Err(completion) => return *completion,
    };
    let mut all = Vec::new();
    for row in rows {
        match row.get("value").and_then(Json::as_str).and_then(numbers) {
            Some(found) => all.extend(found),
            None => return refused(node, "not-a-list-of-numbers"),
        }
    }
    all.sort_unstable();
    Completion { value: all.into(), ..reply.completion() }
}

/// The path of a key. Keys of the harness need no escaping but for the braces of a tag.
pub(super) fn key(space: &str, key: &str) -> String {
    let key = key.replace('{', "%7B").replace('}', "%7D");
    format!("/v1/ns/{space}/keys/{key}")
}

/// A PATCH by an operation such as `{"add":1}`.
pub(super) fn operate(path: String, operation: &Json) -> Request {
    Request::new(Method::PATCH, path)
        .header("content-type", "application/kv-op+json")
        .body(operation.to_string())
}

/// A transaction.
pub(super) fn txn(space: &str, body: &Json) -> Request {
    Request::new(Method::POST, format!("/v1/ns/{space}/txn"))
        .header("content-type", "application/json")
        .body(body.to_string())
}

/// A read that got no answer had no effect, whatever became of it: to call it `fail` keeps its
/// process, and loses nothing.
pub(super) fn harmless(completion: Completion) -> Completion {
    match completion.ending {
        Ending::Info(why) => Completion { ending: Ending::Fail(why), ..completion },
        _ => completion,
    }
}

/// A certain failure for a reason of the workload's own.
pub(super) fn refused(node: u32, why: &str) -> Completion {
    Completion {
        ending: Ending::Fail(why.to_owned()),
        value: crate::history::Value::Nil,
        node: Some(node),
        witness: None,
        extra: std::collections::BTreeMap::new(),
    }
}

/// Whether the answer says that the key does not exist, which is a good answer to a read.
pub(super) fn absent(reply: &Reply) -> bool {
    reply.status == 404 && reply.error.as_deref() == Some("key_not_found")
}

/// The numbers of a text such as `3,5,8,`. `None` when it is no such text.
pub(super) fn numbers(text: &str) -> Option<Vec<i64>> {
    text.split_terminator(',').map(|part| part.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_back_as_it_was_appended() {
        assert_eq!(numbers("3,5,8,"), Some(vec![3, 5, 8]));
        assert_eq!(numbers(""), Some(vec![]));
        assert_eq!(numbers("3,x,"), None);
    }
}
