//! `append`: transactions that append to lists and read lists, judged for cycles as Elle does.
//!
//! Why it exists: it is the sharpest test of transactions that there is: a list tells the order of all
//! appends to it, and from the orders of all lists together follows which transaction must have come
//! before which. Keys of one tag live in one group; thirty-two tags are in use at a time.
//!
//! Promises: a value is appended once to a key, a key is appended to at most once in a transaction.
//! A list is the text `3,5,8,`. Three of four transactions are one request, applied as one entry: a
//! PATCH by `append` for each append, a `get` for each read. The fourth reads all keys first, and then
//! writes whole lists under the condition that no ETag changed: what a client without patches does.

use std::collections::BTreeMap;

use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::{Value as Json, json};

use super::make;
use crate::api::{Api, ApiError, Outcome, Reply};
use crate::checker::Checker;
use crate::checker::cycles::Cycles;
use crate::history::Value;
use crate::workload::{Asker, Completion, Ending, Task, Workload};

/// Tags in use, each in a group of its own choice.
const TAGS: i64 = 32;
/// Keys in use of a tag.
const KEYS: usize = 3;
/// Appends after which a key is given up.
const APPENDS: i64 = 64;
/// Operations of a transaction, at most.
const OPS: usize = 4;

/// A key in use.
#[derive(Clone, Copy, Debug)]
struct Key {
    key: i64,
    appended: i64,
}

#[derive(Debug, Default)]
struct State {
    tags: BTreeMap<i64, Vec<Key>>,
    made: i64,
}

/// The workload.
#[derive(Debug, Default)]
pub struct Append {
    state: Mutex<State>,
}

/// `[:append k v]` or `[:r k nil]`.
#[derive(Clone, Copy, Debug)]
struct Op {
    key: i64,
    append: Option<i64>,
}

impl Op {
    fn value(self, read: Value) -> Value {
        match self.append {
            Some(element) => {
                Value::list([Value::Keyword("append".into()), self.key.into(), element.into()])
            }
            None => Value::list([Value::Keyword("r".into()), self.key.into(), read]),
        }
    }

    fn parse(value: &Value) -> Option<Self> {
        let [f, key, element] = value.as_list()? else { return None };
        let append = if f.as_text()? == "append" { Some(element.as_int()?) } else { None };
        Some(Self { key: key.as_int()?, append })
    }
}

/// The name of a key: keys of a tag are in one group.
fn name(key: i64) -> String {
    format!("{{t{}}}k{key}", key % TAGS)
}

impl State {
    fn draw(&mut self, rng: &mut fastrand::Rng) -> Vec<Op> {
        let tag = rng.i64(0..TAGS);
        let made = &mut self.made;
        let mut make = || {
            *made += 1;
            Key { key: *made * TAGS + tag, appended: 0 }
        };
        let keys = self.tags.entry(tag).or_insert_with(|| (0..KEYS).map(|_| make()).collect());
        let mut ops: Vec<Op> = Vec::new();
        for _ in 0..rng.usize(1..=OPS) {
            let place = rng.usize(..keys.len());
            let key = keys.get_mut(place).expect("the place is below the length");
            let again = ops.iter().any(|op| op.key == key.key && op.append.is_some());
            if rng.bool() || again {
                ops.push(Op { key: key.key, append: None });
                continue;
            }
            key.appended += 1;
            ops.push(Op { key: key.key, append: Some(key.appended) });
        }
        for key in keys.iter_mut().filter(|key| key.appended >= APPENDS) {
            *key = make();
        }
        ops
    }
}

#[async_trait]
impl Workload for Append {
    fn name(&self) -> &'static str {
        "append"
    }

    async fn prepare(&self, api: &Api) -> Result<(), ApiError> {
        make::namespace(api, &api.own("append"), json!({})).await
    }

    fn next(&self, _: Asker, rng: &mut fastrand::Rng) -> Option<Task> {
        let ops = self.state.lock().draw(rng);
        Some(Task {
            f: "txn".into(),
            value: Value::list(ops.iter().map(|op| op.value(Value::Nil))),
        })
    }

    async fn invoke(&self, api: &Api, node: u32, asker: Asker, task: &Task) -> Completion {
        let ops: Option<Vec<Op>> =
            task.value.as_list().and_then(|ops| ops.iter().map(Op::parse).collect());
        let Some(ops) = ops else { return make::refused(node, "not-a-transaction") };
        let writes = ops.iter().any(|op| op.append.is_some());
        let first = ops.iter().find_map(|op| op.append).unwrap_or_default();
        if writes && first % 4 == 0 && asker.thread.is_multiple_of(2) {
            step_by_step(api, node, &ops).await
        } else {
            at_once(api, node, &ops, writes).await
        }
    }

    fn last(&self, threads: u64) -> Vec<(u64, Task)> {
        let state = self.state.lock();
        let read = |key: &Key| Op { key: key.key, append: None }.value(Value::Nil);
        let tags = state.tags.iter().map(|(tag, keys)| {
            let thread = u64::try_from(*tag).unwrap_or_default() % threads.max(1);
            (thread, Task { f: "txn".into(), value: Value::list(keys.iter().map(read)) })
        });
        tags.collect()
    }

    fn checkers(&self) -> Vec<Box<dyn Checker>> {
        vec![Box::new(Cycles)]
    }

    fn needed(&self) -> Vec<(&'static str, u64)> {
        vec![("txn", 100)]
    }
}

