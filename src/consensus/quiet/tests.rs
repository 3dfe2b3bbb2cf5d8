//! The rules of quiet groups against schedules: single ones that have a story, and random ones.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::runtime::limits::{QUIET_GRACE_BEATS, QUIET_LOST_BEATS};

const BEAT: Duration = Duration::from_millis(100);
const TIMES: QuietTimes = QuietTimes { idle: Duration::from_millis(250), beat: BEAT };
const NODES: [NodeId; 3] = [NodeId(1), NodeId(2), NodeId(3)];

fn view(role: Role, leader: NodeId, term: u64, index: u64) -> View {
    let reign = Reign { term, node: leader };
    View {
        role,
        vote: reign,
        is_led: true,
        promised: None,
        last: Some(index),
        applied: Some(Mark { reign, index }),
        touched: 0,
        is_ticking: true,
        is_settled: role == Role::Leader,
    }
}

/// One node, as far as the rules reach.
struct Node {
    id: NodeId,
    run: u64,
    rules: Rules,
    views: BTreeMap<GroupId, View>,
}

impl Replicas for BTreeMap<GroupId, View> {
    fn view(&self, group: GroupId) -> Option<View> {
        self.get(&group).cloned()
    }

    fn others(&self, group: GroupId) -> Option<Vec<NodeId>> {
        let leader = self[&group].vote.node;
        Some(NODES.into_iter().filter(|node| *node != leader).collect())
    }

    fn voters(&self, _group: GroupId) -> Vec<NodeId> {
        NODES.to_vec()
    }
}

impl Node {
    fn new(id: NodeId, leaders: &[NodeId]) -> Self {
        let mut views = BTreeMap::new();
        for (group, leader) in (1..).map(GroupId).zip(leaders) {
            let role = if *leader == id { Role::Leader } else { Role::Follower };
            views.insert(group, view(role, *leader, 1, 7));
        }
        Self { id, run: id.0, rules: Rules::new(id, TIMES), views }
    }

    fn perform(&mut self, acts: &[Act]) {
        for act in acts {
            let (Act::Tick(id) | Act::Park(id) | Act::Quieten(id, _) | Act::Rouse(id)) = *act;
            let view = self.views.get_mut(&id).unwrap();
            match *act {
                Act::Tick(_) => view.is_ticking = true,
                Act::Park(_) => view.is_ticking = false,
                Act::Quieten(_, touched) => view.is_ticking = view.touched != touched,
                Act::Rouse(_) => {
                    view.touched += 1;
                    view.is_ticking = true;
                }
            }
        }
    }

    fn look(&mut self, now: Moment) {
        let groups: Vec<GroupId> = self.views.keys().copied().collect();
        let acts = self.rules.look(now, &groups, &self.views);
        self.perform(&acts);
    }

    fn hear(&mut self, now: Moment, (from, run): (NodeId, u64), words: &[Vouched]) -> Vec<GroupId> {
        let (refused, acts) = self.rules.heard(now, (from, run), words, &self.views);
        self.perform(&acts);
        refused
    }

    fn ticking(&self) -> Vec<u64> {
        self.views.iter().filter(|(_, view)| view.is_ticking).map(|(group, _)| group.0).collect()
    }
}

/// Three nodes and what lies between them.
struct World {
    now: Moment,
    nodes: BTreeMap<NodeId, Node>,
    cut: Vec<(NodeId, NodeId)>,
    /// When a follower last held exactly what was vouched for and was told so.
    agreed: BTreeMap<(NodeId, GroupId), Moment>,
}

impl World {
    fn new(leaders: &[NodeId]) -> Self {
        let nodes = NODES.into_iter().map(|id| (id, Node::new(id, leaders))).collect();
        Self { now: Moment(1), nodes, cut: Vec::new(), agreed: BTreeMap::new() }
    }

    fn node(&mut self, id: u64) -> &mut Node {
        self.nodes.get_mut(&NodeId(id)).unwrap()
    }

    fn beat(&mut self) {
        self.now = self.now + BEAT;
        for node in self.nodes.values_mut() {
            node.look(self.now);
        }
        for from in NODES {
            for to in NODES.into_iter().filter(|to| *to != from) {
                self.vouch(from, to);
            }
        }
    }

