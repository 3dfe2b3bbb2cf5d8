//! Groups that nobody uses keep quiet: no heartbeats, no tickers, one small message per pair of nodes.
//!
//! Why it exists: every replica of openraft wakes sixteen times a second and every leader sends a
//! heartbeat to each follower, used or not; a thousand idle groups would keep a core busy.
//!
//! ```text
//!   leader's node                                     follower's node
//!   leads: idle for a while, all hold all
//!     -- vouch: (group, reign, last entry), all groups in one message -->  holds exactly that?
//!     <-- the groups that it cannot agree on ------------------------      parks: no ticker
//!   all agreed: no heartbeats, no ticker
//!     -- vouch, again and again ------------------------------------->     stays parked
//! ```
//!
//! Promises: **safety does not depend on anything here.** Votes, terms, commits and read barriers are
//! openraft's as ever; a parked replica still votes and appends, and a quiet leader proves by a quorum
//! that it leads before it answers a read or takes a write (`gate`). What could go wrong is only that
//! nobody campaigns when somebody should, and against that: a follower stays parked only while its
//! leader's node goes on to vouch for exactly the leadership and the log that it has itself. A node
//! that falls silent, restarts, or stops vouching for a group, has that group's followers awake within
//! a bounded time, one after the other, so that they do not all campaign at once.
//!
//! Relies on: its caller for time and messages; `leads` and `parks` are pure, `drive` is the shell.

pub mod drive;
pub mod gate;
mod leads;
mod parks;
#[cfg(test)]
mod tests;
pub mod words;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::consensus::status::Role;
use crate::model::{GroupId, NodeId};
use crate::runtime::Moment;
use leads::Leads;
use parks::Parks;
use words::{Mark, Reign, Vouched};

/// When groups become quiet, and how soon they wake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuietTimes {
    /// Without traffic for so long, a group becomes quiet.
    pub idle: Duration,
    /// Between two messages to a node whose replicas are vouched for.
    pub beat: Duration,
}

/// What the rules may know of a replica on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// Its part.
    pub role: Role,
    /// Whom it votes for or follows.
    pub vote: Reign,
    /// Whether a quorum has granted that: there is a leader.
    pub is_led: bool,
    /// The highest vote that this process has begun to write, which its task may not have told yet.
    pub promised: Option<Reign>,
    /// The last entry of its log.
    pub last: Option<u64>,
    /// The last entry that it has applied.
    pub applied: Option<Mark>,
    /// Counts what was asked of it.
    pub touched: u64,
    /// Whether its ticker runs.
    pub is_ticking: bool,
    /// At a leader: every other replica holds all, nothing waits, members are not changing.
    pub is_settled: bool,
}

impl View {
    /// The last entry, when all of the log is applied.
    fn whole(&self) -> Option<Mark> {
        self.applied.filter(|mark| self.last == Some(mark.index))
    }
}

/// How the rules look at the replicas.
pub trait Replicas {
    /// A replica; `None` when it is not here.
    fn view(&self, group: GroupId) -> Option<View>;
    /// All replicas of a group but this node's, voters and learners; `None` while one of them cannot be
    /// reached.
    fn others(&self, group: GroupId) -> Option<Vec<NodeId>>;
    /// The voters of a group.
    fn voters(&self, group: GroupId) -> Vec<NodeId>;
}

/// What is to be done with a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Its ticker starts: it may campaign.
    Tick(GroupId),
    /// Its ticker stops: it follows a leader that is vouched for.
    Park(GroupId),
    /// The leader falls quiet, unless it was touched since.
    Quieten(GroupId, u64),
    /// The quiet leader renews its lease and goes on as ever.
    Rouse(GroupId),
}

/// The rules of one node: what it vouches for, and what it parks.
#[derive(Debug)]
pub struct Rules {
    leads: Leads,
    parks: Parks,
}

