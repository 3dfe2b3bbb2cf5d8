//! One watch: reads what its bell rang for, in order, when its client takes it.
//!
//! ```text
//!   initial state (a scan of a view) ---> synced ---> changes after exactly that view ---> end
//! ```
//!
//! Promises: every change once, in its group's order; an entry is read whole; nothing is held but
//! one read of [`WATCH_READ_BYTES`] and an entry; never a silent gap: a watch whose next change is
//! gone everywhere ends. Relies on the hub's bells, the histories of any replica, and `Position`.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;

use crate::model::{GroupId, Row, split_data_key};
use crate::runtime::Moment;
use crate::runtime::limits::{
    FEED_RETRY, SCAN_CHUNK_WAIT_MAX, SCAN_LIMIT_MAX, WATCH_BOOKMARK_EVERY, WATCH_READ_BYTES,
    WATCH_SEEK_MAX,
};
use crate::service::feed::place::Place;
use crate::service::feed::{ChangesAnswer, ChangesAsk, FeedError, ask_changes};
use crate::service::scan::merge::{Merger, edge_of};
use crate::service::scan::{Item, KeyRange, item};
use crate::storage::state::{Change, Gone};

use super::bell::{Bell, Span};
use super::event::{EndReason, Kind, Kinds, WatchEvent, Watched};
use super::hub::{Admitted, Hub, Tick};
use super::position::Position;

/// What a watch shows.
#[derive(Clone, Debug)]
pub(super) struct Filter {
    pub(super) range: KeyRange,
    pub(super) kinds: Kinds,
    /// With what was there before.
    pub(super) previous: bool,
}

/// A watch under way. Dropping it ends it.
#[derive(Debug)]
pub struct Watch {
    pub(super) admitted: Admitted,
    pub(super) place: Place,
    pub(super) filter: Filter,
    pub(super) bounds: (Bytes, Bytes),
    pub(super) bell: Arc<Bell>,
    pub(super) ticks: watch::Receiver<Option<Arc<Tick>>>,
    pub(super) position: Position,
    /// The initial state, as far as it is not shown.
    pub(super) initial: Option<Merger>,
    /// Read and not yet shown.
    pub(super) queue: VecDeque<Queued>,
    /// What is done with once the queue is empty.
    pub(super) read: Option<(GroupId, u64)>,
    pub(super) last_group: GroupId,
    /// Since when a change that comes next is looked for at other nodes.
    pub(super) seeking_since: Option<Moment>,
    pub(super) ended: bool,
}

/// An event, and what is done with once it is shown.
#[derive(Debug)]
pub(super) struct Queued {
    event: Watched,
    done: Done,
}

#[derive(Debug)]
enum Done {
    /// The first key that is not shown yet.
    Initial {
        edge: Bytes,
    },
    Change {
        last_of_entry: bool,
    },
}

impl Drop for Watch {
    fn drop(&mut self) {
        let prefix = self.filter.range.shared_prefix();
        let mut index = self.admitted.hub.index.write();
        index.remove(self.place.namespace, &prefix, self.admitted.id);
    }
}

impl Watch {
    /// The next event; `None` after the end. Dropped half way, only [`Watch::cursor`] may be asked.
    pub async fn next(&mut self) -> Option<WatchEvent> {
        loop {
            if self.ended {
                return None;
            }
            let hub = Arc::clone(&self.admitted.hub);
            if hub.closing.is_cancelled() || hub.env.tasks.is_stopping() {
                return Some(self.end(EndReason::NodeStopping));
            }
            if self.ticks.has_changed().unwrap_or(false) {
                return Some(self.told());
            }
            if let Some(queued) = self.queue.pop_front() {
                return Some(self.shown(queued));
            }
            if let Some((group, upto)) = self.read.take() {
                self.position.reach(group, upto);
            }
            if self.initial.is_some() {
                if let Some(event) = self.read_initial().await {
                    return Some(event);
                }
                continue;
            }
            if let Some((group, span)) = self.bell.take(self.last_group) {
                self.last_group = group;
                if let Some(reason) = self.read_changes(&hub, group, span).await {
                    return Some(self.end(reason));
                }
                continue;
            }
            tokio::select! {
                () = self.bell.rung() => {}
                _ = self.ticks.changed() => { self.ticks.mark_changed(); }
                () = hub.closing.cancelled() => {}
                () = hub.env.tasks.stopping() => {}
            }
        }
    }

