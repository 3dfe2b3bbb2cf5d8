//! Purged is not beyond the checkpoint, the checkpoint not beyond applied, applied not beyond committed,
//! committed not beyond the last entry.

use super::{Invariant, View};

#[derive(Default)]
pub(super) struct MarksOrdered;

impl Invariant for MarksOrdered {
    fn name(&self) -> &'static str {
        "marks are in order"
    }

    fn check(&mut self, view: &View<'_>) -> Result<(), String> {
        for replica in &view.replicas {
            let s = &replica.status;
            let marks = [s.purged, s.snapshot, s.applied, s.committed, s.last];
            if !marks.is_sorted() {
                return Err(format!(
                    "{}: purged, checkpoint, applied, committed, last are {marks:?}",
                    replica.name()
                ));
            }
        }
        Ok(())
    }
}
