//! `crdt`: counters, sets and maps, written at all nodes, which must lose nothing.
//!
//! Why it exists: these types are chosen so that concurrent writes are no conflict. So what was
//! acknowledged must be in the end's state, exactly: sums, elements that no removal can have seen,
//! and the last write to each field that only one client writes.
//!
//! Promises: operations are `[type key argument]`. `add` and `read` of counters; `insert`, `remove`
//! and `read` of sets, where each removal says in `shown` whether its node showed the element just
//! before; `field`, `hit` and `tag` of maps: a value for the field in the answer's `field`, which one
//! thread writes at one node, an addition to the counter `hits`, an element for the set `tags`.

use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::{Value as Json, json};

use super::{Spaces, asking, told};
use crate::api::{Api, ApiError};
use crate::checker::Checker;
use crate::checker::eventual::{Agreement, Availability, Merging};
use crate::history::Value;
use crate::workload::finding::at;
use crate::workload::place::foreign;
use crate::workload::{Asker, Completion, Task, Workload};

/// The types, each with a namespace.
const TYPES: &[&str] = &["counter", "set", "map"];
/// Keys of each.
const KEYS: i64 = 4;
/// Elements that are inserted and removed again and again; those above are inserted once.
const POOL: i64 = 24;
/// Elements that were inserted lately, of which some are removed.
const RECENT: usize = 40;

/// The workload.
#[derive(Debug)]
pub struct Crdt {
    spaces: Spaces,
    next: AtomicI64,
    recent: Mutex<Vec<(i64, i64)>>,
}

impl Default for Crdt {
    fn default() -> Self {
        Self {
            spaces: Spaces::of("crdt", TYPES),
            next: AtomicI64::new(POOL),
            recent: Mutex::default(),
        }
    }
}

#[async_trait]
impl Workload for Crdt {
    fn name(&self) -> &'static str {
        "crdt"
    }

    async fn prepare(&self, api: &Api) -> Result<(), ApiError> {
        self.spaces.make(api).await
    }

    fn next(&self, _: Asker, rng: &mut fastrand::Rng) -> Option<Task> {
        let key = rng.i64(0..KEYS);
        let (f, data_type, key, argument) = match rng.u32(..100) {
            0..25 => ("add", "counter", key, Some(amount(rng))),
            25..33 => ("read", "counter", key, None),
            33..50 => self.insertion(key, rng),
            50..61 => self.removal(key, rng),
            61..70 => ("read", "set", key, None),
            70..85 => ("field", "map", key, Some(self.fresh())),
            85..93 => ("hit", "map", key, Some(amount(rng))),
            _ => ("tag", "map", key, Some(self.fresh())),
        };
        let value = Value::list([data_type.into(), key.into(), argument.into()]);
        Some(Task { f: f.into(), value })
    }

    async fn invoke(&self, api: &Api, node: u32, asker: Asker, task: &Task) -> Completion {
        if let Some((node, data_type)) = told(task) {
            let space = self.spaces.name(api, data_type);
            return match task.f.as_str() {
                "converge" => {
                    asking::converged(api, node, (&space, data_type), self.spaces.over()).await
                }
                "totals" => asking::totals(api, node, &space, data_type).await,
                _ => state(api, node, &space, data_type).await,
            };
        }
        let data_type = at(&task.value, 0).as_text().unwrap_or_default();
        let Some(key) = at(&task.value, 1).as_int() else { return foreign(node, task) };
        let (space, key) = (self.spaces.name(api, data_type), format!("k{key}"));
        let Some(argument) = at(&task.value, 2).as_int() else {
            let reply = asking::get(api, node, &space, &key).await;
            let value = said(task, contents(data_type, &reply));
            return asking::read(&reply, value);
        };
        let mut extra = None;
        let operation = match task.f.as_str() {
            "add" => json!({ "add": argument }),
            "insert" => json!({ "set_add": [argument.to_string()] }),
            "remove" => {
                let reply = asking::get(api, node, &space, &key).await;
                let shown = asking::numbers(&reply, &[]).contains(&argument);
                extra = Some(("shown", Value::Bool(shown)));
                json!({ "set_remove": [argument.to_string()] })
            }
            "field" => {
                let field = format!("t{}n{node}", asker.thread);
                extra = Some(("field", field.as_str().into()));
                json!({ "fields": { field: { "put": argument } } })
            }
            "hit" => json!({ "fields": { "hits": { "add": argument } } }),
            "tag" => json!({ "fields": { "tags": { "set_add": [argument.to_string()] } } }),
            _ => return foreign(node, task),
        };
        let reply = api.send(node, asking::operate(&space, &key, &operation)).await;
        let mut completion = asking::written(&reply, task.value.clone());
        completion.extra.extend(extra.map(|(name, value)| (name.to_owned(), value)));
        completion
    }

    fn last(&self, _: u64) -> Vec<(u64, Task)> {
        let totals = self.spaces.each_node("totals", vec!["map".into()]);
        self.spaces.each("converge").chain(self.spaces.each("state")).chain(totals).collect()
    }

    fn checkers(&self) -> Vec<Box<dyn Checker>> {
        vec![Box::new(Merging), Box::new(Agreement), Box::new(Availability)]
    }

    fn needed(&self) -> Vec<(&'static str, u64)> {
        vec![("add", 40), ("insert", 20), ("remove", 10), ("field", 20), ("hit", 10), ("tag", 5)]
    }
}

