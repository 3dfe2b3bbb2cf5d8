//! How the namespaces of a catalog come, change and go.
//!
//! Why it exists: a namespace is one entry of the catalog, but its rows lie in every group. So a
//! deletion only dooms it: the name is free at once, the id goes to the list of doomed ones with the
//! epoch of the deletion, each group purges its rows and then refuses whatever was routed by an
//! older epoch, and only when no group holds a row is the id forgotten ([`Purged`]).
//!
//! Promises: ids are never given twice, so that no row of a deleted namespace can turn up in a new
//! one; mode and layout never change; what is asked for and already is changes nothing; a refusal
//! says what to do. The doomed count against [`NAMESPACES_MAX`] too, so that deleting and creating
//! in a loop cannot make the catalog grow. Relies on [`change`](super::change) for the epoch.
//!
//! [`Purged`]: super::CatalogCommand::Purged

use std::collections::BTreeSet;
use std::time::Duration;

use super::catalog::{
    Catalog, DEFAULT_NAMESPACE, Layout, Mode, NamespaceEntry, NamespaceLimits, wide,
};
use super::change::{Change, Refusal, refuse};
use super::command::RefusalCode;
use super::topology::Topology;
use crate::model::NamespaceId;
use crate::model::eventual::DataType;
use crate::runtime::limits::{
    HISTORY_KEPT_MIN_MS, HISTORY_MS_MAX, KEY_BYTES_MAX, NAMESPACE_NAME_BYTES_MAX, NAMESPACES_MAX,
    VALUE_BYTES_MAX,
};
use crate::runtime::planted::{self, Bug};

/// What a namespace is created with, beside its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) mode: Mode,
    pub(super) layout: Layout,
    pub(super) limits: NamespaceLimits,
    pub(super) quota: Option<u64>,
    pub(super) history_ms: u64,
    pub(super) data_type: Option<DataType>,
    pub(super) topology: Topology,
}

/// What of a namespace shall be different.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Changed {
    pub(super) if_epoch: Option<u64>,
    pub(super) key_bytes_max: Option<u64>,
    pub(super) value_bytes_max: Option<u64>,
    pub(super) quota: Option<Option<u64>>,
    pub(super) history_ms: Option<u64>,
    pub(super) topology: Option<Topology>,
}

impl Catalog {
    /// The longest time for which any namespace keeps its history, or the least that is kept for
    /// those who wait for locks: whatever the settings, locks are always recorded.
    pub fn history_kept(&self) -> Duration {
        let longest = self.namespaces.values().map(|entry| entry.history_ms).max().unwrap_or(0);
        Duration::from_millis(longest.max(HISTORY_KEPT_MIN_MS))
    }

    /// The epoch below which no group may accept a request: of the newest deletion whose rows are
    /// not all gone. 0 when nothing is doomed.
    pub fn doomed_epoch(&self) -> u64 {
        self.doomed.values().copied().max().unwrap_or(0)
    }

    pub(super) fn create_namespace(
        &mut self,
        name: &str,
        settings: Settings,
    ) -> Result<Change, Refusal> {
        check_name(name)?;
        check_limits(settings.limits)?;
        check_history(settings.history_ms)?;
        self.check_side(&settings)?;
        if let Some(known) = self.namespaces.get(name) {
            if settings_of(known) == settings {
                return Ok(Change::None);
            }
            return refuse(
                RefusalCode::NamespaceExists,
                format!(
                    "there is a namespace {name} with other settings; change that one, or choose \
                     another name"
                ),
            );
        }
        if self.ids() >= NAMESPACES_MAX {
            return refuse(
                RefusalCode::TooManyNamespaces,
                format!(
                    "a cluster has at most {NAMESPACES_MAX} namespaces, those included whose rows \
                     are still being removed; delete one, or put keys under a prefix of their own"
                ),
            );
        }
        let mut id = self.next_namespace;
        if planted::active(Bug::DeletedNamespaceKept)
            && let Some((old, _)) = self.doomed.pop_last()
        {
            id = old;
        }
        let Settings { mode, layout, limits, quota, history_ms, data_type, topology } = settings;
        let entry = NamespaceEntry {
            id,
            mode,
            layout,
            limits,
            quota,
            history_ms,
            epoch: self.epoch + 1,
            recorded_since: 0,
            data_type,
            topology,
            switch: None,
        };
        self.namespaces.insert(name.to_owned(), entry);
        self.next_namespace = self.next_namespace.max(NamespaceId(id.0 + 1));
        Ok(Change::Made)
    }

