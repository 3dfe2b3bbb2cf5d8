//! One run from the founding to the verdict.
//!
//! First the cluster comes to be, then clients ask while the plan's faults happen, then everything is
//! mended and the cluster must come back: every group led, every request that was repeated certain, every
//! node able to serve every key, all replicas the same.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tetrarch::model::GroupId;
use tokio::time::{sleep, timeout};

use super::clients::{Client, Oracle};
use super::faults;
use super::look::{self, Looker};
use super::plan::Plan;
use super::trace::Trace;
use super::world::World;

/// Virtual time within which a cluster without faults is founded, is led again, or answers.
const LIVELY_MAX: Duration = Duration::from_secs(60);

/// How often it is asked whether it is so far.
const TICK: Duration = Duration::from_millis(50);

/// How long clients go on after everything was mended.
const CALM: Duration = Duration::from_secs(2);

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The promise that was broken, if one was.
    pub broken: Option<String>,
    /// The number of everything that happened.
    pub hash: u64,
    /// Lines of the trace.
    pub lines: u64,
    /// Requests that were certainly done, and all.
    pub requests: (u64, u64),
    /// How long it took in the cluster's time.
    pub lasted: Duration,
}

/// Runs a plan on this thread.
pub fn run(plan: Plan, trace: Option<&str>) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime of one thread can be built");
    runtime.block_on(simulate(plan, trace))
}

async fn simulate(plan: Plan, trace: Option<&str>) -> Outcome {
    let world = World::new(plan, Trace::begin(trace));
    let oracle = Arc::new(Mutex::new(Oracle::default()));
    world.trace.say(&world.plan.to_string());
    for id in 1..=world.plan.nodes {
        world.start_node(id);
    }
    drop(tokio::spawn(Looker::new(Arc::clone(&world)).run()));
    tokio::select! {
        biased;
        () = world.over.cancelled() => {}
        late = phases(&world, &oracle) => if let Some(what) = late {
            world.broken(format!("liveness: {what}"));
        }
    }
    world.over.cancel();
    let (hash, lines) = world.trace.number();
    let oracle = oracle.lock();
    Outcome {
        broken: world.verdict(),
        hash,
        lines,
        requests: (oracle.done, oracle.asked),
        lasted: world.trace.now(),
    }
}

/// Returns what did not come to be in time.
async fn phases(world: &Arc<World>, oracle: &Arc<Mutex<Oracle>>) -> Option<String> {
    if !soon(|| are_led(world)).await {
        return Some("the cluster was not founded".to_owned());
    }
    world.trace.say("founded");
    let stopping = Arc::new(AtomicBool::new(false));
    let client = |id| Client::new(Arc::clone(world), Arc::clone(oracle), id, Arc::clone(&stopping));
    let clients: Vec<_> =
        (1..=world.plan.clients).map(|id| tokio::spawn(client(id).run())).collect();
    faults::run(world).await;
    sleep(CALM).await;
    if !soon(|| are_led(world)).await {
        return Some("a group has no leader".to_owned());
    }
    stopping.store(true, Ordering::Relaxed);
    let ended = timeout(LIVELY_MAX, futures_util::future::join_all(clients)).await;
    let Ok(ended) = ended else {
        return Some("requests that are repeated do not come to an end".to_owned());
    };
    if let Some(Err(panic)) = ended.into_iter().find(Result::is_err) {
        return Some(format!("a client failed: {panic}"));
    }
    if !soon(|| are_even(world)).await {
        return Some("a replica does not catch up".to_owned());
    }
    if let Some(difference) = compare(world) {
        world.broken(difference);
        return None;
    }
    let mut reader = client(0);
    match timeout(LIVELY_MAX, read_all(world, oracle, &mut reader)).await {
        Ok(()) => None,
        Err(_elapsed) => Some("keys cannot be read at every node".to_owned()),
    }
}

async fn soon(is_so: impl Fn() -> bool) -> bool {
    let waited = async {
        while !is_so() {
            sleep(TICK).await;
        }
    };
    timeout(LIVELY_MAX, waited).await.is_ok()
}

/// Whether every group has a leader who owns its slots.
fn are_led(world: &World) -> bool {
    (0..=world.plan.groups).all(|group| {
        let leader = world.leader(group).and_then(|id| world.life(id)?.up());
        let owned = |node: Arc<tetrarch::app::Node>| {
            let row = node.groups().state().get(group, tetrarch::model::OWNED_KEY).ok()?;
            row.value
        };
        leader.is_some_and(|node| group == GroupId::SYSTEM.0 || owned(node).is_some())
    })
}

/// By group: where its replicas have got to.
fn places(world: &World) -> BTreeMap<u64, Vec<(u64, u64, u64)>> {
    let mut places: BTreeMap<u64, Vec<(u64, u64, u64)>> = BTreeMap::new();
    for life in world.lives() {
        let Some(node) = life.up() else { continue };
        for group in node.groups().all() {
            let id = group.id().0;
            let last = group.status().last.unwrap_or(0);
            let applied = node.groups().state().applied(id).map_or(0, |applied| applied.index);
            places.entry(id).or_default().push((life.id, last, applied));
        }
    }
    places
}

fn are_even(world: &World) -> bool {
    let places = places(world);
    let all = (0..=world.plan.groups).all(|group| places.contains_key(&group));
    all && places.values().all(|replicas| {
        let last = replicas.iter().map(|(_, last, _)| *last).max().unwrap_or(0);
        let enough = replicas.len() as u64 >= world.plan.replicas.min(world.plan.nodes);
        enough && replicas.iter().all(|(_, _, applied)| *applied == last)
    })
}

/// What differs between replicas that have applied the same.
fn compare(world: &World) -> Option<String> {
    let mut seen = BTreeMap::new();
    for life in world.lives() {
        let Some(node) = life.up() else { continue };
        let state = node.groups().state();
        for group in node.groups().all() {
            let id = group.id().0;
            let Some(digest) = look::digest(state, id) else { continue };
            world.trace.say(&format!("end: node {} group {id}: {digest:?}", life.id));
            let known = *seen.entry((id, digest.applied)).or_insert((digest.hash, life.id));
            if known.0 != digest.hash {
                return Some(format!(
                    "state machine safety: at the end, group {id} differs between nodes {} and {}",
                    known.1, life.id
                ));
            }
        }
    }
    None
}

/// Reads every key at every node, and holds the sums to what was added.
async fn read_all(world: &World, oracle: &Mutex<Oracle>, reader: &mut Client) {
    let (registers, lists, counters, pairs) = {
        let oracle = oracle.lock();
        let keys = |some: Vec<&String>| -> Vec<String> { some.into_iter().cloned().collect() };
        (
            keys(oracle.registers.keys().collect()),
            keys(oracle.lists.keys().collect()),
            keys(oracle.counters.keys().collect()),
            keys(oracle.pairs.keys().collect()),
        )
    };
    for node in 1..=world.plan.nodes {
        for key in &registers {
            reader.read_register(key, node).await;
        }
        for key in &lists {
            reader.read_list(key, node).await;
        }
        for key in &pairs {
            reader.read_pair(key, node).await;
        }
        for key in &counters {
            let sum = loop {
                match reader.read_counter(key, node).await {
                    Some(sum) => break sum,
                    None => sleep(TICK).await,
                }
            };
            let exact = oracle.lock().counters.get(key).map_or(Ok(()), |c| c.at_end(sum));
            if let Err(what) = exact {
                world.broken(format!("oracle: counter {key} at node {node}: {what}"));
            }
        }
    }
}
