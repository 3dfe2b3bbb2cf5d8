//! Requests to eventual namespaces, and what the history keeps of the answers.
//!
//! Promises: a key that is missing is a good answer to a read, and to a deletion. The questions of the
//! end are asked until they can be answered, within a bound; what is not reached then is told as it is.
//! Relies on the bodies that `docs/api.md` describes.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Method;
use serde_json::{Value as Json, json};
use tokio::time::Instant;

use crate::api::{Api, ApiError, Outcome, Reply, Request};
use crate::history::Value;
use crate::workload::finding::int;
use crate::workload::place::{PAUSE, patiently};
use crate::workload::{Completion, Ending, make};

/// How long nodes that can hear each other may take to become equal.
const EQUAL_WITHIN: Duration = Duration::from_secs(60);
/// How long losses may stay open when all nodes hear each other: some beats.
const FINAL_WITHIN: Duration = Duration::from_secs(25);
/// Requests at a time when many are asked.
const AT_A_TIME: usize = 16;
/// Conflicts of a page.
const PAGE: usize = 500;

/// Makes a namespace and waits until every node serves it.
pub(crate) async fn make(api: &Api, name: &str, data_type: &str) -> Result<(), ApiError> {
    make::namespace(api, name, json!({ "mode": "eventual", "type": data_type })).await?;
    for node in api.nodes() {
        let path = format!("/v1/ns/{name}/keys?limit=1");
        patiently(api, "reading a new eventual namespace", |_| {
            (node, Request::new(Method::GET, path.clone()))
        })
        .await?;
    }
    Ok(())
}

/// Reads a key.
pub(crate) async fn get(api: &Api, node: u32, space: &str, key: &str) -> Reply {
    api.send(node, Request::new(Method::GET, make::key(space, key))).await
}

/// Sets a key; with what the writer had been shown, if it says so.
pub(crate) fn put(space: &str, key: &str, body: String, context: Option<&str>) -> Request {
    let request = Request::new(Method::PUT, make::key(space, key)).body(body);
    match context {
        Some(context) => request.header("kv-context", context),
        None => request,
    }
}

/// Deletes a key.
pub(crate) fn delete(space: &str, key: &str) -> Request {
    Request::new(Method::DELETE, make::key(space, key))
}

/// Changes a key by an operation.
pub(crate) fn operate(space: &str, key: &str, operation: &Json) -> Request {
    make::operate(make::key(space, key), operation)
}

/// Changes a key by a merge patch.
pub(crate) fn merge(space: &str, key: &str, patch: &Json) -> Request {
    Request::new(Method::PATCH, make::key(space, key))
        .header("content-type", "application/merge-patch+json")
        .body(patch.to_string())
}

/// Whether the answer is one: something, or certainly nothing.
pub(crate) fn answered(reply: &Reply) -> bool {
    reply.outcome == Outcome::Applied || make::absent(reply)
}

/// The completion of a write of which a missing key is no failure.
pub(crate) fn written(reply: &Reply, value: Value) -> Completion {
    let mut completion = Completion { value, ..reply.completion() };
    if make::absent(reply) {
        completion.ending = Ending::Ok;
    }
    keep_receipt(&mut completion, reply);
    completion
}

/// The completion of a read: without an answer it had no effect.
pub(crate) fn read(reply: &Reply, value: Value) -> Completion {
    let mut completion = make::harmless(reply.completion());
    if answered(reply) {
        completion.ending = Ending::Ok;
    }
    completion.value = value;
    completion
}

fn keep_receipt(completion: &mut Completion, reply: &Reply) {
    if let Some(receipt) = reply.header("kv-receipt") {
        completion.extra.insert("receipt".into(), receipt.into());
    }
}

