//! Has the clients do what a workload wants: at a rate, until a time, each process one thing at a time.
//!
//! Why it exists: load that comes whether or not the last answer has come finds what a closed loop
//! hides; and a history is only sound when a process has one operation open and is never used again
//! after an operation of which nobody knows how it ended.
//!
//! Promises: arrivals are staggered at random around the rate; all choices come from the seed, in one
//! task; a thread keeps its number, its process gets a new one after `info`. Thread t asks node t mod
//! n + 1 and sometimes another one after an error; each fourth thread asks any node each time. A
//! client that panics ends the run.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::api::Api;
use crate::history::{Event, Kind, Process, Recorder, Value};
use crate::workload::{Asker, Completion, Ending, Task, Workload};

/// Each such thread asks any node each time.
const ROAMS: u64 = 4;
/// After an error a thread moves to another node once in so many times.
const MOVES: u32 = 3;
/// What is late by more than this is dropped: a burst afterwards would not be the rate either.
const LATE: Duration = Duration::from_secs(1);
/// How often a final task is tried, and the pause between.
const LAST_TRIES: u32 = 8;
const LAST_PAUSE: Duration = Duration::from_millis(500);

/// A client panicked: nothing that the run would say could be trusted.
#[derive(Debug, thiserror::Error)]
#[error("a client of the harness panicked: {0}")]
pub struct Crashed(String);

/// How many operations there were, for who watches the run.
#[derive(Debug, Default)]
pub struct Tally {
    /// Begun.
    pub begun: AtomicU64,
    /// Ended `ok`.
    pub ok: AtomicU64,
    /// Ended `fail`.
    pub fail: AtomicU64,
    /// Ended `info`.
    pub info: AtomicU64,
}

/// What became of the final tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Last {
    /// How many there were.
    pub wanted: u64,
    /// How many ended `ok`.
    pub ok: u64,
}

/// Who the clients are.
#[derive(Clone, Debug)]
pub struct Pace {
    /// Operations per second; 0 for as many as the clients can.
    pub rate: f64,
    /// Clients at a time.
    pub concurrency: u64,
    /// All choices come from it.
    pub seed: u64,
}

/// What all clients share.
struct Shared {
    workload: Arc<dyn Workload>,
    api: Arc<Api>,
    recorder: Arc<Recorder>,
    tally: Arc<Tally>,
    /// The next process that nobody was yet.
    processes: AtomicU64,
}

struct Thread {
    process: u64,
    /// Its node's place in the list of nodes.
    place: usize,
    open: Option<Task>,
}

/// An operation that ended.
struct Done {
    thread: u64,
    ending: Ending,
}

/// The clients of a run.
pub struct Clients {
    shared: Arc<Shared>,
    pace: Pace,
    rng: fastrand::Rng,
    nodes: Vec<u32>,
    threads: BTreeMap<u64, Thread>,
    free: Vec<u64>,
    busy: JoinSet<Done>,
}

impl std::fmt::Debug for Clients {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Clients").field("pace", &self.pace).field("free", &self.free).finish()
    }
}

impl Clients {
    /// Clients that have done nothing yet.
    pub fn new(
        workload: Arc<dyn Workload>,
        api: Arc<Api>,
        recorder: Arc<Recorder>,
        tally: Arc<Tally>,
        pace: Pace,
    ) -> Self {
        let nodes = api.nodes();
        let place = |thread: u64| home(thread, nodes.len());
        let threads = (0..pace.concurrency)
            .map(|thread| (thread, Thread { process: thread, place: place(thread), open: None }))
            .collect();
        Self {
            rng: fastrand::Rng::with_seed(pace.seed),
            free: (0..pace.concurrency).collect(),
            nodes,
            threads,
            busy: JoinSet::new(),
            shared: Arc::new(Shared {
                workload,
                api,
                recorder,
                tally,
                processes: AtomicU64::new(pace.concurrency),
            }),
            pace,
        }
    }

