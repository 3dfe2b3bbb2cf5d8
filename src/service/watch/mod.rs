//! Watches: every change of some keys once, in the order of each group, from any node.
//!
//! ```text
//!   Service::watch ---> Hub (one for the node) ---> Watch::next, pulled by the client's socket
//! ```
//!
//! Promises: from a cursor on, every change of the keys that are watched is shown exactly once, each
//! group's in its order, until the watch ends with a reason and a cursor. No order between groups is
//! promised. Nothing is buffered for a client that is slow: it reads the history when it can, and is
//! ended when the history no longer has what comes next anywhere.
//! Relies on: the history that every replica keeps of each group, the same for all of them.

mod bell;
mod event;
mod follow;
mod hub;
mod index;
mod mirror;
mod position;
mod watcher;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::StreamExt;

use crate::model::GroupId;
use crate::runtime::limits::{SCAN_PARALLEL_MAX, WATCHES_MAX};

use super::cursor::{Vector, WatchCursor};
use super::error::{ErrorKind, Gone, ServiceError};
use super::feed::place::Place;
use super::feed::{ChangesAsk, FeedError, Show, ask_changes};
use super::scan::merge::Merger;
use super::scan::{KeyRange, Scan, ScanRequest};
use super::{Context, ReadMode, Service};

use bell::Bell;
pub use event::{EndReason, Kind, Kinds, WatchEvent, Watched};
use hub::Admitted;
pub(super) use hub::Hub;
use position::Position;
use watcher::Filter;
pub use watcher::Watch;

/// Where a watch begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Since {
    /// With what is applied after this node's replicas of now, or after what the session has seen.
    /// Changes that were acknowledged a moment ago may come; later ones are never missed.
    Now,
    /// With the oldest changes that are kept.
    Start,
    /// After what this cursor stands for.
    Cursor(String),
}

/// What is watched, and how it is shown.
#[derive(Clone, Debug)]
pub struct WatchRequest {
    /// Which keys.
    pub range: KeyRange,
    /// From where on.
    pub since: Since,
    /// First the keys as they are; the changes after exactly that.
    pub initial: bool,
    /// With what was there before each change.
    pub previous: bool,
    /// Which changes.
    pub kinds: Kinds,
}

impl Service {
    /// Begins a watch.
    ///
    /// # Errors
    ///
    /// `HistoryOff`, `TooManyWatches`, `InvalidCursor`, `CursorGone` with a cursor to restart from, or
    /// what keeps a group from being followed.
    pub async fn watch(
        &self,
        namespace: &str,
        request: WatchRequest,
        context: Context,
    ) -> Result<Watch, ServiceError> {
        let place = self.place_by_floors(namespace, &context).await?;
        if !place.recorded {
            return Err(ErrorKind::HistoryOff { name: namespace.to_owned() }.into());
        }
        let hub = &self.flow.hub;
        if hub.closing.is_cancelled() {
            return Err(ErrorKind::Unavailable { reason: "the node is stopping".into() }.into());
        }
        let mut admitted = hub.admit().ok_or(ErrorKind::TooManyWatches { limit: WATCHES_MAX })?;
        let now = admitted.follow(&place.groups, context.deadline).await.map_err(|group| {
            let reason = format!("group {group} cannot be followed now");
            ServiceError::from(ErrorKind::Unavailable { reason }).about(group, None)
        })?;
        let begin = Begin { service: self, place: &place, request: &request, context: &context };
        let (position, initial) = begin.position(now).await?;
        if initial.is_none() {
            begin.check_kept(&admitted, &position).await?;
        }
        Ok(enlist(admitted, place, request, position, initial))
    }

    /// The namespace, by a catalog that is not older than what the replicas here know.
    async fn place_by_floors(
        &self,
        namespace: &str,
        context: &Context,
    ) -> Result<Place, ServiceError> {
        loop {
            let place = self.flow.place(namespace, context.deadline).await?;
            let floors = place.groups.iter().map(|group| self.hall.floor(*group));
            let floor = floors.max().unwrap_or(0);
            if self.flow.is_still(&place, floor, context.deadline).await? {
                self.recorded_by_all(&place, context).await?;
                return Ok(place);
            }
        }
    }

