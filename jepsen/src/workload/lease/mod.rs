//! Leases are granted, renewed or forgotten; keys hang on them.
//!
//! Why it exists: a lease that ends early breaks whoever trusts it, one that comes back breaks
//! whoever took over. Promises: each key is written once, with one lease, so that what it may show
//! follows from that lease alone. Relies on: `check` for all judgement; the run's clock and the
//! servers' monotonic clocks going equally fast.
//!
//! Operations: `grant nil` -> `[lease ttl-ms]`; `renew lease`, `attach [lease key]`, `end lease`,
//! `look lease` -> `[lease there]`, `read [lease key]` -> `[lease key there]`, and at the end
//! `settle nil` -> `[[lease there] ...]` of all leases and `leftovers nil` -> `[[lease key] ...]`, the
//! keys that are still there. A certain "there is no such lease" is a `fail` with `lease_not_found`.

mod check;

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use reqwest::Method;
use serde_json::{Value as Json, json};

use super::finding::text;
use super::place::{PAUSE, Place, foreign, harmless};
use super::{Asker, Completion, Ending, Task, Workload};
use crate::api::{Api, ApiError, Reply, Request};
use crate::checker::Checker;
use crate::clock::Clock;
use crate::history::Value;

/// How long a lease of this workload lives.
const TTL: Duration = Duration::from_secs(2);
/// Operations that a thread spends on one lease before it lets go of it.
const CARED_FOR: u64 = 40;
/// Looks that a thread then has at it before it takes the next.
const WATCHED: u64 = 12;
/// Leases of the past that are looked at again and again.
const OLD_LEASES: usize = 400;
/// How long leases that nobody renews may take to end when nothing is broken: a new leader gives
/// each its full time again.
const SETTLES_WITHIN: Duration = Duration::from_secs(30);

/// What a thread does with its lease.
#[derive(Clone, Debug, Default)]
struct Mine {
    lease: Option<String>,
    keys: Vec<String>,
    steps: u64,
}

/// The workload.
#[derive(Debug)]
pub struct Lease {
    place: Place,
    mine: Mutex<BTreeMap<u64, Mine>>,
    old: Mutex<Vec<(String, Vec<String>)>>,
    next_key: Mutex<u64>,
}

impl Default for Lease {
    fn default() -> Self {
        Self {
            place: Place::spread("lease"),
            mine: Mutex::default(),
            old: Mutex::default(),
            next_key: Mutex::default(),
        }
    }
}

impl Lease {
    fn new_key(&self) -> String {
        let mut next = self.next_key.lock();
        *next += 1;
        format!("k{next}")
    }

    /// One of the leases that were let go of.
    fn look_back(&self, rng: &mut fastrand::Rng) -> Option<Task> {
        let old = self.old.lock();
        let (lease, keys) = old.get(rng.usize(..old.len().max(1)))?;
        Some(read_or_look(lease, keys, rng))
    }

    fn forget(&self, thread: u64) {
        let gone = self.mine.lock().remove(&thread);
        let Some(Mine { lease: Some(lease), keys, .. }) = gone else { return };
        let mut old = self.old.lock();
        if old.len() >= OLD_LEASES {
            old.remove(0);
        }
        old.push((lease, keys));
    }

    fn request(&self, task: &Task) -> Option<Request> {
        let lease = task.value.as_text();
        let of =
            |method, rest: &str| Some(Request::new(method, format!("/v1/leases/{}{rest}", lease?)));
        match task.f.as_str() {
            "grant" => {
                let ttl = format!("{}ms", TTL.as_millis());
                let near = |key| json!({ "ns": self.place.name(), "key": key });
                let body = match lease {
                    Some(key) => json!({ "ttl": ttl, "near": near(key) }),
                    None => json!({ "ttl": ttl }),
                };
                Some(Request::new(Method::POST, "/v1/leases").body(body.to_string()))
            }
            "renew" => of(Method::POST, "/renew"),
            "look" => of(Method::GET, ""),
            "end" => of(Method::DELETE, ""),
            "attach" => {
                let path = self.place.key(text(&task.value, 1)?);
                let request = Request::new(Method::PUT, path).body("there");
                Some(request.header("kv-lease", text(&task.value, 0)?))
            }
            "read" => Some(Request::new(Method::GET, self.place.key(text(&task.value, 1)?))),
            _ => None,
        }
    }

    fn noted(&self, thread: u64, task: &Task, reply: &Reply) -> Completion {
        let mut completion = reply.completion();
        completion.value = task.value.clone();
        let gone = reply.error.as_deref() == Some("lease_not_found");
        match task.f.as_str() {
            "grant" if completion.ending == Ending::Ok => {
                let answer = reply.json();
                let id = answer.get("id").and_then(Json::as_str).unwrap_or_default().to_owned();
                let ttl = answer.get("ttl_ms").and_then(Json::as_i64).unwrap_or(0);
                completion.value = Value::keyed(id.as_str(), ttl);
                let keys = task.value.as_text().map(str::to_owned).into_iter().collect();
                let mine = Mine { lease: Some(id), keys, steps: 0 };
                self.mine.lock().insert(thread, mine);
            }
            "look" if completion.ending == Ending::Ok || gone => {
                completion.ending = Ending::Ok;
                completion.value = Value::list([task.value.clone(), (!gone).into()]);
            }
            "read" => {
                let absent = reply.error.as_deref() == Some("key_not_found");
                if completion.ending == Ending::Ok || absent {
                    completion.ending = Ending::Ok;
                    let mut items = task.value.as_list().unwrap_or_default().to_vec();
                    items.push((!absent).into());
                    completion.value = Value::List(items);
                }
            }
            _ => {}
        }
        if ["look", "read"].contains(&task.f.as_str()) { harmless(completion) } else { completion }
    }

