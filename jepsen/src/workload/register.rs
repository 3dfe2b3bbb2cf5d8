//! `register`: many keys, each a register that is read, written, compared-and-set and deleted.
//!
//! Why it exists: linearizability of single keys, the promise that all others stand on. A band of ten
//! threads shares sixteen keys, so that each key sees real contention and lives for some ten seconds,
//! long enough for a leader to be lost and another to be elected meanwhile; after two hundred
//! operations a key gives way to a new one, of another group.
//!
//! Promises: values are never written twice to a key. A delete stands in the history as a write of nil.
//! A cas is a GET, which learns the ETag of the old
//! value, and a PUT under `If-Match`. A read that got no answer is `fail`: it had no effect.

use std::collections::BTreeMap;

use async_trait::async_trait;
use parking_lot::Mutex;
use reqwest::Method;
use serde_json::json;

use super::make;
use crate::api::{Api, ApiError, Outcome, Reply, Request};
use crate::checker::Checker;
use crate::checker::linear::Linear;
use crate::history::Value;
use crate::workload::{Asker, Completion, Ending, Task, Workload};

/// Threads that share keys. Beyond ten a search for a linearization becomes expensive.
const BAND: u64 = 10;
/// Keys that a band works on at a time.
const ACTIVE: usize = 16;
/// Operations after which a key is given up.
const KEY_OPS: u32 = 200;

/// A key in use.
#[derive(Clone, Debug)]
struct Slot {
    key: i64,
    ops: u32,
    /// The next value to write.
    fresh: i64,
}

#[derive(Debug, Default)]
struct State {
    /// The keys of each band.
    bands: BTreeMap<u64, Vec<Slot>>,
    next_key: i64,
    /// What was last seen or written under a key: what a cas has a chance with.
    seen: BTreeMap<i64, i64>,
}

/// The workload.
#[derive(Debug, Default)]
pub struct Register {
    state: Mutex<State>,
}

impl State {
    fn pick(&mut self, band: u64, rng: &mut fastrand::Rng) -> (i64, i64) {
        let next_key = &mut self.next_key;
        let mut make = || {
            *next_key += 1;
            Slot { key: *next_key, ops: 0, fresh: 0 }
        };
        let keys = self.bands.entry(band).or_insert_with(|| (0..ACTIVE).map(|_| make()).collect());
        let place = rng.usize(..keys.len());
        let register = keys.get_mut(place).expect("the place is below the length");
        if register.ops >= KEY_OPS {
            self.seen.remove(&register.key);
            *register = make();
        }
        register.ops += 1;
        register.fresh += 1;
        (register.key, register.fresh)
    }
}

impl Register {
    fn saw(&self, key: i64, value: i64) {
        self.state.lock().seen.insert(key, value);
    }
}

