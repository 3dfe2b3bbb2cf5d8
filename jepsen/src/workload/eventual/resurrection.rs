//! `resurrection`: what was deleted must not come back, however long a node was away.
//!
//! Why it exists: a node that was away when something was deleted still has it. Other stores keep a mark of
//! each deletion, throw the marks away after some days, and then the dead come back. Here nothing is kept
//! of a deletion but that its node knew of it, so that no time is too long. To see that in seconds, logs are
//! kept very short, and a node that was away gets the state instead of the log.
//!
//! Promises: operations are `[type item number]`: `create` writes the item with a number unlike any other;
//! `delete` first looks what its node shows (`shown`: the numbers; of sets, which have none, -1) and then
//! deletes; `read` answers `[type item [number …]]`. An item of a register is a key, of a set an element,
//! of a map a field. Some items are created again, at nodes that may not have heard of the deletion. At the
//! end `items` are all items at each node.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::{Value as Json, json};

use super::{Spaces, asking, told};
use crate::api::{Api, ApiError, Reply};
use crate::checker::Checker;
use crate::checker::eventual::{Agreement, Availability, Deletions};
use crate::history::Value;
use crate::workload::finding::{at, int};
use crate::workload::place::foreign;
use crate::workload::{Asker, Completion, Ending, Task, Workload, make};

/// The types, each with a namespace.
const TYPES: &[&str] = &["lww", "mv", "set", "map"];
/// Keys that sets and maps have their items in.
const SHARED: i64 = 4;
/// Items that are not deleted yet, of which one is taken; the oldest give way.
const ALIVE: usize = 60;
/// Items that were deleted, of which some are created again.
const DEAD: usize = 30;
/// What each value is made longer by, so that logs fill up.
const BALLAST: usize = 700;
/// How much log a node keeps of each namespace: some seconds of this workload.
const LOG_KIB: u32 = 24;
/// What a set has instead of a number.
const MEMBER: i64 = -1;

/// An item of a type.
type Item = (&'static str, i64);

/// The workload.
#[derive(Debug)]
pub struct Resurrection {
    spaces: Spaces,
    next: AtomicI64,
    alive: Mutex<VecDeque<Item>>,
    dead: Mutex<VecDeque<Item>>,
}

impl Default for Resurrection {
    fn default() -> Self {
        Self {
            spaces: Spaces::of("resurrection", TYPES),
            next: AtomicI64::new(0),
            alive: Mutex::default(),
            dead: Mutex::default(),
        }
    }
}

#[async_trait]
impl Workload for Resurrection {
    fn name(&self) -> &'static str {
        "resurrection"
    }

    fn serve_flags(&self) -> Vec<String> {
        vec![format!("--eventual-log-kib={LOG_KIB}")]
    }

    async fn prepare(&self, api: &Api) -> Result<(), ApiError> {
        self.spaces.make(api).await
    }

    fn next(&self, _: Asker, rng: &mut fastrand::Rng) -> Option<Task> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let chosen = match rng.u32(..100) {
            0..38 => None,
            38..72 => taken(&self.alive, rng).map(|item| ("delete", item, None)),
            72..80 => taken(&self.dead, rng).map(|item| ("create", item, Some(number))),
            _ => any(&self.dead, rng).map(|item| ("read", item, None)),
        };
        let (f, (data_type, item), number) = match chosen {
            Some(("delete", item, number)) => {
                keep(&self.dead, item, DEAD);
                ("delete", item, number)
            }
            Some(other) => other,
            None => {
                let item = (TYPES.get(rng.usize(..TYPES.len())).copied()?, number);
                keep(&self.alive, item, ALIVE);
                ("create", item, Some(number))
            }
        };
        let value = Value::list([data_type.into(), item.into(), number.into()]);
        Some(Task { f: f.into(), value })
    }

    async fn invoke(&self, api: &Api, node: u32, _: Asker, task: &Task) -> Completion {
        if let Some((node, data_type)) = told(task) {
            let space = self.spaces.name(api, data_type);
            return match task.f.as_str() {
                "converge" => {
                    asking::converged(api, node, (&space, data_type), self.spaces.over()).await
                }
                "items" => items(api, node, &space, data_type).await,
                _ => syncs(api, node).await,
            };
        }
        let data_type = at(&task.value, 0).as_text().unwrap_or_default();
        let Some(item) = at(&task.value, 1).as_int() else { return foreign(node, task) };
        let spot = Spot { api, node, space: self.spaces.name(api, data_type), data_type, item };
        match (task.f.as_str(), at(&task.value, 2).as_int()) {
            ("create", Some(number)) => spot.create(task, number).await,
            ("delete", _) => spot.delete(task).await,
            ("read", _) => spot.read(task).await,
            _ => foreign(node, task),
        }
    }

    fn last(&self, _: u64) -> Vec<(u64, Task)> {
        let syncs = self.spaces.each_node("syncs", vec!["all".into()]);
        self.spaces.each("converge").chain(self.spaces.each("items")).chain(syncs).collect()
    }

    fn checkers(&self) -> Vec<Box<dyn Checker>> {
        vec![Box::new(Deletions), Box::new(Agreement), Box::new(Availability)]
    }

    fn needed(&self) -> Vec<(&'static str, u64)> {
        vec![("create", 60), ("delete", 40), ("read", 10)]
    }
}

fn keep(items: &Mutex<VecDeque<Item>>, item: Item, most: usize) {
    let mut items = items.lock();
    items.push_back(item);
    if items.len() > most {
        items.pop_front();
    }
}

fn taken(items: &Mutex<VecDeque<Item>>, rng: &mut fastrand::Rng) -> Option<Item> {
    let mut items = items.lock();
    if items.is_empty() {
        return None;
    }
    let place = rng.usize(..items.len());
    items.swap_remove_back(place)
}

