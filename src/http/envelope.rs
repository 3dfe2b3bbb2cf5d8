//! Rows as clients see them: headers and raw bytes, or an envelope of JSON.
//!
//! Promises: what is UTF-8 stands as text, all else in base64url under a name ending in `64`.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use serde::Serialize;

use crate::model::{GroupId, Row};
use crate::service::EntityTag;
use crate::wire::{Envelope, KV_LEASE, KV_REVISION, KV_VERSION};

use super::facts::HEADERS;
use super::parse::etag;
use super::parse::time::{http_date, rfc3339};

/// The type of a value that was stored without one.
const OCTETS: &str = "application/octet-stream";
const JSON: &str = "application/json";

/// Bytes as text, or else in base64url: the first or the second is there.
pub(super) fn text_or_64(bytes: &[u8]) -> (Option<String>, Option<String>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (Some(text.to_owned()), None),
        Err(_) => (None, Some(URL_SAFE_NO_PAD.encode(bytes))),
    }
}

/// The media type of a row's value.
pub(super) fn content_type(row: &Row) -> &str {
    row.content_type.as_deref().unwrap_or(OCTETS)
}

/// The ETag of a row of this group.
pub(super) fn tag(group: GroupId, row: &Row) -> EntityTag {
    EntityTag { group, at: row.at }
}

/// A row with its key; the value only when it is wanted.
pub(super) fn envelope(key: &[u8], group: GroupId, row: &Row, with_value: bool) -> Envelope {
    let (key, key64) = text_or_64(key);
    let (value, value64) = if with_value { text_or_64(&row.value) } else { (None, None) };
    Envelope {
        key,
        key64,
        value,
        value64,
        etag: etag::text(tag(group, row)),
        revision: row.revision,
        created: row.created,
        version: row.version,
        modified: rfc3339(row.modified_ms),
        content_type: content_type(row).to_owned(),
        lease: row.lease.map(|lease| lease.to_string()),
    }
}

/// What headers say of a row, whatever form its value has.
pub(super) fn row_headers(headers: &mut HeaderMap, group: GroupId, row: &Row) {
    headers.insert(header::ETAG, etag::header_value(tag(group, row)));
    if let Ok(date) = HeaderValue::try_from(http_date(row.modified_ms)) {
        headers.insert(header::LAST_MODIFIED, date);
    }
    headers.insert(KV_REVISION, HeaderValue::from(row.revision));
    headers.insert(KV_VERSION, HeaderValue::from(row.version));
    if let Some(lease) = row.lease
        && let Ok(lease) = HeaderValue::try_from(lease.to_string())
    {
        headers.insert(KV_LEASE, lease);
    }
}

/// A row in the form that the client wants, with its headers.
pub(super) fn row_response(key: &[u8], group: GroupId, row: &Row, enveloped: bool) -> Response {
    let mut response = if enveloped {
        json(StatusCode::OK, &envelope(key, group, row, true))
    } else {
        let kind = HeaderValue::from_str(content_type(row));
        let mut response = Response::new(Body::from(row.value.clone()));
        let kind = kind.unwrap_or(HeaderValue::from_static(OCTETS));
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response
    };
    let headers = response.headers_mut();
    headers.reserve(HEADERS);
    headers.insert(header::VARY, HeaderValue::from_static("accept"));
    // A value is what its writer says, and nothing that a browser may guess.
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    row_headers(headers, group, row);
    response
}

/// An answer of JSON.
pub(super) fn json<T: Serialize>(status: StatusCode, body: &T) -> Response {
    let bytes = serde_json::to_vec(body).expect("wire types hold only strings, numbers and lists");
    let mut response = Response::new(Body::from(Bytes::from(bytes)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(JSON));
    response
}
