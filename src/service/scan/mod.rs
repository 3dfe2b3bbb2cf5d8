//! Scans: ranges of keys in order, in pages or as a stream, counted, folded; and deleting a prefix.
//!
//! ```text
//!   scan, scan_stream, count ---> Place (which groups) ---> Merger ---> a lane for each group
//! ```
//!
//! Promises: every page of a cursor, and all of a stream, are of one view: for each group the state
//! at one index. In an ordered namespace that is one instant. In a spread one each group's index is
//! not older than anything acknowledged before the scan began (unless a weaker read was asked for),
//! but the indexes of two groups are of no common instant. A view that is trimmed is an error, never a
//! mixture. In a namespace without history there are no views: each page shows what is there.

mod delete;
pub(super) mod merge;
pub(super) mod range;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;

use crate::model::{GroupId, Row, split_data_key};
use crate::runtime::Moment;
use crate::runtime::limits::{
    SCAN_CHUNK_WAIT_MAX, SCAN_LIMIT_MAX, SCAN_PAGE_BYTES_MAX, SCAN_PARALLEL_MAX,
};

use super::cursor::{ScanCursor, Vector, query_of};
use super::error::{ErrorKind, ServiceError};
use super::feed::place::Place;
use super::feed::{Ask, FeedError, Fold, PageAsk, Reach, Show, ask_page, read_index};
use super::flow::Flow;
use super::session::Session;
use super::{Context, ReadMode, Service};

pub use delete::RangeDeleted;
use merge::{Merged, Merger, Plan, Start, edge_of};
pub use range::KeyRange;

/// What is scanned, and how it is shown.
#[derive(Clone, Debug, Default)]
pub struct ScanRequest {
    /// Which keys.
    pub range: KeyRange,
    /// The length of the prefix that folding looks behind.
    pub prefix_bytes: usize,
    /// From the last to the first.
    pub reverse: bool,
    /// What of each row.
    pub show: Show,
    /// Keys that are the same up to its first place behind the prefix become one item.
    pub delimiter: Option<Bytes>,
    /// How new the first page must be.
    pub read: ReadMode,
}

/// A key with its row, or keys that were folded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A key.
    Key {
        /// The key.
        key: Bytes,
        /// The group that holds it.
        group: GroupId,
        /// Its row, without the value if only the rest is wanted; `None` when only keys are.
        row: Option<Row>,
    },
    /// All keys that begin with this.
    Folded {
        /// Ends with the delimiter.
        prefix: Bytes,
    },
}

/// Some items of a view.
#[derive(Clone, Debug)]
pub struct ScanPage {
    /// In order.
    pub items: Vec<Item>,
    /// For the next page; `None`: that was the last.
    pub next: Option<String>,
    /// The index of each group.
    pub view: Session,
}

/// How many keys a view has.
#[derive(Clone, Debug)]
pub struct Counted {
    /// Keys; with a delimiter, items.
    pub count: u64,
    /// The index of each group.
    pub view: Session,
}

impl Service {
    /// One page of a scan: its first, or the one that the cursor stands for.
    ///
    /// # Errors
    ///
    /// `InvalidCursor`, `CursorGone`, or what keeps a group from answering. Scans have no effect.
    pub async fn scan(
        &self,
        namespace: &str,
        request: ScanRequest,
        limit: usize,
        cursor: Option<&str>,
        context: Context,
    ) -> Result<ScanPage, ServiceError> {
        let limit = limit.clamp(1, SCAN_LIMIT_MAX);
        loop {
            let place = self.flow.place(namespace, context.deadline).await?;
            let scan = Scan { flow: &self.flow, place: &place, request: &request };
            let mut merger = match cursor {
                Some(text) => scan.resumed(text, limit)?,
                None => scan.begun(limit, &context).await?,
            };
            let page = scan.page(&mut merger, limit, context.deadline).await?;
            if self.flow.is_still(&place, merger.epoch(), context.deadline).await? {
                return Ok(page);
            }
        }
    }

