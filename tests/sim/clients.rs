//! Clients that ask any node for anything, and hold every answer against the oracle.
//!
//! Promises: one client has one request under way; what is asked of whom comes from the client's own dice.
//! Registers and pairs take an unknown outcome as it is, as a careful client without idempotency keys
//! must; lists and counters repeat until they are certain. Relies on: `ask`, `oracle`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use parking_lot::Mutex;
use tokio::time::sleep;

use super::ask::{Answer, Fate, ask};
use super::oracle::{Counter, List, Pair, Register, Wrote};
use super::world::World;

const NAMESPACE: &str = "/v1/ns/default";

/// What is known of all keys.
#[derive(Default)]
pub struct Oracle {
    /// By key.
    pub registers: BTreeMap<String, Register>,
    /// By key.
    pub lists: BTreeMap<String, List>,
    /// By key.
    pub counters: BTreeMap<String, Counter>,
    /// By tag.
    pub pairs: BTreeMap<String, Pair>,
    /// Requests with a certain effect, and all.
    pub done: u64,
    /// All requests.
    pub asked: u64,
}

/// One client.
pub struct Client {
    world: Arc<World>,
    oracle: Arc<Mutex<Oracle>>,
    id: u64,
    dice: fastrand::Rng,
    said: u64,
    /// Adds a pause between requests; the end of a run has none.
    stopping: Arc<std::sync::atomic::AtomicBool>,
}

impl Client {
    /// A client with dice of its own.
    pub fn new(
        world: Arc<World>,
        oracle: Arc<Mutex<Oracle>>,
        id: u64,
        stopping: Arc<std::sync::atomic::AtomicBool>,
    ) -> Self {
        let dice = fastrand::Rng::with_seed(world.plan.seed ^ (id << 16) ^ 0xc11e);
        Self { world, oracle, id, dice, said: 0, stopping }
    }

    /// Asks until it is told to stop.
    pub async fn run(mut self) {
        while !self.stopping.load(std::sync::atomic::Ordering::Relaxed) {
            let think = self.world.plan.think.mul_f64(self.dice.f64());
            sleep(think).await;
            let key = self.dice.u64(0..self.world.plan.keys);
            match self.dice.u8(0..10) {
                0..=4 => self.register(format!("r{key}")).await,
                5..=6 => self.list(format!("l{key}")).await,
                7 => self.counter(format!("c{key}")).await,
                _ => self.pair(format!("{{p{key}}}")).await,
            }
        }
    }

    fn node(&mut self) -> u64 {
        self.dice.u64(1..=self.world.plan.nodes)
    }

    fn fresh(&mut self) -> String {
        self.said += 1;
        format!("v{}-{}", self.id, self.said)
    }

    async fn ask(&mut self, what: &str, node: u64, request: Request<Body>) -> Fate {
        self.world.trace.say(&format!("client {} asks node {node}: {what}", self.id));
        let fate = ask(&self.world, node, request).await;
        let said = match &fate {
            Fate::Done(answer) => {
                let place = answer.place().map_or(0, |place| place.1);
                format!("{} at {place} {}", answer.status, answer.text())
            }
            Fate::Not(why) => format!("not: {why}"),
            Fate::Unknown(why) => format!("unknown: {why}"),
        };
        self.world.trace.say(&format!("client {} hears of {what}: {said}", self.id));
        let mut oracle = self.oracle.lock();
        oracle.asked += 1;
        oracle.done += u64::from(matches!(fate, Fate::Done(_)));
        fate
    }

    fn judge(&self, key: &str, verdict: Result<(), String>) {
        if let Err(what) = verdict {
            self.world.broken(format!("oracle: client {}, key {key}: {what}", self.id));
        }
    }

    fn acknowledged(&self, answer: &Answer) -> u64 {
        let Some((group, index)) = answer.place() else {
            self.world.broken(format!("an answer without a place: {answer:?}"));
            return 0;
        };
        self.world.acknowledged(group, index);
        index
    }

    async fn register(&mut self, key: String) {
        let node = self.node();
        match self.dice.u8(0..10) {
            0..=4 => self.read_register(&key, node).await,
            5 => self.write_register(&key, node, None, None).await,
            6..=7 => {
                let value = self.fresh();
                let newest = {
                    let mut oracle = self.oracle.lock();
                    let register = oracle.registers.entry(key.clone()).or_default();
                    register.newest().map(|(place, _)| place)
                };
                self.write_register(&key, node, Some(value), newest).await;
            }
            _ => {
                let value = self.fresh();
                self.write_register(&key, node, Some(value), None).await;
            }
        }
    }

