//! `loss`: a register that the last writer wins, and an account of every write that lost.
//!
//! Why it exists: other stores lose concurrent writes without a word. This one says of each
//! acknowledged write what became of it, the same at every node, and how many were lost in all. The
//! harness knows what each writer had been shown, so it can work out both by itself.
//!
//! Promises: `write [key number]` reads the key at its node and then writes there; the answer says in
//! `shown` and `shown-value` what it had been shown, in `context` whether it said so in its write, in
//! `receipt` the write's name, in `waited-us` how long it waited for other writers of its key at its
//! node (one at a time, so that what it was shown is what it replaces, unless a write of another node
//! comes in between; of half of the cooler keys at all nodes), in `sent-us` after how long it was sent, in
//! `heard-before` and `heard` what the node had heard of (`KV-Vector`) when it showed and when it had written. Keys are
//! chosen as in the model of the loss: zipf with 0.99. Nobody deletes. At the end, once nothing is pending: `totals`, `conflicts`, `fates` of every write and what is `shown`, all at
//! every node; then `restore` of some lost writes. Before, when all nodes are equal, each key is written once more
//! (`close`, which is a write): so none that was concurrent with others is the last one, of which alone it could
//! not be told whether it swept the others or outranks them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use reqwest::Method;
use serde_json::Value as Json;
use tokio::time::Instant;

use super::{Spaces, asking};
use crate::api::{Api, ApiError, Outcome, Reply, Request};
use crate::checker::Checker;
use crate::checker::eventual::{Agreement, Availability, Fates};
use crate::history::Value;
use crate::workload::finding::{at, int, number, text};
use crate::workload::place::{PAUSE, foreign};
use crate::workload::{Asker, Completion, Ending, Task, Workload, make};

const TYPE: &str = "lww";
/// Keys; from the most written to the least.
const KEYS: i64 = 96;
/// The most written keys would keep everybody waiting.
const HOT: i64 = 4;
/// Exponent of the distribution of keys.
const ZIPF: f64 = 0.99;
/// Of so many keys one is written without saying what was shown.
const BLIND: i64 = 6;
/// A node whose clock was wrong refuses writes for less than this when it is right again.
const TAKES_WITHIN: Duration = Duration::from_secs(60);
/// Lost writes that are restored.
const RESTORED: i64 = 3;

/// Held by the one whose turn it is.
type Turn = Arc<tokio::sync::Mutex<()>>;
/// A lost write: receipt, key, value.
type Lost = (String, i64, i64);

/// The workload.
#[derive(Debug)]
pub struct Loss {
    spaces: Spaces,
    /// Nobody says what was shown, and none waits for writers of other nodes.
    blind: bool,
    next: AtomicI64,
    /// Chances of the keys, summed up.
    chances: Vec<f64>,
    turns: Mutex<BTreeMap<(i64, u32), Turn>>,
    receipts: Mutex<BTreeMap<i64, Vec<String>>>,
    lost: Mutex<BTreeSet<Lost>>,
}

impl Default for Loss {
    fn default() -> Self {
        let mut sum = 0.0;
        let mut chances = Vec::new();
        for rank in 1..=i32::try_from(KEYS).unwrap_or(1) {
            sum += 1.0 / f64::from(rank).powf(ZIPF);
            chances.push(sum);
        }
        Self {
            spaces: Spaces::of("loss", &[TYPE]),
            blind: false,
            next: AtomicI64::new(0),
            chances,
            turns: Mutex::default(),
            receipts: Mutex::default(),
            lost: Mutex::default(),
        }
    }
}

impl Loss {
    /// The same by clients as in the model of losses: a write stands on whatever its node shows when it is
    /// made, since nobody says what was read before.
    pub fn blind() -> Self {
        Self { blind: true, ..Self::default() }
    }
}

