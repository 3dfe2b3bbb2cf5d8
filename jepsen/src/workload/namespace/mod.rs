//! Namespaces come and go while others write in them.
//!
//! Why it exists: a name that is used again must not show what was under it before. Promises: each
//! name is made and deleted by one thread only, one after the other, so that its history can be read;
//! a name whose making or deletion nobody answered is never used again. Each key is written once.
//!
//! Operations: `create name`, `delete name`; `write [name key]` and `read [name key]` ->
//! `[name key there]` by everybody. A certain "there is no such namespace" is a `fail` with
//! `namespace_not_found`.

mod check;

use std::collections::BTreeMap;
use std::sync::OnceLock;

use async_trait::async_trait;
use parking_lot::Mutex;
use reqwest::Method;
use serde_json::json;

use super::finding::text;
use super::place::{foreign, harmless};
use super::{Asker, Completion, Ending, Task, Workload};
use crate::api::{Api, ApiError, Request};
use crate::checker::Checker;
use crate::history::Value;

/// Threads that make and delete; each has one name at a time.
const OWNERS: u64 = 4;
/// Keys of a name that are read.
const KEYS_READ: usize = 200;

/// One name in use.
#[derive(Clone, Debug, Default)]
struct Name {
    name: String,
    there: bool,
    keys: Vec<String>,
}

#[derive(Debug, Default)]
struct Names {
    owned: BTreeMap<u64, Name>,
    made: u64,
    keys: u64,
}

/// The workload.
#[derive(Debug, Default)]
pub struct Namespace {
    stem: OnceLock<String>,
    names: Mutex<Names>,
}

impl Namespace {
    fn stem(&self) -> &str {
        self.stem.get_or_init(|| format!("come-and-go-{:08x}", fastrand::Rng::new().u32(..)))
    }

    fn fresh(&self, names: &mut Names) -> Name {
        names.made += 1;
        Name { name: format!("{}-{}", self.stem(), names.made), ..Name::default() }
    }

    fn settled(&self, owner: u64, task: &Task, ending: &Ending) {
        let mut names = self.names.lock();
        let fresh = self.fresh(&mut names);
        let Some(owned) = names.owned.get_mut(&owner) else { return };
        match (ending, task.f.as_str()) {
            (Ending::Ok, f) => owned.there = f == "create",
            (Ending::Info(_), _) => *owned = fresh,
            (Ending::Fail(_), _) => {}
        }
    }
}

fn request(task: &Task) -> Option<Request> {
    let name = task.value.as_text().or_else(|| text(&task.value, 0))?;
    let key = || Some(format!("/v1/ns/{name}/keys/{}", text(&task.value, 1)?));
    Some(match task.f.as_str() {
        "create" => {
            Request::new(Method::POST, "/v1/namespaces").body(json!({ "name": name }).to_string())
        }
        "delete" => Request::new(Method::DELETE, format!("/v1/namespaces/{name}")),
        "write" => Request::new(Method::PUT, key()?).body("there"),
        _ => Request::new(Method::GET, key()?),
    })
}

#[async_trait]
impl Workload for Namespace {
    fn name(&self) -> &'static str {
        "namespace"
    }

    async fn prepare(&self, _: &Api) -> Result<(), ApiError> {
        Ok(())
    }

    fn next(&self, asker: Asker, rng: &mut fastrand::Rng) -> Option<Task> {
        let mut names = self.names.lock();
        if asker.thread < OWNERS && rng.u8(..4) == 0 {
            if !names.owned.contains_key(&asker.thread) {
                let fresh = self.fresh(&mut names);
                names.owned.insert(asker.thread, fresh);
            }
            let owned = names.owned.get(&asker.thread)?;
            let f = if owned.there { "delete" } else { "create" };
            return Some(Task { f: f.into(), value: owned.name.as_str().into() });
        }
        names.keys += 1;
        let key = format!("k{}", names.keys);
        let mut all: Vec<&mut Name> = names.owned.values_mut().collect();
        let place = rng.usize(..all.len().max(1));
        let owned = all.get_mut(place)?;
        let value = |key: &str| Value::list([owned.name.as_str().into(), key.into()]);
        // What was written long ago, before a deletion, is what must not be seen.
        match rng.choice(&owned.keys) {
            Some(key) if rng.bool() => Some(Task { f: "read".into(), value: value(key) }),
            _ => {
                let task = Task { f: "write".into(), value: value(&key) };
                owned.keys.push(key);
                if owned.keys.len() > KEYS_READ {
                    owned.keys.remove(0);
                }
                Some(task)
            }
        }
    }

    async fn invoke(&self, api: &Api, node: u32, asker: Asker, task: &Task) -> Completion {
        let Some(request) = request(task) else { return foreign(node, task) };
        let reply = api.send(node, request).await;
        let mut completion = reply.completion();
        completion.value = task.value.clone();
        match task.f.as_str() {
            "create" | "delete" => self.settled(asker.thread, task, &completion.ending),
            "read" => {
                let absent = reply.error.as_deref() == Some("key_not_found");
                if completion.ending == Ending::Ok || absent {
                    let mut items = task.value.as_list().unwrap_or_default().to_vec();
                    items.push((!absent).into());
                    completion.ending = Ending::Ok;
                    completion.value = Value::List(items);
                }
                completion = harmless(completion);
            }
            _ => {}
        }
        completion
    }

    fn last(&self, _: u64) -> Vec<(u64, Task)> {
        let names = self.names.lock();
        let there = names.owned.values().filter(|name| name.there);
        let reads = there.flat_map(|name| {
            name.keys.iter().map(|key| {
                let value = Value::list([name.name.as_str().into(), key.as_str().into()]);
                (0, Task { f: "read".into(), value })
            })
        });
        reads.collect()
    }

    fn checkers(&self) -> Vec<Box<dyn Checker>> {
        vec![Box::new(check::NamespaceChecker)]
    }

    fn needed(&self) -> Vec<(&'static str, u64)> {
        vec![("create", 3), ("delete", 3), ("write", 10), ("read", 10)]
    }
}
