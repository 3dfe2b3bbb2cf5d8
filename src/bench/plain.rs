//! Single-key PUT and GET in a closed loop, as fast as the store answers: the engine of `bench kv`.
//!
//! Why it exists beside the open load: how much a store carries at most is a question of its own, and
//! batches travel in one request. It asks leaders directly, as the typed client does.
//!
//! Promises: a closed loop: each connection waits for its answer before it asks again, so a stall
//! slows the load down with it (the percentiles describe what these connections saw, not what an
//! open load would see). Keys carry the run's number, so that runs do not meet; each key is written by
//! one loop only, so that every read can be checked.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use hdrhistogram::Histogram;

use crate::client::{BatchOp, BatchResult, Client, ReadMode, WriteOptions, ops};
use crate::runtime::{Env, Moment, Rng};
use crate::wire::Outcome;

/// What is written, and what is known of it.
#[derive(Debug)]
pub struct Plain {
    client: Client,
    env: Env,
    seed: u64,
    keys: u64,
    value_size: usize,
    batch: u64,
    put: WriteOptions,
    /// Newest acknowledged version of each key; 0: none. Each key is written by one task only.
    written: Vec<AtomicU64>,
    /// Whether a write of unknown outcome went to the key: then any later version may be there.
    blurred: Vec<AtomicBool>,
}

/// What a round came to.
#[derive(Debug)]
pub struct Counts {
    /// Of requests, in microseconds.
    pub latency: Histogram<u64>,
    /// Surely without effect.
    pub not_applied: u64,
    /// Nobody knows.
    pub unknown: u64,
    /// Reads that did not see what was acknowledged.
    pub wrong: u64,
    /// Keys written and read; more than requests when they travel in batches.
    pub done: u64,
}

impl Counts {
    fn new() -> Self {
        let latency = Histogram::new_with_bounds(1, 600_000_000, 3);
        let latency = latency.expect("the bounds are fixed and proper");
        Self { latency, not_applied: 0, unknown: 0, wrong: 0, done: 0 }
    }

    fn fail(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Unknown => self.unknown += 1,
            Outcome::Applied | Outcome::NotApplied => self.not_applied += 1,
        }
    }

    fn add(&mut self, other: &Self) {
        self.latency.add(&other.latency).expect("all histograms have the same bounds");
        self.not_applied += other.not_applied;
        self.unknown += other.unknown;
        self.wrong += other.wrong;
        self.done += other.done;
    }
}

/// Runs `connections` closed loops until the deadline; without one, writes every key once.
pub async fn round(
    load: &Arc<Plain>,
    connections: usize,
    until: Option<Moment>,
    puts: u64,
) -> Counts {
    let (sender, mut tallies) = tokio::sync::mpsc::channel(connections);
    for number in 0..connections {
        let (tasks, load, sender) = (&load.env.tasks, Arc::clone(load), sender.clone());
        let work = async move {
            let tally = closed_loop(&load, number, connections, until, puts).await;
            // The receiver waits for all of us.
            drop(sender.send(tally).await);
        };
        drop(tasks.spawn_to_end("bench", work));
    }
    drop(sender);
    let mut all = Counts::new();
    while let Some(tally) = tallies.recv().await {
        all.add(&tally);
    }
    all
}

/// One loop. It owns the keys whose number leaves `number` when divided by `stride`, so that what it
/// reads can be checked against what it wrote.
async fn closed_loop(
    load: &Plain,
    number: usize,
    stride: usize,
    until: Option<Moment>,
    puts: u64,
) -> Counts {
    let number = u64::try_from(number).unwrap_or(0);
    let stride = u64::try_from(stride).unwrap_or(1);
    let chance = Rng::seeded(load.seed ^ number);
    let mut tally = Counts::new();
    let owned = (load.keys - number).div_ceil(stride);
    let mut next = 0;
    loop {
        let began = load.env.clock.now();
        let key = match until {
            None if next >= owned => return tally,
            None => number + next * stride,
            Some(until) if began >= until => return tally,
            Some(_) => number + chance.below(owned) * stride,
        };
        let count = load.batch.min(owned);
        let done = if chance.below(100) >= puts {
            next += 1;
            load.get(key).await.map(|right| {
                tally.wrong += u64::from(!right);
                1
            })
        } else if count == 1 {
            next += 1;
            load.put(key).await.map(|()| 1)
        } else {
            // Neighbours of the key among our own, from the first one again after the last.
            let first = (key - number) / stride;
            let count = if until.is_none() { count.min(owned - next) } else { count };
            next += count;
            let keys: Vec<_> = (0..count).map(|n| number + (first + n) % owned * stride).collect();
            load.put_batch(&keys).await
        };
        let took = load.env.clock.now().since(began);
        match done {
            Ok(count) => {
                tally.done += count;
                tally
                    .latency
                    .saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
            }
            Err(outcome) => tally.fail(outcome),
        }
    }
}

