//! One Raft group on this node: propose, read behind a barrier, hand leadership over, status.
//!
//! Promises: nothing is proposed or read linearizably except through the leader; closing refuses new
//! work before the group's task ends. Relies on: `ingress`, `barrier`, openraft.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use openraft::{Config, ServerState, SnapshotPolicy, StepDownPolicy};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::barrier::Barrier;
use super::confirm::{Claim, Confirm, Promised, Word};
use super::error::ReadError;
use super::freshness::Freshness;
use super::ingress::Ingress;
use super::log_store::LogStore;
use super::machine::Machine;
use super::metrics::ConsensusMetrics;
use super::network::NetworkFactory;
use super::quiet::gate::Gate;
use super::quiet::words::{Mark, Reign};
use super::quiet::{QuietTimes, View};
use super::status::{GroupStatus, Role};
use super::tend::deadlines::SharedDeadlines;
use super::types::{Fatal, LeaderId, Raft};
use crate::model::{GroupId, NamespaceId, NodeId};
use crate::runtime::Env;
use crate::runtime::clock::Moment;
use crate::runtime::limits::{
    self, HAND_OVER_CATCH_UP_MAX, HAND_OVER_LAG_MAX, HAND_OVER_MAX, HAND_OVER_TICK,
};
use crate::storage::state::State;

/// Times of a group, all derived from the heartbeat.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// Between two heartbeats. Must exceed the slowest usual fsync: a follower's answer waits for it.
    pub heartbeat: Duration,
    /// Entries kept behind a checkpoint, so that a follower that was briefly away needs no snapshot.
    pub keep_entries: u64,
    /// When a group that nobody uses becomes quiet; `None`: never.
    pub quiet: Option<QuietTimes>,
}

impl Timing {
    /// The openraft settings; every deviation from its defaults has its reason here.
    ///
    /// # Errors
    ///
    /// When openraft finds the settings inconsistent.
    pub fn config(self) -> Result<Arc<Config>, openraft::ConfigError> {
        let heartbeat = u64::try_from(self.heartbeat.as_millis()).unwrap_or(u64::MAX);
        let config = Config {
            cluster_name: "tetrarch".to_owned(),
            heartbeat_interval: heartbeat,
            heartbeat_min_interval: Some(heartbeat),
            election_timeout_min: heartbeat * 3,
            election_timeout_max: heartbeat * 5,
            // A node that comes back must not disturb a leader that the others follow.
            enable_pre_vote: Some(true),
            // The committed mark is not synced, so a restarted leader may have a state older than
            // what it acknowledged; it must be elected again before it may answer.
            enable_leader_restore: Some(false),
            // Leadership is moved by our own driver, to a target that it has checked.
            removed_leader_step_down: StepDownPolicy::Never,
            // `probe` does it, which knows of quiet groups.
            quorum_loss_probe_interval: None,
            snapshot_policy: SnapshotPolicy::Never,
            // The log is purged by `upkeep` alone: openraft's own purge knows another bound, and two
            // bounds that take turns would move the purge mark backwards, which openraft forbids.
            max_in_snapshot_log_to_keep: u64::MAX,
            max_payload_entries: limits::APPEND_ENTRIES_MAX,
            max_append_entries: Some(4096),
            install_snapshot_timeout: 600_000,
            log_stage_capacity: Some(1),
            backoff: "20ms 40ms 80ms ...1s".to_owned(),
            ..Config::default()
        };
        config.validate().map(Arc::new)
    }
}

/// What a group is built from.
#[derive(Debug)]
pub struct Parts {
    /// The group.
    pub id: GroupId,
    /// This node.
    pub node: NodeId,
    /// Its log.
    pub log: LogStore,
    /// Its state machine.
    pub machine: Machine,
    /// Its way to the other replicas.
    pub network: NetworkFactory,
    /// openraft's settings.
    pub config: Arc<Config>,
    /// Its applied state.
    pub state: State,
    /// How the node has its leadership confirmed.
    pub confirm: Arc<Confirm>,
    /// The wing's figures.
    pub metrics: ConsensusMetrics,
}

