//! The follower's side: which replicas here are parked, on whose word, and when they wake.
//!
//! Promises: a replica is parked only while the node that it follows vouches for exactly its leader
//! and its log, and by no word older than [`QUIET_LOST_BEATS`] beats. When that node is lost, its
//! groups wake at once, in turn; when it lives and only vouches no more, they wait a moment for its
//! heartbeat, because one that wakes before would campaign against a leader that is well.

use std::collections::BTreeMap;

use super::words::Vouched;
use super::{Act, ByGroup, QuietTimes, Replicas, View, turn};
use crate::consensus::status::Role;
use crate::model::{GroupId, NodeId};
use crate::runtime::Moment;
use crate::runtime::limits::{
    QUIET_GRACE_BEATS, QUIET_LOST_BEATS, QUIET_WAKE_SHARD, QUIET_WAKE_STEP,
};
use crate::runtime::planted::{self, Bug};

#[derive(Debug)]
struct Parked {
    under: NodeId,
    wakes: Option<Moment>,
}

#[derive(Debug)]
struct Guarantor {
    run: u64,
    heard: Moment,
    broken: Option<Moment>,
}

/// The parked replicas of this node.
#[derive(Debug)]
pub(super) struct Parks {
    node: NodeId,
    times: QuietTimes,
    parked: ByGroup<Parked>,
    guarantors: BTreeMap<NodeId, Guarantor>,
    /// The last look, and the last that came much too late.
    looked: Option<Moment>,
    excused: Moment,
}

impl Parks {
    pub(super) fn new(node: NodeId, times: QuietTimes) -> Self {
        Self {
            node,
            times,
            parked: ByGroup::new(),
            guarantors: BTreeMap::new(),
            looked: None,
            excused: Moment::default(),
        }
    }

    pub(super) fn heard(
        &mut self,
        now: Moment,
        (from, run): (NodeId, u64),
        vouched: &[Vouched],
        replicas: &dyn Replicas,
    ) -> (Vec<GroupId>, Vec<Act>) {
        let known = self.guarantors.insert(from, Guarantor { run, heard: now, broken: None });
        let is_new = known.is_some_and(|known| known.run != run);
        let (mut refused, mut acts) = (Vec::new(), Vec::new());
        let mut kept = Vec::with_capacity(vouched.len());
        for word in vouched {
            let view = replicas.view(word.group);
            let Some(view) = view.filter(|view| agrees(view, from, word)) else {
                refused.push(word.group);
                continue;
            };
            if view.is_ticking {
                acts.push(Act::Park(word.group));
            }
            self.parked.insert(word.group, Parked { under: from, wakes: None });
            kept.push(word.group);
        }
        kept.sort_unstable();
        let dropped: Vec<GroupId> =
            self.under(from).filter(|group| kept.binary_search(group).is_err()).collect();
        if is_new {
            self.lose(now, from, &dropped, replicas);
        } else {
            let grace = self.times.beat * QUIET_GRACE_BEATS;
            for group in dropped {
                let place = turn(group, self.node, &replicas.voters(group), from);
                self.wake_at(group, now + grace + self.times.beat * place);
            }
        }
        (refused, acts)
    }

