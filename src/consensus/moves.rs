//! Replicas that move: one safe step at a time, driven from beside the leader of the system group.
//!
//! The driver asks `placement` for the next move, tells the leader of that group to do the next step
//! (add learner, wait until it has caught up, joint change), and records the finished move in the
//! catalog. Every step can be repeated: a driver that died is followed by another that asks again.
//!
//! It also writes the founding catalog and makes every node a learner of the system group, because
//! every node needs the catalog.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use openraft::EmptyNode;
use openraft::async_runtime::watch::WatchReceiver;
use serde::{Deserialize, Serialize};

use super::channel::MOVE;
use super::codec;
use super::group::Group;
use super::groups::Groups;
use super::identity::Charter;
use crate::model::{Command, GroupId, NodeId, Reply};
use crate::peer::Lane;
use crate::placement::{
    Catalog, CatalogCommand, CatalogReply, Move, MoveFacts, MoveStep, NodeState, move_step,
    next_move,
};
use crate::runtime::limits::{
    CATALOG_PROPOSE_MAX, MOVE_LAG_MAX, MOVE_REST, MOVE_STEP_MAX, MOVE_TICK,
};

/// What the leader of a group answers to "do the next step".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// The move is complete.
    Done,
    /// Not yet: ask again.
    Pending {
        /// What is under way.
        what: String,
    },
    /// This node does not lead the group.
    NotLeader {
        /// Who does, as far as it knows.
        leader: Option<NodeId>,
    },
}

/// Answers a driver's question.
pub async fn answer(groups: &Arc<Groups>, body: &Bytes) -> Bytes {
    let step = match codec::decode::<(GroupId, NodeId, NodeId)>("move", body) {
        Ok((group, from, to)) => step(groups, &Move { group, from, to }).await,
        Err(error) => Step::Pending { what: error.to_string() },
    };
    codec::encode(&step)
}

async fn step(groups: &Groups, asked: &Move) -> Step {
    let Some(group) = groups.group(asked.group).filter(|group| group.is_leader()) else {
        return Step::NotLeader { leader: groups.leader(asked.group) };
    };
    let pending = |what: String| Step::Pending { what };
    let Some(catalog) = groups.catalog().borrow().clone() else {
        return pending("no catalog yet".to_owned());
    };
    let facts = facts(&group, asked.to);
    group.gate().wake().await;
    if !is_settled(&group) {
        return pending("the last change of members is not committed yet".to_owned());
    }
    if asked.from == groups.node() {
        let fit = |v: &&NodeId| {
            **v != asked.from && group.is_close(**v) && groups.transport().is_connected(**v)
        };
        let next = facts.voters.iter().find(fit);
        let Some(next) = next else { return pending("no voter is caught up".to_owned()) };
        group.hand_over(*next).await;
        return Step::NotLeader { leader: Some(*next) };
    }
    match move_step(&catalog, asked, &facts) {
        MoveStep::Done => pending("this node's catalog is behind".to_owned()),
        MoveStep::RecordMoved => Step::Done,
        MoveStep::WaitCaughtUp => pending("the new replica catches up".to_owned()),
        MoveStep::AddLearner => {
            match group.raft().add_learner(asked.to.0, EmptyNode {}, false).await {
                Ok(_) => pending("learner added".to_owned()),
                Err(error) => pending(error.to_string()),
            }
        }
        MoveStep::ChangeMembership => {
            let Some(wanted) = asked.voters_after(&catalog) else {
                return pending("this node's catalog is behind".to_owned());
            };
            let wanted: BTreeSet<u64> = wanted.into_iter().map(|node| node.0).collect();
            match group.raft().change_membership(wanted, false).await {
                Ok(_) => pending("members changed".to_owned()),
                Err(error) => pending(error.to_string()),
            }
        }
    }
}

/// Whether the members in force are committed: one that is not may yet be undone by another leader.
fn is_settled(group: &Group) -> bool {
    let metrics = group.raft().metrics();
    let metrics = metrics.borrow_watched();
    metrics.membership_config.log_id() == metrics.committed_membership_config.log_id()
}

fn facts(group: &Group, to: NodeId) -> MoveFacts {
    let metrics = group.raft().metrics();
    let metrics = metrics.borrow_watched();
    let membership = metrics.membership_config.membership();
    let last = metrics.last_log_index.unwrap_or(0);
    let matched = metrics.replication.as_ref().and_then(|r| r.get(&to.0).copied().flatten());
    MoveFacts {
        voters: membership.voter_ids().map(NodeId).collect(),
        learners: membership.learner_ids().map(NodeId).collect(),
        joint: membership.get_joint_config().len() > 1,
        target_caught_up: matched.is_some_and(|id| last.saturating_sub(id.index) <= MOVE_LAG_MAX),
    }
}

