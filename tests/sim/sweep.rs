//! Many seeds, as many at a time as there are processors.

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::child::{self, Order};
use super::run::Outcome;

/// Makes the command that is a child of this program.
pub type MakeCommand = fn() -> Command;

/// How seeds are run.
#[derive(Clone, Debug)]
pub struct Sweep {
    /// Makes a child.
    pub command: MakeCommand,
    /// The library that makes runs repeatable.
    pub entropy: Option<PathBuf>,
    /// At a time.
    pub jobs: usize,
}

/// What a sweep came to.
#[derive(Debug, Default)]
pub struct Total {
    /// Seeds that were run.
    pub seeds: u64,
    /// Requests that were certainly done.
    pub done: u64,
    /// Time in the clusters.
    pub lasted: Duration,
    /// Seeds that broke a promise.
    pub failed: Vec<(u64, Outcome)>,
}

impl Sweep {
    /// With as many jobs as processors.
    pub fn new(command: MakeCommand) -> Self {
        let jobs = std::thread::available_parallelism().map_or(1, usize::from);
        Self { command, entropy: super::entropy::library(), jobs }
    }

    /// Runs one.
    pub fn one(&self, order: &Order) -> Outcome {
        child::order(order, (self.command)(), self.entropy.as_deref())
    }

    /// Runs seed after seed until there are none, time is up, or enough have failed; `each` hears of all.
    pub fn run(
        &self,
        seeds: impl Iterator<Item = u64> + Send,
        until: Option<Instant>,
        failures_max: usize,
        each: impl Fn(u64, &Outcome) + Sync,
    ) -> Total {
        let seeds = Mutex::new(seeds);
        let total = Mutex::new(Total::default());
        let enough = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..self.jobs {
                scope.spawn(|| {
                    while !enough.load(Ordering::Relaxed)
                        && until.is_none_or(|until| Instant::now() < until)
                    {
                        let Some(seed) = seeds.lock().next() else { return };
                        let outcome = self.one(&Order::of(seed));
                        each(seed, &outcome);
                        let mut total = total.lock();
                        total.seeds += 1;
                        total.done += outcome.requests.0;
                        total.lasted += outcome.lasted;
                        if outcome.broken.is_some() {
                            total.failed.push((seed, outcome));
                            enough.fetch_or(total.failed.len() >= failures_max, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        total.into_inner()
    }
}
