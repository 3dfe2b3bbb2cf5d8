//! A namespace on its way to the other side: the job, as the catalog holds it.
//!
//! ```text
//!   freezing --> copying --> sealing --> done: the name means the new namespace, the old one is doomed
//!      '------------'-----------'------> stopped: the old one goes on, what was copied is doomed
//! ```
//!
//! Why it exists: mode and type of a namespace never change, so a switch makes a hidden namespace of
//! the other side, copies the rows while nobody writes, and then lets the name mean it. All that must
//! survive a crash of whoever does that is here; rows are copied anew by the next one.
//!
//! Promises: one job at a time for a namespace; a step is taken only by the job that it is meant for,
//! from the phase before it, and once: a driver that is late or deposed changes nothing. Until a job is
//! done it can be stopped, and the namespace is what it was. Ids are never given twice, so a copy that
//! was given up cannot turn up in a later one. Relies on [`namespaces`](super::namespaces) for what
//! settings make sense, and on its driver for what must be so before a step is taken.

use serde::{Deserialize, Serialize};

use super::catalog::{Catalog, Mode, NamespaceEntry};
use super::change::{Change, Refusal, refuse};
use super::command::RefusalCode;
use super::namespaces::{Settings, check_history, unknown};
use super::topology::Topology;
use crate::model::NamespaceId;
use crate::model::eventual::DataType;
use crate::runtime::limits::{NAMESPACES_MAX, SWITCH_REASON_BYTES_MAX};

/// A switch of a namespace. The epoch of its beginning is its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Switch {
    /// The epoch at which it began: since then nothing is written to the namespace.
    pub job: u64,
    /// How far it is.
    pub phase: SwitchPhase,
    /// The epoch at which it came to this phase.
    pub epoch: u64,
    /// What the namespace was.
    pub from: NamespaceId,
    /// What it becomes; once that is done, what it is, without what changed since.
    pub to: Box<NamespaceEntry>,
    /// What becomes of values that stand beside each other.
    pub siblings: Siblings,
    /// When it began, in milliseconds since 1970, by whoever asked for it.
    pub began_ms: u64,
    /// How many keys were copied, once all were.
    pub keys: u64,
}

/// How far a switch is. New phases go to the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SwitchPhase {
    /// Writes are refused; whoever may still make some is waited for.
    Freezing,
    /// Rows are copied; what is read is as it was at the freeze.
    Copying,
    /// All is copied; what is left of the old one is closed before the name changes hands.
    Sealing,
    /// The name means the new namespace.
    Done,
    /// It was given up: the namespace is what it was, and takes writes.
    Stopped {
        /// Why.
        reason: String,
    },
}

/// What becomes of values that stand beside each other because nobody has merged them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Siblings {
    /// They stand in the way.
    #[default]
    Refuse,
    /// The latest of them is taken.
    Latest,
}

/// What a namespace shall become.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SwitchTo {
    /// Its new mode: not the one that it has.
    pub mode: Mode,
    /// How its keys fall into slots, if it becomes linearizable.
    pub layout: super::catalog::Layout,
    /// For how long its changes can be watched, in milliseconds, if it becomes linearizable.
    pub history_ms: u64,
    /// What its values are, if it becomes eventual.
    pub data_type: Option<DataType>,
    /// How its replicas are linked, if it becomes eventual.
    pub topology: Topology,
    /// What becomes of values that stand beside each other.
    pub siblings: Siblings,
    /// The asker's wall clock, in milliseconds since 1970.
    pub began_ms: u64,
}

/// The next step of a switch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SwitchStep {
    /// Nobody writes any more: copy.
    Copy,
    /// All is copied: close what is left.
    Seal {
        /// How many keys there are.
        keys: u64,
    },
    /// Nobody reads any more: let the name mean the new namespace.
    Finish,
    /// Give it up.
    Stop {
        /// Why.
        reason: String,
    },
}

impl Switch {
    /// Whether it is under way: the namespace takes no writes.
    pub const fn is_active(&self) -> bool {
        match self.phase {
            SwitchPhase::Freezing | SwitchPhase::Copying | SwitchPhase::Sealing => true,
            SwitchPhase::Done | SwitchPhase::Stopped { .. } => false,
        }
    }

    /// Whether the namespace is about to be another one: nothing is read of the old one any more.
    pub const fn is_sealed(&self) -> bool {
        matches!(self.phase, SwitchPhase::Sealing)
    }
}

impl NamespaceEntry {
    /// The switch that is under way.
    pub fn active_switch(&self) -> Option<&Switch> {
        self.switch.as_ref().filter(|switch| switch.is_active())
    }

    /// What it is on the way to become.
    pub fn hidden(&self) -> Option<&Self> {
        self.active_switch().map(|switch| &*switch.to)
    }
}

impl Catalog {
    /// All namespaces with rows that must be kept: those with a name, and those on the way to one.
    pub fn entries(&self) -> impl Iterator<Item = &NamespaceEntry> {
        self.namespaces.values().chain(self.namespaces.values().filter_map(NamespaceEntry::hidden))
    }

