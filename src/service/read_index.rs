//! Linearizable reads at a replica that does not lead.
//!
//! Why it exists: passing every read to the leader makes one node answer for all. What a follower
//! lacks is only the leader's read index: it asks for that (a few bytes, one question for all reads of
//! the group that wait at this moment), waits until its own replica has applied it, and reads here.
//! Promises: a question leaves after the reads that share it have come, so its answer covers each.
//! Whatever goes wrong, the read is passed to the leader instead, as before. Relies on the leader's
//! barrier for the index.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::model::GroupId;
use crate::runtime::Moment;
use crate::runtime::limits::{
    FOLLOWER_LAG_WAIT_MAX, FORWARD_MARGIN, READ_INDEX_QUEUE_MAX, READ_INDEX_ROUNDS_MAX,
    READ_INDEX_WAIT_MAX,
};
use crate::runtime::planted::{self, Bug};

use super::act::Site;
use super::forward::{Done, Find, Forwarded, Work};
use super::{Context, Hall};

/// Reads of this node that wait for a read index.
#[derive(Debug, Default)]
pub(super) struct ReadIndex {
    groups: Mutex<BTreeMap<GroupId, Waiting>>,
}

/// Reads of one group.
#[derive(Debug, Default)]
struct Waiting {
    answers: Vec<oneshot::Sender<Option<u64>>>,
    rounds: usize,
}

impl ReadIndex {
    /// Queues a read; whether a new round has to begin for it. `None`: too many wait.
    fn wait(&self, group: GroupId) -> Option<(oneshot::Receiver<Option<u64>>, bool)> {
        let mut groups = self.groups.lock();
        let waiting = groups.entry(group).or_default();
        if waiting.answers.len() >= READ_INDEX_QUEUE_MAX {
            return None;
        }
        let (answer, answered) = oneshot::channel();
        waiting.answers.push(answer);
        let begin = waiting.rounds < READ_INDEX_ROUNDS_MAX;
        waiting.rounds += usize::from(begin);
        Some((answered, begin))
    }

    /// All that wait now, for one round; ends the round when nobody does.
    fn take(&self, group: GroupId) -> Vec<oneshot::Sender<Option<u64>>> {
        let mut groups = self.groups.lock();
        let Some(waiting) = groups.get_mut(&group) else { return Vec::new() };
        let answers = std::mem::take(&mut waiting.answers);
        if answers.is_empty() {
            waiting.rounds -= 1;
            if waiting.rounds == 0 {
                groups.remove(&group);
            }
        }
        answers
    }
}

/// Reads here as of now, when this node has a replica of the group that does not lead it and keeps
/// up. `None`: ask the leader. Cancel-safe.
pub(super) async fn read_here(
    hall: &Arc<Hall>,
    group: GroupId,
    epoch: u64,
    find: &Find,
    context: &Context,
) -> Option<Done> {
    let site = Site { hall, group, epoch, deadline: context.deadline };
    if planted::active(Bug::StaleRead) {
        return site.row(find, None).ok();
    }
    hall.wing.leader(group).filter(|leader| *leader != hall.node)?;
    let index = ask(hall, group, context.deadline).await?;
    let until = context.deadline.min(hall.env.clock.now() + FOLLOWER_LAG_WAIT_MAX);
    if !planted::active(Bug::FollowerReadUnapplied) {
        hall.wing.wait_applied(group, index.max(find.at_least), until).await.ok()?;
    }
    site.row(find, None).ok()
}

/// The leader's read index, shared with all reads of the group that ask now.
async fn ask(hall: &Arc<Hall>, group: GroupId, deadline: Moment) -> Option<u64> {
    let (answered, begin) = hall.read_index.wait(group)?;
    if begin {
        // A task of its own: whoever began the round may leave before the others.
        let hall = Arc::clone(hall);
        hall.env.tasks.clone().spawn("read index", rounds(hall, group));
    }
    let left = deadline.since(hall.env.clock.now());
    tokio::time::timeout(left, answered).await.ok()?.ok()?
}

/// Asks until nobody waits.
async fn rounds(hall: Arc<Hall>, group: GroupId) {
    loop {
        let answers = hall.read_index.take(group);
        if answers.is_empty() {
            return;
        }
        let index = round(&hall, group).await;
        for answer in answers {
            if answer.send(index).is_err() {
                tracing::trace!(%group, "a reader has given up at its deadline");
            }
        }
    }
}

async fn round(hall: &Hall, group: GroupId) -> Option<u64> {
    let leader = hall.wing.leader(group)?;
    let request = Forwarded {
        group,
        epoch: 0,
        remaining: READ_INDEX_WAIT_MAX.saturating_sub(FORWARD_MARGIN),
        hops: 1,
        request_id: "".into(),
        work: Work::ReadIndex,
    };
    match hall.pass(leader, request, READ_INDEX_WAIT_MAX).await {
        Ok(Done::ReadIndex { index }) => Some(index),
        Ok(_) | Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_that_come_together_share_a_round_and_a_later_one_does_not() {
        let reads = ReadIndex::default();
        let group = GroupId(1);
        let (_a, begins) = reads.wait(group).unwrap();
        let (_b, second) = reads.wait(group).unwrap();
        let (_c, third) = reads.wait(group).unwrap();
        assert_eq!((begins, second, third), (true, true, false), "two rounds at most");
        assert_eq!(reads.take(group).len(), 3);
        // The question has left: whoever comes now is not covered by it.
        let (_d, _) = reads.wait(group).unwrap();
        assert_eq!(reads.take(group).len(), 1);
        assert_eq!((reads.take(group).len(), reads.take(group).len()), (0, 0));
        assert!(reads.groups.lock().is_empty(), "both rounds have ended");
    }

    #[test]
    fn waiting_reads_are_bounded() {
        let reads = ReadIndex::default();
        let _kept: Vec<_> =
            (0..READ_INDEX_QUEUE_MAX).map(|_| reads.wait(GroupId(1)).unwrap()).collect();
        assert!(reads.wait(GroupId(1)).is_none());
        assert!(reads.wait(GroupId(2)).is_some());
    }
}
