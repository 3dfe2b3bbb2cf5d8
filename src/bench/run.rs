//! One measurement: a fresh namespace, a load, perhaps a fault, the figures, and everything read back.
//!
//! ```text
//!   make, fill | warm-up | measured: load, fault from 30 % to 70 % | until all agree | read back
//! ```
//!
//! Promises: a run that could not be made has `trouble` and says what; a run whose reading back found
//! anything wrong says so in `verified`. The load goes on through the fault.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::time::sleep;

use super::cost::Spent;
use super::draw::{ZIPF, Zipf};
use super::fault::{Fault, Faulty};
use super::figures::{Load, Run};
use super::ledger::Ledger;
use super::mode::Mode;
use super::pace;
use super::perform::Shop;
use super::predict::{Traffic, predict};
use super::progress::{Progress, Step};
use super::round::Round;
use super::store::Store;
use super::tally::Tally;
use super::target::{Agreement, Change, Over, Target};
use super::verify::verify;
use super::visible::Watch;
use super::wanted::{Topology, Wanted};
use super::workload::{Choice, STOCK, Workload};
use crate::client::Client;
use crate::runtime::limits::{BENCH_CHECK_CONCURRENCY, BENCH_CONVERGE_MAX, BENCH_OP_MAX};
use crate::runtime::{Env, Moment};

/// Writes that are sampled for their time to visibility, a second.
const WATCHED_PER_SECOND: f64 = 20.0;

/// Keys that insertions may add.
const INSERTS_MAX: u64 = 200_000;

/// Where it is measured.
pub struct Ground<'a> {
    /// Time, chance, tasks.
    pub env: &'a Env,
    /// A client for each site of our own store: who is asked what it has spent.
    pub clients: Arc<[Client]>,
    /// Who makes things go wrong; without one nothing does.
    pub faulty: Option<&'a dyn Faulty>,
    /// Who is told how it goes.
    pub progress: &'a dyn Progress,
}

impl std::fmt::Debug for Ground<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ground").field("clients", &self.clients).finish_non_exhaustive()
    }
}

/// Measures our own store in a namespace made for it.
pub async fn run(ground: &Ground<'_>, wanted: &Wanted) -> Run {
    let name =
        format!("bench-{:08x}-{:04x}", wanted.seed & 0xffff_ffff, ground.env.rng.below(65_536));
    let first = ground.clients.first().expect("there is at least one site");
    let mut space = wanted.mode.namespace(&name);
    space.topology = space.mode.is_some().then(|| wanted.topology.wire());
    let made = first.create_namespace(&space).await;
    if let Err(error) = made {
        let trouble = Some(format!("the namespace could not be made: {error}"));
        let nodes = u64::try_from(ground.clients.len()).unwrap_or(u64::MAX);
        return Run { trouble, ..described(wanted, ground, nodes) };
    }
    let store = Store::new(Arc::clone(&ground.clients), &name, wanted.mode);
    let run = run_on(ground, wanted, Arc::new(store)).await;
    if let Err(error) = first.delete_namespace(&name).await {
        ground.progress.say(Step::Remark(format!("{name} is left behind: {error}")));
    }
    run
}

/// Measures a target that is there: another store than ours has no namespaces.
pub async fn run_on(ground: &Ground<'_>, wanted: &Wanted, target: Arc<dyn Target>) -> Run {
    let mut run = described(wanted, ground, target.sites());
    if let Err(trouble) = measure(ground, wanted, target, &mut run).await {
        run.trouble = Some(trouble);
    }
    if let Some(failure) = ground.env.tasks.failure() {
        run.trouble = Some(format!("the load generator failed: {failure}"));
    }
    run
}

fn described(wanted: &Wanted, ground: &Ground<'_>, nodes: u64) -> Run {
    let fault = wanted.fault_lasts();
    Run {
        name: wanted.name(),
        system: "tetrarch".to_owned(),
        mode: wanted.mode.name().to_owned(),
        workload: wanted.does().to_owned(),
        rtt_ms: u64::try_from(wanted.rtt.as_millis()).unwrap_or(u64::MAX),
        topology: wanted.topology.name().to_owned(),
        fault: wanted.fault.name().to_owned(),
        fault_s: fault.map(|(from, to)| (from.as_secs_f64(), to.as_secs_f64())),
        fault_sites: ground.faulty.map(|f| f.sites_of(wanted.fault)).unwrap_or_default(),
        load: wanted.load,
        nodes,
        trace: wanted.trace.as_ref().map(|trace| trace.mark()),
        keys: wanted.keys,
        value_bytes: u64::try_from(wanted.value_bytes).unwrap_or(u64::MAX),
        seed: wanted.seed,
        warmup_s: wanted.warmup.as_secs_f64(),
        seconds: wanted.lasts.as_secs_f64(),
        ..Run::default()
    }
}