    fn vouch(&mut self, from: NodeId, to: NodeId) {
        let Some(speaker) = self.nodes.get(&from) else { return };
        let (run, words) = (speaker.run, speaker.rules.vouch(to));
        let arrives = !self.cut.contains(&(from, to));
        let returns = arrives && !self.cut.contains(&(to, from));
        let now = self.now;
        let refused = self.nodes.get_mut(&to).filter(|_| arrives).map(|hearer| {
            for word in &words {
                let view = &hearer.views[&word.group];
                if view.vote == word.reign && view.whole() == Some(word.last) {
                    self.agreed.insert((to, word.group), now);
                }
            }
            hearer.hear(now, (from, run), &words)
        });
        let speaker = self.nodes.get_mut(&from).unwrap();
        let acts = match refused.filter(|_| returns) {
            Some(refused) => speaker.rules.answered(now, (to, now), &words, &refused),
            None => speaker.rules.unanswered(now, to),
        };
        speaker.perform(&acts);
    }

    fn beats(&mut self, count: u32) {
        for _ in 0..count {
            self.beat();
        }
    }

    fn ticking(&mut self, id: u64) -> Vec<u64> {
        self.node(id).ticking()
    }

    /// No parked replica relies on a word that is too old, and no quiet leader on silence.
    fn check(&self) {
        let longest = BEAT * (QUIET_LOST_BEATS + QUIET_GRACE_BEATS + 3);
        for node in self.nodes.values() {
            for (group, view) in node.views.iter().filter(|(_, view)| !view.is_ticking) {
                if view.role == Role::Leader {
                    let (_, confirmed) = node.rules.confirmed(*group).expect("it is quiet");
                    let age = self.now.since(confirmed);
                    assert!(age <= BEAT, "{}: {group} quiet on a word {age:?} old", node.id);
                } else {
                    let age = self.now.since(self.agreed[&(node.id, *group)]);
                    assert!(age <= longest, "{}: {group} parked on a word {age:?} old", node.id);
                }
            }
        }
    }
}

#[test]
fn idle_groups_fall_quiet_on_all_nodes_and_stay_so() {
    let mut world = World::new(&NODES);
    world.beats(3);
    assert_eq!(world.ticking(1), [1, 2, 3], "not before they were idle for long");
    world.beats(2);
    for id in 1..=3 {
        assert_eq!(world.ticking(id), [] as [u64; 0]);
        assert_eq!(world.node(id).rules.count(), 3);
    }
    world.beats(100);
    assert_eq!(world.ticking(2), [] as [u64; 0]);
    let (reign, at) = world.node(1).rules.confirmed(GroupId(1)).unwrap();
    assert_eq!((reign, at), (Reign { term: 1, node: NodeId(1) }, world.now));
}

#[test]
fn a_follower_that_lags_keeps_its_group_awake() {
    let mut world = World::new(&[NodeId(1)]);
    let behind = world.node(3).views.get_mut(&GroupId(1)).unwrap();
    behind.applied = Some(Mark { index: 6, ..behind.applied.unwrap() });
    world.beats(20);
    assert_eq!((world.ticking(1), world.ticking(3)), (vec![1], vec![1]));
    // A log of the same length that is another.
    let other = world.node(3).views.get_mut(&GroupId(1)).unwrap();
    other.applied = Some(Mark { reign: Reign { term: 1, node: NodeId(2) }, index: 7 });
    world.beats(20);
    assert_eq!((world.ticking(1), world.ticking(3)), (vec![1], vec![1]));
}

#[test]
fn a_follower_that_has_promised_its_vote_does_not_agree() {
    let mut world = World::new(&[NodeId(1)]);
    world.beats(6);
    assert_eq!(world.ticking(1), [] as [u64; 0]);
    world.node(2).views.get_mut(&GroupId(1)).unwrap().promised =
        Some(Reign { term: 2, node: NodeId(3) });
    world.beats(1);
    assert_eq!(world.ticking(1), [1], "the leader is roused at once");
    assert!(world.node(1).rules.confirmed(GroupId(1)).is_none());
}

