//! How far a watch is: what its cursor says.
//!
//! Promises: a watch that goes on from the cursor given with an event sees exactly what follows that
//! event, for each group. Idle watches share one vector; only the groups in which one has read
//! something of late are its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::model::GroupId;
use crate::service::cursor::{Steps, Vector, WatchCursor};
use crate::service::feed::place::Place;

/// Positions of one watch.
#[derive(Clone, Debug)]
pub(super) struct Position {
    /// All that concerns the watch up to here is done with, in every group.
    base: Arc<Vector>,
    /// Whether `base` is a shared vector: later ones are not behind it.
    shared: bool,
    /// Groups in which it is further.
    own: Vector,
    /// Entries that are done with in part.
    parts: BTreeMap<GroupId, (u64, u32)>,
    /// While the initial state is not done with.
    pub(super) initial: Option<(u64, Bytes)>,
}

impl Position {
    pub(super) fn at(vector: Vector) -> Self {
        Self {
            base: Arc::new(vector),
            shared: false,
            own: Vector::new(),
            parts: BTreeMap::new(),
            initial: None,
        }
    }

    /// Where a cursor stands; `None` when it is damaged or has other groups.
    pub(super) fn of(cursor: &WatchCursor, place: &Place) -> Option<Self> {
        let vector = cursor.at.vector().filter(|vector| place.covers(vector))?;
        let mut position = Self::at(vector);
        for (group, index, seq) in &cursor.parts {
            if position.of_group(*group) >= *index {
                return None;
            }
            position.parts.insert(*group, (*index, *seq));
        }
        position.initial.clone_from(&cursor.initial);
        Some(position)
    }

    /// The last entry of a group that is done with.
    pub(super) fn of_group(&self, group: GroupId) -> u64 {
        let of = |vector: &Vector| vector.get(&group).copied().unwrap_or(0);
        of(&self.base).max(of(&self.own))
    }

    /// Whether a change is done with already.
    pub(super) fn is_past(&self, group: GroupId, index: u64, seq: u32) -> bool {
        let part = self.parts.get(&group);
        index <= self.of_group(group) || part.is_some_and(|part| (index, seq) <= *part)
    }

    /// All entries of a group up to this one are done with.
    pub(super) fn reach(&mut self, group: GroupId, index: u64) {
        if self.of_group(group) < index {
            self.own.insert(group, index);
        }
        if self.parts.get(&group).is_some_and(|(part, _)| *part <= index) {
            self.parts.remove(&group);
        }
    }

    /// A change of an entry is done with, and others of it are not.
    pub(super) fn reach_part(&mut self, group: GroupId, index: u64, seq: u32) {
        self.reach(group, index.saturating_sub(1));
        self.parts.insert(group, (index, seq));
    }

    /// Takes the shared vector for its own, if that is not behind in any group: nothing that concerns
    /// the watch is left up to there. Whether it did.
    pub(super) fn adopt(&mut self, shared: &Arc<Vector>) -> bool {
        let of = |group: &GroupId| shared.get(group).copied().unwrap_or(0);
        let behind = |(group, index): (&GroupId, &u64)| of(group) < *index;
        if self.initial.is_some()
            || !self.parts.is_empty()
            || self.own.iter().any(behind)
            || (!self.shared && self.base.iter().any(behind))
        {
            return false;
        }
        self.base = Arc::clone(shared);
        self.shared = true;
        self.own.clear();
        true
    }

    /// The cursor.
    pub(super) fn cursor(&self, place: &Place) -> WatchCursor {
        let vector: Vector =
            place.groups.iter().map(|group| (*group, self.of_group(*group))).collect();
        let parts = self.parts.iter().map(|(group, (index, seq))| (*group, *index, *seq));
        WatchCursor {
            scope: place.scope(),
            at: Steps::from(&vector),
            parts: parts.collect(),
            initial: self.initial.clone(),
        }
    }
}
