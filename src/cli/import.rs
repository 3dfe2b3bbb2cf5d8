//! `tetrarch kv import`: many keys from a file or standard input, many at a time.
//!
//! Promises: records of one key are written in the order of the input (each key belongs to one
//! worker); what is acknowledged is counted and journalled, what is not is counted by outcome and
//! listed with its line. Writes travel in batches, each under a name by which the cluster recognises
//! its repetition; what is still of unknown fate when the time is up is written again, under another
//! name, only with `--repeat-unknown`.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clap::Args;
use futures_util::{StreamExt, stream};
use indicatif::{ProgressBar, ProgressStyle};
use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::mpsc;

use super::journal::{self, Acked, Journal};
use super::records::{Format, Record, Records};
use super::{Failure, Reach, print};
use crate::client::{BatchOp, Client, ClientError, ops};
use crate::runtime::{Env, limits};
use crate::wire::Outcome;

/// Tries of one write whose fate stays unknown, with `--repeat-unknown`.
const UNKNOWN_TRIES_MAX: u32 = 20;

#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    #[command(flatten)]
    reach: Reach,
    /// The namespace.
    #[arg(long, default_value = "default")]
    ns: String,
    /// The file; `-` is standard input.
    #[arg(default_value = "-")]
    file: PathBuf,
    /// How records are written.
    #[arg(long, value_enum, default_value = "ndjson")]
    format: Format,
    /// Requests under way at a time, each with up to 64 records.
    #[arg(long, default_value_t = 8)]
    concurrency: usize,
    /// Appends each acknowledged key with a hash of its value to this journal.
    #[arg(long, value_name = "FILE")]
    acked: Option<PathBuf>,
    /// Passes over records that this journal has as acknowledged, and appends to it.
    #[arg(long, value_name = "FILE", conflicts_with = "acked")]
    resume: Option<PathBuf>,
    /// Repeats writes of unknown fate. Safe only if nothing else writes these keys meanwhile.
    #[arg(long)]
    repeat_unknown: bool,
    /// Prints the counts as one JSON line.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Default)]
struct Counts {
    acknowledged: AtomicU64,
    skipped: AtomicU64,
    malformed: AtomicU64,
    not_applied: AtomicU64,
    unknown: AtomicU64,
    repeated: AtomicU64,
}

#[derive(Debug)]
struct Import {
    client: Client,
    ns: String,
    repeat_unknown: bool,
    counts: Counts,
    journal: Option<Mutex<Journal>>,
    journal_error: Mutex<Option<std::io::Error>>,
    bar: ProgressBar,
}

/// A file, or standard input for `-`.
pub(super) fn open(path: &Path) -> Result<Box<dyn BufRead + Send>, Failure> {
    if path == Path::new("-") {
        return Ok(Box::new(BufReader::new(std::io::stdin())));
    }
    let file = std::fs::OpenOptions::new().read(true).open(path);
    let file = file.map_err(|error| Failure::file("read", path, &error))?;
    Ok(Box::new(BufReader::with_capacity(1 << 20, file)))
}

