//! The comparison with a peer: the same load on three local nodes of each, in turn.
//!
//! ```text
//!   pair 1: ours, peer | pair 2: ours, peer | ...
//!   each: idle | 1 writer | 256 writers | open load | 256 readers | batches | fill | read back | kill -9
//! ```
//!
//! Why it exists: "faster than the store that it would replace" is a statement about one machine, one
//! load and one durability; so both are measured here, by the same load, one after the other, often
//! enough that the spread is seen.
//!
//! Promises: a side runs alone; what was written is read back on both sides; the order of phases, keys
//! and values is the same. Relies on: [`contender`] for the two sides, [`super::lanes`] for the load.

mod calls;
pub mod contender;
pub mod etcd;
mod gaps;
pub mod gateway;
pub mod rows;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use self::contender::{Contender, Interface, Members, Ours};
use self::rows::{Measured, PeerReport, VERSION, table};
use super::cost::{self, Spent};
use super::lanes::book::Book;
use super::lanes::drive::{Load, Phase, check, phase, spent};
use super::progress::{Progress, Step};
use crate::runtime::Env;
use crate::runtime::limits::BENCH_PEER_CHANNELS;

/// Connections of a side's heaviest phases, all nodes together.
const CONNECTIONS: u64 = 256;

/// Writes of one batched request.
const BATCH: u64 = 1_000;

/// Batched requests under way at a time.
const BATCHES: u64 = 12;

/// Until nodes that have just started have nothing left to do.
const SETTLES: Duration = Duration::from_secs(3);

/// A part of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// CPU without load.
    Idle,
    /// One writer.
    Single,
    /// Many writers.
    Put,
    /// Writes at a rate.
    Open,
    /// Many readers.
    Get,
    /// Many writes in one request.
    Batch,
    /// All keys, and the memory that they take.
    Fill,
    /// A node's death.
    Kill,
}

impl Part {
    /// All of them, in their order.
    pub const ALL: [Self; 8] = [
        Self::Idle,
        Self::Single,
        Self::Put,
        Self::Open,
        Self::Get,
        Self::Batch,
        Self::Fill,
        Self::Kill,
    ];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Single => "single",
            Self::Put => "put",
            Self::Open => "open",
            Self::Get => "get",
            Self::Batch => "batch",
            Self::Fill => "fill",
            Self::Kill => "kill",
        }
    }
}

/// What is compared, and how thoroughly.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The peer's program.
    pub program: PathBuf,
    /// How it is asked.
    pub interface: Interface,
    /// How often both are measured.
    pub pairs: u64,
    /// How long each phase lasts.
    pub seconds: Duration,
    /// Writes a second of the open load.
    pub rate: f64,
    /// Keys that each side holds in the end.
    pub keys: u64,
    /// Bytes of a value.
    pub value_bytes: usize,
    /// Groups of our own nodes.
    pub groups: u64,
    /// Groups of the second look at idle nodes; 0: none.
    pub many_groups: u64,
    /// Whether our clients ask the node of their site alone.
    pub pinned: bool,
    /// What is measured.
    pub parts: Vec<Part>,
    /// Where the nodes keep their data.
    pub root: PathBuf,
    /// The command line, for the report.
    pub command: String,
}

/// Compares our own nodes with etcd's.
///
/// # Errors
///
/// When one of them does not run.
pub async fn compare(
    settings: &Settings,
    env: &Env,
    progress: &dyn Progress,
) -> Result<PeerReport, String> {
    std::fs::create_dir_all(&settings.root)
        .map_err(|error| format!("{}: {error}", settings.root.display()))?;
    let mut report = begin(settings, env);
    let mut pairs = Vec::new();
    let bench = Bench { settings, env, progress };
    for pair in 1..=settings.pairs {
        let ours = bench.ours(pair, &mut report).await?;
        let peer = bench.etcd(pair, &mut report).await?;
        pairs.push((ours, peer));
        report.pairs = pair;
        report.rows = table(&pairs, settings.rate);
    }
    Ok(report)
}