#[test]
fn a_use_of_the_leader_wakes_the_followers() {
    let mut world = World::new(&[NodeId(1), NodeId(1)]);
    world.beats(6);
    let used = world.node(1).views.get_mut(&GroupId(1)).unwrap();
    used.touched += 1;
    used.is_ticking = true;
    world.beats(QUIET_GRACE_BEATS + 2);
    let awake: Vec<_> = (1..=3).map(|id| world.ticking(id)).collect();
    // Idle again meanwhile, or never parked anew: the other group stays quiet in any case.
    assert!(awake.iter().all(|groups| !groups.contains(&2)), "{awake:?}");
    let touched = world.node(1).views[&GroupId(1)].touched;
    assert_eq!(touched, 1, "nobody needed to rouse it");
}

#[test]
fn the_groups_of_a_lost_node_wake_in_turn() {
    let mut world = World::new(&[NodeId(1); 4]);
    world.beats(6);
    world.nodes.remove(&NodeId(1));
    let mut woke: BTreeMap<(u64, u64), Moment> = BTreeMap::new();
    for _ in 0..QUIET_LOST_BEATS + 2 {
        world.beat();
        for id in 2..=3 {
            for group in world.ticking(id) {
                woke.entry((id, group)).or_insert(world.now);
            }
        }
    }
    assert_eq!(woke.len(), 8, "all wake: {woke:?}");
    for group in 1..=4 {
        let gap = woke[&(2, group)].0.abs_diff(woke[&(3, group)].0);
        assert_eq!(Duration::from_nanos(gap), BEAT, "one voter of group {group} goes first");
    }
    let first = |id: u64| (1..=4).filter(|g| woke[&(id, *g)] < woke[&(5 - id, *g)]).count();
    assert_eq!((first(2), first(3)), (2, 2), "and not always the same");
}

#[test]
fn a_broken_connection_wakes_sooner_unless_the_node_is_heard_again() {
    let mut world = World::new(&[NodeId(1)]);
    world.beats(6);
    let now = world.now;
    world.node(2).rules.broken(now, NodeId(1));
    world.beats(4);
    assert_eq!(world.ticking(2), [] as [u64; 0], "it was heard again");
    let now = world.now;
    world.node(2).rules.broken(now, NodeId(1));
    world.node(3).rules.broken(now, NodeId(1));
    world.nodes.remove(&NodeId(1));
    world.beats(2);
    assert_eq!(world.ticking(2).len() + world.ticking(3).len(), 2);
}

#[test]
fn a_restarted_leader_keeps_nobody_parked() {
    let mut world = World::new(&[NodeId(1)]);
    world.beats(6);
    let mut fresh = Node::new(NodeId(1), &[NodeId(1)]);
    fresh.run = 99;
    fresh.views.insert(GroupId(1), view(Role::Follower, NodeId(1), 1, 7));
    world.nodes.insert(NodeId(1), fresh);
    world.beats(2);
    assert_eq!(world.ticking(2).len() + world.ticking(3).len(), 2);
}

#[test]
fn a_leader_that_steps_down_while_quiet_leaves_nobody_asleep() {
    let mut world = World::new(&[NodeId(1)]);
    world.beats(6);
    let deposed = world.node(1).views.get_mut(&GroupId(1)).unwrap();
    (deposed.role, deposed.is_led, deposed.is_settled) = (Role::Follower, false, false);
    deposed.vote = Reign { term: 2, node: NodeId(9) };
    world.beats(1);
    assert_eq!(world.ticking(1), [1], "it may campaign itself");
    world.beats(QUIET_GRACE_BEATS + 2);
    assert_eq!((world.ticking(2), world.ticking(3)), (vec![1], vec![1]));
}

#[test]
fn a_node_that_stood_still_listens_before_it_wakes_anybody() {
    let mut world = World::new(&[NodeId(1)]);
    world.beats(6);
    let later = world.now + Duration::from_secs(60);
    world.node(2).look(later);
    assert_eq!(world.ticking(2), [] as [u64; 0]);
    for beat in 1..=QUIET_LOST_BEATS + 1 {
        world.node(2).look(later + BEAT * beat);
    }
    assert_eq!(world.ticking(2), [1], "but not for ever");
}