/// A progress bar with a rate; hidden where standard error is no terminal.
pub(super) fn progress(total: Option<u64>) -> ProgressBar {
    let (bar, form) = match total {
        Some(total) => (ProgressBar::new(total), "{bar:40} {pos}/{len} {per_sec} {eta} {msg}"),
        None => (ProgressBar::new_spinner(), "{spinner} {pos} {per_sec} {elapsed} {msg}"),
    };
    bar.set_style(ProgressStyle::with_template(form).expect("the template is well formed"));
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

pub(super) async fn run(args: ImportArgs, env: &Env) -> Result<(), Failure> {
    if !(1..=limits::IMPORT_CONCURRENCY_MAX).contains(&args.concurrency) {
        let most = limits::IMPORT_CONCURRENCY_MAX;
        return Err(Failure::usage(format!("--concurrency must be from 1 to {most}")));
    }
    let done = match &args.resume {
        Some(path) if path.exists() => {
            journal::load(path).map_err(|error| Failure::file("read", path, &error))?
        }
        _ => Acked::new(),
    };
    let journal = match args.resume.as_ref().or(args.acked.as_ref()) {
        Some(path) => {
            let opened = Journal::open(path);
            Some(Mutex::new(opened.map_err(|error| Failure::file("written", path, &error))?))
        }
        None => None,
    };
    let input = open(&args.file)?;
    let import = Arc::new(Import {
        client: args.reach.client(env)?,
        ns: args.ns,
        repeat_unknown: args.repeat_unknown,
        counts: Counts::default(),
        journal,
        journal_error: Mutex::new(None),
        bar: progress(None),
    });
    let started = env.clock.now();
    let mut workers = Vec::new();
    let mut tasks = Vec::new();
    for _ in 0..args.concurrency {
        let (sender, receiver) = mpsc::channel(limits::IMPORT_BATCH_RECORDS);
        workers.push(sender);
        tasks.push(env.tasks.spawn_to_end("import", work(Arc::clone(&import), receiver)));
    }
    let reader = Arc::clone(&import);
    let format = args.format;
    env.tasks.blocking(move || read(&reader, Records::new(input, format), &done, &workers)).await;
    futures_util::future::join_all(tasks).await;
    import.bar.finish_and_clear();
    import.finish(env.clock.now().since(started), args.json)
}

/// Reads all records and hands each to the worker of its key.
fn read(
    import: &Import,
    records: Records<Box<dyn BufRead + Send>>,
    done: &Acked,
    workers: &[mpsc::Sender<Record>],
) {
    let count = u64::try_from(workers.len()).unwrap_or(1).max(1);
    for record in records {
        if import.journal_error.lock().is_some() {
            return;
        }
        match record {
            Ok(record) if done.get(&record.key[..]) == Some(&journal::hash(&record.value)) => {
                import.counts.skipped.fetch_add(1, Ordering::Relaxed);
            }
            Ok(record) => {
                let worker = usize::try_from(journal::hash(&record.key) % count).unwrap_or(0);
                let worker = workers.get(worker).expect("a remainder is below the count");
                if worker.blocking_send(record).is_err() {
                    return;
                }
            }
            Err(bad) => import.fail(&import.counts.malformed, bad.line, &bad.reason),
        }
    }
}

async fn work(import: Arc<Import>, mut records: mpsc::Receiver<Record>) {
    let mut portion = Vec::new();
    while records.recv_many(&mut portion, limits::IMPORT_BATCH_RECORDS).await > 0 {
        import.write(std::mem::take(&mut portion)).await;
    }
}

impl Import {
    /// Writes records in their order.
    async fn write(&self, records: Vec<Record>) {
        let put = |record: &Record| BatchOp {
            op: ops::put(&record.key, &record.value),
            ..BatchOp::default()
        };
        let ops: Vec<_> = records.iter().map(put).collect();
        let mut results = std::pin::pin!(self.client.batch(&self.ns, stream::iter(ops)));
        let mut broken: Option<ClientError> = None;
        for record in records {
            let result = match &broken {
                None => results.next().await,
                Some(_) => None,
            };
            let (outcome, reason) = match result {
                Some(Ok(result)) if result.status < 400 => (Outcome::Applied, String::new()),
                Some(Ok(result)) => (result.outcome, result.detail.unwrap_or_default()),
                Some(Err(error)) => {
                    let said = (error.outcome(), error.to_string());
                    broken = Some(error);
                    said
                }
                // After an error what follows was in the same request, or was not sent.
                None => match &broken {
                    Some(error) => (error.outcome(), error.to_string()),
                    None => (Outcome::Unknown, "there is no result".to_owned()),
                },
            };
            match outcome {
                Outcome::Applied => {
                    self.acknowledged(&record.key, journal::hash(&record.value));
                }
                Outcome::Unknown if self.repeat_unknown => self.write_again(record).await,
                Outcome::Unknown => self.fail(&self.counts.unknown, record.line, &reason),
                Outcome::NotApplied => self.fail(&self.counts.not_applied, record.line, &reason),
            }
        }
    }

    /// Writes a record that may have been written before.
    async fn write_again(&self, record: Record) {
        for _ in 0..UNKNOWN_TRIES_MAX {
            self.counts.repeated.fetch_add(1, Ordering::Relaxed);
            match self.client.put(&self.ns, &record.key, record.value.clone()).await {
                Ok(_) => {
                    return self.acknowledged(&record.key, journal::hash(&record.value));
                }
                Err(error) if error.outcome() == Outcome::Unknown => {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                // The first try may have taken effect even if this one surely did not.
                Err(error) => {
                    return self.fail(&self.counts.unknown, record.line, &error.to_string());
                }
            }
        }
        self.fail(&self.counts.unknown, record.line, "no node could say whether it was written");
    }

    fn acknowledged(&self, key: &[u8], hash: u64) {
        if let Some(journal) = &self.journal
            && let Err(error) = journal.lock().append(key, hash)
        {
            self.journal_error.lock().get_or_insert(error);
        }
        self.counts.acknowledged.fetch_add(1, Ordering::Relaxed);
        self.bar.inc(1);
    }

    fn fail(&self, count: &AtomicU64, line: u64, reason: &str) {
        let before = count.fetch_add(1, Ordering::Relaxed);
        if before < u64::try_from(limits::IMPORT_FAILURES_SHOWN).unwrap_or(u64::MAX) {
            self.bar.suspend(|| print::note(format!("line {line}: {reason}")));
        }
    }

    fn finish(&self, took: Duration, as_json: bool) -> Result<(), Failure> {
        let flushed = self.journal.as_ref().map_or(Ok(()), |journal| journal.lock().flush());
        let broken = self.journal_error.lock().take().or(flushed.err());
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let c = &self.counts;
        let (acknowledged, skipped, malformed) =
            (of(&c.acknowledged), of(&c.skipped), of(&c.malformed));
        let (not_applied, unknown, repeated) =
            (of(&c.not_applied), of(&c.unknown), of(&c.repeated));
        let rate = per_second(acknowledged, took);
        if as_json {
            print::json(&json!({"acknowledged": acknowledged, "skipped": skipped,
                "malformed": malformed, "not_applied": not_applied, "unknown": unknown,
                "repeated": repeated, "seconds": took.as_secs_f64(), "per_second": rate}));
        } else {
            print::line(format!(
                "{acknowledged} acknowledged in {:.1} s ({rate:.0}/s), {skipped} skipped, \
                 {malformed} malformed, {not_applied} not applied, {unknown} unknown, \
                 {repeated} repeated",
                took.as_secs_f64()
            ));
        }
        if let Some(error) = broken {
            return Err(Failure::failed(format!("the journal cannot be written: {error}")));
        }
        let again = "run it again with --acked FILE, later with --resume FILE, to repeat the rest";
        match (unknown, not_applied + malformed) {
            (0, 0) => Ok(()),
            (0, failed) => Err(Failure::failed(format!("{failed} records not written; {again}"))),
            (unknown, _) => Err(Failure {
                code: Failure::UNKNOWN,
                text: format!("{unknown} writes are of unknown outcome; {again}"),
            }),
        }
    }
}

#[allow(clippy::cast_precision_loss, reason = "a rate for display needs no more digits")]
pub(super) fn per_second(count: u64, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64().max(1e-9)
}