async fn measure(
    ground: &Ground<'_>,
    wanted: &Wanted,
    target: Arc<dyn Target>,
    run: &mut Run,
) -> Result<(), String> {
    let env = ground.env;
    known_everywhere(env, &*target).await?;
    let shop = shop(env, wanted, target);
    let filled = fill(&shop, wanted).await?;
    agree(env, &*shop.target).await?;
    // A moment for the pacing thread and the tasks to be there.
    let begin = env.clock.now() + Duration::from_millis(20);
    let (from, until) = (begin + wanted.warmup, begin + wanted.warmup + wanted.lasts);
    let strict = wanted.mode == Mode::Linearizable;
    let tally = Tally::new(shop.target.sites(), (from, until), strict);
    let most = shop.ledger.values.len().max(wanted.keys);
    let choice = || Choice::new(wanted.workload, wanted.reads, Zipf::new(wanted.keys, ZIPF), most);
    let round = Arc::new(match &wanted.trace {
        Some(trace) => Round::of_trace(shop, tally, trace),
        None => Round::new(shop, tally, choice(), wanted.seed),
    });
    let load = load(env, wanted, &round, (begin, until));
    let ((spent, trouble), ()) = tokio::join!(attend(ground, wanted, &round, (from, until)), load);
    let ended = env.clock.now();
    let pids = pids(ground).await;
    let after = Spent::look(&ground.clients, &pids).await;
    round.tally.fill(run, wanted.fault_lasts());
    costs(run, &spent, &after);
    if let Some(trouble) = trouble {
        return Err(trouble);
    }
    ground.progress.say(Step::Doing(format!("{}: waiting until all agree", run.name)));
    agree(env, &*round.shop.target).await?;
    if !wanted.mode.is_strong() {
        run.converge_ms = Some(env.clock.now().since(ended).as_secs_f64() * 1_000.0);
    }
    let mut lags = Vec::new();
    if let Some(watch) = &round.shop.watch {
        run.visibility = watch.figures().await;
        lags = watch.lags();
    }
    ground.progress.say(Step::Doing(format!("{}: reading everything back", run.name)));
    verify(&round.shop, &round.tally, filled, run).await;
    predicted(wanted, lags, run);
    Ok(())
}

async fn pids(ground: &Ground<'_>) -> Vec<u32> {
    match ground.faulty {
        Some(faulty) => faulty.pids().await,
        None => Vec::new(),
    }
}

fn shop(env: &Env, wanted: &Wanted, target: Arc<dyn Target>) -> Shop {
    let inserts = if wanted.workload == Workload::YcsbD { INSERTS_MAX } else { 0 };
    let share = match wanted.load {
        Load::Open { rate } => WATCHED_PER_SECOND / (rate * (1.0 - wanted.reads)).max(1.0),
        Load::Closed { .. } => 0.01,
    };
    let watch = Watch::new(env, Arc::clone(&target), share, wanted.seed);
    Shop {
        env: env.clone(),
        target,
        ledger: Ledger::new(wanted.keys + inserts, wanted.workload.fields()),
        mode: wanted.mode,
        workload: wanted.workload,
        value_bytes: wanted.value_bytes,
        watch: Some(watch),
    }
}

/// Waits until every site knows the namespace.
async fn known_everywhere(env: &Env, target: &dyn Target) -> Result<(), String> {
    let deadline = env.clock.now() + BENCH_OP_MAX * 2;
    for site in 1..=target.sites() {
        loop {
            match target.read_back(site, "nothing").await {
                Ok(_) => break,
                Err(failed) if env.clock.now() > deadline => {
                    return Err(format!("site {site} does not know the namespace: {failed}"));
                }
                Err(_) => sleep(Duration::from_millis(20)).await,
            }
        }
    }
    Ok(())
}

/// Writes what must be there before; returns how many changes are in the books.
async fn fill(shop: &Shop, wanted: &Wanted) -> Result<u64, String> {
    let is_stock = wanted.workload == Workload::Inventory;
    if !wanted.workload.is_ycsb() && !is_stock {
        return Ok(0);
    }
    let fill = |key: u64| async move {
        let name = shop.key(key);
        let wrote = match wanted.mode {
            Mode::Counter => shop.target.change(1, &name, &Change::Add(STOCK)).await,
            _ if is_stock => {
                let stock = STOCK.to_string().into();
                shop.target.write(1, &name, stock, Over::Anything).await
            }
            _ => shop.write_blind(1, key, (true, wanted.value_bytes)).await,
        };
        wrote.map_err(|failed| format!("{name} could not be written first: {failed}"))
    };
    let mut filling =
        stream::iter((0..wanted.keys).map(fill)).buffer_unordered(BENCH_CHECK_CONCURRENCY);
    while let Some(wrote) = filling.next().await {
        wrote?;
    }
    Ok(shop.ledger.acked())
}

