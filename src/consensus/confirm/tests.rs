//! What a quorum is, whom a promise serves, and what becomes of both when a replica is freed or too many
//! ask.

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use proptest::prelude::*;

use super::*;
use crate::consensus::door::{Door, Seen};
use crate::consensus::error::ReadError;
use crate::consensus::group::{Group, Parts, Timing};
use crate::consensus::groups::Foundation;
use crate::consensus::identity::Identity;
use crate::consensus::leases::LeaseTable;
use crate::consensus::log_store::LogStore;
use crate::consensus::machine::Machine;
use crate::consensus::network::NetworkFactory;
use crate::consensus::types::{LogId, Membership, Vote, VoteRequest};
use crate::model::Incarnation;
use crate::peer::{Channel, PeerError, PeerStream};
use crate::runtime::metrics::Metrics;
use crate::runtime::{Env, Moment};
use crate::storage::State;
use crate::storage::disk::SimDisk;
use crate::storage::log::{Log, LogMetrics, LogOptions};
use crate::storage::state::{StateMetrics, StateOptions};

fn asked(configs: &[&[u64]]) -> Asked {
    let configs: Vec<BTreeSet<u64>> =
        configs.iter().map(|config| config.iter().copied().collect()).collect();
    Asked::new(claim(1, configs))
}

/// A claim of node 1 by the membership of the log's entry at an index.
fn claim(index: u64, configs: Vec<BTreeSet<u64>>) -> Claim {
    let leader = LeaderId { term: 3, node_id: 1 };
    let membership = Membership::new_with_defaults(configs, BTreeSet::from([9]));
    let at = LogId::new(leader, index);
    let membership = Arc::new(StoredMembership::new(Some(at), membership));
    Claim { group: GroupId(4), leader, membership }
}

/// A transport to nodes that never answer.
#[derive(Debug)]
struct Silent;

#[async_trait]
impl Transport for Silent {
    async fn call(
        &self,
        _: NodeId,
        _: Channel,
        _: Lane,
        _: Bytes,
        _: Duration,
    ) -> Result<Bytes, PeerError> {
        std::future::pending().await
    }

    async fn open_stream(
        &self,
        _: NodeId,
        _: Channel,
        _: Lane,
        _: Bytes,
    ) -> Result<PeerStream, PeerError> {
        Err(PeerError::not_sent("no streams here"))
    }

    async fn send_bulk(
        &self,
        _: NodeId,
        _: Channel,
        _: Bytes,
        _: BoxStream<'static, std::io::Result<Bytes>>,
    ) -> Result<Bytes, PeerError> {
        Err(PeerError::not_sent("no long bodies here"))
    }

    fn is_connected(&self, _: NodeId) -> bool {
        true
    }

    fn connected_since(&self, _: NodeId) -> Option<Moment> {
        None
    }
}

fn asker() -> Asker {
    Asker {
        node: NodeId(1),
        transport: Arc::new(Silent),
        witness: Arc::new(Witness::default()),
        metrics: ConsensusMetrics::default(),
        next: 0,
        rounds: BTreeMap::new(),
        calls: FuturesUnordered::new(),
        under_way: BTreeMap::new(),
    }
}

#[test]
fn a_majority_of_voters_confirms_and_a_learner_counts_for_nothing() {
    let mut asked = asked(&[&[1, 2, 3]]);
    asked.granted.extend([1, 9]);
    assert_eq!(asked.word(), None);
    asked.granted.insert(3);
    assert_eq!(asked.word(), Some(Word::Leads));
}

#[test]
fn a_claim_is_given_up_once_no_majority_can_come() {
    let mut asked = asked(&[&[1, 2, 3]]);
    asked.granted.insert(1);
    asked.denied.insert(2);
    assert_eq!(asked.word(), None);
    asked.denied.insert(3);
    assert_eq!(asked.word(), Some(Word::Unproved));
}

#[test]
fn a_joint_membership_needs_both_majorities() {
    let mut asked = asked(&[&[1, 2, 3], &[3, 4, 5]]);
    asked.granted.extend([1, 2, 3]);
    assert_eq!(asked.word(), None);
    asked.granted.insert(4);
    assert_eq!(asked.word(), Some(Word::Leads));
}

#[test]
fn nobody_confirms_a_claim_without_voters() {
    assert_eq!(asked(&[]).word(), Some(Word::Unproved));
}

#[test]
fn a_promise_is_to_the_newest_leader_alone() {
    let promised = Promised::default();
    let (old, new) = (LeaderId { term: 2, node_id: 1 }, LeaderId { term: 3, node_id: 1 });
    assert!(!promised.is_to(old));
    promised.note(old);
    assert!(promised.is_to(old) && !promised.is_to(new));
    promised.note(new);
    assert!(!promised.is_to(old) && promised.is_to(new));
}

