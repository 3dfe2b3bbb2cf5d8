//! Switching namespaces to the other side, as jobs that survive a crash and can be watched.
//!
//! ```text
//!   switch, look, cancel   <- the front door, at any node
//!   drive                  where the leader of group 0 is: one step after the other
//!     |-- cut              nobody writes any more, and all that was written is known
//!     |-- copy, forms      rows to what they become; pages read them
//!     '-- word             what is asked of the other nodes
//! ```
//!
//! Promises: a write that was acknowledged before the switch is there after it, whoever dies meanwhile;
//! writes that come meanwhile are refused with an outcome (`not_applied`), never lost; until it is done
//! a switch can be cancelled, and nothing has changed. Relies on the catalog for the job itself
//! ([`placement::Switch`](crate::placement::Switch)).

mod copy;
mod cut;
pub mod drive;
mod forms;
mod pages;
mod survey;
mod word;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::consensus::channel::SWITCH;
use crate::model::GroupId;
use crate::peer::{Lane, Refused};
use crate::placement::{CatalogCommand, NamespaceEntry, Switch, SwitchPhase, SwitchStep, SwitchTo};
use crate::runtime::limits::SWITCH_CALL_MAX;

use super::error::{ErrorKind, ServiceError};
use super::{Context, Service};

pub use survey::{Obstacle, Survey};

use word::Call;

/// Why a job does not go on.
#[derive(Debug)]
enum Trouble {
    /// It will, once this is not so any more.
    Wait(String),
    /// It never will.
    Blocked(String),
}

impl Trouble {
    fn wait(reason: &str) -> Self {
        Self::Wait(reason.to_owned())
    }
}

impl From<ServiceError> for Trouble {
    fn from(error: ServiceError) -> Self {
        Self::Wait(error.to_string())
    }
}

impl From<Trouble> for ServiceError {
    fn from(trouble: Trouble) -> Self {
        let (Trouble::Wait(reason) | Trouble::Blocked(reason)) = trouble;
        ErrorKind::Unavailable { reason }.into()
    }
}

/// How far the driver of a job is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Keys that it has copied.
    pub keys: u64,
    /// What it waits for.
    pub waits_for: Option<String>,
}

/// What the driver here notes of its jobs.
#[derive(Debug, Default)]
pub(super) struct Desk(Mutex<BTreeMap<u64, Progress>>);

impl Desk {
    fn note(&self, job: u64, change: impl FnOnce(&mut Progress)) {
        change(self.0.lock().entry(job).or_default());
    }

    fn keep(&self, jobs: &BTreeSet<u64>) {
        self.0.lock().retain(|job, _| jobs.contains(job));
    }

    fn of(&self, job: u64) -> Progress {
        self.0.lock().get(&job).cloned().unwrap_or_default()
    }
}

/// A switch as its watchers see it.
#[derive(Clone, Debug)]
pub struct SwitchView {
    /// The job, as the catalog has it.
    pub switch: Switch,
    /// How far its driver is, if that could be asked and the job is under way.
    pub progress: Option<Progress>,
    /// Keys that there are to copy, if that is known.
    pub keys: Option<u64>,
    /// For how long it has been under way, in milliseconds, by the clocks of two nodes.
    pub age_ms: u64,
}

impl Service {
    /// Begins to switch a namespace; the same again is harmless. What is known to stand in the way is
    /// said before anything is done.
    ///
    /// # Errors
    ///
    /// `Denied` with `switch_blocked` when keys stand in the way.
    pub async fn switch_namespace(
        &self,
        name: &str,
        to: SwitchTo,
        context: Context,
    ) -> Result<SwitchView, ServiceError> {
        let survey = self.survey_switch(name, &to, &context).await?;
        if let Some(first) = survey.named.first() {
            let reason = format!(
                "{} keys stand in the way, the first is {:?}: {}; …/switch/check names more of them",
                survey.obstacles,
                String::from_utf8_lossy(&first.key),
                first.why
            );
            return Err(ErrorKind::Denied { code: "switch_blocked", reason }.into());
        }
        let command = CatalogCommand::SwitchNamespace { name: name.to_owned(), to };
        self.step_switch(name, &command, &context).await?;
        self.look_switch(name, context).await
    }

    /// How far a switch is, or how the newest one ended.
    ///
    /// # Errors
    ///
    /// `NoSwitch` when there never was one.
    pub async fn look_switch(
        &self,
        name: &str,
        context: Context,
    ) -> Result<SwitchView, ServiceError> {
        let map = self.newest_map(&context).await?;
        let entry = map.catalog.namespace(name);
        let entry = entry.ok_or_else(|| ErrorKind::NamespaceNotFound { name: name.to_owned() })?;
        let switch = entry.switch.clone().ok_or_else(|| no_switch(name))?;
        let progress = if switch.is_active() { self.ask_driver(switch.job).await } else { None };
        let keys = match switch.phase {
            SwitchPhase::Sealing | SwitchPhase::Done => Some(switch.keys),
            _ => self
                .hall
                .usage
                .of(entry.id)
                .filter(|_| entry.data_type.is_none())
                .map(|(_, keys)| keys),
        };
        let age_ms = self.hall.env.clock.wall_ms().saturating_sub(switch.began_ms);
        Ok(SwitchView { switch, progress, keys, age_ms })
    }

    /// Gives a switch up that is not done yet: the namespace is what it was, and takes writes again.
    ///
    /// # Errors
    ///
    /// `NoSwitch` when none is under way.
    pub async fn cancel_switch(
        &self,
        name: &str,
        context: Context,
    ) -> Result<SwitchView, ServiceError> {
        let map = self.newest_map(&context).await?;
        let active = map.catalog.namespace(name).and_then(NamespaceEntry::active_switch);
        let job = active.map(|switch| switch.job).ok_or_else(|| no_switch(name))?;
        let step = SwitchStep::Stop { reason: "it was cancelled".to_owned() };
        let command = CatalogCommand::StepSwitch { name: name.to_owned(), job, step };
        self.step_switch(name, &command, &context).await?;
        self.look_switch(name, context).await
    }

    /// Asks whoever drives it.
    async fn ask_driver(&self, job: u64) -> Option<Progress> {
        let hall = &self.hall;
        let leader = hall.wing.leader(GroupId::SYSTEM)?;
        if leader == hall.node {
            return Some(hall.desk.of(job));
        }
        let body = Call::Progress(job).encode();
        let call = hall.transport.call(leader, SWITCH, Lane::Data, body, SWITCH_CALL_MAX);
        let answer = tokio::time::timeout(SWITCH_CALL_MAX, call).await.ok()?.ok()?;
        Progress::decode(&answer).ok()
    }

    /// Answers another node.
    ///
    /// # Errors
    ///
    /// When its question cannot be read.
    pub(super) async fn switching_asked(&self, body: &Bytes) -> Result<Bytes, Refused> {
        match Call::decode(body).map_err(|error| Refused::new(error.to_string()))? {
            Call::Asked(asked) => Ok(cut::answer(&self.hall, asked).await.encode()),
            Call::Progress(job) => Ok(self.hall.desk.of(job).encode()),
        }
    }
}

fn no_switch(name: &str) -> ServiceError {
    ErrorKind::NoSwitch { name: name.to_owned() }.into()
}
