//! `idempotency`: requests are repeated, at other nodes and after failovers, and are done once.
//!
//! Why it exists: a repeat is what every client does after a timeout; that it is safe is a promise that
//! only holds if the table of results survives elections, restarts and snapshots. Each request appends
//! its own number to a text under an `Idempotency-Key`; `repeat` sends an old one again, wherever the
//! thread happens to be; `clash` sends another request under the same key, which must be refused.
//!
//! Promises: repeats go back at most ten minutes, since the API keeps results for fifteen. The answer
//! carries `etag`, `length` (how many numbers the text had then) and `replayed`.

use std::collections::VecDeque;

use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::json;

use super::make;
use crate::api::{Api, ApiError, Outcome};
use crate::checker::Checker;
use crate::checker::once::Once;
use crate::clock::Clock;
use crate::history::Value;
use crate::workload::{Asker, Completion, Ending, Task, Workload};

/// Texts in use at a time.
const ACTIVE: i64 = 16;
/// Numbers of a text.
const TEXT: i64 = 50;
/// How far back repeats go: far fewer than the 65,536 results that a group keeps, and
const REMEMBERED: usize = 20_000;
/// no longer ago than this, in nanoseconds.
const OLDEST: u64 = 600 * 1_000_000_000;
/// Nodes that are read at the end, at most.
const READERS: u64 = 7;

#[derive(Debug, Default)]
struct State {
    made: i64,
    /// Requests that can be repeated, with the time of their making.
    sent: VecDeque<(i64, u64)>,
    /// Those of them that were certainly done, for clashes.
    done: VecDeque<(i64, u64)>,
}

/// The workload.
#[derive(Debug, Default)]
pub struct Idempotency {
    state: Mutex<State>,
    clock: Clock,
}

/// The text that a request writes to.
fn text_of(id: i64) -> i64 {
    id / (TEXT * ACTIVE) * ACTIVE + id % ACTIVE
}

fn remember(list: &mut VecDeque<(i64, u64)>, id: i64, now: u64) {
    list.push_back((id, now));
    let old = |entry: &(i64, u64)| entry.1 + OLDEST < now;
    while list.len() > REMEMBERED || list.front().is_some_and(old) {
        list.pop_front();
    }
}

/// One of the list: half of the time one of the newest hundred, else any.
fn draw(list: &VecDeque<(i64, u64)>, rng: &mut fastrand::Rng) -> Option<i64> {
    let within = if rng.bool() { list.len().min(100) } else { list.len() };
    if within == 0 {
        return None;
    }
    list.get(list.len() - 1 - rng.usize(..within)).map(|entry| entry.0)
}

#[async_trait]
impl Workload for Idempotency {
    fn name(&self) -> &'static str {
        "idempotency"
    }

    async fn prepare(&self, api: &Api) -> Result<(), ApiError> {
        make::namespace(api, &api.own("idempotency"), json!({})).await
    }

    fn next(&self, _: Asker, rng: &mut fastrand::Rng) -> Option<Task> {
        let mut state = self.state.lock();
        let roll = rng.u32(..100);
        let (f, id) = if let (0..45, Some(id)) = (roll, draw(&state.sent, rng)) {
            ("repeat", id)
        } else if let (45..48, Some(id)) = (roll, draw(&state.done, rng)) {
            ("clash", id)
        } else {
            state.made += 1;
            let id = state.made;
            remember(&mut state.sent, id, self.clock.now());
            ("once", id)
        };
        Some(Task { f: f.into(), value: Value::keyed(text_of(id), id) })
    }

    async fn invoke(&self, api: &Api, node: u32, _: Asker, task: &Task) -> Completion {
        let space = api.own("idempotency");
        let Some(id) = task.value.as_keyed().and_then(|(_, id)| id.as_int()) else {
            return make::all_numbers(api, node, &space, "i").await;
        };
        // A clash differs in what it appends.
        let clash = task.f == "clash";
        let appended = if clash { "0,".to_owned() } else { format!("{id},") };
        let path = make::key(&space, &format!("i{}", text_of(id)));
        let request = make::operate(path, &json!({ "append": appended }))
            .header("idempotency-key", api.own(&format!("once-{id}")));
        let reply = api.send(node, request).await;
        let mut completion = reply.completion();
        completion.value = task.value.clone();
        let mismatch = reply.error.as_deref() == Some("idempotency_mismatch");
        if clash && mismatch {
            completion.ending = Ending::Ok;
            completion.extra.insert("refused".into(), true.into());
        }
        if reply.outcome != Outcome::Applied {
            return completion;
        }
        let replayed = reply.header("kv-replayed") == Some("?1");
        completion.extra.insert("replayed".into(), replayed.into());
        if let Some(etag) = reply.header("etag") {
            completion.extra.insert("etag".into(), etag.trim_matches('"').into());
        }
        if let Some(length) = make::numbers(&reply.text()).map(|found| found.len()) {
            completion.extra.insert("length".into(), i64::try_from(length).unwrap_or(-1).into());
        }
        if task.f == "once" {
            remember(&mut self.state.lock().done, id, self.clock.now());
        }
        completion
    }

    fn last(&self, threads: u64) -> Vec<(u64, Task)> {
        let read = || Task { f: "read".into(), value: Value::Nil };
        (0..threads.min(READERS)).map(|thread| (thread, read())).collect()
    }

    fn checkers(&self) -> Vec<Box<dyn Checker>> {
        vec![Box::new(Once)]
    }

    fn needed(&self) -> Vec<(&'static str, u64)> {
        vec![("once", 50), ("repeat", 50), ("clash", 2)]
    }
}
