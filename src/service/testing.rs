//! A cluster of halls over one shared, truthful state: wings and network fail only on command.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::consensus::{FEED, FORWARD, GroupStatus, ProposeError, ReadError, Role, SWITCH};
use crate::model::{
    ClusterId, Command, GroupId, Incarnation, LeaseId, NodeId, OWNED_KEY, Ownership, Slot,
    SlotRange,
};
use crate::peer::{Channel, Lane, PeerError, PeerStream, Transport};
use crate::placement::{Catalog, CatalogCommand};
use crate::runtime::metrics::Metrics;
use crate::runtime::{Env, Moment};
use crate::storage::state::{Change, Digest};

use machine::Group;

use super::{ForwardService, LocalRow, Parts, Service, ServiceMetrics, Wing};

/// How the way to a node behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Open,
    Closed,
    /// The message arrives and is acted on; the answer is lost.
    Deaf,
}

mod eventual;
mod feed;
mod machine;

type RowsOfAll = BTreeMap<(GroupId, Bytes), Bytes>;

/// What a node has that stopped to apply.
#[derive(Debug)]
struct Held {
    /// As of this index.
    index: u64,
    rows: RowsOfAll,
    catalog: watch::Sender<Option<Arc<Catalog>>>,
    applied: watch::Sender<u64>,
}

#[derive(Debug)]
struct State {
    rows: RowsOfAll,
    /// What changed, and what the history still knows.
    history: Vec<(GroupId, Change)>,
    floor: u64,
    /// Replicas that have stopped to apply.
    held: BTreeMap<NodeId, Held>,
    /// Proposals that will be done and whose answer will be lost.
    lose_next: u64,
    index: u64,
    proposals: u64,
    refuse_next: Vec<ProposeError>,
    /// A group that agrees on nothing.
    silent: Option<GroupId>,
    /// Questions of scans and watches, and for the newest catalog, that went to another node.
    feeds: u64,
    ways: BTreeMap<NodeId, Way>,
    services: BTreeMap<NodeId, Service>,
    forwards: Vec<NodeId>,
    age: Option<Duration>,
}

/// What all nodes share.
#[derive(Debug)]
pub(crate) struct World {
    state: Mutex<State>,
    /// One leader for all groups.
    pub(crate) leader: watch::Sender<Option<NodeId>>,
    pub(crate) catalog: watch::Sender<Option<Arc<Catalog>>>,
    /// Changes whenever a replica may have applied more.
    applied: watch::Sender<u64>,
    /// The newest index.
    newest: watch::Sender<u64>,
}

impl World {
    /// Three nodes and eight groups; node 1 leads everything.
    pub(crate) fn new() -> Arc<Self> {
        let nodes = (1..=3u64).map(|n| (NodeId(n), format!("127.0.0.1:710{n}"), Incarnation(n)));
        let mut catalog = Catalog::unfounded();
        let found = CatalogCommand::Found {
            cluster: ClusterId(7),
            nodes: nodes.collect(),
            groups: 8,
            replicas: 3,
        };
        drop(catalog.apply(&found));
        let world = Arc::new(Self {
            state: Mutex::new(State {
                rows: BTreeMap::new(),
                history: Vec::new(),
                floor: 0,
                held: BTreeMap::new(),
                lose_next: 0,
                index: 1,
                proposals: 0,
                refuse_next: Vec::new(),
                silent: None,
                feeds: 0,
                ways: BTreeMap::new(),
                services: BTreeMap::new(),
                forwards: Vec::new(),
                age: Some(Duration::from_millis(20)),
            }),
            leader: watch::Sender::new(Some(NodeId(1))),
            catalog: watch::Sender::new(Some(Arc::new(catalog))),
            applied: watch::Sender::new(0),
            newest: watch::Sender::new(1),
        });
        world.own(1, 0, Slot::COUNT - 1);
        world
    }

    /// A hall on a node; `hosts` says whether the node has replicas.
    pub(crate) fn service(self: &Arc<Self>, node: u64, hosts: bool) -> Service {
        let node = NodeId(node);
        let service = Service::new(Parts {
            env: Env::system(),
            node,
            wing: Arc::new(FakeWing { node, hosts, world: Arc::clone(self) }),
            eventual: Arc::new(super::eventual::NoShards::default()),
            transport: Arc::new(FakeTransport { world: Arc::clone(self), node }),
            metrics: ServiceMetrics::new(&Metrics::default()),
            health: Box::new(|| None),
        });
        self.state.lock().services.insert(node, service.clone());
        service
    }

    /// Says what all groups own: of what the catalog gives them, the slots in these bounds.
    pub(crate) fn own(&self, epoch: u64, first: u16, last: u16) {
        let slot = |n| Slot::new(n).unwrap();
        let bound = |range: &SlotRange| SlotRange {
            first: range.first.max(slot(first)),
            last: range.last.min(slot(last)),
        };
        let catalog = self.catalog.borrow().clone().unwrap();
        for (group, entry) in &catalog.groups {
            let ranges = entry.ranges.iter().map(bound).filter(|r| r.first <= r.last).collect();
            let row = Ownership { ranges, epoch }.encode();
            let key = (*group, Bytes::from_static(OWNED_KEY));
            self.state.lock().rows.insert(key, row);
        }
    }

