//! Writers change keys over many groups; watchers follow, are cut off, move and go on.
//!
//! Why it exists: a watch promises every change once and in its group's order, or an answer that says
//! what is missing. Promises: a watcher goes on from the cursor of the last event that it has
//! handled, and from nothing else; sometimes it forgets the end of what it got, as a client that
//! crashes would. Relies on: `check` for all judgement.
//!
//! Operations: `put [key n]`, `delete [key nil]`, `append [key n]` (adds `,n` to the value),
//! `pair [[key key] n]` (one transaction), `brief [key n]` (put that lives a second), `fence [key n]`
//! (repeated until it is certain). `follow nil` -> the events of one connection, each
//! `[type group index seq key value previous]`, with extras `begin` (start, now, initial, cursor),
//! `life` (a new one begins without a cursor), `kept` (so many events were handled), `ended`, and
//! `synced`. `drain` is a `follow` until everything certain was seen.

mod check;
mod follow;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use async_trait::async_trait;
use parking_lot::Mutex;
use reqwest::Method;
use serde_json::json;

use super::place::{PAUSE, Place, foreign};
use super::{Asker, Completion, Ending, Task, Workload};
use crate::api::{Api, ApiError, Reply, Request};
use crate::checker::Checker;
use crate::history::Value;
use follow::Watcher;

/// Keys: enough for most groups to have some.
const KEYS: u64 = 48;
/// Keys that vanish by themselves.
const BRIEF_KEYS: u64 = 8;
/// Tags whose two keys are written together.
const PAIRS: u64 = 8;
/// Tries of a write that has to become certain.
const FENCE_TRIES: usize = 200;

/// The workload.
#[derive(Debug)]
pub struct Watch {
    place: Place,
    next_number: Mutex<i64>,
    watchers: Mutex<BTreeMap<u64, Watcher>>,
    lives: AtomicU64,
    /// Fences that are still to be written; whoever drains waits for them.
    fences: AtomicUsize,
    /// The highest index of each group that an acknowledged write of ours has.
    certain: Mutex<BTreeMap<u64, u64>>,
}

impl Default for Watch {
    fn default() -> Self {
        Self {
            place: Place::spread("watch"),
            next_number: Mutex::new(0),
            watchers: Mutex::default(),
            lives: AtomicU64::new(0),
            fences: AtomicUsize::new(0),
            certain: Mutex::default(),
        }
    }
}

/// Every fourth thread watches.
fn watches(thread: u64) -> bool {
    thread % 4 == 3
}

impl Watch {
    fn number(&self) -> i64 {
        let mut next = self.next_number.lock();
        *next += 1;
        *next
    }

    fn request(&self, task: &Task) -> Option<Request> {
        let (target, number) = task.value.as_keyed()?;
        let number = number.as_int().unwrap_or_default();
        if let Some([first, second]) = target.as_list() {
            let put = |key: &Value| json!({ "put": key.as_text(), "value": number.to_string() });
            let body = json!({ "then": [put(first), put(second)] });
            return Some(
                Request::new(Method::POST, self.place.under("txn")).body(body.to_string()),
            );
        }
        let path = self.place.key(target.as_text()?);
        Some(match task.f.as_str() {
            "delete" => Request::new(Method::DELETE, path),
            "append" => Request::new(Method::PATCH, path)
                .header("content-type", "application/kv-op+json")
                .body(json!({ "append": format!(",{number}") }).to_string()),
            "brief" => Request::new(Method::PUT, format!("{path}?ttl=1s")).body(number.to_string()),
            _ => Request::new(Method::PUT, path).body(number.to_string()),
        })
    }

    fn completed(&self, task: &Task, reply: &Reply) -> Completion {
        let mut completion = reply.completion();
        completion.value = task.value.clone();
        if completion.ending == Ending::Ok
            && let Some(witness) = completion.witness
        {
            let mut certain = self.certain.lock();
            let highest = certain.entry(witness.group).or_default();
            *highest = witness.index.max(*highest);
        }
        completion
    }

