//! Lanes: callers that cost next to nothing, for loads whose generator must not be what is measured.
//!
//! ```text
//!   drive (what, how much) --> a thread or two --> lanes, one request each --> a node
//!      \--> book: what was written, what a read may show
//! ```
//!
//! Why it exists: on a small machine generator and nodes share the cores, and a general client costs a
//! third of what a node does. A lane owns its connection: no pool, no lock, no task for each request.
//!
//! Promises: an operation ends within `BENCH_OP_MAX`; a failure says `NotApplied` only when that is
//! certain; nothing is repeated that may take effect twice. Threads have a runtime each, so that lanes
//! never move between cores.

pub mod book;
mod counts;
pub mod drive;
mod http;
pub mod ours;
pub mod slow;

use std::fmt::Debug;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use async_trait::async_trait;
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep, sleep_until};

use super::target::Failed;
use crate::runtime::Env;
use crate::runtime::limits::{BENCH_LANES_OF_THREAD, BENCH_OP_MAX};
use crate::wire::Outcome;

/// One caller, with one request under way at a time.
#[async_trait]
pub trait Lane: Send {
    /// Whether this key is asked for without a detour, and on a connection that is there already.
    fn suits(&self, _key: &str) -> bool {
        true
    }

    /// Sets a key.
    async fn put(&mut self, key: &str, value: &[u8]) -> Result<(), Failed>;

    /// Reads a key, linearizably.
    async fn get(&mut self, key: &str) -> Result<Option<&[u8]>, Failed>;

    /// Adds a write to the batch that is sent next.
    fn add(&mut self, _key: &str, _value: &[u8]) {}

    /// Sends the batch. What became of each write, in their order; nothing when all are acknowledged.
    async fn send(&mut self) -> Result<Vec<Outcome>, Failed> {
        Err(Failed::NotApplied("this store has no batches".to_owned()))
    }
}

/// Where lanes come from. They live as long as one phase of a load.
pub trait Lanes: Send + Sync + Debug {
    /// How many nodes are asked.
    fn sites(&self) -> u64;

    /// Whether a lane is better at some keys than at others.
    fn routed(&self) -> bool {
        false
    }

    /// Whether many writes travel in one request.
    fn batches(&self) -> bool {
        false
    }

    /// The lane of this number, from 0; the numbers go round the sites.
    fn lane(&self, number: u64) -> Box<dyn Lane>;
}

/// Which site the lane of a number belongs to, counted from 0.
pub(super) fn site_of(number: u64, sites: u64) -> usize {
    usize::try_from(number % sites.max(1)).unwrap_or(0)
}

/// Runs so many pieces of work on threads of their own, each with a runtime of its own; what they
/// came to, in no order. What panics fails the run.
pub async fn on_threads<T, W, F>(env: &Env, count: u64, work: W) -> Vec<T>
where
    T: Send + 'static,
    W: Fn(u64) -> F + Send + Sync + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let cores = u64::try_from(cores).unwrap_or(1);
    // One thread for few: each wake-up then brings several of them forward.
    let threads = cores.min(count.div_ceil(BENCH_LANES_OF_THREAD)).max(1);
    let work = Arc::new(work);
    // Bounded by the count.
    let (sender, mut results) = mpsc::unbounded_channel();
    for thread in 0..threads {
        let (tasks, work, sender) = (env.tasks.clone(), Arc::clone(&work), sender.clone());
        drop(env.tasks.thread("bench-lanes", move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.expect("the system gives a thread its timers and its poller");
            runtime.block_on(async {
                let mut ends = Vec::new();
                let step = usize::try_from(threads).unwrap_or(1);
                for number in (thread..count).step_by(step) {
                    let (work, sender) = (work(number), sender.clone());
                    ends.push(tasks.spawn_to_end("bench-lane", async move {
                        // The receiver waits for all of us.
                        drop(sender.send(work.await));
                    }));
                }
                for end in ends {
                    // A panic has failed the run already.
                    drop(end.await);
                }
            });
        }));
    }
    drop(sender);
    let mut all = Vec::new();
    while let Some(result) = results.recv().await {
        all.push(result);
    }
    all
}

/// The longest time that an operation may take, with one timer for all operations of a lane: to set
/// one for each would cost more than to look at the clock.
#[derive(Debug, Default)]
pub struct Patience {
    timer: Option<Pin<Box<Sleep>>>,
}

impl Patience {
    /// What work comes to; nothing when it takes too long.
    pub async fn wait<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        let end = Instant::now() + BENCH_OP_MAX;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(end)));
        poll_fn(|context| {
            if let Poll::Ready(done) = work.as_mut().poll(context) {
                return Poll::Ready(Some(done));
            }
            // The timer of an earlier operation comes too early, and is set again then.
            while timer.as_mut().poll(context).is_ready() {
                if Instant::now() >= end {
                    return Poll::Ready(None);
                }
                timer.as_mut().reset(end);
            }
            Poll::Pending
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn work_is_spread_over_threads_and_all_of_it_is_done() {
        let env = Env::system();
        let many = BENCH_LANES_OF_THREAD * 2 + 1;
        let mut done = on_threads(&env, many, |number| async move {
            tokio::task::yield_now().await;
            number
        })
        .await;
        done.sort_unstable();
        assert_eq!(done, (0..many).collect::<Vec<_>>());
        assert_eq!(env.tasks.failure(), None);
    }

    #[tokio::test]
    async fn a_lane_that_panics_fails_the_run() {
        let env = Env::system();
        let done = on_threads(&env, 3, |number| async move {
            assert!(number != 1, "boom");
            number
        })
        .await;
        assert_eq!(done.len(), 2);
        assert!(env.tasks.failure().unwrap().contains("boom"));
    }

    #[tokio::test(start_paused = true)]
    async fn patience_ends_what_hangs_and_nothing_before() {
        let mut patience = Patience::default();
        let short = BENCH_OP_MAX - Duration::from_millis(10);
        for _ in 0..3 {
            // Each takes longer than what the timer of the one before had left.
            assert_eq!(patience.wait(tokio::time::sleep(short)).await, Some(()));
        }
        let began = Instant::now();
        assert_eq!(patience.wait(std::future::pending::<()>()).await, None);
        assert_eq!(began.elapsed(), BENCH_OP_MAX);
    }
}