    /// Changes the catalog behind the system group's back.
    pub(crate) fn edit_catalog(&self, edit: impl FnOnce(&mut Catalog)) {
        let mut catalog = self.catalog.borrow().as_deref().unwrap().clone();
        edit(&mut catalog);
        self.catalog.send_replace(Some(Arc::new(catalog)));
    }

    /// Has a node's replicas apply nothing any more, those of the system group included.
    pub(crate) fn hold(&self, node: u64) {
        let mut state = self.state.lock();
        let catalog = watch::Sender::new(self.catalog.borrow().clone());
        let (index, rows) = (state.index, state.rows.clone());
        let kept = Held { index, rows, catalog, applied: watch::Sender::new(index) };
        state.held.insert(NodeId(node), kept);
    }

    /// Has a node's replicas catch up.
    pub(crate) fn release(&self, node: u64) {
        let held = self.state.lock().held.remove(&NodeId(node));
        if let Some(held) = held {
            held.catalog.send_replace(self.catalog.borrow().clone());
            held.applied.send_replace(*self.newest.borrow());
        }
        self.applied.send_modify(|times| *times += 1);
    }

    /// Has the next proposals be done and their answers be lost.
    pub(crate) fn lose_next(&self, proposals: u64) {
        self.state.lock().lose_next = proposals;
    }

    pub(crate) fn set_way(&self, to: u64, way: Way) {
        self.state.lock().ways.insert(NodeId(to), way);
    }

    pub(crate) fn set_age(&self, age: Option<Duration>) {
        self.state.lock().age = age;
    }

    pub(crate) fn refuse_next(&self, error: ProposeError) {
        self.state.lock().refuse_next.push(error);
    }

    /// Has a group agree on nothing; `None`: none of them.
    pub(crate) fn silence(&self, group: Option<GroupId>) {
        self.state.lock().silent = group;
    }

    /// How many questions of feeds went from node to node.
    pub(crate) fn feeds(&self) -> u64 {
        self.state.lock().feeds
    }

    /// Commands that were agreed on.
    pub(crate) fn proposals(&self) -> u64 {
        self.state.lock().proposals
    }

    /// The nodes that requests were passed to, in order.
    pub(crate) fn forwards(&self) -> Vec<u64> {
        self.state.lock().forwards.iter().map(|node| node.0).collect()
    }
}

#[derive(Debug)]
struct FakeWing {
    node: NodeId,
    hosts: bool,
    world: Arc<World>,
}

impl FakeWing {
    fn applied_here(&self) -> u64 {
        let state = self.world.state.lock();
        state.held.get(&self.node).map_or(state.index, |held| held.index)
    }

    fn leads(&self) -> Result<(), Option<NodeId>> {
        let leader = *self.world.leader.borrow();
        if leader == Some(self.node) { Ok(()) } else { Err(leader) }
    }
}

impl FakeWing {
    /// The command, done.
    fn propose_now(&self, group: GroupId, command: &Bytes) -> Result<(Bytes, u64), ProposeError> {
        if !self.hosts {
            return Err(ProposeError::NotHere);
        }
        self.leads().map_err(|leader| ProposeError::NotLeader { leader })?;
        let mut state = self.world.state.lock();
        if state.silent == Some(group) {
            return Err(ProposeError::Overloaded);
        }
        if let Some(error) = state.refuse_next.pop() {
            return Err(error);
        }
        state.proposals += 1;
        state.index += 1;
        let index = state.index;
        let command = Command::decode(command).unwrap();
        // With no catalog known there is nobody to ask for one either.
        let known = self.world.catalog.borrow().clone();
        let mut catalog = known.as_deref().cloned().unwrap_or_else(Catalog::unfounded);
        let State { rows, history, .. } = &mut *state;
        let reply = Group { rows, history, id: group, index }.apply(&command, &mut catalog);
        if known.is_some_and(|known| known.epoch != catalog.epoch) {
            self.world.catalog.send_replace(Some(Arc::new(catalog)));
        }
        drop(state);
        self.world.newest.send_replace(index);
        self.world.applied.send_modify(|times| *times += 1);
        {
            let mut state = self.world.state.lock();
            if state.lose_next > 0 {
                state.lose_next -= 1;
                return Err(ProposeError::Unknown { reason: "the leader was deposed".into() });
            }
        }
        Ok((reply.encode(), index))
    }
}

#[async_trait]
impl Wing for FakeWing {
    async fn propose(
        &self,
        group: GroupId,
        command: Bytes,
        _: Moment,
    ) -> Result<(Bytes, u64), ProposeError> {
        let done = self.propose_now(group, &command);
        // The answer never comes as soon as the command is on its way.
        tokio::task::yield_now().await;
        done
    }

    fn lease_remaining(&self, _: GroupId, _: LeaseId) -> Option<Duration> {
        None
    }