fn begin(settings: &Settings, env: &Env) -> PeerReport {
    let asks = if settings.pinned { "the node of its site alone" } else { "leaders directly" };
    PeerReport {
        version: VERSION,
        machine: cost::machine(&settings.root),
        build: cost::build(),
        command: settings.command.clone(),
        started_ms: env.clock.wall_ms(),
        remarks: vec![
            "Both sync every acknowledged write to the same disk; each runs alone, in turn with the other."
                .to_owned(),
            "The load generator runs on the same machine as the nodes, and competes with them for its \
             processors."
                .to_owned(),
            format!(
                "Our callers ask {asks}, over HTTP/1.1 keep-alive, a connection each; etcd's are spread over \
                 its members, {BENCH_PEER_CHANNELS} HTTP/2 connections to each. Both ask as cheaply as the \
                 interface permits."
            ),
            "No PUT carries an idempotency key: etcd has none.".to_owned(),
            format!(
                "{} keys of {} bytes, {} groups, {} s a phase.",
                settings.keys,
                settings.value_bytes,
                settings.groups,
                settings.seconds.as_secs_f64()
            ),
        ],
        ..PeerReport::default()
    }
}

struct Bench<'a> {
    settings: &'a Settings,
    env: &'a Env,
    progress: &'a dyn Progress,
}

impl Bench<'_> {
    fn say(&self, what: String) {
        self.progress.say(Step::Doing(what));
    }

    async fn ours(&self, pair: u64, report: &mut PeerReport) -> Result<Measured, String> {
        let name = format!("pair {pair}, tetrarch");
        self.say(format!("{name}: starting"));
        let (settings, env) = (self.settings, self.env);
        let start = |groups: u64| {
            let root = settings.root.join(format!("tetrarch-{pair}-{groups}"));
            Ours::start(root, groups, settings.pinned, env)
        };
        let side = Box::new(start(settings.groups).await?);
        let mut measured = self.side(&name, side, report).await?;
        if settings.many_groups > 0 && self.wants(Part::Idle) {
            self.say(format!("{name}: idle with {} groups", settings.many_groups));
            let side: Box<dyn Contender> = Box::new(start(settings.many_groups).await?);
            measured.idle_many = self.idle(&*side).await;
            side.stop().await;
        }
        Ok(measured)
    }

    async fn etcd(&self, pair: u64, report: &mut PeerReport) -> Result<Measured, String> {
        let name = format!("pair {pair}, etcd");
        self.say(format!("{name}: starting"));
        let root = self.settings.root.join(format!("etcd-{pair}"));
        let interface = self.settings.interface;
        let side = Members::start(&self.settings.program, root, interface, self.env).await?;
        let by = match interface {
            Interface::Grpc => "gRPC",
            Interface::Json => "JSON gateway",
        };
        report.peer = format!("etcd {} ({by})", side.version);
        self.side(&name, Box::new(side), report).await
    }

    /// CPU of nodes that nobody asks anything, in percent of a core.
    async fn idle(&self, side: &dyn Contender) -> Option<f64> {
        let pids = side.pids().await;
        sleep(SETTLES).await;
        let (began, before) = (self.env.clock.now(), spent(&pids)?);
        sleep(self.settings.seconds.max(Duration::from_secs(4))).await;
        let took = self.env.clock.now().since(began).as_secs_f64();
        let used = Duration::from_micros(spent(&pids)?.checked_sub(before)?);
        Some(used.as_secs_f64() / took * 100.0)
    }

    fn wants(&self, part: Part) -> bool {
        self.settings.parts.contains(&part)
    }

    /// All parts of one side that are wanted.
    async fn side(
        &self,
        name: &str,
        mut side: Box<dyn Contender>,
        report: &mut PeerReport,
    ) -> Result<Measured, String> {
        let settings = self.settings;
        let pids = side.pids().await;
        let book = Book::new("peer/", settings.keys, settings.value_bytes);
        let mut measured = Measured::default();
        if self.wants(Part::Idle) {
            self.say(format!("{name}: idle"));
            measured.idle = self.idle(&*side).await;
        }
        let load = Side { bench: self, name, side: &*side, book: &book, pids: &pids };
        load.run(&mut measured, report).await?;
        self.say(format!("{name}: reading back"));
        let (checked, wrong) = check(&*side.target(), &book).await;
        report.checked += checked;
        report.wrong += wrong;
        if self.wants(Part::Kill) {
            self.say(format!("{name}: kill -9"));
            let watched = settings.seconds.max(Duration::from_secs(6));
            let gaps = gaps::gaps(self.env, &mut side, watched).await?;
            (measured.gap_led, measured.gap_others) = (gaps.led, gaps.others);
        }
        side.stop().await;
        if let Some(failure) = self.env.tasks.failure() {
            return Err(format!("the load generator failed: {failure}"));
        }
        Ok(measured)
    }
}

