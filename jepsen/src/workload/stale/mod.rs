//! Reads that may be old, and say how old.
//!
//! Why it exists: `read=bounded` promises a bound and `read=stale` tells an age; both are judged against
//! the writes. The same reads, passed off as a register's, are the harness's own proof that its
//! linearizability checker sees something: `register-stale` must fail.
//!
//! Operations: `write [key value]` (each value once) and `read [key nil]` -> `[key value]`, with
//! extras `read`, `age-ms`, `etag`, and `bound` in milliseconds when one was asked for.

mod check;
mod register;

use async_trait::async_trait;
use parking_lot::Mutex;

use super::finding::int;
use super::kept;
use super::place::{Place, foreign};
use super::{Asker, Completion, Task, Workload};
use crate::api::{Api, ApiError};
use crate::checker::Checker;
use crate::history::Value;

pub use register::RegisterStale;

/// Registers, over many groups.
const KEYS: i64 = 24;
/// The bounds that threads ask for, in milliseconds, by turns; 0 is none: `read=stale`.
const BOUNDS: [u64; 4] = [0, 250, 0, 2000];

/// The workload.
#[derive(Debug)]
pub struct Stale {
    place: Place,
    next_value: Mutex<i64>,
}

impl Default for Stale {
    fn default() -> Self {
        Self { place: Place::spread("stale"), next_value: Mutex::default() }
    }
}

#[async_trait]
impl Workload for Stale {
    fn name(&self) -> &'static str {
        "stale"
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
        let turn = usize::try_from(asker.thread).unwrap_or(0) % BOUNDS.len();
        let bound = BOUNDS.get(turn).copied().unwrap_or(0);
        let mode = match bound {
            0 => "read=stale".to_owned(),
            bound => format!("read=bounded&max_staleness={bound}ms"),
        };
        let Some(request) = kept::request(&self.place, task, &mode) else {
            return foreign(node, task);
        };
        let mut completion = kept::completion(task, &api.send(node, request).await);
        if task.f == "read" && bound > 0 {
            completion.extra.insert("bound".into(), int(bound));
        }
        completion
    }

    fn last(&self, threads: u64) -> Vec<(u64, Task)> {
        let thread = if threads > 1 { 1 } else { 0 };
        let read = |key| (thread, Task { f: "read".into(), value: Value::keyed(key, Value::Nil) });
        (0..KEYS).map(read).collect()
    }

    fn checkers(&self) -> Vec<Box<dyn Checker>> {
        vec![Box::new(check::StaleChecker)]
    }

    fn needed(&self) -> Vec<(&'static str, u64)> {
        vec![("write", 10), ("read", 30)]
    }
}