/// Waits until all nodes hold the same.
async fn agree(env: &Env, target: &dyn Target) -> Result<(), String> {
    let deadline = env.clock.now() + BENCH_CONVERGE_MAX;
    loop {
        match target.agreement().await {
            Agreement::Reached => return Ok(()),
            Agreement::Broken => return Err("the nodes have DIVERGED".to_owned()),
            Agreement::NotYet if env.clock.now() > deadline => {
                return Err(format!("the nodes do not agree after {BENCH_CONVERGE_MAX:?}"));
            }
            Agreement::NotYet => sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn load(env: &Env, wanted: &Wanted, round: &Arc<Round>, (begin, until): (Moment, Moment)) {
    let sites = round.shop.target.sites();
    match wanted.load {
        Load::Open { rate } => {
            let drawn = || pace::plan(sites, rate, wanted.warmup + wanted.lasts, wanted.seed);
            let plan = wanted.trace.as_ref().map_or_else(drawn, |trace| trace.plan());
            pace::open(env, round, plan, (begin, until + BENCH_OP_MAX)).await;
        }
        Load::Closed { connections } => {
            sleep(begin.since(env.clock.now())).await;
            pace::closed(env, round, (connections, sites), until).await;
        }
    }
}

/// Looks after a load: notes what had been spent when the measurement began, lets things go wrong and
/// right again, and tells how it goes.
async fn attend(
    ground: &Ground<'_>,
    wanted: &Wanted,
    round: &Round,
    (from, until): (Moment, Moment),
) -> (Spent, Option<String>) {
    let clock = &ground.env.clock;
    sleep(from.since(clock.now())).await;
    let spent = Spent::look(&ground.clients, &pids(ground).await).await;
    let mut fault = wanted.fault_lasts().map(|(begin, end)| (from + begin, from + end));
    let mut struck = false;
    let mut trouble = None;
    loop {
        let now = clock.now();
        if let (Some((begin, end)), Some(faulty)) = (fault, ground.faulty) {
            let told = if !struck && now >= begin {
                struck = true;
                ground.progress.say(Step::Remark(format!("{} begins", wanted.fault)));
                faulty.strike(wanted.fault).await
            } else if struck && now >= end {
                fault = None;
                let healed = faulty.heal(wanted.fault).await;
                ground.progress.say(Step::Remark(format!("{} is over", wanted.fault)));
                healed
            } else {
                Ok(())
            };
            trouble = trouble.or(told.err());
        }
        if now >= until && (fault.is_none() || ground.faulty.is_none()) {
            return (spent, trouble);
        }
        let (ok, failed) = round.tally.so_far();
        let second = now.since(from).as_secs_f64();
        ground.progress.say(Step::Second { second, of: wanted.lasts.as_secs_f64(), ok, failed });
        let next = [fault.map(|(begin, end)| if struck { end } else { begin }), Some(until)];
        let next = next.into_iter().flatten().filter(|at| *at > now).min().unwrap_or(now);
        sleep(next.since(now).min(Duration::from_millis(500)).max(Duration::from_millis(1))).await;
    }
}

fn costs(run: &mut Run, before: &Spent, after: &Spent) {
    let (wanted, ok, _, _) = run.totals();
    let [fsyncs, sent, cpu, _] = after.per_op(before, ok);
    let [_, _, _, own] = after.per_op(before, wanted);
    (run.fsyncs_per_op, run.wire_bytes_per_op, run.cpu_us_per_op) = (fsyncs, sent, cpu);
    run.client_cpu_us_per_op = own;
    run.rss_bytes = after.rss_kib.iter().max().map(|kib| kib * 1024);
}

/// Sets beside what was lost what the model says, from how long writes were really on their way.
#[allow(clippy::cast_precision_loss, reason = "counts of writes are far below 2^53")]
fn predicted(wanted: &Wanted, lags: Vec<Duration>, run: &mut Run) {
    let looks = matches!(wanted.workload, Workload::YcsbF | Workload::Counter);
    let fits = looks || matches!(wanted.workload, Workload::YcsbA | Workload::YcsbB);
    let counts = fits && wanted.mode.is_lww() && wanted.fault == Fault::None;
    let counts = counts && wanted.trace.is_none() && wanted.topology == Topology::Mesh;
    // One that others hold shows there before it is acknowledged: how long it was on its way is not seen.
    let counts = counts && wanted.mode.ack().is_none();
    let latency = run.writes().map_or(0.0, |op| op.latency.p50);
    let writes: u64 = run.ops.iter().filter(|(kind, _)| *kind != "read").map(|(_, op)| op.ok).sum();
    let (Some(loss), true) = (&mut run.loss, counts && !lags.is_empty()) else { return };
    let sites = run.nodes.max(1);
    let traffic = Traffic {
        sites,
        rate: writes as f64 / wanted.lasts.as_secs_f64() / sites as f64,
        keys: Zipf::new(wanted.keys, ZIPF),
        // Who writes without looking is put behind what its own node has.
        own: if looks { Duration::from_secs_f64(latency / 1_000.0) } else { Duration::ZERO },
        lags,
        lasts: wanted.warmup + wanted.lasts,
    };
    let predicted = predict(&traffic, wanted.seed);
    loss.predicted_direct = Some(predicted.direct);
    loss.predicted_effective = Some(predicted.effective);
    loss.predicted_spread = Some((predicted.direct_spread, predicted.effective_spread));
    loss.lag_ms = Some(traffic.mean_lag().as_secs_f64() * 1_000.0);
}