    pub(super) fn change_namespace(
        &mut self,
        name: &str,
        changed: Changed,
    ) -> Result<Change, Refusal> {
        if let Some(history_ms) = changed.history_ms {
            check_history(history_ms)?;
        }
        let epoch = self.epoch + 1;
        let Some(entry) = self.namespaces.get(name) else { return unknown(name) };
        if entry.active_switch().is_some() {
            return refuse(
                RefusalCode::Switching,
                format!("namespace {name} is being switched; change it when that is done"),
            );
        }
        let mut next = entry.clone();
        let NamespaceLimits { key_bytes_max, value_bytes_max } = next.limits;
        next.limits = NamespaceLimits {
            key_bytes_max: changed.key_bytes_max.unwrap_or(key_bytes_max),
            value_bytes_max: changed.value_bytes_max.unwrap_or(value_bytes_max),
        };
        check_limits(next.limits)?;
        next.quota = changed.quota.unwrap_or(next.quota);
        next.history_ms = changed.history_ms.unwrap_or(next.history_ms);
        next.topology = changed.topology.unwrap_or(next.topology);
        self.check_side(&settings_of(&next))?;
        if next == *entry {
            return Ok(Change::None);
        }
        if let Some(seen) = changed.if_epoch
            && seen != entry.epoch
        {
            return refuse(
                RefusalCode::NamespaceChanged,
                format!(
                    "namespace {name} was changed at epoch {}, not {seen}: look at it again",
                    entry.epoch
                ),
            );
        }
        if entry.history_ms == 0 && next.history_ms > 0 {
            next.recorded_since = epoch;
        }
        next.epoch = epoch;
        self.namespaces.insert(name.to_owned(), next);
        Ok(Change::Made)
    }

    pub(super) fn delete_namespace(&mut self, name: &str) -> Result<Change, Refusal> {
        if name == DEFAULT_NAMESPACE {
            return refuse(
                RefusalCode::Invalid,
                format!(
                    "namespace {name} is part of every cluster and cannot be deleted; delete its \
                     keys instead"
                ),
            );
        }
        let Some(entry) = self.namespaces.remove(name) else { return unknown(name) };
        self.doomed.insert(entry.id, self.epoch + 1);
        if let Some(hidden) = entry.hidden() {
            self.doomed.insert(hidden.id, self.epoch + 1);
        }
        Ok(Change::Made)
    }

    pub(super) fn purged(&mut self, namespace: NamespaceId) -> Result<Change, Refusal> {
        if self.doomed.remove(&namespace).is_some() {
            return Ok(Change::Made);
        }
        if self.entries().any(|entry| entry.id == namespace) {
            return refuse(
                RefusalCode::Invalid,
                format!("namespace {namespace} is in use; only a deleted one can be forgotten"),
            );
        }
        if namespace.0 == 0 || namespace >= self.next_namespace {
            return refuse(
                RefusalCode::UnknownNamespace,
                format!("there never was a namespace {namespace}"),
            );
        }
        Ok(Change::None)
    }

    /// Whether the settings belong to the mode: each side refuses what only the other can keep.
    pub(super) fn check_side(&self, settings: &Settings) -> Result<(), Refusal> {
        let wrong = |reason: &str| refuse(RefusalCode::Invalid, reason);
        match (settings.mode, settings.data_type) {
            (Mode::Linearizable, None) if settings.topology == Topology::Mesh => Ok(()),
            (Mode::Linearizable, None) => {
                wrong("a linearizable namespace lives where its groups do: it takes no topology")
            }
            (Mode::Linearizable, Some(_)) => {
                wrong("a linearizable namespace holds values of any kind: it takes no type")
            }
            (Mode::Eventual, None) => {
                wrong("an eventual namespace needs a type: lww, mv, counter, set or map")
            }
            (Mode::Eventual, Some(_)) if settings.layout != Layout::Spread => {
                wrong("an eventual namespace has no order that all see: it takes no layout")
            }
            (Mode::Eventual, Some(_)) if settings.quota.is_some() => wrong(
                "no node of an eventual namespace knows what the others hold: it takes no quota",
            ),
            (Mode::Eventual, Some(_)) if settings.history_ms > 0 => {
                wrong("an eventual namespace keeps no history to watch: its history is 0s")
            }
            (Mode::Eventual, Some(_)) => settings
                .topology
                .check(&self.nodes)
                .or_else(|reason| refuse(RefusalCode::Invalid, reason)),
        }
    }

