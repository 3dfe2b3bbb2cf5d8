//! What a node stands on: its disk, its working index, its way to the others.
//!
//! Why it exists: the same node runs on a machine and in a simulation. Everything above this page is
//! the same there; what differs is said here, and nowhere else.
//!
//! Promises: `real` is what `tetrarch serve` runs on. Relies on: `storage::Disk`, `peer::Corridor`.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use super::error::AppError;
use crate::config::Config;
use crate::peer::{Corridor, Doorkeeper, Lab, PEER_PATH, PeerMetrics, PeerOptions, Peers};
use crate::runtime::{DirectoryLock, Env};
use crate::storage::Disk;
use crate::storage::disk::RealDisk;
use crate::storage::state::StateOptions;

/// Builds a node's corridor once its doorkeeper is there, with the routes that it needs at the front
/// door.
pub type BuildCorridor = Box<
    dyn FnOnce(Env, Arc<dyn Doorkeeper>, PeerMetrics) -> (Arc<dyn Corridor>, axum::Router) + Send,
>;

/// The ground under one node.
pub struct Ground {
    /// Where everything is kept that must survive.
    pub disk: Arc<dyn Disk>,
    /// Where the working index has its files. Without it the index is in memory, and log and state
    /// start no threads: whoever runs the node drives its log (`Log::drive`).
    pub index_root: Option<PathBuf>,
    /// Bounds of the state.
    pub state: StateOptions,
    /// Held as long as the node is there.
    pub lock: Option<DirectoryLock>,
    /// Where others reach the node.
    pub address: String,
    /// Its way to the others.
    pub corridor: BuildCorridor,
}

impl fmt::Debug for Ground {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ground")
            .field("disk", &self.disk)
            .field("index_root", &self.index_root)
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Ground {
    /// A data directory of this machine, and connections to the others from `listen`.
    pub(super) fn real(
        config: &Config,
        listen: SocketAddr,
        lab: Option<Arc<Lab>>,
    ) -> Result<Self, AppError> {
        let root = config.data_dir.clone();
        let directory = |source| AppError::Directory { path: root.display().to_string(), source };
        let lock = DirectoryLock::take(&root).map_err(directory)?;
        let disk = Arc::new(RealDisk::new(&root).map_err(directory)?);
        let orders = lab.as_ref().map(Lab::routes).unwrap_or_default();
        let options = PeerOptions { source: config.peer_source, lab, ..PeerOptions::default() };
        Ok(Self {
            disk,
            index_root: Some(root),
            state: StateOptions::default(),
            lock: Some(lock),
            address: config.advertised(listen),
            corridor: Box::new(move |env, doorkeeper, metrics| {
                let peers = Peers::with_options(env, doorkeeper, metrics, options);
                let doorway = peers.clone();
                let answer = move |request| async move { doorway.accept(request).await };
                let routes = axum::Router::new().route(PEER_PATH, axum::routing::get(answer));
                (Arc::new(peers), routes.merge(orders))
            }),
        })
    }
}
