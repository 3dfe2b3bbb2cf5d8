//! The task that keeps groups quiet: looks, vouches, hears, and does what the rules say.
//!
//! Promises: one message per node and beat, and none to a node for whose replicas there is nothing to
//! say; a node that does not answer holds up nobody else. Relies on: the rules for every decision.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, FuturesUnordered};
use parking_lot::Mutex;

use super::words::{self, Reign, Vouch, Vouched};
use super::{Act, QuietTimes, Replicas, Rules, View};
use crate::consensus::channel::QUIET;
use crate::consensus::groups::Groups;
use crate::model::{GroupId, NodeId};
use crate::peer::{Lane, PeerError, Refused};
use crate::runtime::limits::{QUIET_ANSWER_BEATS, QUIET_RENEWALS_MAX};
use crate::runtime::{Clock, Moment};

/// What a node knows of its quiet groups, shared between the task and the inbox.
#[derive(Debug)]
pub struct Quiet {
    times: QuietTimes,
    run: u64,
    rules: Mutex<Rules>,
    /// A replica is to wake sooner than the next beat, perhaps.
    hurry: tokio::sync::Notify,
}

impl Quiet {
    /// No group is quiet yet. `run` is a random number of this process.
    pub fn new(node: NodeId, run: u64, times: QuietTimes) -> Self {
        Self {
            times,
            run,
            rules: Mutex::new(Rules::new(node, times)),
            hurry: tokio::sync::Notify::new(),
        }
    }

    /// When all others last agreed that this node leads a quiet group under this vote.
    pub fn confirmed(&self, group: GroupId, reign: Reign) -> Option<Moment> {
        let confirmed = self.rules.lock().confirmed(group);
        confirmed.filter(|(of, _)| *of == reign).map(|(_, at)| at)
    }

    /// How many replicas here are quiet.
    pub fn count(&self) -> usize {
        self.rules.lock().count()
    }
}

/// Answers a node that vouches for groups that it leads.
///
/// # Errors
///
/// When its word cannot be read, or this node keeps nothing quiet.
pub fn answer(groups: &Groups, from: NodeId, body: &Bytes) -> Result<Bytes, Refused> {
    let Some(quiet) = groups.quiet() else {
        return Err(Refused::new("this node keeps no group quiet"));
    };
    let vouch = Vouch::decode(body).map_err(|error| Refused::new(error.to_string()))?;
    let now = groups.env().clock.now();
    let refused = {
        let mut rules = quiet.rules.lock();
        let (refused, acts) = rules.heard(now, (from, vouch.run), &vouch.groups, &Here(groups));
        perform(groups, &acts);
        refused
    };
    quiet.hurry.notify_one();
    Ok(words::encode_refused(&refused))
}

/// Keeps groups quiet that nobody uses, for ever.
pub async fn run(groups: Arc<Groups>) {
    let Some(quiet) = groups.quiet().cloned() else { return };
    let clock = Arc::clone(&groups.env().clock);
    let mut driver = Driver {
        groups,
        quiet,
        asked: BTreeSet::new(),
        told: BTreeSet::new(),
        asks: FuturesUnordered::new(),
    };
    let mut beat = clock.now();
    loop {
        if clock.now() >= beat {
            beat = clock.now() + driver.quiet.times.beat;
            driver.beat();
        } else {
            driver.wake();
        }
        driver.wait(&*clock, beat).await;
    }
}

/// What a node said to one that it vouched to.
struct Asked {
    peer: NodeId,
    sent: Moment,
    vouched: Vec<Vouched>,
    answer: Result<Bytes, PeerError>,
}

struct Driver {
    groups: Arc<Groups>,
    quiet: Arc<Quiet>,
    /// Nodes whose answer is still to come.
    asked: BTreeSet<NodeId>,
    /// Nodes to which something was said the last time: they must hear that it holds no more.
    told: BTreeSet<NodeId>,
    asks: FuturesUnordered<BoxFuture<'static, Asked>>,
}

impl Driver {
    /// Waits until the next beat, or until a parked replica is due, and takes answers meanwhile.
    async fn wait(&mut self, clock: &dyn Clock, beat: Moment) {
        let quiet = Arc::clone(&self.quiet);
        loop {
            let due = quiet.rules.lock().next_due();
            let until = due.map_or(beat, |due| due.min(beat));
            tokio::select! {
                () = tokio::time::sleep(until.since(clock.now())) => return,
                () = quiet.hurry.notified() => {}
                Some(asked) = self.asks.next(), if !self.asks.is_empty() => self.take(asked),
            }
        }
    }

