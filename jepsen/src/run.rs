//! One test, from its start to its verdict.
//!
//! Order: a cluster; what the workload needs; clients and nemesis at the same time; everything healed;
//! open operations ended; each group works again; final reads; the cluster stopped and its logs kept;
//! the history written; all checkers at once, each in a thread of its own; results and page.
//!
//! Promises: the history is on disk before anything judges it. A checker that panics or does not keep
//! to its budget makes the run `unknown`. A cluster that does not come back makes it `invalid`.

mod leaders;
mod options;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

pub use options::{RunError, Target, TestOptions};

use crate::api::Api;
use crate::checker::{Budget, Checker, logs, replicas};
use crate::clock::Clock;
use crate::cluster::{Cluster, ClusterOptions};
use crate::coverage::{Evidence, coverage};
use crate::generator::{Clients, Last, Pace};
use crate::history::{History, Recorder};
use crate::nemesis::{self, Deadline, Effect, Plan};
use crate::progress::Progress;
use crate::recovery::Probes;
use crate::report::{self, LogFinding, RunSummary};
use crate::store::Store;
use crate::verdict::{Anomaly, Validity, Verdict};
use crate::workload::{self, Workload};

/// How long open operations may go on when all faults are over.
const DRAIN: Duration = Duration::from_secs(60);
/// How much longer than its budget a checker is waited for.
const GRACE: Duration = Duration::from_secs(60);

/// A run with its verdict.
#[derive(Clone, Debug)]
pub struct Finished {
    /// Its directory.
    pub dir: std::path::PathBuf,
    /// What it was and how it ended.
    pub summary: RunSummary,
    /// What each checker says.
    pub verdicts: Vec<Verdict>,
}

/// What the run itself saw, besides the history.
struct Seen {
    history: History,
    last: Last,
    leader_changes: u64,
    recovery: Verdict,
    /// Absent where others may be writing.
    replicas: Option<Verdict>,
}

/// Runs a test.
///
/// # Errors
///
/// When it could not be run at all; a run that found something is no error.
pub async fn run(options: &TestOptions, progress: &Progress) -> Result<Finished, RunError> {
    let plan = nemesis::parse(&options.nemesis).map_err(RunError::Usage)?;
    let workload: Arc<dyn Workload> = workload::by_name(&options.workload)
        .ok_or_else(|| RunError::Usage(format!("there is no workload {}", options.workload)))?
        .into();
    let attached = matches!(options.target, Target::Attach(_));
    if attached && !plan.is_empty() {
        return Err(RunError::Usage("an attached cluster cannot be broken: use -n none".into()));
    }
    let store = Store::create(&options.store, &options.workload, &options.nemesis, options.seed)?;
    progress.says("starting the cluster");
    let cluster = start(options, &plan, workload.as_ref(), &store).await?;
    let seen = perform(options, &plan, &workload, (&store, &cluster), progress).await;
    progress.says("stopping the cluster");
    cluster.stop().await;
    let logs = store.keep_logs(&cluster.log_files())?;
    let seen = seen?;
    progress.says("writing the history");
    store.keep_history(&seen.history)?;
    progress.says("judging");
    let history = Arc::new(seen.history);
    let mut verdicts = judge(workload.checkers(), &history, options.budget).await;
    verdicts.extend([Some(seen.recovery), seen.replicas].into_iter().flatten());
    let mut findings = Vec::new();
    if !attached {
        let searched =
            logs::search(&logs, plan.names().iter().any(|name| name.starts_with("files")));
        findings = searched.anomalies.iter().filter_map(finding).collect();
        verdicts.push(searched);
    }
    verdicts.push(coverage(
        &history,
        &Evidence {
            nemesis: options.nemesis.clone(),
            faults: plan.names(),
            leader_changes: seen.leader_changes,
            nodes: cluster.nodes().len(),
            last: seen.last,
            needed: workload.needed(),
            missing: cluster.missing().to_vec(),
        },
    ));
    let summary = RunSummary {
        workload: options.workload.clone(),
        nemesis: options.nemesis.clone(),
        seed: options.seed,
        revision: options::revision(),
        version: options.version().await,
        nodes: u32::try_from(cluster.nodes().len()).unwrap_or(u32::MAX),
        backend: cluster.backend().to_owned(),
        started: store.started(),
        rate: options.rate,
        concurrency: options.concurrency,
        findings,
        replay: options.replay(),
        dir: store.name().to_owned(),
        ..RunSummary::default()
    };
    let mut summary = summary.counted(&history).judged(&verdicts);
    store.keep_results(&summary, &verdicts)?;
    summary.files = store.files();
    store.keep_results(&summary, &verdicts)?;
    report::write(store.dir(), &summary, &history, &verdicts)?;
    if !options.keep_data && summary.validity != Validity::Invalid {
        store.tidy()?;
    }
    Ok(Finished { dir: store.dir().to_owned(), summary, verdicts })
}

