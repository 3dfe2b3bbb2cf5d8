//! Where a request belongs, and whom to ask next. Pure.
//!
//! Promises: a round asks every node at most once, the likeliest first. Relies on the catalog only;
//! a catalog that is too old leads to a node that declines, never to a wrong effect.

use std::sync::Arc;

use crate::model::{GroupId, NodeId, Slot};
use crate::placement::{Catalog, GroupEntry, Mode, NamespaceEntry, SlotTable};

use super::error::{ErrorKind, ServiceError};

/// What a request is routed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// The group that owns a slot.
    Slot(Slot),
    /// The system group.
    System,
    /// A group by its id.
    Group(GroupId),
}

/// A catalog with its slots laid out for look-up.
#[derive(Debug)]
pub(super) struct Map {
    pub(super) catalog: Arc<Catalog>,
    table: SlotTable,
}

impl Map {
    pub(super) fn of(catalog: Arc<Catalog>) -> Self {
        Self { table: SlotTable::of(&catalog), catalog }
    }

    /// The group of a target, with its entry.
    pub(super) fn place(&self, target: Target) -> Option<(GroupId, &GroupEntry)> {
        let group = match target {
            Target::Slot(slot) => self.table.group_of(slot)?,
            Target::System => GroupId::SYSTEM,
            Target::Group(group) => group,
        };
        self.catalog.groups.get(&group).map(|entry| (group, entry))
    }

    /// The group of a slot.
    pub(super) fn group(&self, slot: Slot) -> Option<GroupId> {
        self.table.group_of(slot)
    }

    /// The same for a write: not while the namespace goes to the other side.
    pub(super) fn writable(&self, name: &str) -> Result<&NamespaceEntry, ServiceError> {
        let entry = self.namespace(name)?;
        if entry.active_switch().is_some() {
            return Err(ErrorKind::Switching.into());
        }
        Ok(entry)
    }

    /// A namespace whose keys the groups hold.
    pub(super) fn namespace(&self, name: &str) -> Result<&NamespaceEntry, ServiceError> {
        let entry = self
            .catalog
            .namespace(name)
            .ok_or_else(|| ErrorKind::NamespaceNotFound { name: name.to_owned() })?;
        match entry.mode {
            Mode::Linearizable => Ok(entry),
            Mode::Eventual => Err(eventual(name).into()),
        }
    }
}

/// Why the groups cannot do what was asked for.
pub(super) fn eventual(name: &str) -> ErrorKind {
    let reason = format!(
        "namespace {name:?} is eventual, and its nodes do not ask each other: transactions, locks, \
         leases, watches and reads as of now need a linearizable one"
    );
    ErrorKind::ModeUnsupported { reason }
}

/// One pass over the nodes that may do the work.
#[derive(Debug, Default)]
pub(super) struct Round {
    hint: Option<NodeId>,
    tried: Vec<NodeId>,
}

impl Round {
    /// The likeliest node that was not asked in this round: the one that the last one named, the
    /// one that we know of, the one that should lead, any other replica.
    pub(super) fn next(&self, known: Option<NodeId>, entry: &GroupEntry) -> Option<NodeId> {
        [self.hint, known, Some(entry.preferred)]
            .into_iter()
            .flatten()
            .chain(entry.replicas.iter().copied())
            .find(|node| !self.tried.contains(node))
    }

    /// The node was asked, and could not; perhaps it said who can.
    pub(super) fn declined(&mut self, node: NodeId, hint: Option<NodeId>) {
        self.tried.push(node);
        self.hint = hint.or(self.hint);
    }

    /// Whether nobody was asked yet.
    pub(super) fn is_fresh(&self) -> bool {
        self.tried.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(replicas: &[u64], preferred: u64) -> GroupEntry {
        let replicas: Vec<_> = replicas.iter().copied().map(NodeId).collect();
        GroupEntry {
            founders: replicas.clone(),
            replicas,
            preferred: NodeId(preferred),
            ranges: vec![],
        }
    }

    fn order(mut round: Round, known: Option<u64>, entry: &GroupEntry) -> Vec<u64> {
        let mut order = Vec::new();
        while let Some(node) = round.next(known.map(NodeId), entry) {
            order.push(node.0);
            round.declined(node, None);
        }
        order
    }

    #[test]
    fn the_known_leader_is_asked_first_then_the_preferred_then_the_rest() {
        let entry = entry(&[1, 2, 3], 2);
        assert_eq!(order(Round::default(), Some(3), &entry), [3, 2, 1]);
        assert_eq!(order(Round::default(), None, &entry), [2, 1, 3]);
    }

    #[test]
    fn a_hint_goes_before_everything_but_is_not_asked_twice() {
        let entry = entry(&[1, 2, 3], 2);
        let mut round = Round::default();
        round.declined(NodeId(2), Some(NodeId(9)));
        assert_eq!(round.next(Some(NodeId(1)), &entry), Some(NodeId(9)));
        round.declined(NodeId(9), Some(NodeId(2)));
        assert_eq!(round.next(Some(NodeId(1)), &entry), Some(NodeId(1)), "2 was asked before");
    }
}
