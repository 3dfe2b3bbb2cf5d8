//! What any replica knows to be committed is on the disks of a majority of the voters.
//!
//! The disks are those of dead nodes too: an entry that only memories hold is not committed.

use super::{Invariant, View};

#[derive(Default)]
pub(super) struct CommittedOnQuorum;

impl Invariant for CommittedOnQuorum {
    fn name(&self) -> &'static str {
        "committed on a quorum"
    }

    fn check(&mut self, view: &View<'_>) -> Result<(), String> {
        for replica in &view.replicas {
            let voters = &replica.status.voters;
            for (id, _) in &replica.commits {
                let on_disk = voters.iter().filter(|voter| {
                    let mirror = view.mirrors.get(&voter.0);
                    let kept = mirror.and_then(|mirror| mirror.groups.get(&replica.group()));
                    kept.is_some_and(|kept| kept.has(*id))
                });
                let count = on_disk.count();
                if count * 2 <= voters.len() {
                    return Err(format!(
                        "{}: {id} is committed and on {count} of {} disks",
                        replica.name(),
                        voters.len()
                    ));
                }
            }
        }
        Ok(())
    }
}
