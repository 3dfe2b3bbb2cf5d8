//! `tetrarch kv import`: many keys from a file or standard input, many at a time.
//!
//! Promises: records of one key are written in the order of the input (each key belongs to one
//! worker); what is acknowledged is counted and journalled, what is not is counted by outcome and
//! listed with its line. A write of unknown fate is repeated only with `--repeat-unknown`.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::mpsc;

use super::journal::{self, Acked, Journal};
use super::records::{Format, Record, Records};
use super::{Failure, Reach, print};
use crate::client::Client;
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
    /// Requests under way at a time.
    #[arg(long, default_value_t = 64)]
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
        let (sender, receiver) = mpsc::channel(2);
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
    while let Some(record) = records.recv().await {
        import.write(record).await;
    }
}

impl Import {
    async fn write(&self, record: Record) {
        let hash = journal::hash(&record.value);
        let mut tries = 1;
        loop {
            let put = self.client.put(&self.ns, &record.key, record.value.clone()).await;
            let Err(error) = put else { return self.acknowledged(&record.key, hash) };
            let outcome = error.outcome();
            if outcome == Outcome::Applied {
                return self.acknowledged(&record.key, hash);
            }
            if outcome == Outcome::Unknown && self.repeat_unknown && tries < UNKNOWN_TRIES_MAX {
                self.counts.repeated.fetch_add(1, Ordering::Relaxed);
                tries += 1;
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
            // An earlier try may have taken effect even if the last one surely did not.
            let unknown = outcome == Outcome::Unknown || tries > 1;
            let counts = &self.counts;
            let count = if unknown { &counts.unknown } else { &counts.not_applied };
            return self.fail(count, record.line, &error.to_string());
        }
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