    /// All of a scan, a portion at a time; how long it may take is not bounded, each portion is. The
    /// context's deadline is for the first one.
    ///
    /// # Errors
    ///
    /// What keeps the first portion from coming.
    pub async fn scan_stream(
        &self,
        namespace: &str,
        request: ScanRequest,
        context: Context,
    ) -> Result<ScanStream, ServiceError> {
        loop {
            let place = self.flow.place(namespace, context.deadline).await?;
            let scan = Scan { flow: &self.flow, place: &place, request: &request };
            let merger = scan.begun(usize::MAX, &context).await?;
            let flow = Arc::clone(&self.flow);
            let mut stream = ScanStream { flow, place, merger, ready: None };
            let first = stream.taken(context.deadline).await?;
            if stream.is_still(context.deadline).await? {
                stream.ready = Some(first);
                return Ok(stream);
            }
        }
    }

    /// How many keys there are, or items when they are folded.
    ///
    /// # Errors
    ///
    /// As `scan`.
    pub async fn count(
        &self,
        namespace: &str,
        request: ScanRequest,
        context: Context,
    ) -> Result<Counted, ServiceError> {
        let request = ScanRequest { show: Show::Keys, ..request };
        loop {
            let place = self.flow.place(namespace, context.deadline).await?;
            let scan = Scan { flow: &self.flow, place: &place, request: &request };
            let (counted, epoch) = if request.delimiter.is_some() {
                scan.count_items(&context).await?
            } else {
                scan.count_rows(&context).await?
            };
            if self.flow.is_still(&place, epoch, context.deadline).await? {
                return Ok(counted);
            }
        }
    }
}

/// A scan that goes on until all is said.
#[derive(Debug)]
pub struct ScanStream {
    flow: Arc<Flow>,
    place: Place,
    merger: Merger,
    ready: Option<Vec<Item>>,
}

impl ScanStream {
    /// The next items; empty at the end. After an error there is nothing more.
    ///
    /// # Errors
    ///
    /// As `scan`.
    pub async fn next(&mut self) -> Result<Vec<Item>, ServiceError> {
        if let Some(ready) = self.ready.take() {
            return Ok(ready);
        }
        let deadline = self.flow.env.clock.now() + SCAN_CHUNK_WAIT_MAX;
        let portion = self.taken(deadline).await?;
        // The rows of a deleted namespace go while it is read: their end is not the scan's.
        if self.is_still(deadline).await? {
            return Ok(portion);
        }
        Err(ErrorKind::NamespaceNotFound { name: self.place.name.clone() }.into())
    }

    /// The index of each group.
    pub fn view(&self) -> Session {
        self.merger.view().into_iter().collect()
    }

    async fn is_still(&self, deadline: Moment) -> Result<bool, ServiceError> {
        self.flow.is_still(&self.place, self.merger.epoch(), deadline).await
    }

    async fn taken(&mut self, deadline: Moment) -> Result<Vec<Item>, ServiceError> {
        let taken = self.merger.take(SCAN_LIMIT_MAX, STREAM_PORTION_BYTES, deadline).await;
        taken.map_err(scan_error)?.into_iter().map(item).collect()
    }
}

/// Bytes given to a stream at a time: the rest waits in the lanes.
const STREAM_PORTION_BYTES: usize = 256 * 1024;

/// One question for one namespace.
pub(super) struct Scan<'a> {
    pub(super) flow: &'a Flow,
    pub(super) place: &'a Place,
    pub(super) request: &'a ScanRequest,
}

