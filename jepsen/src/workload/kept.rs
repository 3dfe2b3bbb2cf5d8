//! Requests and answers of registers that are read with a chosen freshness.
//!
//! Why it exists: `sessions`, `stale` and `register-stale` send the same requests and note the same
//! facts of the answers. Promises: the age that an answer says is noted as it is said: a number of
//! milliseconds, or nothing when it is unknown.

use reqwest::Method;

use super::finding::int;
use super::place::{Place, harmless};
use super::{Completion, Ending, Task};
use crate::api::{Reply, Request};
use crate::history::Value;

/// The key of a register.
pub(crate) fn path(place: &Place, task: &Task) -> Option<String> {
    let (key, _) = task.value.as_keyed()?;
    Some(place.key(&format!("r{}", key.as_int()?)))
}

/// `write [key value]`, or a `read` with these parameters.
pub(crate) fn request(place: &Place, task: &Task, read: &str) -> Option<Request> {
    let path = path(place, task)?;
    let (_, value) = task.value.as_keyed()?;
    Some(match value.as_int() {
        Some(value) if task.f == "write" => Request::new(Method::PUT, path).body(value.to_string()),
        _ => Request::new(Method::GET, format!("{path}?{read}")),
    })
}

/// The completion of such a request: `[key value]`, and `etag`, `age-ms`, `read` of the answer.
pub(crate) fn completion(task: &Task, reply: &Reply) -> Completion {
    let mut completion = reply.completion();
    completion.value = task.value.clone();
    let absent = reply.error.as_deref() == Some("key_not_found");
    if task.f == "read" && (completion.ending == Ending::Ok || absent) {
        completion.ending = Ending::Ok;
        let key = task.value.as_keyed().map(|(key, _)| key.clone()).unwrap_or_default();
        let value = if absent { None } else { reply.text().parse::<i64>().ok() };
        completion.value = Value::keyed(key, value);
    } else if task.f == "read" {
        completion = harmless(completion);
    }
    if let Some(etag) = reply.header("etag").filter(|_| !absent) {
        completion.extra.insert("etag".into(), etag.into());
    }
    if let Some(read) = reply.header("kv-read") {
        completion.extra.insert("read".into(), read.into());
        let age = read.split("age-ms=").nth(1).and_then(|age| age.trim().parse().ok());
        completion.extra.extend(age.map(|age| ("age-ms".to_owned(), int(age))));
    }
    completion
}
