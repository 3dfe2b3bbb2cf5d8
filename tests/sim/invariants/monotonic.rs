//! Terms never fall, not even over restarts; commit, applied, checkpoint and purge marks never fall within
//! a life; the vote on a disk never falls.

use std::collections::BTreeMap;

use tetrarch::consensus::types::Vote;

use super::{Invariant, View};

#[derive(Default)]
pub(super) struct Monotonic {
    /// By life and group: term, committed, applied, checkpoint, purged.
    marks: BTreeMap<(u64, u64), [u64; 5]>,
    /// By node and group.
    votes: BTreeMap<(u64, u64), Vote>,
}

const NAMES: [&str; 5] = ["term", "committed", "applied", "checkpoint", "purged"];

impl Invariant for Monotonic {
    fn name(&self) -> &'static str {
        "marks never fall"
    }

    fn check(&mut self, view: &View<'_>) -> Result<(), String> {
        for replica in &view.replicas {
            let s = &replica.status;
            let or_zero = |mark: Option<u64>| mark.unwrap_or(0);
            let now = [
                s.term,
                or_zero(s.committed),
                or_zero(s.applied),
                or_zero(s.snapshot),
                or_zero(s.purged),
            ];
            let before = self.marks.insert((replica.life, replica.group()), now);
            let before = before.unwrap_or_default();
            for ((name, before), now) in NAMES.iter().zip(before).zip(now) {
                if now < before {
                    return Err(format!("{}: {name} was {before} and is {now}", replica.name()));
                }
            }
        }
        for (node, mirror) in view.mirrors {
            for (group, kept) in &mirror.groups {
                let Some(vote) = kept.vote else { continue };
                let before = self.votes.insert((*node, *group), vote);
                if before.is_some_and(|before| before > vote) {
                    return Err(format!(
                        "node {node}, group {group}: the vote was {before:?} and is {vote:?}"
                    ));
                }
            }
        }
        Ok(())
    }
}