    /// What every change of the namespaces must keep.
    pub(super) fn check_namespaces(&self) -> Result<(), String> {
        let mut ids: BTreeSet<NamespaceId> = self.doomed.keys().copied().collect();
        for hidden in self.namespaces.values().filter_map(NamespaceEntry::hidden) {
            if !ids.insert(hidden.id) || self.check_side(&settings_of(hidden)).is_err() {
                return Err(format!("namespace {} is on its way to what cannot be", hidden.id));
            }
        }
        for (name, entry) in &self.namespaces {
            let wrong = |what: String| Err(format!("namespace {name}: {what}"));
            if !ids.insert(entry.id) {
                return wrong(format!("its id {} is another one's, or doomed", entry.id));
            }
            if entry.epoch == 0 || entry.epoch > self.epoch {
                return wrong(format!("changed at epoch {} of {}", entry.epoch, self.epoch));
            }
            let good = check_name(name)
                .and_then(|()| check_limits(entry.limits))
                .and_then(|()| check_history(entry.history_ms))
                .and_then(|()| self.check_side(&settings_of(entry)));
            if let Err(refusal) = good {
                return wrong(refusal.reason);
            }
        }
        if let Some(id) = ids.iter().find(|id| id.0 == 0 || **id >= self.next_namespace) {
            return Err(format!("namespace id {id} was never given"));
        }
        if let Some((id, epoch)) = self.doomed.iter().find(|(_, e)| **e == 0 || **e > self.epoch) {
            return Err(format!("namespace {id} is doomed since epoch {epoch} of {}", self.epoch));
        }
        if ids.len() > NAMESPACES_MAX {
            return Err(format!("{} namespaces, more than {NAMESPACES_MAX}", ids.len()));
        }
        if self.is_founded() && !self.namespaces.contains_key(DEFAULT_NAMESPACE) {
            return Err(format!("there is no namespace {DEFAULT_NAMESPACE}"));
        }
        Ok(())
    }
}

pub(super) fn settings_of(entry: &NamespaceEntry) -> Settings {
    Settings {
        mode: entry.mode,
        layout: entry.layout,
        limits: entry.limits,
        quota: entry.quota,
        history_ms: entry.history_ms,
        data_type: entry.data_type,
        topology: entry.topology.clone(),
    }
}

pub(super) fn unknown<T>(name: &str) -> Result<T, Refusal> {
    // Cut, so that a refusal stays small whatever was sent.
    let shown: String = name.chars().take(NAMESPACE_NAME_BYTES_MAX).collect();
    refuse(
        RefusalCode::UnknownNamespace,
        format!("there is no namespace {shown:?}; create it first, or look at the list of them"),
    )
}

fn check_name(name: &str) -> Result<(), Refusal> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let good = name.len() <= NAMESPACE_NAME_BYTES_MAX
        && name.bytes().next().is_some_and(plain)
        && name.bytes().all(|byte| plain(byte) || matches!(byte, b'.' | b'_' | b'-'));
    if good {
        return Ok(());
    }
    let shown: String = name.chars().take(NAMESPACE_NAME_BYTES_MAX).collect();
    refuse(
        RefusalCode::Invalid,
        format!(
            "{shown:?} is not a namespace's name: 1 to {NAMESPACE_NAME_BYTES_MAX} of a-z, 0-9, '.', \
             '_' and '-', beginning with a letter or digit"
        ),
    )
}

fn check_limits(limits: NamespaceLimits) -> Result<(), Refusal> {
    let NamespaceLimits { key_bytes_max: key, value_bytes_max: value } = limits;
    if !(1..=wide(KEY_BYTES_MAX)).contains(&key) {
        return refuse(
            RefusalCode::Invalid,
            format!("the longest key of a namespace has 1 to {KEY_BYTES_MAX} bytes, not {key}"),
        );
    }
    if value > wide(VALUE_BYTES_MAX) {
        return refuse(
            RefusalCode::Invalid,
            format!("the longest value has at most {VALUE_BYTES_MAX} bytes, not {value}"),
        );
    }
    Ok(())
}

pub(super) fn check_history(history_ms: u64) -> Result<(), Refusal> {
    if history_ms <= HISTORY_MS_MAX {
        return Ok(());
    }
    refuse(
        RefusalCode::Invalid,
        format!(
            "history is kept for at most {HISTORY_MS_MAX} ms, not {history_ms}; it lies in memory, \
             and older changes are better read from an export"
        ),
    )
}

#[cfg(test)]
mod tests;
