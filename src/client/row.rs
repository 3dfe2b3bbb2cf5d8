//! A key with what is known of it, as scans, watches and envelopes tell it.
//!
//! Promises: what the server left out is `None`, never a made-up zero. A member that is not known
//! here is passed over.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::coded::{from_text, to_text};
use crate::wire::Sibling;

/// A key, and as much about it as was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// The key.
    pub key: Bytes,
    /// Its value.
    pub value: Option<Bytes>,
    /// The entity tag of the newest write.
    pub etag: Option<String>,
    /// The revision of the newest write.
    pub revision: Option<u64>,
    /// The revision at which the key came to be.
    pub created: Option<u64>,
    /// How many writes it has seen since, from 1.
    pub version: Option<u64>,
    /// When it was written, by the clock of the node that took the write (RFC 3339).
    pub modified: Option<String>,
    /// The value's media type.
    pub content_type: Option<String>,
    /// The lease with which the key ends.
    pub lease: Option<String>,
    /// In an eventual namespace, the values that stand beside each other, if there are several.
    pub siblings: Option<Vec<Sibling>>,
    /// What is shown, for the context of a write that replaces it.
    pub context: Option<String>,
    /// Which write is shown.
    pub receipt: Option<String>,
}

/// What a scan finds.
#[allow(
    clippy::large_enum_variant,
    reason = "nearly all of them are rows, which a box would slow down"
)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A key.
    Row(Row),
    /// The part up to the delimiter that one or more keys share.
    Prefix(Bytes),
}

/// The members of a row in JSON, all of which may be missing.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Fields {
    key: Option<String>,
    key64: Option<String>,
    value: Option<String>,
    value64: Option<String>,
    etag: Option<String>,
    revision: Option<u64>,
    created: Option<u64>,
    version: Option<u64>,
    modified: Option<String>,
    content_type: Option<String>,
    lease: Option<String>,
    siblings: Option<Vec<Sibling>>,
    context: Option<String>,
    receipt: Option<String>,
    prefix: Option<String>,
    prefix64: Option<String>,
}

impl Fields {
    /// The row, or the folded prefix; `None` when it is neither.
    pub(super) fn item(self) -> Option<Item> {
        match from_text(self.prefix.as_deref(), self.prefix64.as_deref()) {
            Some(prefix) => Some(Item::Prefix(prefix)),
            None => self.row().map(Item::Row),
        }
    }

    pub(super) fn row(self) -> Option<Row> {
        Some(Row {
            key: from_text(self.key.as_deref(), self.key64.as_deref())?,
            value: from_text(self.value.as_deref(), self.value64.as_deref()),
            etag: self.etag,
            revision: self.revision,
            created: self.created,
            version: self.version,
            modified: self.modified,
            content_type: self.content_type,
            lease: self.lease,
            siblings: self.siblings,
            context: self.context,
            receipt: self.receipt,
        })
    }
}

impl Row {
    /// The row as the API writes it.
    pub fn to_json(&self) -> Value {
        let mut fields = Map::new();
        let mut text = |name: &str, bytes: &[u8]| {
            let (text, base64) = to_text(bytes);
            let name = if text.is_some() { name.to_owned() } else { format!("{name}64") };
            fields.insert(name, json!(text.or(base64)));
        };
        text("key", &self.key);
        if let Some(value) = &self.value {
            text("value", value);
        }
        let mut some = |name: &str, value: Value| {
            if !value.is_null() {
                fields.insert(name.to_owned(), value);
            }
        };
        some("etag", json!(self.etag));
        some("revision", json!(self.revision));
        some("created", json!(self.created));
        some("version", json!(self.version));
        some("modified", json!(self.modified));
        some("content_type", json!(self.content_type));
        some("lease", json!(self.lease));
        some("siblings", json!(self.siblings));
        some("context", json!(self.context));
        some("receipt", json!(self.receipt));
        Value::Object(fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_reads_back_as_written() {
        let row = Row {
            key: Bytes::from_static(b"\xff"),
            value: Some(Bytes::from_static(b"v")),
            revision: Some(7),
            ..Row::default()
        };
        let written = row.to_json();
        assert_eq!(written, json!({"key64": "_w", "value": "v", "revision": 7}));
        let fields: Fields = serde_json::from_value(written).unwrap();
        assert_eq!(fields.item(), Some(Item::Row(row)));
    }

    #[test]
    fn a_folded_prefix_is_no_row() {
        let fields: Fields = serde_json::from_str(r#"{"prefix":"a/"}"#).unwrap();
        assert_eq!(fields.item(), Some(Item::Prefix(Bytes::from_static(b"a/"))));
        assert_eq!(Fields::default().item(), None);
    }
}
