//! A network inside one process, with the meaning of the real one.
//!
//! Why it exists: the simulation and tests of the rooms above need nodes that talk, links that can
//! be cut in one direction and delayed by chance, all repeatable from a seed.
//!
//! Promises: the outcomes of `Transport` as they are on a real network. What is sent into a cut link
//! waits there, as TCP sends again what nobody acknowledges: it arrives when the link is healed
//! before the nodes notice. They notice after `PEER_SILENCE_MAX`, and then the connections of the
//! pair break in both directions and what waits is lost. Order within a stream is kept. A lost
//! message takes its connection with it, as when TCP gives up: nothing is missing on a connection
//! that lives. Does not model: bandwidth, frame bounds of queues.
//!
//! Relies on: tokio's clock, which tests may pause; delays come from one seeded source, in the order
//! in which tasks run.

mod corridor;
mod link;
mod transport;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::hello::{Doorkeeper, Hello, PROTOCOL, Refusal};
use super::{Inbox, PeerError};
use crate::model::{Incarnation, NodeId};
use crate::runtime::limits::PEER_SILENCE_MAX;
use crate::runtime::{Env, Moment, Rng};

pub use corridor::MemoryCorridor;
pub use transport::MemoryTransport;

/// A doorkeeper that lets everyone in and finds everyone.
#[derive(Debug)]
pub struct OpenDoor {
    /// The node that it speaks for.
    pub node: NodeId,
}

impl Doorkeeper for OpenDoor {
    fn hello(&self) -> Hello {
        Hello {
            protocol: PROTOCOL,
            cluster: None,
            node: self.node,
            incarnation: Incarnation(self.node.0),
            address: format!("memory:{}", self.node),
            recovered_lsn: 0,
            flushed_lsn: 0,
            run: 0,
            wanted: None,
        }
    }

    fn admit(&self, _theirs: &Hello) -> Result<(), Refusal> {
        Ok(())
    }

    fn refused(&self, _by: NodeId, _refusal: &Refusal) {}

    fn address(&self, node: NodeId) -> Option<String> {
        Some(format!("memory:{node}"))
    }
}

/// A node's place in the network.
#[derive(Clone, Debug)]
struct Member {
    inbox: Arc<dyn Inbox>,
    doorkeeper: Arc<dyn Doorkeeper>,
    env: Env,
}

/// One established connection, from the node that asks to the node that answers.
#[derive(Clone, Debug)]
struct Wire {
    since: Moment,
    broken: CancellationToken,
}

#[derive(Debug, Default)]
struct Inner {
    members: BTreeMap<NodeId, Member>,
    wires: BTreeMap<(NodeId, NodeId), Wire>,
    cut: BTreeSet<(NodeId, NodeId)>,
    delay: (Duration, Duration),
    slow: BTreeMap<(NodeId, NodeId), (Duration, Duration)>,
    lost_per_million: u64,
}

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Travel {
    Takes(Duration),
    /// The link is cut.
    Waits,
    /// Its connection is broken already.
    Lost,
}

/// The network. Cheap to clone.
#[derive(Clone, Debug)]
pub struct MemoryNetwork {
    inner: Arc<Mutex<Inner>>,
    /// Wakes what waits at a cut.
    healed: Arc<Notify>,
    rng: Arc<Rng>,
}

impl MemoryNetwork {
    /// A network without delay; the seed decides the delays that are set later.
    pub fn new(seed: u64) -> Self {
        let rng = Arc::new(Rng::seeded(seed));
        Self { inner: Arc::default(), healed: Arc::default(), rng }
    }

    /// Brings a node in and returns its transport. A node of the same id that was there before is
    /// gone, as if it had been killed.
    pub fn attach(
        &self,
        env: Env,
        doorkeeper: Arc<dyn Doorkeeper>,
        inbox: Arc<dyn Inbox>,
    ) -> MemoryTransport {
        let node = doorkeeper.hello().node;
        self.detach(node);
        self.inner.lock().members.insert(node, Member { inbox, doorkeeper, env: env.clone() });
        MemoryTransport::new(self.clone(), node, env)
    }

