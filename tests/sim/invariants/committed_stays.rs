//! Once any replica knows an entry to be committed, no replica ever knows another one there.

use std::collections::BTreeMap;

use super::{Invariant, View};
use crate::simulation::mirror::Place;

#[derive(Default)]
pub(super) struct CommittedStays {
    /// Group and index -> the entry, and who said so first.
    committed: BTreeMap<(u64, u64), (Place, u64)>,
}

impl Invariant for CommittedStays {
    fn name(&self) -> &'static str {
        "committed stays"
    }

    fn check(&mut self, view: &View<'_>) -> Result<(), String> {
        for replica in &view.replicas {
            for place in &replica.commits {
                let key = (replica.group(), place.0.index);
                let (first, by) = self.committed.entry(key).or_insert((*place, replica.node));
                if first != place {
                    return Err(format!(
                        "{}: {} is committed, and at node {by} {} was",
                        replica.name(),
                        place.0,
                        first.0
                    ));
                }
            }
        }
        Ok(())
    }
}