/// All whole numbers in what a key holds: of siblings their values', of a document its leaves', but
/// for those below the names that are left out.
pub(crate) fn numbers(reply: &Reply, without: &[&str]) -> Vec<i64> {
    let mut found = Vec::new();
    if reply.status == 300 {
        let body = reply.json();
        let siblings = body.get("siblings").and_then(Json::as_array);
        for sibling in siblings.into_iter().flatten() {
            found.extend(sibling.get("value").and_then(Json::as_str).and_then(leading));
        }
    } else if reply.status == 200 {
        match serde_json::from_slice(&reply.body) {
            Ok(body) => gather(&body, without, &mut found),
            Err(_) => found.extend(leading(&reply.text())),
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

fn gather(body: &Json, without: &[&str], found: &mut Vec<i64>) {
    match body {
        Json::Number(number) => found.extend(number.as_i64()),
        Json::String(text) => found.extend(leading(text)),
        Json::Array(items) => items.iter().for_each(|item| gather(item, without, found)),
        Json::Object(members) => {
            let wanted = members.iter().filter(|(name, _)| !without.contains(&name.as_str()));
            wanted.for_each(|(_, member)| gather(member, without, found));
        }
        Json::Null | Json::Bool(_) => {}
    }
}

/// The number that a text begins with; what follows is ballast.
fn leading(text: &str) -> Option<i64> {
    text.split(' ').next()?.parse().ok()
}

/// Waits until a node says that all have the same, for a bounded time since `began`: `[node type state]`.
pub(crate) async fn converged(
    api: &Api,
    node: u32,
    (space, data_type): (&str, &str),
    began: Instant,
) -> Completion {
    let path = format!("/v1/ns/{space}/convergence");
    loop {
        let reply = api.send(node, Request::new(Method::GET, path.clone())).await;
        let body = reply.json();
        let state = body.get("state").and_then(Json::as_str).unwrap_or_default().to_owned();
        let members = body.get("members").and_then(Json::as_array).cloned().unwrap_or_default();
        let whole = members.iter().all(|member| member.get("reachable") == Some(&json!(true)));
        let good = state == "converged" && whole && !members.is_empty();
        if good || began.elapsed() > EQUAL_WITHIN {
            let mut completion = make::harmless(reply.completion());
            completion.value = seen_at(node, data_type, [Value::from(state)]);
            let digest = |member: &Json| {
                let digest = member.get("digest").and_then(Json::as_str).unwrap_or("none");
                Value::list([member.get("node").and_then(Json::as_i64).into(), digest.into()])
            };
            completion.extra.insert("members".into(), Value::list(members.iter().map(digest)));
            let took = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
            completion.extra.insert("took-ms".into(), int(took));
            if !good {
                completion.extra.insert("said".into(), reply.text().into());
            }
            return completion;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// What the history has of something that a node was asked at the end: `[node type rest…]`.
pub(crate) fn seen_at(node: u32, data_type: &str, rest: impl IntoIterator<Item = Value>) -> Value {
    let mut items = vec![Value::Int(i64::from(node)), data_type.into()];
    items.extend(rest);
    Value::List(items)
}

/// What each of these keys is at a node, and which keys it lists: `[node type [[key text] …] [key …]]`.
pub(crate) async fn rows(
    api: &Api,
    node: u32,
    (space, data_type): (&str, &str),
    keys: Vec<String>,
) -> Completion {
    let (listed, reply) = match make::rows(api, node, space, "").await {
        Ok(found) => found,
        Err(completion) => return *completion,
    };
    let mut rows = BTreeMap::new();
    let mut asked = stream::iter(keys)
        .map(|key| async move { (get(api, node, space, &key).await, key) })
        .buffer_unordered(AT_A_TIME);
    while let Some((reply, key)) = asked.next().await {
        if !answered(&reply) {
            return make::harmless(reply.completion());
        }
        let shown = if make::absent(&reply) { String::new() } else { reply.text() };
        let headers = ["etag", "kv-receipt", "kv-partial"];
        let headers = headers.map(|name| reply.header(name).unwrap_or("-").to_owned());
        rows.insert(key, format!("{} {} {shown}", reply.status, headers.join(" ")));
    }
    drop(asked);
    let names = listed.iter().filter_map(|row| row.get("key").and_then(Json::as_str));
    let names = Value::list(names.map(Value::from));
    let rows = Value::list(rows.into_iter().map(|(key, text)| Value::keyed(key, text)));
    Completion { value: seen_at(node, data_type, [rows, names]), ..reply.completion() }
}

/// What became of writes to a key, as a node says: `[node key [[receipt fate by final] …]]`.
pub(crate) async fn fates(
    api: &Api,
    node: u32,
    (space, key): (&str, &str),
    receipts: Vec<String>,
) -> Completion {
    let mut found = BTreeMap::new();
    let mut last = None;
    let mut asked = stream::iter(receipts)
        .map(|receipt| async move {
            let path = format!("/v1/ns/{space}/receipts/{}?key={key}", escaped(&receipt));
            (api.send(node, Request::new(Method::GET, path)).await, receipt)
        })
        .buffer_unordered(AT_A_TIME);
    while let Some((reply, receipt)) = asked.next().await {
        if reply.outcome != Outcome::Applied {
            return make::harmless(reply.completion());
        }
        let body = reply.json();
        let text = |name: &str| body.get(name).and_then(Json::as_str).map(str::to_owned);
        let is_final = body.get("final").and_then(Json::as_bool).unwrap_or(false);
        let fate = Value::list([
            Value::from(receipt.clone()),
            text("fate").into(),
            text("by").into(),
            is_final.into(),
        ]);
        found.insert(receipt, fate);
        last = Some(reply);
    }
    drop(asked);
    let fates = Value::List(found.into_values().collect());
    ended(node, last, seen_at(node, key, [fates]))
}

/// All writes that a node has on record as lost: `[node type [[receipt key value by] …]]`.
pub(crate) async fn conflicts(api: &Api, node: u32, space: &str, data_type: &str) -> Completion {
    let mut found = Vec::new();
    let mut cursor = String::new();
    loop {
        let path = format!("/v1/ns/{space}/conflicts?limit={PAGE}{cursor}");
        let reply = api.send(node, Request::new(Method::GET, path)).await;
        if reply.outcome != Outcome::Applied {
            return make::harmless(reply.completion());
        }
        let body = reply.json();
        let Some(page) = body.get("conflicts").and_then(Json::as_array) else {
            return make::refused(node, "not-a-page");
        };
        for conflict in page {
            let text = |name: &str| {
                Value::from(conflict.get(name).and_then(Json::as_str).map(str::to_owned))
            };
            found.push(Value::list([text("receipt"), text("key"), text("value"), text("by")]));
        }
        match body.get("next").and_then(Json::as_str).filter(|_| !page.is_empty()) {
            Some(next) => cursor = format!("&cursor={}", escaped(next)),
            None => {
                let value = seen_at(node, data_type, [Value::List(found)]);
                return Completion { value, ..reply.completion() };
            }
        }
    }
}

/// How many writes a node says were lost, once none is open any more: `[node type lost effective
/// pending]`.
pub(crate) async fn totals(api: &Api, node: u32, space: &str, data_type: &str) -> Completion {
    let began = Instant::now();
    let path = format!("/v1/ns/{space}/conflicts/totals");
    loop {
        let reply = api.send(node, Request::new(Method::GET, path.clone())).await;
        let body = reply.json();
        let number = |name: &str| body.get(name).and_then(Json::as_i64);
        let settled = number("pending") == Some(0);
        if settled || began.elapsed() > FINAL_WITHIN {
            let [lost, effective, pending] = ["lost", "effective", "pending"].map(number);
            let value = seen_at(node, data_type, [lost.into(), effective.into(), pending.into()]);
            return Completion { value, ..make::harmless(reply.completion()) };
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// The sum of all figures of a node whose name contains a text.
pub(crate) async fn figure(api: &Api, node: u32, part: &str) -> u64 {
    let reply = api.send(node, Request::new(Method::GET, "/metrics")).await;
    let text = reply.text();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let values = lines.filter_map(|line| {
        let (name, value) = line.rsplit_once(' ')?;
        let name = name.split('{').next()?;
        name.contains(part).then(|| value.split('.').next()?.parse::<u64>().ok()).flatten()
    });
    values.sum()
}

fn ended(node: u32, last: Option<Reply>, value: Value) -> Completion {
    match last {
        Some(reply) => Completion { value, ..reply.completion() },
        None => Completion {
            ending: Ending::Ok,
            value,
            node: Some(node),
            witness: None,
            extra: BTreeMap::new(),
        },
    }
}

/// A text within a path.
pub(crate) fn escaped(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(status: u16, body: &str) -> Reply {
        Reply {
            node: 1,
            status,
            headers: BTreeMap::new(),
            body: body.into(),
            outcome: Outcome::Applied,
            error: None,
        }
    }

    #[test]
    fn numbers_are_found_in_values_siblings_sets_and_documents() {
        assert_eq!(numbers(&reply(200, "17"), &[]), [17]);
        assert_eq!(numbers(&reply(200, "17 xxxx"), &[]), [17]);
        assert_eq!(numbers(&reply(200, r#"["3","1"]"#), &[]), [1, 3]);
        assert_eq!(numbers(&reply(200, r#"{"a":4,"b":{"c":["5"]},"n":9}"#), &["n"]), [4, 5]);
        let siblings =
            r#"{"etag":"\"1-2\"","siblings":[{"value":"8","receipt":"1.2.3.4"},{"value":"7"}]}"#;
        assert_eq!(numbers(&reply(300, siblings), &[]), [7, 8]);
        assert_eq!(numbers(&reply(404, "17"), &[]), [0_i64; 0]);
    }
}
