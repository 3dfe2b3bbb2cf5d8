//! The comparison: modes by workloads by distance by faults, as a list of runs, one after the other.
//!
//! Why it exists: "what does linearizability cost me here, and what would I lose without it" is
//! answered by the same load against each mode on the same machine, one after the other.
//!
//! Promises: after each run what is known is in the output directory; started again with the same list
//! it goes on behind the last one. Runs of one distance share their nodes, each with a namespace of its
//! own; after a run that failed the nodes are started anew. Relies on: [`super::run`] for each run,
//! [`super::plan`] for the lists, on [`super::kept`] for the directory.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::cost;
use super::draw::{ZIPF, Zipf};
use super::fault::{Fault, Faulty};
use super::figures::{FILE, Generator, Load, Report, Run, VERSION};
use super::kept::{KeptError, near, read_report, write_report};
use super::ledger::Ledger;
use super::mode::Mode;
use super::pace;
use super::perform::Shop;
use super::plan::estimate;
use super::progress::{Progress, Step};
use super::round::Round;
use super::run::{Ground, run};
use super::sites::{self, Sites};
use super::tally::Tally;
use super::target::Nothing;
use super::wanted::{TRACE, Wanted};
use super::workload::{Choice, Workload};
use crate::fleet::FleetError;
use crate::runtime::Env;

/// Why nothing could be compared.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// The nodes did not run.
    #[error(transparent)]
    Fleet(#[from] FleetError),
    /// The results cannot be kept, or those that are there are others.
    #[error(transparent)]
    Kept(#[from] KeptError),
}

/// What is compared, and where the results go.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The runs.
    pub runs: Vec<Wanted>,
    /// How many nodes.
    pub nodes: u64,
    /// Groups of the linearizable namespaces.
    pub groups: Option<u64>,
    /// The output directory; the nodes' data is in it too, while they run.
    pub out: PathBuf,
    /// The seed of all choices.
    pub seed: u64,
    /// The command line, for the report.
    pub command: String,
    /// What a reader must know beside what is always said.
    pub remarks: Vec<String>,
}

/// What a reader must know.
const REMARKS: &[&str] = &[
    "All modes run on the same binary, storage, durability (every acknowledged write is synced) and \
     batching.",
    "The load generator runs on the same machine as all nodes, and competes with them for its processors.",
    "An eventual namespace answers before it replicates: that is where it wins. lww-ack2 waits for a \
     second node's disk, and with it most of the gain is gone.",
    "Every client asks the node of its own site alone, as one does that is far from the others.",
    "In a linearizable namespace counters are changed by reading and conditional writing, to be compared \
     with the same in lww; its own PATCH add needs no second try.",
];

/// A report without runs.
pub async fn begin(settings: &Settings, env: &Env) -> Report {
    Report {
        version: VERSION,
        machine: cost::machine(&settings.out),
        build: cost::build(),
        command: settings.command.clone(),
        seed: settings.seed,
        started_ms: env.clock.wall_ms(),
        remarks: {
            let always = REMARKS.iter().map(|remark| (*remark).to_owned());
            settings.remarks.iter().cloned().chain(always).collect()
        },
        generator: generator(env).await,
        planned: u64::try_from(settings.runs.len()).unwrap_or(u64::MAX),
        runs: Vec::new(),
    }
}

