//! What should move next: pure decisions over observed facts.
//!
//! Promises: [`transfers`] hands leadership only to a target that has the whole log, can be reached
//! and has been so for a while, and only a few groups at a time, so that writes never stall for
//! tidiness; [`next_move`] and [`move_step`] lead every replica of a replaced node to its
//! replacement, group 0 first, one at a time, and may be asked again after any crash. Relies on the
//! driver for true facts, and to execute one step and then ask again.

use std::collections::BTreeSet;

use super::catalog::{Catalog, NodeState};
use crate::model::{GroupId, NodeId};

/// A group that this node leads although another one is preferred, with what is known of that one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Led {
    /// The group.
    pub group: GroupId,
    /// The replica that should lead it.
    pub preferred: NodeId,
    /// Whether that replica has the whole log.
    pub target_matched: bool,
    /// Whether it can be reached.
    pub target_connected: bool,
    /// How long it has been fit to lead, without a break. The driver starts this anew after a
    /// transfer that failed, so that one group cannot keep the others waiting.
    pub target_stable_ms: u64,
}

/// How gently leadership is handed back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransferLimits {
    /// How long a target must have been fit: a node that comes and goes is not given leadership.
    pub stable_ms: u64,
    /// How many transfers may run at once: each stalls its group for a moment.
    pub in_flight_max: usize,
}

/// Which groups this node should hand back now, and to whom. `led` leaves out the groups that prefer
/// this node; `in_flight` is the number of transfers that have not ended.
pub fn transfers(led: &[Led], in_flight: usize, limits: &TransferLimits) -> Vec<(GroupId, NodeId)> {
    let mut fit: Vec<_> = led
        .iter()
        .filter(|led| led.target_matched && led.target_connected)
        .filter(|led| led.target_stable_ms >= limits.stable_ms)
        .map(|led| (led.group, led.preferred))
        .collect();
    fit.sort_unstable();
    fit.dedup_by_key(|(group, _)| *group);
    fit.truncate(limits.in_flight_max.saturating_sub(in_flight));
    fit
}

/// One replica's way from a replaced node to its replacement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Move {
    /// The group.
    pub group: GroupId,
    /// The node being emptied.
    pub from: NodeId,
    /// The node that takes over.
    pub to: NodeId,
}

/// The next replica move that a `Replace` asks for: group 0 first, then by group.
pub fn next_move(catalog: &Catalog) -> Option<Move> {
    catalog.groups.iter().find_map(|(&group, entry)| {
        entry.replicas.iter().find_map(|&from| match catalog.nodes.get(&from)?.state {
            NodeState::Replaced { by: to } => Some(Move { group, from, to }),
            _ => None,
        })
    })
}

impl Move {
    /// The voters that the group should have after the move; `None` when the catalog does not ask
    /// for it (any more). Computed from the catalog, never from the members as they are: a move that
    /// was given up half way, for another replacement, is cleared away by it too.
    pub fn voters_after(&self, catalog: &Catalog) -> Option<BTreeSet<NodeId>> {
        let entry = catalog.groups.get(&self.group)?;
        let asked = catalog.nodes.get(&self.from)?.state == NodeState::Replaced { by: self.to };
        if !asked || !entry.replicas.contains(&self.from) {
            return None;
        }
        Some(
            entry
                .replicas
                .iter()
                .map(|&node| if node == self.from { self.to } else { node })
                .collect(),
        )
    }
}

/// What the leader of the moving group sees of its members.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MoveFacts {
    /// The voters: of both configurations, while the change is joint.
    pub voters: BTreeSet<NodeId>,
    /// The learners.
    pub learners: BTreeSet<NodeId>,
    /// Whether two configurations are in force.
    pub joint: bool,
    /// Whether the target's replica has nearly the whole log.
    pub target_caught_up: bool,
}

/// What to do next for a move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MoveStep {
    /// Make the target a learner of the group.
    AddLearner,
    /// Leave it time to catch up.
    WaitCaughtUp,
    /// Make the wanted nodes the voters, or finish doing so.
    ChangeMembership,
    /// Propose `Moved` to the catalog.
    RecordMoved,
    /// Nothing: the catalog does not ask for this move, or no longer.
    Done,
}

/// The next step of a move. Each is safe to repeat.
pub fn move_step(catalog: &Catalog, asked: &Move, facts: &MoveFacts) -> MoveStep {
    let Some(wanted) = asked.voters_after(catalog) else { return MoveStep::Done };
    if facts.voters == wanted && !facts.joint {
        return MoveStep::RecordMoved;
    }
    // Also when two configurations are in force: one that a lost target left behind does not know
    // the new target, and cannot be left for voters that it does not know.
    if facts.voters.contains(&asked.to) {
        return MoveStep::ChangeMembership;
    }
    match (facts.learners.contains(&asked.to), facts.target_caught_up) {
        (false, _) => MoveStep::AddLearner,
        (true, false) => MoveStep::WaitCaughtUp,
        (true, true) => MoveStep::ChangeMembership,
    }
}

#[cfg(test)]
mod tests;
