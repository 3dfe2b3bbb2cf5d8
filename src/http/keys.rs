//! One key, read: GET and HEAD with conditions, raw or in an envelope.
//!
//! Promises: the conditions of RFC 9110 in its order (`If-Match`, then `If-None-Match`, then
//! `If-Modified-Since`), on the row that was read and no other; what is not understood is refused.
//! Writing is in `change`.

use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::Response;
use bytes::Bytes;

use crate::model::{GroupId, Row};
use crate::service::{EntityTag, Got};

use super::doc::params::{KeyPath, ReadHeaders, ReadQuery};
use super::envelope::{content_type, row_headers, row_response, tag};
use super::facts::Facts;
use super::parse::accept::Accept;
use super::parse::etag::{Comparison, listed};
use super::parse::time::http_seconds;
use super::parse::{Query, key_path, namespace_path, once_header};
use super::problem::{Failure, More};
use super::{Asked, Front, eventual};

/// Which key of which namespace a request is about.
#[derive(Debug)]
pub(super) struct KeyAddress<'a> {
    pub(super) namespace: String,
    pub(super) key: Bytes,
    pub(super) query: Query<'a>,
}

/// The key of a path, or of `?key64=` where the path has none.
pub(super) fn key_address<'a>(
    uri: &'a Uri,
    known: &[&str],
    known64: &[&str],
) -> Result<KeyAddress<'a>, Failure> {
    if uri.path().contains("/keys/") {
        let (namespace, key) = key_path(uri.path())?;
        return Ok(KeyAddress { namespace, key, query: Query::of(uri.query(), known)? });
    }
    let query = Query::of(uri.query(), known64)?;
    let key = match query.text("key64")? {
        Some(text) => super::parse::base64url("key64", &text)?,
        None => return Err(Failure::invalid("the query needs key64=")),
    };
    if key.is_empty() {
        return Err(Failure::invalid("the key is empty"));
    }
    Ok(KeyAddress { namespace: namespace_path(uri.path())?, key, query })
}

/// Reads a key.
///
/// The raw value with its content type; an envelope of JSON when `Accept` names it.
#[utoipa::path(
    get,
    path = "/v1/ns/{ns}/keys/{key}",
    operation_id = "get_key",
    tag = "keys",
    params(KeyPath, ReadQuery, ReadHeaders),
    responses(
        (status = 200, description = "The value",
            content((Vec<u8> = "*/*"), (crate::wire::Envelope = "application/json"))),
        (status = 300, description = "Of an eventual namespace: several values, none of which \
            replaces the others", body = crate::wire::EventualRow),
        (status = 304, description = "The client has it already"),
    )
)]
pub(super) async fn get(
    State(front): State<Front>,
    Extension(asked): Extension<Asked>,
    request: Request,
) -> Response {
    let (parts, _) = request.into_parts();
    match get_key(&front, &asked, &parts).await {
        Ok(response) => response,
        Err(failure) => failure.response(&front, &asked),
    }
}

/// Reads what is known of a key, without its value.
#[utoipa::path(
    head,
    path = "/v1/ns/{ns}/keys/{key}",
    operation_id = "head_key",
    tag = "keys",
    params(KeyPath, ReadQuery, ReadHeaders),
    responses(
        (status = 200, description = "The key exists; the headers are those of a GET"),
        (status = 300, description = "It has several values"),
        (status = 304, description = "The client has it already"),
    )
)]
pub(super) async fn head(
    front: State<Front>,
    asked: Extension<Asked>,
    request: Request,
) -> Response {
    get(front, asked, request).await
}

async fn get_key(front: &Front, asked: &Asked, parts: &Parts) -> Result<Response, Failure> {
    if let Some(here) = eventual::here(front, asked, &parts.uri).await? {
        return eventual::keys::get(&here, parts).await;
    }
    let known = ["read", "max_staleness"];
    let address = key_address(&parts.uri, &known, &["read", "max_staleness", "key64"])?;
    let KeyAddress { namespace, key, query } = address;
    refuse_unknown_promises(&parts.headers)?;
    let mode = query.read_mode()?;
    let accept = Accept::of(&parts.headers)?;
    let conditions = Conditions::of(&parts.headers)?;
    let got = front.service.get(&namespace, key.clone(), mode, asked.context()).await?;
    tracing::Span::current().record("group", got.group.0);
    let Got { row, group, index, read, staleness, served_by, leader } = got;
    let facts = Facts {
        group: Some(group),
        index: Some(index),
        read: Some((read, staleness)),
        leader,
        served_by: Some(served_by),
        ..Facts::default()
    };
    let Some(row) = row else { return Err(Failure::no_key(facts)) };
    let mut response = match conditions.judge(tag(group, &row), row.modified_ms) {
        Judgement::Send => {
            let enveloped = accept.wants_envelope(content_type(&row));
            row_response(&key, group, &row, enveloped)
        }
        Judgement::NotModified => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            row_headers(response.headers_mut(), group, &row);
            response
        }
        Judgement::Unmet => return Err(unmet(group, &row, facts)),
    };
    facts.write(response.headers_mut(), front, asked);
    Ok(response)
}

fn unmet(group: GroupId, row: &Row, facts: Facts) -> Failure {
    let more =
        More { etag: Some(tag(group, row)), revision: Some(row.revision), ..More::default() };
    let detail = "the key's newest write is none of those in If-Match";
    let status = StatusCode::PRECONDITION_FAILED;
    let failure = Failure::refused(status, "precondition_failed", detail);
    Failure { facts: Box::new(facts), more: Box::new(more), ..failure }
}

/// The conditions of a read.
#[derive(Debug)]
pub(super) struct Conditions {
    wanted: Option<super::parse::etag::Tags>,
    unwanted: Option<super::parse::etag::Tags>,
    since: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    Send,
    NotModified,
    Unmet,
}

impl Conditions {
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Failure> {
        // A date that is none is passed over, as RFC 9110 §13.1.3 demands.
        let since = once_header(headers, header::IF_MODIFIED_SINCE.as_str())?;
        Ok(Self {
            wanted: listed(headers, &header::IF_MATCH, Comparison::Strong)?,
            unwanted: listed(headers, &header::IF_NONE_MATCH, Comparison::Weak)?,
            since: since.and_then(|value| value.to_str().ok()).and_then(http_seconds),
        })
    }

    /// What they say of a value with this tag, written at this time.
    pub(super) fn judge(&self, tag: EntityTag, modified_ms: u64) -> Judgement {
        if self.wanted.as_ref().is_some_and(|tags| !tags.matches(tag)) {
            return Judgement::Unmet;
        }
        let known = match (&self.unwanted, self.since) {
            (Some(tags), _) => tags.matches(tag),
            (None, Some(since)) => modified_ms / 1000 <= since,
            (None, None) => false,
        };
        if known { Judgement::NotModified } else { Judgement::Send }
    }
}

/// What would be broken if it were passed over.
pub(super) fn refuse_unknown_promises(headers: &HeaderMap) -> Result<(), Failure> {
    for name in ["if-unmodified-since", "content-range"] {
        if headers.contains_key(name) {
            let detail = format!("the header {name} is not supported: use If-Match");
            return Err(Failure::invalid(detail));
        }
    }
    Ok(())
}
