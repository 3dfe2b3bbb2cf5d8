//! The node's connections to all others: the real `Transport`.
//!
//! Promises: one connection per node pair and direction; a newer connection of a node replaces its
//! older one, so that a peer never holds more than one here besides its long bodies.
//! Relies on: a server that hands `GET /internal/peer` to `accept`, and a `Doorkeeper`.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use axum::body::Body;
use axum::http::{HeaderValue, Method, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream::BoxStream;
use parking_lot::{Mutex, RwLock};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::connection::Connection;
use super::dispatch::Desk;
use super::handshake::{self, ConnectError, PURPOSE, Purpose, UPGRADE, Wire};
use super::lanes::LaneBounds;
use super::link::{Link, Shared};
use super::{
    Channel, Corridor, Doorkeeper, Inbox, Lab, Lane, LinkStatus, PeerError, PeerMetrics,
    PeerStream, Transport, bulk,
};
use crate::model::NodeId;
use crate::runtime::limits::{
    PEER_BULK_RECEIVES_MAX, PEER_CALLS_RUNNING_MAX, PEER_CONNECT_TIMEOUT, PEER_HANDSHAKES_MAX,
    PEER_PING_EVERY, PEER_QUEUE_BYTES_MAX, PEER_QUEUE_FRAMES_MAX, PEER_SILENCE_MAX,
};
use crate::runtime::{Env, Moment};

/// Where a node takes connections of others.
pub const PEER_PATH: &str = "/internal/peer";

/// Where connections come from, and the bounds of the peer room, which tests tighten; the defaults
/// are those of `runtime::limits`.
#[derive(Clone, Debug)]
pub struct PeerOptions {
    /// Bytes that may wait in one lane.
    pub queue_bytes: usize,
    /// Frames that may wait in one lane.
    pub queue_frames: usize,
    /// Calls of one connection that run at the same time.
    pub calls_running: usize,
    /// How often a connection is asked for a sign of life.
    pub ping_every: Duration,
    /// After how long without any sign a connection is dead.
    pub silence_max: Duration,
    /// The local address from which nodes are connected to; `None` leaves it to the system.
    pub source: Option<IpAddr>,
    /// The lines of a laboratory, through which everything goes; `None` everywhere else.
    pub lab: Option<Arc<Lab>>,
}

impl Default for PeerOptions {
    fn default() -> Self {
        Self {
            queue_bytes: PEER_QUEUE_BYTES_MAX,
            queue_frames: PEER_QUEUE_FRAMES_MAX,
            calls_running: PEER_CALLS_RUNNING_MAX,
            ping_every: PEER_PING_EVERY,
            silence_max: PEER_SILENCE_MAX,
            source: None,
            lab: None,
        }
    }
}

impl PeerOptions {
    pub(super) const fn lane_bounds(&self) -> LaneBounds {
        LaneBounds { bytes: self.queue_bytes, frames: self.queue_frames }
    }
}

/// The node's connections to all others. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Peers {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    inbox: OnceLock<Arc<dyn Inbox>>,
    links: RwLock<HashMap<NodeId, Arc<Link>>>,
    /// The connections that others made to us.
    served: Mutex<HashMap<NodeId, Arc<Connection>>>,
    handshakes: Arc<Semaphore>,
    bulk_receives: Arc<Semaphore>,
}

impl Peers {
    /// Connections with the bounds of `runtime::limits`.
    pub fn new(env: Env, doorkeeper: Arc<dyn Doorkeeper>, metrics: PeerMetrics) -> Self {
        Self::with_options(env, doorkeeper, metrics, PeerOptions::default())
    }

