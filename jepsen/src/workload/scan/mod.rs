//! Pages and streams of scans, while transactions change several keys at once.
//!
//! Why it exists: all pages of one cursor, and all lines of one stream, are promised to be of one view.
//! Promises: the writers change all keys of a tag in one transaction, so that a scan that mixes two
//! states shows it; the pages of one scan are asked from one node after the other. Even tags live in a
//! `spread` namespace, odd ones in an `ordered` one.
//!
//! Operations: `put [tag n]` and `delete [tag nil]` for all keys of a tag; `pages [space size]` and
//! `stream [space nil]` -> `[[key n group index] ...]` with extras `view` (list of those of the pages)
//! and `after-first-ns` (time from the first page to the end). Space 0 is spread, 1 is ordered.

mod check;

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use reqwest::Method;
use serde_json::{Value as Json, json};

use super::finding::{int, place_of};
use super::place::{Place, foreign, harmless};
use super::{Asker, Completion, Ending, Task, Workload};
use crate::api::{Api, ApiError, Reply, Request};
use crate::checker::Checker;
use crate::clock::Clock;
use crate::history::Value;

/// How many tags there are, over both namespaces.
const TAGS: i64 = 16;
/// Keys of a tag.
const KEYS: i64 = 4;
/// Pages of a scan at most: all keys in the smallest pages, and some.
const PAGES_MAX: usize = 80;
/// Between the pages of a scan, so that writers get in between.
const BETWEEN_PAGES: Duration = Duration::from_millis(10);

/// The workload.
#[derive(Debug)]
pub struct Scan {
    spread: Place,
    ordered: Place,
    next_number: Mutex<i64>,
}

impl Default for Scan {
    fn default() -> Self {
        Self {
            spread: Place::spread("scan"),
            ordered: Place::ordered("scan-ordered"),
            next_number: Mutex::default(),
        }
    }
}

/// A key of a tag.
fn key(tag: i64, place: i64) -> String {
    format!("{{t{tag:03}}}k{place}")
}

/// What a scan brought so far.
#[derive(Debug, Default)]
struct Found {
    items: Vec<Value>,
    views: Vec<Value>,
    first: Option<u64>,
}

impl Found {
    fn take(&mut self, item: &Json) {
        let text = |name: &str| item.get(name).and_then(Json::as_str);
        let place = text("etag").and_then(place_of);
        let number = text("value").and_then(|value| value.parse::<i64>().ok());
        self.items.push(Value::list([
            text("key").into(),
            number.into(),
            place.map_or(Value::Nil, |(group, _)| int(group)),
            place.map_or(Value::Nil, |(_, index)| int(index)),
        ]));
    }

    fn completion(self, node: u32, clock: &Clock) -> Completion {
        let after = clock.now().saturating_sub(self.first.unwrap_or(0));
        let extra = BTreeMap::from([
            ("view".to_owned(), Value::List(self.views)),
            ("after-first-ns".to_owned(), int(after)),
        ]);
        Completion {
            ending: Ending::Ok,
            value: Value::List(self.items),
            node: Some(node),
            witness: None,
            extra,
        }
    }
}

impl Scan {
    fn space(&self, number: i64) -> &Place {
        if number % 2 == 0 { &self.spread } else { &self.ordered }
    }

    async fn write(&self, api: &Api, node: u32, task: &Task) -> Option<Completion> {
        let (tag, number) = task.value.as_keyed()?;
        let tag = tag.as_int()?;
        let operation = |place| match number.as_int() {
            Some(number) => json!({ "put": key(tag, place), "value": number.to_string() }),
            None => json!({ "delete": key(tag, place) }),
        };
        let body = json!({ "then": (0..KEYS).map(operation).collect::<Vec<_>>() });
        let path = self.space(tag).under("txn");
        let request = Request::new(Method::POST, path).body(body.to_string());
        let mut completion = api.send(node, request).await.completion();
        completion.value = task.value.clone();
        Some(completion)
    }