impl Crdt {
    fn fresh(&self) -> i64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    fn insertion(
        &self,
        key: i64,
        rng: &mut fastrand::Rng,
    ) -> (&'static str, &'static str, i64, Option<i64>) {
        if rng.bool() {
            return ("insert", "set", key, Some(rng.i64(0..POOL)));
        }
        let element = self.fresh();
        let mut recent = self.recent.lock();
        if recent.len() >= RECENT {
            recent.swap_remove(rng.usize(..RECENT));
        }
        recent.push((key, element));
        ("insert", "set", key, Some(element))
    }

    fn removal(
        &self,
        key: i64,
        rng: &mut fastrand::Rng,
    ) -> (&'static str, &'static str, i64, Option<i64>) {
        let recent = self.recent.lock();
        match rng.choice(recent.iter()) {
            Some((key, element)) if rng.bool() => ("remove", "set", *key, Some(*element)),
            _ => ("remove", "set", key, Some(rng.i64(0..POOL))),
        }
    }
}

/// Never zero, and taken away less often, so that lost additions do not cancel out.
fn amount(rng: &mut fastrand::Rng) -> i64 {
    if rng.u32(..4) == 0 { -rng.i64(1..=9) } else { rng.i64(1..=9) }
}

/// A counter's sum, a set's elements, a map's text.
fn contents(data_type: &str, reply: &crate::api::Reply) -> Value {
    match data_type {
        "counter" if reply.status == 200 => reply.text().parse::<i64>().ok().into(),
        "counter" => Value::Int(0),
        "set" => asking::numbers(reply, &[]).into(),
        _ => reply.json().as_object().map(|_| reply.text()).into(),
    }
}

fn said(task: &Task, found: Value) -> Value {
    let place = |place| at(&task.value, place).clone();
    Value::list([place(0), place(1), found])
}

/// Everything at one node: `[node type [[key contents] …]]`.
async fn state(api: &Api, node: u32, space: &str, data_type: &str) -> Completion {
    let mut found = Vec::new();
    let mut completion = None;
    for key in 0..KEYS {
        let reply = asking::get(api, node, space, &format!("k{key}")).await;
        let one = asking::read(&reply, Value::Nil);
        if one.ending != crate::workload::Ending::Ok {
            return one;
        }
        found.push(Value::keyed(key, contents(data_type, &reply)));
        completion = Some(one);
    }
    let value = asking::seen_at(node, data_type, [Value::List(found)]);
    completion.map_or_else(
        || foreign(node, &Task { f: "state".into(), value: value.clone() }),
        |completion| Completion { value: value.clone(), ..completion },
    )
}

/// The fields of a map as the history has it.
pub(crate) fn fields(text: &Value) -> Json {
    text.as_text().and_then(|text| serde_json::from_str(text).ok()).unwrap_or(Json::Null)
}
