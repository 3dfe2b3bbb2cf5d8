//! Floors: the epoch below which a group takes nothing.
//!
//! Why it exists: a node with an old catalog routes requests to what a namespace was before it was
//! deleted or changed. Promises: once [`Hall::raise`] has returned, no group that was named does, or
//! answers a linearizable read of, what was routed by a catalog older than the epoch. Relies on the
//! groups to hold the floor as a row of theirs, and on asking again to be harmless.

use futures_util::StreamExt;

use crate::model::{Command, GroupId, OWNED_KEY, Ownership};
use crate::placement::{Catalog, Layout, NamespaceEntry, slot_of};
use crate::runtime::limits::FLOORS_PARALLEL_MAX;

use super::ask::Context;
use super::error::{ErrorKind, ServiceError};
use super::forward::Work;
use super::pursue::{Plan, pursue};
use super::route::{Map, Target};
use super::{Hall, no_catalog};

/// All groups that can hold keys.
pub(super) fn holders(catalog: &Catalog) -> Vec<GroupId> {
    let holds = catalog.groups.iter().filter(|(_, entry)| !entry.ranges.is_empty());
    holds.map(|(group, _)| *group).collect()
}

/// The groups that can hold keys of a namespace.
pub(super) fn holders_of(catalog: &Catalog, entry: &NamespaceEntry) -> Vec<GroupId> {
    match entry.layout {
        Layout::Ordered => {
            let slot = slot_of(entry.id, entry.layout, b"");
            catalog.group_of(slot).into_iter().collect()
        }
        Layout::Spread => holders(catalog),
    }
}

impl Hall {
    /// Has these groups take nothing any more that was routed by a catalog older than `epoch`.
    ///
    /// # Errors
    ///
    /// When one of them cannot be brought to it in time; the others may have been.
    pub(super) async fn raise(
        &self,
        groups: Vec<GroupId>,
        epoch: u64,
        context: &Context,
    ) -> Result<(), ServiceError> {
        let missing = groups.into_iter().filter(|group| self.floor(*group) < epoch);
        let mut raised = futures_util::stream::iter(missing)
            .map(|group| self.raise_one(group, epoch, context))
            .buffer_unordered(FLOORS_PARALLEL_MAX);
        let mut last = Ok(());
        while let Some(result) = raised.next().await {
            last = last.and(result);
        }
        last
    }

    /// The floor as far as the replica here knows; the group's is no lower.
    pub(super) fn floor(&self, group: GroupId) -> u64 {
        let row = self.wing.get(group, OWNED_KEY).ok().and_then(|row| row.value);
        let owned = row.and_then(|bytes| Ownership::decode(&bytes).ok());
        owned.map_or(0, |owned| owned.epoch)
    }

    async fn raise_one(
        &self,
        group: GroupId,
        epoch: u64,
        context: &Context,
    ) -> Result<(), ServiceError> {
        let planner = |map: &Map| {
            let (_, entry) = map.place(Target::Group(group)).ok_or_else(no_catalog)?;
            let command = Command::Own { ranges: entry.ranges.clone(), epoch };
            let work = Work::Propose(command.encode());
            Ok(Plan { target: Target::Group(group), work, repeatable: true })
        };
        match pursue(self, context, &planner).await {
            Ok(_) => Ok(()),
            Err(error) => {
                let reason = format!(
                    "the change is made, but group {group} may still serve what was before: {error}"
                );
                Err(ServiceError { kind: ErrorKind::Undetermined { reason }, ..error })
            }
        }
    }
}
