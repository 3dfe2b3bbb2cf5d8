//! A few locks, many who want them, and a register behind each lock that trusts tokens only.
//!
//! Why it exists: a lock over a network is worth its fencing token. Promises: a thread does with its
//! lock what a careful client would do, and sometimes forgets it, so that its lease has to free it.
//! Relies on: `check` for all judgement. Who stands first in line is not judged.
//!
//! Operations: `acquire [lock wait-ms]` -> `[lock token lease ttl-ms]`; `renew [lock token lease]`;
//! `release [lock token]`; `look [lock nil]` -> `[lock token-or-nil]`; `write [lock token]`: writes the
//! register behind the lock unless a larger token was there -> `[lock token written]`; `read [lock nil]`
//! -> `[lock token]`, what the register holds.

mod check;

use std::collections::BTreeMap;

use async_trait::async_trait;
use parking_lot::Mutex;
use reqwest::Method;
use serde_json::{Value as Json, json};

use super::finding::{at, int, number};
use super::place::{Place, foreign, harmless, patiently};
use super::{Asker, Completion, Ending, Task, Workload};
use crate::api::{Api, ApiError, Reply, Request};
use crate::checker::Checker;
use crate::history::Value;

/// How many locks there are.
const LOCKS: i64 = 4;
/// How long a lock is held without a renewal, in milliseconds.
const TTL_MS: i64 = 2000;

/// What a thread holds, as far as it knows.
#[derive(Clone, Debug)]
struct Held {
    lock: i64,
    token: Value,
    lease: Value,
    steps: u64,
}

/// The workload.
#[derive(Debug)]
pub struct Lock {
    place: Place,
    held: Mutex<BTreeMap<u64, Held>>,
}

impl Default for Lock {
    fn default() -> Self {
        Self { place: Place::spread("lock"), held: Mutex::default() }
    }
}

/// A token as the register holds it, so that the order of texts is the order of numbers.
fn padded(token: u64) -> String {
    format!("{token:020}")
}

impl Lock {
    fn register(lock: i64) -> String {
        format!("register{lock}")
    }

    fn request(&self, asker: Asker, task: &Task) -> Option<Request> {
        let lock = at(&task.value, 0).as_int()?;
        let path = self.place.under(&format!("locks/lock{lock}"));
        let token = number(&task.value, 1);
        Some(match task.f.as_str() {
            "acquire" => {
                let body = json!({
                    "ttl": format!("{TTL_MS}ms"),
                    "owner": format!("thread {}", asker.thread),
                    "wait": format!("{}ms", token?),
                });
                Request::new(Method::POST, path).body(body.to_string())
            }
            "renew" => {
                let lease = at(&task.value, 2).as_text()?;
                Request::new(Method::POST, format!("/v1/leases/{lease}/renew"))
            }
            "release" => Request::new(Method::DELETE, format!("{path}?token={}", token?)),
            "look" => Request::new(Method::GET, path),
            "write" => {
                let (key, value) = (Self::register(lock), padded(token?));
                let body = json!({
                    "if": [{ "key": key, "op": "le", "value": value }],
                    "then": [{ "put": key, "value": value }],
                });
                Request::new(Method::POST, self.place.under("txn")).body(body.to_string())
            }
            _ => Request::new(Method::GET, self.place.key(&Self::register(lock))),
        })
    }

