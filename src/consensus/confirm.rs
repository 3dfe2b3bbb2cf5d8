//! Leadership confirmed by a quorum: one small question per pair of nodes, for all groups at once.
//!
//! Why it exists: openraft confirms a leader with an empty append per group and follower, which passes
//! that group's task at both ends and waits for the follower's disk. What a read needs is less: the word
//! of a quorum that none of them has promised itself to another leader. A node can give that word for all
//! its groups from memory, in one answer.
//!
//! The argument (Raft thesis §6.4): every voter that answers "my newest promise is to you" has, when it
//! answers, not voted for a later leader. A later leader elected before the question was asked would have
//! had a quorum of promises by then, and two quorums share a voter. So whoever asked still led when it
//! asked, and all that was acknowledged before is among what it has applied: an answer leaves a leader
//! after its effect is applied, and its first entry, which it must have applied before it asks, stands
//! behind everything that earlier leaders acknowledged. No clock takes part.
//!
//! Promises: `Leads` only with such a quorum, in both halves of a joint membership. A claim that is not
//! confirmed proves nothing either way. Relies on: [`Promised`] being told of a vote before anyone is
//! answered (`log_store`), and on the membership that openraft shows being at most one change behind.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use super::channel::{self, CONFIRM};
use super::codec;
use super::groups::Groups;
use super::metrics::ConsensusMetrics;
use super::types::{LeaderId, StoredMembership};
use super::witness::Witness;
use crate::model::{GroupId, NodeId};
use crate::peer::{Lane, Refused, Transport};
use crate::runtime::Tasks;
use crate::runtime::limits::{
    BARRIER_QUEUE_MAX, CONFIRM_LINGER_MAX, CONFIRM_ROUNDS_MAX, CONFIRM_WAIT_MAX,
};
use crate::runtime::planted::{self, Bug};

/// To whom a replica has promised itself: never older than what it has told anyone.
#[derive(Clone, Debug, Default)]
pub struct Promised(Arc<Mutex<Option<LeaderId>>>);

impl Promised {
    /// Notes a vote that is about to be kept, or was found kept at the start.
    pub(super) fn note(&self, leader: LeaderId) {
        let mut promised = self.0.lock();
        *promised = (*promised).max(Some(leader));
    }

    /// The newest promise that anyone can have been told of.
    pub(super) fn newest(&self) -> Option<LeaderId> {
        *self.0.lock()
    }

    pub(super) fn is_to(&self, leader: LeaderId) -> bool {
        *self.0.lock() == Some(leader)
    }
}

/// That a replica leads, as it sees it itself.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    pub(super) group: GroupId,
    pub(super) leader: LeaderId,
    pub(super) membership: Arc<StoredMembership>,
}

/// What a quorum said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// It led when it asked.
    Leads,
    /// Nobody knows.
    Unproved,
}

/// The node's way to have its claims confirmed.
#[derive(Debug)]
pub struct Confirm {
    queue: mpsc::Sender<(Claim, oneshot::Sender<Word>)>,
}

impl Confirm {
    /// Starts asking for a node.
    pub fn start(
        node: NodeId,
        (transport, witness): (Arc<dyn Transport>, Arc<Witness>),
        tasks: &Tasks,
        metrics: ConsensusMetrics,
    ) -> Self {
        let (queue, waiting) = mpsc::channel(BARRIER_QUEUE_MAX);
        let asker = Asker {
            node,
            transport,
            witness,
            metrics,
            next: 0,
            rounds: BTreeMap::new(),
            calls: FuturesUnordered::new(),
            under_way: BTreeMap::new(),
        };
        tasks.spawn("confirm", asker.run(waiting));
        Self { queue }
    }

    /// Asks for one claim; what was said is worth nothing for a question that came later.
    pub(super) async fn ask(&self, claim: Claim) -> Word {
        let (answer, answered) = oneshot::channel();
        if self.queue.try_send((claim, answer)).is_err() {
            return Word::Unproved;
        }
        answered.await.unwrap_or(Word::Unproved)
    }
}

/// Says for each asked claim whether this node's newest promise is to that leader.
///
/// # Errors
///
/// When the question cannot be read.
pub(super) fn answer(groups: &Groups, body: &[u8]) -> Result<Bytes, Refused> {
    let asked: Vec<(GroupId, LeaderId)> =
        codec::decode("confirm question", body).map_err(|error| Refused::new(error.to_string()))?;
    let says = |(id, leader): (GroupId, LeaderId)| {
        let promised = groups.group(id).is_some_and(|group| group.promised().is_to(leader));
        promised || planted::active(Bug::ConfirmedUnlooked)
    };
    let words: Vec<bool> = asked.into_iter().map(says).collect();
    Ok(channel::stamp(groups.log().flushed_lsn(), &codec::encode(&words)))
}

/// One claim and what was said of it.
#[derive(Debug)]
struct Asked {
    claim: Claim,
    granted: BTreeSet<u64>,
    denied: BTreeSet<u64>,
    waiting: Vec<oneshot::Sender<Word>>,
}

impl Asked {
    fn new(claim: Claim) -> Self {
        let (granted, denied) = (BTreeSet::new(), BTreeSet::new());
        Self { claim, granted, denied, waiting: Vec::new() }
    }

    /// One more that claims the same. What waited long may know a membership that is several changes
    /// old, whose quorum proves nothing to one that came later; the newest serves them all.
    fn join(&mut self, claim: Claim, answer: oneshot::Sender<Word>) {
        if claim.membership.log_id() > self.claim.membership.log_id() {
            self.claim = claim;
        }
        self.waiting.push(answer);
    }