    /// Has every group take nothing that was routed before the history was switched on: by a node
    /// that had not heard of it, which would not be recorded.
    async fn recorded_by_all(&self, place: &Place, context: &Context) -> Result<(), ServiceError> {
        let raised = self.hall.raise(place.groups.clone(), place.recorded_since, context).await;
        raised.map_err(|error| {
            let reason = format!("the history is only being switched on: {error}");
            ServiceError { kind: ErrorKind::Unavailable { reason }, ..error }
        })
    }

    /// Ends all watches of this node, each with its cursor, so that their clients go on elsewhere.
    pub fn end_watches(&self) {
        self.flow.hub.close();
    }
}

/// From here on the watch is rung.
fn enlist(
    admitted: Admitted,
    place: Place,
    request: WatchRequest,
    position: Position,
    initial: Option<Merger>,
) -> Watch {
    let bell = Arc::new(Bell::default());
    let prefix = request.range.shared_prefix();
    admitted.hub.index.write().add(place.namespace, &prefix, admitted.id, Arc::clone(&bell));
    let watch = Watch {
        bounds: request.range.row_bounds(place.namespace),
        filter: Filter { range: request.range, kinds: request.kinds, previous: request.previous },
        ticks: admitted.hub.ticks(admitted.id),
        admitted,
        place,
        bell,
        position,
        initial,
        queue: VecDeque::new(),
        read: None,
        last_group: GroupId(0),
        seeking_since: None,
        ended: false,
    };
    // What came before the watch stood in the index is looked at here.
    watch.ring_for_all();
    watch
}

/// A watch that is about to begin.
struct Begin<'a> {
    service: &'a Service,
    place: &'a Place,
    request: &'a WatchRequest,
    context: &'a Context,
}

