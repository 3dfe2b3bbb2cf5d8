//! A shop under load: each operation is chosen, done, and counted.
//!
//! Promises: what chance chooses is the same for the same seed, at each site its own; what a trace has
//! is done in its order. Relies on: [`super::pace`] to say when.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::pace::Fire;
use super::perform::{Done, Shop, Task};
use super::replay::Replay;
use super::tally::{Span, Tally};
use super::target::Failed;
use super::workload::Choice;
use crate::runtime::{Moment, Rng};

/// A shop under load.
#[derive(Debug)]
pub(super) struct Round {
    pub(super) shop: Shop,
    pub(super) tally: Tally,
    source: Source,
}

/// Where operations come from.
#[derive(Debug)]
enum Source {
    /// Chance, at each site its own.
    Chance(Choice, Vec<Rng>),
    /// A trace: those of each site in order, and how many of them were given out.
    Trace(Vec<(Vec<Task>, AtomicUsize)>),
}

impl Round {
    /// Of what chance chooses.
    pub(super) fn new(shop: Shop, tally: Tally, choice: Choice, seed: u64) -> Self {
        let sites = shop.target.sites();
        let rng = |site: u64| Rng::seeded(seed.wrapping_mul(31).wrapping_add(site));
        let source = Source::Chance(choice, (1..=sites).map(rng).collect());
        Self { shop, tally, source }
    }

    /// Of what was recorded.
    pub(super) fn of_trace(shop: Shop, tally: Tally, trace: &Replay) -> Self {
        let tasks = (1..=shop.target.sites()).map(|site| {
            let here = trace.steps.iter().filter(|step| step.site == site);
            (here.map(|step| step.task).collect(), AtomicUsize::new(0))
        });
        let source = Source::Trace(tasks.collect());
        Self { shop, tally, source }
    }
}

impl Fire for Round {
    type Job = Task;

    fn draw(&self, site: u64) -> Task {
        let at = usize::try_from(site - 1).unwrap_or(usize::MAX);
        match &self.source {
            Source::Chance(choice, rngs) => {
                let rng = rngs.get(at).expect("a site has a number from 1 on");
                let op = choice.next(site, rng);
                Task { op, pick: rng.next(), bytes: self.shop.value_bytes }
            }
            Source::Trace(sites) => {
                let (tasks, next) = sites.get(at).expect("a site has a number from 1 on");
                let next = next.fetch_add(1, Ordering::Relaxed);
                *tasks.get(next).expect("as many are planned as there are")
            }
        }
    }

    async fn fire(&self, site: u64, task: Task, intended: Moment, late: bool) {
        let done = self.shop.perform(site, task).await;
        let span = Span { intended, ended: self.shop.env.clock.now(), late };
        self.tally.note(site, span, &done);
    }

    fn never(&self, site: u64, task: Task, intended: Moment) {
        let result = Err(Failed::NotApplied("there was no place for it in time".to_owned()));
        let done = Done { kind: task.op.kind(), changed: false, result, retries: 0, read: None };
        let span = Span { intended, ended: self.shop.env.clock.now(), late: true };
        self.tally.note(site, span, &done);
    }
}
