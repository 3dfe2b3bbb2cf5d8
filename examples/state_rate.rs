//! Measures the applied state: what an effect costs, how long applies stall, disk, restart.
//!
//! Why it exists: the bounds that the state promises (docs: storage) must be checked on the machine
//! at hand: `cargo run --release --example state_rate -- [directory]`. It needs about 1 GB there.
//! The rows are 1,000,000 keys of 24 bytes with 128-byte values in 16 groups, overwritten three
//! times at random, and once more with the old rows recorded; then one group of 1,000,000 rows is written out while it is written to. What it
//! costs to make the effects, to read the old rows and to put the new ones is told apart.

#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a measuring tool")]
#![allow(missing_docs, reason = "a measuring tool")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tetrarch::runtime::Env;
use tetrarch::runtime::metrics::Metrics;
use tetrarch::storage::disk::RealDisk;
use tetrarch::storage::state::{State, StateMetrics, StateOptions};
use tetrarch::storage::{Applied, Effect, Recorded};

const KEYS: u64 = 1_000_000;
const GROUPS: u64 = 16;
const BATCH: u64 = 64;
const DATA: u64 = KEYS * (24 + 128);

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let dir = std::env::args().nth(1).unwrap_or_else(|| "state-rate-data".to_owned());
    let root = Path::new(&dir);
    if root.exists() {
        return Err(format!("{dir} exists: name a directory that does not").into());
    }
    std::fs::create_dir_all(root)?;
    let measured = many_groups(root).and_then(|()| one_large_group(&root.join("large")));
    std::fs::remove_dir_all(root)?;
    measured
}

fn many_groups(root: &Path) -> Result<(), Failure> {
    let state = open(root, "first open")?;
    let mut writer = Writer::new(&state);
    measure("load", &state, || writer.run(KEYS + GROUPS * BATCH, |i, _| i))?;
    println!("  disk {}", disk(root)?);
    for round in 1..=3 {
        let name = format!("overwrite {round}");
        measure(&name, &state, || writer.run(KEYS, |_, rng| rng.u64(0..KEYS)))?;
        println!("  disk {}  {:?}", disk(root)?, state.stats());
    }
    writer.record = true;
    measure("overwrite, recorded", &state, || writer.run(KEYS, |_, rng| rng.u64(0..KEYS)))?;
    println!("  disk {}  {:?}", disk(root)?, state.stats());
    writer.record = false;
    measure("overwrite again", &state, || writer.run(KEYS, |_, rng| rng.u64(0..KEYS)))?;
    reads(&state, "get, newest rows in memory")?;
    writer.work = Work::Make;
    measure("only make effects", &state, || writer.run(KEYS, |_, rng| rng.u64(0..KEYS)))?;
    writer.work = Work::Read;
    measure("make, read old rows", &state, || writer.run(KEYS, |_, rng| rng.u64(0..KEYS)))?;
    writer.work = Work::Put;
    measure("make, put", &state, || writer.run(KEYS, |_, rng| rng.u64(0..KEYS)))?;
    for group in state.groups() {
        state.checkpoint(group)?;
    }
    reads(&state, "get, all rows in checkpoints")?;
    let started = Instant::now();
    state.close()?;
    drop(state);
    println!("close {:.2} s, disk {}", started.elapsed().as_secs_f64(), disk(root)?);
    let state = open(root, "open after a clean stop")?;
    let before: u64 = state.groups().iter().map(|g| index(&state, *g)).sum();
    drop(state);
    let state = open(root, "open after an unclean stop")?;
    let after: u64 = state.groups().iter().map(|g| index(&state, *g)).sum();
    println!("  {} entries of {BATCH} effects to apply again", before - after);
    Ok(())
}

fn reads(state: &State, name: &str) -> Result<(), Failure> {
    let mut rng = fastrand::Rng::with_seed(3);
    let (started, own) = (Instant::now(), cpu("thread-self")?);
    for _ in 0..400_000 {
        let number = rng.u64(0..KEYS);
        state.get(number % GROUPS + 1, &key(number))?.value.ok_or("a row is missing")?;
    }
    let (wall, cpu) = (started.elapsed().as_secs_f64() * 2.5, (cpu("thread-self")? - own) * 2.5);
    println!("{name}: {wall:.2} us wall, {cpu:.2} us CPU");
    Ok(())
}

