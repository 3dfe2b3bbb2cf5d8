//! The comparison with a peer: the same load on three local nodes of each, in turn.
//!
//! ```text
//!   pair 1: ours, peer | pair 2: ours, peer | ...
//!   each: idle | 1 client | 256 writers | open load | 256 readers | batches | fill | read back | kill -9
//! ```
//!
//! Why it exists: "faster than the store that it would replace" is a statement about one machine, one
//! load and one durability; so both are measured here, by the same load, one after the other, often
//! enough that the spread is seen.
//!
//! Promises: a side runs alone; what was written is read back on both sides; the order of phases, keys
//! and values is the same. Relies on: [`contender`] for the two sides, [`drive`] for the load.

pub mod contender;
mod drive;
pub mod etcd;
mod gaps;
pub mod gateway;
pub mod rows;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::time::sleep;

use self::contender::{Contender, Interface, Members, Ours};
use self::drive::{Book, Kind, Much, Phase, check, phase, spent};
use self::rows::{Measured, PeerReport, VERSION, table};
use super::cost::{self, Spent};
use super::progress::{Progress, Step};
use super::target::Target;
use crate::runtime::Env;

/// Connections of a side's heaviest phases, all nodes together.
const CONNECTIONS: u64 = 256;

/// Writes of one batched request.
const BATCH: u64 = 1_000;

/// Batched requests under way at a time.
const BATCHES: usize = 12;

/// Until nodes that have just started have nothing left to do.
const SETTLES: Duration = Duration::from_secs(3);

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
            format!("Our client asks {asks}, over HTTP/1.1; etcd's clients are spread over its members."),
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
        if settings.many_groups > 0 {
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

    /// All phases of one side.
    async fn side(
        &self,
        name: &str,
        mut side: Box<dyn Contender>,
        report: &mut PeerReport,
    ) -> Result<Measured, String> {
        let settings = self.settings;
        let (target, pids) = (side.target(), side.pids().await);
        let book = Book::new(settings.keys, settings.value_bytes);
        let mut measured = Measured::default();
        self.say(format!("{name}: idle"));
        measured.idle = self.idle(&*side).await;
        let load = Load { bench: self, name, target: &target, book: &book, pids: &pids };
        load.run(&mut measured, report).await;
        measured.batch_per_s = load.batches(&*side).await;
        self.say(format!("{name}: filling"));
        load.fill(report).await;
        let rss = Spent::look(&[], &pids).await.rss_kib.into_iter().max();
        #[allow(clippy::cast_precision_loss, reason = "a figure for display needs no more digits")]
        let mib = rss.map(|kib| kib as f64 / 1_024.0);
        measured.rss_mib = mib;
        self.say(format!("{name}: reading back"));
        let (checked, wrong) = check(&target, &book).await;
        report.checked += checked;
        report.wrong += wrong;
        self.say(format!("{name}: kill -9"));
        let watched = settings.seconds.max(Duration::from_secs(6));
        let gaps = gaps::gaps(self.env, &mut side, watched).await?;
        (measured.gap_led, measured.gap_others) = (gaps.led, gaps.others);
        side.stop().await;
        if let Some(failure) = self.env.tasks.failure() {
            return Err(format!("the load generator failed: {failure}"));
        }
        Ok(measured)
    }
}

/// The phases of one side that are loads.
struct Load<'a> {
    bench: &'a Bench<'a>,
    name: &'a str,
    target: &'a Arc<dyn Target>,
    book: &'a Arc<Book>,
    pids: &'a [u32],
}