    /// Reads a register at a node, linearizably.
    pub async fn read_register(&mut self, key: &str, node: u64) {
        let floor = self.oracle.lock().registers.entry(key.to_owned()).or_default().floor();
        let uri = format!("{NAMESPACE}/keys/{key}");
        let fate = self.ask(&format!("read {key}"), node, get(&uri)).await;
        let Fate::Done(answer) = fate else { return };
        let index = answer.place().map_or(0, |(_, index)| index);
        let text = answer.text();
        let shown =
            (answer.status == 200).then(|| (text.as_str(), answer.written().unwrap_or_default()));
        let mut oracle = self.oracle.lock();
        let register = oracle.registers.entry(key.to_owned()).or_default();
        let verdict = register.read(shown, index, floor);
        drop(oracle);
        self.judge(key, verdict);
    }

    async fn write_register(
        &mut self,
        key: &str,
        node: u64,
        value: Option<String>,
        follows: Option<u64>,
    ) {
        let group = self.group_of(key);
        let Some(group) = group.filter(|_| follows.is_some()).or(Some(0)) else { return };
        let follows = follows.filter(|_| group != 0);
        let wrote = Wrote { value: value.clone(), follows };
        let floor = {
            let mut oracle = self.oracle.lock();
            let register = oracle.registers.entry(key.to_owned()).or_default();
            register.begin(&wrote);
            register.floor()
        };
        let method = if value.is_some() { "PUT" } else { "DELETE" };
        let mut request = Request::builder().method(method).uri(format!("{NAMESPACE}/keys/{key}"));
        if let Some(named) = follows {
            request = request.header("if-match", format!("\"{group}-{named}\""));
        }
        let request = request.body(Body::from(value.unwrap_or_default()));
        let request = request.expect("the request is well formed");
        let fate = self.ask(&format!("write {key} {wrote:?}"), node, request).await;
        let verdict = match fate {
            Fate::Done(answer) if answer.status == 404 => {
                let index = answer.place().map_or(0, |(_, index)| index);
                let mut oracle = self.oracle.lock();
                let register = oracle.registers.entry(key.to_owned()).or_default();
                if wrote.value.is_none() {
                    register.nothing_to_delete(index, floor)
                } else {
                    register.not_done(&wrote)
                }
            }
            Fate::Done(answer) => {
                let index = self.acknowledged(&answer);
                let mut oracle = self.oracle.lock();
                oracle.registers.entry(key.to_owned()).or_default().done(&wrote, index, floor)
            }
            Fate::Not(_) => {
                let mut oracle = self.oracle.lock();
                oracle.registers.entry(key.to_owned()).or_default().not_done(&wrote)
            }
            Fate::Unknown(_) => Ok(()),
        };
        self.judge(key, verdict);
    }

    /// The group of a key, as any live node routes it.
    fn group_of(&self, key: &str) -> Option<u64> {
        use tetrarch::model::NamespaceId;
        use tetrarch::placement::{Layout, slots};
        let life = self.world.lives().into_iter().find(|life| life.up().is_some())?;
        let catalog = life.up()?.groups().catalog().borrow().clone()?;
        let slot = slots::slot_of(NamespaceId(1), Layout::Spread, key.as_bytes());
        catalog.group_of(slot).map(|group| group.0)
    }

    async fn list(&mut self, key: String) {
        if self.dice.u8(0..3) == 0 {
            let node = self.node();
            self.read_list(&key, node).await;
            return;
        }
        let token = self.fresh();
        self.oracle.lock().lists.entry(key.clone()).or_default().begin(&token);
        let body = format!("{{\"append\":\"{token},\"}}");
        let Some(answer) = self.insist(&key, &token, &body).await else { return };
        self.acknowledged(&answer);
        let mut oracle = self.oracle.lock();
        let verdict = oracle.lists.entry(key.clone()).or_default().done(&token, &answer.text());
        drop(oracle);
        self.judge(&key, verdict);
    }

    /// Reads a list at a node, linearizably.
    pub async fn read_list(&mut self, key: &str, node: u64) {
        let floor = self.oracle.lock().lists.entry(key.to_owned()).or_default().floor();
        let uri = format!("{NAMESPACE}/keys/{key}");
        let Fate::Done(answer) = self.ask(&format!("read {key}"), node, get(&uri)).await else {
            return;
        };
        let text = if answer.status == 200 { answer.text() } else { String::new() };
        let mut oracle = self.oracle.lock();
        let verdict = oracle.lists.entry(key.to_owned()).or_default().read(&text, &floor);
        drop(oracle);
        self.judge(key, verdict);
    }