#[async_trait]
impl Workload for Loss {
    fn name(&self) -> &'static str {
        if self.blind { "loss-blind" } else { "loss" }
    }

    async fn prepare(&self, api: &Api) -> Result<(), ApiError> {
        self.spaces.make(api).await
    }

    fn next(&self, _: Asker, rng: &mut fastrand::Rng) -> Option<Task> {
        let whole = self.chances.last().copied().unwrap_or(1.0);
        let drawn = rng.f64() * whole;
        let rank = self.chances.partition_point(|chance| *chance < drawn);
        let key = i64::try_from(rank).unwrap_or(0).min(KEYS - 1);
        let is_read = rng.u32(..100) < 15;
        let number = (!is_read).then(|| self.next.fetch_add(1, Ordering::Relaxed));
        let f = if is_read { "read" } else { "write" };
        Some(Task { f: f.into(), value: Value::keyed(key, number) })
    }

    async fn invoke(&self, api: &Api, node: u32, _: Asker, task: &Task) -> Completion {
        let space = self.spaces.name(api, TYPE);
        let key = at(&task.value, 0).as_int();
        match (task.f.as_str(), key, at(&task.value, 1).as_int()) {
            ("write", Some(key), Some(value)) => self.write(api, node, &space, (key, value)).await,
            ("read", Some(key), _) => self.read(api, node, &space, key).await,
            _ => match number(&task.value, 0).and_then(|node| u32::try_from(node).ok()) {
                Some(node) => self.finally(api, node, &space, task).await,
                None => foreign(node, task),
            },
        }
    }

    fn last(&self, _: u64) -> Vec<(u64, Task)> {
        let once = ["converge", "totals", "conflicts"];
        let mut tasks: Vec<(u64, Task)> =
            once.into_iter().flat_map(|f| self.spaces.each(f)).collect();
        let close = |key: i64| {
            let value = Value::keyed(key, self.next.fetch_add(1, Ordering::Relaxed));
            (0, Task { f: "write".into(), value })
        };
        let equal = || self.spaces.each("converge");
        tasks.splice(..0, equal().chain((0..KEYS).map(close)).collect::<Vec<_>>());
        for key in 0..KEYS {
            for f in ["shown", "fates"] {
                tasks.extend(self.spaces.each_node(f, vec![key.into()]));
            }
        }
        let restores = (0..RESTORED).flat_map(|turn| {
            let each = self.spaces.each_node("restore", vec![turn.into()]);
            each.skip(usize::try_from(turn).unwrap_or(0)).take(1)
        });
        tasks.extend(restores);
        tasks
    }

    fn checkers(&self) -> Vec<Box<dyn Checker>> {
        vec![Box::new(Fates), Box::new(Agreement), Box::new(Availability)]
    }

    fn needed(&self) -> Vec<(&'static str, u64)> {
        vec![("write", 150), ("read", 10)]
    }
}

impl Loss {
    async fn write(
        &self,
        api: &Api,
        node: u32,
        space: &str,
        (key, value): (i64, i64),
    ) -> Completion {
        let began = Instant::now();
        // Of half of the cooler keys writers take turns at all nodes together: only what is late or cut off is
        // concurrent there, so that nearly every link is certain.
        let together = key >= HOT && key % 2 == 0 && !self.blind;
        let place = if together { (key, 0) } else { (key, node) };
        let turn = Arc::clone(self.turns.lock().entry(place).or_default());
        let _turn = turn.lock().await;
        let waited = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        let name = format!("k{key}");
        let reply = asking::get(api, node, space, &name).await;
        if !asking::answered(&reply) {
            return make::harmless(reply.completion());
        }
        let says = key % BLIND != BLIND - 1 && !self.blind;
        let context = reply.header("kv-context").filter(|_| says);
        let request = asking::put(space, &name, value.to_string(), context);
        let mut extra: BTreeMap<String, Value> = BTreeMap::new();
        extra.insert("waited-us".into(), int(waited));
        extra.insert("context".into(), context.is_some().into());
        extra.extend(shown(&reply));
        extra.extend(heard("heard-before", &reply));
        let sent = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        extra.insert("sent-us".into(), int(sent));
        let reply = self.send(api, node, request).await;
        let mut completion = asking::written(&reply, Value::keyed(key, value));
        if let Some(receipt) = completion.extra.get("receipt").and_then(Value::as_text) {
            self.receipts.lock().entry(key).or_default().push(receipt.to_owned());
        }
        completion.extra.extend(heard("heard", &reply));
        completion.extra.extend(extra);
        completion
    }

