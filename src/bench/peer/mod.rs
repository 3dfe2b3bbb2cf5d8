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
//! and values is the same. Each pair is kept when it is complete, and the same settings go on behind it.
//! Relies on: [`contender`] for the two sides, [`super::lanes`] for the load.

mod calls;
pub mod conditions;
pub mod contender;
pub mod etcd;
mod gaps;
pub mod gateway;
pub mod rows;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use self::conditions::{Conditions, Part};
use self::contender::{Contender, Interface, Members, Ours};
use self::rows::{Measured, Pair, PeerReport, VERSION, table};
use super::cost::{self, Spent};
use super::figures::FILE;
use super::kept::{KeptError, read_report, write_report};
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

/// What is compared, how often, and where the results go.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The peer's program.
    pub program: PathBuf,
    /// How often both are measured.
    pub pairs: usize,
    /// What is measured.
    pub conditions: Conditions,
    /// The output directory.
    pub out: PathBuf,
    /// Where the nodes keep their data.
    pub root: PathBuf,
    /// The command line, for the report.
    pub command: String,
}

/// The report to go on with: that of the output directory, or one without pairs.
///
/// # Errors
///
/// When what is there was measured under other conditions, or is something else.
pub fn begin(settings: &Settings, env: &Env) -> Result<PeerReport, KeptError> {
    let Some(report) = read_report::<PeerReport>(&settings.out)? else {
        // What cannot be written to is found out now, and not after the first pair.
        for dir in [&settings.out, &settings.root] {
            std::fs::create_dir_all(dir)
                .map_err(|source| KeptError::Output { path: dir.clone(), source })?;
        }
        return Ok(fresh(settings, env));
    };
    let other_build = (report.build != cost::build()).then_some("build");
    match other_build.or_else(|| report.conditions.differs(&settings.conditions)) {
        Some(what) => Err(other(settings, what)),
        None => Ok(report),
    }
}

/// The pairs that are there cannot stand in one table with new ones.
fn other(settings: &Settings, what: &'static str) -> KeptError {
    KeptError::Other { path: settings.out.join(FILE), name: "pairs".to_owned(), what }
}

