//! Bodies about eventual namespaces: what a key holds, what was lost, whether nodes agree.
//!
//! Why it exists: values that stand beside each other, receipts and vectors have no like on the
//! linearizable side. Promises and relies on: as all of [`crate::wire`]. Receipts, contexts and
//! vectors are opaque texts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ops::{Amount, present};

/// The receipt of a write: its name for ever.
pub const KV_RECEIPT: &str = "kv-receipt";
/// What a read has shown (answers), and what a write is to replace (requests).
pub const KV_CONTEXT: &str = "kv-context";
/// What the answering node knew of the namespace.
pub const KV_VECTOR: &str = "kv-vector";
/// How many values stand beside each other; `;warn` when somebody should merge them soon.
pub const KV_SIBLINGS: &str = "kv-siblings";
/// `?1` when the key was deleted while some of its fields were written.
pub const KV_PARTIAL: &str = "kv-partial";

/// A key of an eventual namespace with what it holds. Either `value` (or `value64`) or `siblings`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EventualRow {
    /// The key, when it is UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The key in base64url, when it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key64: Option<String>,
    /// The value, when it is UTF-8: of a counter its decimal text, of a set or a map its JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// The value in base64url, when it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value64: Option<String>,
    /// The values of concurrent writes, when there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub siblings: Option<Vec<Sibling>>,
    /// Names what is shown, with its quotes: the same on every node that shows the same.
    pub etag: String,
    /// The media type of the value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// Which write is shown, of one value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<String>,
    /// When it was made, by the hybrid clock of its node (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modified: Option<String>,
    /// What is shown, for the `KV-Context` of a write that replaces it.
    pub context: String,
    /// Whether the key was deleted while fields of it were written.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
}

/// One of several values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Sibling {
    /// The value, when it is UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// The value in base64url, when it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value64: Option<String>,
    /// The media type of the value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// Which write it is.
    pub receipt: String,
    /// When it was made (RFC 3339).
    pub modified: String,
}

/// What is done to one field of a map: exactly one of these, but `set_add` and `set_remove` may
/// stand together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FieldOp {
    /// Sets the field to this JSON.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    #[schema(value_type = Object)]
    pub put: Option<serde_json::Value>,
    /// `true`: takes the field away, with all below it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub delete: Option<bool>,
    /// Adds to the field, which is a counter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub add: Option<Amount>,
    /// Elements for the field, which is a set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub set_add: Option<Vec<String>>,
    /// Elements that the field, which is a set, shall not have any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub set_remove: Option<Vec<String>>,
}

/// Operations by field: `a.b` is the field `b` of the object `a`; a name with a dot or a bracket in
/// it is written as a path of JSON, `["a.b"]`.
pub type FieldOps = BTreeMap<String, FieldOp>;

/// What became of a write.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReceiptView {
    /// The write.
    pub receipt: String,
    /// `current`: it is what is shown, or part of it; `superseded`: replaced by who had seen it;
    /// `merged`: part of a later sum; `lost`: replaced, or outranked, by who had not; `unknown`:
    /// this node has not heard of it, or it was none of this key.
    pub fate: String,
    /// Whether that cannot change any more.
    #[serde(rename = "final")]
    pub is_final: bool,
    /// Which write replaced it, as far as that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// When it was made (RFC 3339), as far as that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written: Option<String>,
}

/// A write that was lost for good, and to which other one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Conflict {
    /// The write that was lost.
    pub receipt: String,
    /// The key, when it is UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The key in base64url, when it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key64: Option<String>,
    /// The field of a map, from the outermost name to the innermost.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub field: Vec<String>,
    /// The value that was lost, when it is UTF-8; none when it is not kept any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// The same in base64url, when it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value64: Option<String>,
    /// The media type of the value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// When it was written (RFC 3339).
    pub written: String,
    /// The write that it was lost to.
    pub by: String,
}

/// A page of lost writes, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConflictPage {
    /// The writes.
    pub conflicts: Vec<Conflict>,
    /// The cursor of the next page; none when there is nothing more as yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A line of a stream of lost writes that is followed: everything before it is told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConflictBookmark {
    /// The `cursor` with which the node that gave it goes on from here.
    pub bookmark: String,
}

/// How many writes were lost.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LossTotals {
    /// Writes that were lost for good.
    pub lost: u64,
    /// Bytes of their values.
    pub lost_bytes: u64,
    /// Writes that are not in what is shown now: those lost, and those that had built on them.
    pub effective: u64,
    /// Writes that are lost unless a write turns up whose client had seen them.
    pub pending: u64,
}

/// A lost value, written once more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Restored {
    /// The new write.
    pub receipt: String,
    /// The one that was lost.
    pub restored: String,
}

/// Whether the nodes have the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Convergence {
    /// `converged`: all that answered have heard of the same writes and hold the same; `lagging`:
    /// some have not heard of all; `diverged`: two have heard of the same and hold different things,
    /// which must never be.
    pub state: String,
    /// The nodes that hold the namespace.
    pub members: Vec<ConvergenceMember>,
    /// What is on its way, by pair of nodes.
    pub lags: Vec<ConvergenceLag>,
    /// Where nodes differ that have heard of the same: the numbers of parts of the keys.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub buckets: Vec<u16>,
}

/// A node, as far as it answered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConvergenceMember {
    /// The node.
    pub node: u64,
    /// Whether it answered.
    pub reachable: bool,
    /// What it has heard of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vector: Option<String>,
    /// A hash of all that it holds; none while it takes over what another node has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// What one node has and another one lacks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConvergenceLag {
    /// The node that has it.
    pub from: u64,
    /// The node that lacks it.
    pub to: u64,
    /// How many writes.
    pub writes: u64,
    /// How old the oldest of them is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_ms: Option<u64>,
}

/// A pass over a link that was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PassView {
    /// The node that the link leads from.
    pub from: u64,
    /// The node that it leads to: the one that was asked.
    pub to: u64,
}

/// What a node has heard of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VectorView {
    /// What the namespace's values are: `lww`, `mv`, `counter`, `set` or `map`.
    #[serde(rename = "type")]
    pub data_type: String,
    /// Which node says so.
    pub node: u64,
    /// All of which it has heard: for `since` of an export, or `min_vector` of a read.
    pub vector: String,
}

/// What came of a copy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ImportView {
    /// Writes that were news.
    pub applied: u64,
    /// Writes that were known.
    pub known: u64,
    /// Writes that wait, for others that they build on or because their clock is ahead.
    pub waiting: u64,
    /// Whether it held rows instead of writes: its writer's log did not reach back.
    pub by_rows: bool,
    /// What the node has heard of now.
    pub vector: String,
}
