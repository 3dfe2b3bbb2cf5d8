//! What wakes a watch: which groups have something for it.
//!
//! Why it exists: whoever looks at changes must never wait for a watch, nor keep changes for it; it
//! only notes that there are some, and the watch reads them when its client takes them. Promises:
//! bounded by the number of groups; a ring is never lost.

use std::collections::BTreeMap;
use std::ops::Bound;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::model::GroupId;

/// From the first to the last entry of a group that may concern a watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) first: u64,
    pub(super) last: u64,
}

/// Notes for one watch.
#[derive(Debug, Default)]
pub(super) struct Bell {
    dirty: Mutex<BTreeMap<GroupId, Span>>,
    notify: Notify,
}

impl Bell {
    /// Notes that these entries may concern the watch.
    pub(super) fn ring(&self, group: GroupId, span: Span) {
        let mut dirty = self.dirty.lock();
        let known = dirty.entry(group).or_insert(span);
        known.first = known.first.min(span.first);
        known.last = known.last.max(span.last);
        drop(dirty);
        self.notify.notify_one();
    }

    /// Takes the note of the next group in turn, so that a busy one does not keep others waiting.
    pub(super) fn take(&self, last: GroupId) -> Option<(GroupId, Span)> {
        let mut dirty = self.dirty.lock();
        let next = dirty.range((Bound::Excluded(last), Bound::Unbounded)).next();
        let (group, span) = next.or_else(|| dirty.iter().next()).map(|(g, s)| (*g, *s))?;
        dirty.remove(&group);
        Some((group, span))
    }

    /// Whether nothing is noted.
    pub(super) fn is_quiet(&self) -> bool {
        self.dirty.lock().is_empty()
    }

    /// Waits until something was noted since the last time. Cancel-safe.
    pub(super) async fn rung(&self) {
        self.notify.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_take_turns_and_spans_grow() {
        let bell = Bell::default();
        for (group, first, last) in [(1, 5, 6), (2, 7, 7), (1, 9, 9), (1, 4, 5)] {
            bell.ring(GroupId(group), Span { first, last });
        }
        assert_eq!(bell.take(GroupId(1)), Some((GroupId(2), Span { first: 7, last: 7 })));
        assert_eq!(bell.take(GroupId(2)), Some((GroupId(1), Span { first: 4, last: 9 })));
        assert!(bell.is_quiet() && bell.take(GroupId(0)).is_none());
    }
}
