//! No slot is owned by two groups, as the newest state of each group says.

use std::collections::BTreeMap;

use tetrarch::model::{Ownership, SlotRange};

use super::{Invariant, View};

#[derive(Default)]
pub(super) struct SlotOwnedOnce {
    /// By group: what it owns, and at which applied index that was read.
    owned: BTreeMap<u64, (u64, Ownership)>,
}

impl Invariant for SlotOwnedOnce {
    fn name(&self) -> &'static str {
        "a slot is owned by one group"
    }

    fn check(&mut self, view: &View<'_>) -> Result<(), String> {
        for replica in &view.replicas {
            let Some(digest) = &replica.digest else { continue };
            let Some(owned) = &digest.owned else { continue };
            let known = self.owned.get(&replica.group());
            if known.is_none_or(|(applied, _)| *applied < digest.applied) {
                self.owned.insert(replica.group(), (digest.applied, owned.clone()));
            }
        }
        let all = self
            .owned
            .iter()
            .flat_map(|(group, (_, owned))| owned.ranges.iter().map(move |range| (*range, *group)));
        let mut all: Vec<(SlotRange, u64)> = all.collect();
        all.sort_unstable();
        for pair in all.windows(2) {
            if pair[0].0.last >= pair[1].0.first {
                return Err(format!("{:?} and {:?} overlap", pair[0], pair[1]));
            }
        }
        Ok(())
    }
}
