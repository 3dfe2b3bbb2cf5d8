//! Two nodes that can talk, over loopback or in memory, and an inbox that shows what reached it.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};

use crate::model::{ClusterId, Incarnation, NodeId};
use crate::peer::hello::PROTOCOL;
use crate::peer::{
    Channel, Doorkeeper, Hello, Inbox, MemoryNetwork, PEER_PATH, PeerMetrics, PeerOptions,
    PeerStream, Peers, Refusal, Refused, Transport,
};
use crate::runtime::Env;
use crate::runtime::metrics::Metrics;

pub(super) const A: NodeId = NodeId(1);
pub(super) const B: NodeId = NodeId(2);

/// Answers with what was asked; streams and bodies likewise.
pub(super) const ECHO: Channel = Channel(1);
/// Waits for `release`, with a body once it is whole; streams are kept unread.
pub(super) const HOLD: Channel = Channel(2);
/// Refuses.
pub(super) const REFUSE: Channel = Channel(3);

pub(super) const TIME: Duration = Duration::from_secs(20);

/// Waits until something is true.
pub(super) async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let waited = tokio::time::timeout(TIME, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    assert!(waited.await.is_ok(), "never came true: {what}");
}

/// An inbox that shows what reached it.
#[derive(Debug, Default)]
pub(super) struct Desk {
    pub(super) started: AtomicUsize,
    pub(super) released: Notify,
    pub(super) held: Mutex<Vec<PeerStream>>,
    pub(super) bulk_bytes: AtomicUsize,
    pub(super) bulk_errors: AtomicUsize,
}

#[async_trait]
impl Inbox for Desk {
    async fn call(&self, _: NodeId, channel: Channel, body: Bytes) -> Result<Bytes, Refused> {
        self.started.fetch_add(1, Ordering::SeqCst);
        match channel {
            REFUSE => Err(Refused::new("not today")),
            HOLD => {
                self.released.notified().await;
                Ok(body)
            }
            _ => Ok(body),
        }
    }

    async fn stream(&self, _: NodeId, channel: Channel, header: Bytes, mut stream: PeerStream) {
        if channel == HOLD {
            self.held.lock().push(stream);
            return;
        }
        if stream.send.send(header).await.is_err() {
            return;
        }
        while let Some(message) = stream.recv.recv().await {
            if stream.send.send(message).await.is_err() {
                return;
            }
        }
    }

    async fn bulk(
        &self,
        _: NodeId,
        channel: Channel,
        header: Bytes,
        mut body: mpsc::Receiver<io::Result<Bytes>>,
    ) -> Result<Bytes, Refused> {
        if channel == REFUSE {
            return Err(Refused::new("no room"));
        }
        let mut hash = xxhash_rust::xxh3::Xxh3::new();
        while let Some(chunk) = body.recv().await {
            match chunk {
                Ok(chunk) => {
                    hash.update(&chunk);
                    self.bulk_bytes.fetch_add(chunk.len(), Ordering::SeqCst);
                }
                Err(error) => {
                    self.bulk_errors.fetch_add(1, Ordering::SeqCst);
                    return Err(Refused::new(error.to_string()));
                }
            }
        }
        if channel == HOLD {
            self.released.notified().await;
        }
        Ok(Bytes::from(format!("{}:{:016x}", String::from_utf8_lossy(&header), hash.digest())))
    }
}

/// A doorkeeper that can be told what to think.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) node: NodeId,
    pub(super) addresses: Mutex<BTreeMap<NodeId, String>>,
    pub(super) thinks: Mutex<Result<(), Refusal>>,
    pub(super) heard: Mutex<Vec<(NodeId, Refusal)>>,
}

impl Door {
    pub(super) fn new(node: NodeId) -> Arc<Self> {
        Arc::new(Self {
            node,
            addresses: Mutex::default(),
            thinks: Mutex::new(Ok(())),
            heard: Mutex::default(),
        })
    }
}

impl Doorkeeper for Door {
    fn hello(&self) -> Hello {
        Hello {
            protocol: PROTOCOL,
            cluster: Some(ClusterId(5)),
            node: self.node,
            incarnation: Incarnation(self.node.0),
            address: String::new(),
            recovered_lsn: 0,
            flushed_lsn: 0,
            run: 1,
            wanted: None,
        }
    }

    fn admit(&self, _: &Hello) -> Result<(), Refusal> {
        self.thinks.lock().clone()
    }

    fn refused(&self, by: NodeId, refusal: &Refusal) {
        self.heard.lock().push((by, refusal.clone()));
    }

    fn address(&self, node: NodeId) -> Option<String> {
        self.addresses.lock().get(&node).cloned()
    }
}

/// A real node on a port of its own.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) peers: Peers,
    pub(super) door: Arc<Door>,
    pub(super) desk: Arc<Desk>,
    pub(super) address: String,
    pub(super) env: Env,
}

pub(super) async fn node(id: NodeId, options: PeerOptions) -> Node {
    let (env, door, desk) = (Env::system(), Door::new(id), Arc::new(Desk::default()));
    let metrics = PeerMetrics::new(&Metrics::default());
    let peers = Peers::with_options(env.clone(), door.clone(), metrics, options);
    peers.set_inbox(desk.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let accepting = peers.clone();
    let accept = axum::routing::get(move |request| async move { accepting.accept(request).await });
    let router = axum::Router::new().route(PEER_PATH, accept);
    env.tasks.spawn("test-http", async move { axum::serve(listener, router).await.unwrap() });
    Node { peers, door, desk, address, env }
}

/// Two real nodes that know each other.
pub(super) async fn nodes(options: PeerOptions) -> (Node, Node) {
    let (a, b) = (node(A, options.clone()).await, node(B, options).await);
    for node in [&a, &b] {
        let mut addresses = node.door.addresses.lock();
        addresses.insert(A, a.address.clone());
        addresses.insert(B, b.address.clone());
    }
    (a, b)
}

/// What the contract is tested on: A's transport, B's inbox, and a way to break what is between.
pub(super) struct Pair {
    pub(super) name: &'static str,
    pub(super) a: Arc<dyn Transport>,
    pub(super) desk: Arc<Desk>,
    pub(super) doors: (Arc<Door>, Arc<Door>),
    pub(super) break_now: Box<dyn Fn() + Send + Sync>,
}

async fn real() -> Pair {
    let (a, b) = nodes(PeerOptions::default()).await;
    let breaker = b.peers.clone();
    Pair {
        name: "loopback",
        a: Arc::new(a.peers),
        desk: b.desk,
        doors: (a.door, b.door),
        break_now: Box::new(move || breaker.disconnect(A)),
    }
}

fn memory() -> Pair {
    let network = MemoryNetwork::new(7);
    network.set_delay(Duration::ZERO, Duration::from_micros(300));
    let doors = (Door::new(A), Door::new(B));
    doors.0.addresses.lock().insert(B, "memory".to_owned());
    let desk = Arc::new(Desk::default());
    let a = network.attach(Env::system(), doors.0.clone(), Arc::new(Desk::default()));
    network.attach(Env::system(), doors.1.clone(), desk.clone());
    let break_now = Box::new(move || network.reset(A, B));
    Pair { name: "memory", a: Arc::new(a), desk, doors, break_now }
}

/// Both networks, one after the other.
pub(super) async fn pairs() -> [Pair; 2] {
    [real().await, memory()]
}
