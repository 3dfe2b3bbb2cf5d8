//! The cluster under test: real processes, the links between them, what can be done to them.
//!
//! Promises: every process is dead and every mount gone when the value is dropped; the run says which
//! backend it used and what could not be made here, and why.

use std::path::PathBuf;

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
    /// Each node's data on a file system of its own, so that its power can be cut. Needs root.
    pub own_disks: bool,
    /// Each node under the fault shim, so that its disk can fail and its wall clock can be moved.
    pub shim: bool,
}