/// A group's replica on this node.
#[derive(Debug)]
pub struct Group {
    id: GroupId,
    node: NodeId,
    raft: Raft,
    gate: Arc<Gate>,
    ingress: Ingress,
    barrier: Barrier,
    confirm: Arc<Confirm>,
    promised: Promised,
    state: State,
    freshness: Freshness,
    leader: watch::Receiver<Option<NodeId>>,
    /// When its leases end, as its driver counts; see `tend`.
    deadlines: SharedDeadlines,
    /// Deleted namespaces of which the group holds nothing any more; see `tend::doomed`.
    emptied: Mutex<BTreeSet<NamespaceId>>,
    env: Env,
    /// Set before the group's task is stopped: its end is then no surprise.
    closing: Arc<AtomicBool>,
    /// Held while leadership is handed over: a second hand-over would let proposals go too early.
    moving: tokio::sync::Mutex<()>,
}

impl Group {
    /// Starts the replica from what its log and state hold.
    ///
    /// # Errors
    ///
    /// When openraft cannot read its storage.
    pub async fn start(parts: Parts, env: &Env) -> Result<Self, Fatal> {
        let Parts { id, node, log, machine, network, config, state, confirm, metrics } = parts;
        let (figures, promised, lease) = (metrics, log.promised(), config.election_timeout_max);
        let raft = Raft::new(node.0, config, network, log, machine).await?;
        let gate = Arc::new(Gate::new(id, raft.clone(), Duration::from_millis(lease)));
        let (leader_tx, leader) = watch::channel(None);
        let changes = figures.leader_changes.clone();
        let closing = Arc::new(AtomicBool::new(false));
        let (closed, tasks) = (Arc::clone(&closing), env.tasks.clone());
        let mut metrics = raft.server_metrics();
        env.tasks.spawn("leader watch", async move {
            loop {
                let now = metrics.borrow_watched().current_leader.map(NodeId);
                let is_new = leader_tx.send_if_modified(|seen| {
                    let is_new = *seen != now;
                    *seen = now;
                    is_new
                });
                if is_new && now.is_some() {
                    changes.inc();
                }
                if metrics.changed().await.is_err() {
                    // The group's task is gone: whoever waits for a leader should look elsewhere,
                    // and unless we stopped it, a promise was broken and the node must not go on.
                    leader_tx.send_replace(None);
                    if !closed.load(Ordering::Acquire) && !tasks.is_stopping() {
                        tasks.fail(format!("group {id} stopped by itself"));
                    }
                    return;
                }
            }
        });
        Ok(Self {
            id,
            node,
            ingress: Ingress::start(raft.clone(), Arc::clone(&gate), env, figures.clone()),
            barrier: Barrier::start(raft.clone(), Arc::clone(&gate), env, figures),
            gate,
            confirm,
            promised,
            state,
            freshness: Freshness::default(),
            raft,
            leader,
            deadlines: SharedDeadlines::default(),
            emptied: Mutex::default(),
            env: env.clone(),
            closing,
            moving: tokio::sync::Mutex::default(),
        })
    }

    /// The group's id.
    pub fn id(&self) -> GroupId {
        self.id
    }

    /// openraft's handle, for this room only.
    pub(super) fn raft(&self) -> &Raft {
        &self.raft
    }

    /// Its switch between quiet and awake.
    pub(super) fn gate(&self) -> &Gate {
        &self.gate
    }

    /// The way in for proposals.
    pub(super) fn ingress(&self) -> &Ingress {
        &self.ingress
    }

    /// How old local reads can be.
    pub(super) fn freshness(&self) -> &Freshness {
        &self.freshness
    }

    /// To whom this replica has promised itself.
    pub(super) fn promised(&self) -> &Promised {
        &self.promised
    }

