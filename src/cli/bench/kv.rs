//! `tetrarch bench kv`: single-key PUT and GET in a closed loop.
//!
//! Why it exists: first figures, taken by one command that also says whether they count: what was
//! written is read back by sample, and errors are counted by outcome.
//!
//! Promises: a closed loop: each connection waits for its answer before it asks again, so a stall
//! slows the load down with it (the percentiles describe what these connections saw, not what an
//! open load would see). Keys carry the run's number, so that runs do not meet.

use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::super::import::per_second;
use super::super::{Failure, Reach, duration, print};
use crate::bench::cost::Spent;
use crate::bench::plain::{Counts, Plain, Shape, check, round};
use crate::client::{Idempotency, WriteOptions};
use crate::runtime::{Env, limits};

#[derive(Debug, Args)]
pub(in crate::cli) struct KvArgs {
    #[command(flatten)]
    reach: Reach,
    /// Requests under way at a time; each number is a round.
    #[arg(long, value_delimiter = ',', default_value = "1,16,64,256")]
    connections: Vec<usize>,
    /// Share of PUTs in percent; each number is a round.
    #[arg(long, value_delimiter = ',', default_value = "100,0")]
    puts: Vec<u64>,
    /// How long a round lasts.
    #[arg(long, default_value = "10s", value_parser = duration)]
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

pub(in crate::cli) async fn run(args: KvArgs, env: &Env) -> Result<(), Failure> {
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
    let put = WriteOptions { idempotency: named, ..WriteOptions::default() };
    let shape = Shape { keys: args.keys, value_size: args.value_size, batch: args.batch, put };
    let load = Plain::new(args.reach.client(env)?, env, shape);
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
            let client = std::slice::from_ref(load.client());
            let before = Spent::look(client, &args.pids).await;
            let began = env.clock.now();
            let tally = round(&load, *connections, Some(began + args.duration), *puts).await;
            let took = env.clock.now().since(began);
            let after = Spent::look(client, &args.pids).await;
            failures += tally.wrong;
            let mut report = describe(&tally, *connections, *puts, took);
            spent(&after, &before, tally.done, &mut report);
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

fn describe(tally: &Counts, connections: usize, puts: u64, took: Duration) -> Value {
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

/// Adds to a report what it has cost the nodes.
fn spent(after: &Spent, before: &Spent, requests: u64, report: &mut Value) {
    let Some(report) = report.as_object_mut() else { return };
    let [fsyncs, _, cpu, _] = after.per_op(before, requests);
    report.insert("fsyncs_per_op".into(), json!(fsyncs));
    report.insert("cpu_us_per_op".into(), json!(cpu));
    #[allow(clippy::cast_precision_loss, reason = "a figure for display needs no more digits")]
    let most = after.rss_kib.iter().max().map(|kib| *kib as f64 / 1024.0);
    report.insert("rss_mib_max".into(), json!(most));
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
