//! Entries with the same log id are the same, and so are all entries before them.
//!
//! It is looked at where it must hold for good: in what the disks hold, of live and dead nodes. If
//! every log id has one content and one predecessor, the whole prefix is the same by induction.

use std::collections::BTreeMap;

use tetrarch::consensus::types::LogId;

use super::{Invariant, View};

#[derive(Default)]
pub(super) struct LogMatching {
    /// Group and log id -> hash of the entry, and the entry before.
    known: BTreeMap<(u64, LogId), (u64, Option<LogId>)>,
    /// Node and group -> the last log id that was looked at.
    upto: BTreeMap<(u64, u64), LogId>,
}

impl Invariant for LogMatching {
    fn name(&self) -> &'static str {
        "log matching"
    }

    fn check(&mut self, view: &View<'_>) -> Result<(), String> {
        for (node, mirror) in view.mirrors {
            for (group, kept) in &mirror.groups {
                let Some((_, (last, _))) = kept.entries.last_key_value() else { continue };
                if self.upto.get(&(*node, *group)) == Some(last) {
                    continue;
                }
                let mut before: Option<LogId> = None;
                for (index, (id, hash)) in &kept.entries {
                    if let Some(before) = before
                        && (before.index + 1 != *index || before.leader_id > id.leader_id)
                    {
                        return Err(format!("node {node}, group {group}: {id} follows {before}"));
                    }
                    let known = self.known.entry((*group, *id)).or_insert((*hash, before));
                    if known.0 != *hash {
                        return Err(format!("node {node}, group {group}: {id} has two contents"));
                    }
                    match (known.1, before) {
                        (Some(one), Some(other)) if one != other => {
                            return Err(format!(
                                "node {node}, group {group}: {id} follows {other} here and {one} \
                                 elsewhere"
                            ));
                        }
                        (None, Some(other)) => known.1 = Some(other),
                        _ => {}
                    }
                    before = Some(*id);
                }
                self.upto.insert((*node, *group), *last);
            }
        }
        Ok(())
    }
}