impl Scan<'_> {
    fn plan(&self, hint: usize) -> Plan {
        let (from, to) = self.request.range.row_bounds(self.place.namespace);
        let key_at = crate::model::data_key(self.place.namespace, b"").len();
        let skip = key_at + self.request.prefix_bytes;
        let delimiter = self.request.delimiter.clone();
        Plan {
            from,
            to,
            reverse: self.request.reverse,
            show: self.request.show,
            fold: delimiter.map(|delimiter| Fold { skip, delimiter }),
            views: self.place.recorded,
            hint,
        }
    }

    async fn page(
        &self,
        merger: &mut Merger,
        limit: usize,
        deadline: Moment,
    ) -> Result<ScanPage, ServiceError> {
        let items = merger.take(limit, SCAN_PAGE_BYTES_MAX, deadline).await.map_err(scan_error)?;
        let more = merger.has_more(deadline).await.map_err(scan_error)?;
        let reverse = self.request.reverse;
        let edge = items.last().filter(|_| more).and_then(|last| edge_of(last, reverse));
        let view = merger.view();
        let next = edge.map(|edge| self.cursor(edge, &view).encode());
        let items = items.into_iter().map(item).collect::<Result<_, _>>()?;
        Ok(ScanPage { items, next, view: view.into_iter().collect() })
    }

    /// A number for this question.
    pub(super) fn query(&self) -> u64 {
        let plan = self.plan(0);
        let (skip, delimiter) =
            plan.fold.map_or((0, Bytes::new()), |fold| (fold.skip as u64, fold.delimiter));
        let reverse = [u8::from(plan.reverse)];
        query_of(&[&plan.from, &plan.to, &reverse, &skip.to_be_bytes(), &delimiter])
    }

    /// From the beginning.
    pub(super) async fn begun(
        &self,
        hint: usize,
        context: &Context,
    ) -> Result<Merger, ServiceError> {
        let least = self.least(context).await?;
        Ok(Merger::new(Arc::clone(&self.flow.reach), self.plan(hint), Start::Now(least)))
    }

    /// From an edge of a view on.
    pub(super) fn continued(&self, edge: Bytes, view: Vector, hint: usize) -> Merger {
        let mut plan = self.plan(hint);
        if plan.reverse {
            plan.to = edge.min(plan.to);
        } else {
            plan.from = edge.max(plan.from);
        }
        Merger::new(Arc::clone(&self.flow.reach), plan, Start::View(view))
    }

    fn resumed(&self, text: &str, hint: usize) -> Result<Merger, ServiceError> {
        let cursor = ScanCursor::decode(text, self.place.scope(), self.query())
            .map_err(|error| ErrorKind::InvalidCursor { reason: error.to_string() })?;
        let gone = |reason: &str| {
            let reason = reason.to_owned();
            ErrorKind::CursorGone { gone: super::error::Gone::View, reason, restart: None }
        };
        let same = cursor.scope.recorded_since == self.place.recorded_since;
        match (&cursor.view, self.place.recorded) {
            (Some(view), true) if same => {
                let view = view.vector().filter(|view| self.place.covers(view));
                let view = view.ok_or_else(|| gone("the namespace has other groups now"))?;
                Ok(self.continued(cursor.edge, view, hint))
            }
            (None, false) => {
                let least = self.place.groups.iter().map(|group| (*group, 0)).collect();
                let mut plan = self.plan(hint);
                let edge = if plan.reverse { &mut plan.to } else { &mut plan.from };
                *edge = cursor.edge;
                Ok(Merger::new(Arc::clone(&self.flow.reach), plan, Start::Now(least)))
            }
            _ => Err(gone("the namespace's history was switched since the first page").into()),
        }
    }

    fn cursor(&self, edge: Bytes, view: &Vector) -> ScanCursor {
        ScanCursor {
            scope: self.place.scope(),
            query: self.query(),
            edge,
            view: self.place.recorded.then(|| view.into()),
        }
    }

    /// The index of each group that its first page must reflect.
    async fn least(&self, context: &Context) -> Result<Vector, ServiceError> {
        let seen = |group: GroupId| context.session.of(group);
        let groups = self.place.groups.iter().copied();
        match self.request.read {
            ReadMode::Linearizable => {}
            _ => return Ok(groups.map(|group| (group, seen(group))).collect()),
        }
        let reach = &self.flow.reach;
        let mut asked = futures_util::stream::iter(groups)
            .map(|group| async move {
                (group, read_index(reach.as_ref(), group, context.deadline).await)
            })
            .buffer_unordered(4 * SCAN_PARALLEL_MAX);
        let mut least = Vector::new();
        while let Some((group, index)) = asked.next().await {
            least.insert(group, index.map_err(scan_error)?.max(seen(group)));
        }
        Ok(least)
    }

    /// With the newest epoch that a group knew of.
    async fn count_items(&self, context: &Context) -> Result<(Counted, u64), ServiceError> {
        let mut merger = self.begun(usize::MAX, context).await?;
        let mut count = 0;
        loop {
            let taken = merger.take(SCAN_LIMIT_MAX, SCAN_PAGE_BYTES_MAX, context.deadline).await;
            let taken = taken.map_err(scan_error)?;
            if taken.is_empty() {
                break;
            }
            count += taken.len() as u64;
        }
        Ok((Counted { count, view: merger.view().into_iter().collect() }, merger.epoch()))
    }

    /// Counted where the rows are.
    async fn count_rows(&self, context: &Context) -> Result<(Counted, u64), ServiceError> {
        let least = self.least(context).await?;
        let plan = self.plan(0);
        let views = self.place.recorded;
        let counts = least.into_iter().map(|(group, at_least)| {
            let ask = PageAsk {
                from: plan.from.clone(),
                to: plan.to.clone(),
                reverse: false,
                at: None,
                at_least,
                limit: 0,
                bytes_max: 0,
                show: Show::Keys,
                fold: None,
            };
            count_group(self.flow.reach.as_ref(), group, ask, views, context.deadline)
        });
        let mut counts = futures_util::stream::iter(counts).buffer_unordered(SCAN_PARALLEL_MAX);
        let (mut count, mut epoch, mut view) = (0, 0, Session::default());
        while let Some(counted) = counts.next().await {
            let (group, rows, at, newest) = counted.map_err(scan_error)?;
            count += rows;
            epoch = epoch.max(newest);
            view.note(group, at);
        }
        Ok((Counted { count, view }, epoch))
    }
}