#[test]
fn the_newest_membership_serves_all_that_wait_together() {
    let (answer, _waits) = oneshot::channel();
    let mut asked = asked(&[&[1, 2, 3]]);
    asked.join(claim(2, vec![BTreeSet::from([1, 4, 5])]), answer);
    asked.granted.extend([1, 2, 3]);
    assert_eq!(asked.word(), None);
    asked.granted.insert(4);
    assert_eq!(asked.word(), Some(Word::Leads));
    let (answer, _waits) = oneshot::channel();
    asked.join(claim(1, vec![BTreeSet::from([1])]), answer);
    asked.granted.remove(&4);
    assert_eq!(asked.word(), None, "an older one that came later changes nothing");
}

#[tokio::test]
async fn a_silent_node_is_asked_no_more_once_too_many_questions_are_open() {
    let mut asker = asker();
    let (_queue, mut waiting) = mpsc::channel(1);
    let voters = || vec![BTreeSet::from([1, 2, 3])];
    for _ in 0..CONFIRM_ROUNDS_MAX {
        let (answer, mut answered) = oneshot::channel();
        asker.ask(Some((claim(1, voters()), answer)), &mut waiting);
        assert!(answered.try_recv().is_err(), "node 3 may still say yes");
        // Node 3 does, and node 2 is silent.
        let key = (GroupId(4), LeaderId { term: 3, node_id: 1 });
        asker.heard((asker.next, NodeId(3), vec![key], Some(vec![true])));
        assert_eq!(answered.try_recv(), Ok(Word::Leads));
    }
    let open = asker.calls.len();
    let (answer, mut answered) = oneshot::channel();
    asker.ask(Some((claim(1, voters()), answer)), &mut waiting);
    assert_eq!(asker.calls.len(), open + 1, "node 3 alone is asked");
    assert!(answered.try_recv().is_err());
    let key = (GroupId(4), LeaderId { term: 3, node_id: 1 });
    asker.heard((asker.next, NodeId(3), vec![key], Some(vec![false])));
    assert_eq!(answered.try_recv(), Ok(Word::Unproved));
    // An answer of node 2, however late, makes room again.
    asker.heard((1, NodeId(2), vec![key], None));
    let (answer, _waits) = oneshot::channel();
    asker.ask(Some((claim(1, voters()), answer)), &mut waiting);
    assert_eq!(asker.calls.len(), open + 3);
}

const ID: GroupId = GroupId(4);
const TIMING: Timing =
    Timing { heartbeat: Duration::from_millis(50), keep_entries: 10, quiet: None };
const PATIENCE: Duration = Duration::from_secs(30);

/// What node 1's replicas stand on.
fn foundation() -> Foundation {
    let (env, metrics, disk) = (Env::system(), Metrics::default(), Arc::new(SimDisk::new()));
    let log = Log::open(
        disk.clone(),
        "log".into(),
        LogOptions::default(),
        &env,
        LogMetrics::new(&metrics),
    );
    let log = log.unwrap();
    let (options, state_metrics) = (StateOptions::default(), StateMetrics::new(&metrics));
    let state = State::open(disk, None, options, &env, state_metrics, &|_| {}).unwrap();
    let catalog = Arc::new(tokio::sync::watch::Sender::new(None));
    let witness = Arc::new(Witness::default());
    let seen = Seen {
        log: log.clone(),
        witness: Arc::clone(&witness),
        catalog: catalog.subscribe(),
        run: 7,
    };
    let (incarnation, node) = (Incarnation(1), NodeId(1));
    let identity = Identity { node, incarnation, charter: None, barred: None };
    Foundation {
        node,
        env,
        log,
        state,
        transport: Arc::new(Silent),
        witness,
        door: Arc::new(Door::new(identity, String::new(), BTreeMap::new(), seen)),
        catalog,
        timing: TIMING,
        metrics: ConsensusMetrics::default(),
    }
}

/// A replica that asks by `confirm` and leads a group of which it is the only voter.
async fn alone(base: &Foundation, confirm: Confirm) -> Group {
    let (state, tasks) = (base.state.clone(), base.env.tasks.clone());
    let parts = Parts {
        id: ID,
        node: base.node,
        log: LogStore::new(base.log.clone(), ID),
        machine: Machine::open(ID, state, tasks, None, Arc::new(LeaseTable::default())).unwrap(),
        network: NetworkFactory {
            group: ID,
            transport: Arc::clone(&base.transport),
            witness: Arc::clone(&base.witness),
            tasks: base.env.tasks.clone(),
        },
        config: TIMING.config().unwrap(),
        state: base.state.clone(),
        confirm: Arc::new(confirm),
        metrics: base.metrics.clone(),
    };
    let group = Group::start(parts, &base.env).await.unwrap();
    lead(&group).await;
    group
}

/// Lets a replica found its group, and waits until it can claim that it leads.
async fn lead(group: &Group) {
    group.raft().initialize(BTreeMap::from([(1, openraft::EmptyNode {})])).await.unwrap();
    let wait = group.raft().wait(Some(PATIENCE));
    wait.applied_index_at_least(Some(1), "an entry of its own").await.unwrap();
}