    /// Begins operations until the deadline; those that are open then stay open.
    ///
    /// # Errors
    ///
    /// When a client panicked.
    pub async fn work(&mut self, until: Instant) -> Result<(), Crashed> {
        let mut arrival = Instant::now();
        loop {
            // Without a free thread only an end can come next.
            let next = if self.free.is_empty() { until } else { arrival.min(until) };
            tokio::select! {
                Some(done) = self.busy.join_next(), if !self.busy.is_empty() => self.ended(done)?,
                () = sleep_until(next) => {
                    let now = Instant::now();
                    if now >= until {
                        return Ok(());
                    }
                    self.give();
                    arrival = (arrival + self.gap()).max(now.checked_sub(LATE).unwrap_or(now));
                }
            }
        }
    }

    /// Time until the next arrival: on the average what makes the rate.
    fn gap(&mut self) -> Duration {
        if self.pace.rate <= 0.0 {
            return Duration::ZERO;
        }
        Duration::from_secs_f64(2.0 * self.rng.f64() / self.pace.rate)
    }

    /// Gives a free thread something to do, if the workload has anything for it.
    fn give(&mut self) {
        if self.free.is_empty() {
            return;
        }
        let thread = self.free.swap_remove(self.rng.usize(..self.free.len()));
        let process = self.threads.get(&thread).map_or(thread, |state| state.process);
        let asker = Asker { thread, process };
        let Some(task) = self.shared.workload.next(asker, &mut self.rng) else {
            self.free.push(thread);
            return;
        };
        let node = self.node_of(thread);
        if let Some(state) = self.threads.get_mut(&thread) {
            state.open = Some(task.clone());
        }
        let shared = Arc::clone(&self.shared);
        self.busy.spawn(async move {
            let ending = shared.perform(asker, node, &task, false).await;
            Done { thread, ending }
        });
    }

    fn node_of(&mut self, thread: u64) -> u32 {
        let place = if thread % ROAMS == ROAMS - 1 {
            self.rng.usize(..self.nodes.len().max(1))
        } else {
            self.threads.get(&thread).map_or(0, |state| state.place)
        };
        self.nodes.get(place).copied().unwrap_or(1)
    }

    fn ended(&mut self, done: Result<Done, tokio::task::JoinError>) -> Result<(), Crashed> {
        let done = match done {
            Ok(done) => done,
            Err(error) if error.is_cancelled() => return Ok(()),
            Err(error) => return Err(Crashed(error.to_string())),
        };
        let moves = done.ending != Ending::Ok && self.rng.u32(..MOVES) == 0;
        let place = self.rng.usize(..self.nodes.len().max(1));
        if let Some(state) = self.threads.get_mut(&done.thread) {
            state.open = None;
            if let Ending::Info(_) = done.ending {
                state.process = self.shared.fresh();
            }
            if moves {
                state.place = place;
            }
        }
        self.free.push(done.thread);
        Ok(())
    }

    /// Waits for what is open; what is still open after the bound is given up as `info`.
    ///
    /// # Errors
    ///
    /// When a client panicked.
    pub async fn drain(&mut self, bound: Duration) -> Result<(), Crashed> {
        let until = Instant::now() + bound;
        while !self.busy.is_empty() {
            tokio::select! {
                Some(done) = self.busy.join_next() => self.ended(done)?,
                () = sleep_until(until) => break,
            }
        }
        self.busy.abort_all();
        while let Some(done) = self.busy.join_next().await {
            self.ended(done)?;
        }
        for (thread, state) in &mut self.threads {
            let Some(task) = state.open.take() else { continue };
            let completion = Completion {
                ending: Ending::Info("abandoned".into()),
                value: Value::Nil,
                node: None,
                witness: None,
                extra: BTreeMap::new(),
            };
            let asker = Asker { thread: *thread, process: state.process };
            self.shared.complete(asker, &task, completion, false);
            state.process = self.shared.fresh();
            self.free.push(*thread);
        }
        Ok(())
    }

