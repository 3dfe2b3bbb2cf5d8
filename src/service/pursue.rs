//! Getting work done by whoever can do it, until the deadline.
//!
//! ```text
//!   catalog -> group -> likeliest node -> here: act            -> done
//!                  ^                   \-> there: forward once -> done, or declined
//!                  '--- wait for a new leader or a new catalog <-----'
//! ```
//!
//! Promises: work whose fate is unknown is never repeated when it is a write, unless a once key keeps
//! it from being done twice; everything that surely had no effect is repeated until the deadline.
//! Whoever learns that its catalog is too old waits for the newer one and has the request looked up
//! and encoded again; that a namespace does not exist is said only by the newest one. Waiting is on changes of leader and catalog, with a tick that grows as a
//! fallback for what this node cannot see. Relies on `act` here and on `inbox` at the other node,
//! which never passes work on.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::consensus::channel::FORWARD;
use crate::model::{GroupId, NodeId, Reply};
use crate::peer::{Lane, PeerError};
use crate::placement::Catalog;
use crate::runtime::limits::{
    FORWARD_MARGIN, ONCE_ATTEMPT_MAX, READ_ATTEMPT_MAX, RETRY_TICK_FIRST, RETRY_TICK_MAX,
};

use super::act::{Site, act};
use super::error::{ErrorKind, ServiceError};
use super::forward::{Decline, Done, Forwarded, Freshness, Work, decode_answer};
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

/// Work for one epoch of the catalog.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) target: Target,
    pub(super) work: Work,
    /// Whether a write may be handed over again although it may have been done: it has a once key.
    pub(super) repeatable: bool,
}

impl Plan {
    /// Work that is no write.
    pub(super) fn read(target: Target, work: Work) -> Self {
        Self { target, work, repeatable: false }
    }
}

/// Looks a request up in a catalog; asked again for each newer one.
pub(super) type Planner<'a> = &'a (dyn Fn(&Map) -> Result<Plan, ServiceError> + Send + Sync);

/// What one attempt came to.
enum Step {
    Done(Done),
    /// Surely without effect, or harmless to repeat: the next node, or the next round.
    Next(Decline),
    /// This node's word is as good as any: the error is final.
    Final(ErrorKind),
}

/// One request on its way.
struct Pursuit<'a> {
    hall: &'a Hall,
    planner: Planner<'a>,
    context: &'a Context,
    round: Round,
    tick: Duration,
    /// The leader that was known when the round began; a change ends the waiting.
    leader_seen: Option<NodeId>,
    epoch_seen: u64,
    last: Option<Decline>,
    /// An attempt may have been done, and its answer was lost.
    uncertain: Option<String>,
    /// Whether the work is a write.
    writes: bool,
    /// The index that the session asks for.
    asked: u64,
}

/// Has work done within the context's deadline. Cancel-safe as `act` is.
pub(super) async fn pursue(
    hall: &Hall,
    context: &Context,
    planner: Planner<'_>,
) -> Result<Reached, ServiceError> {
    let mut pursuit = Pursuit {
        hall,
        planner,
        context,
        round: Round::default(),
        tick: RETRY_TICK_FIRST,
        leader_seen: None,
        epoch_seen: 0,
        last: None,
        uncertain: None,
        writes: false,
        asked: 0,
    };
    let result = pursuit.run().await;
    result.map_err(|error| pursuit.doubted(error))
}

impl Hall {
    /// Passes work to another node, once.
    pub(super) async fn pass(
        &self,
        node: NodeId,
        request: Forwarded,
        patience: Duration,
    ) -> Result<Done, Decline> {
        let call = self.transport.call(node, FORWARD, Lane::Data, request.encode(), patience).await;
        let passed = match &call {
            Ok(_) => Passed::Answered,
            Err(PeerError::NotSent { .. } | PeerError::Refused { .. }) => Passed::NotSent,
            Err(PeerError::Unknown { .. }) => Passed::Unknown,
        };
        self.metrics.passed(passed);
        match call {
            Ok(answer) => decode_answer(&answer)
                .unwrap_or_else(|error| Err(Decline::Unknown { reason: error.to_string() })),
            Err(error @ (PeerError::NotSent { .. } | PeerError::Refused { .. })) => {
                Err(Decline::Stopped { reason: format!("node {node}: {error}") })
            }
            Err(PeerError::Unknown { reason }) => {
                Err(Decline::Unknown { reason: format!("node {node}: {reason}") })
            }
        }
    }
}