    /// Waits until a read here reflects all that was acknowledged before; returns the index that it
    /// reflects at least. A leader that has applied an entry of its own has its peers' word asked for;
    /// what that does not settle, openraft does.
    ///
    /// # Errors
    ///
    /// See [`ReadError`].
    pub async fn barrier(&self, deadline: Moment) -> Result<u64, ReadError> {
        if let Some(claim) = self.claim() {
            // Before the question: whatever it confirms was acknowledged by now is applied by now.
            let applied = self.state.applied_index(self.id.0);
            // What a replica that is being freed had applied may be gone by now.
            if self.closing.load(Ordering::Acquire) {
                return Err(ReadError::NotHere);
            }
            let left = deadline.since(self.env.clock.now());
            if let Ok(Word::Leads) = tokio::time::timeout(left, self.confirm.ask(claim)).await {
                return Ok(applied);
            }
        }
        self.barrier.pass(&self.env, deadline).await
    }

    /// That this replica leads and has applied an entry of its own, as it sees it.
    fn claim(&self) -> Option<Claim> {
        if super::barrier::is_planted() {
            return None;
        }
        let (leader, membership) = {
            let metrics = self.raft.server_metrics();
            let metrics = metrics.borrow_watched();
            if metrics.state != ServerState::Leader {
                return None;
            }
            (metrics.vote.leader_id, Arc::clone(&metrics.membership_config))
        };
        let applied = self.raft.data_metrics().borrow_watched().last_applied;
        let own = applied.is_some_and(|id| id.leader_id == leader);
        let claim = Claim { group: self.id, leader, membership };
        (own && self.promised.is_to(leader)).then_some(claim)
    }

    /// Who leads, as far as this replica knows.
    pub fn leader(&self) -> Option<NodeId> {
        *self.leader.borrow()
    }

    /// Follows who leads.
    pub fn watch_leader(&self) -> watch::Receiver<Option<NodeId>> {
        self.leader.clone()
    }

    /// Whether this replica leads.
    pub fn is_leader(&self) -> bool {
        self.leader() == Some(self.node)
    }

    /// The term in which this replica leads, if it does.
    pub fn led_term(&self) -> Option<u64> {
        let metrics = self.raft.server_metrics();
        let metrics = metrics.borrow_watched();
        (metrics.state == ServerState::Leader).then_some(metrics.vote.leader_id.term)
    }

    /// When its leases end, as the driver of its upkeep counts.
    pub(super) fn deadlines(&self) -> &SharedDeadlines {
        &self.deadlines
    }

    /// Deleted namespaces of which the group is known here to hold nothing any more, for good.
    pub(super) fn emptied(&self) -> BTreeSet<NamespaceId> {
        self.emptied.lock().clone()
    }

    pub(super) fn set_emptied(&self, emptied: BTreeSet<NamespaceId>) {
        *self.emptied.lock() = emptied;
    }

