//! Getting work done by whoever can do it, until the deadline.
//!
//! ```text
//!   catalog -> group -> likeliest node -> here: act            -> done
//!                  ^                   \-> there: forward once -> done, or declined
//!                  '--- wait for a new leader or a new catalog <-----'
//! ```
//!
//! Promises: work whose fate is unknown is never repeated when it is a write; everything that surely
//! had no effect is repeated until the deadline; waiting is on changes of leader and catalog, with a
//! tick that grows as a fallback for what this node cannot see. Relies on `act` here and on
//! `inbox` at the other node, which never passes work on.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::consensus::channel::FORWARD;
use crate::model::{GroupId, NodeId};
use crate::peer::{Lane, PeerError};
use crate::placement::Catalog;
use crate::runtime::Moment;
use crate::runtime::limits::{FORWARD_MARGIN, READ_ATTEMPT_MAX, RETRY_TICK_FIRST, RETRY_TICK_MAX};

use super::act::act;
use super::error::{ErrorKind, ServiceError};
use super::forward::{Decline, Done, Forwarded, Work, decode_answer};
use super::metrics::Passed;
use super::route::{Map, Round, Target};
use super::{Context, Hall};

/// Work done, by whom and for which group.
#[derive(Debug)]
pub(super) struct Reached {
    pub(super) group: GroupId,
    pub(super) by: NodeId,
    pub(super) done: Done,
}

/// What one attempt came to.
enum Step {
    Done(Done),
    /// Surely without effect: the next node, or the next round.
    Next(Decline),
    /// This node's word is as good as any: the error is final.
    Final(ErrorKind),
}

/// One request on its way.
struct Pursuit<'a> {
    hall: &'a Hall,
    target: Target,
    work: Work,
    context: &'a Context,
    round: Round,
    tick: Duration,
    /// The leader that was known when the round began; a change ends the waiting.
    leader_seen: Option<NodeId>,
    epoch_seen: u64,
    last: Option<Decline>,
}

/// Has work done for a target within the context's deadline. Cancel-safe as `act` is.
pub(super) async fn pursue(
    hall: &Hall,
    target: Target,
    work: Work,
    context: &Context,
) -> Result<Reached, ServiceError> {
    let mut pursuit = Pursuit {
        hall,
        target,
        work,
        context,
        round: Round::default(),
        tick: RETRY_TICK_FIRST,
        leader_seen: None,
        epoch_seen: 0,
        last: None,
    };
    pursuit.run().await
}

