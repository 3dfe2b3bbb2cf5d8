//! The lines of a batch, in both directions.
//!
//! Why it exists: a batch is a stream; each line stands alone, so that neither side ever holds
//! more than a few of them.
//! Promises and relies on: as all of [`crate::wire`].

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Op, Outcome, Sibling};

/// One line of a request: an operation, and what only a batch knows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BatchLine {
    /// Comes back with the result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, max_length = 255)]
    pub id: Option<String>,
    /// As the header `If-Match`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub if_match: Option<String>,
    /// As the header `If-None-Match`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub if_none_match: Option<String>,
    /// Of an eventual namespace: as the header `KV-Context`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub context: Option<String>,
    /// The operation; every op but `get`.
    #[serde(flatten)]
    pub op: Op,
}

/// One line of the answer: the results come in the order of the request's lines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BatchResult {
    /// The line's own name, when it had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The number of the line, from 1; empty lines count and have no result.
    pub n: u64,
    /// The status that the same request on a key of its own would have had.
    pub status: u16,
    /// How to treat the operation.
    pub outcome: Outcome,
    /// The key's ETag now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// The revision of the write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// Of an error: its machine-readable name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Of an error: what happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Of a patch: the new value, when it is UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Of a patch: the new value in base64url, when it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value64: Option<String>,
    /// Of an eventual namespace: the values that stand beside each other, when there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub siblings: Option<Vec<Sibling>>,
    /// Of an eventual namespace: the name of the write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<String>,
    /// Of an eventual namespace: what is shown, or was written, for the next write's context.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
    /// Whether this is the result of an earlier request with the same idempotency key.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replayed: bool,
}

/// The last line of the answer. An answer without it was cut off: what has no result is unknown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BatchEnd {
    /// Always true.
    pub end: bool,
    /// Operations that have a result.
    pub ops: u64,
    /// How many of them failed.
    pub failed: u64,
    /// Why lines after the last result were not looked at: nothing of them took effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// What happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}
