//! What the log must hold, kept in the plainest way: one ordered map of entries per group.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{Entry, GroupState, Log, Mark};

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Group {
    pub(super) vote: Option<Bytes>,
    pub(super) committed: Option<Bytes>,
    purged: Option<Mark>,
    pub(super) entries: BTreeMap<u64, Bytes>,
    next: Option<u64>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Expected {
    pub(super) groups: BTreeMap<u64, Group>,
    pub(super) notes: BTreeMap<u64, Bytes>,
}

impl Expected {
    pub(super) fn group(&mut self, group: u64) -> &mut Group {
        self.groups.entry(group).or_default()
    }

    /// Where the next entry of a group goes; `start` if it may start anywhere.
    pub(super) fn next(&self, group: u64, start: u64) -> u64 {
        self.groups.get(&group).and_then(|group| group.next).unwrap_or(start)
    }

    pub(super) fn append(&mut self, group: u64, entry: &Entry) {
        let group = self.group(group);
        assert!(group.next.is_none_or(|next| next == entry.index), "the test appends in order");
        group.entries.insert(entry.index, entry.bytes.clone());
        group.next = Some(entry.index + 1);
    }

    pub(super) fn truncate_after(&mut self, group: u64, index: Option<u64>) {
        let group = self.group(group);
        let from = index.map_or(0, |index| index + 1);
        let removed = group.entries.split_off(&from);
        if let Some((first, _)) = removed.first_key_value() {
            group.next = Some(*first).filter(|_| !group.entries.is_empty());
            group.next = group.next.or(group.purged.as_ref().map(|mark| mark.index + 1));
        }
    }

    pub(super) fn purge(&mut self, group: u64, mark: &Mark) {
        let group = self.group(group);
        if group.purged.as_ref().is_some_and(|old| old.index >= mark.index) {
            return;
        }
        group.entries = group.entries.split_off(&(mark.index + 1));
        group.next = Some(group.next.unwrap_or(0).max(mark.index + 1));
        group.purged = Some(mark.clone());
    }

    pub(super) fn drop_group(&mut self, group: u64) {
        let group = self.group(group);
        *group = Group { vote: group.vote.take(), ..Group::default() };
    }

    /// Compares everything that callers can see; commit marks and notes only if `marks`.
    pub(super) fn check(&self, log: &Log, marks: bool) -> Result<(), String> {
        let named: Vec<u64> = log.groups();
        for group in self.groups.keys().chain(&named) {
            let expected = self.groups.get(group).cloned().unwrap_or_default();
            let mut state = log.state(*group);
            if state != GroupState::default() && !named.contains(group) {
                return Err(format!("group {group} is not listed"));
            }
            if !marks {
                state.committed.clone_from(&expected.committed);
            }
            let wanted = GroupState {
                vote: expected.vote.clone(),
                committed: expected.committed.clone(),
                purged: expected.purged.clone(),
                first_index: expected.entries.keys().next().copied(),
                last_index: expected.entries.keys().next_back().copied(),
            };
            if state != wanted {
                return Err(format!("group {group}: {state:?} instead of {wanted:?}"));
            }
            let found = super::all(log, *group);
            let wanted = expected.entries.iter();
            let wanted: Vec<Entry> =
                wanted.map(|(i, bytes)| Entry { index: *i, bytes: bytes.clone() }).collect();
            if found != wanted {
                return Err(format!("group {group}: other entries than were appended"));
            }
        }
        if marks && log.notes() != self.notes {
            return Err(format!("{:?} instead of {:?}", log.notes(), self.notes));
        }
        Ok(())
    }
}
