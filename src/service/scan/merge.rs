//! The rows of several groups as one ordered stream.
//!
//! Why it exists: in a spread namespace neighbouring keys live in different groups. Each group is a
//! lane with a bounded queue; the next item is the smallest head (in reverse the largest), once every
//! lane that has more shows one. Promises: each key once, in order; a prefix that several groups
//! folded is one item; every lane stays at the index of its first page, where there are views; what is
//! held is bounded by [`SCAN_BUFFER_BYTES`] and a row for each group.
//! Does not promise: one instant across groups. Relies on [`Reach`].

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;

use crate::model::GroupId;
use crate::runtime::Moment;
use crate::runtime::limits::{
    SCAN_BUFFER_BYTES, SCAN_CHUNK_BYTES_MIN, SCAN_CHUNK_ROWS_MAX, SCAN_PARALLEL_MAX,
};
use crate::runtime::planted::{self, Bug};
use crate::service::cursor::Vector;
use crate::service::feed::{
    Ask, FeedError, Fold, PageAnswer, PageAsk, PageItem, Reach, Show, ask_page, edge_after,
};

/// What is scanned.
#[derive(Clone, Debug)]
pub(in crate::service) struct Plan {
    /// Row keys from here on.
    pub(in crate::service) from: Bytes,
    /// And below this one.
    pub(in crate::service) to: Bytes,
    /// From the last to the first.
    pub(in crate::service) reverse: bool,
    /// What of each row.
    pub(in crate::service) show: Show,
    /// Rows that are to become one item.
    pub(in crate::service) fold: Option<Fold>,
    /// Whether a group's later pages are of the same index as its first.
    pub(in crate::service) views: bool,
    /// About how many items are wanted, over all groups.
    pub(in crate::service) hint: usize,
}

/// An item, and whose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::service) struct Merged {
    pub(in crate::service) group: GroupId,
    pub(in crate::service) item: PageItem,
}

/// One group's part.
#[derive(Debug)]
struct Lane {
    group: GroupId,
    /// The index of its first page, once that came, or as it was given.
    at: Option<u64>,
    at_least: u64,
    queue: VecDeque<PageItem>,
    /// Where the next page begins, or in reverse ends; `None`: there is none.
    next: Option<Bytes>,
    /// Items of the last page.
    last_page: usize,
    chunk: usize,
}

/// Lanes, and what they have been asked.
#[derive(Debug)]
pub(in crate::service) struct Merger {
    reach: Arc<dyn Reach>,
    plan: Plan,
    lanes: Vec<Lane>,
    /// The next item of each lane that has one.
    heads: BTreeSet<(Bytes, usize)>,
    chunk_bytes: usize,
    epoch: u64,
}

/// Where the lanes stand before their first page.
#[derive(Clone, Debug)]
pub(in crate::service) enum Start {
    /// As of now, but not before these indexes.
    Now(Vector),
    /// As of exactly these.
    View(Vector),
}

impl Merger {
    /// Nothing is asked yet.
    pub(in crate::service) fn new(reach: Arc<dyn Reach>, plan: Plan, start: Start) -> Self {
        let edge = if plan.reverse { plan.to.clone() } else { plan.from.clone() };
        let (vector, fixed) = match start {
            Start::Now(vector) => (vector, false),
            Start::View(vector) => (vector, true),
        };
        let groups = vector.len().max(1);
        let chunk = (plan.hint / groups).saturating_add(plan.hint / groups / 4 + 8);
        let chunk = chunk.min(SCAN_CHUNK_ROWS_MAX);
        let empty = plan.from >= plan.to;
        let lane = |(group, index): (GroupId, u64)| Lane {
            group,
            at: fixed.then_some(index),
            at_least: index,
            queue: VecDeque::new(),
            // The first page is asked for in any case: it says what the view is.
            next: (!empty || !fixed).then(|| edge.clone()),
            last_page: 0,
            chunk,
        };
        Self {
            reach,
            lanes: vector.into_iter().map(lane).collect(),
            plan,
            heads: BTreeSet::new(),
            chunk_bytes: (SCAN_BUFFER_BYTES / groups).max(SCAN_CHUNK_BYTES_MIN),
            epoch: 0,
        }
    }

    /// The index of each group; known once the first items have been taken.
    pub(in crate::service) fn view(&self) -> Vector {
        self.lanes.iter().map(|lane| (lane.group, lane.at.unwrap_or(lane.at_least))).collect()
    }

