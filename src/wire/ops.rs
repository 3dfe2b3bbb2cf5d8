//! Operations as JSON: the parts of a transaction and the lines of a batch.
//!
//! Why it exists: one form of an operation serves both, so that what is learned for one is known
//! for the other. The first member of an operation names what is done and to which key: `put`,
//! `delete`, `get`, `patch`, or the same with `64` and a key in base64url.
//! Promises and relies on: as all of [`crate::wire`]. Unknown members are refused: a misspelt
//! condition that is ignored would be a lost one.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::FieldOps;

/// A number of an operation: JSON, or text for what JSON readers would round.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Amount {
    /// A JSON number.
    #[schema(value_type = f64)]
    Number(serde_json::Number),
    /// Decimal text such as `"12.50"`.
    Text(String),
}

/// The body of a PATCH with `application/kv-op+json`: exactly one member, but `set_add` and
/// `set_remove` may stand together. Those and `fields` are for eventual namespaces, which of the
/// others take `add` only.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KvOp {
    /// Adds to the number that is stored; a missing key counts as 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub add: Option<Amount>,
    /// Keeps the larger of the two numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub max: Option<Amount>,
    /// Keeps the smaller of the two numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub min: Option<Amount>,
    /// Appends text to the value; a missing key counts as empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub append: Option<String>,
    /// Elements for the set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub set_add: Option<Vec<String>>,
    /// Elements that the set shall not have any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub set_remove: Option<Vec<String>>,
    /// Operations on fields of the map, by their paths: `a.b`, or `["a.b"]` for a name with a dot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub fields: Option<FieldOps>,
}

/// One operation: exactly one of `put`, `put64`, `delete`, `delete64`, `get`, `get64`, `patch` and
/// `patch64`, and what belongs to it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Op {
    /// Sets this key to `value` or `value64`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, min_length = 1, max_length = 4096)]
    pub put: Option<String>,
    /// As `put`, the key in base64url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, min_length = 2, max_length = 5464)]
    pub put64: Option<String>,
    /// Deletes this key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, min_length = 1, max_length = 4096)]
    pub delete: Option<String>,
    /// As `delete`, the key in base64url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, min_length = 2, max_length = 5464)]
    pub delete64: Option<String>,
    /// Reads this key; in transactions only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, min_length = 1, max_length = 4096)]
    pub get: Option<String>,
    /// As `get`, the key in base64url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, min_length = 2, max_length = 5464)]
    pub get64: Option<String>,
    /// Changes this key's value by `merge`, `json`, `add`, `max`, `min` or `append`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, min_length = 1, max_length = 4096)]
    pub patch: Option<String>,
    /// As `patch`, the key in base64url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, min_length = 2, max_length = 5464)]
    pub patch64: Option<String>,
    /// Of a put: the value, as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub value: Option<String>,
    /// Of a put: the value, in base64 or base64url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub value64: Option<String>,
    /// Of a put: the media type that is stored with the value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, max_length = 255)]
    pub content_type: Option<String>,
    /// Of a put: the lease that the key hangs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, pattern = "^[0-9a-fA-F]{16}$")]
    pub lease: Option<String>,
    /// Of a put: how long the key lives unless it is written again, such as `30s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, pattern = "^[0-9]{1,15}(ms|s|m|h)$")]
    pub ttl: Option<String>,
    /// Of a patch: a JSON Merge Patch.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    #[schema(value_type = Object)]
    pub merge: Option<serde_json::Value>,
    /// Of a patch: the operations of a JSON Patch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<Vec<Object>>)]
    pub json: Option<Vec<serde_json::Value>>,
    /// Of a patch: adds to the number that is stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub add: Option<Amount>,
    /// Of a patch: keeps the larger of the two numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub max: Option<Amount>,
    /// Of a patch: keeps the smaller of the two numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub min: Option<Amount>,
    /// Of a patch: text to append.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub append: Option<String>,
    /// Of a patch: elements for the set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub set_add: Option<Vec<String>>,
    /// Of a patch: elements that the set shall not have any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub set_remove: Option<Vec<String>>,
    /// Of a patch: operations on fields of the map, by their paths: `a.b`, or `["a.b"]` for a name with a dot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub fields: Option<FieldOps>,
}

/// One condition of a transaction: a key (`key` or `key64`) and exactly one of `exists`, `etag`,
/// `value`, `value64`, `revision`, `version` and `created`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// The key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, min_length = 1, max_length = 4096)]
    pub key: Option<String>,
    /// The key in base64url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, min_length = 2, max_length = 5464)]
    pub key64: Option<String>,
    /// Whether the key exists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub exists: Option<bool>,
    /// The ETag that the key must have, with its quotes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, max_length = 64)]
    pub etag: Option<String>,
    /// The value that the key's is compared with, as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub value: Option<String>,
    /// The same in base64 or base64url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub value64: Option<String>,
    /// The revision that the key's newest is compared with; a missing key has 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub revision: Option<u64>,
    /// The version that the key's is compared with; a missing key has 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub version: Option<u64>,
    /// The revision that the one of its creation is compared with; a missing key has 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub created: Option<u64>,
    /// How value, revision, version or created is compared: `eq` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, pattern = "^(eq|ne|lt|gt|le|ge)$")]
    pub op: Option<String>,
}

/// The body of `POST /v1/ns/{ns}/txn`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TxnRequest {
    /// All must hold for `then`; otherwise `else` is done.
    #[serde(default, rename = "if", skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 128)]
    pub conditions: Vec<Condition>,
    /// What is done when all conditions hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 128)]
    pub then: Vec<Op>,
    /// What is done when one does not.
    #[serde(default, rename = "else", skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 128)]
    pub otherwise: Vec<Op>,
}

/// What one operation of a transaction came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OpResult {
    /// `put`, `delete`, `get` or `patch`.
    pub op: String,
    /// The key, when it is UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The key in base64url, when it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key64: Option<String>,
    /// The key's ETag after a put or patch, or as read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// Whether a put or patch made the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<bool>,
    /// Whether there was something to delete or to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub existed: Option<bool>,
    /// What a get read, or what a patch made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row: Option<super::Envelope>,
}

/// The answer to a transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TxnReply {
    /// Whether all conditions held, so that `then` was done and not `else`.
    pub succeeded: bool,
    /// One result for each operation, in order.
    pub results: Vec<OpResult>,
    /// The revision of the transaction.
    pub revision: u64,
    /// The group that it happened in.
    pub group: u64,
    /// Its place in the group's order.
    pub index: u64,
}

/// A member that is there, even when it is `null`: a Merge Patch may be.
pub(super) fn present<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: Deserialize<'de>,
    D: serde::Deserializer<'de>,
{
    T::deserialize(deserializer).map(Some)
}
