//! `converge`: every type is read and written at every node, through anything, and at the end all
//! nodes must be the same.
//!
//! Why it exists: it is the first promise of eventual namespaces, with its other side: until then every
//! node goes on answering by itself, in a minority too.
//!
//! Promises: operations are `[type key number]`, the number unlike any other (of counters it is what is
//! added). A read's answer is `[type key [number …]]`: all numbers that are shown. Judged: each node
//! that runs answers (`availability`); at the end each node says `converged`, with equal digests; each
//! key is the same at each node, to the byte and the receipt; nothing is shown that nobody wrote.

use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use serde_json::json;

use super::{Spaces, asking, told};
use crate::api::{Api, ApiError, Request};
use crate::checker::Checker;
use crate::checker::eventual::{Agreement, Availability, Written};
use crate::history::Value;
use crate::workload::finding::{at, text};
use crate::workload::place::foreign;
use crate::workload::{Asker, Completion, Task, Workload};

/// The types, each with a namespace.
const TYPES: &[&str] = &["lww", "mv", "counter", "set", "map"];
/// Keys of each.
const KEYS: i64 = 8;

/// The workload.
#[derive(Debug)]
pub struct Converge {
    spaces: Spaces,
    next: AtomicI64,
}

impl Default for Converge {
    fn default() -> Self {
        Self { spaces: Spaces::of("converge", TYPES), next: AtomicI64::new(0) }
    }
}

#[async_trait]
impl Workload for Converge {
    fn name(&self) -> &'static str {
        "converge"
    }

    async fn prepare(&self, api: &Api) -> Result<(), ApiError> {
        self.spaces.make(api).await
    }

    fn next(&self, _: Asker, rng: &mut fastrand::Rng) -> Option<Task> {
        let data_type = TYPES.get(rng.usize(..TYPES.len()))?;
        let (f, number) = match rng.u32(..100) {
            0..30 => ("read", Value::Nil),
            30..38 => ("delete", Value::Nil),
            _ if *data_type == "counter" => ("write", rng.i64(-3..=9).into()),
            _ => ("write", self.next.fetch_add(1, Ordering::Relaxed).into()),
        };
        let value = Value::list([(*data_type).into(), rng.i64(0..KEYS).into(), number]);
        Some(Task { f: f.into(), value })
    }

    async fn invoke(&self, api: &Api, node: u32, _: Asker, task: &Task) -> Completion {
        if let Some((node, data_type)) = told(task) {
            let space = self.spaces.name(api, data_type);
            return match task.f.as_str() {
                "converge" => {
                    asking::converged(api, node, (&space, data_type), self.spaces.over()).await
                }
                _ => {
                    let keys = (0..KEYS).map(|key| format!("k{key}")).collect();
                    asking::rows(api, node, (&space, data_type), keys).await
                }
            };
        }
        let (Some(data_type), Some(key)) = (text(&task.value, 0), at(&task.value, 1).as_int())
        else {
            return foreign(node, task);
        };
        let at = Spot {
            api,
            node,
            space: self.spaces.name(api, data_type),
            key: format!("k{key}"),
            task,
        };
        match (task.f.as_str(), at_number(task)) {
            ("read", _) => at.read().await,
            ("delete", _) => at.delete(data_type).await,
            (_, Some(number)) => at.write(data_type, number).await,
            _ => foreign(node, task),
        }
    }

    fn last(&self, _: u64) -> Vec<(u64, Task)> {
        self.spaces.each("converge").chain(self.spaces.each("rows")).collect()
    }

    fn checkers(&self) -> Vec<Box<dyn Checker>> {
        vec![Box::new(Agreement), Box::new(Written), Box::new(Availability)]
    }

    fn needed(&self) -> Vec<(&'static str, u64)> {
        vec![("write", 100), ("read", 40), ("delete", 10)]
    }
}

fn at_number(task: &Task) -> Option<i64> {
    at(&task.value, 2).as_int()
}

/// One key at one node.
struct Spot<'a> {
    api: &'a Api,
    node: u32,
    space: String,
    key: String,
    task: &'a Task,
}

impl Spot<'_> {
    async fn read(&self) -> Completion {
        let reply = asking::get(self.api, self.node, &self.space, &self.key).await;
        let found = Value::from(asking::numbers(&reply, &["sum"]));
        asking::read(&reply, self.said(found))
    }

    /// A set is emptied one element at a time, three of four times.
    async fn delete(&self, data_type: &str) -> Completion {
        let request = match self.shown(data_type).await {
            Some(element) => {
                let operation = json!({ "set_remove": [element.to_string()] });
                asking::operate(&self.space, &self.key, &operation)
            }
            None => asking::delete(&self.space, &self.key),
        };
        self.send(request).await
    }

    /// An element that the set has, unless all are to go.
    async fn shown(&self, data_type: &str) -> Option<i64> {
        if data_type != "set" {
            return None;
        }
        let reply = asking::get(self.api, self.node, &self.space, &self.key).await;
        let numbers = asking::numbers(&reply, &[]);
        numbers.first().copied().filter(|first| first % 4 != 0)
    }

    async fn write(&self, data_type: &str, number: i64) -> Completion {
        let request = match data_type {
            "lww" | "mv" => {
                let text = number.to_string();
                let context = if number % 3 == 0 { None } else { self.context().await };
                asking::put(&self.space, &self.key, text, context.as_deref())
            }
            "counter" => asking::operate(&self.space, &self.key, &json!({ "add": number })),
            "set" if number % 9 == 0 => {
                let all = json!([number.to_string()]).to_string();
                asking::put(&self.space, &self.key, all, None)
            }
            "set" => {
                let operation = json!({ "set_add": [number.to_string()] });
                asking::operate(&self.space, &self.key, &operation)
            }
            _ => self.document(number),
        };
        self.send(request).await
    }

    /// Each way to write a document, to one of a few fields or to all.
    fn document(&self, number: i64) -> Request {
        let field = format!("f{}", number / 5 % 4);
        match number % 5 {
            0 => asking::merge(&self.space, &self.key, &json!({ field: number })),
            1 => {
                let patch = json!({ "within": { field: number }, "list": [number] });
                asking::merge(&self.space, &self.key, &patch)
            }
            2 => {
                let fields =
                    json!({ "tags": { "set_add": [number.to_string()] }, "sum": { "add": 1 } });
                asking::operate(&self.space, &self.key, &json!({ "fields": fields }))
            }
            3 => {
                let fields = json!({ format!("within.{field}"): { "put": number } });
                asking::operate(&self.space, &self.key, &json!({ "fields": fields }))
            }
            _ => {
                let whole = json!({ field: number, "within": {} }).to_string();
                asking::put(&self.space, &self.key, whole, None)
            }
        }
    }

    async fn context(&self) -> Option<String> {
        let reply = asking::get(self.api, self.node, &self.space, &self.key).await;
        reply.header("kv-context").map(str::to_owned)
    }

    async fn send(&self, request: Request) -> Completion {
        let reply = self.api.send(self.node, request).await;
        asking::written(&reply, self.task.value.clone())
    }

    fn said(&self, found: Value) -> Value {
        let place = |place| at(&self.task.value, place).clone();
        Value::list([place(0), place(1), found])
    }
}
