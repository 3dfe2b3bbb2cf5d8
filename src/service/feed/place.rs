//! A namespace as scans and watches see it: which groups hold its keys.
//!
//! Promises: the groups are those of one epoch of the catalog. Pure.

use crate::model::{GroupId, NamespaceId};
use crate::placement::{Catalog, Layout, Mode, NamespaceEntry, slot_of};
use crate::service::cursor::{Scope, Vector};
use crate::service::error::{ErrorKind, ServiceError};
use crate::service::route::eventual;

/// A namespace and its groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::service) struct Place {
    pub(in crate::service) name: String,
    pub(in crate::service) namespace: NamespaceId,
    /// In the order of their ids.
    pub(in crate::service) groups: Vec<GroupId>,
    /// Whether changes are recorded, so that there are views and watches.
    pub(in crate::service) recorded: bool,
    /// The epoch since which no change is missing, as far as there are any.
    pub(in crate::service) recorded_since: u64,
    pub(in crate::service) cluster: u64,
    /// The epoch of the catalog that says so.
    pub(in crate::service) epoch: u64,
}

impl Place {
    /// Looks a namespace up.
    pub(in crate::service) fn of(catalog: &Catalog, name: &str) -> Result<Self, ServiceError> {
        let entry = catalog
            .namespace(name)
            .ok_or_else(|| ErrorKind::NamespaceNotFound { name: name.to_owned() })?;
        if entry.mode == Mode::Eventual {
            return Err(eventual(name).into());
        }
        Ok(Self::of_entry(catalog, name, entry))
    }

    /// The place of a linearizable namespace.
    pub(in crate::service) fn of_entry(
        catalog: &Catalog,
        name: &str,
        entry: &NamespaceEntry,
    ) -> Self {
        let groups = match entry.layout {
            Layout::Ordered => {
                catalog.group_of(slot_of(entry.id, entry.layout, b"")).into_iter().collect()
            }
            Layout::Spread => catalog
                .groups
                .iter()
                .filter(|(_, group)| !group.ranges.is_empty())
                .map(|(id, _)| *id)
                .collect(),
        };
        Self {
            name: name.to_owned(),
            namespace: entry.id,
            groups,
            recorded: entry.history_ms > 0,
            recorded_since: entry.recorded_since,
            cluster: catalog.cluster.0,
            epoch: catalog.epoch,
        }
    }

    pub(in crate::service) fn scope(&self) -> Scope {
        let (cluster, namespace) = (self.cluster, self.namespace);
        Scope { cluster, namespace, recorded_since: self.recorded_since }
    }

    /// Whether the vector speaks of these groups and no others.
    pub(in crate::service) fn covers(&self, vector: &Vector) -> bool {
        self.groups.iter().eq(vector.keys())
    }
}