    async fn wait_applied(
        &self,
        _: GroupId,
        index: u64,
        deadline: Moment,
    ) -> Result<(), ReadError> {
        let mut applied = self.world.applied.subscribe();
        let reached = applied.wait_for(|_| self.applied_here() >= index);
        let left = deadline.since(Env::system().clock.now());
        match tokio::time::timeout(left, reached).await {
            Ok(_) => Ok(()),
            Err(_) => Err(ReadError::TimedOut),
        }
    }

    async fn barrier(&self, _: GroupId, _: Moment) -> Result<u64, ReadError> {
        if !self.hosts {
            return Err(ReadError::NotHere);
        }
        self.leads().map_err(|leader| ReadError::NotLeader { leader })?;
        Ok(self.world.state.lock().index)
    }

    fn get(&self, group: GroupId, key: &[u8]) -> Result<LocalRow, ReadError> {
        if !self.hosts {
            return Err(ReadError::NotHere);
        }
        let state = self.world.state.lock();
        let (index, rows) = match state.held.get(&self.node) {
            Some(held) => (held.index, &held.rows),
            None => (state.index, &state.rows),
        };
        Ok(LocalRow { value: rows.get(&(group, Bytes::copy_from_slice(key))).cloned(), index })
    }

    fn leader(&self, _: GroupId) -> Option<NodeId> {
        if self.hosts { *self.world.leader.borrow() } else { None }
    }

    fn watch_leader(&self, _: GroupId) -> Option<watch::Receiver<Option<NodeId>>> {
        self.hosts.then(|| self.world.leader.subscribe())
    }

    fn staleness(&self, _: GroupId) -> Option<Duration> {
        self.world.state.lock().age
    }

    fn catalog(&self) -> watch::Receiver<Option<Arc<Catalog>>> {
        if let Some(held) = self.world.state.lock().held.get(&self.node) {
            return held.catalog.subscribe();
        }
        self.world.catalog.subscribe()
    }

    fn statuses(&self) -> Vec<GroupStatus> {
        let leader = *self.world.leader.borrow();
        let role = if leader == Some(self.node) { Role::Leader } else { Role::Follower };
        let groups = if self.hosts { 0..9 } else { 0..0 };
        groups.map(|id| status(id, leader, role)).collect()
    }

    fn digest(&self, group: GroupId, until: Moment) -> Result<Option<Digest>, ReadError> {
        if Env::system().clock.now() >= until {
            return Ok(None);
        }
        let state = self.world.state.lock();
        let rows = state.rows.keys().filter(|(of, _)| *of == group).count() as u64;
        Ok(Some(Digest { applied: state.index, rows, digest: group.0 }))
    }
}

/// A replica's status with everything at index 5 of term 2.
pub(crate) fn status(group: u64, leader: Option<NodeId>, role: Role) -> GroupStatus {
    GroupStatus {
        group: GroupId(group),
        leader,
        term: 2,
        role,
        last: Some(5),
        committed: Some(5),
        applied: Some(5),
        snapshot: None,
        purged: None,
        replication: BTreeMap::new(),
        voters: vec![NodeId(1), NodeId(2), NodeId(3)],
        learners: vec![],
        waiting: 0,
    }
}

#[derive(Debug)]
struct FakeTransport {
    world: Arc<World>,
    node: NodeId,
}

#[async_trait]
impl Transport for FakeTransport {
    async fn call(
        &self,
        to: NodeId,
        channel: Channel,
        _: Lane,
        body: Bytes,
        _: Duration,
    ) -> Result<Bytes, PeerError> {
        let (service, way) = {
            let mut state = self.world.state.lock();
            if channel == FORWARD {
                state.forwards.push(to);
            }
            state.feeds += u64::from(channel == FEED);
            let way = state.ways.get(&to).copied().unwrap_or(Way::Open);
            (state.services.get(&to).cloned(), way)
        };
        let closed = || PeerError::NotSent { reason: "no connection".into() };
        let service = service.filter(|_| way != Way::Closed).ok_or_else(closed)?;
        let inbox = ForwardService::new(service);
        let answer = if channel == FORWARD {
            inbox.handle(self.node, body).await.unwrap()
        } else if channel == FEED {
            inbox.feed(body).await.unwrap()
        } else if channel == SWITCH {
            inbox.switching(body).await.unwrap()
        } else {
            inbox.status()
        };
        match way {
            Way::Deaf => Err(PeerError::Unknown { reason: "the connection broke".into() }),
            Way::Open | Way::Closed => Ok(answer),
        }
    }

    async fn open_stream(
        &self,
        _: NodeId,
        _: Channel,
        _: Lane,
        _: Bytes,
    ) -> Result<PeerStream, PeerError> {
        Err(PeerError::NotSent { reason: "the hall opens no streams".into() })
    }

    async fn send_bulk(
        &self,
        _: NodeId,
        _: Channel,
        _: Bytes,
        _: BoxStream<'static, std::io::Result<Bytes>>,
    ) -> Result<Bytes, PeerError> {
        Err(PeerError::NotSent { reason: "the hall sends no long bodies".into() })
    }

    fn is_connected(&self, _: NodeId) -> bool {
        true
    }

    fn connected_since(&self, _: NodeId) -> Option<Moment> {
        None
    }
}
