//! Bodies about one key.
//!
//! Why it exists: keys and values are bytes, JSON is text; here is decided how one becomes the
//! other. What is UTF-8 stands as it is, anything else stands in base64url under a name ending in
//! `64`, and never both.
//! Promises and relies on: as all of [`crate::wire`].

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A key with its value and all that is known of it. Without `value` and `value64` where only
/// the rest was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Envelope {
    /// The key, when it is UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The key in base64url without padding, when it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key64: Option<String>,
    /// The value, when it is UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// The value in base64url without padding, when it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value64: Option<String>,
    /// Names the newest write of the key, with its quotes: fit for `If-Match`.
    pub etag: String,
    /// The revision of the newest write.
    pub revision: u64,
    /// The revision of the write that created the key.
    pub created: u64,
    /// How often the key was written since it was created, from 1.
    pub version: u64,
    /// When the newest write was accepted, by the clock of the node that took it (RFC 3339).
    pub modified: String,
    /// The media type that was stored with the value.
    pub content_type: String,
    /// The lease that the key hangs on, 16 hex digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<String>,
}

/// The answer to a PUT or DELETE with `?prev=1`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Changed {
    /// The key, when it is UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The key in base64url without padding, when it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key64: Option<String>,
    /// The ETag of the write; none after a DELETE.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// The revision of the write.
    pub revision: u64,
    /// Whether a PUT made the key.
    pub created: bool,
    /// What stood there before; `null` when nothing did.
    pub previous: Option<Envelope>,
}