    async fn counter(&mut self, key: String) {
        if self.dice.u8(0..3) == 0 {
            let node = self.node();
            self.read_counter(&key, node).await;
            return;
        }
        let amount = self.dice.u64(1..5);
        self.oracle.lock().counters.entry(key.clone()).or_default().begin(amount);
        let name = self.fresh();
        let body = format!("{{\"add\":{amount}}}");
        let Some(answer) = self.insist(&key, &name, &body).await else { return };
        self.acknowledged(&answer);
        let sum = answer.text().parse().unwrap_or(0);
        let mut oracle = self.oracle.lock();
        let verdict = oracle.counters.entry(key.clone()).or_default().done(amount, sum);
        drop(oracle);
        self.judge(&key, verdict);
    }

    /// Reads a counter at a node, linearizably; the sum, if there was an answer.
    pub async fn read_counter(&mut self, key: &str, node: u64) -> Option<u64> {
        let floor = self.oracle.lock().counters.entry(key.to_owned()).or_default().floor();
        let uri = format!("{NAMESPACE}/keys/{key}");
        let Fate::Done(answer) = self.ask(&format!("read {key}"), node, get(&uri)).await else {
            return None;
        };
        let sum = if answer.status == 200 { answer.text().parse().unwrap_or(0) } else { 0 };
        let mut oracle = self.oracle.lock();
        let verdict = oracle.counters.entry(key.to_owned()).or_default().read(sum, floor);
        drop(oracle);
        self.judge(key, verdict);
        Some(sum)
    }

    /// Repeats a patch with its idempotency key, at any node, until its outcome is certain.
    async fn insist(&mut self, key: &str, name: &str, body: &str) -> Option<Answer> {
        while !self.world.over.is_cancelled() {
            let node = self.node();
            let request = Request::builder()
                .method("PATCH")
                .uri(format!("{NAMESPACE}/keys/{key}"))
                .header("content-type", "application/kv-op+json")
                .header("idempotency-key", name)
                .header("request-timeout", "2s")
                .body(Body::from(body.to_owned()))
                .expect("the request is well formed");
            match self.ask(&format!("patch {key} {name} {body}"), node, request).await {
                Fate::Done(answer) => return Some(answer),
                Fate::Not(_) | Fate::Unknown(_) => {
                    sleep(Duration::from_millis(self.dice.u64(10..300))).await;
                }
            }
        }
        None
    }

    async fn pair(&mut self, tag: String) {
        let node = self.node();
        if self.dice.bool() {
            self.read_pair(&tag, node).await;
            return;
        }
        let value = self.fresh();
        let floor = {
            let mut oracle = self.oracle.lock();
            let pair = oracle.pairs.entry(tag.clone()).or_default();
            pair.begin(&value);
            pair.floor()
        };
        let body = format!(
            r#"{{"then":[{{"put":"{tag}a","value":"{value}"}},{{"put":"{tag}b","value":"{value}"}}]}}"#
        );
        let fate = self.ask(&format!("write {tag} {value}"), node, txn(&body)).await;
        let Fate::Done(answer) = fate else { return };
        let index = self.acknowledged(&answer);
        let mut oracle = self.oracle.lock();
        let verdict = oracle.pairs.entry(tag.clone()).or_default().done(&value, index, floor);
        drop(oracle);
        self.judge(&tag, verdict);
    }

    /// Reads both keys of a pair in one transaction.
    pub async fn read_pair(&mut self, tag: &str, node: u64) {
        let floor = self.oracle.lock().pairs.entry(tag.to_owned()).or_default().floor();
        let body = format!(r#"{{"then":[{{"get":"{tag}a"}},{{"get":"{tag}b"}}]}}"#);
        let fate = self.ask(&format!("read {tag}"), node, txn(&body)).await;
        let Fate::Done(answer) = fate else { return };
        let index = answer.place().map_or(0, |(_, index)| index);
        let json: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let shown = |at: usize| {
            let row = json.get("results")?.get(at)?.get("row")?;
            let place = row.get("etag")?.as_str()?.trim_matches('"').split_once('-')?.1;
            Some((row.get("value")?.as_str()?, place.parse().ok()?))
        };
        let both = [shown(0), shown(1)];
        let mut oracle = self.oracle.lock();
        let verdict = oracle.pairs.entry(tag.to_owned()).or_default().read(both, index, floor);
        drop(oracle);
        self.judge(tag, verdict);
    }
}

fn get(uri: &str) -> Request<Body> {
    let request = Request::builder().method("GET").uri(uri).header("request-timeout", "3s");
    request.body(Body::empty()).expect("the request is well formed")
}

fn txn(body: &str) -> Request<Body> {
    Request::builder()
        .method("POST")
        .uri(format!("{NAMESPACE}/txn"))
        .header("content-type", "application/json")
        .header("request-timeout", "3s")
        .body(Body::from(body.to_owned()))
        .expect("the request is well formed")
}