async fn count_group(
    reach: &dyn Reach,
    group: GroupId,
    mut ask: PageAsk,
    views: bool,
    deadline: Moment,
) -> Result<(GroupId, u64, u64, u64), FeedError> {
    let mut count = 0;
    loop {
        let answer = ask_page(reach, group, Ask::Count(ask.clone()), deadline).await?;
        count += answer.count;
        if views {
            ask.at = Some(answer.at);
        } else {
            ask.at_least = answer.at;
        }
        let Some(next) = answer.next else { return Ok((group, count, answer.at, answer.epoch)) };
        ask.from = next;
    }
}

/// A merged row in the hall's words.
pub(super) fn item(merged: Merged) -> Result<Item, ServiceError> {
    let Merged { group, item } = merged;
    let broken = |reason: &str| {
        ServiceError::from(ErrorKind::Internal { reason: reason.to_owned() }).about(group, None)
    };
    let (_, key) = split_data_key(&item.key).ok_or_else(|| broken("a scan met another row"))?;
    let key = item.key.slice_ref(key);
    let Some(bytes) = item.row else { return Ok(Item::Folded { prefix: key }) };
    if bytes.is_empty() {
        return Ok(Item::Key { key, group, row: None });
    }
    let row = Row::decode(&bytes).map_err(|error| broken(&error.to_string()))?;
    Ok(Item::Key { key, group, row: Some(row) })
}

/// A group's error in the hall's words.
#[allow(clippy::needless_pass_by_value, reason = "it is what map_err gives")]
pub(super) fn scan_error(error: FeedError) -> ServiceError {
    let reason = error.to_string();
    let (kind, group) = match error {
        FeedError::Gone { group, .. } => {
            let gone = super::error::Gone::View;
            (ErrorKind::CursorGone { gone, reason, restart: None }, group)
        }
        FeedError::Unavailable { group, .. } => (ErrorKind::Unavailable { reason }, group),
        FeedError::Broken { group, .. } => (ErrorKind::Internal { reason }, group),
    };
    ServiceError::from(kind).about(group, None)
}
