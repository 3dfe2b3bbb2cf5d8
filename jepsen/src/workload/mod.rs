//! What clients do, and what must then be true.
//!
//! A workload says what to do next (`next`), does it (`invoke`), reads everything once more when all
//! faults are over (`last`), and names the checkers that judge it. It holds no verdict of its own.

pub mod append;
pub mod bank;
pub mod counter;
pub mod eventual;
pub(crate) mod finding;
#[cfg(test)]
mod hand;
pub mod idempotency;
mod kept;
pub mod lease;
pub mod lock;
mod make;
pub mod namespace;
mod order;
mod place;
pub mod register;
pub mod scan;
pub mod sessions;
pub mod set;
pub mod stale;
pub mod terms;
#[cfg(test)]
pub(crate) mod tests_history;
pub mod watch;

use std::collections::BTreeMap;

use async_trait::async_trait;

use crate::api::{Api, ApiError};
use crate::checker::Checker;
use crate::history::{Value, Witness};

/// What one client is to do next.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// The operation.
    pub f: String,
    /// Its argument, as it stands in the invocation.
    pub value: Value,
}

/// Who asks for the next task.
#[derive(Clone, Copy, Debug)]
pub struct Asker {
    /// The thread: 0 to concurrency - 1. Keeps its number when its process crashes.
    pub thread: u64,
    /// Its process.
    pub process: u64,
}

/// How an operation ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Ending {
    /// It took effect.
    Ok,
    /// It certainly did not; with the server's code.
    Fail(String),
    /// Nobody knows; with what happened.
    Info(String),
}

/// A completion.
#[derive(Clone, Debug)]
pub struct Completion {
    /// How it ended.
    pub ending: Ending,
    /// The result, of the shape that the checkers want.
    pub value: Value,
    /// The node that was asked.
    pub node: Option<u32>,
    /// Where the answer stands in its group's order.
    pub witness: Option<Witness>,
    /// More for this workload's checkers.
    pub extra: BTreeMap<String, Value>,
}

/// A kind of test.
#[async_trait]
pub trait Workload: Send + Sync {
    /// Its name on the command line.
    fn name(&self) -> &'static str;

    /// Flags that its cluster must be started with beyond the usual ones (`--checkpoint-after-mib`, …).
    fn serve_flags(&self) -> Vec<String> {
        Vec::new()
    }

    /// Makes what the clients expect to find: namespaces, first values. Before any fault.
    ///
    /// # Errors
    ///
    /// When the cluster did not take it: the test does not begin.
    async fn prepare(&self, api: &Api) -> Result<(), ApiError>;

    /// The next task of a thread; `None`: nothing now, ask again after the next pause. Called from
    /// one task at a time; all randomness comes from `rng`.
    fn next(&self, asker: Asker, rng: &mut fastrand::Rng) -> Option<Task>;

    /// Does a task at `node`: one request, or several that belong together. Never retries by itself
    /// what could have happened already, unless the workload is about retries.
    async fn invoke(&self, api: &Api, node: u32, asker: Asker, task: &Task) -> Completion;

    /// Tasks that are done when all faults are over, one after the other for each thread; their
    /// completions must all be `ok` or the run is not covered. `threads` is the concurrency.
    fn last(&self, threads: u64) -> Vec<(u64, Task)>;

    /// Its judges.
    fn checkers(&self) -> Vec<Box<dyn Checker>>;

    /// Kinds of operations (`f`) of which at least this many must have been `ok`.
    fn needed(&self) -> Vec<(&'static str, u64)>;
}

/// Every workload there is, fresh, in the order in which tables show them.
pub fn all() -> Vec<Box<dyn Workload>> {
    vec![
        Box::new(register::Register::default()),
        Box::new(set::Set::default()),
        Box::new(append::Append::default()),
        Box::new(counter::Counter::default()),
        Box::new(bank::Bank::default()),
        Box::new(idempotency::Idempotency::default()),
        Box::new(watch::Watch::default()),
        Box::new(lease::Lease::default()),
        Box::new(lock::Lock::default()),
        Box::new(sessions::Sessions::default()),
        Box::new(stale::Stale::default()),
        Box::new(scan::Scan::default()),
        Box::new(namespace::Namespace::default()),
        Box::new(terms::Terms),
        Box::new(eventual::converge::Converge::default()),
        Box::new(eventual::crdt::Crdt::default()),
        Box::new(eventual::loss::Loss::default()),
        Box::new(eventual::resurrection::Resurrection::default()),
    ]
}

/// Controls: workloads that must be found invalid, and hence are in no table.
pub fn controls() -> Vec<Box<dyn Workload>> {
    vec![Box::new(stale::RegisterStale::default()), Box::new(eventual::loss::Loss::blind())]
}

/// A fresh workload or control by its name on the command line.
pub fn by_name(name: &str) -> Option<Box<dyn Workload>> {
    all().into_iter().chain(controls()).find(|workload| workload.name() == name)
}
