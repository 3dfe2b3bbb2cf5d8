//! The lines of a trace: who asked what of a namespace, when, and how it ended, without any value.
//!
//! Why it exists: what a mode would cost and lose is answered for a user's own traffic, not for that
//! of a benchmark; so a live namespace is recorded, and the record driven through each mode.
//!
//! Promises: as all of [`crate::wire`]; a reader tells the lines apart by their first member (`trace`,
//! `op`, `missed`, `end`), and refuses a `trace` that is not [`TRACE_VERSION`].

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The version of the form.
pub const TRACE_VERSION: u32 = 1;

/// The first line: where it was recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TraceHead {
    /// The version of the form.
    pub trace: u32,
    /// The namespace.
    pub namespace: String,
    /// The node whose front door is recorded; absent in a file that holds several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<u64>,
    /// The nodes, in a file that holds several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<u64>,
    /// What the namespace promises, in a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// When it began by the node's wall clock, milliseconds since the Unix epoch.
    pub began_ms: u64,
    /// Whether keys, clients and contexts stand as hashes.
    pub hashed: bool,
}

/// One request, as it was answered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TraceRecord {
    /// What was asked: `get`, `head`, `put`, `delete`, `patch`, `list`, `batch`, `txn`, `watch`, `lock`.
    pub op: String,
    /// Of a patch, how it changes: `add`, `max`, `min`, `append`, `set-add`, `set-remove`,
    /// `fields`, `merge`, `json-patch`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// When the request's head was there, microseconds since the trace began.
    pub at_us: u64,
    /// How long it took until the answer's head was there, in microseconds.
    pub took_us: u64,
    /// The node that was asked; in a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<u64>,
    /// The address of the client's connection, or its hash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// The key, when it is text and is not hashed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The key in base64url, when it is not text and is not hashed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key64: Option<String>,
    /// The hash of the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_hash: Option<String>,
    /// How it was to be read, if that was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read: Option<String>,
    /// `If-Match` of the request; what is long stands as its hash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_match: Option<String>,
    /// `If-None-Match` of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_none_match: Option<String>,
    /// `KV-Context` of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
    /// Bytes of the request's body.
    pub bytes: u64,
    /// Bytes of the answer's body, where they are known before it is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer_bytes: Option<u64>,
    /// The answer's status.
    pub status: u16,
    /// What the client may conclude: `applied`, `not_applied`, `unknown`.
    pub outcome: String,
    /// The name of what was written or read: the answer's `ETag`, or `KV-Receipt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made: Option<String>,
}

/// Requests that are missing here, since they came faster than the trace was taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TraceMissed {
    /// How many.
    pub missed: u64,
}

/// The last line; a trace without it was cut off.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TraceEnd {
    /// Why: `time`, `records`, `stopping`.
    pub end: String,
    /// Requests that are in it.
    pub records: u64,
    /// Requests that are missing.
    pub missed: u64,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
#[allow(clippy::large_enum_variant, reason = "the large one is the usual one")]
pub enum TraceLine {
    /// The first.
    Head(TraceHead),
    /// A request.
    Record(TraceRecord),
    /// The last. Before `Missed`, which is a part of it.
    End(TraceEnd),
    /// A gap.
    Missed(TraceMissed),
}