/// Makes all runs that the directory does not have yet; what is known of them is returned.
///
/// # Errors
///
/// When the nodes do not run, or results cannot be kept.
pub async fn compare(
    settings: &Settings,
    env: &Env,
    progress: &dyn Progress,
) -> Result<Report, CompareError> {
    std::fs::create_dir_all(&settings.out)
        .map_err(|source| KeptError::Output { path: settings.out.clone(), source })?;
    let mut report = match read_report(&settings.out)? {
        Some(report) => report,
        None => begin(settings, env).await,
    };
    report.planned = u64::try_from(settings.runs.len()).unwrap_or(u64::MAX);
    // What failed is tried again.
    report.runs.retain(|run| run.trouble.is_none());
    let named = numbered(&settings.runs);
    comparable(&report, &named, settings)?;
    let left: Vec<_> = named
        .into_iter()
        .filter(|(name, _)| report.runs.iter().all(|run| run.name != *name))
        .collect();
    let seconds = estimate(left.iter().map(|(_, wanted)| *wanted));
    let runs = u64::try_from(left.len()).unwrap_or(u64::MAX);
    progress.say(Step::Planned { runs, seconds });
    let mut sites: Option<(Sites, Kind)> = None;
    for (number, (name, wanted)) in (1..).zip(&left) {
        let kind = kind(wanted, settings.nodes);
        if sites.as_ref().is_none_or(|(_, there)| *there != kind) {
            if let Some((old, _)) = sites.take() {
                old.stop().await;
            }
            let (rtt, nodes, faults) = kind;
            progress.say(Step::Doing(format!("starting nodes, {} ms apart", rtt.as_millis())));
            let root = settings.out.join("nodes").join(format!("{number}"));
            let (groups, seed) = (settings.groups, settings.seed);
            let made = sites::Wanted { nodes, groups, rtt, faults, root, seed };
            sites = Some((Sites::start(made, env).await?, kind));
        }
        let Some((there, _)) = &sites else { continue };
        progress.say(Step::Began { number, name });
        let faulty: Option<&dyn Faulty> = Some(there);
        let ground = Ground { env, clients: there.clients(), faulty, progress };
        let mut done = run(&ground, wanted).await;
        done.name.clone_from(name);
        done.groups = settings.groups;
        let failed = done.trouble.is_some();
        report.runs.push(done);
        write_report(&settings.out, &report)?;
        if let Some(done) = report.runs.last() {
            progress.say(Step::Ended(done));
        }
        // Whatever is wrong with these nodes is not to be measured with the next run too.
        if let (true, Some((old, _))) = (failed, sites.take_if(|_| failed)) {
            old.stop().await;
        }
    }
    if let Some((old, _)) = sites {
        old.stop().await;
    }
    Ok(report)
}

/// Refuses to go on behind runs of the same names under other conditions: their figures would stand for
/// those that are asked for now.
fn comparable(
    report: &Report,
    named: &[(String, &Wanted)],
    settings: &Settings,
) -> Result<(), KeptError> {
    let traces = || settings.runs.iter().filter_map(|wanted| wanted.trace.as_ref());
    let mark = traces().next().map(|trace| trace.mark());
    for run in &report.runs {
        let again = named.iter().find(|(name, _)| *name == run.name).map(|(_, wanted)| *wanted);
        // All of one trace stand in one table, whatever their names.
        let other_trace = mark.is_some() && run.workload == TRACE && run.trace != mark;
        let differs = if other_trace {
            Some("trace")
        } else if again.is_some() && report.seed != settings.seed {
            Some("seed")
        } else {
            again.and_then(|wanted| differs(run, wanted, settings))
        };
        if let Some(what) = differs {
            let (path, name) = (settings.out.join(FILE), run.name.clone());
            return Err(KeptError::Other { path, name, what });
        }
    }
    Ok(())
}

/// In what a run that was made differs from one that is wanted, beside its name.
fn differs(run: &Run, wanted: &Wanted, settings: &Settings) -> Option<&'static str> {
    let loads = match (run.load, wanted.load) {
        (Load::Open { rate }, Load::Open { rate: other }) => near(rate, other),
        (load, other) => load == other,
    };
    let lasts = near(run.seconds, wanted.lasts.as_secs_f64())
        && near(run.warmup_s, wanted.warmup.as_secs_f64());
    let bytes = u64::try_from(wanted.value_bytes).unwrap_or(u64::MAX);
    let same = [
        (loads, "rate"),
        (lasts, "duration"),
        (run.nodes == wanted.nodes.unwrap_or(settings.nodes), "number of nodes"),
        (run.groups == settings.groups, "number of groups"),
        (run.keys == wanted.keys, "number of keys"),
        (run.value_bytes == bytes, "size of values"),
    ];
    same.into_iter().find(|(same, _)| !same).map(|(_, what)| what)
}

/// Runs that are alike in this share their nodes: how far these are apart, how many they are, and
/// whether something will go wrong.
type Kind = (Duration, u64, bool);

fn kind(wanted: &Wanted, nodes: u64) -> Kind {
    (wanted.rtt, wanted.nodes.unwrap_or(nodes), wanted.fault != Fault::None)
}

/// The runs with names of their own.
fn numbered(runs: &[Wanted]) -> Vec<(String, &Wanted)> {
    let mut named: Vec<(String, &Wanted)> = Vec::new();
    for wanted in runs {
        let name = wanted.name();
        let same = |known: &str| known == name || known.strip_prefix(&name).is_some_and(is_number);
        let before = named.iter().filter(|(known, _)| same(known)).count();
        let name = if before == 0 { name } else { format!("{name}#{}", before + 1) };
        named.push((name, wanted));
    }
    named
}

fn is_number(rest: &str) -> bool {
    rest.strip_prefix('#').is_some_and(|number| number.parse::<u64>().is_ok())
}

