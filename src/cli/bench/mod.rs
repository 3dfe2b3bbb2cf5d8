//! `tetrarch bench kv`: single-key PUT and GET in a closed loop.
//!
//! Why it exists: first figures, taken by one command that also says whether they count: what was
//! written is read back by sample, and errors are counted by outcome.
//!
//! Promises: a closed loop: each connection waits for its answer before it asks again, so a stall
//! slows the load down with it (the percentiles describe what these connections saw, not what an
//! open load would see). Keys carry the run's number, so that runs do not meet.

mod probe;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::import::per_second;
use super::{Failure, Reach, print};
use crate::client::{BatchOp, BatchResult, Client, Idempotency, ReadMode, WriteOptions, ops};
use crate::runtime::{Env, Moment, Rng, limits};
use crate::wire::Outcome;
use probe::Probe;

#[derive(Debug, Args)]
pub(super) struct BenchArgs {
    #[command(flatten)]
    reach: Reach,
    /// Requests under way at a time; each number is a round.
    #[arg(long, value_delimiter = ',', default_value = "1,16,64,256")]
    connections: Vec<usize>,
    /// Share of PUTs in percent; each number is a round.
    #[arg(long, value_delimiter = ',', default_value = "100,0")]
    puts: Vec<u64>,
    /// How long a round lasts.
    #[arg(long, default_value = "10s", value_parser = super::duration)]
    duration: Duration,
    /// Bytes of a value.
    #[arg(long, default_value_t = 128)]
    value_size: usize,
    /// How many keys.
    #[arg(long, default_value_t = 10_000)]
    keys: u64,
    /// PUTs in one request; above 1 they travel as batches, and a latency is that of a batch.
    #[arg(long, default_value_t = 1)]
    batch: u64,
    /// Sends PUTs without an idempotency key.
    #[arg(long, conflicts_with = "batch")]
    no_idempotency: bool,
    /// Processes of local nodes, for CPU and memory.
    #[arg(long, value_delimiter = ',')]
    pids: Vec<u32>,
    /// One JSON line a round.
    #[arg(long)]
    json: bool,
}

