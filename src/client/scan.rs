//! Many keys in their order: by pages that can be asked for again, or as one stream.
//!
//! Promises: all pages of a scan, and all lines of a stream, show one moment: what is written
//! meanwhile is not seen. Neither holds more than a page. A stream that ends early is an error,
//! never a short result. Does not promise: that a scan which takes longer than the namespace's
//! history can be finished ([`ClientError::Gone`]).
//!
//! ```no_run
//! use futures_util::StreamExt;
//! use tetrarch::client::{Client, Item, ScanRequest};
//!
//! # async fn tour(client: Client) -> Result<(), tetrarch::client::ClientError> {
//! let users = ScanRequest { prefix: b"users/".to_vec().into(), ..ScanRequest::default() };
//! let mut items = std::pin::pin!(client.scan("default", users.clone()));
//! while let Some(item) = items.next().await {
//!     if let Item::Row(row) = item? {
//!         println!("{:?} = {:?}", row.key, row.value);
//!     }
//! }
//! println!("{} users", client.count("default", &users).await?);
//! # Ok(()) }
//! ```

use async_stream::try_stream;
use bytes::Bytes;
use futures_util::Stream;
use reqwest::Method;
use serde::Deserialize;

use super::call::{Call, Idempotency};
use super::coded::{Query, space_path};
use super::lines::Lines;
use super::row::{Fields, Item};
use super::{Client, ClientError, Place};
use crate::wire::{KV_CONFIRM, NDJSON, Outcome, Problem};

/// Which keys, and what of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScanRequest {
    /// Only keys that begin with this.
    pub prefix: Bytes,
    /// Only keys from this one on.
    pub start: Option<Bytes>,
    /// Only keys before this one.
    pub end: Option<Bytes>,
    /// From the last key to the first.
    pub reverse: bool,
    /// No more items than this.
    pub limit: Option<u64>,
    /// Without values.
    pub keys_only: bool,
    /// Folds keys that agree up to this text behind the prefix.
    pub delimiter: Option<String>,
}

/// Most items that a server gives on a page.
const PAGE_MAX: u64 = 10_000;

/// A page of a scan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// In the order of the keys.
    pub items: Vec<Item>,
    /// Where the next page begins; `None` on the last one.
    pub next: Option<String>,
    /// The moment that the scan shows, as a session.
    pub view: Option<String>,
}

#[derive(Deserialize)]
struct PageBody {
    #[serde(default)]
    items: Vec<Fields>,
    next: Option<String>,
    view: Option<String>,
    count: Option<u64>,
}

#[derive(Deserialize)]
struct Line {
    #[serde(default)]
    end: bool,
    count: Option<u64>,
    error: Option<Problem>,
    #[serde(flatten)]
    fields: Fields,
}

#[derive(Deserialize)]
struct Deleted {
    deleted: u64,
}

impl ScanRequest {
    fn path(&self, ns: &str, fields: &str, limit: Option<u64>, cursor: Option<&str>) -> String {
        let mut query = Query::after(format!("{}/keys", space_path(ns)));
        if !self.prefix.is_empty() {
            query.add_bytes("prefix", &self.prefix);
        }
        if let Some(start) = &self.start {
            query.add_bytes("start", start);
        }
        if let Some(end) = &self.end {
            query.add_bytes("end", end);
        }
        if self.reverse {
            query.add("reverse", "1");
        }
        if let Some(delimiter) = &self.delimiter {
            query.add("delimiter", delimiter);
        }
        query.add("fields", fields);
        if let Some(limit) = limit {
            query.add("limit", limit.to_string());
        }
        if let Some(cursor) = cursor {
            query.add("cursor", cursor);
        }
        query.path()
    }

    fn fields(&self) -> &'static str {
        if self.keys_only { "key" } else { "value" }
    }
}