    /// Waits until no lease is left, and says which ones are.
    async fn settle(&self, api: &Api, node: u32) -> Completion {
        let clock = Clock::default();
        let leases: Vec<String> = self.old.lock().iter().map(|(lease, _)| lease.clone()).collect();
        let mut there: Vec<String> = leases.clone();
        loop {
            let mut still = Vec::new();
            for lease in there {
                let path = format!("/v1/leases/{lease}");
                let reply = api.send(node, Request::new(Method::GET, path)).await;
                if reply.error.as_deref() != Some("lease_not_found") {
                    still.push((lease, reply.status == 200));
                }
            }
            let late = Duration::from_nanos(clock.now()) > SETTLES_WITHIN;
            if still.is_empty() || late {
                let unsure = still.iter().any(|(_, sure)| !sure);
                let shown = leases.iter().map(|lease| {
                    let there = still.iter().any(|(left, _)| left == lease);
                    Value::list([lease.as_str().into(), there.into()])
                });
                let ending = if unsure { Ending::Info("not readable".into()) } else { Ending::Ok };
                return done(ending, Value::list(shown), node);
            }
            there = still.into_iter().map(|(lease, _)| lease).collect();
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// The keys that are still there: of leases that are gone there must be none.
    async fn leftovers(&self, api: &Api, node: u32) -> Completion {
        let clock = Clock::default();
        loop {
            let path = self.place.under("keys?prefix=k&fields=key&limit=1000");
            let reply = api.send(node, Request::new(Method::GET, path)).await;
            let answer = reply.json();
            let items = answer.get("items").and_then(Json::as_array).cloned().unwrap_or_default();
            let late = Duration::from_nanos(clock.now()) > SETTLES_WITHIN;
            if (reply.status == 200 && items.is_empty()) || late {
                let keys = items.iter().filter_map(|item| item.get("key")?.as_str());
                let ending = reply.completion().ending;
                return done(ending, Value::list(keys.map(Value::from)), node);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

fn done(ending: Ending, value: Value, node: u32) -> Completion {
    Completion { ending, value, node: Some(node), witness: None, extra: BTreeMap::new() }
}

fn read_or_look(lease: &str, keys: &[String], rng: &mut fastrand::Rng) -> Task {
    match rng.choice(keys) {
        Some(key) if rng.u8(..4) > 0 => {
            Task { f: "read".into(), value: Value::list([lease.into(), key.as_str().into()]) }
        }
        _ => Task { f: "look".into(), value: lease.into() },
    }
}

#[async_trait]
impl Workload for Lease {
    fn name(&self) -> &'static str {
        "lease"
    }

    async fn prepare(&self, api: &Api) -> Result<(), ApiError> {
        self.place.make(api).await
    }

    fn next(&self, asker: Asker, rng: &mut fastrand::Rng) -> Option<Task> {
        if rng.u8(..5) == 0
            && let Some(task) = self.look_back(rng)
        {
            return Some(task);
        }
        let mut mine = self.mine.lock();
        let Some(Mine { lease: Some(lease), keys, steps }) = mine.get_mut(&asker.thread) else {
            // Half of the leases live in the group of their first key.
            let near = rng.bool().then(|| self.new_key());
            return Some(Task { f: "grant".into(), value: near.into() });
        };
        *steps += 1;
        let lease = lease.clone();
        let of_lease = |f: &str| Some(Task { f: f.into(), value: lease.as_str().into() });
        if *steps > CARED_FOR {
            let task = if *steps == CARED_FOR + 1 && rng.u8(..4) == 0 {
                of_lease("end")
            } else {
                Some(read_or_look(&lease, keys, rng))
            };
            if *steps > CARED_FOR + WATCHED {
                drop(mine);
                self.forget(asker.thread);
            }
            return task;
        }
        let attach = |key: &str| {
            let value = Value::list([lease.as_str().into(), key.into()]);
            Some(Task { f: "attach".into(), value })
        };
        // The key that the lease is near to is written first.
        if *steps == 1
            && let Some(key) = keys.first()
        {
            return attach(key);
        }
        match rng.u8(..10) {
            0..=3 => of_lease("renew"),
            4..=5 if keys.len() < 8 => {
                let key = self.new_key();
                keys.push(key.clone());
                attach(&key)
            }
            _ => Some(read_or_look(&lease, keys, rng)),
        }
    }

    async fn invoke(&self, api: &Api, node: u32, asker: Asker, task: &Task) -> Completion {
        match (task.f.as_str(), self.request(task)) {
            ("settle", _) => {
                let threads: Vec<u64> = self.mine.lock().keys().copied().collect();
                threads.into_iter().for_each(|thread| self.forget(thread));
                self.settle(api, node).await
            }
            ("leftovers", _) => self.leftovers(api, node).await,
            (_, Some(request)) => self.noted(asker.thread, task, &api.send(node, request).await),
            (_, None) => foreign(node, task),
        }
    }

    fn last(&self, _: u64) -> Vec<(u64, Task)> {
        ["settle", "leftovers"]
            .map(|f| (0, Task { f: f.into(), value: Value::Nil }))
            .into_iter()
            .collect()
    }

    fn checkers(&self) -> Vec<Box<dyn Checker>> {
        vec![Box::new(check::LeaseChecker)]
    }

    fn needed(&self) -> Vec<(&'static str, u64)> {
        vec![("grant", 3), ("renew", 10), ("attach", 5), ("read", 10)]
    }
}