/// What an operation costs the load itself: the same load against nothing.
pub async fn generator(env: &Env) -> Option<Generator> {
    const KEYS: u64 = 1_000;
    const LOOPS: u64 = 8;
    let shop = Shop {
        env: env.clone(),
        target: Arc::new(Nothing),
        ledger: Ledger::new(KEYS, 1),
        mode: Mode::Lww,
        workload: Workload::YcsbA,
        value_bytes: 128,
        watch: None,
    };
    let choice = Choice::new(Workload::YcsbA, 0.0, Zipf::new(KEYS, ZIPF), KEYS);
    let from = env.clock.now();
    let until = from + Duration::from_secs(1);
    let tally = Tally::new(3, (from, until), false);
    let round = Arc::new(Round::new(shop, tally, choice, 1));
    let before = cost::cpu_us("self")?;
    pace::closed(env, &round, (LOOPS, 3), until).await;
    let spent = cost::cpu_us("self")?.saturating_sub(before);
    let (ok, failed) = round.tally.so_far();
    #[allow(clippy::cast_precision_loss, reason = "a figure for display needs no more digits")]
    let cpu_us_per_op = spent as f64 / (ok + failed).max(1) as f64;
    let ops_per_s = if cpu_us_per_op > 0.0 { 1e6 / cpu_us_per_op } else { 0.0 };
    Some(Generator { cpu_us_per_op, ops_per_s })
}

/// A rate of arrivals.
pub const fn open(rate: f64) -> Load {
    Load::Open { rate }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_run_several_times_has_several_names() {
        let wanted = Wanted::usual(Mode::Lww, Workload::YcsbA, open(1.0), Duration::from_secs(1));
        let other = Wanted { rtt: Duration::from_millis(10), ..wanted.clone() };
        let runs = [wanted.clone(), other, wanted.clone(), wanted];
        let names: Vec<_> = numbered(&runs).into_iter().map(|(name, _)| name).collect();
        let first = "lww/ycsb-a/rtt0/none";
        let expected =
            [first, "lww/ycsb-a/rtt10/none", &format!("{first}#2"), &format!("{first}#3")];
        assert_eq!(names, expected);
    }

    #[test]
    fn a_report_goes_on_under_the_same_conditions_only() {
        let lasts = Duration::from_secs(1);
        let wanted = Wanted::usual(Mode::Lww, Workload::YcsbA, open(100.0 / 3.0), lasts);
        let settings = |wanted: &Wanted| Settings {
            runs: vec![wanted.clone()],
            nodes: 3,
            groups: None,
            out: PathBuf::from("x"),
            seed: 1,
            command: String::new(),
            remarks: Vec::new(),
        };
        let run = Run {
            name: wanted.name(),
            load: wanted.load,
            nodes: 3,
            keys: wanted.keys,
            value_bytes: 128,
            warmup_s: 1.0,
            seconds: 1.0,
            ..Run::default()
        };
        let report = Report { seed: 1, runs: vec![run], ..Report::default() };
        let check = |settings: &Settings| {
            let said = comparable(&report, &numbered(&settings.runs), settings);
            said.err().map(|error| error.to_string()).unwrap_or_default()
        };
        assert_eq!(check(&settings(&wanted)), "");
        // More than was there is measured beside it.
        let far = Wanted { rtt: lasts, load: open(9.0), ..wanted.clone() };
        assert_eq!(check(&settings(&far)), "");
        for (other, what) in [
            (settings(&Wanted { load: open(33.0), ..wanted.clone() }), "rate"),
            (settings(&Wanted { load: Load::Closed { connections: 4 }, ..wanted.clone() }), "rate"),
            (settings(&Wanted { lasts: lasts * 2, ..wanted.clone() }), "duration"),
            (settings(&Wanted { keys: 7, ..wanted.clone() }), "keys"),
            (settings(&Wanted { value_bytes: 64, ..wanted.clone() }), "values"),
            (Settings { nodes: 5, ..settings(&wanted) }, "nodes"),
            (Settings { groups: Some(2), ..settings(&wanted) }, "groups"),
            (Settings { seed: 2, ..settings(&wanted) }, "seed"),
        ] {
            let said = check(&other);
            assert!(said.contains(what) && said.contains("--out"), "{what}: {said}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_load_itself_costs_little() {
        let cost = generator(&Env::system()).await.unwrap();
        assert!(cost.cpu_us_per_op > 0.0 && cost.ops_per_s > 0.0, "{cost:?}");
    }
}
