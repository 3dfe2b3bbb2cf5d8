//! Ranges of keys of an eventual namespace: in pages, counted, folded, deleted.
//!
//! Promises: keys in order, each once; every page is of this node's rows while it is read, and reflects
//! at least what the session asks for. Does not promise one view over several pages: there is no
//! history here. Relies on the shard for pages.

use std::sync::Arc;

use bytes::Bytes;

use crate::convergence::PageAsk;
use crate::model::eventual::{Ask, Shown, Vector};
use crate::runtime::limits::{BATCH_PORTION, SCAN_LIMIT_MAX, SCAN_PAGE_BYTES_MAX};
use crate::service::ask::Context;
use crate::service::cursor::{ScanCursor, Scope, query_of};
use crate::service::error::{ErrorKind, ServiceError};
use crate::service::scan::KeyRange;
use crate::service::scan::range::{after, end_of};

use super::keys::unread;
use super::{Order, Space};

/// Which keys, and how.
#[derive(Clone, Debug, Default)]
pub struct SpaceScan {
    /// The keys.
    pub range: KeyRange,
    /// How long the prefix is behind which is folded.
    pub prefix_bytes: usize,
    /// From the last to the first.
    pub reverse: bool,
    /// Keys that are the same up to its first place behind the prefix become one item.
    pub delimiter: Option<Bytes>,
    /// What the page must reflect at least.
    pub need: Option<Vector>,
}

/// What a scan finds.
#[derive(Clone, Debug)]
pub enum SpaceItem {
    /// A key with what it holds.
    Key {
        /// The key.
        key: Bytes,
        /// What it holds.
        shown: Shown,
    },
    /// Keys that were folded.
    Folded {
        /// What they begin with.
        prefix: Bytes,
    },
}

/// A page.
#[derive(Clone, Debug)]
pub struct SpacePage {
    /// In the order asked for.
    pub items: Vec<SpaceItem>,
    /// The cursor of the next page.
    pub next: Option<String>,
    /// What is in it at least.
    pub vector: Arc<Vector>,
}

/// What is left of a range.
#[derive(Clone, Debug)]
struct Rest {
    from: Bytes,
    to: Option<Bytes>,
    reverse: bool,
}

impl Rest {
    /// Leaves out all up to this key, the key included.
    fn pass(&mut self, key: &Bytes) {
        if self.reverse {
            self.to = Some(key.clone());
        } else {
            self.from = after(key);
        }
    }

    /// Leaves out all that begin with the prefix; `false` when nothing is left.
    fn pass_prefix(&mut self, prefix: &Bytes) -> bool {
        if self.reverse {
            self.to = Some(prefix.clone());
            return true;
        }
        match end_of(prefix) {
            Some(end) => {
                self.from = end;
                true
            }
            None => false,
        }
    }

    fn holds(&self, key: &Bytes) -> bool {
        *key >= self.from && self.to.as_ref().is_none_or(|to| key < to)
    }

    fn edge(&self) -> Bytes {
        if self.reverse { self.to.clone().unwrap_or_default() } else { self.from.clone() }
    }
}

impl Space {
    /// A page of keys.
    ///
    /// # Errors
    ///
    /// When the cursor is none of this question, or the session asks for more than is here in time.
    pub async fn scan(
        &self,
        scan: &SpaceScan,
        limit: usize,
        cursor: Option<&str>,
        context: &Context,
    ) -> Result<SpacePage, ServiceError> {
        self.reach(scan.need.as_ref(), context).await?;
        let mut rest = self.rest(scan, cursor)?;
        let (items, more, vector) = self.items(scan, &mut rest, limit).await?;
        let next = more.then(|| self.cursor(scan, &rest).encode());
        Ok(SpacePage { items, next, vector })
    }

    /// How many items there are.
    ///
    /// # Errors
    ///
    /// As [`Space::scan`]; and when the deadline is over.
    pub async fn count(
        &self,
        scan: &SpaceScan,
        context: &Context,
    ) -> Result<(u64, Arc<Vector>), ServiceError> {
        self.reach(scan.need.as_ref(), context).await?;
        let mut rest = self.rest(scan, None)?;
        let first = self.shard.vector();
        let mut count = 0;
        loop {
            let (items, more, _) = self.items(scan, &mut rest, SCAN_LIMIT_MAX).await?;
            count += items.len() as u64;
            if !more {
                return Ok((count, first));
            }
            self.in_time(context)?;
        }
    }