#[async_trait]
impl Workload for Register {
    fn name(&self) -> &'static str {
        "register"
    }

    async fn prepare(&self, api: &Api) -> Result<(), ApiError> {
        make::namespace(api, &api.own("register"), json!({})).await
    }

    fn next(&self, asker: Asker, rng: &mut fastrand::Rng) -> Option<Task> {
        let mut state = self.state.lock();
        let (key, fresh) = state.pick(asker.thread / BAND, rng);
        let old = state.seen.get(&key).copied();
        let (f, argument) = match (rng.u32(..100), old) {
            (0..45, _) => ("read", Value::Nil),
            (45..70, Some(old)) => ("cas", Value::list([old.into(), fresh.into()])),
            (45..92, _) => ("write", fresh.into()),
            // A delete, as a register knows it, and as Knossos' cas-register reads it.
            _ => ("write", Value::Nil),
        };
        Some(Task { f: f.into(), value: Value::keyed(key, argument) })
    }

    async fn invoke(&self, api: &Api, node: u32, _: Asker, task: &Task) -> Completion {
        let Some((key, argument)) = task.value.as_keyed() else {
            return make::refused(node, "not-a-register-task");
        };
        let number = key.as_int().unwrap_or_default();
        let path = make::key(&api.own("register"), &format!("r{number}"));
        let mut completion = match (task.f.as_str(), argument.as_list()) {
            ("read", _) => read(api, node, path).await,
            ("cas", Some([old, new])) => cas(api, node, path, (old, new)).await,
            _ if *argument == Value::Nil => {
                let reply = api.send(node, Request::new(Method::DELETE, path)).await;
                answered(&reply, Value::Nil)
            }
            _ => {
                let put = Request::new(Method::PUT, path).body(argument.to_string());
                answered(&api.send(node, put).await, argument.clone())
            }
        };
        let written = match (task.f.as_str(), argument.as_list()) {
            ("read", _) => completion.value.as_int(),
            ("cas", Some([_, new])) => new.as_int(),
            _ => argument.as_int(),
        };
        if let (Ending::Ok, Some(value)) = (&completion.ending, written) {
            self.saw(number, value);
        }
        completion.value = Value::keyed(number, completion.value);
        completion
    }

    fn last(&self, threads: u64) -> Vec<(u64, Task)> {
        let state = self.state.lock();
        let keys = state.bands.iter().flat_map(|(band, keys)| {
            keys.iter().enumerate().map(move |(place, register)| {
                let within = u64::try_from(place).unwrap_or_default() % BAND;
                ((band * BAND + within) % threads.max(1), register.key)
            })
        });
        keys.map(|(thread, key)| {
            (thread, Task { f: "read".into(), value: Value::keyed(key, Value::Nil) })
        })
        .collect()
    }

    fn checkers(&self) -> Vec<Box<dyn Checker>> {
        vec![Box::new(Linear)]
    }

    fn needed(&self) -> Vec<(&'static str, u64)> {
        vec![("read", 50), ("write", 50), ("cas", 10)]
    }
}

async fn read(api: &Api, node: u32, path: String) -> Completion {
    let reply = api.send(node, Request::new(Method::GET, path)).await;
    let value = match reply.outcome {
        Outcome::Applied => reply.text().parse().map_or_else(|_| reply.text().into(), Value::Int),
        _ => Value::Nil,
    };
    make::harmless(answered(&reply, value))
}

async fn cas(api: &Api, node: u32, path: String, (old, new): (&Value, &Value)) -> Completion {
    let reply = api.send(node, Request::new(Method::GET, path.clone())).await;
    // Nothing was written yet.
    if reply.outcome != Outcome::Applied {
        let completion = make::harmless(reply.completion());
        return Completion { witness: None, ..completion };
    }
    let (Some(etag), true) = (reply.header("etag"), reply.text() == old.to_string()) else {
        return make::refused(node, "value-mismatch");
    };
    let put = Request::new(Method::PUT, path).header("if-match", etag).body(new.to_string());
    let mut completion =
        answered(&api.send(node, put).await, Value::list([old.clone(), new.clone()]));
    if completion.ending != Ending::Ok {
        completion.witness = None;
    }
    completion
}

/// A completion in which a missing key is an answer, for reads and deletes.
fn answered(reply: &Reply, value: Value) -> Completion {
    let mut completion = reply.completion();
    completion.value = value;
    if make::absent(reply) {
        completion.ending = Ending::Ok;
        completion.value = Value::Nil;
    }
    if completion.ending == Ending::Ok
        && let Some(etag) = reply.header("etag")
    {
        completion.extra.insert("etag".into(), etag.trim_matches('"').into());
    }
    completion
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_key_gives_way_and_never_sees_a_value_twice() {
        let workload = Register::default();
        let mut rng = fastrand::Rng::with_seed(1);
        let mut written = BTreeSet::new();
        let mut uses = BTreeMap::<i64, u32>::new();
        for turn in 0..20_000 {
            let asker = Asker { thread: turn % 20, process: turn };
            let task = workload.next(asker, &mut rng).unwrap();
            let (key, argument) = task.value.as_keyed().unwrap();
            let key = key.as_int().unwrap();
            *uses.entry(key).or_default() += 1;
            if let ("write", Some(value)) = (task.f.as_str(), argument.as_int()) {
                assert!(written.insert((key, value)), "written twice");
                workload.saw(key, value);
            }
        }
        assert!(uses.len() > 2 * ACTIVE, "keys rotate");
        assert!(uses.values().all(|uses| *uses <= KEY_OPS));
    }
}
