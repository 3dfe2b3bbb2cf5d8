//! A leader has every entry that was committed under an earlier leader.
//!
//! Looked at when a leadership is first seen: a leader never removes entries of its log.

use std::collections::{BTreeMap, BTreeSet};

use tetrarch::consensus::Role;
use tetrarch::consensus::types::{LeaderId, LogId};

use super::{Invariant, View};
use crate::simulation::look::Replica;

#[derive(Default)]
pub(super) struct LeaderCompleteness {
    /// By group and index.
    committed: BTreeMap<(u64, u64), LogId>,
    /// Group, term, node.
    seen: BTreeSet<(u64, u64, u64)>,
}

impl LeaderCompleteness {
    fn has_all(&self, leader: &Replica) -> Result<(), String> {
        let group = leader.group();
        let purged = leader.log.state(group).purged.map_or(0, |mark| mark.index);
        let id = LeaderId { term: leader.status.term, node_id: leader.node };
        for ((_, index), known) in self.committed.range((group, purged + 1)..=(group, u64::MAX)) {
            if known.leader_id < id && leader.entry(*index) != Some(*known) {
                let has = leader.entry(*index);
                return Err(format!(
                    "{} leads term {} and has {has:?} where {known} was committed",
                    leader.name(),
                    leader.status.term
                ));
            }
        }
        Ok(())
    }
}

impl Invariant for LeaderCompleteness {
    fn name(&self) -> &'static str {
        "leader completeness"
    }

    fn check(&mut self, view: &View<'_>) -> Result<(), String> {
        for replica in &view.replicas {
            let leadership = (replica.group(), replica.status.term, replica.node);
            if replica.status.role == Role::Leader && self.seen.insert(leadership) {
                self.has_all(replica)?;
            }
        }
        for replica in &view.replicas {
            for (id, _) in &replica.commits {
                self.committed.insert((replica.group(), id.index), *id);
            }
        }
        Ok(())
    }
}
