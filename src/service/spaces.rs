//! Namespaces: list, describe, make, change, delete.
//!
//! Promises: a change that was answered holds at every node: no request that begins later is served
//! by what was before, whatever catalog its node has. For that the answer waits until this node's
//! catalog has the change, and until every group that could hold the namespace's keys refuses what
//! was routed before it; nothing else waits for that. Namespaces are listed and described as of now.
//! Usage is about a second old. Relies on the system group for the changes, on `floors`, on leaders
//! for deleting what a deleted namespace held.

use std::sync::Arc;
use std::time::Duration;

use crate::model::{Action, NamespaceId, Reply};
use crate::placement::{CatalogCommand, CatalogReply, Layout, Mode, NamespaceEntry, RefusalCode};
use crate::runtime::limits::{CATALOG_ECHO_MAX, USAGE_FIRST_MAX};

use super::answer::{NamespaceGone, NamespaceMade, NamespaceView};
use super::ask::{Context, NamespaceChange, NamespaceRequest};
use super::error::{ErrorKind, ServiceError};
use super::floors::{holders, holders_of};
use super::pursue::{pursue, until};
use super::route::{Map, Target};
use super::write::Answer;
use super::{Service, ceil_ms, internal};

/// What a change of the catalog came to.
struct Done {
    /// The epoch at which it is so.
    epoch: u64,
    /// Whether this change made it so.
    made: bool,
    /// The namespace, unless it is gone.
    entry: Option<NamespaceEntry>,
    replayed: bool,
}

impl Service {
    /// All namespaces, by name.
    ///
    /// # Errors
    ///
    /// When no catalog is known in time.
    pub async fn namespaces(&self, context: Context) -> Result<Vec<NamespaceView>, ServiceError> {
        let map = self.newest_map(&context).await?;
        let ids: Vec<NamespaceId> = map.catalog.namespaces.values().map(|e| e.id).collect();
        self.summed_up(&ids, &context).await;
        let namespaces = map.catalog.namespaces.iter();
        Ok(namespaces.map(|(name, entry)| self.view(&map, name, entry)).collect())
    }

    /// One namespace.
    ///
    /// # Errors
    ///
    /// When there is none of this name, or no catalog is known in time.
    pub async fn namespace(
        &self,
        name: &str,
        context: Context,
    ) -> Result<NamespaceView, ServiceError> {
        let map = self.newest_map(&context).await?;
        let entry = map.catalog.namespace(name).ok_or_else(|| not_found(name))?;
        self.summed_up(&[entry.id], &context).await;
        Ok(self.view(&map, name, entry))
    }

    /// Makes a namespace. Making the same again is harmless.
    ///
    /// # Errors
    ///
    /// `NamespaceExists` when there is one of this name with other settings.
    pub async fn create_namespace(
        &self,
        request: NamespaceRequest,
        context: Context,
    ) -> Result<NamespaceMade, ServiceError> {
        let NamespaceRequest { name, mode, layout, limits, quota, history, data_type, topology } =
            request;
        let command = CatalogCommand::CreateNamespace {
            name: name.clone(),
            mode,
            layout,
            limits,
            quota,
            history_ms: ceil_ms(history),
            data_type,
            topology,
        };
        let done = self.change_space(&name, &command, &context).await?;
        let map = self.map_of(done.epoch, &context).await?;
        // Of one of this name too, perhaps, whose deletion was never answered.
        let groups = holders(&map.catalog);
        self.hall.raise(groups, map.catalog.doomed_epoch(), &context).await?;
        self.changed(&map, &name, done, &context).await
    }

    /// Changes a namespace's settings.
    ///
    /// # Errors
    ///
    /// When there is none of this name, or the settings are refused.
    pub async fn change_namespace(
        &self,
        name: &str,
        change: NamespaceChange,
        context: Context,
    ) -> Result<NamespaceMade, ServiceError> {
        let NamespaceChange { key_bytes_max, value_bytes_max, quota, history, topology, if_epoch } =
            change;
        let command = CatalogCommand::ChangeNamespace {
            name: name.to_owned(),
            if_epoch,
            key_bytes_max,
            value_bytes_max,
            quota,
            history_ms: history.map(ceil_ms),
            topology,
        };
        let done = self.change_space(name, &command, &context).await?;
        let map = self.map_of(done.epoch, &context).await?;
        if let Some(entry) = done.entry.as_ref().filter(|entry| entry.mode == Mode::Linearizable) {
            let groups = holders_of(&map.catalog, entry);
            self.hall.raise(groups, entry.epoch, &context).await?;
        }
        let made = self.changed(&map, name, done, &context).await?;
        Ok(NamespaceMade { created: false, ..made })
    }

    /// A namespace as a change left it. That it is not there any more must not sound as if nothing
    /// had been done; whoever asks again is told what was.
    async fn changed(
        &self,
        map: &Map,
        name: &str,
        done: Done,
        context: &Context,
    ) -> Result<NamespaceMade, ServiceError> {
        let Done { made: created, entry, replayed, .. } = done;
        let now = map.catalog.namespace(name).map(|now| now.id);
        let deleted = || ErrorKind::NamespaceDeleted { name: name.to_owned() };
        let entry = entry.filter(|entry| replayed || now == Some(entry.id)).ok_or_else(deleted)?;
        self.summed_up(&[entry.id], context).await;
        Ok(NamespaceMade { view: self.view(map, name, &entry), created, replayed })
    }

    pub(super) async fn newest_map(&self, context: &Context) -> Result<Arc<Map>, ServiceError> {
        self.hall.founded(context).await?;
        self.hall.newest.catalog(context.deadline).await?;
        self.hall.founded(context).await
    }

