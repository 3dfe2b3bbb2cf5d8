//! The driver: takes every switch that is under way a step further.
//!
//! ```text
//!   freezing   close the old namespace, wait for what was written       -> copying
//!   copying    the same again, copy, compare                            -> sealing
//!   sealing    close it for reads, too; fence the copy; all have it     -> done
//! ```
//!
//! Promises: it runs where the leader of group 0 is, and begins anew wherever that comes to be; nothing
//! that matters is only in its memory. What cannot go on is tried again every tick, with a reason for
//! whoever looks; what can never go on (a key that does not fit) gives the switch up, and the namespace
//! takes writes again. Relies on the catalog to take each step once.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;

use crate::model::GroupId;
use crate::placement::{CatalogCommand, Mode, NamespaceEntry, Switch, SwitchPhase, SwitchStep};
use crate::runtime::limits::SWITCH_TICK;
use crate::service::Service;
use crate::service::floors::{holders, holders_of};

use super::Trouble;
use super::copy::Copying;
use super::cut::{Cut, context, everywhere};

/// Drives the switches while this node leads group 0, for ever.
pub async fn run(service: Service) {
    let mut running: FuturesUnordered<BoxFuture<'static, u64>> = FuturesUnordered::new();
    let mut jobs: BTreeSet<u64> = BTreeSet::new();
    let mut tick = tokio::time::interval(SWITCH_TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => {
                let wanted = service.to_drive();
                if wanted.is_empty() {
                    // Deposed, or nothing to do; what is under way does no harm, and no good.
                    running.clear();
                    jobs.clear();
                }
                service.hall.desk.keep(&wanted.iter().map(|(_, job)| *job).collect());
                for (name, job) in wanted {
                    if jobs.insert(job) {
                        running.push(Box::pin(drive(service.clone(), name, job)));
                    }
                }
            }
            Some(job) = running.next(), if !running.is_empty() => {
                jobs.remove(&job);
            }
        }
    }
}

/// Takes a job as far as it goes now.
async fn drive(service: Service, name: String, job: u64) -> u64 {
    let driven = Driven { service: &service, name: &name, job };
    let reason = match driven.all().await {
        Ok(()) => return job,
        Err(Trouble::Wait(reason)) => reason,
        Err(Trouble::Blocked(reason)) => {
            tracing::warn!(namespace = name, reason, "a switch is given up");
            match driven.step(SwitchStep::Stop { reason }).await {
                Ok(_) | Err(Trouble::Blocked(_)) => return job,
                Err(Trouble::Wait(reason)) => reason,
            }
        }
    };
    tracing::debug!(namespace = name, reason, "a switch waits");
    service.hall.desk.note(job, |progress| progress.waits_for = Some(reason));
    job
}

impl Service {
    /// The switches that this node has to drive.
    fn to_drive(&self) -> Vec<(String, u64)> {
        if self.hall.wing.leader(GroupId::SYSTEM) != Some(self.hall.node) {
            return Vec::new();
        }
        let Some(map) = self.hall.map() else { return Vec::new() };
        let active = |(name, entry): (&String, &NamespaceEntry)| {
            entry.active_switch().map(|switch| (name.clone(), switch.job))
        };
        map.catalog.namespaces.iter().filter_map(active).collect()
    }
}

struct Driven<'a> {
    service: &'a Service,
    name: &'a str,
    job: u64,
}

impl Driven<'_> {
    async fn all(&self) -> Result<(), Trouble> {
        let hall = &self.service.hall;
        loop {
            let map = hall.map().ok_or_else(|| Trouble::wait("no catalog is known yet"))?;
            let entry = map.catalog.namespace(self.name);
            let Some((from, switch)) =
                entry.and_then(|entry| Some((entry, entry.active_switch()?)))
            else {
                return Ok(());
            };
            if switch.job != self.job {
                return Ok(());
            }
            let told = |keys| hall.desk.note(self.job, |p| (p.keys, p.waits_for) = (keys, None));
            let (name, service) = (self.name, self.service);
            let copying =
                Copying { service, map: Arc::clone(&map), name, switch, from, told: &told };
            let epoch = match switch.phase {
                SwitchPhase::Sealing => switch.epoch,
                _ => switch.job,
            };
            let sealed = switch.is_sealed();
            Cut { hall, catalog: &map.catalog, from, epoch, sealed }.close().await?;
            let step = match switch.phase {
                SwitchPhase::Freezing => SwitchStep::Copy,
                SwitchPhase::Copying => SwitchStep::Seal { keys: copying.run().await? },
                SwitchPhase::Sealing => {
                    self.seal(&copying, switch).await?;
                    SwitchStep::Finish
                }
                SwitchPhase::Done | SwitchPhase::Stopped { .. } => return Ok(()),
            };
            let is_last = step == SwitchStep::Finish;
            let epoch = self.step(step).await?;
            if is_last {
                tracing::info!(namespace = self.name, keys = switch.keys, "a switch is done");
                // So that no node serves what was before; the upkeep of doomed namespaces does it, too.
                drop(hall.raise(holders(&map.catalog), epoch, &context(hall)).await);
                return Ok(());
            }
        }
    }

    /// After this no copy that is late can change anything, and every node has what was copied.
    async fn seal(&self, copying: &Copying<'_>, switch: &Switch) -> Result<(), Trouble> {
        let (hall, catalog) = (&self.service.hall, &*copying.map.catalog);
        match switch.to.mode {
            Mode::Linearizable => {
                let groups = holders_of(catalog, &switch.to);
                Ok(hall.raise(groups, switch.epoch, &context(hall)).await?)
            }
            Mode::Eventual => {
                let planted = copying.planted(switch.keys);
                everywhere(hall, catalog, switch.to.id, &planted).await
            }
        }
    }

    /// Has the catalog take a step, and waits until this node knows it.
    async fn step(&self, step: SwitchStep) -> Result<u64, Trouble> {
        let command =
            CatalogCommand::StepSwitch { name: self.name.to_owned(), job: self.job, step };
        let context = context(&self.service.hall);
        Ok(self.service.step_switch(self.name, &command, &context).await?)
    }
}
