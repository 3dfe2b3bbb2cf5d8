//! What one node's disk has promised to keep, seen from outside.
//!
//! Why it exists: a node may be asked after a crash for everything that its log called durable before.
//! The log of a simulated node is written only when the simulation drives it, so right after that all
//! that it holds is durable: this file remembers it, outside of the node.
//!
//! Relies on: entries of the same place being the same (which `invariants::log_matching` checks), so that
//! only what follows the last known place is read again.

use std::collections::BTreeMap;

use tetrarch::consensus::codec;
use tetrarch::consensus::types::{LogId, Vote};
use tetrarch::storage::log::{Entry, Log};
use xxhash_rust::xxh3::xxh3_64;

/// An entry's log id and the hash of its bytes.
pub type Place = (LogId, u64);

/// All groups of a node.
#[derive(Clone, Debug, Default)]
pub struct Mirror {
    /// By group.
    pub groups: BTreeMap<u64, Kept>,
}

/// One group.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// The vote.
    pub vote: Option<Vote>,
    /// The last entry that is gone.
    pub purged: Option<LogId>,
    /// The entries.
    pub entries: BTreeMap<u64, Place>,
}

impl Kept {
    /// Whether the entry is there, or was there and is behind a checkpoint.
    pub fn has(&self, id: LogId) -> bool {
        self.purged.is_some_and(|purged| purged.index >= id.index)
            || self.entries.get(&id.index).is_some_and(|(own, _)| *own == id)
    }

    /// The same by the index alone.
    pub fn has_index(&self, index: u64) -> bool {
        self.purged.is_some_and(|purged| purged.index >= index) || self.entries.contains_key(&index)
    }
}

/// The place of an entry.
pub fn place(entry: &Entry) -> Place {
    let id = codec::decode_entry_log_id(&entry.bytes).expect("the log holds what it was given");
    (id, xxh3_64(&entry.bytes))
}

/// Entries of a group from an index on.
pub fn entries_from(log: &Log, group: u64, from: u64) -> Vec<(u64, Place)> {
    let mut entries = Vec::new();
    let mut next = from;
    loop {
        // A file that cannot be read is the node's own affair: it will stop.
        let Ok(more) = log.read(group, next, u64::MAX, usize::MAX) else { return entries };
        let Some(last) = more.last() else { return entries };
        next = last.index + 1;
        entries.extend(more.iter().map(|entry| (entry.index, place(entry))));
    }
}

impl Kept {
    /// Looks at the log again.
    fn refresh(&mut self, log: &Log, group: u64) {
        let state = log.state(group);
        self.vote =
            state.vote.map(|bytes| codec::decode("vote", &bytes).expect("a vote is a vote"));
        self.purged =
            state.purged.map(|m| codec::decode("mark", &m.bytes).expect("a mark is a log id"));
        let (Some(first), Some(last)) = (state.first_index, state.last_index) else {
            self.entries.clear();
            return;
        };
        self.entries = self.entries.split_off(&first);
        self.entries.split_off(&(last + 1));
        // From the newest entry backwards, until one is the same as before.
        let mut from = last.max(first);
        while from > first && !self.knows(log, group, from) {
            from = from.saturating_sub(8).max(first);
        }
        self.entries.extend(entries_from(log, group, from));
    }

    fn knows(&self, log: &Log, group: u64, index: u64) -> bool {
        let read = log.read(group, index, index + 1, usize::MAX).unwrap_or_default();
        let now = read.first().map(place);
        now.is_some() && self.entries.get(&index).copied() == now
    }
}

impl Mirror {
    /// Looks at the log right after it was driven.
    pub fn refresh(&mut self, log: &Log) {
        for group in log.groups() {
            self.groups.entry(group).or_default().refresh(log, group);
        }
    }

    /// Whether a log that was just opened has all that was promised. After a write that was cut in the
    /// middle, which may have removed entries or not, only what was committed is asked for.
    ///
    /// # Errors
    ///
    /// In words, what is missing.
    pub fn is_kept_by(
        &self,
        log: &Log,
        was_cut: bool,
        committed: &BTreeMap<u64, u64>,
    ) -> Result<(), String> {
        for (group, before) in &self.groups {
            let mut found = Kept::default();
            found.refresh(log, *group);
            if found.vote.is_none() && before.vote.is_some() || found.vote < before.vote {
                let (was, is) = (before.vote, found.vote);
                return Err(format!("group {group}: the vote was {was:?} and is {is:?}"));
            }
            let committed = committed.get(group).copied().unwrap_or(0);
            for (index, (id, hash)) in &before.entries {
                let is_behind = found.purged.is_some_and(|purged| purged.index >= *index);
                if is_behind || was_cut && *index > committed {
                    continue;
                }
                if found.entries.get(index) != Some(&(*id, *hash)) {
                    let is = found.entries.get(index).map(|(id, _)| id);
                    return Err(format!("group {group}: entry {index} was {id} and is {is:?}"));
                }
            }
        }
        Ok(())
    }
}
