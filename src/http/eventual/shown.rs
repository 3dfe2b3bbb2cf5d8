//! What a key of an eventual namespace holds, as clients see it: raw, in an envelope, as siblings.
//!
//! Promises: the ETag is the same on every node that shows the same, and another one as soon as
//! anything else is shown.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use xxhash_rust::xxh3::Xxh3;

use crate::convergence::storage_group;
use crate::model::eventual::{Context, Hlc, Shown, Sibling, What};
use crate::model::{GroupId, NamespaceId};
use crate::runtime::limits::SIBLINGS_WARN;
use crate::service::EntityTag;
use crate::wire::{self, EventualRow, KV_CONTEXT, KV_PARTIAL, KV_RECEIPT, KV_SIBLINGS};

use super::super::envelope::{json, text_or_64};
use super::super::parse::etag;
use super::super::parse::time::{http_date, rfc3339};

const OCTETS: &str = "application/octet-stream";
const JSON: &str = "application/json";
const TEXT: &str = "text/plain";

/// The media type of what is shown.
pub(super) fn kind(shown: &Shown) -> &str {
    match &shown.what {
        What::Value(value) => value.content_type.as_deref().unwrap_or(OCTETS),
        What::Text(_) => TEXT,
        What::Missing | What::Siblings(_) | What::Json(_) => JSON,
    }
}

/// The tag of what is shown. The group of it is the namespace's storage group, which is no group's.
pub(super) fn tag(namespace: NamespaceId, shown: &Shown) -> EntityTag {
    let mut hash = Xxh3::new();
    for dot in &shown.context {
        for part in
            [dot.actor.node, u64::from(dot.actor.home), u64::from(dot.actor.run), dot.counter]
        {
            hash.update(&part.to_be_bytes());
        }
    }
    match &shown.what {
        What::Missing | What::Value(_) | What::Siblings(_) => {}
        What::Text(text) => hash.update(text.as_bytes()),
        What::Json(text) => hash.update(text),
    }
    EntityTag { group: GroupId(storage_group(namespace)), at: hash.digest() }
}

/// When the newest part of it was written, in milliseconds.
pub(super) fn modified_ms(shown: &Shown) -> Option<u64> {
    shown.latest.map(|(_, hlc)| hlc.ms())
}

/// The text of what was shown, for the next write.
fn context(namespace: NamespaceId, shown: &Shown) -> String {
    Context { namespace, dots: shown.context.clone() }.to_string()
}

/// One of several values.
pub(super) fn sibling(value: &Sibling) -> wire::Sibling {
    let (text, encoded) = text_or_64(&value.value);
    wire::Sibling {
        value: text,
        value64: encoded,
        content_type: value.content_type.clone(),
        receipt: value.dot.to_string(),
        modified: moment(value.hlc),
    }
}

/// A stamp of the hybrid clock as a date.
pub(super) fn moment(hlc: Hlc) -> String {
    rfc3339(hlc.ms())
}

/// A key with what it holds; the values only when they are wanted.
pub(super) fn row(
    key: &[u8],
    namespace: NamespaceId,
    shown: &Shown,
    with_value: bool,
) -> EventualRow {
    let (key, key64) = text_or_64(key);
    let mut row = EventualRow {
        key,
        key64,
        etag: etag::text(tag(namespace, shown)),
        modified: shown.latest.map(|(_, hlc)| moment(hlc)),
        context: context(namespace, shown),
        partial: shown.partial,
        ..EventualRow::default()
    };
    let (value, kind): (&[u8], &str) = match &shown.what {
        What::Missing => return row,
        What::Siblings(all) => {
            row.siblings = with_value.then(|| all.iter().map(sibling).collect());
            return row;
        }
        What::Value(value) => {
            row.receipt = Some(value.dot.to_string());
            (&value.value, kind(shown))
        }
        What::Text(text) => (text.as_bytes(), TEXT),
        What::Json(text) => (text, JSON),
    };
    row.content_type = Some(kind.to_owned());
    if with_value {
        (row.value, row.value64) = text_or_64(value);
    }
    row
}

/// What headers say, whatever form the value has.
pub(super) fn headers(to: &mut HeaderMap, namespace: NamespaceId, shown: &Shown) {
    to.insert(header::ETAG, etag::header_value(tag(namespace, shown)));
    let mut put = |name: &'static str, value: String| {
        if let Ok(value) = HeaderValue::try_from(value) {
            to.insert(name, value);
        }
    };
    if let Some(ms) = modified_ms(shown) {
        put("last-modified", http_date(ms));
    }
    if !shown.context.is_empty() {
        put(KV_CONTEXT, context(namespace, shown));
    }
    match &shown.what {
        What::Value(value) => put(KV_RECEIPT, value.dot.to_string()),
        What::Siblings(all) => put(KV_SIBLINGS, siblings(all.len())),
        What::Missing | What::Text(_) | What::Json(_) => {}
    }
    if shown.partial {
        put(KV_PARTIAL, "?1".to_owned());
    }
}

/// How many values there are, and whether that is worrying.
pub(super) fn siblings(count: usize) -> String {
    if count >= SIBLINGS_WARN { format!("{count};warn") } else { count.to_string() }
}

/// What is there in the form that the client wants, with its headers. Siblings are 300.
pub(super) fn response(
    key: &[u8],
    namespace: NamespaceId,
    shown: &Shown,
    enveloped: bool,
) -> Response {
    let raw = match &shown.what {
        What::Siblings(_) => None,
        _ if enveloped => None,
        What::Value(value) => Some(value.value.clone()),
        What::Text(text) => Some(Bytes::from(text.clone())),
        What::Json(text) => Some(text.clone()),
        What::Missing => Some(Bytes::new()),
    };
    let status = match &shown.what {
        What::Siblings(_) => StatusCode::MULTIPLE_CHOICES,
        What::Missing => StatusCode::NO_CONTENT,
        _ => StatusCode::OK,
    };
    let mut response = match raw {
        None => json(status, &row(key, namespace, shown, true)),
        Some(value) => {
            let mut response = Response::new(Body::from(value));
            *response.status_mut() = status;
            if shown.what != What::Missing {
                let kind = HeaderValue::from_str(kind(shown));
                let kind = kind.unwrap_or(HeaderValue::from_static(OCTETS));
                response.headers_mut().insert(header::CONTENT_TYPE, kind);
            }
            response
        }
    };
    let to = response.headers_mut();
    to.insert(header::VARY, HeaderValue::from_static("accept"));
    // A value is what its writer says, and nothing that a browser may guess.
    to.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers(to, namespace, shown);
    response
}