    /// The last index that `target` is known to hold, if this replica leads.
    pub(super) fn matched(&self, target: NodeId) -> Option<u64> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let replication = metrics.replication.as_ref()?;
        replication.get(&target.0).copied().flatten().map(|id| id.index)
    }

    /// Whether `target` holds all that this leader holds.
    pub(super) fn is_caught_up(&self, target: NodeId) -> bool {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let matched =
            metrics.replication.as_ref().and_then(|r| r.get(&target.0).copied().flatten());
        matched.is_some() && matched.map(|id| id.index) == metrics.last_log_index
    }

    /// Whether `target` lacks so little that it can catch up while proposals are held back.
    pub(super) fn is_close(&self, target: NodeId) -> bool {
        let metrics = self.raft.metrics();
        let last = metrics.borrow_watched().last_log_index.unwrap_or(0);
        self.matched(target)
            .is_some_and(|matched| last.saturating_sub(matched) <= HAND_OVER_LAG_MAX)
    }

    /// Hands leadership to `target`: holds proposals back, waits until the target has everything,
    /// then lets openraft transfer. Returns whether the target leads now.
    ///
    /// Proposals wait meanwhile, at most [`HAND_OVER_CATCH_UP_MAX`] plus [`HAND_OVER_MAX`]; a
    /// transfer to a target that lags would block writes for a whole election.
    pub async fn hand_over(&self, target: NodeId) -> bool {
        let Ok(_one_at_a_time) = self.moving.try_lock() else { return false };
        self.ingress.pause(true);
        let result = self.hand_over_paused(target).await;
        self.ingress.pause(false);
        result
    }

    /// Hands leadership to whichever fit voter is closest, for a planned stop.
    pub async fn hand_over_to_any(&self, is_fit: impl Fn(NodeId) -> bool) -> bool {
        let voters = self.status().voters;
        let others = voters.into_iter().filter(|voter| *voter != self.node && is_fit(*voter));
        let Some(next) = others.max_by_key(|voter| self.matched(*voter)) else { return false };
        self.is_close(next) && self.hand_over(next).await
    }

    async fn hand_over_paused(&self, target: NodeId) -> bool {
        self.gate.wake().await;
        let caught_up = async {
            while !self.is_caught_up(target) {
                tokio::time::sleep(HAND_OVER_TICK).await;
            }
        };
        if tokio::time::timeout(HAND_OVER_CATCH_UP_MAX, caught_up).await.is_err() {
            return false;
        }
        if let Err(fatal) = self.raft.trigger().transfer_leader(target.0).await {
            tracing::error!(group = %self.id, error = %fatal, "the group has stopped");
            return false;
        }
        let mut leader = self.leader.clone();
        let taken = leader.wait_for(|leader| *leader == Some(target));
        matches!(tokio::time::timeout(HAND_OVER_MAX, taken).await, Ok(Ok(_)))
    }

    /// The replica's place in its group, for people and for placement.
    pub fn status(&self) -> GroupStatus {
        let metrics = self.raft.metrics();
        let m = metrics.borrow_watched();
        let membership = m.membership_config.membership();
        let replication: BTreeMap<NodeId, u64> = m
            .replication
            .iter()
            .flatten()
            .filter_map(|(node, id)| id.map(|id| (NodeId(*node), id.index)))
            .collect();
        GroupStatus {
            group: self.id,
            leader: m.current_leader.map(NodeId),
            term: m.current_term,
            role: role(m.state),
            last: m.last_log_index,
            committed: m.local_committed.map(|id| id.index),
            applied: m.last_applied.map(|id| id.index),
            snapshot: m.snapshot.map(|id| id.index),
            purged: m.purged.map(|id| id.index),
            replication,
            voters: membership.voter_ids().map(NodeId).collect(),
            learners: membership.learner_ids().map(NodeId).collect(),
            waiting: self.ingress.waiting(),
        }
    }

    /// The replica as the rules of quiet groups see it.
    pub(super) fn view(&self) -> View {
        let reign = |id: &LeaderId| Reign { term: id.term, node: NodeId(id.node_id) };
        let metrics = self.raft.metrics();
        let m = metrics.borrow_watched();
        let role = role(m.state);
        let last = m.last_log_index;
        let followers = m.replication.iter().flatten();
        let is_settled = role == Role::Leader
            && m.membership_config.membership().get_joint_config().len() == 1
            && followers.into_iter().all(|(_, at)| at.map(|id| id.index) == last)
            && self.ingress.waiting() == 0
            && self.moving.try_lock().is_ok();
        View {
            role,
            vote: reign(&m.vote.leader_id),
            is_led: m.vote.committed,
            promised: self.promised.newest().as_ref().map(reign),
            last,
            applied: m.last_applied.map(|id| Mark { reign: reign(&id.leader_id), index: id.index }),
            touched: self.gate.touched(),
            is_ticking: self.gate.is_ticking(),
            is_settled,
        }
    }

    /// Stops the replica; nothing is acknowledged afterwards.
    pub async fn stop(&self) {
        self.closing.store(true, Ordering::Release);
        self.ingress.close();
        if let Err(error) = self.raft.shutdown().await {
            tracing::warn!(group = %self.id, %error, "the group's task had already ended");
        }
    }
}

const fn role(state: ServerState) -> Role {
    match state {
        ServerState::Leader => Role::Leader,
        ServerState::Follower => Role::Follower,
        ServerState::Candidate => Role::Candidate,
        ServerState::Learner => Role::Learner,
        ServerState::Shutdown => Role::Stopped,
    }
}
