//! What scans and watches of one node share: the way to the groups, and the hub.
//!
//! Promises: what a group knows to be gone is not shown, however old the catalog here is, and that
//! there is no such namespace is said by the newest catalog only. Relies on the wing for the catalog.

use std::sync::Arc;

use crate::placement::Catalog;
use crate::runtime::{Env, Moment};

use super::error::{ErrorKind, ServiceError};
use super::feed::Reach;
use super::feed::place::Place;
use super::newest::Newest;
use super::watch::Hub;
use super::wing::Wing;

/// Scans and watches of this node.
#[derive(Debug)]
pub(super) struct Flow {
    pub(super) env: Env,
    pub(super) wing: Arc<dyn Wing>,
    pub(super) reach: Arc<dyn Reach>,
    pub(super) hub: Arc<Hub>,
    newest: Arc<Newest>,
}

impl Flow {
    /// Over these; nothing runs before the first watch.
    pub(super) fn new(
        env: Env,
        wing: Arc<dyn Wing>,
        reach: Arc<dyn Reach>,
        newest: Arc<Newest>,
    ) -> Arc<Self> {
        let hub = Hub::new(env.clone(), Arc::clone(&wing), Arc::clone(&reach));
        Arc::new(Self { env, wing, reach, hub, newest })
    }

    /// Looks a namespace up, once there is a catalog.
    pub(super) async fn place(&self, name: &str, deadline: Moment) -> Result<Place, ServiceError> {
        let catalog = self.catalog_at(0, deadline).await?;
        match Place::of(&catalog, name) {
            Err(error) if error.is_unknown_namespace() => {
                Place::of(&*self.newest.catalog(deadline).await?, name)
            }
            known => known,
        }
    }

    /// Whether the namespace is still the one that was looked up, by a catalog that is as new as what a
    /// group knew when it answered. If not, another one has its name now.
    pub(super) async fn is_still(
        &self,
        place: &Place,
        epoch: u64,
        deadline: Moment,
    ) -> Result<bool, ServiceError> {
        if epoch <= place.epoch {
            return Ok(true);
        }
        self.catalog_at(epoch, deadline).await?;
        Ok(self.place(&place.name, deadline).await?.namespace == place.namespace)
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