    fn noted(&self, asker: Asker, task: &Task, reply: &Reply) -> Completion {
        let mut completion = reply.completion();
        completion.value = task.value.clone();
        let lock = at(&task.value, 0).clone();
        let mut held = self.held.lock();
        if completion.ending != Ending::Ok {
            // Whoever does not know whether it still holds the lock does not use it.
            if ["lease_not_found", "lock_not_held"]
                .contains(&reply.error.as_deref().unwrap_or_default())
                || task.f == "release"
            {
                held.remove(&asker.thread);
            }
            let asks = ["look", "read"].contains(&task.f.as_str());
            return if asks { harmless(completion) } else { completion };
        }
        let answer = reply.json();
        let token_in = |pointer: &str| answer.pointer(pointer).and_then(Json::as_u64).map(int);
        match task.f.as_str() {
            "acquire" => {
                let token = token_in("/token").unwrap_or_default();
                let lease = answer.get("lease").and_then(Json::as_str);
                let lease = Value::from(lease);
                let ttl = Value::Int(TTL_MS);
                completion.value = Value::list([lock.clone(), token.clone(), lease.clone(), ttl]);
                let lock = lock.as_int().unwrap_or(0);
                held.insert(asker.thread, Held { lock, token, lease, steps: 0 });
            }
            "release" => {
                held.remove(&asker.thread);
            }
            "look" => {
                let token = token_in("/holder/token").unwrap_or_default();
                completion.value = Value::list([lock, token]);
            }
            "write" => {
                let written = answer.get("succeeded").and_then(Json::as_bool) == Some(true);
                let token = at(&task.value, 1).clone();
                completion.value = Value::list([lock, token, written.into()]);
            }
            "read" => {
                let token = reply.text().parse().map(int).unwrap_or_default();
                completion.value = Value::list([lock, token]);
            }
            _ => {}
        }
        completion
    }
}

#[async_trait]
impl Workload for Lock {
    fn name(&self) -> &'static str {
        "lock"
    }

    async fn prepare(&self, api: &Api) -> Result<(), ApiError> {
        self.place.make(api).await?;
        for lock in 0..LOCKS {
            let path = self.place.key(&Self::register(lock));
            patiently(api, "the first value of a register", |_| {
                (1, Request::new(Method::PUT, path.clone()).body(padded(0)))
            })
            .await?;
        }
        Ok(())
    }

    fn next(&self, asker: Asker, rng: &mut fastrand::Rng) -> Option<Task> {
        let task =
            |f: &str, items: Vec<Value>| Some(Task { f: f.into(), value: Value::List(items) });
        let any = Value::Int(rng.i64(0..LOCKS));
        let mut all = self.held.lock();
        let Some(held) = all.get_mut(&asker.thread) else {
            return match rng.u8(..6) {
                0 => task("look", vec![any, Value::Nil]),
                1 => task("read", vec![any, Value::Nil]),
                _ => task("acquire", vec![any, Value::Int(rng.i64(0..4) * 400)]),
            };
        };
        held.steps += 1;
        let lock = Value::Int(held.lock);
        let token = held.token.clone();
        if held.steps > 12 {
            // One in three never comes back: the lease has to free the lock.
            if rng.u8(..3) == 0 {
                let forgotten = all.remove(&asker.thread);
                return forgotten.and_then(|_| task("write", vec![lock, token]));
            }
            return task("release", vec![lock, token]);
        }
        match rng.u8(..10) {
            0..=3 => task("renew", vec![lock, token, held.lease.clone()]),
            4..=6 => task("write", vec![lock, token]),
            7 => task("look", vec![lock, Value::Nil]),
            8 => task("read", vec![lock, Value::Nil]),
            _ => task("look", vec![any, Value::Nil]),
        }
    }

    async fn invoke(&self, api: &Api, node: u32, asker: Asker, task: &Task) -> Completion {
        let Some(request) = self.request(asker, task) else {
            return foreign(node, task);
        };
        self.noted(asker, task, &api.send(node, request).await)
    }

    fn last(&self, _: u64) -> Vec<(u64, Task)> {
        let each = |f: &'static str| {
            (0..LOCKS)
                .map(move |lock| (0, Task { f: f.into(), value: Value::keyed(lock, Value::Nil) }))
        };
        each("look").chain(each("read")).collect()
    }

    fn checkers(&self) -> Vec<Box<dyn Checker>> {
        vec![Box::new(check::LockChecker)]
    }

    fn needed(&self) -> Vec<(&'static str, u64)> {
        vec![("acquire", 5), ("renew", 5), ("write", 5), ("look", 5), ("read", 5)]
    }
}