    /// Takes a node out: its connections break at once.
    pub fn detach(&self, node: NodeId) {
        self.inner.lock().members.remove(&node);
        self.break_all(|(from, to)| from == node || to == node);
    }

    /// From now on nothing gets from one node to the other; the opposite direction stays open until
    /// the nodes notice the silence.
    pub fn cut(&self, from: NodeId, to: NodeId) {
        self.inner.lock().cut.insert((from, to));
        for pair in [(from, to), (to, from)] {
            self.break_after_silence(pair);
        }
    }

    /// Undoes a cut.
    pub fn heal(&self, from: NodeId, to: NodeId) {
        self.inner.lock().cut.remove(&(from, to));
        self.healed.notify_waiters();
    }

    /// Undoes all cuts, slow directions and losses.
    pub fn heal_all(&self) {
        let mut inner = self.inner.lock();
        inner.cut.clear();
        inner.slow.clear();
        inner.lost_per_million = 0;
        drop(inner);
        self.healed.notify_waiters();
    }

    /// Messages in one direction take a time between these two instead of the usual; `None` undoes it.
    ///
    /// # Panics
    ///
    /// When the shortest is longer than the longest.
    pub fn set_slow(&self, from: NodeId, to: NodeId, delay: Option<(Duration, Duration)>) {
        let mut inner = self.inner.lock();
        match delay {
            Some(delay) => {
                assert!(delay.0 <= delay.1, "the shortest delay is not longer than the longest");
                inner.slow.insert((from, to), delay);
            }
            None => drop(inner.slow.remove(&(from, to))),
        }
    }

    /// So many of a million messages are lost, each with the connections of its pair of nodes.
    pub fn set_loss(&self, per_million: u64) {
        self.inner.lock().lost_per_million = per_million;
    }

    /// Breaks the connections between two nodes at once, as a reset does. They connect anew.
    pub fn reset(&self, a: NodeId, b: NodeId) {
        self.break_all(|pair| pair == (a, b) || pair == (b, a));
    }

    /// Every message takes a time between these two.
    ///
    /// # Panics
    ///
    /// When the shortest is longer than the longest.
    pub fn set_delay(&self, shortest: Duration, longest: Duration) {
        assert!(shortest <= longest, "the shortest delay is not longer than the longest");
        self.inner.lock().delay = (shortest, longest);
    }

    fn break_all(&self, which: impl Fn((NodeId, NodeId)) -> bool) {
        let mut inner = self.inner.lock();
        inner.wires.retain(|pair, wire| {
            let broken = which(*pair);
            if broken {
                wire.broken.cancel();
            }
            !broken
        });
    }

    fn break_after_silence(&self, pair: (NodeId, NodeId)) {
        let (tasks, broken) = {
            let inner = self.inner.lock();
            let Some(wire) = inner.wires.get(&pair) else { return };
            let Some(member) = inner.members.get(&pair.0) else { return };
            (member.env.tasks.clone(), wire.broken.clone())
        };
        let network = self.clone();
        tasks.spawn("memory-silence", async move {
            let silence = tokio::time::sleep(PEER_SILENCE_MAX);
            if broken.run_until_cancelled(silence).await.is_some() {
                network.break_if_silent(pair, &broken);
            }
        });
    }

    fn break_if_silent(&self, (from, to): (NodeId, NodeId), broken: &CancellationToken) {
        let mut inner = self.inner.lock();
        if inner.cut.contains(&(from, to)) || inner.cut.contains(&(to, from)) {
            broken.cancel();
            if inner.wires.get(&(from, to)).is_some_and(|w| w.broken.is_cancelled()) {
                inner.wires.remove(&(from, to));
            }
        }
    }

