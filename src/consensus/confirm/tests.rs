//! What a quorum is, and whom a promise serves.

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use proptest::prelude::*;

use super::*;
use crate::consensus::types::{LogId, Membership};
use crate::peer::{Channel, PeerError, PeerStream};
use crate::runtime::Moment;

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