    /// Connections with other bounds.
    pub fn with_options(
        env: Env,
        doorkeeper: Arc<dyn Doorkeeper>,
        metrics: PeerMetrics,
        options: PeerOptions,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                shared: Arc::new(Shared { env, doorkeeper, metrics, options }),
                inbox: OnceLock::new(),
                links: RwLock::default(),
                served: Mutex::default(),
                handshakes: Arc::new(Semaphore::new(PEER_HANDSHAKES_MAX)),
                bulk_receives: Arc::new(Semaphore::new(PEER_BULK_RECEIVES_MAX)),
            }),
        }
    }

    /// Says who takes the messages. Until then connections are turned away with 503.
    ///
    /// # Panics
    ///
    /// When it was said before.
    pub fn set_inbox(&self, inbox: Arc<dyn Inbox>) {
        assert!(self.inner.inbox.set(inbox).is_ok(), "the inbox of the peers is set once");
    }

    /// Starts connecting to a node, unless that is under way or done.
    pub fn ensure(&self, node: NodeId) {
        self.link(node).ensure();
    }

    /// Starts connecting to all of these nodes.
    pub fn set_peers(&self, nodes: &[NodeId]) {
        nodes.iter().for_each(|node| self.ensure(*node));
    }

    /// Ends the connections with a node, both directions: it must be judged again.
    pub fn disconnect(&self, node: NodeId) {
        if let Some(connection) = self.inner.served.lock().get(&node) {
            connection.close();
        }
        if let Some(connection) = self.current(node) {
            connection.close();
        }
    }

    /// The state of our connection to a node, as it changes.
    pub fn watch(&self, node: NodeId) -> watch::Receiver<LinkStatus> {
        self.link(node).watch()
    }

    /// The state of our connections to all nodes that were ever used.
    pub fn statuses(&self) -> Vec<(NodeId, LinkStatus)> {
        let links = self.inner.links.read();
        let mut all: Vec<_> = links.iter().map(|(node, link)| (*node, link.status())).collect();
        all.sort_unstable_by_key(|(node, _)| *node);
        all
    }

    fn link(&self, node: NodeId) -> Arc<Link> {
        if let Some(link) = self.inner.links.read().get(&node) {
            return Arc::clone(link);
        }
        let mut links = self.inner.links.write();
        let new = || Link::new(node, Arc::clone(&self.inner.shared));
        Arc::clone(links.entry(node).or_insert_with(new))
    }

    fn current(&self, node: NodeId) -> Option<Arc<Connection>> {
        self.inner.links.read().get(&node)?.current()
    }

    /// Answers `GET /internal/peer`: the connection is taken over and served until it ends.
    #[allow(
        clippy::unused_async,
        reason = "a handler is async, and so the router needs no wrapper"
    )]
    pub async fn accept(&self, mut request: Request<Body>) -> Response {
        let Some(purpose) = purpose(&request) else {
            let upgrade = [(header::UPGRADE, HeaderValue::from_static(UPGRADE))];
            let text = "this address is for other nodes only\n";
            return (StatusCode::UPGRADE_REQUIRED, upgrade, text).into_response();
        };
        let busy = || StatusCode::SERVICE_UNAVAILABLE.into_response();
        let Some(inbox) = self.inner.inbox.get().cloned() else { return busy() };
        let Ok(permit) = Arc::clone(&self.inner.handshakes).try_acquire_owned() else {
            return busy();
        };
        let upgrade = hyper::upgrade::on(&mut request);
        let peers = self.clone();
        self.inner.shared.env.tasks.spawn("peer-accept", async move {
            let greeted = async {
                let Shared { env, doorkeeper, options, .. } = &*peers.inner.shared;
                let mut wire = Wire::of_upgraded(upgrade.await?);
                let line = wire.lengthen(options.lab.as_ref(), &env.tasks);
                let node = handshake::welcome(&mut wire, &**doorkeeper).await?;
                if let Some(end) = line {
                    end.get_or_init(|| node);
                }
                Ok((wire, node))
            };
            match tokio::time::timeout(PEER_CONNECT_TIMEOUT, greeted).await {
                Ok(Ok((wire, node))) => peers.serve(wire, node, purpose, inbox, permit).await,
                Ok(Err(error)) => not_greeted(&error),
                Err(_) => not_greeted(&ConnectError::TimedOut),
            }
        });
        let headers = [
            (header::CONNECTION, HeaderValue::from_static("upgrade")),
            (header::UPGRADE, HeaderValue::from_static(UPGRADE)),
        ];
        (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
    }

    async fn serve(
        &self,
        wire: Wire,
        node: NodeId,
        purpose: Purpose,
        inbox: Arc<dyn Inbox>,
        handshake: OwnedSemaphorePermit,
    ) {
        drop(handshake);
        let Shared { env, doorkeeper, metrics, options } = &*self.inner.shared;
        if purpose == Purpose::Bulk {
            let permit = Arc::clone(&self.inner.bulk_receives).try_acquire_owned().ok();
            if permit.is_none() {
                metrics.overloaded.inc();
            }
            let received = bulk::receive(wire, options, node, inbox, permit).await;
            if let Err(reason) = received {
                tracing::warn!(peer = %node, reason, "a long body did not arrive whole");
            }
            return;
        }
        let connection = Connection::new(node, env.clone(), options, metrics.clone());
        if let Some(older) = self.inner.served.lock().insert(node, Arc::clone(&connection)) {
            older.close();
        }
        let desk = Desk::new(inbox, Arc::clone(doorkeeper), options.calls_running);
        let reason = connection.run(wire.reader, wire.writer, Some(desk)).await;
        tracing::info!(peer = %node, reason, "a peer's connection ended");
        let mut served = self.inner.served.lock();
        if served.get(&node).is_some_and(|c| Arc::ptr_eq(c, &connection)) {
            served.remove(&node);
        }
    }
}