    /// Where the watch stands: after all events that were returned.
    pub fn cursor(&self) -> Arc<str> {
        self.position.cursor(&self.place).encode().into()
    }

    fn end(&mut self, reason: EndReason) -> WatchEvent {
        self.ended = true;
        WatchEvent::End { reason, cursor: self.cursor() }
    }

    /// A bookmark, or the end when there is nothing more to watch.
    fn told(&mut self) -> WatchEvent {
        let tick = self.ticks.borrow_and_update().clone();
        let Some(tick) = tick else { return WatchEvent::Bookmark { cursor: self.cursor() } };
        if let Some(catalog) = &tick.catalog
            && catalog.epoch > self.place.epoch
        {
            match Place::of(catalog, &self.place.name) {
                Ok(now) if now.namespace != self.place.namespace => {
                    return self.end(EndReason::NamespaceDeleted);
                }
                // Also when it is on again: what was not recorded is missing.
                Ok(now) if !now.recorded || now.recorded_since != self.place.recorded_since => {
                    return self.end(EndReason::HistoryOff);
                }
                Ok(now) => self.place.epoch = now.epoch,
                Err(_) => return self.end(EndReason::NamespaceDeleted),
            }
        }
        // Positions are published after the bells are rung, so a quiet bell now says that nothing up
        // to the tick is left.
        let idle = self.queue.is_empty() && self.read.is_none() && self.bell.is_quiet();
        if idle && self.position.adopt(&tick.vector) {
            return WatchEvent::Bookmark { cursor: tick.text(&self.place) };
        }
        WatchEvent::Bookmark { cursor: self.cursor() }
    }

    fn shown(&mut self, queued: Queued) -> WatchEvent {
        let Queued { mut event, done } = queued;
        match done {
            Done::Initial { edge } => {
                if let Some((_, position)) = &mut self.position.initial {
                    *position = edge;
                }
            }
            Done::Change { last_of_entry: true } => self.position.reach(event.group, event.index),
            Done::Change { last_of_entry: false } => {
                self.position.reach_part(event.group, event.index, event.seq);
            }
        }
        event.cursor = self.cursor();
        WatchEvent::Change(Box::new(event))
    }

    async fn read_initial(&mut self) -> Option<WatchEvent> {
        let clock = Arc::clone(&self.admitted.hub.env.clock);
        let deadline = clock.now() + SCAN_CHUNK_WAIT_MAX;
        let merger = self.initial.as_mut()?;
        let taken = merger.take(SCAN_LIMIT_MAX, WATCH_READ_BYTES, deadline).await;
        let taken = match taken {
            Ok(taken) => taken,
            Err(error) => return Some(self.end(reason_of(&error))),
        };
        if taken.is_empty() {
            self.initial = None;
            self.position.initial = None;
            self.ring_for_all();
            return Some(WatchEvent::Synced { cursor: self.cursor() });
        }
        for merged in taken {
            let edge = edge_of(&merged, false).unwrap_or_else(|| self.bounds.1.clone());
            let Ok(Item::Key { key, group, row: Some(row) }) = item(merged) else {
                return Some(self.end(EndReason::Broken));
            };
            let event = Watched {
                kind: Kind::Put,
                key,
                group,
                index: row.at,
                seq: 0,
                row: Some(row),
                previous: None,
                initial: true,
                cursor: Arc::from(""),
            };
            self.queue.push_back(Queued { event, done: Done::Initial { edge } });
        }
        None
    }

    /// Has every group looked at, from where the watch stands to where the hub does. The watch must
    /// stand in the index already: what the hub has passed before that was rung for others only, and
    /// the replica here may be behind it, as after a restart.
    pub(super) fn ring_for_all(&self) {
        for feed in &self.admitted.feeds {
            let first = self.position.of_group(feed.group).saturating_add(1);
            let last = feed.reached().unwrap_or(0);
            self.bell.ring(feed.group, Span { first, last });
        }
    }

