//! The cluster under test: real processes, the links between them, what can be done to them.
//!
//! Promises: every process is dead and every mount gone when the value is dropped; the run says which
//! backend it used and what could not be made here, and why. Nodes are seats 1 to n with fixed
//! addresses for the whole run, whatever happens to what sits there.

mod crew;
mod damage;
mod disk;
mod founding;
mod healing;
mod links;
mod namespaces;
mod process;
mod proxy;
mod seat;
mod shim;
mod switch;
mod tools;
mod trouble;
mod view;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

use crew::Crew;
use links::Links;
use namespaces::Namespaces;
use seat::Seat;
use view::{Asks, View};

pub use damage::{DAMAGES, Damage};
pub use links::{Block, LinkCounts, Shape};
pub use shim::{ClockFault, DiskFault, ShimCounts};
pub use trouble::Miss;

/// How links between nodes are broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// A TCP proxy for each directed link, on loopback. Needs no privileges.
    Proxy,
    /// Each node in its own network namespace behind a user-space switch. Needs root.
    Namespaces,
}

/// Why a cluster could not be started or broken as asked.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// This machine or this user cannot do it; the test is skipped, with the reason in its result.
    #[error("not possible here: {0}")]
    Unavailable(String),
    /// The cluster did not do what it must.
    #[error("{0}")]
    Broken(String),
    /// The machine failed.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Why not.
        source: std::io::Error,
    },
}

impl ClusterError {
    fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        |source| Self::Io { what, source }
    }
}

/// How to start a cluster.
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    /// The server's binary.
    pub binary: PathBuf,
    /// 1 to 7 nodes.
    pub nodes: u32,
    /// Where data, logs and control files go.
    pub dir: PathBuf,
    /// How links are broken.
    pub backend: Backend,
    /// Flags of `serve` for all nodes, beyond those that say who and where they are.
    pub flags: Vec<String>,
    /// Environment of the servers, on top of an environment without any `TETRARCH_*`.
    pub environment: Vec<(String, String)>,
    /// What everything between two nodes takes on its way, always.
    pub link_delay: Duration,
    /// Each node's data on a file system of its own, so that its power can be cut. Needs root.
    pub own_disks: bool,
    /// Each node under the fault shim, so that its disk can fail and its wall clock can be moved.
    pub shim: bool,
}

/// A cluster that can be broken.
#[derive(Debug)]
pub struct Cluster {
    backend: &'static str,
    seats: BTreeMap<u32, Mutex<Seat>>,
    urls: BTreeMap<u32, String>,
    logs: Vec<(u32, PathBuf)>,
    links: Links,
    crew: Crew,
    asks: Asks,
    missing: Vec<String>,
    /// Goes after the processes in it.
    namespaces: parking_lot::Mutex<Option<Namespaces>>,
}

impl Cluster {
    /// Starts and founds a cluster, and waits until all nodes are ready and lead what they should.
    ///
    /// # Errors
    ///
    /// When the machine cannot do what was asked for, or the cluster does not come up.
    pub async fn start(options: ClusterOptions) -> Result<Arc<Self>, ClusterError> {
        founding::found(options).await.map(Arc::new)
    }

    /// Uses a cluster that others run. Nothing of it can be broken.
    ///
    /// # Errors
    ///
    /// When a node does not answer.
    pub async fn attach(urls: &[String]) -> Result<Arc<Self>, ClusterError> {
        let asks = Asks::new().map_err(ClusterError::Broken)?;
        let mut known = BTreeMap::new();
        for (number, url) in (1u32..).zip(urls) {
            let url = url.trim_end_matches('/').to_owned();
            let answered = asks.cluster(&url).await;
            answered
                .map_err(|why| ClusterError::Broken(format!("{url} does not answer: {why}")))?;
            known.insert(number, url);
        }
        Ok(Arc::new(Self {
            backend: "attached",
            seats: BTreeMap::new(),
            urls: known,
            logs: Vec::new(),
            links: Links::new(0),
            crew: Crew::default(),
            asks,
            missing: vec!["faults: the cluster is run by others".to_owned()],
            namespaces: parking_lot::Mutex::default(),
        }))
    }

    /// The nodes' numbers, from 1.
    pub fn nodes(&self) -> Vec<u32> {
        self.urls.keys().copied().collect()
    }

    /// How clients reach each node, past everything that is broken between nodes.
    pub fn urls(&self) -> BTreeMap<u32, String> {
        self.urls.clone()
    }

    /// `proxy`, `namespaces` or `attached`.
    pub fn backend(&self) -> &'static str {
        self.backend
    }

    /// The nodes' log files.
    pub fn log_files(&self) -> Vec<(u32, PathBuf)> {
        self.logs.clone()
    }

    /// What was asked for and cannot be had here, each with its reason.
    pub fn missing(&self) -> &[String] {
        &self.missing
    }

    /// Who leads each group, as the nodes that answer say; the newest term counts.
    pub async fn leaders(&self) -> BTreeMap<u64, u32> {
        let views = self.views().await;
        let mut seats = BTreeMap::new();
        for (number, seat) in &self.seats {
            seats.insert(seat.lock().await.server, *number);
        }
        let seat_of = |server: u64| match self.seats.is_empty() {
            true => u32::try_from(server).ok(),
            false => seats.get(&server).copied(),
        };
        let leaders = view::leaders(&views).into_iter();
        leaders.filter_map(|(group, server)| Some((group, seat_of(server)?))).collect()
    }

    /// The cluster as each node that answers sees it.
    async fn views(&self) -> Vec<View> {
        let asked = self.urls.values().map(|url| self.asks.cluster(url));
        futures_util::future::join_all(asked).await.into_iter().flatten().collect()
    }

    /// Ends all processes and everything that was made for them; the logs stay.
    pub async fn stop(&self) {
        for seat in self.seats.values() {
            seat.lock().await.kill().await;
        }
        self.crew.dismiss();
        for seat in self.seats.values() {
            // Data in the given directory stays for whoever looks into what went wrong.
            seat.lock().await.disk = None;
        }
        *self.namespaces.lock() = None;
    }
}

#[cfg(test)]
mod tests;