    async fn fence(&self, api: &Api, node: u32, task: &Task) -> Completion {
        let nodes = api.nodes();
        let number = task.value.as_keyed().and_then(|(_, number)| number.as_int()).unwrap_or(0);
        let once = format!("fence-{}-{number}", self.place.name());
        let first = usize::try_from(node).unwrap_or(0);
        let mut last = None;
        for turn in (first..).take(FENCE_TRIES) {
            let Some(request) = self.request(task) else { break };
            let node = nodes.get(turn % nodes.len().max(1)).copied().unwrap_or(node);
            let reply = api.send(node, request.header("idempotency-key", once.clone())).await;
            let completion = self.completed(task, &reply);
            if completion.ending == Ending::Ok {
                return completion;
            }
            last = Some(completion);
            tokio::time::sleep(PAUSE).await;
        }
        // An attempt before the last one may have been the one that did it.
        let mut completion = last.unwrap_or_else(|| foreign(node, task));
        if let Ending::Fail(why) = completion.ending {
            completion.ending = Ending::Info(why);
        }
        completion
    }
}

#[async_trait]
impl Workload for Watch {
    fn name(&self) -> &'static str {
        "watch"
    }

    async fn prepare(&self, api: &Api) -> Result<(), ApiError> {
        self.place.make(api).await
    }

    fn next(&self, asker: Asker, rng: &mut fastrand::Rng) -> Option<Task> {
        if watches(asker.thread) {
            // What a client forgets is chosen here, where all chance comes from the run's seed.
            let forgets = if rng.u8(..4) == 0 { rng.i64(1..8) } else { 0 };
            return Some(Task { f: "follow".into(), value: forgets.into() });
        }
        let number = self.number();
        let key = format!("k{}", rng.u64(..KEYS));
        let (f, value) = match rng.u8(..20) {
            0..=9 => ("put", Value::keyed(key, number)),
            10..=12 => ("append", Value::keyed(key, number)),
            13..=15 => ("delete", Value::keyed(key, Value::Nil)),
            16..=18 => {
                let tag = rng.u64(..PAIRS);
                let pair = vec![format!("k{{t{tag}}}a"), format!("k{{t{tag}}}b")];
                ("pair", Value::keyed(pair, number))
            }
            _ => ("brief", Value::keyed(format!("kbrief{}", rng.u64(..BRIEF_KEYS)), number)),
        };
        Some(Task { f: f.into(), value })
    }

    async fn invoke(&self, api: &Api, node: u32, asker: Asker, task: &Task) -> Completion {
        match task.f.as_str() {
            "follow" | "drain" => {
                for _ in 0..FENCE_TRIES {
                    if task.f == "follow" || self.fences.load(Ordering::SeqCst) == 0 {
                        break;
                    }
                    tokio::time::sleep(PAUSE).await;
                }
                let lives = &self.lives;
                let known = self.watchers.lock().remove(&asker.thread);
                let mut watcher = known.unwrap_or_else(|| Watcher::new(asker.thread, lives));
                let until = (task.f == "drain").then(|| self.certain.lock().clone());
                let forgets = usize::try_from(task.value.as_int().unwrap_or(0)).unwrap_or(0);
                let completion = watcher
                    .follow(api, node, &self.place, follow::Task { lives, until, forgets })
                    .await;
                self.watchers.lock().insert(asker.thread, watcher);
                completion
            }
            "fence" => {
                let completion = self.fence(api, node, task).await;
                // One that failed is tried again by the run.
                if completion.ending == Ending::Ok {
                    self.fences.fetch_sub(1, Ordering::SeqCst);
                }
                completion
            }
            _ => match self.request(task) {
                Some(request) => self.completed(task, &api.send(node, request).await),
                None => foreign(node, task),
            },
        }
    }

    fn last(&self, threads: u64) -> Vec<(u64, Task)> {
        // One write behind everything else in each group that has keys, then all watchers up to it.
        let keys = (0..KEYS).map(|key| format!("k{key}"));
        let pairs = (0..PAIRS).map(|tag| format!("k{{t{tag}}}a"));
        let brief = (0..BRIEF_KEYS).map(|key| format!("kbrief{key}"));
        let fences = keys
            .chain(pairs)
            .chain(brief)
            .map(|key| (0, Task { f: "fence".into(), value: Value::keyed(key, self.number()) }));
        let drains = (0..threads)
            .filter(|thread| watches(*thread))
            .map(|thread| (thread, Task { f: "drain".into(), value: Value::Int(0) }));
        let fences: Vec<_> = fences.collect();
        self.fences.store(fences.len(), Ordering::SeqCst);
        fences.into_iter().chain(drains).collect()
    }

    fn checkers(&self) -> Vec<Box<dyn Checker>> {
        vec![Box::new(check::WatchChecker)]
    }

    fn needed(&self) -> Vec<(&'static str, u64)> {
        vec![("put", 10), ("delete", 5), ("append", 5), ("pair", 5), ("follow", 5)]
    }
}