/// The whole transaction as one request.
async fn at_once(api: &Api, node: u32, ops: &[Op], writes: bool) -> Completion {
    let then: Vec<Json> = ops
        .iter()
        .map(|op| match op.append {
            Some(element) => json!({"patch": name(op.key), "append": format!("{element},")}),
            None => json!({"get": name(op.key)}),
        })
        .collect();
    let reply = api.send(node, make::txn(&api.own("append"), &json!({ "then": then }))).await;
    let mut completion = reply.completion();
    completion.value = Value::list(ops.iter().map(|op| op.value(Value::Nil)));
    if reply.outcome == Outcome::Applied {
        let Some(lists) = lists(&reply, ops.len()) else {
            return strange(completion);
        };
        let each = ops.iter().zip(lists);
        completion.value = Value::list(each.map(|(op, list)| op.value(list.0.into())));
    }
    if writes { completion } else { make::harmless(completion) }
}

/// Reads everything, then writes under the condition that nothing changed.
async fn step_by_step(api: &Api, node: u32, ops: &[Op]) -> Completion {
    let mut keys: Vec<i64> = ops.iter().map(|op| op.key).collect();
    keys.sort_unstable();
    keys.dedup();
    let gets: Vec<Json> = keys.iter().map(|key| json!({"get": name(*key)})).collect();
    let space = api.own("append");
    let reply = api.send(node, make::txn(&space, &json!({ "then": gets }))).await;
    if reply.outcome != Outcome::Applied {
        // Nothing was written yet.
        return Completion { witness: None, ..make::harmless(reply.completion()) };
    }
    let Some(found) = lists(&reply, keys.len()) else { return strange(reply.completion()) };
    let tests: Vec<Json> =
        keys.iter().zip(&found).map(|(key, (_, etag))| unchanged(*key, etag)).collect();
    let mut now: BTreeMap<i64, Vec<i64>> =
        keys.iter().copied().zip(found.into_iter().map(|(list, _)| list)).collect();
    let mut results = Vec::new();
    let mut puts = Vec::new();
    for op in ops {
        let list = now.entry(op.key).or_default();
        if let Some(element) = op.append {
            list.push(element);
            let text: String = list.iter().map(|element| format!("{element},")).collect();
            puts.push(json!({"put": name(op.key), "value": text}));
        }
        results.push(op.value(list.clone().into()));
    }
    let reply = api.send(node, make::txn(&space, &json!({"if": tests, "then": puts}))).await;
    let mut completion = Completion { value: Value::list(results), ..reply.completion() };
    completion.extra.insert("how".into(), "read-then-write".into());
    if completion.ending != Ending::Ok {
        completion.value = Value::list(ops.iter().map(|op| op.value(Value::Nil)));
    } else if reply.json().get("succeeded") != Some(&Json::Bool(true)) {
        completion.ending = Ending::Fail("changed-meanwhile".into());
        completion.witness = None;
    }
    completion
}

fn unchanged(key: i64, etag: &Option<String>) -> Json {
    match etag {
        Some(etag) => json!({"key": name(key), "etag": etag}),
        None => json!({"key": name(key), "exists": false}),
    }
}

/// The lists in the results with their ETags; empty ones for what is no read. `None` when the answer
/// is not what the API promises.
fn lists(reply: &Reply, wanted: usize) -> Option<Vec<(Vec<i64>, Option<String>)>> {
    let answer = reply.json();
    let results = answer.get("results")?.as_array()?;
    if results.len() != wanted {
        return None;
    }
    results
        .iter()
        .map(|result| match result.get("row") {
            Some(row) => {
                let list = make::numbers(row.get("value")?.as_str()?)?;
                Some((list, row.get("etag").and_then(Json::as_str).map(str::to_owned)))
            }
            None => Some((Vec::new(), None)),
        })
        .collect()
}

/// An answer of success that cannot be read: nobody knows what happened.
fn strange(completion: Completion) -> Completion {
    Completion { ending: Ending::Info("unreadable-answer".into()), witness: None, ..completion }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_value_is_appended_once_and_keys_of_a_transaction_share_a_tag() {
        let workload = Append::default();
        let mut rng = fastrand::Rng::with_seed(7);
        let mut appended = BTreeSet::new();
        for _ in 0..20_000 {
            let task = workload.next(Asker { thread: 0, process: 0 }, &mut rng).unwrap();
            let ops: Vec<Op> =
                task.value.as_list().unwrap().iter().map(|op| Op::parse(op).unwrap()).collect();
            let tags: BTreeSet<i64> = ops.iter().map(|op| op.key % TAGS).collect();
            assert_eq!(tags.len(), 1);
            let mut written = BTreeSet::new();
            for op in &ops {
                if let Some(element) = op.append {
                    assert!(appended.insert((op.key, element)), "appended twice");
                    assert!(written.insert(op.key), "one write of a key in a transaction");
                    assert!(element < APPENDS + 4);
                }
            }
        }
    }
}