    /// The connection from one node to another; made now if it can be.
    fn connect(&self, from: NodeId, to: NodeId) -> Result<(Wire, Member), PeerError> {
        let (ours, theirs) = {
            let inner = self.inner.lock();
            let member = |node: NodeId| {
                let gone = || PeerError::not_sent(format!("node {node} is not on the network"));
                inner.members.get(&node).cloned().ok_or_else(gone)
            };
            let (ours, theirs) = (member(from)?, member(to)?);
            if let Some(wire) = inner.wires.get(&(from, to)) {
                return Ok((wire.clone(), theirs));
            }
            if inner.cut.contains(&(from, to)) || inner.cut.contains(&(to, from)) {
                return Err(PeerError::not_sent("no connection: the link is cut"));
            }
            (ours, theirs)
        };
        // Outside the lock: a doorkeeper may ask the network.
        greet(from, to, &ours, &theirs)?;
        let fresh = Wire { since: ours.env.clock.now(), broken: CancellationToken::new() };
        let mut inner = self.inner.lock();
        if !inner.members.contains_key(&from) || !inner.members.contains_key(&to) {
            return Err(PeerError::not_sent("a node left while connecting"));
        }
        let wire = inner.wires.entry((from, to)).or_insert(fresh).clone();
        Ok((wire, theirs))
    }

    /// Waits until the next message gets on its way and says how long it travels; `None` when it
    /// never arrives.
    async fn depart(
        &self,
        (from, to): (NodeId, NodeId),
        broken: &CancellationToken,
    ) -> Option<Duration> {
        loop {
            let healed = self.healed.notified();
            tokio::pin!(healed);
            // Listen before looking, or a link healed in between would go unnoticed.
            healed.as_mut().enable();
            match self.travel(from, to) {
                Travel::Takes(time) => return Some(time),
                Travel::Waits => broken.run_until_cancelled(healed).await?,
                Travel::Lost => return None,
            }
        }
    }

    fn travel(&self, from: NodeId, to: NodeId) -> Travel {
        let ((shortest, longest), lost_per_million) = {
            let inner = self.inner.lock();
            if inner.cut.contains(&(from, to)) {
                return Travel::Waits;
            }
            let delay = inner.slow.get(&(from, to)).copied().unwrap_or(inner.delay);
            (delay, inner.lost_per_million)
        };
        if lost_per_million > 0 && self.rng.below(1_000_000) < lost_per_million {
            self.reset(from, to);
            return Travel::Lost;
        }
        let spread = u64::try_from((longest - shortest).as_nanos()).unwrap_or(u64::MAX);
        let chance = if spread == 0 { 0 } else { self.rng.below(spread) };
        Travel::Takes(shortest + Duration::from_nanos(chance))
    }
}

/// Both ends judge each other, as after an upgrade.
fn greet(from: NodeId, to: NodeId, ours: &Member, theirs: &Member) -> Result<(), PeerError> {
    if ours.doorkeeper.address(to).is_none() {
        return Err(PeerError::not_sent("no address is known"));
    }
    if let Err(refusal) = theirs.doorkeeper.admit(&ours.doorkeeper.hello()) {
        ours.doorkeeper.refused(to, &refusal);
        return Err(PeerError::not_sent(format!("refused by the peer: {refusal}")));
    }
    if let Err(refusal) = ours.doorkeeper.admit(&theirs.doorkeeper.hello()) {
        theirs.doorkeeper.refused(from, &refusal);
        return Err(PeerError::not_sent(format!("the peer is not admitted: {refusal}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_delays() {
        let delays = |seed| {
            let network = MemoryNetwork::new(seed);
            network.set_delay(Duration::from_millis(1), Duration::from_millis(100));
            let travel = |_| match network.travel(NodeId(1), NodeId(2)) {
                Travel::Takes(time) => time,
                other => panic!("{other:?}"),
            };
            (0..50).map(travel).collect::<Vec<_>>()
        };
        assert_eq!(delays(42), delays(42));
        assert_ne!(delays(42), delays(43));
        let bounds = Duration::from_millis(1)..Duration::from_millis(100);
        assert!(delays(42).iter().all(|delay| bounds.contains(delay)));
    }
}
