//! What scans and watches of one node share: the way to the groups, and the hub.
//!
//! Promises: a namespace that a group knows to be gone is reported as gone, however old the catalog
//! here is. Relies on the wing for the catalog.

use std::sync::Arc;

use crate::placement::Catalog;
use crate::runtime::{Env, Moment};

use super::error::{ErrorKind, ServiceError};
use super::feed::Reach;
use super::feed::place::Place;
use super::watch::Hub;
use super::wing::Wing;

/// Scans and watches of this node.
#[derive(Debug)]
pub(super) struct Flow {
    pub(super) env: Env,
    pub(super) wing: Arc<dyn Wing>,
    pub(super) reach: Arc<dyn Reach>,
    pub(super) hub: Arc<Hub>,
}

impl Flow {
    /// Over these; nothing runs before the first watch.
    pub(super) fn new(env: Env, wing: Arc<dyn Wing>, reach: Arc<dyn Reach>) -> Arc<Self> {
        let hub = Hub::new(env.clone(), Arc::clone(&wing), Arc::clone(&reach));
        Arc::new(Self { env, wing, reach, hub })
    }

    /// Looks a namespace up, once there is a catalog.
    pub(super) async fn place(&self, name: &str, deadline: Moment) -> Result<Place, ServiceError> {
        let catalog = self.catalog_at(0, deadline).await?;
        Place::of(&catalog, name)
    }

    /// Whether the namespace is still the one that was looked up, by a catalog that is as new as what a
    /// group knew when it answered.
    pub(super) async fn still_there(
        &self,
        place: &Place,
        epoch: u64,
        deadline: Moment,
    ) -> Result<(), ServiceError> {
        if epoch <= place.epoch {
            return Ok(());
        }
        let catalog = self.catalog_at(epoch, deadline).await?;
        if Place::of(&catalog, &place.name)?.namespace == place.namespace {
            return Ok(());
        }
        Err(ErrorKind::NamespaceNotFound { name: place.name.clone() }.into())
    }

    async fn catalog_at(&self, epoch: u64, deadline: Moment) -> Result<Arc<Catalog>, ServiceError> {
        let mut watch = self.wing.catalog();
        let wanted = |catalog: &Option<Arc<Catalog>>| {
            catalog.as_ref().is_some_and(|c| c.is_founded() && c.epoch >= epoch)
        };
        let patience = deadline.since(self.env.clock.now());
        let found = tokio::select! {
            found = tokio::time::timeout(patience, watch.wait_for(wanted)) => {
                found.ok().and_then(Result::ok).and_then(|catalog| catalog.clone())
            }
            () = self.env.tasks.stopping() => None,
        };
        let missing = || ErrorKind::Unavailable { reason: "this node knows no catalog yet".into() };
        found.ok_or_else(|| missing().into())
    }
}