/// What a load consists of.
#[derive(Clone, Debug)]
pub struct Shape {
    /// How many keys.
    pub keys: u64,
    /// Bytes of a value.
    pub value_size: usize,
    /// PUTs in one request.
    pub batch: u64,
    /// How PUTs are sent that travel alone.
    pub put: WriteOptions,
}

impl Plain {
    /// A load on a cluster, of which nothing is written yet.
    pub fn new(client: Client, env: &Env, shape: Shape) -> Arc<Self> {
        let Shape { keys, value_size, batch, put } = shape;
        Arc::new(Self {
            client,
            env: env.clone(),
            seed: env.rng.next(),
            keys,
            value_size,
            batch,
            put,
            written: (0..keys).map(|_| AtomicU64::new(0)).collect(),
            blurred: (0..keys).map(|_| AtomicBool::new(false)).collect(),
        })
    }

    /// Its client.
    pub fn client(&self) -> &Client {
        &self.client
    }

    fn key(&self, key: u64) -> Vec<u8> {
        format!("bench/{:016x}/{key}", self.seed).into_bytes()
    }

    fn value(&self, version: u64) -> Bytes {
        let mut value = format!("{version:016x}").into_bytes();
        value.resize(self.value_size, b'.');
        Bytes::from(value)
    }

    fn written(&self, key: u64) -> (&AtomicU64, &AtomicBool) {
        let at = usize::try_from(key).unwrap_or(usize::MAX);
        let both = self.written.get(at).zip(self.blurred.get(at));
        both.expect("a key's number is below the number of keys")
    }

    async fn put(&self, key: u64) -> Result<(), Outcome> {
        let (written, blurred) = self.written(key);
        let version = written.load(Ordering::Relaxed) + 1;
        let name = self.key(key);
        let put = self.client.put_with("default", &name, self.value(version), &self.put);
        match put.await {
            Ok(_) => {
                written.store(version, Ordering::Relaxed);
                Ok(())
            }
            Err(error) => {
                if error.outcome() == Outcome::Unknown {
                    blurred.store(true, Ordering::Relaxed);
                }
                Err(error.outcome())
            }
        }
    }

    /// Writes several keys in one request; returns how many were acknowledged, or how one failed.
    async fn put_batch(&self, keys: &[u64]) -> Result<u64, Outcome> {
        let next = |key: &u64| self.written(*key).0.load(Ordering::Relaxed) + 1;
        let put = |key: &u64| BatchOp {
            op: ops::put(&self.key(*key), &self.value(next(key))),
            ..BatchOp::default()
        };
        let puts: Vec<_> = keys.iter().map(put).collect();
        let results = self.client.batch_once("default", &puts).await;
        let outcomes: Vec<Outcome> = match &results {
            Ok(results) => {
                let of =
                    |r: &BatchResult| if r.status < 400 { Outcome::Applied } else { r.outcome };
                results.iter().map(of).collect()
            }
            Err(error) => vec![error.outcome(); keys.len()],
        };
        let mut acknowledged = 0;
        let mut failed = None;
        for (key, outcome) in keys.iter().zip(outcomes) {
            let (written, blurred) = self.written(*key);
            match outcome {
                Outcome::Applied => {
                    written.fetch_add(1, Ordering::Relaxed);
                    acknowledged += 1;
                }
                Outcome::Unknown => {
                    blurred.store(true, Ordering::Relaxed);
                    failed = Some(outcome);
                }
                Outcome::NotApplied => failed = failed.or(Some(outcome)),
            }
        }
        failed.map_or(Ok(acknowledged), Err)
    }

    /// Whether the key has the version that was acknowledged last.
    async fn get(&self, key: u64) -> Result<bool, Outcome> {
        let (written, blurred) = self.written(key);
        let version = written.load(Ordering::Relaxed);
        let got = self.client.get("default", &self.key(key), ReadMode::Linearizable).await;
        let value = got.map_err(|error| error.outcome())?.map(|got| got.value);
        let expected = (version > 0).then(|| self.value(version));
        Ok(blurred.load(Ordering::Relaxed) || value == expected)
    }
}

/// Reads a sample back; returns how many were not as acknowledged.
pub async fn check(load: &Plain) -> u64 {
    let mut wrong = 0;
    for _ in 0..load.keys.min(1_000) {
        let key = load.env.rng.below(load.keys);
        wrong += u64::from(load.get(key).await != Ok(true));
    }
    wrong
}