fn one_large_group(root: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(root)?;
    let state = open(root, "large group")?;
    let mut writer = Writer::new(&state);
    writer.groups = 1;
    writer.run(KEYS + GROUPS * BATCH, |i, _| i)?;
    println!("  before its first checkpoint {}", disk(root)?);
    let started = Instant::now();
    state.checkpoint(1)?;
    let took = started.elapsed().as_secs_f64();
    println!("checkpoint of 1 M rows, idle: {took:.2} s; {}", disk(root)?);
    writer.run(KEYS / 20, |_, rng| rng.u64(0..KEYS))?;
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writing = scope.spawn(|| {
            let started = Instant::now();
            let written = state.checkpoint(1).map(|_| started.elapsed());
            done.store(true, Ordering::Release);
            written
        });
        (writer.worst, writer.noise) = (Duration::ZERO, Duration::ZERO);
        let (mut effects, started) = (0, Instant::now());
        while !done.load(Ordering::Acquire) {
            // 50,000 effects a second: a busy node, not a saturated processor.
            if effects * 20 < u64::try_from(started.elapsed().as_micros())? {
                writer.batch(effects, &|_, rng| rng.u64(0..KEYS))?;
                effects += BATCH;
            } else {
                std::thread::sleep(Duration::from_micros(200));
            }
        }
        let took = writing.join().map_err(|_panic| "the checkpoint panicked")??;
        println!(
            "checkpoint of 1 M rows beside {effects} effects: {:.2} s, {}; {}",
            took.as_secs_f64(),
            writer.stalls(),
            disk(root)?
        );
        Ok(())
    })
}

/// What of an apply is done.
#[derive(Clone, Copy, PartialEq)]
enum Work {
    Make,
    Read,
    Put,
    ReadAndPut,
}

/// Applies batches of effects, each after reading the row that it replaces, as commands do.
struct Writer<'a> {
    state: &'a State,
    work: Work,
    /// Whether the old rows go into the history.
    record: bool,
    groups: u64,
    rng: fastrand::Rng,
    worst: Duration,
    /// The same for making a batch of effects: how long the machine itself stalls.
    noise: Duration,
}

impl<'a> Writer<'a> {
    fn new(state: &'a State) -> Self {
        let (rng, worst, noise) = (fastrand::Rng::with_seed(1), Duration::ZERO, Duration::ZERO);
        Self { state, work: Work::ReadAndPut, record: false, groups: GROUPS, rng, worst, noise }
    }

    fn run(
        &mut self,
        effects: u64,
        choose: impl Fn(u64, &mut fastrand::Rng) -> u64,
    ) -> Result<(), Failure> {
        (self.worst, self.noise) = (Duration::ZERO, Duration::ZERO);
        for first in (0..effects).step_by(usize::try_from(BATCH)?) {
            self.batch(first, &choose)?;
        }
        println!("  {}", self.stalls());
        Ok(())
    }

    fn stalls(&self) -> String {
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        format!("longest apply {:.2} ms, of the machine {:.2} ms", ms(self.worst), ms(self.noise))
    }

    /// One apply for each group of a batch of 64 in flight.
    fn batch(
        &mut self,
        first: u64,
        choose: &impl Fn(u64, &mut fastrand::Rng) -> u64,
    ) -> Result<(), Failure> {
        let group = (first / BATCH) % self.groups;
        let making = Instant::now();
        let mut effects = Vec::with_capacity(usize::try_from(BATCH)?);
        for i in first..first + BATCH {
            // A number of this group, so that a batch is one group's; all numbers in turn.
            let in_turn = (first / BATCH / self.groups * BATCH + i - first) * self.groups;
            let number = choose(in_turn, &mut self.rng) % KEYS;
            let number = number - number % self.groups + group;
            let mut value = vec![0; 128];
            value.iter_mut().step_by(8).for_each(|byte| *byte = self.rng.u8(..));
            effects.push(Effect::plain(key(number), Some(value.into())));
        }
        self.noise = self.noise.max(making.elapsed());
        if self.work == Work::Make {
            std::hint::black_box(effects);
            return Ok(());
        }
        let (work, record, started) = (self.work, self.record, Instant::now());
        self.state.apply(group + 1, |applying| {
            for effect in &mut effects {
                if work != Work::Put {
                    let before = std::hint::black_box(applying.get(&effect.key)?);
                    effect.recorded = record.then_some(Recorded { before, note: 0 });
                }
            }
            let index = applying.applied().map_or(0, |applied| applied.index) + 1;
            if work != Work::Read {
                applying.put_effects(index, effects);
            }
            applying.set_applied(Applied { index, mark: Bytes::new() });
            Ok(())
        })?;
        self.worst = self.worst.max(started.elapsed());
        Ok(())
    }
}