async fn ask_leader(groups: &Arc<Groups>, next: &Move, leader: NodeId) -> Step {
    if leader == groups.node() {
        let stuck = |_elapsed| Step::Pending { what: "the group does not answer".to_owned() };
        return tokio::time::timeout(MOVE_STEP_MAX, step(groups, next)).await.unwrap_or_else(stuck);
    }
    let body = codec::encode(&(next.group, next.from, next.to));
    let answer = groups.transport().call(leader, MOVE, Lane::Data, body, MOVE_STEP_MAX).await;
    match answer {
        Ok(bytes) => codec::decode("move step", &bytes)
            .unwrap_or_else(|error| Step::Pending { what: error.to_string() }),
        Err(error) => {
            tracing::info!(group = %next.group, node = %leader, %error, "asking another replica");
            Step::NotLeader { leader: None }
        }
    }
}

/// Runs beside every replica of the system group; acts only where that leads.
pub async fn drive(groups: Arc<Groups>, charter: Charter) {
    let mut changes = groups.catalog();
    let mut pause = MOVE_TICK;
    let mut hint = None;
    loop {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            // One that is closed will never say anything: the pause paces the rest.
            Ok(()) = changes.changed() => {}
        }
        pause = MOVE_TICK;
        let Some(system) = groups.group(GroupId::SYSTEM).filter(|g| g.is_leader()) else {
            continue;
        };
        let catalog = groups.catalog().borrow().clone();
        let Some(catalog) = catalog else {
            found(&groups, &charter).await;
            continue;
        };
        let is_complete = add_learners(&system, &catalog).await;
        match next_move(&catalog) {
            Some(next) => hint = advance(&groups, &catalog, &next, hint).await,
            None if is_complete => pause = MOVE_REST,
            None => {}
        }
    }
}

async fn found(groups: &Groups, charter: &Charter) {
    let members = charter.members.iter();
    let command = CatalogCommand::Found {
        cluster: charter.cluster,
        nodes: members.map(|m| (m.node, m.address.clone(), m.incarnation)).collect(),
        groups: charter.groups,
        replicas: charter.replicas,
    };
    propose(groups, &command).await;
}

async fn propose(groups: &Groups, command: &CatalogCommand) {
    let deadline = groups.env().clock.now() + CATALOG_PROPOSE_MAX;
    let bytes = Command::Catalog(command.encode()).encode();
    match groups.propose(GroupId::SYSTEM, bytes, deadline).await {
        // Every catalog command can be repeated, and the next tick will.
        Err(error) => tracing::info!(?command, %error, "a catalog command is tried again"),
        Ok(proposed) => {
            if let Some(reason) = refusal(&proposed.reply) {
                tracing::warn!(?command, reason, "the catalog refused a command");
            }
        }
    }
}

fn refusal(reply: &Bytes) -> Option<String> {
    let Ok(Reply::Catalog(reply)) = Reply::decode(reply) else { return None };
    match CatalogReply::decode(&reply) {
        Ok(CatalogReply::Refused { reason, .. }) => Some(reason),
        Ok(CatalogReply::Done { .. } | CatalogReply::Namespace { .. }) | Err(_) => None,
    }
}

/// Lets every node receive the catalog; returns whether all of them did already.
async fn add_learners(system: &Group, catalog: &Catalog) -> bool {
    let status = system.status();
    let mut is_complete = true;
    for (node, entry) in &catalog.nodes {
        let is_member = status.voters.contains(node) || status.learners.contains(node);
        let wants = matches!(entry.state, NodeState::Active | NodeState::Joining);
        if wants && !is_member {
            is_complete = false;
            system.gate().wake().await;
            let add = system.raft().add_learner(node.0, EmptyNode {}, false);
            let Ok(added) = tokio::time::timeout(CATALOG_PROPOSE_MAX, add).await else {
                return false;
            };
            match added {
                Ok(_) => tracing::info!(%node, "now receives the catalog"),
                Err(error) => tracing::info!(%node, %error, "adding a learner is tried again"),
            }
        }
    }
    is_complete
}

/// Does one step of a move; returns who is believed to lead the moving group.
async fn advance(
    groups: &Arc<Groups>,
    catalog: &Catalog,
    next: &Move,
    hint: Option<(GroupId, NodeId)>,
) -> Option<(GroupId, NodeId)> {
    let hinted = hint.filter(|(group, _)| *group == next.group).map(|(_, node)| node);
    let replicas = catalog.groups.get(&next.group).map_or(&[][..], |g| &g.replicas);
    // Not always the same one first: a replica may answer and yet know no leader.
    let turn = usize::try_from(groups.env().rng.below(64)).unwrap_or(0);
    let in_turn = replicas.iter().copied().cycle().skip(turn).take(replicas.len());
    let reachable =
        |node: &NodeId| *node == groups.node() || groups.transport().is_connected(*node);
    let mut candidates =
        hinted.into_iter().chain(groups.leader(next.group)).chain(in_turn).filter(reachable);
    let leader = candidates.next()?;
    match ask_leader(groups, next, leader).await {
        Step::Done => {
            tracing::info!(group = %next.group, from = %next.from, to = %next.to, "replica moved");
            let (group, from, to) = (next.group, next.from, next.to);
            propose(groups, &CatalogCommand::Moved { group, from, to }).await;
            None
        }
        Step::Pending { what } => {
            tracing::debug!(group = %next.group, what, "a move goes on");
            Some((next.group, leader))
        }
        Step::NotLeader { leader } => leader.map(|node| (next.group, node)),
    }
}
