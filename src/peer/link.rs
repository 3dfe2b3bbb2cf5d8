//! Our side of the connection to one node: made on first use, made again when it breaks.
//!
//! Promises: at most one connect attempt at a time; pauses between attempts grow from
//! `PEER_BACKOFF_MIN` to `PEER_BACKOFF_MAX` with jitter, so that nodes that lost the same peer do
//! not return in step; attempts go on for as long as the directory knows an address.
//! Relies on: `handshake` to connect, `connection` to carry frames.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use tokio::sync::watch;

use super::connection::Connection;
use super::handshake::{self, ConnectError, Purpose};
use super::{Doorkeeper, PeerError, PeerMetrics, PeerOptions};
use crate::model::NodeId;
use crate::runtime::limits::{
    PEER_BACKOFF_MAX, PEER_BACKOFF_MIN, PEER_CONNECT_TIMEOUT, PEER_CONNECT_WAIT_MAX,
};
use crate::runtime::{Env, Moment};

/// What a link is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// Nothing: never used, or no address is known.
    #[default]
    Idle,
    Connecting,
    Connected,
    /// Waits before the next attempt.
    Pausing,
}

/// The state of our connection to one node.
#[derive(Clone, Debug, Default)]
pub struct LinkStatus {
    phase: Phase,
    /// Since when it is up; `None` while it is down.
    pub connected_since: Option<Moment>,
    /// Why the last attempt or connection ended.
    pub last_error: Option<String>,
    /// Connections made so far, the present one included.
    pub connections: u64,
    /// Bytes that wait to be written; filled in by `Peers::status`, not by the watch.
    pub queue_bytes: usize,
}

/// What all links of a node share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) env: Env,
    pub(super) doorkeeper: Arc<dyn Doorkeeper>,
    pub(super) metrics: PeerMetrics,
    pub(super) options: PeerOptions,
}

/// Our side of the connection to one node.
#[derive(Debug)]
pub(super) struct Link {
    node: NodeId,
    shared: Arc<Shared>,
    current: RwLock<Option<Arc<Connection>>>,
    status: watch::Sender<LinkStatus>,
}

impl Link {
    pub(super) fn new(node: NodeId, shared: Arc<Shared>) -> Arc<Self> {
        Arc::new(Self {
            node,
            shared,
            current: RwLock::new(None),
            status: watch::Sender::new(LinkStatus::default()),
        })
    }

    pub(super) fn watch(&self) -> watch::Receiver<LinkStatus> {
        self.status.subscribe()
    }

    pub(super) fn status(&self) -> LinkStatus {
        let mut status = self.status.borrow().clone();
        status.queue_bytes = self.current().map_or(0, |c| c.lanes.queued_bytes());
        status
    }

    pub(super) fn current(&self) -> Option<Arc<Connection>> {
        self.current.read().clone()
    }

    /// Starts connecting unless that is under way or done.
    pub(super) fn ensure(self: &Arc<Self>) {
        let started = self.status.send_if_modified(|status| {
            let idle = status.phase == Phase::Idle;
            if idle {
                status.phase = Phase::Connecting;
            }
            idle
        });
        if started {
            let link = Arc::clone(self);
            self.shared.env.tasks.spawn("peer-link", async move { link.keep().await });
        }
    }

    /// The connection; waits a moment for an attempt that is under way.
    pub(super) async fn connection(
        self: &Arc<Self>,
        timeout: Duration,
    ) -> Result<Arc<Connection>, PeerError> {
        if let Some(connection) = self.current() {
            return Ok(connection);
        }
        self.ensure();
        let mut status = self.watch();
        // What `wait_for` returns is a read lock: held on to, it deadlocks with the next writer.
        let settled = async { drop(status.wait_for(|s| s.phase != Phase::Connecting).await) };
        let patience = timeout.min(PEER_CONNECT_WAIT_MAX);
        let waited = tokio::time::timeout(patience, settled).await;
        if waited.is_err() {
            return Err(PeerError::not_sent("the connection is still being made"));
        }
        self.current().ok_or_else(|| {
            let error = self.status.borrow().last_error.clone();
            let error = error.unwrap_or_else(|| "no connection".to_owned());
            PeerError::NotSent { reason: error }
        })
    }

    async fn keep(self: &Arc<Self>) {
        let mut pause = PEER_BACKOFF_MIN;
        loop {
            self.status.send_modify(|s| s.phase = Phase::Connecting);
            let error = match self.attempt().await {
                Ok(reason) => {
                    pause = PEER_BACKOFF_MIN;
                    reason
                }
                Err(ConnectError::NoAddress) => {
                    self.down(Phase::Idle, ConnectError::NoAddress.to_string());
                    return;
                }
                Err(error) => error.to_string(),
            };
            self.down(Phase::Pausing, error);
            tokio::time::sleep(self.jittered(pause)).await;
            pause = (pause * 2).min(PEER_BACKOFF_MAX);
        }
    }

    /// Connects and carries frames until the connection ends; returns why it did.
    async fn attempt(self: &Arc<Self>) -> Result<String, ConnectError> {
        let Shared { env, doorkeeper, metrics, options } = &*self.shared;
        let connect =
            handshake::connect(&env.tasks, doorkeeper, self.node, Purpose::Frames, options);
        let wire = tokio::time::timeout(PEER_CONNECT_TIMEOUT, connect)
            .await
            .unwrap_or(Err(ConnectError::TimedOut))?;
        let connection = Connection::new(self.node, env.clone(), options, metrics.clone());
        *self.current.write() = Some(Arc::clone(&connection));
        metrics.set_connected(self.node, true);
        metrics.count_connection(self.node);
        self.status.send_modify(|s| {
            s.phase = Phase::Connected;
            s.connected_since = Some(connection.since);
            s.connections += 1;
        });
        tracing::info!(peer = %self.node, "connected to a peer");
        Ok(connection.run(wire.reader, wire.writer, None).await)
    }

    fn down(&self, phase: Phase, error: String) {
        let was_up = self.current.write().take().is_some();
        if was_up {
            self.shared.metrics.set_connected(self.node, false);
            tracing::warn!(peer = %self.node, error, "the connection to a peer ended");
        } else {
            tracing::debug!(peer = %self.node, error, "no connection to a peer");
        }
        self.status.send_modify(|s| {
            s.phase = phase;
            s.connected_since = None;
            s.last_error = Some(error);
        });
    }

    fn jittered(&self, pause: Duration) -> Duration {
        let half = u64::try_from(pause.as_micros() / 2).unwrap_or(u64::MAX).max(1);
        Duration::from_micros(half + self.shared.env.rng.below(half))
    }
}