    fn under(&self, node: NodeId) -> impl Iterator<Item = GroupId> + '_ {
        self.parked.iter().filter(move |(_, p)| p.under == node).map(|(group, _)| *group)
    }

    /// Of two times at which a replica is to wake, the earlier holds.
    fn wake_at(&mut self, group: GroupId, at: Moment) {
        if let Some(parked) = self.parked.get_mut(&group) {
            parked.wakes = Some(parked.wakes.map_or(at, |known| known.min(at)));
        }
    }

    /// Wakes groups of a node that is gone: a shard of them at a time, the voters of each in turn.
    fn lose(&mut self, now: Moment, node: NodeId, groups: &[GroupId], replicas: &dyn Replicas) {
        let (mut first, mut later) = (0_u32, 0_u32);
        for group in groups {
            let place = turn(*group, self.node, &replicas.voters(*group), node);
            let count = if place == 0 { &mut first } else { &mut later };
            let shard = *count / QUIET_WAKE_SHARD;
            *count += 1;
            self.wake_at(*group, now + self.times.beat * place + QUIET_WAKE_STEP * shard);
        }
    }

    pub(super) fn broken(&mut self, now: Moment, peer: NodeId) {
        if let Some(guarantor) = self.guarantors.get_mut(&peer) {
            guarantor.broken.get_or_insert(now);
        }
    }

    /// Whether a node's word counts no more.
    fn is_lost(&self, now: Moment, guarantor: &Guarantor) -> bool {
        let silent = now.since(guarantor.heard.max(self.excused));
        let broken = guarantor.broken.map(|broken| now.since(broken.max(self.excused)));
        silent >= self.times.beat * QUIET_LOST_BEATS
            || broken.is_some_and(|gone| gone >= self.times.beat)
    }

    pub(super) fn look(&mut self, now: Moment, replicas: &dyn Replicas) -> Vec<Act> {
        // A node that stood still has not read what was sent to it: it listens before it judges.
        if self.looked.is_some_and(|last| now.since(last) >= self.times.beat * 3) {
            self.excused = now;
        }
        self.looked = Some(now);
        let lost: Vec<NodeId> = self
            .guarantors
            .iter()
            .filter(|(_, guarantor)| self.is_lost(now, guarantor))
            .map(|(node, _)| *node)
            .collect();
        for node in lost {
            let groups: Vec<GroupId> = self.under(node).collect();
            if !groups.is_empty() {
                tracing::info!(%node, groups = groups.len(), "a node is silent: its groups wake");
            }
            if !planted::active(Bug::QuietForgotten) {
                self.lose(now, node, &groups, replicas);
            }
            self.guarantors.remove(&node);
        }
        self.wake(now, replicas)
    }

    fn wake(&mut self, now: Moment, replicas: &dyn Replicas) -> Vec<Act> {
        let mut acts = Vec::new();
        let grace = self.times.beat * QUIET_GRACE_BEATS;
        let node = self.node;
        self.parked.retain(|group, parked| {
            let Some(view) = replicas.view(*group) else { return false };
            let follows = matches!(view.role, Role::Follower | Role::Learner);
            let is_elsewhere = view.vote.node != parked.under;
            // Another leader's heartbeat has come already, and a candidate needs its ticker.
            let is_over = !follows || is_elsewhere && view.is_led;
            if is_elsewhere && parked.wakes.is_none() {
                let place = turn(*group, node, &replicas.voters(*group), parked.under);
                parked.wakes = Some(now + grace * (place + 1));
            }
            if is_over || parked.wakes.is_some_and(|wakes| wakes <= now) {
                acts.push(Act::Tick(*group));
                return false;
            }
            true
        });
        acts
    }

    pub(super) fn next_due(&self) -> Option<Moment> {
        self.parked.values().filter_map(|parked| parked.wakes).min()
    }

    pub(super) fn guarantors(&self) -> Vec<NodeId> {
        let under: std::collections::BTreeSet<NodeId> =
            self.parked.values().map(|parked| parked.under).collect();
        under.into_iter().collect()
    }

    pub(super) fn holds(&self, group: GroupId) -> bool {
        self.parked.contains_key(&group)
    }

    pub(super) fn count(&self) -> usize {
        self.parked.len()
    }
}

/// Whether a replica is exactly where the leader says that everybody is.
fn agrees(view: &View, from: NodeId, word: &Vouched) -> bool {
    let follows = matches!(view.role, Role::Follower | Role::Learner);
    let same_leader = view.is_led && view.vote == word.reign && word.reign.node == from;
    let is_faithful = view.promised.is_none_or(|promised| promised <= word.reign);
    let is_whole = view.whole() == Some(word.last) || planted::active(Bug::QuietLagging);
    follows && same_leader && is_faithful && is_whole
}