    /// What is known by now; `None` while it is open.
    fn word(&self) -> Option<Word> {
        let configs = self.claim.membership.membership().get_joint_config();
        let most = |of: &BTreeSet<u64>| of.len() / 2 + 1;
        let holds = |of: &BTreeSet<u64>| of.intersection(&self.granted).count() >= most(of);
        let open = |of: &BTreeSet<u64>| of.difference(&self.denied).count() >= most(of);
        match (configs.iter().all(holds), configs.iter().all(open)) {
            (true, _) if !configs.is_empty() => Some(Word::Leads),
            (false, true) => None,
            _ => Some(Word::Unproved),
        }
    }

    /// Tells those who wait, once there is something to tell.
    fn settle(&mut self) -> bool {
        let Some(word) = self.word() else { return false };
        for waiting in self.waiting.drain(..) {
            // The reader may have given up at its deadline.
            waiting.send(word).ok();
        }
        true
    }
}

type Key = (GroupId, LeaderId);
type Answered = (u64, NodeId, Vec<Key>, Option<Vec<bool>>);

struct Asker {
    node: NodeId,
    transport: Arc<dyn Transport>,
    witness: Arc<Witness>,
    metrics: ConsensusMetrics,
    next: u64,
    rounds: BTreeMap<u64, BTreeMap<Key, Asked>>,
    calls: FuturesUnordered<BoxFuture<'static, Answered>>,
    /// Calls under way to each node, also of rounds that others have settled.
    under_way: BTreeMap<NodeId, usize>,
}

impl Asker {
    async fn run(mut self, mut waiting: mpsc::Receiver<(Claim, oneshot::Sender<Word>)>) {
        let mut first = None;
        let mut linger = Box::pin(tokio::time::sleep(Duration::ZERO));
        loop {
            let full = self.rounds.len() >= CONFIRM_ROUNDS_MAX;
            tokio::select! {
                biased;
                Some(answered) = self.calls.next(), if !self.calls.is_empty() => {
                    self.heard(answered);
                }
                () = linger.as_mut(), if first.is_some() && !full => {
                    self.ask(first.take(), &mut waiting);
                    linger.as_mut().reset(tokio::time::Instant::now() + CONFIRM_LINGER_MAX);
                }
                claim = waiting.recv(), if first.is_none() => {
                    let Some(claim) = claim else { return };
                    first = Some(claim);
                }
            }
            if first.is_some() && self.rounds.is_empty() {
                self.ask(first.take(), &mut waiting);
                linger.as_mut().reset(tokio::time::Instant::now() + CONFIRM_LINGER_MAX);
            }
        }
    }

    /// One round for all that wait now: they asked before it begins, so it covers each.
    fn ask(
        &mut self,
        first: Option<(Claim, oneshot::Sender<Word>)>,
        waiting: &mut mpsc::Receiver<(Claim, oneshot::Sender<Word>)>,
    ) {
        let mut round: BTreeMap<Key, Asked> = BTreeMap::new();
        let mut reads = 0;
        let others = std::iter::from_fn(|| waiting.try_recv().ok());
        for (claim, answer) in first.into_iter().chain(others) {
            reads += 1;
            let key = (claim.group, claim.leader);
            let asked = round.entry(key).or_insert_with(|| Asked::new(claim.clone()));
            asked.join(claim, answer);
        }
        self.metrics.barrier_rounds.inc();
        self.metrics.barrier_reads.inc_by(reads);
        let mut questions: BTreeMap<NodeId, Vec<Key>> = BTreeMap::new();
        for (key, asked) in &mut round {
            // Whoever claims has looked at its own promise.
            asked.granted.insert(self.node.0);
            for voter in asked.claim.membership.membership().voter_ids() {
                if voter != self.node.0 {
                    questions.entry(NodeId(voter)).or_default().push(*key);
                }
            }
        }
        self.next += 1;
        for (peer, keys) in questions {
            let under_way = self.under_way.entry(peer).or_default();
            // While the others settle round after round, one that is silent would gather questions.
            if *under_way >= CONFIRM_ROUNDS_MAX {
                for key in keys {
                    if let Some(asked) = round.get_mut(&key) {
                        asked.denied.insert(peer.0);
                    }
                }
                continue;
            }
            *under_way += 1;
            let call = self.call(self.next, peer, keys);
            self.calls.push(call);
        }
        round.retain(|_, asked| !asked.settle());
        if !round.is_empty() {
            self.rounds.insert(self.next, round);
        }
    }

    fn call(&self, round: u64, peer: NodeId, keys: Vec<Key>) -> BoxFuture<'static, Answered> {
        let (transport, witness) = (Arc::clone(&self.transport), Arc::clone(&self.witness));
        Box::pin(async move {
            let body = codec::encode(&keys);
            let call = transport.call(peer, CONFIRM, Lane::Control, body, CONFIRM_WAIT_MAX);
            let words = call.await.ok().and_then(|answer| {
                let (lsn, payload) = channel::unstamp(&answer)?;
                witness.saw(peer, lsn);
                let words: Vec<bool> = codec::decode("confirm answer", &payload).ok()?;
                (words.len() == keys.len()).then_some(words)
            });
            (round, peer, keys, words)
        })
    }

    fn heard(&mut self, (id, peer, keys, words): Answered) {
        if let Some(under_way) = self.under_way.get_mut(&peer) {
            *under_way = under_way.saturating_sub(1);
        }
        let Some(round) = self.rounds.get_mut(&id) else { return };
        let silent = std::iter::repeat_n(false, keys.len()).collect();
        for (key, granted) in keys.into_iter().zip(words.unwrap_or(silent)) {
            let Some(asked) = round.get_mut(&key) else { continue };
            if granted { &mut asked.granted } else { &mut asked.denied }.insert(peer.0);
            if asked.settle() {
                round.remove(&key);
            }
        }
        if round.is_empty() {
            self.rounds.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests;