/// What node 1 says when it is asked about this leader.
fn says(groups: &Groups, leader: LeaderId) -> bool {
    let answer = answer(groups, &codec::encode(&vec![(ID, leader)])).unwrap();
    let (_, payload) = channel::unstamp(&answer).unwrap();
    codec::decode::<Vec<bool>>("confirm answer", &payload).unwrap() == [true]
}

#[tokio::test]
async fn a_replica_that_comes_back_keeps_its_promise_and_while_it_is_gone_nothing_is_said() {
    let groups = Groups::new(foundation()).unwrap();
    let (old, new) = (LeaderId { term: 1, node_id: 1 }, LeaderId { term: 5, node_id: 2 });
    assert!(!says(&groups, old), "there is no replica yet");
    lead(&groups.open(ID).await.unwrap()).await;
    assert!(says(&groups, old));
    groups.discard(ID).await.unwrap();
    assert!(!says(&groups, old));
    let back = groups.open(ID).await.unwrap();
    assert!(says(&groups, old) && !says(&groups, new));
    let asks = VoteRequest::new(Vote { leader_id: new, committed: false }, None);
    assert!(back.raft().vote(asks).await.unwrap().vote_granted);
    assert!(says(&groups, new) && !says(&groups, old));
    groups.discard(ID).await.unwrap();
    groups.open(ID).await.unwrap();
    assert!(says(&groups, new) && !says(&groups, old), "what was promised since is kept as well");
}

#[tokio::test]
async fn a_leader_that_is_being_freed_answers_no_reader() {
    let groups = Groups::new(foundation()).unwrap();
    let group = groups.open(ID).await.unwrap();
    lead(&group).await;
    let deadline = groups.env().clock.now() + PATIENCE;
    assert!(group.barrier(deadline).await.is_ok());
    // It still takes itself for the leader, and its only voter would say so.
    let mut stopping = Box::pin(group.stop());
    assert!(futures_util::poll!(&mut stopping).is_pending());
    assert_eq!(group.barrier(deadline).await, Err(ReadError::NotHere));
    stopping.await;
    assert!(group.barrier(deadline).await.is_err());
    groups.discard(ID).await.unwrap();
    assert!(group.barrier(deadline).await.is_err());
    groups.open(ID).await.unwrap();
    assert!(group.barrier(deadline).await.is_err(), "the replica that came back is another");
}

#[tokio::test]
async fn when_the_queue_is_full_a_claim_is_not_proved_and_the_group_is_asked_instead() {
    let base = foundation();
    let (queue, waiting) = mpsc::channel(1);
    let (answer, _waits) = oneshot::channel();
    queue.try_send((claim(1, vec![BTreeSet::from([1])]), answer)).unwrap();
    let full = Confirm { queue };
    assert_eq!(full.ask(claim(1, vec![BTreeSet::from([1])])).await, Word::Unproved);
    let group = alone(&base, full).await;
    let deadline = base.env.clock.now() + PATIENCE;
    assert_eq!(group.barrier(deadline).await, Ok(1));
    // Nor does it matter when nobody asks any more.
    drop(waiting);
    assert_eq!(group.barrier(deadline).await, Ok(1));
}

#[tokio::test]
async fn a_reader_whose_claim_is_never_settled_waits_no_longer_than_its_deadline() {
    let base = foundation();
    let (queue, _waiting) = mpsc::channel(8);
    let group = alone(&base, Confirm { queue }).await;
    let deadline = base.env.clock.now() + Duration::from_millis(20);
    // At its end the group itself is asked, which may still know in time.
    let answered = group.barrier(deadline).await;
    assert!(matches!(answered, Ok(1) | Err(ReadError::TimedOut)), "{answered:?}");
}

proptest! {
    #[test]
    fn no_two_claims_are_confirmed_by_the_same_promises(
        voters in proptest::collection::btree_set(1u64..8, 1..6),
        extra in proptest::collection::btree_set(1u64..8, 0..6),
        promises in proptest::collection::vec(any::<bool>(), 8),
    ) {
        let voters: Vec<u64> = voters.into_iter().collect();
        let extra: Vec<u64> = extra.into_iter().collect();
        let mut configs: Vec<&[u64]> = vec![&voters];
        if !extra.is_empty() {
            configs.push(&extra);
        }
        let (mut one, mut other) = (asked(&configs), asked(&configs));
        for (voter, to_one) in (1u64..).zip(promises) {
            let (yes, no) = if to_one { (&mut one, &mut other) } else { (&mut other, &mut one) };
            yes.granted.insert(voter);
            no.denied.insert(voter);
        }
        let both = (one.word(), other.word()) == (Some(Word::Leads), Some(Word::Leads));
        prop_assert!(!both);
        prop_assert!(one.word().is_some() && other.word().is_some());
    }
}
