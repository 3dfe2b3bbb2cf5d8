//! One client that watches: where it stands, and one connection of it.
//!
//! Promises: what it counts as handled is exactly what its next cursor stands behind. A connection
//! that breaks is an end like any other: what came before it counts, a torn line does not.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::Value as Json;

use super::super::finding::int;
use super::super::place::Place;
use super::super::{Completion, Ending};
use crate::api::Api;
use crate::clock::Clock;
use crate::history::Value;

/// How long one connection of a test lasts.
const FOLLOW_FOR: Duration = Duration::from_millis(1500);
/// How long the last one may take to bring everything.
const DRAIN_FOR: Duration = Duration::from_secs(40);
/// Longest wait for an answer's head.
const HEAD_WITHIN: Duration = Duration::from_secs(7);

/// What one connection is for.
#[derive(Debug)]
pub(super) struct Task<'a> {
    /// Counts the lives of all watchers.
    pub(super) lives: &'a AtomicU64,
    /// Follow until these indices of the groups were seen.
    pub(super) until: Option<BTreeMap<u64, u64>>,
    /// So many events at its end are not handled.
    pub(super) forgets: usize,
}

/// Where a watcher stands.
#[derive(Debug)]
pub(super) struct Watcher {
    thread: u64,
    life: u64,
    cursor: Option<String>,
    /// The highest index handled, by group.
    seen: BTreeMap<u64, u64>,
}

/// What one connection brought.
#[derive(Debug, Default)]
struct Catch {
    events: Vec<(Value, String, (u64, u64))>,
    /// The cursor of a bookmark behind all events.
    bookmark: Option<String>,
    ended: String,
    synced: bool,
}

impl Watcher {
    /// One that has seen nothing.
    pub(super) fn new(thread: u64, lives: &AtomicU64) -> Self {
        let life = lives.fetch_add(1, Ordering::Relaxed);
        Self { thread, life, cursor: None, seen: BTreeMap::new() }
    }

