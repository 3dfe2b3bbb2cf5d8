//! Measures the log: durable entries per second, latency, syncs, and CPU per entry.
//!
//! Why it exists: what the log promises must be checked on the machine at hand:
//! `cargo run --release --example log_rate -- [directory] [in flight]`. It needs up to 2 GB there. 16
//! groups, each round for a fixed time, one submitter that keeps so many entries in flight; the CPU time is that
//! of the whole process. Figures are medians of five rounds.

#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a measuring tool")]
#![allow(missing_docs, reason = "a measuring tool")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tetrarch::runtime::Env;
use tetrarch::runtime::metrics::Metrics;
use tetrarch::storage::disk::RealDisk;
use tetrarch::storage::log::{Entry, Log, LogMetrics, LogOptions, Mark};

const GROUPS: u64 = 16;
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_millis(1500);
/// Entries of a group that a purge leaves.
const KEEP: u64 = 2_000;

type Failure = Box<dyn std::error::Error>;

#[derive(Clone, Copy)]
struct Case {
    in_flight: usize,
    bytes: usize,
    purge: bool,
}

#[derive(Clone, Copy, Default)]
struct Figures {
    per_second: f64,
    p50: f64,
    p99: f64,
    max: f64,
    syncs: f64,
    cpu: f64,
}

fn main() -> Result<(), Failure> {
    let dir = std::env::args().nth(1).unwrap_or_else(|| "log-rate-data".to_owned());
    let root = Path::new(&dir);
    if root.exists() {
        return Err(format!("{dir} exists: name a directory that does not").into());
    }
    let only: Option<usize> = std::env::args().nth(2).and_then(|text| text.parse().ok());
    println!(
        "entry purged in flight   entries/s    p50 us    p99 us    max us   syncs/s  CPU us/entry"
    );
    for (bytes, purge) in [(128, false), (1024, false), (256, true), (1024, true)] {
        for in_flight in [1, 16, 64, 256] {
            if only.is_some_and(|only| only != in_flight) {
                continue;
            }
            let case = Case { in_flight, bytes, purge };
            let mut rounds = Vec::new();
            for _ in 0..ROUNDS {
                rounds.push(round(root, case)?);
                std::fs::remove_dir_all(root)?;
            }
            let middle = |pick: fn(&Figures) -> f64| {
                let mut values: Vec<f64> = rounds.iter().map(pick).collect();
                values.sort_by(f64::total_cmp);
                values.get(ROUNDS / 2).copied().unwrap_or_default()
            };
            println!(
                "{bytes:5} {purge:>6} {in_flight:9} {:11.0} {:9.0} {:9.0} {:9.0} {:9.0} {:13.2}",
                middle(|f| f.per_second),
                middle(|f| f.p50),
                middle(|f| f.p99),
                middle(|f| f.max),
                middle(|f| f.syncs),
                middle(|f| f.cpu),
            );
        }
    }
    Ok(())
}

fn round(root: &Path, case: Case) -> Result<Figures, Failure> {
    let disk = Arc::new(RealDisk::new(root)?);
    let metrics = LogMetrics::new(&Metrics::default());
    let options = LogOptions::default();
    let log = Log::open(disk, PathBuf::from("log"), options, &Env::system(), metrics)?;
    let (done, completed) = mpsc::channel::<(u64, Instant, bool)>();
    let payload = Bytes::from(vec![7u8; case.bytes]);
    let mut next = [0u64; 16];
    let mut submit = |group: u64| {
        let Some(index) = next.get_mut(usize::try_from(group).unwrap_or(0)) else { return };
        let entry = Entry { index: *index, bytes: payload.clone() };
        let (done, asked) = (done.clone(), Instant::now());
        log.append(
            group,
            vec![entry],
            Box::new(move |result| {
                done.send((group, asked, result.is_ok())).unwrap_or_default();
            }),
        );
        *index += 1;
        if case.purge && index.is_multiple_of(KEEP / 2) && *index > KEEP {
            let index = *index - KEEP;
            log.purge(group, Mark { index, bytes: Bytes::from_static(b"m") }, Box::new(|_| {}));
        }
    };
    let (cpu, start, syncs) = (cpu_seconds()?, Instant::now(), log.stats().fsyncs);
    for slot in 0..case.in_flight {
        submit(slot as u64 % GROUPS);
    }
    let mut micros = Vec::with_capacity(4_000_000);
    while start.elapsed() < ROUND {
        let (group, asked, durable) = completed.recv()?;
        if !durable {
            return Err("an append failed".into());
        }
        micros.push(u32::try_from(asked.elapsed().as_micros()).unwrap_or(u32::MAX));
        submit(group);
    }
    let seconds = start.elapsed().as_secs_f64();
    let (cpu, syncs) = (cpu_seconds()? - cpu, log.stats().fsyncs - syncs);
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    runtime.block_on(log.close());
    micros.sort_unstable();
    let at = |hundredth: usize| {
        let place = (micros.len() * hundredth / 100).min(micros.len() - 1);
        f64::from(micros.get(place).copied().unwrap_or_default())
    };
    Ok(Figures {
        per_second: micros.len() as f64 / seconds,
        p50: at(50),
        p99: at(99),
        max: at(100),
        syncs: syncs as f64 / seconds,
        cpu: cpu * 1e6 / micros.len() as f64,
    })
}

/// CPU time of this process so far: fields 14 and 15 of its stat line, in hundredths of a second.
fn cpu_seconds() -> Result<f64, Failure> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let after = stat.rsplit_once(')').ok_or("an odd stat line")?.1;
    let ticks: Vec<f64> =
        after.split_whitespace().skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
    Ok(ticks.iter().sum::<f64>() / 100.0)
}