fn any(items: &Mutex<VecDeque<Item>>, rng: &mut fastrand::Rng) -> Option<Item> {
    let items = items.lock();
    if items.is_empty() { None } else { items.get(rng.usize(..items.len())).copied() }
}

/// One item at one node.
struct Spot<'a> {
    api: &'a Api,
    node: u32,
    space: String,
    data_type: &'a str,
    item: i64,
}

impl Spot<'_> {
    fn key(&self) -> String {
        match self.data_type {
            "set" | "map" => format!("k{}", self.item % SHARED),
            _ => format!("i{}", self.item),
        }
    }

    async fn create(&self, task: &Task, number: i64) -> Completion {
        let text = format!("{number} {}", "x".repeat(BALLAST));
        let request = match self.data_type {
            "set" => {
                let operation = json!({ "set_add": [self.item.to_string()] });
                asking::operate(&self.space, &self.key(), &operation)
            }
            "map" => {
                asking::merge(&self.space, &self.key(), &json!({ format!("f{}", self.item): text }))
            }
            _ => asking::put(&self.space, &self.key(), text, None),
        };
        let reply = self.api.send(self.node, request).await;
        asking::written(&reply, task.value.clone())
    }

    async fn delete(&self, task: &Task) -> Completion {
        let reply = asking::get(self.api, self.node, &self.space, &self.key()).await;
        if !asking::answered(&reply) {
            return make::harmless(reply.completion());
        }
        let shown = self.numbers(&reply);
        let request = match self.data_type {
            "set" => {
                let operation = json!({ "set_remove": [self.item.to_string()] });
                asking::operate(&self.space, &self.key(), &operation)
            }
            "map" => {
                let field = json!({ format!("f{}", self.item): { "delete": true } });
                asking::operate(&self.space, &self.key(), &json!({ "fields": field }))
            }
            _ => asking::delete(&self.space, &self.key()),
        };
        let reply = self.api.send(self.node, request).await;
        let mut completion = asking::written(&reply, task.value.clone());
        completion.extra.insert("shown".into(), shown.into());
        completion
    }

    async fn read(&self, task: &Task) -> Completion {
        let reply = asking::get(self.api, self.node, &self.space, &self.key()).await;
        let place = |place| at(&task.value, place).clone();
        asking::read(&reply, Value::list([place(0), place(1), self.numbers(&reply).into()]))
    }

    /// The numbers that the item is shown with.
    fn numbers(&self, reply: &Reply) -> Vec<i64> {
        if !matches!(self.data_type, "set" | "map") {
            return asking::numbers(reply, &[]);
        }
        let found = members(self.data_type, &reply.text());
        found.get(&self.item).copied().into_iter().collect()
    }
}

/// The items of a set or of a map.
fn members(data_type: &str, text: &str) -> BTreeMap<i64, i64> {
    match (data_type, serde_json::from_str(text)) {
        ("set", Ok(Json::Array(elements))) => {
            let items = elements.iter().filter_map(|element| element.as_str()?.parse().ok());
            items.map(|item| (item, MEMBER)).collect()
        }
        ("map", Ok(Json::Object(fields))) => fields
            .iter()
            .filter_map(|(name, value)| {
                let item = name.strip_prefix('f')?.parse().ok()?;
                Some((item, value.as_str()?.split(' ').next()?.parse().ok()?))
            })
            .collect(),
        _ => BTreeMap::new(),
    }
}

/// All items that a node shows: `[node type [[item [number …]] …]]`.
async fn items(api: &Api, node: u32, space: &str, data_type: &str) -> Completion {
    let (rows, reply) = match make::rows(api, node, space, "").await {
        Ok(found) => found,
        Err(completion) => return *completion,
    };
    let mut found: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    for row in rows {
        let value = row.get("value").and_then(Json::as_str);
        if matches!(data_type, "set" | "map") {
            let members = members(data_type, value.unwrap_or_default());
            found.extend(members.into_iter().map(|(item, number)| (item, vec![number])));
            continue;
        }
        let key = row.get("key").and_then(Json::as_str).and_then(|key| key.strip_prefix('i'));
        let Some(item) = key.and_then(|item| item.parse().ok()) else { continue };
        let siblings = row.get("siblings").and_then(Json::as_array).into_iter().flatten();
        let siblings = siblings.filter_map(|sibling| sibling.get("value").and_then(Json::as_str));
        let texts = value.into_iter().chain(siblings);
        let mut numbers: Vec<i64> =
            texts.filter_map(|text| text.split(' ').next()?.parse().ok()).collect();
        numbers.sort_unstable();
        found.insert(item, numbers);
    }
    let found = found.into_iter().map(|(item, numbers)| Value::keyed(item, numbers));
    Completion {
        value: asking::seen_at(node, data_type, [Value::list(found)]),
        ..reply.completion()
    }
}

/// How many state syncs a node has had since it was started: `[node all whole cut]`.
async fn syncs(api: &Api, node: u32) -> Completion {
    let whole = asking::figure(api, node, "state_syncs_total").await;
    let cut = asking::figure(api, node, "state_syncs_cut").await;
    Completion {
        ending: Ending::Ok,
        value: asking::seen_at(node, "all", [int(whole), int(cut)]),
        node: Some(node),
        witness: None,
        extra: BTreeMap::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_found_in_sets_and_maps() {
        assert_eq!(members("set", r#"["3","12"]"#), BTreeMap::from([(3, MEMBER), (12, MEMBER)]));
        assert_eq!(members("map", r#"{"f3":"7 xx","g":1}"#), BTreeMap::from([(3, 7)]));
        assert_eq!(members("map", ""), BTreeMap::new());
    }
}