    /// The kinds take turns: from the oldest change, from now, from a view.
    fn begin(&self) -> &'static str {
        match (&self.cursor, (self.thread / 4) % 3) {
            (Some(_), _) => "cursor",
            (None, 0) => "start",
            (None, 1) => "now",
            (None, _) => "initial",
        }
    }

    fn path(&self, place: &Place) -> String {
        let begin = match self.begin() {
            "cursor" => format!("since={}", self.cursor.as_deref().unwrap_or_default()),
            "initial" => "initial=1".to_owned(),
            other => format!("since={other}"),
        };
        place.under(&format!("watch?prefix=k&prev=1&{begin}"))
    }

    /// One connection, and what the history says about it.
    pub(super) async fn follow(
        &mut self,
        api: &Api,
        node: u32,
        place: &Place,
        task: Task<'_>,
    ) -> Completion {
        let begin = self.begin();
        let mut extra = BTreeMap::from([
            ("begin".to_owned(), Value::from(begin)),
            ("life".to_owned(), int(self.life)),
            ("watcher".to_owned(), int(self.thread)),
        ]);
        let mut completion = |ending, value, more: Vec<(&str, Value)>| {
            extra.extend(more.into_iter().map(|(name, value)| (name.to_owned(), value)));
            let extra = std::mem::take(&mut extra);
            Completion { ending, value, node: Some(node), witness: None, extra }
        };
        let catch = match self.catch(api, node, place, &task).await {
            Ok(catch) => catch,
            Err((code, restart)) => {
                // What is gone is gone, and says so: the watcher begins a new life behind the gap.
                if ["history_trimmed", "view_gone"].contains(&code.as_str()) {
                    *self = Self { cursor: restart, ..Self::new(self.thread, task.lives) };
                }
                return completion(Ending::Fail(code), Value::Nil, Vec::new());
            }
        };
        let kept = catch.events.len().saturating_sub(task.forgets);
        self.keep(&catch, kept);
        let reached = task.until.as_ref().is_none_or(|until| self.reached(until));
        let more = vec![
            ("kept", int(u64::try_from(kept).unwrap_or(u64::MAX))),
            ("ended", Value::from(catch.ended)),
            ("synced", catch.synced.into()),
            ("reached", reached.into()),
        ];
        let events = catch.events.into_iter().map(|(event, ..)| event);
        completion(Ending::Ok, Value::list(events), more)
    }

    fn keep(&mut self, catch: &Catch, kept: usize) {
        for (_, cursor, (group, index)) in catch.events.iter().take(kept) {
            self.cursor = Some(cursor.clone());
            let highest = self.seen.entry(*group).or_default();
            *highest = (*index).max(*highest);
        }
        if kept == catch.events.len()
            && let Some(bookmark) = &catch.bookmark
        {
            self.cursor = Some(bookmark.clone());
        }
    }

    fn reached(&self, until: &BTreeMap<u64, u64>) -> bool {
        until.iter().all(|(group, index)| self.seen.get(group).is_some_and(|seen| seen >= index))
    }

    /// Reads a connection to its end. The error is a code, and where to begin again.
    async fn catch(
        &self,
        api: &Api,
        node: u32,
        place: &Place,
        task: &Task<'_>,
    ) -> Result<Catch, (String, Option<String>)> {
        let url = api.url(node).ok_or_else(|| ("no such node".to_owned(), None))?;
        let request = api
            .http()
            .get(format!("{url}{}", self.path(place)))
            .header("accept", "application/x-ndjson");
        let mut response = match tokio::time::timeout(HEAD_WITHIN, request.send()).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) if error.is_connect() => return Err(("no-connection".into(), None)),
            Ok(Err(_)) => return Err(("connection-lost".into(), None)),
            Err(_) => return Err(("timeout".into(), None)),
        };
        if !response.status().is_success() {
            let status = response.status().as_u16();
            let body = tokio::time::timeout(HEAD_WITHIN, response.bytes()).await;
            let body = body.ok().and_then(Result::ok).unwrap_or_default();
            let problem: Json = serde_json::from_slice(&body).unwrap_or(Json::Null);
            let text = |name: &str| problem.get(name).and_then(Json::as_str).map(str::to_owned);
            return Err((
                text("code").unwrap_or_else(|| format!("status-{status}")),
                text("restart"),
            ));
        }
        let mut catch = Catch::default();
        let clock = Clock::default();
        let longest = if task.until.is_some() { DRAIN_FOR } else { FOLLOW_FOR };
        let mut line = Vec::new();
        let mut seen = self.seen.clone();
        while catch.ended.is_empty() {
            let left = longest.saturating_sub(Duration::from_nanos(clock.now()));
            let chunk = match tokio::time::timeout(left, response.chunk()).await {
                Ok(Ok(Some(chunk))) => chunk,
                Ok(Ok(None)) => {
                    catch.ended = "closed".into();
                    break;
                }
                Ok(Err(_)) => {
                    catch.ended = "cut".into();
                    break;
                }
                Err(_) => {
                    catch.ended = "enough".into();
                    break;
                }
            };
            for byte in chunk {
                if byte == b'\n' {
                    catch.take(&line, &mut seen);
                    line.clear();
                } else {
                    line.push(byte);
                }
            }
            let complete = |until: &BTreeMap<u64, u64>| {
                until.iter().all(|(group, index)| seen.get(group).is_some_and(|s| s >= index))
            };
            if task.until.as_ref().is_some_and(complete) {
                catch.ended = "drained".into();
            }
        }
        Ok(catch)
    }
}

impl Catch {
    fn take(&mut self, line: &[u8], seen: &mut BTreeMap<u64, u64>) {
        let Ok(event) = serde_json::from_slice::<Json>(line) else { return };
        let text = |name: &str| event.get(name).and_then(Json::as_str);
        let number = |name: &str| event.get(name).and_then(Json::as_u64);
        let cursor = text("cursor").unwrap_or_default().to_owned();
        let kind = text("type").unwrap_or("end");
        match kind {
            "bookmark" => self.bookmark = Some(cursor),
            "synced" => {
                self.synced = true;
                self.bookmark = (!cursor.is_empty()).then_some(cursor);
            }
            "put" | "delete" | "expire" => {
                let initial = event.get("initial").and_then(Json::as_bool) == Some(true);
                let (group, index) = (number("group").unwrap_or(0), number("index").unwrap_or(0));
                let previous = event.pointer("/previous/value").and_then(Json::as_str);
                let shown = Value::list([
                    Value::from(if initial { "initial" } else { kind }),
                    int(group),
                    int(index),
                    int(number("seq").unwrap_or(0)),
                    Value::from(text("key").unwrap_or_default()),
                    text("value").into(),
                    previous.into(),
                ]);
                let highest = seen.entry(group).or_default();
                *highest = index.max(*highest);
                self.events.push((shown, cursor, (group, index)));
                self.bookmark = None;
            }
            _ => {
                self.ended = text("reason").or_else(|| text("code")).unwrap_or("ended").to_owned();
            }
        }
    }
}