    /// Does the workload's final tasks, each thread at its own node, until each was `ok` once or was
    /// tried often enough.
    ///
    /// # Errors
    ///
    /// When a client panicked.
    pub async fn last(&mut self) -> Result<Last, Crashed> {
        let mut queues: BTreeMap<u64, Vec<Task>> = BTreeMap::new();
        for (thread, task) in self.shared.workload.last(self.pace.concurrency) {
            queues.entry(thread).or_default().push(task);
        }
        let mut last = Last::default();
        let mut threads = JoinSet::new();
        for (thread, tasks) in queues {
            last.wanted += u64::try_from(tasks.len()).unwrap_or(u64::MAX);
            let process = self.shared.fresh();
            let node = self.nodes.get(home(thread, self.nodes.len())).copied().unwrap_or(1);
            let shared = Arc::clone(&self.shared);
            let mut asker = Asker { thread, process };
            threads.spawn(async move {
                let mut ok = 0;
                for task in tasks {
                    ok += u64::from(shared.until_ok(&mut asker, node, &task).await);
                }
                ok
            });
        }
        while let Some(done) = threads.join_next().await {
            last.ok += done.map_err(|error| Crashed(error.to_string()))?;
        }
        Ok(last)
    }
}

/// The place of a thread's own node.
fn home(thread: u64, nodes: usize) -> usize {
    let nodes = u64::try_from(nodes).unwrap_or(1).max(1);
    usize::try_from(thread % nodes).unwrap_or_default()
}

impl Shared {
    fn fresh(&self) -> u64 {
        self.processes.fetch_add(1, Ordering::Relaxed)
    }

    async fn until_ok(&self, asker: &mut Asker, node: u32, task: &Task) -> bool {
        for turn in 0..LAST_TRIES {
            if turn > 0 {
                sleep(LAST_PAUSE).await;
            }
            match self.perform(*asker, node, task, true).await {
                Ending::Ok => return true,
                Ending::Fail(_) => {}
                Ending::Info(_) => asker.process = self.fresh(),
            }
        }
        false
    }

    /// One operation, from its invocation in the history to its completion there.
    async fn perform(&self, asker: Asker, node: u32, task: &Task, is_last: bool) -> Ending {
        let mut invoke = event(asker, Kind::Invoke, task);
        if is_last {
            invoke.extra.insert("final".into(), true.into());
        }
        self.recorder.record(invoke);
        self.tally.begun.fetch_add(1, Ordering::Relaxed);
        let completion = self.workload.invoke(&self.api, node, asker, task).await;
        let ending = completion.ending.clone();
        self.complete(asker, task, completion, is_last);
        ending
    }

    fn complete(&self, asker: Asker, task: &Task, completion: Completion, is_last: bool) {
        let mut event = event(asker, Kind::Ok, task);
        let counter = match completion.ending {
            Ending::Ok => {
                // What did not surely happen keeps the value that was asked for.
                event.value = completion.value;
                event.witness = completion.witness;
                &self.tally.ok
            }
            Ending::Fail(why) => {
                event.kind = Kind::Fail;
                event.error = Some(why);
                &self.tally.fail
            }
            Ending::Info(why) => {
                event.kind = Kind::Info;
                event.error = Some(why);
                &self.tally.info
            }
        };
        counter.fetch_add(1, Ordering::Relaxed);
        event.node = completion.node;
        event.extra = completion.extra;
        if is_last {
            event.extra.insert("final".into(), true.into());
        }
        self.recorder.record(event);
    }
}

fn event(asker: Asker, kind: Kind, task: &Task) -> Event {
    Event {
        index: 0,
        time: 0,
        kind,
        process: Process::Client(asker.process),
        f: task.f.clone(),
        value: task.value.clone(),
        node: None,
        witness: None,
        error: None,
        extra: BTreeMap::new(),
    }
}

#[cfg(test)]
mod tests;