    fn beat(&mut self) {
        let connected = |peer: &NodeId| self.groups.transport().is_connected(*peer);
        let now = self.groups.env().clock.now();
        {
            let mut rules = self.quiet.rules.lock();
            for peer in rules.guarantors() {
                if !connected(&peer) {
                    rules.broken(now, peer);
                }
            }
        }
        self.wake();
        let mut peers = self.groups.door().others();
        peers.retain(|peer| !self.asked.contains(peer));
        for peer in peers {
            let vouched = self.quiet.rules.lock().vouch(peer);
            let was_told = if vouched.is_empty() { self.told.remove(&peer) } else { true };
            if was_told {
                self.vouch(peer, vouched);
            }
        }
        let count = i64::try_from(self.quiet.count()).unwrap_or(i64::MAX);
        self.groups.metrics().quiet_groups.set(count);
    }

    fn vouch(&mut self, peer: NodeId, vouched: Vec<Vouched>) {
        if !vouched.is_empty() {
            self.told.insert(peer);
        }
        self.asked.insert(peer);
        let body = Vouch { run: self.quiet.run, groups: vouched.clone() }.encode();
        let (groups, patience) =
            (Arc::clone(&self.groups), self.quiet.times.beat * QUIET_ANSWER_BEATS);
        self.asks.push(Box::pin(async move {
            let sent = groups.env().clock.now();
            let answer = groups.transport().call(peer, QUIET, Lane::Control, body, patience).await;
            Asked { peer, sent, vouched, answer }
        }));
    }

    fn take(&mut self, asked: Asked) {
        let Asked { peer, sent, vouched, answer } = asked;
        self.asked.remove(&peer);
        let now = self.groups.env().clock.now();
        let answer = answer.map_err(|error| error.to_string());
        let refused = answer
            .and_then(|bytes| words::decode_refused(&bytes).map_err(|error| error.to_string()));
        let mut rules = self.quiet.rules.lock();
        let acts = match refused {
            Ok(refused) => rules.answered(now, (peer, sent), &vouched, &refused),
            Err(error) => {
                tracing::debug!(%peer, error, "a node did not agree that groups are quiet");
                rules.unanswered(now, peer)
            }
        };
        perform(&self.groups, &acts);
    }

    fn wake(&self) {
        let now = self.groups.env().clock.now();
        let here: Vec<GroupId> = self.groups.all().iter().map(|group| group.id()).collect();
        let mut rules = self.quiet.rules.lock();
        let acts = rules.look(now, &here, &Here(&self.groups));
        perform(&self.groups, &acts);
    }
}

/// Does what the rules said, under their lock: what they say next must find it done.
fn perform(groups: &Groups, acts: &[Act]) {
    let mut roused = Vec::new();
    for act in acts {
        let (Act::Tick(id) | Act::Park(id) | Act::Quieten(id, _) | Act::Rouse(id)) = *act;
        let Some(group) = groups.group(id) else { continue };
        match *act {
            Act::Tick(_) => group.gate().tick(true),
            Act::Park(_) => group.gate().park(),
            Act::Quieten(_, touched) => group.gate().quieten(touched),
            Act::Rouse(_) => roused.push(group),
        }
    }
    let woken = acts.iter().filter(|act| matches!(act, Act::Tick(_) | Act::Rouse(_))).count();
    groups.metrics().quiet_wakes.inc_by(u64::try_from(woken).unwrap_or(u64::MAX));
    if roused.is_empty() {
        return;
    }
    groups.env().tasks.spawn("rouse", async move {
        let all = stream::iter(roused);
        all.for_each_concurrent(QUIET_RENEWALS_MAX, |group| async move {
            group.gate().wake().await;
        })
        .await;
    });
}

/// The replicas of this node as the rules see them.
struct Here<'a>(&'a Groups);

impl Replicas for Here<'_> {
    fn view(&self, group: GroupId) -> Option<View> {
        Some(self.0.group(group)?.view())
    }

    fn others(&self, group: GroupId) -> Option<Vec<NodeId>> {
        let status = self.0.group(group)?.status();
        let all = status.voters.into_iter().chain(status.learners);
        let others: Vec<NodeId> = all.filter(|node| *node != self.0.node()).collect();
        let reached = |node: &NodeId| self.0.transport().is_connected(*node);
        others.iter().all(reached).then_some(others)
    }

    fn voters(&self, group: GroupId) -> Vec<NodeId> {
        self.0.group(group).map(|group| group.status().voters).unwrap_or_default()
    }
}