impl Load<'_> {
    async fn phase(&self, kind: Kind, much: Much, report: &mut PeerReport) -> Phase {
        let env = self.bench.env;
        let done = phase(env, self.target, self.book, self.pids, (kind, much, 0)).await;
        report.wrong += done.wrong;
        if done.failed > 0 {
            let why = done.why.as_deref().unwrap_or("no reason given");
            let text = format!(
                "{}: {} of {} failed: {why}",
                self.name,
                done.failed,
                done.failed + done.ok
            );
            self.bench.progress.say(Step::Remark(text.clone()));
            report.remarks.push(text);
        }
        done
    }

    async fn run(&self, measured: &mut Measured, report: &mut PeerReport) {
        let (settings, name) = (self.bench.settings, self.name);
        let lasts = settings.seconds;
        let warm = lasts.min(Duration::from_secs(2));
        self.bench.say(format!("{name}: 1 writer"));
        self.phase(Kind::Put, Much::Closed(1, warm / 2), report).await;
        let alone = self.phase(Kind::Put, Much::Closed(1, lasts), report).await;
        measured.put_alone = Some(alone.quantile_ms(0.5));
        self.bench.say(format!("{name}: {CONNECTIONS} writers"));
        self.phase(Kind::Put, Much::Closed(CONNECTIONS, warm), report).await;
        let put = self.phase(Kind::Put, Much::Closed(CONNECTIONS, lasts), report).await;
        measured.put_per_s = Some(put.per_second());
        measured.put_cpu_us = put.cpu_us_per_op();
        self.bench.say(format!("{name}: {} writes a second", settings.rate));
        let open = self.phase(Kind::Put, Much::Open(settings.rate, lasts), report).await;
        measured.put_p99_at_rate = Some(open.quantile_ms(0.99));
        self.bench.say(format!("{name}: {CONNECTIONS} readers"));
        self.phase(Kind::Get, Much::Closed(CONNECTIONS, warm), report).await;
        let get = self.phase(Kind::Get, Much::Closed(CONNECTIONS, lasts), report).await;
        measured.get_per_s = Some(get.per_second());
    }

    /// Batched writes a second, where there is such a thing.
    async fn batches(&self, side: &dyn Contender) -> Option<f64> {
        self.bench.say(format!("{}: batches of {BATCH}", self.name));
        let clock = &self.bench.env.clock;
        let began = clock.now();
        let until = began + self.bench.settings.seconds;
        // Whole batches of keys of their own: no key is in two that are under way.
        let size = BATCH.min(self.book.keys());
        let slices = (self.book.keys() / size).max(1);
        let one = |number: u64| async move {
            if clock.now() >= until {
                return Some(0);
            }
            let first = number % slices * size;
            let begun: Vec<_> =
                (first..first + size).map(|key| (key, self.book.begin(key))).collect();
            let puts: Vec<_> =
                begun.iter().map(|(key, (_, value))| (Book::name(*key), value.clone())).collect();
            let done = side.batch(&puts).await;
            for (key, (version, _)) in begun {
                // Of a batch that is not whole nobody knows here which part is.
                let applied = match done {
                    Some(done) => (done == size).then_some(true),
                    None => Some(false),
                };
                self.book.end(key, version, applied);
            }
            done
        };
        let under_way = BATCHES.min(usize::try_from(slices).unwrap_or(BATCHES));
        let mut batches = Box::pin(
            stream::iter(0..)
                .take_while(|_| futures_util::future::ready(clock.now() < until))
                .map(one)
                .buffer_unordered(under_way),
        );
        let mut sum = 0_u64;
        while let Some(done) = batches.next().await {
            sum += done?;
        }
        #[allow(clippy::cast_precision_loss, reason = "a figure for display needs no more digits")]
        let rate = sum as f64 / clock.now().since(began).as_secs_f64().max(1e-9);
        Some(rate)
    }

    /// Writes every key that was not written yet, through the usual writes.
    async fn fill(&self, report: &mut PeerReport) {
        let missing = self.book.missing();
        let failed = stream::iter(missing.into_iter().enumerate())
            .map(|(number, key)| async move {
                let site = 1 + u64::try_from(number).unwrap_or(0) % self.target.sites();
                self.book.put(&**self.target, site, key).await
            })
            .buffer_unordered(usize::try_from(CONNECTIONS).unwrap_or(1))
            .filter(|applied| futures_util::future::ready(!*applied))
            .count()
            .await;
        if failed > 0 {
            report.remarks.push(format!("{}: {failed} keys could not be filled in", self.name));
        }
    }
}