    /// Sends a write; when all is over until it is taken, within a bound.
    async fn send(&self, api: &Api, node: u32, request: Request) -> Reply {
        loop {
            let reply = api.send(node, request.clone()).await;
            let waits = self.spaces.since_over().is_some_and(|since| since < TAKES_WITHIN);
            if !waits || reply.error.as_deref() != Some("unavailable") {
                return reply;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn read(&self, api: &Api, node: u32, space: &str, key: i64) -> Completion {
        let reply = asking::get(api, node, space, &format!("k{key}")).await;
        let value = Value::keyed(key, asking::numbers(&reply, &[]).first().copied());
        let mut completion = asking::read(&reply, value);
        completion.extra.extend(shown(&reply));
        completion
    }

    /// What is asked when all is over: `[node …]`.
    async fn finally(&self, api: &Api, node: u32, space: &str, task: &Task) -> Completion {
        let key = at(&task.value, 1).as_int().unwrap_or_default();
        let name = format!("k{key}");
        match task.f.as_str() {
            "converge" => asking::converged(api, node, (space, TYPE), self.spaces.over()).await,
            "totals" => asking::totals(api, node, space, TYPE).await,
            "conflicts" => {
                let completion = asking::conflicts(api, node, space, TYPE).await;
                self.note(at(&completion.value, 2));
                completion
            }
            "fates" => {
                let receipts = self.receipts.lock().get(&key).cloned().unwrap_or_default();
                let asked = asking::fates(api, node, (space, &name), receipts).await;
                let fates = at(&asked.value, 2).clone();
                let value = Value::list([i64::from(node).into(), key.into(), fates]);
                Completion { value, ..asked }
            }
            "shown" => {
                let reply = asking::get(api, node, space, &name).await;
                let receipt = Value::from(reply.header("kv-receipt").map(str::to_owned));
                let value = asking::numbers(&reply, &[]).first().copied().into();
                let value = Value::list([i64::from(node).into(), key.into(), receipt, value]);
                asking::read(&reply, value)
            }
            "restore" => self.restore(api, node, space, key).await,
            _ => foreign(node, task),
        }
    }

    fn note(&self, conflicts: &Value) {
        let found = conflicts.as_list().unwrap_or_default().iter().filter_map(|lost| {
            let key = text(lost, 1)?.strip_prefix('k')?.parse().ok()?;
            Some((text(lost, 0)?.to_owned(), key, text(lost, 2)?.parse().ok()?))
        });
        self.lost.lock().extend(found);
    }

    /// Brings a lost write back: `[node key value [[node value] …]]`, with what each node shows then.
    async fn restore(&self, api: &Api, node: u32, space: &str, turn: i64) -> Completion {
        let lost = {
            let lost = self.lost.lock();
            let turn = usize::try_from(turn + 1).unwrap_or(1);
            let place = lost.len() * turn / (usize::try_from(RESTORED).unwrap_or(1) + 1);
            lost.iter().nth(place).cloned()
        };
        let Some((receipt, key, value)) = lost else {
            return Completion {
                ending: Ending::Ok,
                value: Value::list([i64::from(node).into()]),
                node: Some(node),
                witness: None,
                extra: BTreeMap::new(),
            };
        };
        let receipt = asking::escaped(&receipt);
        let path = format!("/v1/ns/{space}/conflicts/{receipt}/restore?key=k{key}");
        let reply = self.send(api, node, Request::new(Method::POST, path)).await;
        if reply.outcome != Outcome::Applied {
            return reply.completion();
        }
        let mut completion = reply.completion();
        let mut seen = vec![self.glance(api, node, space, key).await];
        asking::converged(api, node, (space, TYPE), Instant::now()).await;
        for other in api.nodes() {
            seen.push(self.glance(api, other, space, key).await);
        }
        completion.value =
            Value::list([i64::from(node).into(), key.into(), value.into(), Value::List(seen)]);
        let restored = reply.json().get("receipt").and_then(Json::as_str).map(str::to_owned);
        completion.extra.insert("receipt".into(), restored.into());
        completion
    }

    async fn glance(&self, api: &Api, node: u32, space: &str, key: i64) -> Value {
        let reply = asking::get(api, node, space, &format!("k{key}")).await;
        Value::keyed(i64::from(node), asking::numbers(&reply, &[]).first().copied())
    }
}

/// What the node had heard of when it answered, as it says it.
fn heard(name: &str, reply: &Reply) -> Option<(String, Value)> {
    Some((name.to_owned(), reply.header("kv-vector")?.into()))
}

/// What a read showed: receipt and value.
fn shown(reply: &Reply) -> BTreeMap<String, Value> {
    let mut extra = BTreeMap::new();
    if let Some(receipt) = reply.header("kv-receipt") {
        extra.insert("shown".to_owned(), receipt.into());
        let value = asking::numbers(reply, &[]).first().copied();
        extra.insert("shown-value".to_owned(), value.into());
    }
    extra
}