#[derive(Debug)]
struct Load {
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

#[derive(Debug)]
struct Tally {
    latency: Histogram<u64>,
    not_applied: u64,
    unknown: u64,
    wrong: u64,
    /// Keys written and read; more than requests when they travel in batches.
    done: u64,
}

impl Tally {
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

pub(super) async fn run(args: BenchArgs, env: &Env) -> Result<(), Failure> {
    let most = limits::IMPORT_CONCURRENCY_MAX;
    if args.connections.iter().any(|c| *c == 0 || *c > most) || args.puts.iter().any(|p| *p > 100) {
        let text = format!("--connections must be from 1 to {most}, --puts from 0 to 100");
        return Err(Failure::usage(text));
    }
    let widest = args.connections.iter().max().copied().unwrap_or(1);
    let least = u64::try_from(widest).unwrap_or(u64::MAX);
    if !(least..=limits::BENCH_KEYS_MAX).contains(&args.keys) || args.value_size < 16 {
        let most = limits::BENCH_KEYS_MAX;
        let text = format!("--keys must be from {least} to {most}, --value-size at least 16");
        return Err(Failure::usage(text));
    }
    let batch_max = u64::try_from(limits::CLIENT_BATCH_OPS_MAX).unwrap_or(u64::MAX);
    if !(1..=batch_max).contains(&args.batch) {
        return Err(Failure::usage(format!("--batch must be from 1 to {batch_max}")));
    }
    let named = if args.no_idempotency { Idempotency::Off } else { Idempotency::Generated };
    let load = Arc::new(Load {
        client: args.reach.client(env)?,
        env: env.clone(),
        seed: env.rng.next(),
        keys: args.keys,
        value_size: args.value_size,
        batch: args.batch,
        put: WriteOptions { idempotency: named, ..WriteOptions::default() },
        written: (0..args.keys).map(|_| AtomicU64::new(0)).collect(),
        blurred: (0..args.keys).map(|_| AtomicBool::new(false)).collect(),
    });
    print::note(format!("writing {} keys first", args.keys));
    let writers = 64.min(widest.max(16)).min(usize::try_from(args.keys).unwrap_or(64));
    let filled = round(&load, writers, None, 100).await;
    let failed = filled.not_applied + filled.unknown;
    if failed > 0 {
        let text =
            format!("{failed} of {} keys could not be written; is the cluster up?", args.keys);
        return Err(Failure::failed(text));
    }
    let mut failures = 0;
    for puts in &args.puts {
        for connections in &args.connections {
            let before = Probe::take(&load.client, &args.pids).await;
            let began = env.clock.now();
            let tally = round(&load, *connections, Some(began + args.duration), *puts).await;
            let took = env.clock.now().since(began);
            let after = Probe::take(&load.client, &args.pids).await;
            failures += tally.wrong;
            let mut report = describe(&tally, *connections, *puts, took);
            after.compare(&before, tally.done, &mut report);
            show(&report, args.json);
        }
    }
    let wrong = check(&load).await + failures;
    if wrong > 0 {
        return Err(Failure::failed(format!("{wrong} reads did not see what was acknowledged")));
    }
    print::note("a sample of what was written read back right");
    Ok(())
}

/// Runs `connections` closed loops until the deadline; without one, writes every key once.
async fn round(load: &Arc<Load>, connections: usize, until: Option<Moment>, puts: u64) -> Tally {
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
    let mut all = Tally::new();
    while let Some(tally) = tallies.recv().await {
        all.add(&tally);
    }
    all
}

/// One loop. It owns the keys whose number leaves `number` when divided by `stride`, so that what it
/// reads can be checked against what it wrote.
async fn closed_loop(
    load: &Load,
    number: usize,
    stride: usize,
    until: Option<Moment>,
    puts: u64,
) -> Tally {
    let number = u64::try_from(number).unwrap_or(0);
    let stride = u64::try_from(stride).unwrap_or(1);
    let chance = Rng::seeded(load.seed ^ number);
    let mut tally = Tally::new();
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

impl Load {
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
async fn check(load: &Load) -> u64 {
    let mut wrong = 0;
    for _ in 0..load.keys.min(1_000) {
        let key = load.env.rng.below(load.keys);
        wrong += u64::from(load.get(key).await != Ok(true));
    }
    wrong
}

fn describe(tally: &Tally, connections: usize, puts: u64, took: Duration) -> Value {
    let latency = &tally.latency;
    json!({
        "puts_percent": puts,
        "connections": connections,
        "requests": latency.len(),
        "keys": tally.done,
        "per_second": per_second(tally.done, took),
        "p50_us": latency.value_at_quantile(0.5),
        "p99_us": latency.value_at_quantile(0.99),
        "p999_us": latency.value_at_quantile(0.999),
        "max_us": latency.max(),
        "not_applied": tally.not_applied,
        "unknown": tally.unknown,
        "wrong": tally.wrong,
    })
}

fn show(report: &Value, as_json: bool) {
    if as_json {
        return print::json(report);
    }
    let figure = |name: &str, digits: usize| match report.get(name).and_then(Value::as_f64) {
        Some(figure) => format!("{figure:.digits$}"),
        None => "-".to_owned(),
    };
    print::line(format!(
        "puts {:>3}%  connections {:>4}  {:>8}/s  p50 {:>6} us  p99 {:>7} us  p99.9 {:>7} us  \
         fsyncs/op {:>6}  cpu/op {:>6} us  rss {:>6} MiB  not applied {}  unknown {}  wrong {}",
        figure("puts_percent", 0),
        figure("connections", 0),
        figure("per_second", 0),
        figure("p50_us", 0),
        figure("p99_us", 0),
        figure("p999_us", 0),
        figure("fsyncs_per_op", 3),
        figure("cpu_us_per_op", 1),
        figure("rss_mib_max", 0),
        figure("not_applied", 0),
        figure("unknown", 0),
        figure("wrong", 0),
    ));
}