    /// The newest epoch that a group knew of.
    pub(in crate::service) const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The next items, at least one if there are any: no more than `limit`, about `bytes` of them. Not
    /// cancel-safe, and over after an error: what was taken is lost.
    pub(in crate::service) async fn take(
        &mut self,
        limit: usize,
        bytes: usize,
        deadline: Moment,
    ) -> Result<Vec<Merged>, FeedError> {
        let mut taken = Vec::new();
        let mut size = 0;
        while taken.len() < limit && size < bytes {
            // What is there already is given out before anything is waited for.
            if !self.is_ready() {
                if !taken.is_empty() && taken.len() >= limit / 2 {
                    break;
                }
                self.fill(deadline).await?;
            }
            let Some(merged) = self.pop() else { break };
            size += merged.item.key.len() + merged.item.row.as_ref().map_or(0, Bytes::len);
            taken.push(merged);
        }
        Ok(taken)
    }

    /// Whether more items follow.
    pub(in crate::service) async fn has_more(
        &mut self,
        deadline: Moment,
    ) -> Result<bool, FeedError> {
        if self.heads.is_empty() {
            self.fill(deadline).await?;
        }
        Ok(!self.heads.is_empty())
    }

    fn is_ready(&self) -> bool {
        self.lanes.iter().all(|lane| !lane.queue.is_empty() || lane.next.is_none())
    }

    fn pop(&mut self) -> Option<Merged> {
        let (key, n) = self.pop_head()?;
        let lane = self.lanes.get_mut(n)?;
        let item = lane.queue.pop_front()?;
        let group = lane.group;
        self.show_head(n);
        if item.row.is_none() {
            // The same prefix, folded by other groups.
            while self.heads.range((key.clone(), 0)..=(key.clone(), usize::MAX)).next().is_some() {
                let Some((_, other)) = self.pop_head() else { break };
                if let Some(lane) = self.lanes.get_mut(other) {
                    lane.queue.pop_front();
                }
                self.show_head(other);
            }
        }
        Some(Merged { group, item })
    }

    fn pop_head(&mut self) -> Option<(Bytes, usize)> {
        if self.plan.reverse { self.heads.pop_last() } else { self.heads.pop_first() }
    }

    fn show_head(&mut self, n: usize) {
        if let Some(head) = self.lanes.get(n).and_then(|lane| lane.queue.front()) {
            self.heads.insert((head.key.clone(), n));
        }
    }

    /// Asks until every lane that has more shows an item. Lanes that will soon be empty are asked too:
    /// otherwise each would be waited for in its turn.
    async fn fill(&mut self, deadline: Moment) -> Result<(), FeedError> {
        while !self.is_ready() {
            let low: Vec<usize> = (0..self.lanes.len()).filter(|n| self.is_low(*n)).collect();
            let asks: Vec<_> = low.into_iter().filter_map(|n| self.ask(n)).collect();
            let reach = &self.reach;
            let mut answers = futures_util::stream::iter(asks)
                .map(|(n, group, ask)| async move {
                    (n, ask_page(reach.as_ref(), group, Ask::Page(ask), deadline).await)
                })
                .buffer_unordered(SCAN_PARALLEL_MAX);
            let mut found = Vec::new();
            while let Some((n, answer)) = answers.next().await {
                found.push((n, answer?));
            }
            drop(answers);
            for (n, answer) in found {
                self.queue(n, answer);
            }
        }
        Ok(())
    }

    fn is_low(&self, n: usize) -> bool {
        self.lanes
            .get(n)
            .is_some_and(|lane| lane.next.is_some() && lane.queue.len() <= lane.last_page / 2)
    }

    fn ask(&self, n: usize) -> Option<(usize, GroupId, PageAsk)> {
        let lane = self.lanes.get(n)?;
        let edge = lane.next.clone()?;
        let (from, to) = match self.plan.reverse {
            true => (self.plan.from.clone(), edge),
            false => (edge, self.plan.to.clone()),
        };
        let ask = PageAsk {
            from,
            to,
            reverse: self.plan.reverse,
            at: lane.at.filter(|_| !planted::active(Bug::ScanMixesViews)),
            at_least: lane.at_least,
            limit: lane.chunk,
            bytes_max: self.chunk_bytes,
            show: self.plan.show,
            fold: self.plan.fold.clone(),
        };
        Some((n, lane.group, ask))
    }

    fn queue(&mut self, n: usize, answer: PageAnswer) {
        let Some(lane) = self.lanes.get_mut(n) else { return };
        self.epoch = self.epoch.max(answer.epoch);
        if self.plan.views {
            lane.at = Some(answer.at);
        } else {
            lane.at_least = answer.at;
        }
        lane.next = answer.next;
        lane.last_page = answer.items.len();
        lane.chunk = lane.chunk.saturating_mul(2).min(SCAN_CHUNK_ROWS_MAX);
        let was_empty = lane.queue.is_empty();
        lane.queue.extend(answer.items);
        if was_empty {
            self.show_head(n);
        }
    }
}

/// Where a scan goes on after an item, as a row key.
pub(in crate::service) fn edge_of(merged: &Merged, reverse: bool) -> Option<Bytes> {
    edge_after(&merged.item, reverse)
}