impl Begin<'_> {
    async fn position(&self, now: Vector) -> Result<(Position, Option<Merger>), ServiceError> {
        let cursor = match &self.request.since {
            Since::Cursor(text) => Some(self.cursor(text, &now)?),
            Since::Now | Since::Start => None,
        };
        if let Some((cursor, position)) = cursor {
            let merger = self.resumed_initial(&cursor, &position)?;
            return Ok((position, merger));
        }
        if self.request.initial {
            if self.request.since == Since::Start {
                let reason = "initial=1 begins with the keys as they are now, not at the start";
                return Err(ErrorKind::Invalid { reason: reason.into() }.into());
            }
            let (position, merger) = self.begun_initial().await?;
            return Ok((position, Some(merger)));
        }
        if self.request.since == Since::Start {
            return Ok((Position::at(self.floors(&now).await?), None));
        }
        let seen =
            |(group, index): (GroupId, u64)| (group, index.max(self.context.session.of(group)));
        Ok((Position::at(now.into_iter().map(seen).collect()), None))
    }

    fn cursor(&self, text: &str, now: &Vector) -> Result<(WatchCursor, Position), ServiceError> {
        let invalid = |reason: String| ErrorKind::InvalidCursor { reason };
        let cursor = WatchCursor::decode(text, self.place.scope())
            .map_err(|error| invalid(error.to_string()))?;
        if cursor.scope.recorded_since != self.place.recorded_since {
            let reason = "the history was switched off and on since the cursor".to_owned();
            let restart = Some(Position::at(now.clone()).cursor(self.place).encode());
            return Err(ErrorKind::CursorGone { gone: Gone::History, reason, restart }.into());
        }
        let position = Position::of(&cursor, self.place).ok_or_else(|| {
            invalid("this is no cursor for this request: it speaks of other groups".into())
        })?;
        Ok((cursor, position))
    }

    fn scan(&self) -> ScanRequest {
        ScanRequest {
            range: self.request.range.clone(),
            prefix_bytes: 0,
            reverse: false,
            show: Show::Rows,
            delimiter: None,
            read: ReadMode::Linearizable,
        }
    }

    /// The rest of an initial state that was not shown whole.
    fn resumed_initial(
        &self,
        cursor: &WatchCursor,
        position: &Position,
    ) -> Result<Option<Merger>, ServiceError> {
        let Some((query, edge)) = &cursor.initial else { return Ok(None) };
        let request = self.scan();
        let scan = Scan { flow: &self.service.flow, place: self.place, request: &request };
        if scan.query() != *query {
            let reason = "this cursor is of an initial state of other keys".into();
            return Err(ErrorKind::InvalidCursor { reason }.into());
        }
        let of = |group: &GroupId| (*group, position.of_group(*group));
        let view = self.place.groups.iter().map(of).collect();
        Ok(Some(scan.continued(edge.clone(), view, usize::MAX)))
    }

    async fn begun_initial(&self) -> Result<(Position, Merger), ServiceError> {
        let request = self.scan();
        let scan = Scan { flow: &self.service.flow, place: self.place, request: &request };
        let mut merger = scan.begun(usize::MAX, self.context).await?;
        // Asks every group, which settles the view.
        let deadline = self.context.deadline;
        merger.has_more(deadline).await.map_err(super::scan::scan_error)?;
        if !self.service.flow.is_still(self.place, merger.epoch(), deadline).await? {
            // The watch was placed a moment ago; whoever asks again is placed in the new one.
            return Err(ErrorKind::NamespaceNotFound { name: self.place.name.clone() }.into());
        }
        let mut position = Position::at(merger.view());
        let from = self.request.range.row_bounds(self.place.namespace).0;
        position.initial = Some((scan.query(), from));
        Ok((position, merger))
    }

    /// The oldest position of each group from which nothing is missing.
    async fn floors(&self, now: &Vector) -> Result<Vector, ServiceError> {
        let flow = &self.service.flow;
        let mut floors = Vector::new();
        for (group, now) in now {
            let ask = self.ask(0);
            let found = ask_changes(flow.reach.as_ref(), *group, ask, self.context.deadline).await;
            let floor = match found {
                Ok(found) => found.floor,
                Err(FeedError::Gone { floor, .. }) => floor.min(*now),
                Err(error) => return Err(super::scan::scan_error(error)),
            };
            floors.insert(*group, floor);
        }
        Ok(floors)
    }

    /// Whether some replica still has what follows; otherwise a refusal, with a cursor from which it
    /// goes on behind the gap.
    async fn check_kept(
        &self,
        admitted: &Admitted,
        position: &Position,
    ) -> Result<(), ServiceError> {
        let flow = &self.service.flow;
        let mut restart = position.clone();
        let mut lost = None;
        let (from, to) = self.request.range.row_bounds(self.place.namespace);
        let missing = self.place.groups.iter().copied().filter(|group| {
            let after = position.of_group(*group);
            admitted.hub.read(*group, after, (&from, &to), 1).is_err()
        });
        let mut asked = futures_util::stream::iter(missing)
            .map(|group| {
                let ask = self.ask(position.of_group(group));
                let reach = flow.reach.as_ref();
                async move { ask_changes(reach, group, ask, self.context.deadline).await }
            })
            .buffer_unordered(SCAN_PARALLEL_MAX);
        while let Some(found) = asked.next().await {
            match found {
                Ok(_) => {}
                Err(error @ FeedError::Gone { group, floor, .. }) => {
                    restart.reach(group, floor);
                    lost = Some((group, error.to_string()));
                }
                Err(error) => return Err(super::scan::scan_error(error)),
            }
        }
        let Some((group, reason)) = lost else { return Ok(()) };
        let restart = Some(restart.cursor(self.place).encode());
        let kind = ErrorKind::CursorGone { gone: Gone::History, reason, restart };
        Err(ServiceError::from(kind).about(group, None))
    }

    fn ask(&self, after: u64) -> ChangesAsk {
        let (from, to) = self.request.range.row_bounds(self.place.namespace);
        ChangesAsk { after, from, to, bytes_max: 1, at_least: 0, wait_ms: 0 }
    }
}