    pub(super) fn switch_namespace(
        &mut self,
        name: &str,
        to: &SwitchTo,
    ) -> Result<Change, Refusal> {
        check_history(to.history_ms)?;
        let Some(entry) = self.namespaces.get(name) else { return unknown(name) };
        let settings = Settings {
            mode: to.mode,
            layout: to.layout,
            limits: entry.limits,
            quota: None,
            history_ms: to.history_ms,
            data_type: to.data_type,
            topology: to.topology.clone(),
        };
        if let Some(switch) = entry.active_switch() {
            let same = super::namespaces::settings_of(&switch.to) == settings;
            if same && switch.siblings == to.siblings {
                return Ok(Change::None);
            }
            return refuse(
                RefusalCode::Switching,
                format!("namespace {name} is being switched already; cancel that first"),
            );
        }
        if entry.mode == to.mode {
            return refuse(
                RefusalCode::Invalid,
                format!(
                    "namespace {name} is {} already: a switch goes to the other side",
                    match to.mode {
                        Mode::Linearizable => "linearizable",
                        Mode::Eventual => "eventual",
                    }
                ),
            );
        }
        self.check_side(&settings)?;
        let switch = self.begun(entry.id, settings, to)?;
        let next = NamespaceEntry { epoch: switch.epoch, switch: Some(switch), ..entry.clone() };
        self.namespaces.insert(name.to_owned(), next);
        self.next_namespace = NamespaceId(self.next_namespace.0 + 1);
        Ok(Change::Made)
    }

    /// A switch that begins now, with a hidden namespace of these settings.
    fn begun(
        &self,
        from: NamespaceId,
        settings: Settings,
        to: &SwitchTo,
    ) -> Result<Switch, Refusal> {
        if self.ids() >= NAMESPACES_MAX {
            return refuse(
                RefusalCode::TooManyNamespaces,
                format!(
                    "a switch needs a namespace more, and a cluster has at most {NAMESPACES_MAX}"
                ),
            );
        }
        let epoch = self.epoch + 1;
        let target = NamespaceEntry {
            id: self.next_namespace,
            mode: settings.mode,
            layout: settings.layout,
            limits: settings.limits,
            quota: None,
            history_ms: settings.history_ms,
            epoch,
            recorded_since: 0,
            data_type: settings.data_type,
            topology: settings.topology,
            switch: None,
        };
        Ok(Switch {
            job: epoch,
            phase: SwitchPhase::Freezing,
            epoch,
            from,
            to: Box::new(target),
            siblings: to.siblings,
            began_ms: to.began_ms,
            keys: 0,
        })
    }

    pub(super) fn step_switch(
        &mut self,
        name: &str,
        job: u64,
        step: &SwitchStep,
    ) -> Result<Change, Refusal> {
        let Some(entry) = self.namespaces.get(name) else { return unknown(name) };
        let Some(switch) = entry.switch.as_ref().filter(|switch| switch.job == job) else {
            return refuse(
                RefusalCode::NotSwitching,
                format!("no such switch of namespace {name} is under way"),
            );
        };
        let epoch = self.epoch + 1;
        let mut next = entry.clone();
        let mut to = switch.clone();
        to.epoch = epoch;
        to.phase = match (step, &switch.phase) {
            (SwitchStep::Copy, SwitchPhase::Freezing) => SwitchPhase::Copying,
            (SwitchStep::Seal { keys }, SwitchPhase::Copying) => {
                to.keys = *keys;
                SwitchPhase::Sealing
            }
            (SwitchStep::Finish, SwitchPhase::Sealing) => {
                next = NamespaceEntry { epoch, ..(*switch.to).clone() };
                self.doomed.insert(switch.from, epoch);
                SwitchPhase::Done
            }
            (SwitchStep::Stop { reason }, _) if switch.is_active() => {
                next.epoch = epoch;
                self.doomed.insert(switch.to.id, epoch);
                let reason: String = reason.chars().take(SWITCH_REASON_BYTES_MAX / 4).collect();
                SwitchPhase::Stopped { reason }
            }
            (SwitchStep::Copy, SwitchPhase::Copying)
            | (SwitchStep::Seal { .. }, SwitchPhase::Sealing)
            | (SwitchStep::Finish, SwitchPhase::Done)
            | (SwitchStep::Stop { .. }, SwitchPhase::Stopped { .. }) => return Ok(Change::None),
            _ => {
                return refuse(
                    RefusalCode::NotSwitching,
                    format!("the switch of namespace {name} is not where this step begins"),
                );
            }
        };
        next.switch = Some(to);
        self.namespaces.insert(name.to_owned(), next);
        Ok(Change::Made)
    }

    /// How many ids are in use, or not free of rows yet.
    pub(super) fn ids(&self) -> usize {
        self.entries().count() + self.doomed.len()
    }
}

#[cfg(test)]
mod tests;
