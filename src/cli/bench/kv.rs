//! `tetrarch bench kv`: single-key PUT and GET in a closed loop.
//!
//! Why it exists: first figures, taken by one command that also says whether they count: what was
//! written is read back by sample, and errors are counted by outcome.
//!
//! Promises: a closed loop: each connection waits for its answer before it asks again, so a stall
//! slows the load down with it (the percentiles describe what these connections saw, not what an
//! open load would see). Keys carry the run's number, so that runs do not meet.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::super::{Failure, Reach, duration, print};
use crate::bench::cost::Spent;
use crate::bench::lanes::book::{Book, STAMP_BYTES};
use crate::bench::lanes::drive::{Load, Phase, check, phase};
use crate::bench::lanes::ours::{Manner, Ours};
use crate::bench::mode::Mode;
use crate::bench::store::Store;
use crate::client::Client;
use crate::runtime::{Env, limits};

#[derive(Debug, Args)]
pub(in crate::cli) struct KvArgs {
    #[command(flatten)]
    reach: Reach,
    /// Requests under way at a time; each number is a round.
    #[arg(long, value_delimiter = ',', default_value = "1,16,64,256")]
    connections: Vec<u64>,
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
    #[arg(long)]
    no_idempotency: bool,
    /// Each connection asks one of the endpoints alone, instead of the leaders of its keys.
    #[arg(long)]
    pinned: bool,
    /// Processes of local nodes, for CPU and memory.
    #[arg(long, value_delimiter = ',')]
    pids: Vec<u32>,
    /// One JSON line a round.
    #[arg(long)]
    json: bool,
}

pub(in crate::cli) async fn run(args: KvArgs, env: &Env) -> Result<(), Failure> {
    check_args(&args)?;
    let client = args.reach.client(env)?;
    let manner = Manner { pinned: args.pinned, named: !args.no_idempotency };
    // Keys carry the run's number, so that runs do not meet.
    let prefix = format!("bench/{:016x}/", env.rng.next());
    let book = Book::new(&prefix, args.keys, args.value_size);
    let bench = Bench { env, client: &client, manner, book: &book };
    print::note(format!("writing {} keys first", args.keys));
    let filled = bench.phase(Load::Fill(FILLERS, args.batch)).await?;
    if !book.missing().is_empty() {
        let why = filled.why.unwrap_or_else(|| "no reason given".to_owned());
        let (missing, keys) = (book.missing().len(), args.keys);
        let text =
            format!("{missing} of {keys} keys could not be written ({why}); is the cluster up?");
        return Err(Failure::failed(text));
    }
    let mut wrong = filled.wrong;
    for puts in &args.puts {
        for connections in &args.connections {
            let load = if args.batch > 1 && *puts > 0 {
                Load::Batches(*connections, args.batch, args.duration)
            } else {
                Load::Closed(*connections, *puts, args.duration)
            };
            let clients = std::slice::from_ref(&client);
            let before = Spent::look(clients, &args.pids).await;
            let done = bench.phase(load).await?;
            let after = Spent::look(clients, &args.pids).await;
            wrong += done.wrong;
            let mut report = describe(&done, *connections, *puts);
            spent(&after, &before, done.ok, &mut report);
            show(&report, args.json);
        }
    }
    // By the typed client, so that lanes are not judged by themselves.
    let store =
        Store::new(std::iter::once(client.clone()).collect(), "default", Mode::Linearizable);
    wrong += check(&store, &book).await.1;
    if let Some(failure) = env.tasks.failure() {
        return Err(Failure::failed(format!("the load generator failed: {failure}")));
    }
    if wrong > 0 {
        return Err(Failure::failed(format!("{wrong} reads did not see what was acknowledged")));
    }
    print::note("a sample of what was written read back right");
    Ok(())
}

/// Callers that write all keys first.
const FILLERS: u64 = 64;

struct Bench<'a> {
    env: &'a Env,
    client: &'a Client,
    manner: Manner,
    book: &'a Arc<Book>,
}

impl Bench<'_> {
    async fn phase(&self, load: Load) -> Result<Phase, Failure> {
        let lanes = Ours::new(self.client, self.manner, self.env).await.map_err(Failure::failed)?;
        Ok(phase(self.env, Arc::new(lanes), self.book, &[], load).await)
    }
}

fn check_args(args: &KvArgs) -> Result<(), Failure> {
    let most = limits::BENCH_CONNECTIONS_MAX;
    if args.connections.iter().any(|c| *c == 0 || *c > most) || args.puts.iter().any(|p| *p > 100) {
        let text = format!("--connections must be from 1 to {most}, --puts from 0 to 100");
        return Err(Failure::usage(text));
    }
    let least = args.connections.iter().max().copied().unwrap_or(1);
    if !(least..=limits::BENCH_KEYS_MAX).contains(&args.keys) || args.value_size < STAMP_BYTES {
        let most = limits::BENCH_KEYS_MAX;
        let text =
            format!("--keys must be from {least} to {most}, --value-size at least {STAMP_BYTES}");
        return Err(Failure::usage(text));
    }
    let batch_max = u64::try_from(limits::CLIENT_BATCH_OPS_MAX).unwrap_or(u64::MAX);
    if !(1..=batch_max).contains(&args.batch) {
        return Err(Failure::usage(format!("--batch must be from 1 to {batch_max}")));
    }
    if args.batch > 1 && args.puts.iter().any(|puts| !matches!(puts, 0 | 100)) {
        return Err(Failure::usage("--batch goes with --puts 100 or 0"));
    }
    Ok(())
}

fn describe(done: &Phase, connections: u64, puts: u64) -> Value {
    let times = &done.times;
    json!({
        "puts_percent": puts,
        "connections": connections,
        "requests": times.len(),
        "keys": done.ok,
        "per_second": done.per_second(),
        "p50_us": times.value_at_quantile(0.5),
        "p99_us": times.value_at_quantile(0.99),
        "p999_us": times.value_at_quantile(0.999),
        "max_us": times.max(),
        "not_applied": done.not_applied,
        "unknown": done.unknown,
        "wrong": done.wrong,
        "generator_cpu_us_per_op": done.own_us_per_op(),
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
         fsyncs/op {:>6}  cpu/op {:>6} us  own {:>5} us  rss {:>6} MiB  not applied {}  unknown {}  wrong {}",
        figure("puts_percent", 0),
        figure("connections", 0),
        figure("per_second", 0),
        figure("p50_us", 0),
        figure("p99_us", 0),
        figure("p999_us", 0),
        figure("fsyncs_per_op", 3),
        figure("cpu_us_per_op", 1),
        figure("generator_cpu_us_per_op", 1),
        figure("rss_mib_max", 0),
        figure("not_applied", 0),
        figure("unknown", 0),
        figure("wrong", 0),
    ));
}
