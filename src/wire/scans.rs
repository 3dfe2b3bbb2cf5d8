//! Bodies of scans and watches.
//!
//! Promises and relies on: as all of [`crate::wire`]. Lines of a stream stand alone; the last one says
//! that it is the last.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Envelope, EventualRow, Problem};

/// One item of a scan: a key with what was asked for of it, or the beginning that many keys share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum ScanItem {
    /// A key and its row.
    Row(Box<Envelope>),
    /// A key of an eventual namespace and what it holds.
    Held(Box<EventualRow>),
    /// A key (`fields=key`), or folded keys (`delimiter=`).
    Name(ScanName),
}

/// Exactly one of these.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ScanName {
    /// A key, when it is UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// A key in base64url, when it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key64: Option<String>,
    /// What the folded keys begin with, up to the delimiter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// The same in base64url, when it is not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix64: Option<String>,
}

/// One page of a scan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ScanPage {
    /// In order of keys. None with `fields=count`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub items: Option<Vec<ScanItem>>,
    /// With `fields=count`: how many there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// The cursor of the next page; none on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// What the page reflects of each group, as a session.
    pub view: String,
}

/// The last line of a stream, when all was said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ScanEnd {
    /// Always true.
    pub end: bool,
    /// Items that came before.
    pub count: u64,
}

/// The last line of a stream that was broken off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StreamError {
    /// Why.
    pub error: Problem,
}

/// The answer to deleting a prefix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PrefixDeleted {
    /// Keys that are gone by this request.
    pub deleted: u64,
}

/// One event of a watch. `type` is `put`, `delete` or `expire` (a change), `synced` (the initial state
/// is complete), `bookmark` (nothing up to here is left to tell) or `end`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WatchEvent {
    /// What it is.
    #[serde(rename = "type")]
    pub kind: String,
    /// Of a change: the key, when it is UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The key in base64url, when it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key64: Option<String>,
    /// The key's group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<u64>,
    /// The entry that made the change, in the group's order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<u64>,
    /// Its number within the entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u32>,
    /// Of a put: the row.
    #[serde(default, skip_serializing_if = "Option::is_none", flatten)]
    pub row: Option<WatchRow>,
    /// With `prev=1`: what was there before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Envelope>,
    /// True for a key of the initial state.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub initial: bool,
    /// Of an end: why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Where to go on after this.
    pub cursor: String,
}

/// What an event says of a row, beside its key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WatchRow {
    /// The value, when it is UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// The value in base64url, when it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value64: Option<String>,
    /// Names the write, with its quotes: fit for `If-Match`.
    pub etag: String,
    /// The revision of the write.
    pub revision: u64,
    /// The revision of the write that created the key.
    pub created: u64,
    /// How often the key was written since it was created.
    pub version: u64,
    /// When the write was accepted (RFC 3339).
    pub modified: String,
    /// The media type of the value.
    pub content_type: String,
    /// The lease that the key hangs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<String>,
}

/// The answer to a long poll.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WatchPoll {
    /// In order; at least one.
    pub events: Vec<WatchEvent>,
    /// Where to go on after them.
    pub cursor: String,
}