    /// What this node knows after a change that was made in this epoch.
    async fn map_of(&self, epoch: u64, context: &Context) -> Result<Arc<Map>, ServiceError> {
        self.echo(epoch, context).await;
        let map = self.hall.founded(context).await?;
        if map.catalog.epoch < epoch {
            let reason = "the change is made, but this node has not heard of it in time".to_owned();
            return Err(ErrorKind::Undetermined { reason }.into());
        }
        Ok(map)
    }

    /// Deletes a namespace: it is gone once this returns; what it held is removed in the background.
    ///
    /// # Errors
    ///
    /// When there is none of this name, or it may not be deleted.
    pub async fn delete_namespace(
        &self,
        name: &str,
        context: Context,
    ) -> Result<NamespaceGone, ServiceError> {
        let command = CatalogCommand::DeleteNamespace { name: name.to_owned() };
        let Done { epoch, replayed, .. } = self.change_space(name, &command, &context).await?;
        let map = self.map_of(epoch, &context).await?;
        self.hall.raise(holders(&map.catalog), epoch, &context).await?;
        Ok(NamespaceGone { epoch, replayed })
    }

    /// Begins a switch to the other side, or takes one a step further; returns the epoch at which
    /// that is so, once this node knows it.
    pub(super) async fn step_switch(
        &self,
        name: &str,
        command: &CatalogCommand,
        context: &Context,
    ) -> Result<u64, ServiceError> {
        let Done { epoch, .. } = self.change_space(name, command, context).await?;
        self.map_of(epoch, context).await?;
        Ok(epoch)
    }

    /// Has the system group change the catalog.
    async fn change_space(
        &self,
        name: &str,
        command: &CatalogCommand,
        context: &Context,
    ) -> Result<Done, ServiceError> {
        self.hall.founded(context).await?;
        let once = self.hall.once(context);
        let planner = |map: &Map| {
            let action = Action::Catalog(command.encode());
            self.hall.proposal(map, Target::System, NamespaceId(0), action, Some(&once))
        };
        let answer = pursue(&self.hall, context, &planner).await?.answer()?;
        let Answer { group, by, replayed, .. } = answer;
        let Reply::Catalog(bytes) = &answer.reply else { return Err(answer.unexpected()) };
        let kind = match CatalogReply::decode(bytes) {
            Ok(CatalogReply::Done { epoch }) => {
                return Ok(Done { epoch, made: true, entry: None, replayed });
            }
            Ok(CatalogReply::Namespace { epoch, made, entry }) => {
                return Ok(Done { epoch, made, entry: Some(entry), replayed });
            }
            Ok(CatalogReply::Refused { code: RefusalCode::NamespaceExists, .. }) => {
                ErrorKind::NamespaceExists { name: name.to_owned() }
            }
            Ok(CatalogReply::Refused { code: RefusalCode::UnknownNamespace, .. }) => {
                ErrorKind::NamespaceNotFound { name: name.to_owned() }
            }
            Ok(CatalogReply::Refused { code, reason }) => ErrorKind::Refused { code, reason },
            Err(error) => return Err(internal(group, &error.to_string())),
        };
        Err(ServiceError::from(kind).about(group, Some(by)).again(replayed))
    }

    /// Waits until this node's catalog is as new: whoever asks here next finds the change.
    async fn echo(&self, epoch: u64, context: &Context) {
        let left = context.deadline.since(self.hall.env.clock.now()).min(CATALOG_ECHO_MAX);
        let known = until(self.hall.wing.catalog(), |catalog| {
            catalog.as_ref().is_some_and(|catalog| catalog.epoch >= epoch)
        });
        // The change is made whether or not this node has heard of it in time.
        drop(tokio::time::timeout(left, known).await);
    }

    /// Waits a moment for what these namespaces hold, when nobody has asked for that lately.
    async fn summed_up(&self, namespaces: &[NamespaceId], context: &Context) {
        // Half of the time at most: an answer without figures is better than none.
        let left = context.deadline.since(self.hall.env.clock.now()) / 2;
        self.hall.usage.known(namespaces, left.min(USAGE_FIRST_MAX)).await;
    }

    fn view(&self, map: &Map, name: &str, entry: &NamespaceEntry) -> NamespaceView {
        let used = self.hall.usage.of(entry.id);
        // Cells are counted as they come and go, keys are not: a set of many elements is one key.
        let held = (entry.mode == Mode::Eventual)
            .then(|| self.hall.eventual.shard(entry.id).map_or(0, |shard| shard.figures().bytes));
        let groups = match (entry.mode, entry.layout) {
            (Mode::Eventual, _) => 0,
            (_, Layout::Ordered) => 1,
            (_, Layout::Spread) => {
                map.catalog.groups.values().filter(|g| !g.ranges.is_empty()).count()
            }
        };
        NamespaceView {
            name: name.to_owned(),
            id: entry.id.0,
            mode: entry.mode,
            layout: entry.layout,
            limits: entry.limits,
            quota: entry.quota,
            history: Duration::from_millis(entry.history_ms),
            keys: used.filter(|_| held.is_none()).map(|(_, keys)| keys),
            bytes: held.or(used.map(|(bytes, _)| bytes)),
            groups: u64::try_from(groups).unwrap_or(u64::MAX),
            data_type: entry.data_type,
            topology: (entry.mode == Mode::Eventual).then(|| entry.topology.clone()),
            epoch: map.catalog.epoch,
        }
    }
}

fn not_found(name: &str) -> ServiceError {
    ErrorKind::NamespaceNotFound { name: name.to_owned() }.into()
}
