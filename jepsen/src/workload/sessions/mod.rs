//! Clients with a session wander from node to node and read what is near.
//!
//! Why it exists: `KV-Session` promises that no answer is older than what the session has seen.
//! Promises: a thread keeps its token whatever happens to its process, takes the one of each answer,
//! and sends it with each request; every fourth thread goes without, for comparison.
//!
//! Operations: `write [key value]` (each value once), `read [key nil]` -> `[key value]`, with extras
//! `session` (the thread, when it has one), `etag`, `read`, `age-ms`.

mod check;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use parking_lot::Mutex;

use super::finding::int;
use super::kept;
use super::place::{Place, foreign};
use super::{Asker, Completion, Task, Workload};
use crate::api::{Api, ApiError};
use crate::checker::Checker;
use crate::history::Value;

/// Registers, over many groups.
const KEYS: i64 = 24;

/// The workload.
#[derive(Debug)]
pub struct Sessions {
    place: Place,
    next_value: Mutex<i64>,
    tokens: Mutex<BTreeMap<u64, String>>,
    turns: AtomicUsize,
}

impl Default for Sessions {
    fn default() -> Self {
        Self {
            place: Place::spread("sessions"),
            next_value: Mutex::default(),
            tokens: Mutex::default(),
            turns: AtomicUsize::new(0),
        }
    }
}

fn has_session(thread: u64) -> bool {
    thread % 4 != 3
}

#[async_trait]
impl Workload for Sessions {
    fn name(&self) -> &'static str {
        "sessions"
    }

    async fn prepare(&self, api: &Api) -> Result<(), ApiError> {
        self.place.make(api).await
    }

    fn next(&self, _: Asker, rng: &mut fastrand::Rng) -> Option<Task> {
        let key = rng.i64(0..KEYS);
        if rng.u8(..3) == 0 {
            let mut next = self.next_value.lock();
            *next += 1;
            return Some(Task { f: "write".into(), value: Value::keyed(key, *next) });
        }
        Some(Task { f: "read".into(), value: Value::keyed(key, Value::Nil) })
    }

    async fn invoke(&self, api: &Api, node: u32, asker: Asker, task: &Task) -> Completion {
        // A client that stays where it is needs no session.
        let nodes = api.nodes();
        let turn = self.turns.fetch_add(1, Ordering::Relaxed);
        let moved = nodes.get(turn % nodes.len().max(1)).copied().unwrap_or(node);
        let node = if turn.is_multiple_of(2) { moved } else { node };
        // The token is honoured by every mode: most reads ask for it by name, some for anything.
        let modes = ["read=session", "read=session", "read=stale", "read=bounded&max_staleness=5s"];
        let turn = usize::try_from(asker.process / 4 % 4).unwrap_or(0);
        let with = has_session(asker.thread);
        let mode =
            if with { modes.get(turn).copied().unwrap_or("read=session") } else { "read=stale" };
        let Some(mut request) = kept::request(&self.place, task, mode) else {
            return foreign(node, task);
        };
        let token = self.tokens.lock().get(&asker.thread).cloned();
        if let Some(token) = token.filter(|_| with) {
            request = request.header("kv-session", token);
        }
        let reply = api.send(node, request).await;
        let mut completion = kept::completion(task, &reply);
        completion.extra.insert("thread".into(), int(asker.thread));
        if with {
            completion.extra.insert("session".into(), int(asker.thread));
        }
        if let Some(token) = reply.header("kv-session").filter(|_| with) {
            self.tokens.lock().insert(asker.thread, token.to_owned());
        }
        completion
    }

    fn last(&self, threads: u64) -> Vec<(u64, Task)> {
        let reads = |thread| {
            (0..KEYS).map(move |key| {
                (thread, Task { f: "read".into(), value: Value::keyed(key, Value::Nil) })
            })
        };
        (0..threads).filter(|thread| has_session(*thread)).take(3).flat_map(reads).collect()
    }

    fn checkers(&self) -> Vec<Box<dyn Checker>> {
        vec![Box::new(check::SessionChecker)]
    }

    fn needed(&self) -> Vec<(&'static str, u64)> {
        vec![("write", 10), ("read", 30)]
    }
}