/// Compares our own nodes with etcd's, as often as is missing. After each pair the report has it, here and
/// in the output directory; of one that did not come to its end it has nothing.
///
/// # Errors
///
/// When one of them does not run, or results cannot be kept.
pub async fn compare(
    report: &mut PeerReport,
    settings: &Settings,
    env: &Env,
    progress: &dyn Progress,
) -> Result<(), String> {
    if report.pairs.len() < settings.pairs {
        contender::is_there(&settings.program).await?;
    }
    let bench = Bench { settings, env, progress };
    while report.pairs.len() < settings.pairs {
        let number = report.pairs.len() + 1;
        let mut next = report.clone();
        let ours = bench.ours(number, &mut next).await?;
        let peer = bench.etcd(number, &mut next).await?;
        keep(report, next, Pair { ours, peer }, settings).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Takes a pair into the report.
fn keep(
    report: &mut PeerReport,
    mut next: PeerReport,
    pair: Pair,
    settings: &Settings,
) -> Result<(), KeptError> {
    if !report.pairs.is_empty() && next.peer != report.peer {
        return Err(other(settings, "release of the peer"));
    }
    next.pairs.push(pair);
    next.rows = table(&next.pairs, next.conditions.rate);
    write_report(&settings.out, &next)?;
    *report = next;
    Ok(())
}

/// A report without pairs.
fn fresh(settings: &Settings, env: &Env) -> PeerReport {
    let load = &settings.conditions;
    let asks = if load.pinned { "the node of its site alone" } else { "leaders directly" };
    PeerReport {
        version: VERSION,
        machine: cost::machine(&settings.root),
        build: cost::build(),
        command: settings.command.clone(),
        conditions: load.clone(),
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
                load.keys,
                load.value_bytes,
                load.groups,
                load.lasts.as_secs_f64()
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

    async fn ours(&self, pair: usize, report: &mut PeerReport) -> Result<Measured, String> {
        let name = format!("pair {pair}, tetrarch");
        self.say(format!("{name}: starting"));
        let load = &self.settings.conditions;
        let start = |groups: u64| {
            let root = self.settings.root.join(format!("tetrarch-{pair}-{groups}"));
            Ours::start(root, groups, load.pinned, self.env)
        };
        let side = Box::new(start(load.groups).await?);
        let mut measured = self.side(&name, side, report).await?;
        if load.many_groups > 0 && load.wants(Part::Idle) {
            self.say(format!("{name}: idle with {} groups", load.many_groups));
            let side: Box<dyn Contender> = Box::new(start(load.many_groups).await?);
            measured.idle_many = self.idle(&*side).await;
            side.stop().await;
        }
        Ok(measured)
    }

    async fn etcd(&self, pair: usize, report: &mut PeerReport) -> Result<Measured, String> {
        let name = format!("pair {pair}, etcd");
        self.say(format!("{name}: starting"));
        let root = self.settings.root.join(format!("etcd-{pair}"));
        let interface = self.settings.conditions.interface;
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
        sleep(self.settings.conditions.lasts.max(Duration::from_secs(4))).await;
        let took = self.env.clock.now().since(began).as_secs_f64();
        let used = Duration::from_micros(spent(&pids)?.checked_sub(before)?);
        Some(used.as_secs_f64() / took * 100.0)
    }

    /// All parts of one side that are wanted.
    async fn side(
        &self,
        name: &str,
        mut side: Box<dyn Contender>,
        report: &mut PeerReport,
    ) -> Result<Measured, String> {
        let conditions = &self.settings.conditions;
        let pids = side.pids().await;
        let book = Book::new("peer/", conditions.keys, conditions.value_bytes);
        let mut measured = Measured::default();
        if conditions.wants(Part::Idle) {
            self.say(format!("{name}: idle"));
            measured.idle = self.idle(&*side).await;
        }
        let load = Side { bench: self, name, side: &*side, book: &book, pids: &pids };
        load.run(&mut measured, report).await?;
        self.say(format!("{name}: reading back"));
        let (checked, wrong) = check(&*side.target(), &book).await;
        report.checked += checked;
        report.wrong += wrong;
        if conditions.wants(Part::Kill) {
            self.say(format!("{name}: kill -9"));
            let watched = conditions.lasts.max(Duration::from_secs(6));
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
        let (conditions, name) = (&self.bench.settings.conditions, self.name);
        let lasts = conditions.lasts;
        let warm = lasts.min(Duration::from_secs(2));
        let wants = |part| conditions.wants(part);
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
            say(format!("{} writes a second", conditions.rate));
            let open = Load::Open(CONNECTIONS, conditions.rate, lasts);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(out: &std::path::Path) -> Settings {
        let conditions = Conditions {
            lasts: Duration::from_millis(2_500),
            rate: 10_000.0 / 3.0,
            keys: 1_000,
            value_bytes: 128,
            groups: 24,
            parts: vec![Part::Put, Part::Kill],
            ..Conditions::default()
        };
        Settings {
            program: "etcd".into(),
            pairs: 3,
            conditions,
            out: out.to_owned(),
            root: out.join("nodes"),
            command: "x".to_owned(),
        }
    }

    fn pair(put_per_s: f64) -> Pair {
        let side = |put_per_s| Measured { put_per_s: Some(put_per_s), ..Measured::default() };
        Pair { ours: side(put_per_s), peer: side(100.0) }
    }

    /// A report that has one pair, as it was kept.
    fn kept(settings: &Settings) -> PeerReport {
        let mut report = begin(settings, &Env::system()).unwrap();
        let next = PeerReport { peer: "etcd 1".into(), checked: 7, ..report.clone() };
        keep(&mut report, next, pair(200.0), settings).unwrap();
        report
    }

    #[test]
    fn a_comparison_goes_on_behind_the_pairs_that_are_complete() {
        let dir = tempfile::tempdir().unwrap();
        let (settings, env) = (settings(dir.path()), Env::system());
        let first = kept(&settings);
        // Another command begins with what the first one has left, all of it.
        let mut report = begin(&settings, &env).unwrap();
        assert_eq!((report.pairs.clone(), report.checked), (first.pairs, 7));
        let next = PeerReport { checked: 9, ..report.clone() };
        keep(&mut report, next, pair(400.0), &settings).unwrap();
        let again = begin(&settings, &env).unwrap();
        assert_eq!((again.pairs.len(), again.checked), (2, 9));
        assert_eq!(again.rows[0].ratio.as_ref().unwrap().median, Some(3.0));
    }

    #[tokio::test]
    async fn what_is_complete_is_not_measured_again_and_what_fails_leaves_it_alone() {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = settings(dir.path());
        let (mut report, env) = (kept(&settings), Env::system());
        let silence = crate::bench::progress::Silence;
        settings.pairs = 1;
        compare(&mut report, &settings, &env, &silence).await.unwrap();
        // A pair more, which has nowhere to run.
        settings.pairs = 2;
        settings.root = dir.path().join(FILE);
        compare(&mut report, &settings, &env, &silence).await.unwrap_err();
        assert_eq!(report.pairs.len(), 1);
        assert_eq!(begin(&settings, &env).unwrap().pairs, report.pairs);
    }

    #[test]
    fn pairs_of_other_conditions_are_refused_and_left_as_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let (settings, env) = (settings(dir.path()), Env::system());
        let mut report = kept(&settings);
        let same = &settings.conditions;
        for (conditions, what) in [
            (Conditions { interface: Interface::Json, ..same.clone() }, "interface"),
            (Conditions { lasts: same.lasts * 2, ..same.clone() }, "duration"),
            (Conditions { rate: 3_333.0, ..same.clone() }, "rate"),
            (Conditions { keys: 9, ..same.clone() }, "keys"),
            (Conditions { value_bytes: 9, ..same.clone() }, "values"),
            (Conditions { groups: 9, ..same.clone() }, "number of groups"),
            (Conditions { many_groups: 9, ..same.clone() }, "many groups"),
            (Conditions { pinned: true, ..same.clone() }, "leaders"),
            (Conditions { parts: vec![Part::Put], ..same.clone() }, "phases"),
        ] {
            let other = Settings { conditions, ..settings.clone() };
            let said = begin(&other, &env).unwrap_err().to_string();
            assert!(said.contains(what) && said.contains("--out"), "{what}: {said}");
        }
        // Known only when it runs.
        let next = PeerReport { peer: "etcd 2".into(), ..report.clone() };
        let said = keep(&mut report, next, pair(1.0), &settings).unwrap_err().to_string();
        assert!(said.contains("release of the peer"), "{said}");
        let before = report.pairs.clone();
        report.build.version = "0".into();
        write_report(&settings.out, &report).unwrap();
        assert!(begin(&settings, &env).unwrap_err().to_string().contains("build"));
        assert_eq!(read_report::<PeerReport>(&settings.out).unwrap().unwrap().pairs, before);
    }
}
