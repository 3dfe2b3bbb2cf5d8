//! Local nodes as child processes of this one.
//!
//! Why it exists: `tetrarch dev` and `tetrarch bench compare` both run whole clusters of real
//! processes, which can be killed, and which must never outlive who started them.
//!
//! Promises: a child is `tetrarch serve` of the same executable; it ends when its starter ends, however
//! that happens (its standard input is held open by the starter); its output is kept in a file.
//! Relies on: `serve --stop-with-stdin`.

mod child;

use std::path::PathBuf;

pub use child::{Birth, Child};

use crate::client::{Client, ClientError};
use crate::runtime::{Env, limits};

/// Why nodes could not be run.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// This program does not know where it is.
    #[error("this executable is not found: {0}")]
    Executable(std::io::Error),
    /// A file could not be used.
    #[error("{} cannot be written: {source}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A process could not be started, or asked how it is.
    #[error("node {node}: {source}")]
    Process {
        /// Whose.
        node: u64,
        /// Why.
        source: std::io::Error,
    },
    /// A node ended that should not.
    #[error("{0}")]
    Ended(String),
    /// Nodes did not become ready.
    #[error("not ready within {seconds} s: {nodes}")]
    NotReady {
        /// How long was waited.
        seconds: u64,
        /// Which ones, with their logs.
        nodes: String,
    },
    /// A port for a node.
    #[error("no port is free: {0}")]
    Port(std::io::Error),
    /// A node did not do as told.
    #[error("node {node} does not do as told: {source}")]
    Disobeyed {
        /// Which one.
        node: u64,
        /// Its answer.
        source: ClientError,
    },
}

/// Waits until every child answers that it is ready.
///
/// # Errors
///
/// When one ended, or the time is up.
pub async fn wait_ready(
    clients: &[Client],
    children: &mut [Child],
    env: &Env,
) -> Result<(), FleetError> {
    let seconds = limits::DEV_READY_SECONDS;
    let deadline = env.clock.now() + std::time::Duration::from_secs(seconds);
    loop {
        for child in children.iter_mut() {
            if let Some(how) = child.ended()? {
                return Err(FleetError::Ended(child.obituary(&how)));
            }
        }
        let asked = clients
            .iter()
            .flat_map(|client| client.endpoints().iter().map(move |url| client.ready(url)));
        let answers = futures_util::future::join_all(asked).await;
        if answers.iter().all(|ready| *ready) {
            return Ok(());
        }
        if env.clock.now() > deadline {
            let late: Vec<_> = children
                .iter()
                .zip(&answers)
                .filter(|(_, ready)| !**ready)
                .map(|(child, _)| format!("node {} (log: {})", child.node, child.log.display()))
                .collect();
            return Err(FleetError::NotReady { seconds, nodes: late.join(", ") });
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}
