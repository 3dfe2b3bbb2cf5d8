//! Who breaks the cluster, and how.
//!
//! Why it exists: each kind of fault is a [`Fault`] that begins and ends; a [`Plan`] composes them.
//! Promises: all choices come from the given source of chance, so that a seed repeats them; every
//! event in the history says whether the fault was there (`installed`), did not apply (`skipped`) or
//! did not work (`failed`), with the reason: a fault that did not bite is never recorded as one that
//! did. Relies on: [`crate::cluster`] for doing it.
//!
//! A plan is written as on the command line: `partition,kill`, `all`, `none`, or with a variant,
//! `partition:one-way,kill:all`.

mod aim;
mod kinds;
mod packet;
mod partition;
mod plan;
mod processes;

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use fastrand::Rng;

use crate::clock::Clock;
use crate::cluster::{Cluster, Miss};
use crate::history::{Event, Kind, Process, Value};

pub use kinds::{FaultKind, Needs, faults, parse};
pub use plan::Plan;

/// Whether a fault is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is, and it was seen to bite.
    Installed,
    /// It does not apply here or now.
    Skipped(String),
    /// It was tried and did not work.
    Failed(String),
}

/// What beginning or ending a fault has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effect {
    /// To whom or what: the value of the event.
    pub value: Value,
    /// Whether it is there.
    pub outcome: Outcome,
}

impl Effect {
    /// It bites.
    pub fn installed(value: impl Into<Value>) -> Self {
        Self { value: value.into(), outcome: Outcome::Installed }
    }

    /// It does not apply.
    pub fn skipped(value: impl Into<Value>, why: impl Into<String>) -> Self {
        Self { value: value.into(), outcome: Outcome::Skipped(why.into()) }
    }

    /// It did not work.
    pub fn failed(value: impl Into<Value>, why: impl Into<String>) -> Self {
        Self { value: value.into(), outcome: Outcome::Failed(why.into()) }
    }

    /// What came of doing the same to several nodes: installed when it worked for any, with those as
    /// the value.
    pub fn of_nodes(results: Vec<(u32, Result<(), Miss>)>) -> Self {
        let done = results.iter().filter(|(_, result)| result.is_ok());
        let done: Vec<Value> = done.map(|(node, _)| Value::from(i64::from(*node))).collect();
        if !done.is_empty() {
            return Self::installed(done);
        }
        let all: Vec<Value> = results.iter().map(|(node, _)| i64::from(*node).into()).collect();
        let mut misses = results.into_iter().filter_map(|(_, result)| result.err());
        match misses.next() {
            Some(Miss::Failed(why)) => Self::failed(all, why),
            Some(Miss::Skipped(why)) => Self::skipped(all, why),
            None => Self::skipped(all, "there is nobody to do it to"),
        }
    }

    /// Whether it bites.
    pub fn is_installed(&self) -> bool {
        self.outcome == Outcome::Installed
    }

    /// The event that says so.
    pub fn event(&self, f: impl Into<String>) -> Event {
        let (word, why) = match &self.outcome {
            Outcome::Installed => ("installed", None),
            Outcome::Skipped(why) => ("skipped", Some(why)),
            Outcome::Failed(why) => ("failed", Some(why)),
        };
        let mut extra = BTreeMap::from([("effect".to_owned(), Value::Keyword(word.to_owned()))]);
        if let Some(why) = why {
            extra.insert("why".to_owned(), Value::Text(why.clone()));
        }
        Event {
            index: 0,
            time: 0,
            kind: Kind::Info,
            process: Process::Nemesis,
            f: f.into(),
            value: self.value.clone(),
            node: None,
            witness: None,
            error: None,
            extra,
        }
    }
}

/// One kind of fault, begun and ended again and again.
#[async_trait]
pub trait Fault: Send {
    /// Its name in plans; events are `start-name` and `stop-name`, or the name alone.
    fn name(&self) -> &'static str;

    /// Whether it is over as soon as it has begun; then there is one event, of its name alone.
    fn is_one_shot(&self) -> bool {
        false
    }

    /// Breaks something.
    async fn begin(&mut self, cluster: &Cluster, rng: &mut Rng) -> Effect;

    /// Goes on breaking while the fault lasts; dropped at any await when it is to end.
    async fn keep(&mut self, _cluster: &Cluster, _rng: &mut Rng) {
        std::future::pending::<()>().await;
    }

    /// Undoes what `begin` and `keep` did.
    async fn end(&mut self, cluster: &Cluster) -> Effect;
}

/// When a plan is to end, on the monotonic clock.
#[derive(Clone, Debug)]
pub struct Deadline {
    clock: Clock,
    at: u64,
}

impl Deadline {
    /// After so long from now.
    pub fn after(time: Duration) -> Self {
        let clock = Clock::default();
        Self { clock, at: u64::try_from(time.as_nanos()).unwrap_or(u64::MAX) }
    }

    /// How long it is until then; `None` when it is over.
    pub fn left(&self) -> Option<Duration> {
        let left = self.at.checked_sub(self.clock.now())?;
        (left > 0).then(|| Duration::from_nanos(left))
    }
}

/// A keyword.
fn word(text: &str) -> Value {
    Value::Keyword(text.to_owned())
}

/// A map with keywords as keys.
fn map(pairs: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    Value::Map(pairs.into_iter().map(|(name, value)| (word(name), value)).collect())
}

/// Nodes as a value.
fn nodes(nodes: &[u32]) -> Value {
    Value::list(nodes.iter().map(|node| Value::from(i64::from(*node))))
}

#[cfg(test)]
mod tests;