impl Pursuit<'_> {
    async fn run(&mut self) -> Result<Reached, ServiceError> {
        let mut planned: Option<(Arc<Map>, Plan)> = None;
        loop {
            let Some(map) = self.hall.map() else {
                self.wait(None).await?;
                continue;
            };
            let (map, plan) = match planned.take() {
                Some((known, plan)) if known.catalog.epoch == map.catalog.epoch => (known, plan),
                _ => {
                    self.round = Round::default();
                    let plan = match (self.planner)(&map) {
                        Ok(plan) => plan,
                        Err(error) => {
                            self.confirm(&map, error).await?;
                            continue;
                        }
                    };
                    self.writes = plan.work.is_write();
                    if let Work::Read(find) = &plan.work {
                        self.asked = find.at_least;
                    }
                    (map, plan)
                }
            };
            let reached = self.step(&map, &plan).await?;
            if let Some(reached) = reached {
                return Ok(reached);
            }
            planned = Some((map, plan));
        }
    }

    /// Returns when a newer catalog may know the namespace that this one does not; otherwise the
    /// error is final.
    async fn confirm(&self, map: &Map, error: ServiceError) -> Result<(), ServiceError> {
        if !error.is_unknown_namespace() {
            return Err(error);
        }
        let newest = self.hall.newest.catalog(self.context.deadline).await?;
        if newest.epoch > map.catalog.epoch { Ok(()) } else { Err(error) }
    }

    /// Asks the next node, or waits for the next round when there is none.
    async fn step(&mut self, map: &Map, plan: &Plan) -> Result<Option<Reached>, ServiceError> {
        self.epoch_seen = map.catalog.epoch;
        let Some((group, entry)) = map.place(plan.target) else {
            self.wait(None).await?;
            return Ok(None);
        };
        if self.round.is_fresh() {
            self.begin_round(&plan.work, group).await?;
        }
        let Some(node) = self.round.next(self.known(map, plan, group), entry) else {
            self.end_round(plan, group)?;
            self.wait(Some(group)).await?;
            self.round = Round::default();
            return Ok(None);
        };
        if self.remaining().is_zero() {
            return Err(self.out_of_time(Some(group)));
        }
        match self.attempt(node, group, plan).await {
            Step::Done(done) => Ok(Some(Reached { group, by: node, done })),
            Step::Final(kind) => {
                Err(ServiceError::from(kind).about(group, self.known(map, plan, group)))
            }
            Step::Next(decline) => {
                // Other replicas know no better: what is missing is here.
                let newer = matches!(decline, Decline::NotOwner { .. });
                self.note(node, decline);
                if newer {
                    self.wait(Some(group)).await?;
                    self.round = Round::default();
                }
                Ok(None)
            }
        }
    }

    /// Whom to ask by what this node knows itself.
    fn known(&self, map: &Map, plan: &Plan, group: GroupId) -> Option<NodeId> {
        let here = self.hall.node;
        let replica = || map.catalog.groups.get(&group).is_some_and(|g| g.replicas.contains(&here));
        if plan.work.is_local() && self.round.is_fresh() && replica() {
            return Some(here);
        }
        self.hall.wing.leader(group)
    }

    /// Notes what is known, and lets a running election end before others are disturbed.
    async fn begin_round(&mut self, work: &Work, group: GroupId) -> Result<(), ServiceError> {
        self.leader_seen = self.hall.wing.leader(group);
        let hosts = self.hall.wing.watch_leader(group).is_some();
        if self.leader_seen.is_none() && !work.is_local() && hosts {
            self.wait(Some(group)).await?;
            self.leader_seen = self.hall.wing.leader(group);
        }
        Ok(())
    }

    /// A bound that nobody could keep is refused at once: the client decides what is next.
    fn end_round(&self, plan: &Plan, group: GroupId) -> Result<(), ServiceError> {
        let Work::Read(find) = &plan.work else { return Ok(()) };
        let Freshness::Within(bound_ms) = find.freshness else { return Ok(()) };
        if self.last != Some(Decline::TooStale) {
            return Ok(());
        }
        let bound = Duration::from_millis(bound_ms);
        let error = ServiceError::from(ErrorKind::TooStale { bound });
        Err(error.about(group, self.hall.wing.leader(group)))
    }

    async fn attempt(&self, node: NodeId, group: GroupId, plan: &Plan) -> Step {
        let mut patience = self.remaining();
        if !plan.work.is_write() && !matches!(plan.work, Work::LockWait(_)) {
            // A leader that hangs must not take all of the time that a read could spend elsewhere.
            patience = patience.min(READ_ATTEMPT_MAX);
        } else if plan.repeatable {
            patience = patience.min(ONCE_ATTEMPT_MAX);
        }
        let (hall, epoch) = (self.hall, self.epoch_seen);
        if node == hall.node {
            // Here nothing hangs unseen; but a proposal that may be repeated is not waited for too
            // long either.
            let patience = if plan.repeatable { patience } else { self.remaining() };
            let deadline = hall.env.clock.now() + patience;
            let site = Site { hall, group, epoch, deadline };
            return self.judge(plan, act(site, plan.work.clone()).await);
        }
        let request = Forwarded {
            group,
            epoch,
            remaining: patience.saturating_sub(FORWARD_MARGIN.min(patience / 4)),
            hops: 1,
            request_id: self.context.request_id.to_string(),
            work: plan.work.clone(),
        };
        self.judge(plan, hall.pass(node, request, patience).await)
    }

    /// Which answers are final.
    fn judge(&self, plan: &Plan, result: Result<Done, Decline>) -> Step {
        match result {
            Ok(Done::Proposed { index, reply }) => match Reply::decode(&reply) {
                Ok(Reply::NotOwner { epoch }) => Step::Next(Decline::NotOwner { epoch }),
                Ok(_) => Step::Done(Done::Proposed { index, reply }),
                Err(error) => Step::Final(ErrorKind::Internal { reason: error.to_string() }),
            },
            Ok(done) => Step::Done(done),
            Err(Decline::Unknown { reason }) if plan.work.is_write() && !plan.repeatable => {
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
        if let Decline::Unknown { reason } = &decline {
            self.uncertain = Some(reason.clone());
        }
        self.round.declined(node, hint);
        // What the others say when the leader has too much to do explains nothing.
        if self.last != Some(Decline::Overloaded) {
            self.last = Some(decline);
        }
    }

    /// An error after an attempt that may have been done says nothing of that attempt.
    fn doubted(&self, error: ServiceError) -> ServiceError {
        match &self.uncertain {
            Some(reason) if self.writes => {
                ServiceError { kind: ErrorKind::Undetermined { reason: reason.clone() }, ..error }
            }
            _ => error,
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
        self.context.deadline.since(self.hall.env.clock.now())
    }

    /// Nothing was proposed, or all that was surely had no effect.
    fn out_of_time(&self, group: Option<GroupId>) -> ServiceError {
        let kind = match (&self.last, group) {
            (Some(Decline::Overloaded), _) => {
                ErrorKind::Overloaded { reason: "the leader has too much to do".into() }
            }
            (_, None) => ErrorKind::Unavailable { reason: "this node knows no catalog yet".into() },
            (Some(Decline::Behind), _) => ErrorKind::SessionBehind { asked: self.asked },
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
pub(super) async fn until<T>(mut watch: watch::Receiver<T>, condition: impl FnMut(&T) -> bool) {
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
        Some(Decline::Behind) => format!("no replica of group {group} has caught up"),
        Some(Decline::TooStale) => format!("no replica of group {group} is fresh enough"),
        Some(Decline::Overloaded) => format!("group {group} has too much to do"),
        Some(
            Decline::Stopped { reason }
            | Decline::Malformed { reason }
            | Decline::Unknown { reason }
            | Decline::Broken { reason },
        ) => format!("group {group}: {reason}"),
    }
}