/// The parts of one side that are loads.
struct Side<'a> {
    bench: &'a Bench<'a>,
    name: &'a str,
    side: &'a dyn Contender,
    book: &'a Arc<Book>,
    pids: &'a [u32],
}

impl Side<'_> {
    async fn phase(&self, load: Load, report: &mut PeerReport) -> Result<Phase, String> {
        let lanes = self.side.lanes().await?;
        let done = phase(self.bench.env, lanes, self.book, self.pids, load).await;
        report.wrong += done.wrong;
        if done.failed() > 0 {
            let why = done.why.as_deref().unwrap_or("no reason given");
            let all = done.failed() + done.ok;
            let text = format!("{}: {} of {all} failed: {why}", self.name, done.failed());
            self.bench.progress.say(Step::Remark(text.clone()));
            report.remarks.push(text);
        }
        Ok(done)
    }

    async fn run(&self, measured: &mut Measured, report: &mut PeerReport) -> Result<(), String> {
        let (settings, name) = (self.bench.settings, self.name);
        let lasts = settings.seconds;
        let warm = lasts.min(Duration::from_secs(2));
        let wants = |part| self.bench.wants(part);
        let say = |text: String| self.bench.say(format!("{name}: {text}"));
        if wants(Part::Single) {
            say("1 writer".to_owned());
            self.phase(Load::Closed(1, 100, warm / 2), report).await?;
            let alone = self.phase(Load::Closed(1, 100, lasts), report).await?;
            measured.put_alone = Some(alone.quantile_ms(0.5));
        }
        if wants(Part::Put) {
            say(format!("{CONNECTIONS} writers"));
            self.phase(Load::Closed(CONNECTIONS, 100, warm), report).await?;
            let put = self.phase(Load::Closed(CONNECTIONS, 100, lasts), report).await?;
            measured.put_per_s = Some(put.per_second());
            measured.put_cpu_us = put.cpu_us_per_op();
            measured.put_own_us = put.own_us_per_op();
        }
        if wants(Part::Open) {
            say(format!("{} writes a second", settings.rate));
            let open = Load::Open(CONNECTIONS, settings.rate, lasts);
            let open = self.phase(open, report).await?;
            measured.put_p99_at_rate = Some(open.quantile_ms(0.99));
        }
        if wants(Part::Get) {
            say(format!("{CONNECTIONS} readers"));
            self.phase(Load::Closed(CONNECTIONS, 0, warm), report).await?;
            let get = self.phase(Load::Closed(CONNECTIONS, 0, lasts), report).await?;
            measured.get_per_s = Some(get.per_second());
            measured.get_own_us = get.own_us_per_op();
        }
        if wants(Part::Batch) && self.side.lanes().await?.batches() {
            say(format!("batches of {BATCH}"));
            let batches = self.phase(Load::Batches(BATCHES, BATCH, lasts), report).await?;
            measured.batch_per_s = Some(batches.per_second());
        }
        if wants(Part::Fill) {
            say("filling".to_owned());
            self.phase(Load::Fill(CONNECTIONS, 1), report).await?;
            let rss = Spent::look(&[], self.pids).await.rss_kib.into_iter().max();
            #[allow(clippy::cast_precision_loss, reason = "a figure for display needs no more")]
            let mib = rss.map(|kib| kib as f64 / 1_024.0);
            measured.rss_mib = mib;
        }
        Ok(())
    }
}