    async fn pages(&self, api: &Api, node: u32, place: &Place, size: i64) -> Completion {
        let nodes = api.nodes();
        let clock = Clock::default();
        let mut found = Found::default();
        let mut cursor = String::new();
        for turn in 0..PAGES_MAX {
            let start = usize::try_from(node).unwrap_or(0);
            let asked = nodes.get((start + turn) % nodes.len().max(1)).copied().unwrap_or(node);
            let path = place.under(&format!("keys?prefix=%7Bt&limit={size}{cursor}"));
            let reply = api.send(asked, Request::new(Method::GET, path)).await;
            if reply.status != 200 {
                return harmless(reply.completion());
            }
            let page = reply.json();
            found.first.get_or_insert_with(|| clock.now());
            let items = page.get("items").and_then(Json::as_array);
            items.into_iter().flatten().for_each(|item| found.take(item));
            found.views.push(page.get("view").and_then(Json::as_str).into());
            let Some(next) = page.get("next").and_then(Json::as_str) else {
                return found.completion(node, &clock);
            };
            cursor = format!("&cursor={next}");
            tokio::time::sleep(BETWEEN_PAGES).await;
        }
        Completion {
            ending: Ending::Fail("a scan without an end".into()),
            ..found.completion(node, &clock)
        }
    }

    async fn stream(&self, api: &Api, node: u32, place: &Place) -> Completion {
        let clock = Clock::default();
        let request = Request::new(Method::GET, place.under("keys?prefix=%7Bt"))
            .header("accept", "application/x-ndjson");
        let reply: Reply = api.send(node, request).await;
        if reply.status != 200 {
            return harmless(reply.completion());
        }
        let mut found = Found { first: Some(clock.now()), ..Found::default() };
        for line in reply.text().lines() {
            let Ok(item) = serde_json::from_str::<Json>(line) else { break };
            if item.get("end").is_some() {
                return found.completion(node, &clock);
            }
            let broken = item.get("code").or_else(|| item.get("error")).is_some();
            if broken && item.get("key").is_none() {
                break;
            }
            found.take(&item);
        }
        Completion {
            ending: Ending::Fail("the stream did not come to its end".into()),
            ..found.completion(node, &clock)
        }
    }
}

#[async_trait]
impl Workload for Scan {
    fn name(&self) -> &'static str {
        "scan"
    }

    async fn prepare(&self, api: &Api) -> Result<(), ApiError> {
        self.spread.make(api).await?;
        self.ordered.make(api).await
    }

    fn next(&self, asker: Asker, rng: &mut fastrand::Rng) -> Option<Task> {
        let task = |f: &str, value| Some(Task { f: f.into(), value });
        if asker.thread % 2 == 1 {
            let space = rng.i64(0..2);
            return if rng.u8(..4) == 0 {
                task("stream", Value::keyed(space, Value::Nil))
            } else {
                task("pages", Value::keyed(space, rng.i64(3..20)))
            };
        }
        let tag = rng.i64(0..TAGS);
        if rng.u8(..6) == 0 {
            return task("delete", Value::keyed(tag, Value::Nil));
        }
        let mut next = self.next_number.lock();
        *next += 1;
        task("put", Value::keyed(tag, *next))
    }

    async fn invoke(&self, api: &Api, node: u32, _: Asker, task: &Task) -> Completion {
        let Some((space, size)) = task.value.as_keyed() else { return foreign(node, task) };
        let place = self.space(space.as_int().unwrap_or(0));
        match task.f.as_str() {
            "pages" => self.pages(api, node, place, size.as_int().unwrap_or(10)).await,
            "stream" => self.stream(api, node, place).await,
            _ => match self.write(api, node, task).await {
                Some(completion) => completion,
                None => foreign(node, task),
            },
        }
    }

    fn last(&self, _: u64) -> Vec<(u64, Task)> {
        let each = |space: i64| {
            let page = Task { f: "pages".into(), value: Value::keyed(space, 7) };
            let stream = Task { f: "stream".into(), value: Value::keyed(space, Value::Nil) };
            [(1, page), (1, stream)]
        };
        (0..2).flat_map(each).collect()
    }

    fn checkers(&self) -> Vec<Box<dyn Checker>> {
        vec![Box::new(check::ScanChecker)]
    }

    fn needed(&self) -> Vec<(&'static str, u64)> {
        vec![("put", 20), ("delete", 3), ("pages", 5)]
    }
}