async fn start(
    options: &TestOptions,
    plan: &Plan,
    workload: &dyn Workload,
    store: &Store,
) -> Result<Arc<Cluster>, RunError> {
    match &options.target {
        Target::Attach(urls) => Ok(Cluster::attach(urls).await?),
        Target::Start { binary, nodes, backend, link_delay, flags, environment } => {
            let needs = plan.needs();
            let flags = workload.serve_flags().into_iter().chain(flags.iter().cloned());
            Ok(Cluster::start(ClusterOptions {
                binary: binary.clone(),
                nodes: *nodes,
                dir: store.cluster_dir(),
                backend: *backend,
                flags: flags.collect(),
                environment: environment.clone(),
                link_delay: *link_delay,
                own_disks: needs.own_disks,
                shim: needs.shim,
            })
            .await?)
        }
    }
}

/// Everything that needs the cluster.
async fn perform(
    options: &TestOptions,
    plan: &Plan,
    workload: &Arc<dyn Workload>,
    (store, cluster): (&Store, &Arc<Cluster>),
    progress: &Progress,
) -> Result<Seen, RunError> {
    progress.says("preparing");
    let tag = store.started().replace([':', '-'], "").to_lowercase();
    let api =
        Api::new(cluster.urls(), options.request_timeout)?.named(format!("{tag}-{}", options.seed));
    let api = Arc::new(api);
    let mut rng = fastrand::Rng::with_seed(options.seed);
    let probes = Probes::find(&api).await?;
    workload.prepare(&api).await?;

    progress.says("testing");
    let recorder = Arc::new(Recorder::new(Clock::default()));
    if let Target::Start { link_delay, .. } = &options.target
        && !link_delay.is_zero()
    {
        let millis = i64::try_from(link_delay.as_millis()).unwrap_or(i64::MAX);
        recorder.record(Effect::installed(millis).event("link-delay"));
    }
    let pace =
        Pace { rate: options.rate, concurrency: options.concurrency, seed: rng.fork().get_seed() };
    let (owned, tally) = (Arc::clone(workload), progress.tally());
    let mut clients = Clients::new(owned, Arc::clone(&api), Arc::clone(&recorder), tally, pace);
    progress.watch(Arc::clone(&recorder));
    let watch = leaders::watch(Arc::clone(cluster));
    let (until, mut own) = (Instant::now() + options.time_limit, rng.fork());
    let deadline = Deadline::after(options.time_limit);
    let breaking = plan.run(cluster, &recorder, &mut own, options.interval, deadline);
    let (worked, healed) = tokio::join!(clients.work(until), breaking);
    worked?;
    progress.says("healing");
    let healed = match healed {
        Ok(()) => cluster.heal().await,
        failed => failed,
    };
    clients.drain(DRAIN).await?;
    progress.says("waiting until every group works again");
    let recovery = match healed {
        Ok(()) => probes.check(&api, options.recovery, &mut rng).await,
        Err(error) => {
            let words =
                format!("the cluster did not come back when everything was healed: {error}");
            let anomaly =
                Anomaly { kind: "no-recovery".into(), words: words.clone(), events: Vec::new() };
            Verdict::invalid("recovery", words, vec![anomaly])
        }
    };
    progress.says("reading everything once more");
    let last = clients.last().await?;
    let replicas = match options.target {
        Target::Start { .. } => {
            progress.says("comparing replicas");
            Some(replicas::compare(&api).await)
        }
        Target::Attach(_) => None,
    };
    let leader_changes = watch.stop().await;
    drop(clients);
    progress.unwatch();
    Ok(Seen { history: recorder.take(), last, leader_changes, recovery, replicas })
}

/// `node 2, line 17: text`, as the search of the logs tells it.
fn finding(anomaly: &Anomaly) -> Option<LogFinding> {
    let rest = anomaly.words.strip_prefix("node ")?;
    let (node, rest) = rest.split_once(", line ")?;
    let (line, text) = rest.split_once(": ")?;
    Some(LogFinding { node: node.parse().ok()?, line: line.parse().ok()?, text: text.to_owned() })
}

/// All checkers at once.
async fn judge(
    checkers: Vec<Box<dyn Checker>>,
    history: &Arc<History>,
    budget: Budget,
) -> Vec<Verdict> {
    let each = checkers.into_iter().map(|checker| {
        let history = Arc::clone(history);
        let name = checker.name();
        let judging = tokio::task::spawn_blocking(move || checker.check(&history, budget));
        async move {
            match tokio::time::timeout(budget.time + GRACE, judging).await {
                Ok(Ok(verdict)) => verdict,
                Ok(Err(error)) => Verdict::unknown(name, format!("the checker failed: {error}")),
                Err(_) => Verdict::unknown(name, "the checker did not end in its time"),
            }
        }
    });
    futures_util::future::join_all(each).await
}
