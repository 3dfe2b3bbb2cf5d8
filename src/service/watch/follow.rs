//! Following one group for all watches of the node.
//!
//! Promises: entries are looked at once each and in order, from a replica here or from another node's;
//! changing from one to the other neither skips nor repeats. When the history is trimmed under the
//! follower every watch is rung, and finds out for itself. Ends when nobody watches any more.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;

use crate::model::NamespaceId;
use crate::runtime::Moment;
use crate::runtime::limits::{
    FEED_RETRY, MIRROR_ANSWER_BYTES, MIRROR_LINGER, MIRROR_WAIT, WATCH_DISPATCH_BYTES,
    WATCH_SEEK_MAX,
};
use crate::runtime::planted::{self, Bug};
use crate::service::feed::{ChangesAnswer, ChangesAsk, FeedError, ask_changes};
use crate::service::scan::KeyRange;
use crate::storage::state::Change;

use super::bell::Span;
use super::hub::{Feed, Hub};

/// Follows until nobody watches.
pub(super) async fn follow(hub: Arc<Hub>, feed: Arc<Feed>) {
    let mut idle_since: Option<Moment> = None;
    loop {
        if hub.wing.hosts(feed.group) {
            follow_here(&hub, &feed).await;
        } else {
            follow_there(&hub, &feed).await;
        }
        let now = hub.env.clock.now();
        if feed.users.load(Ordering::SeqCst) > 0 {
            idle_since = None;
        } else if now.since(*idle_since.get_or_insert(now)) >= MIRROR_LINGER && hub.forget(&feed) {
            return;
        }
    }
}

/// All data rows of all namespaces.
fn all_rows() -> (Bytes, Bytes) {
    let all = KeyRange::default();
    (all.row_bounds(NamespaceId(0)).0, all.row_bounds(NamespaceId(u64::MAX)).1)
}

/// Looks at what the replica here has applied since, or waits for more; a step at a time.
async fn follow_here(hub: &Hub, feed: &Feed) {
    let mut applied = hub.wing.applied_watch(feed.group);
    let now = *applied.borrow_and_update();
    let position = feed.reached().unwrap_or(now);
    feed.publish(position);
    if position < now {
        if !look(hub, feed, position, now) {
            tokio::time::sleep(FEED_RETRY).await;
        }
        return;
    }
    let changed = tokio::time::timeout(MIRROR_LINGER, applied.changed());
    if matches!(changed.await, Ok(Err(_))) {
        // Nothing is applied yet, or the replica goes.
        tokio::time::sleep(FEED_RETRY).await;
    }
}

/// False when nothing could be looked at.
fn look(hub: &Hub, feed: &Feed, position: u64, applied: u64) -> bool {
    let leader = hub.wing.leader(feed.group).map_or(0, |node| node.0);
    let jumps = planted::active(Bug::WatchDropsAtFailover)
        && planted::changed(1 << 40 | feed.group.0, leader);
    if jumps || hub.index.read().is_empty() {
        // Whoever comes now begins by reading for itself.
        feed.publish(applied);
        return true;
    }
    let (from, to) = all_rows();
    let within = (from.as_ref(), Some(to.as_ref()));
    match hub.wing.changes(feed.group, position, within, WATCH_DISPATCH_BYTES) {
        Ok(Ok(found)) if found.upto > position => {
            announce(hub, feed, &found.changes, found.upto);
            true
        }
        Ok(Ok(_)) | Err(_) => false,
        Ok(Err(gone)) => {
            announce_gap(hub, feed, position, gone.floor);
            true
        }
    }
}

fn announce(hub: &Hub, feed: &Feed, changes: &[Change], upto: u64) {
    if !changes.is_empty() {
        hub.index.read().ring(feed.group, changes);
    }
    feed.publish(upto);
}

fn announce_gap(hub: &Hub, feed: &Feed, position: u64, floor: u64) {
    let span = Span { first: position.saturating_add(1), last: floor };
    hub.index.read().ring_all(feed.group, span);
    feed.publish(floor);
}

/// Asks another node's replica what follows, a step at a time.
async fn follow_there(hub: &Hub, feed: &Feed) {
    let found = match feed.reached() {
        Some(position) => ask(hub, feed, position, MIRROR_WAIT).await,
        // What comes after the end of time is nothing; what is applied is what is asked.
        None => ask(hub, feed, u64::MAX - 1, Duration::ZERO).await,
    };
    match (found, feed.reached()) {
        (Ok(found), None) => {
            feed.mirror.lock().restart(found.applied);
            feed.publish(found.applied);
        }
        (Ok(found), Some(position)) => {
            feed.take(&found, position);
            if found.upto > position {
                announce(hub, feed, &found.changes, found.upto);
            } else {
                // Nothing new, or a replica that stands still.
                tokio::time::sleep(FEED_RETRY).await;
            }
        }
        (Err(FeedError::Gone { floor, .. }), Some(position)) => {
            feed.mirror.lock().restart(floor);
            announce_gap(hub, feed, position, floor);
        }
        (Err(error), _) => {
            tracing::debug!(group = %feed.group, %error, "no changes from elsewhere");
            tokio::time::sleep(FEED_RETRY).await;
        }
    }
}

async fn ask(
    hub: &Hub,
    feed: &Feed,
    after: u64,
    wait: Duration,
) -> Result<ChangesAnswer, FeedError> {
    let (from, to) = all_rows();
    let ask = ChangesAsk {
        after,
        from,
        to,
        bytes_max: MIRROR_ANSWER_BYTES,
        at_least: 0,
        wait_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
    };
    let deadline = hub.env.clock.now() + wait + WATCH_SEEK_MAX;
    ask_changes(hub.reach.as_ref(), feed.group, ask, deadline).await
}