impl Rules {
    /// Nothing is quiet yet.
    pub fn new(node: NodeId, times: QuietTimes) -> Self {
        Self { leads: Leads::new(times), parks: Parks::new(node, times) }
    }

    /// Looks at all replicas; done every beat, and when [`Self::next_due`] says so.
    pub fn look(&mut self, now: Moment, groups: &[GroupId], replicas: &dyn Replicas) -> Vec<Act> {
        let mut acts = self.parks.look(now, replicas);
        self.leads.keep(groups);
        for group in groups {
            // Whoever is parked has just been looked at, and follows.
            if self.parks.holds(*group) {
                self.leads.forget(*group);
                continue;
            }
            let Some(view) = replicas.view(*group) else { continue };
            acts.extend(self.leads.look(now, *group, &view, replicas));
            // Whoever neither follows nor leads quietly must be able to campaign, whatever happened.
            let may_rest = self.leads.is_quiet(*group);
            if !view.is_ticking && !may_rest && !acts.contains(&Act::Tick(*group)) {
                acts.push(Act::Tick(*group));
            }
        }
        acts
    }

    /// When a parked replica is to wake, if that is known.
    pub fn next_due(&self) -> Option<Moment> {
        self.parks.next_due()
    }

    /// The groups that this node vouches for to another.
    pub fn vouch(&self, peer: NodeId) -> Vec<Vouched> {
        self.leads.vouch(peer)
    }

    /// The other node took what was sent at `sent` and agreed to all but the refused.
    pub fn answered(
        &mut self,
        now: Moment,
        (peer, sent): (NodeId, Moment),
        vouched: &[Vouched],
        refused: &[GroupId],
    ) -> Vec<Act> {
        self.leads.answered(now, (peer, sent), vouched, refused)
    }

    /// The other node did not answer: its replicas need heartbeats, or nothing can reach them.
    pub fn unanswered(&mut self, now: Moment, peer: NodeId) -> Vec<Act> {
        self.leads.unanswered(now, peer)
    }

    /// Another node vouches for groups; returns those that this node cannot agree on.
    pub fn heard(
        &mut self,
        now: Moment,
        (from, run): (NodeId, u64),
        vouched: &[Vouched],
        replicas: &dyn Replicas,
    ) -> (Vec<GroupId>, Vec<Act>) {
        self.parks.heard(now, (from, run), vouched, replicas)
    }

    /// The connection to a node broke: unless it is heard again soon, it is lost.
    pub fn broken(&mut self, now: Moment, peer: NodeId) {
        self.parks.broken(now, peer);
    }

    /// The nodes whose word keeps replicas parked here.
    pub fn guarantors(&self) -> Vec<NodeId> {
        self.parks.guarantors()
    }

    /// When all other replicas of a quiet group last agreed that this node leads it.
    pub fn confirmed(&self, group: GroupId) -> Option<(Reign, Moment)> {
        self.leads.confirmed(group)
    }

    /// How many replicas here are quiet.
    pub fn count(&self) -> usize {
        self.leads.count() + self.parks.count()
    }
}

/// Turns of voters to wake: who is first differs from group to group, so that the groups of a lost
/// node spread over the others and no two of them campaign for the same.
fn turn(group: GroupId, node: NodeId, voters: &[NodeId], lost: NodeId) -> u32 {
    let mut rest: Vec<NodeId> = voters.iter().copied().filter(|voter| *voter != lost).collect();
    rest.sort_unstable();
    let count = rest.len();
    let Some(place) = rest.iter().position(|voter| *voter == node) else {
        // Learners do not campaign; their ticker serves nothing but to be running.
        return u32::try_from(count).unwrap_or(u32::MAX);
    };
    let shift = usize::try_from(group.0 % (count as u64)).unwrap_or(0);
    u32::try_from((place + count - shift) % count).unwrap_or(0)
}

/// Kept by group, in order.
type ByGroup<T> = BTreeMap<GroupId, T>;
