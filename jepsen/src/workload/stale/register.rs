//! Registers read with `read=stale`, judged as if that were linearizable: the control that must fail.
//!
//! Why it exists: a checker that never says no proves nothing. Under a partition or a pause some of
//! these reads are old, and a pass of this workload then is a fault of the harness. Promises: the same
//! history as any register's, and nothing in it says that the reads were old ones.
//!
//! Operations: `write [key value]`, `read [key nil]` -> `[key value]`.

use async_trait::async_trait;
use parking_lot::Mutex;

use super::super::kept;
use super::super::place::{Place, foreign};
use super::super::{Asker, Completion, Task, Workload};
use crate::api::{Api, ApiError};
use crate::checker::Checker;
use crate::checker::linear::Linear;
use crate::history::Value;

/// Threads that share keys.
const BAND: u64 = 10;
/// Keys that a band works on at a time.
const ACTIVE: i64 = 8;
/// Operations of a band after which it takes new keys.
const BAND_OPS: i64 = 1600;

/// The workload.
#[derive(Debug)]
pub struct RegisterStale {
    place: Place,
    next_value: Mutex<i64>,
}

impl Default for RegisterStale {
    fn default() -> Self {
        Self { place: Place::spread("register-stale"), next_value: Mutex::default() }
    }
}

#[async_trait]
impl Workload for RegisterStale {
    fn name(&self) -> &'static str {
        "register-stale"
    }

    async fn prepare(&self, api: &Api) -> Result<(), ApiError> {
        self.place.make(api).await
    }

    fn next(&self, asker: Asker, rng: &mut fastrand::Rng) -> Option<Task> {
        let mut next = self.next_value.lock();
        *next += 1;
        let band = i64::try_from(asker.thread / BAND).unwrap_or(0);
        let key = (*next / BAND_OPS * 1000 + band) * ACTIVE + rng.i64(0..ACTIVE);
        Some(if rng.u8(..3) == 0 {
            Task { f: "write".into(), value: Value::keyed(key, *next) }
        } else {
            Task { f: "read".into(), value: Value::keyed(key, Value::Nil) }
        })
    }

    async fn invoke(&self, api: &Api, node: u32, _: Asker, task: &Task) -> Completion {
        let Some(request) = kept::request(&self.place, task, "read=stale") else {
            return foreign(node, task);
        };
        let mut completion = kept::completion(task, &api.send(node, request).await);
        if task.f == "read" {
            // The index would give it away: a read that names an old one is honest.
            completion.witness = None;
            completion.extra.clear();
        }
        completion
    }

    fn last(&self, _: u64) -> Vec<(u64, Task)> {
        Vec::new()
    }

    fn checkers(&self) -> Vec<Box<dyn Checker>> {
        vec![Box::new(Linear)]
    }

    fn needed(&self) -> Vec<(&'static str, u64)> {
        vec![("write", 10), ("read", 30)]
    }
}