    /// Deletes all keys of a range that are seen here; how many.
    ///
    /// # Errors
    ///
    /// When not all of them were deleted.
    pub async fn delete_range(
        &self,
        range: KeyRange,
        context: &Context,
    ) -> Result<(u64, Arc<Vector>), ServiceError> {
        self.reach(None, context).await?;
        let scan = SpaceScan { range, ..SpaceScan::default() };
        let mut rest = self.rest(&scan, None)?;
        let mut deleted = 0;
        loop {
            let portion = self.items(&scan, &mut rest, BATCH_PORTION).await;
            let (items, more, _) = portion.map_err(|error| partly(deleted, error))?;
            let writes = items.into_iter().filter_map(|item| match item {
                SpaceItem::Key { key, .. } => Some(key),
                SpaceItem::Folded { .. } => None,
            });
            let writes = writes.map(|key| self.write(key, Order::from(Ask::Delete), context));
            let wrote = futures_util::future::join_all(writes).await;
            deleted += wrote.iter().filter(|wrote| wrote.is_ok()).count() as u64;
            if let Some(error) = wrote.into_iter().find_map(Result::err) {
                return Err(partly(deleted, error));
            }
            if !more {
                return Ok((deleted, self.shard.vector()));
            }
            self.in_time(context).map_err(|error| partly(deleted, error))?;
        }
    }

    fn in_time(&self, context: &Context) -> Result<(), ServiceError> {
        if self.hall.env.clock.now() < context.deadline {
            return Ok(());
        }
        let reason = "the time was over before all keys were passed".to_owned();
        Err(ErrorKind::Unavailable { reason }.into())
    }

    /// At most `limit` items, and whether there are more; what is left then is in `rest`.
    async fn items(
        &self,
        scan: &SpaceScan,
        rest: &mut Rest,
        limit: usize,
    ) -> Result<(Vec<SpaceItem>, bool, Arc<Vector>), ServiceError> {
        let mut items = Vec::new();
        let mut vector = None;
        loop {
            let ask = PageAsk {
                from: rest.from.clone(),
                to: rest.to.clone(),
                reverse: rest.reverse,
                limit: limit - items.len(),
                bytes_max: SCAN_PAGE_BYTES_MAX,
            };
            let page = self.shard.page(ask).await.map_err(unread)?;
            let vector = Arc::clone(vector.get_or_insert(page.vector));
            for (key, shown) in page.keys {
                if !rest.holds(&key) {
                    continue;
                }
                match folded(scan, &key) {
                    Some(prefix) => {
                        let left = rest.pass_prefix(&prefix);
                        items.push(SpaceItem::Folded { prefix });
                        if !left {
                            return Ok((items, false, vector));
                        }
                    }
                    None => {
                        rest.pass(&key);
                        items.push(SpaceItem::Key { key, shown });
                    }
                }
            }
            let Some(next) = page.next else { return Ok((items, false, vector)) };
            if rest.holds(&next) {
                rest.pass(&next);
            }
            // A page that was cut by its bytes is given out as it is; one of folded keys goes on.
            if items.len() >= limit || scan.delimiter.is_none() {
                return Ok((items, true, vector));
            }
        }
    }

    fn rest(&self, scan: &SpaceScan, cursor: Option<&str>) -> Result<Rest, ServiceError> {
        let (from, to) = scan.range.bounds();
        let mut rest = Rest { from: from.clone(), to: to.cloned(), reverse: scan.reverse };
        if let Some(text) = cursor {
            let cursor = ScanCursor::decode(text, self.scope(), query(scan));
            let cursor =
                cursor.map_err(|error| ErrorKind::InvalidCursor { reason: error.to_string() })?;
            if scan.reverse {
                rest.to = Some(cursor.edge);
            } else {
                rest.from = cursor.edge;
            }
        }
        Ok(rest)
    }

    fn cursor(&self, scan: &SpaceScan, rest: &Rest) -> ScanCursor {
        ScanCursor { scope: self.scope(), query: query(scan), edge: rest.edge(), view: None }
    }

    /// Whose cursors are taken here.
    pub(super) fn scope(&self) -> Scope {
        Scope { cluster: self.cluster, namespace: self.id, recorded_since: 0 }
    }
}

/// What a key is folded to.
fn folded(scan: &SpaceScan, key: &Bytes) -> Option<Bytes> {
    let delimiter = scan.delimiter.as_ref()?;
    let behind = key.get(scan.prefix_bytes..)?;
    let at = behind.windows(delimiter.len()).position(|window| window == delimiter)?;
    Some(key.slice(..scan.prefix_bytes + at + delimiter.len()))
}

/// A number for this question.
fn query(scan: &SpaceScan) -> u64 {
    let (from, to) = scan.range.bounds();
    let delimiter = scan.delimiter.clone().unwrap_or_default();
    let bound: &[u8] = to.map_or(&[], |to| to);
    let shape = [u8::from(scan.reverse), u8::from(to.is_some())];
    let skip = (scan.prefix_bytes as u64).to_be_bytes();
    query_of(&[b"eventual", from, bound, &shape, &skip, &delimiter])
}

/// Some keys are gone: that must not sound as if nothing had been done.
fn partly(deleted: u64, error: ServiceError) -> ServiceError {
    if deleted == 0 {
        return error;
    }
    let reason = format!("{deleted} keys are deleted, then: {error}; repeat it");
    ServiceError { kind: ErrorKind::Undetermined { reason }, ..error }
}
