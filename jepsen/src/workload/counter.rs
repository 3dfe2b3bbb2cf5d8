//! `counter`: numbers that are added to, with idempotency keys, until each add is certain.
//!
//! Why it exists: an add that is lost, or done twice by a retry, changes a sum for ever. Each add is
//! sent again, at other nodes, with the same `Idempotency-Key`, until some node says what became of
//! it: so nothing stays unknown, and every read has exact bounds.
//!
//! Promises: eight counters in eight groups or so, as `[counter number]`. Judged twice: by real time
//! (what was acknowledged before the read is in it, what was begun after is not), and by the groups'
//! own order (the value is the sum of the adds up to the index that the read reflects).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use reqwest::Method;
use serde_json::json;

use super::make;
use crate::api::{Api, ApiError, Outcome, Request};
use crate::checker::Checker;
use crate::checker::sums::Sums;
use crate::history::Value;
use crate::workload::{Asker, Completion, Ending, Task, Workload};

/// Counters.
const COUNTERS: i64 = 8;
/// Largest number that is added or taken away.
const MOST: i64 = 9;
/// How often an add is sent again. Each takes at most the request's timeout, so this outlasts any fault
/// and the bound of the recovery too; what is still unknown then is `info`.
const TRIES: u32 = 200;
/// Pause before another try.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(200);

/// The workload.
#[derive(Debug, Default)]
pub struct Counter {
    /// Adds so far: each has an idempotency key of its own.
    adds: AtomicU64,
}

#[async_trait]
impl Workload for Counter {
    fn name(&self) -> &'static str {
        "counter"
    }

    async fn prepare(&self, api: &Api) -> Result<(), ApiError> {
        make::namespace(api, &api.own("counter"), json!({})).await
    }

    fn next(&self, _: Asker, rng: &mut fastrand::Rng) -> Option<Task> {
        let counter = rng.i64(0..COUNTERS);
        if rng.u32(..100) < 30 {
            return Some(read_task(counter));
        }
        // Never zero, and taken away less often, so that lost adds do not cancel out.
        let number = if rng.u32(..4) == 0 { -rng.i64(1..=MOST) } else { rng.i64(1..=MOST) };
        Some(Task { f: "add".into(), value: Value::keyed(counter, number) })
    }

    async fn invoke(&self, api: &Api, node: u32, _: Asker, task: &Task) -> Completion {
        let Some((counter, number)) = task.value.as_keyed() else {
            return make::refused(node, "not-a-counter-task");
        };
        let counter = counter.as_int().unwrap_or_default();
        let path = make::key(&api.own("counter"), &format!("c{counter}"));
        match number.as_int() {
            Some(number) => {
                let turn = self.adds.fetch_add(1, Ordering::Relaxed);
                let once = api.own(&format!("add-{turn}"));
                add(api, node, &once, path, (counter, number)).await
            }
            None => read(api, node, path, counter).await,
        }
    }

    fn last(&self, threads: u64) -> Vec<(u64, Task)> {
        let threads = i64::try_from(threads.max(1)).unwrap_or(1);
        let reads = (0..COUNTERS.max(threads.min(7))).map(|turn| {
            (u64::try_from(turn % threads).unwrap_or_default(), read_task(turn % COUNTERS))
        });
        reads.collect()
    }

    fn checkers(&self) -> Vec<Box<dyn Checker>> {
        vec![Box::new(Sums)]
    }

    fn needed(&self) -> Vec<(&'static str, u64)> {
        vec![("add", 50), ("read", 20)]
    }
}

fn read_task(counter: i64) -> Task {
    Task { f: "read".into(), value: Value::keyed(counter, Value::Nil) }
}

async fn read(api: &Api, node: u32, path: String, counter: i64) -> Completion {
    let reply = api.send(node, Request::new(Method::GET, path)).await;
    let mut completion = make::harmless(reply.completion());
    let value = if make::absent(&reply) {
        completion.ending = Ending::Ok;
        Value::Int(0)
    } else {
        reply.text().parse().map_or(Value::Nil, Value::Int)
    };
    completion.value = Value::keyed(counter, value);
    completion
}

/// Adds until it is certain.
async fn add(
    api: &Api,
    node: u32,
    once: &str,
    path: String,
    (counter, number): (i64, i64),
) -> Completion {
    let nodes = api.nodes();
    let mut at = node;
    let mut tries = 0;
    loop {
        let request =
            make::operate(path.clone(), &json!({ "add": number })).header("idempotency-key", once);
        let reply = api.send(at, request).await;
        tries += 1;
        let mut completion = reply.completion();
        // The first try that surely had no effect ends the add; a later one says nothing about those
        // before.
        let certain = reply.outcome == Outcome::Applied
            || (tries == 1 && reply.outcome == Outcome::NotApplied);
        if certain || tries >= TRIES {
            completion.value = Value::keyed(counter, number);
            if let (false, Ending::Fail(why)) = (certain, &completion.ending) {
                completion.ending = Ending::Info(why.clone());
            }
            completion.extra = told(&reply, tries);
            return completion;
        }
        tokio::time::sleep(PAUSE).await;
        let place = nodes.iter().position(|node| *node == at).map_or(0, |place| place + 1);
        at = nodes.get(place % nodes.len().max(1)).copied().unwrap_or(node);
    }
}

/// The sum after the add, as the server says, and how many tries it took.
fn told(reply: &crate::api::Reply, tries: u32) -> BTreeMap<String, Value> {
    let mut extra = BTreeMap::new();
    if let (Outcome::Applied, Ok(sum)) = (reply.outcome, reply.text().parse::<i64>()) {
        extra.insert("sum".into(), sum.into());
    }
    if tries > 1 {
        extra.insert("tries".into(), i64::from(tries).into());
    }
    extra
}