fn not_greeted(error: &ConnectError) {
    tracing::warn!(%error, "a connection from a node was not admitted");
}

/// What the request asks for, if it is an upgrade to our protocol.
fn purpose(request: &Request<Body>) -> Option<Purpose> {
    let headers = request.headers();
    let ours = headers.get(header::UPGRADE)?.as_bytes().eq_ignore_ascii_case(UPGRADE.as_bytes());
    if request.method() != Method::GET || !ours {
        return None;
    }
    Purpose::from_name(headers.get(PURPOSE)?.as_bytes())
}

#[async_trait]
impl Transport for Peers {
    async fn call(
        &self,
        to: NodeId,
        channel: Channel,
        lane: Lane,
        body: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, PeerError> {
        if let Some(connection) = self.current(to) {
            return connection.call(channel, lane, body, timeout).await;
        }
        let clock = &self.inner.shared.env.clock;
        let started = clock.now();
        let connection = self.link(to).connection(timeout).await?;
        let left = timeout.saturating_sub(clock.now().since(started));
        connection.call(channel, lane, body, left).await
    }

    async fn open_stream(
        &self,
        to: NodeId,
        channel: Channel,
        lane: Lane,
        header: Bytes,
    ) -> Result<PeerStream, PeerError> {
        let connection = self.link(to).connection(PEER_CONNECT_TIMEOUT).await?;
        connection.open_stream(channel, lane, header)
    }

    async fn send_bulk(
        &self,
        to: NodeId,
        channel: Channel,
        header: Bytes,
        body: BoxStream<'static, io::Result<Bytes>>,
    ) -> Result<Bytes, PeerError> {
        let Shared { env, doorkeeper, options, .. } = &*self.inner.shared;
        let connect = handshake::connect(&env.tasks, doorkeeper, to, Purpose::Bulk, options);
        let wire = tokio::time::timeout(PEER_CONNECT_TIMEOUT, connect)
            .await
            .unwrap_or(Err(ConnectError::TimedOut))
            .map_err(|error| PeerError::not_sent(error.to_string()))?;
        bulk::send(wire, options, channel, header, body).await
    }

    fn is_connected(&self, to: NodeId) -> bool {
        self.current(to).is_some()
    }

    fn connected_since(&self, to: NodeId) -> Option<Moment> {
        Some(self.current(to)?.since)
    }
}

impl Corridor for Peers {
    fn set_inbox(&self, inbox: Arc<dyn Inbox>) {
        Self::set_inbox(self, inbox);
    }

    fn set_peers(&self, nodes: &[NodeId]) {
        Self::set_peers(self, nodes);
    }

    fn disconnect(&self, node: NodeId) {
        Self::disconnect(self, node);
    }
}
