//! Replicas that have applied the same entries hold the same rows.

use std::collections::BTreeMap;

use super::{Invariant, View};

#[derive(Default)]
pub(super) struct StateMachineSafety {
    /// Group and applied index -> hash of all rows, how many, and where it was first seen.
    known: BTreeMap<(u64, u64), (u64, usize, String)>,
}

impl Invariant for StateMachineSafety {
    fn name(&self) -> &'static str {
        "state machine safety"
    }

    fn check(&mut self, view: &View<'_>) -> Result<(), String> {
        for replica in &view.replicas {
            let Some(digest) = &replica.digest else { continue };
            let key = (replica.group(), digest.applied);
            let found = || (digest.hash, digest.rows, replica.name());
            let known = self.known.entry(key).or_insert_with(found);
            if known.0 != digest.hash {
                return Err(format!(
                    "{} has {} rows after entry {}, others than the {} of {}",
                    replica.name(),
                    digest.rows,
                    digest.applied,
                    known.1,
                    known.2
                ));
            }
        }
        Ok(())
    }
}