/// Runs work beside a thread that writes the checkpoints that are due, and prints what it cost.
fn measure(
    name: &str,
    state: &State,
    work: impl FnOnce() -> Result<(), Failure>,
) -> Result<(), Failure> {
    let (done, checkpoints, written) =
        (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let checkpointing = scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                match state.checkpoints_due().first() {
                    Some(group) => {
                        let bytes = state.checkpoint(*group)?.bytes();
                        written.fetch_add(bytes, Ordering::Relaxed);
                        checkpoints.fetch_add(1, Ordering::Relaxed);
                    }
                    None => std::thread::sleep(Duration::from_millis(5)),
                }
            }
            Ok::<(), tetrarch::storage::StorageError>(())
        });
        let (started, all, own) = (Instant::now(), cpu("self")?, cpu("thread-self")?);
        let result = work();
        let per = |seconds: f64| seconds * 1e6 / KEYS as f64;
        println!(
            "{name}: {:.2} us wall, {:.2} us CPU of the applier, {:.2} us CPU of all, an effect",
            per(started.elapsed().as_secs_f64()),
            per(cpu("thread-self")? - own),
            per(cpu("self")? - all)
        );
        done.store(true, Ordering::Release);
        checkpointing.join().map_err(|_panic| "the checkpoints panicked")??;
        println!(
            "  {} checkpoints, {:.2} bytes for each byte of effects",
            checkpoints.load(Ordering::Relaxed),
            written.load(Ordering::Relaxed) as f64 / DATA as f64
        );
        result
    })
}

fn open(root: &Path, name: &str) -> Result<State, Failure> {
    let (disk, metrics) = (Arc::new(RealDisk::new(root)?), StateMetrics::new(&Metrics::default()));
    let started = Instant::now();
    let (options, env) = (StateOptions::default(), Env::system());
    let state = State::open(disk, Some(root.to_owned()), options, &env, metrics, &|_| {})?;
    let why = state.rebuilt().map_or("", |rebuilt| &rebuilt.reason);
    println!("{name}: {:.2} s {why}", started.elapsed().as_secs_f64());
    Ok(state)
}

fn index(state: &State, group: u64) -> u64 {
    state.applied(group).map_or(0, |applied| applied.index)
}

fn key(number: u64) -> Bytes {
    // Scattered over the key order.
    format!("k{:023}", number.wrapping_mul(0x9E37_79B9_7F4A_7C15)).into()
}

/// Bytes on disk against bytes of data, by directory.
fn disk(root: &Path) -> Result<String, Failure> {
    let share = |name: &str| -> Result<f64, Failure> {
        Ok(bytes_below(&root.join(name))? as f64 / DATA as f64)
    };
    let (index, checkpoints) = (share("index")?, share("checkpoints")?);
    Ok(format!(
        "{:.2} x data ({index:.2} index, {checkpoints:.2} checkpoints)",
        index + checkpoints
    ))
}

fn bytes_below(dir: &Path) -> Result<u64, Failure> {
    use std::os::unix::fs::MetadataExt;
    let mut bytes = 0;
    if !dir.exists() {
        return Ok(0);
    }
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        // A checkpoint may be removed meanwhile.
        let Ok(found) = entry.metadata() else { continue };
        bytes += if found.is_dir() { bytes_below(&entry.path())? } else { found.blocks() * 512 };
    }
    Ok(bytes)
}

/// Processor time so far in seconds, of `self` or `thread-self`; hundredths are enough here.
fn cpu(whose: &str) -> Result<f64, Failure> {
    let stat = std::fs::read_to_string(format!("/proc/{whose}/stat"))?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |at: usize| -> Result<f64, Failure> { Ok(fields.get(at).ok_or("short")?.parse()?) };
    Ok((ticks(11)? + ticks(12)?) / 100.0)
}