#[test]
fn a_group_of_one_is_quiet_by_its_own_word() {
    struct Alone(View);
    impl Replicas for Alone {
        fn view(&self, _: GroupId) -> Option<View> {
            Some(self.0.clone())
        }
        fn others(&self, _: GroupId) -> Option<Vec<NodeId>> {
            Some(Vec::new())
        }
        fn voters(&self, _: GroupId) -> Vec<NodeId> {
            vec![NodeId(1)]
        }
    }
    let alone = Alone(view(Role::Leader, NodeId(1), 1, 7));
    let mut rules = Rules::new(NodeId(1), TIMES);
    assert_eq!(rules.look(Moment(1), &[GroupId(1)], &alone), []);
    let acts = rules.look(Moment(1) + TIMES.idle, &[GroupId(1)], &alone);
    assert_eq!(acts, [Act::Quieten(GroupId(1), 0)]);
}

#[derive(Clone, Debug)]
enum Event {
    Beats(u32),
    Cut(u64, u64),
    Heal,
    Stop(u64),
    Restart(u64),
    /// The leader writes; the first follower gets it, the second perhaps.
    Write(u64, bool),
    /// A node wins an election that another may have missed.
    Elect(u64, u64, bool),
}

fn event() -> impl Strategy<Value = Event> {
    let (node, group) = (1..=3_u64, 1..=3_u64);
    prop_oneof![
        4 => (1..=12_u32).prop_map(Event::Beats),
        1 => (node.clone(), node.clone()).prop_map(|(a, b)| Event::Cut(a, b)),
        1 => Just(Event::Heal),
        1 => node.clone().prop_map(Event::Stop),
        1 => node.clone().prop_map(Event::Restart),
        2 => (group.clone(), any::<bool>()).prop_map(|(g, all)| Event::Write(g, all)),
        2 => (node, group, any::<bool>()).prop_map(|(n, g, all)| Event::Elect(n, g, all)),
    ]
}

impl World {
    fn happen(&mut self, event: &Event, number: u64) {
        match *event {
            Event::Beats(count) => {
                for _ in 0..count {
                    self.beat();
                    self.check();
                }
            }
            Event::Cut(a, b) => self.cut.push((NodeId(a), NodeId(b))),
            Event::Heal => self.cut.clear(),
            Event::Stop(id) => drop(self.nodes.remove(&NodeId(id))),
            Event::Restart(id) => {
                let mut fresh = Node::new(NodeId(id), &[NodeId(9); 3]);
                fresh.run = 100 + number;
                self.nodes.insert(NodeId(id), fresh);
            }
            Event::Write(group, all) => {
                let id = GroupId(group);
                let mut spared = all;
                for node in self.nodes.values_mut() {
                    let view = node.views.get_mut(&id).unwrap();
                    if view.role != Role::Leader && !std::mem::replace(&mut spared, true) {
                        continue;
                    }
                    let mark = Mark { reign: view.vote, index: 1000 + number };
                    (view.last, view.applied) = (Some(mark.index), Some(mark));
                }
            }
            Event::Elect(id, group, all) => {
                let mut missed = !all;
                let reign = Reign { term: 2 + number, node: NodeId(id) };
                if !self.nodes.contains_key(&NodeId(id)) {
                    return;
                }
                for node in self.nodes.values_mut() {
                    if node.id != NodeId(id) && std::mem::replace(&mut missed, false) {
                        continue;
                    }
                    let view = node.views.get_mut(&GroupId(group)).unwrap();
                    let is_leader = node.id == NodeId(id);
                    view.role = if is_leader { Role::Leader } else { Role::Follower };
                    (view.vote, view.is_settled) = (reign, is_leader);
                    let mark = Mark { reign, index: 2000 + number };
                    (view.last, view.applied) = (Some(mark.index), Some(mark));
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_nobody_sleeps_on_an_old_word(
        events in prop::collection::vec(event(), 1..40),
    ) {
        let mut world = World::new(&NODES);
        world.beats(6);
        for (number, event) in (0..).zip(&events) {
            world.happen(event, number);
        }
        world.happen(&Event::Beats(QUIET_LOST_BEATS + QUIET_GRACE_BEATS + 4), 0);
    }
}