impl Pursuit<'_> {
    async fn run(&mut self) -> Result<Reached, ServiceError> {
        loop {
            let map = self.hall.map();
            let place = map.as_ref().and_then(|map| map.place(self.target));
            let (Some(map), Some((group, entry))) = (map.as_ref(), place) else {
                self.epoch_seen = map.as_ref().map_or(0, |map| map.catalog.epoch);
                self.wait(None).await?;
                continue;
            };
            if self.round.is_fresh() {
                self.begin_round(map, group).await?;
            }
            let Some(node) = self.round.next(self.known(map, group), entry) else {
                self.wait(Some(group)).await?;
                self.round = Round::default();
                continue;
            };
            if self.remaining().is_zero() {
                return Err(self.out_of_time(Some(group)));
            }
            match self.attempt(node, group, map.catalog.epoch).await {
                Step::Done(done) => return Ok(Reached { group, by: node, done }),
                Step::Final(kind) => {
                    return Err(ServiceError::from(kind).about(group, self.known(map, group)));
                }
                Step::Next(decline) => self.note(node, decline),
            }
        }
    }

    /// Whom to ask by what this node knows itself.
    fn known(&self, map: &Map, group: GroupId) -> Option<NodeId> {
        let here = self.hall.node;
        match &self.work {
            Work::ReadStale(..) => {
                let entry = map.catalog.groups.get(&group)?;
                entry.replicas.contains(&here).then_some(here)
            }
            Work::Propose(_) | Work::Read(..) => self.hall.wing.leader(group),
        }
    }

    /// Notes what is known, and lets a running election end before others are disturbed.
    async fn begin_round(&mut self, map: &Map, group: GroupId) -> Result<(), ServiceError> {
        self.epoch_seen = map.catalog.epoch;
        self.leader_seen = self.hall.wing.leader(group);
        let stale = matches!(self.work, Work::ReadStale(..));
        if self.leader_seen.is_none() && !stale && self.hall.wing.watch_leader(group).is_some() {
            self.wait(Some(group)).await?;
            self.leader_seen = self.hall.wing.leader(group);
        }
        Ok(())
    }

    async fn attempt(&self, node: NodeId, group: GroupId, epoch: u64) -> Step {
        if node == self.hall.node {
            let result = act(
                &self.hall.wing,
                &self.hall.env,
                group,
                self.work.clone(),
                self.context.deadline,
            );
            return self.judge(result.await);
        }
        self.forward(node, group, epoch).await
    }

    async fn forward(&self, node: NodeId, group: GroupId, epoch: u64) -> Step {
        let mut patience = self.remaining();
        if !self.work.is_write() {
            // A leader that hangs must not take all of the time that a read could spend elsewhere.
            patience = patience.min(READ_ATTEMPT_MAX);
        }
        let request = Forwarded {
            group,
            epoch,
            remaining: patience.saturating_sub(FORWARD_MARGIN.min(patience / 4)),
            hops: 1,
            request_id: self.context.request_id.clone(),
            work: self.work.clone(),
        };
        let call =
            self.hall.transport.call(node, FORWARD, Lane::Data, request.encode(), patience).await;
        let passed = match &call {
            Ok(_) => Passed::Answered,
            Err(PeerError::NotSent { .. } | PeerError::Refused { .. }) => Passed::NotSent,
            Err(PeerError::Unknown { .. }) => Passed::Unknown,
        };
        self.hall.metrics.passed(passed);
        match call {
            Ok(answer) => match decode_answer(&answer) {
                Ok(result) => self.judge(result),
                Err(error) => self.judge(Err(Decline::Unknown { reason: error.to_string() })),
            },
            Err(error @ (PeerError::NotSent { .. } | PeerError::Refused { .. })) => {
                Step::Next(Decline::Stopped { reason: format!("node {node}: {error}") })
            }
            Err(PeerError::Unknown { reason }) => {
                self.judge(Err(Decline::Unknown { reason: format!("node {node}: {reason}") }))
            }
        }
    }

    /// Which answers are final.
    fn judge(&self, result: Result<Done, Decline>) -> Step {
        match result {
            Ok(done) => match self.hall.not_owner(&done) {
                Ok(None) => Step::Done(done),
                Ok(Some(epoch)) => Step::Next(Decline::NotOwner { epoch }),
                Err(kind) => Step::Final(kind),
            },
            Err(Decline::Unknown { reason }) if self.work.is_write() => {
                Step::Final(ErrorKind::Undetermined { reason })
            }
            Err(Decline::Broken { reason }) => Step::Final(ErrorKind::Internal { reason }),
            Err(decline) => Step::Next(decline),
        }
    }

    fn note(&mut self, node: NodeId, decline: Decline) {
        tracing::debug!(%node, ?decline, "declined");
        let hint = match &decline {
            Decline::NotLeader { leader } => *leader,
            _ => None,
        };
        self.round.declined(node, hint);
        // What the others say when the leader has too much to do explains nothing.
        if self.last != Some(Decline::Overloaded) {
            self.last = Some(decline);
        }
    }

    /// Waits for another leader, another catalog, or the tick; an error once the time is over.
    async fn wait(&mut self, group: Option<GroupId>) -> Result<(), ServiceError> {
        let remaining = self.remaining();
        if remaining.is_zero() {
            return Err(self.out_of_time(group));
        }
        self.hall.metrics.waited();
        let leader_seen = self.leader_seen;
        let leader = async {
            match group.and_then(|group| self.hall.wing.watch_leader(group)) {
                Some(watch) => until(watch, |leader| *leader != leader_seen).await,
                None => std::future::pending().await,
            }
        };
        let epoch_seen = self.epoch_seen;
        let catalog = until(self.hall.wing.catalog(), |catalog| epoch_of(catalog) > epoch_seen);
        tokio::select! {
            () = leader => {}
            () = catalog => {}
            () = self.hall.env.tasks.stopping() => {
                let reason = "the node is stopping".to_owned();
                return Err(ErrorKind::Unavailable { reason }.into());
            }
            () = tokio::time::sleep(self.tick.min(remaining)) => {
                self.tick = (self.tick * 2).min(RETRY_TICK_MAX);
            }
        }
        Ok(())
    }

    fn remaining(&self) -> Duration {
        let deadline: Moment = self.context.deadline;
        deadline.since(self.hall.env.clock.now())
    }

    /// Nothing was proposed, or all that was surely had no effect.
    fn out_of_time(&self, group: Option<GroupId>) -> ServiceError {
        let kind = match (&self.last, group) {
            (Some(Decline::Overloaded), _) => {
                ErrorKind::Overloaded { reason: "the leader has too much to do".into() }
            }
            (_, None) => ErrorKind::Unavailable { reason: "this node knows no catalog yet".into() },
            (last, Some(group)) => {
                ErrorKind::Unavailable { reason: describe(group, last.as_ref()) }
            }
        };
        let error = ServiceError::from(kind);
        match group {
            Some(group) => error.about(group, self.hall.wing.leader(group)),
            None => error,
        }
    }
}

/// Resolves once the watched value fulfils the condition; never when it will not change any more.
async fn until<T>(mut watch: watch::Receiver<T>, condition: impl FnMut(&T) -> bool) {
    if watch.wait_for(condition).await.is_err() {
        std::future::pending::<()>().await;
    }
}

fn epoch_of(catalog: &Option<Arc<Catalog>>) -> u64 {
    catalog.as_ref().map_or(0, |catalog| catalog.epoch)
}

/// The last obstacle, in words.
fn describe(group: GroupId, last: Option<&Decline>) -> String {
    match last {
        None | Some(Decline::NotLeader { .. }) => format!("group {group} has no known leader"),
        Some(Decline::NotHere) => format!("no replica of group {group} was found"),
        Some(Decline::NotOwner { epoch }) => {
            format!("group {group} does not own the key's slot as of epoch {epoch}")
        }
        Some(Decline::TimedOut) => format!("group {group} did not answer in time"),
        Some(Decline::Overloaded) => format!("group {group} has too much to do"),
        Some(
            Decline::Stopped { reason }
            | Decline::Malformed { reason }
            | Decline::Unknown { reason }
            | Decline::Broken { reason },
        ) => format!("group {group}: {reason}"),
    }
}
