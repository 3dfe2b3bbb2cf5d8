//! A leader that no quorum answers falls silent for a while, again and again.
//!
//! Why it exists: followers that hear a leader whom they cannot answer never campaign, so a majority
//! that is well connected would stay without a leader that can commit. openraft has a setting for this
//! (`quorum_loss_probe_interval`, its issue 2080), but counts from the last answer of a quorum, and so
//! forbids the first heartbeat of a group that was quiet on purpose; hence that setting is off, and this
//! takes its place.
//!
//! Promises: a leader that is not quiet and has no quorum sends no heartbeats for [`SILENT_BEATS`] beats,
//! then does for as many, and so on until it has a quorum or leads no more. Appends are not held back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use openraft::Instant as _;

use super::group::Group;
use super::groups::Groups;
use crate::model::GroupId;
use crate::runtime::Moment;
use crate::runtime::limits::{PROBE_GRACE_BEATS, PROBE_LEASE_BEATS, PROBE_TICK, SILENT_BEATS};

/// Leaders without a quorum, and since when they were seen so.
#[derive(Debug, Default)]
struct Overdue(BTreeMap<GroupId, Moment>);

impl Overdue {
    /// Whether a leader may send heartbeats; `None` when nothing is to be changed.
    fn look(
        &mut self,
        now: Moment,
        group: GroupId,
        lacks_quorum: bool,
        beat: Duration,
    ) -> Option<bool> {
        if !lacks_quorum {
            return self.0.remove(&group).map(|_| true);
        }
        let since = *self.0.entry(group).or_insert(now);
        Some(may_beat(now.since(since), beat))
    }
}

/// Whether a leader that has had no quorum for so long may send heartbeats.
fn may_beat(overdue: Duration, beat: Duration) -> bool {
    let Some(silent) = overdue.checked_sub(beat * PROBE_GRACE_BEATS) else { return true };
    let turn = (beat * SILENT_BEATS).as_nanos().max(1);
    silent.as_nanos() / turn % 2 == 1
}

/// Whether this node leads the group awake, and no quorum has answered it for as long as its lease.
fn lacks_quorum(group: &Group, beat: Duration) -> bool {
    let Ok(leader) = group.raft().as_leader() else { return false };
    // One that has just been elected may never have been answered.
    let acked = leader.last_quorum_acked();
    let is_answered = acked.is_some_and(|acked| acked.elapsed() < beat * PROBE_LEASE_BEATS);
    !is_answered && group.gate().is_ticking() && group.status().voters.len() > 1
}

/// Watches the groups that this node leads, for ever.
pub async fn run(groups: Arc<Groups>) {
    let mut tick = tokio::time::interval(PROBE_TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut overdue = Overdue::default();
    loop {
        tick.tick().await;
        let (now, beat) = (groups.env().clock.now(), groups.timing().heartbeat);
        let all = groups.all();
        overdue.0.retain(|id, _| groups.group(*id).is_some());
        for group in all {
            let lacks = lacks_quorum(&group, beat);
            if let Some(may) = overdue.look(now, group.id(), lacks, beat) {
                group.raft().runtime_config().heartbeat(may);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEAT: Duration = Duration::from_millis(100);
    const GROUP: GroupId = GroupId(4);

    #[test]
    fn a_leader_without_a_quorum_is_silent_in_turns_until_it_has_one() {
        let mut overdue = Overdue::default();
        let begin = Moment(1_000_000_000);
        let mut look = |beats: u32, lacks| overdue.look(begin + BEAT * beats, GROUP, lacks, BEAT);
        assert_eq!(look(0, false), None, "who was never overdue is left alone");
        assert_eq!(look(10, true), Some(true));
        let first = 10 + PROBE_GRACE_BEATS;
        assert_eq!(look(first - 1, true), Some(true), "a quorum may answer yet");
        assert_eq!(look(first, true), Some(false));
        assert_eq!(look(first + SILENT_BEATS - 1, true), Some(false));
        assert_eq!(look(first + SILENT_BEATS, true), Some(true));
        assert_eq!(look(first + 2 * SILENT_BEATS - 1, true), Some(true));
        assert_eq!(look(first + 2 * SILENT_BEATS, true), Some(false));
        assert_eq!(look(first + 2 * SILENT_BEATS + 1, false), Some(true), "answered, or deposed");
        assert_eq!(look(first + 2 * SILENT_BEATS + 2, true), Some(true), "it counts anew");
    }

    #[test]
    fn followers_that_cannot_answer_campaign_within_a_silence() {
        // An election timeout is five beats at most, and nobody campaigns within a lease.
        const { assert!(SILENT_BEATS >= 2 * PROBE_LEASE_BEATS) };
    }
}