    /// Reads what follows in a group; why the watch must end, if it must.
    async fn read_changes(&mut self, hub: &Hub, group: GroupId, span: Span) -> Option<EndReason> {
        let after = self.position.of_group(group).max(span.first.saturating_sub(1));
        let (from, to) = self.bounds.clone();
        let here = hub.read(group, after, (&from, &to), WATCH_READ_BYTES);
        let (changes, upto, applied) = match here {
            Ok(found) if found.applied >= span.last || found.upto > after => {
                (found.changes, found.upto, found.applied)
            }
            // Trimmed here, or the replica here lags behind what was rung for.
            Ok(_) | Err(Gone { .. }) => match self.seek(hub, group, after, span).await {
                Ok(found) => (found.changes, found.upto, found.applied),
                Err(None) => {
                    self.bell.ring(group, span);
                    tokio::time::sleep(FEED_RETRY).await;
                    return None;
                }
                Err(reason) => return reason,
            },
        };
        self.seeking_since = None;
        if changes.is_empty() && upto <= after && after < applied.max(span.last) {
            // Nothing moves here now: others are to have their turn before it is looked at again.
            tokio::time::sleep(FEED_RETRY).await;
        }
        // What the note was for is covered by what was read, or is noted again.
        if upto < applied.max(span.last) {
            self.bell.ring(group, Span { first: upto.saturating_add(1), last: span.last });
        }
        if !self.queue_changes(group, changes) {
            return Some(EndReason::Broken);
        }
        self.read = Some((group, upto));
        None
    }

    /// Asks all replicas for what is not here. `Err(None)`: not now, but perhaps soon.
    async fn seek(
        &mut self,
        hub: &Hub,
        group: GroupId,
        after: u64,
        span: Span,
    ) -> Result<ChangesAnswer, Option<EndReason>> {
        let now = hub.env.clock.now();
        let since = *self.seeking_since.get_or_insert(now);
        let ask = ChangesAsk {
            after,
            from: self.bounds.0.clone(),
            to: self.bounds.1.clone(),
            bytes_max: WATCH_READ_BYTES,
            at_least: span.last,
            wait_ms: 0,
        };
        // A little at a time: the client is to be told meanwhile that it is still served.
        let deadline = now + WATCH_BOOKMARK_EVERY;
        let found = ask_changes(hub.reach.as_ref(), group, ask, deadline).await;
        found.map_err(|error| match error {
            FeedError::Gone { all: false, .. } | FeedError::Unavailable { .. }
                if hub.env.clock.now().since(since) < WATCH_SEEK_MAX =>
            {
                None
            }
            error => Some(reason_of(&error)),
        })
    }

    /// False when a row cannot be read.
    fn queue_changes(&mut self, group: GroupId, changes: Vec<Change>) -> bool {
        for change in changes {
            if self.position.is_past(group, change.index, change.seq) {
                continue;
            }
            let Some(event) = self.event(group, &change) else { return false };
            let Some(event) = event else { continue };
            if let Some(last) = self.queue.back_mut()
                && last.event.index == change.index
            {
                last.done = Done::Change { last_of_entry: false };
            }
            self.queue.push_back(Queued { event, done: Done::Change { last_of_entry: true } });
        }
        true
    }

    /// The event of a change, if it is to be shown; `None` when it cannot be read.
    fn event(&self, group: GroupId, change: &Change) -> Option<Option<Watched>> {
        let Some((namespace, key)) = split_data_key(&change.key) else { return Some(None) };
        let Some(kind) = Kind::of(change.note) else { return Some(None) };
        if namespace != self.place.namespace
            || !self.filter.range.contains(key)
            || !self.filter.kinds.contains(kind)
        {
            return Some(None);
        }
        let row = |bytes: &Option<Bytes>| bytes.as_ref().map(Row::decode).transpose().ok();
        Some(Some(Watched {
            kind,
            key: change.key.slice_ref(key),
            group,
            index: change.index,
            seq: change.seq,
            row: row(&change.after)?,
            previous: if self.filter.previous { row(&change.before)? } else { None },
            initial: false,
            cursor: Arc::from(""),
        }))
    }
}

fn reason_of(error: &FeedError) -> EndReason {
    match error {
        FeedError::Gone { .. } => EndReason::HistoryTrimmed,
        FeedError::Unavailable { .. } => EndReason::Unavailable,
        FeedError::Broken { .. } => EndReason::Broken,
    }
}