impl Client {
    /// One page of a scan, with at most `request.limit` items; `cursor` is the `next` of the page
    /// before.
    ///
    /// # Errors
    ///
    /// [`ClientError::Gone`] when the moment that the cursor stands for is no longer kept.
    pub async fn scan_page(
        &self,
        ns: &str,
        request: &ScanRequest,
        cursor: Option<&str>,
    ) -> Result<Page, ClientError> {
        let path = request.path(ns, request.fields(), request.limit, cursor);
        let body: PageBody = self.call(Call::read(path)).await?.json()?;
        let items = body.items.into_iter().filter_map(Fields::item).collect();
        Ok(Page { items, next: body.next, view: body.view })
    }

    /// All items, page by page: a page that fails is asked for again, at another endpoint.
    pub fn scan(
        &self,
        ns: &str,
        request: ScanRequest,
    ) -> impl Stream<Item = Result<Item, ClientError>> + Send + 'static {
        let (client, ns) = (self.clone(), ns.to_owned());
        try_stream! {
            let mut left = request.limit.unwrap_or(u64::MAX);
            let mut cursor: Option<String> = None;
            while left > 0 {
                // A server refuses larger pages; there are as many as it takes.
                let limit = request.limit.map(|_| left.min(PAGE_MAX));
                let page = ScanRequest { limit, ..request.clone() };
                let page = client.scan_page(&ns, &page, cursor.as_deref()).await?;
                for item in page.items {
                    left = left.saturating_sub(1);
                    yield item;
                }
                cursor = page.next;
                if cursor.is_none() {
                    break;
                }
            }
        }
    }

    /// All items in one answer: faster than pages, but what breaks off must begin anew.
    pub fn scan_stream(
        &self,
        ns: &str,
        request: ScanRequest,
    ) -> impl Stream<Item = Result<Item, ClientError>> + Send + 'static {
        let (client, ns) = (self.clone(), ns.to_owned());
        try_stream! {
            let path = request.path(&ns, request.fields(), request.limit, None);
            let call = Call::read(path).header("accept", NDJSON).stream();
            let mut lines = Lines::of(client.call(call).await?)?;
            let mut seen = 0_u64;
            let count = loop {
                let line = lines.next().await?;
                let line = line.ok_or_else(|| lines.cut_off("there is no last line"))?;
                let line: Line = serde_json::from_slice(&line)
                    .map_err(|_why| lines.cut_off("a line is not one of a scan"))?;
                if let Some(problem) = line.error {
                    Err(refused(problem))?;
                } else if line.end {
                    break line.count.unwrap_or(seen);
                } else if let Some(item) = line.fields.item() {
                    seen += 1;
                    yield item;
                }
            };
            if count != seen {
                Err(lines.cut_off(&format!("{seen} of {count} items arrived")))?;
            }
        }
    }

    /// How many keys there are.
    ///
    /// # Errors
    ///
    /// As [`Client::get`].
    pub async fn count(&self, ns: &str, request: &ScanRequest) -> Result<u64, ClientError> {
        let answer = self.call(Call::read(request.path(ns, "count", request.limit, None))).await?;
        let body: PageBody = answer.json()?;
        body.count.ok_or(ClientError::Strange { endpoint: answer.endpoint, status: answer.status })
    }

    /// Removes all keys that begin with `prefix`. Each group does its part by itself: on an error
    /// some keys may be gone and others not.
    ///
    /// # Errors
    ///
    /// As [`Client::put`].
    pub async fn delete_prefix(&self, ns: &str, prefix: &[u8]) -> Result<u64, ClientError> {
        let mut query = Query::after(format!("{}/keys", space_path(ns)));
        query.add_bytes("prefix", prefix);
        let repeat = Idempotency::Generated.repeat(&self.inner.env);
        let mut call = Call::new(Method::DELETE, query.path(), repeat).header(KV_CONFIRM, "prefix");
        call.needs_body = true;
        Ok(self.call(call).await?.json::<Deleted>()?.deleted)
    }
}

/// An error that came when the status had been sent already.
fn refused(problem: Problem) -> ClientError {
    let problem = Box::new(Problem { outcome: Outcome::NotApplied, ..problem });
    if problem.status == 410 {
        return ClientError::Gone { problem, restart: None };
    }
    ClientError::Refused { problem, place: Place::default() }
}
