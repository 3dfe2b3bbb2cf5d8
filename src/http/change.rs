//! One key, changed: PUT, DELETE, PATCH with conditions, leases, and answers that say what was there.
//!
//! Promises: everything that can be refused is refused before the body is read, and a body is never
//! buffered beyond its namespace's limit. A condition travels with the write and is judged by the
//! group that orders it, not here.

use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;

use crate::model::{Attach, Give, KeyReply, Row, WriteOp};
use crate::service::{EntityTag, KeyRequest, Wrote};
use crate::wire::{Changed, KV_LEASE, KV_REVISION};

use super::body::read_body;
use super::doc::params::{
    ChangeHeaders, ChangeQuery, KeyPath, PatchHeaders, PatchQuery, PutHeaders, PutQuery,
};
use super::envelope::{content_type, envelope, json, row_response, text_or_64};
use super::facts::Facts;
use super::keys::{KeyAddress, key_address, refuse_unknown_promises};
use super::once::once;
use super::parse::accept::{Accept, Prefer};
use super::parse::{self, Query, etag, lease_id, text_header};
use super::problem::Failure;
use super::{Asked, Front, eventual, patch};

/// Sets a key.
#[utoipa::path(
    put,
    path = "/v1/ns/{ns}/keys/{key}",
    operation_id = "put_key",
    tag = "keys",
    params(KeyPath, PutQuery, PutHeaders),
    request_body(content = Vec<u8>, content_type = "application/octet-stream",
        description = "The value, of any content type"),
    responses(
        (status = 200, description = "Replaced; the body is what was asked for",
            content((Vec<u8> = "*/*"), (Changed = "application/json"))),
        (status = 201, description = "Created; with a body where one was asked for",
            content((Vec<u8> = "*/*"), (crate::wire::Envelope = "application/json"))),
        (status = 204, description = "Replaced"),
        (status = 300, description = "Done; the body that was asked for has several values",
            body = crate::wire::EventualRow),
    )
)]
pub(super) async fn put(
    State(front): State<Front>,
    Extension(asked): Extension<Asked>,
    request: Request,
) -> Response {
    match put_key(&front, &asked, request).await {
        Ok(response) => response,
        Err(failure) => failure.response(&front, &asked),
    }
}

async fn put_key(front: &Front, asked: &Asked, request: Request) -> Result<Response, Failure> {
    if let Some(here) = eventual::here(front, asked, request.uri()).await? {
        return eventual::keys::put(&here, request).await;
    }
    let (parts, body) = request.into_parts();
    let address = key_address(&parts.uri, &["ttl", "prev"], &["ttl", "prev", "key64"])?;
    let KeyAddress { namespace, key, query } = address;
    refuse_unknown_promises(&parts.headers)?;
    refuse_encodings(&parts.headers)?;
    let require = etag::condition(&parts.headers)?;
    let attach = attach(&query, &parts.headers)?;
    let content_type = parse::content_type(&parts.headers)?;
    let wishes = Wishes::of(&query, &parts.headers)?;
    let limits = front.service.admit(&namespace, &key)?;
    let value = read_body((&parts.headers, body), limits.value_bytes_max, asked, front).await?;
    let context = asked.context_once(once(&parts, &value)?);
    let op = WriteOp::Put { value, content_type, attach };
    let request = KeyRequest { require, op, give: wishes.give() };
    let wrote = front.service.write(&namespace, key.clone(), request, context).await?;
    let KeyReply::Put { created, at, revision, row } = wrote.reply.clone() else {
        return Err(strange(&wrote));
    };
    let tag = EntityTag { group: wrote.group, at };
    let mut response = if wishes.previous {
        let changed = changed(&key, &wrote, Some(tag), revision, created, row);
        json(StatusCode::OK, &changed)
    } else {
        let mut response = wishes.representation(&key, &wrote, row);
        if created {
            *response.status_mut() = StatusCode::CREATED;
            if let Ok(location) = HeaderValue::from_str(&location(&parts)) {
                response.headers_mut().insert(header::LOCATION, location);
            }
        }
        response
    };
    response.headers_mut().insert(header::ETAG, etag::header_value(tag));
    Ok(finished(response, front, asked, &wrote, revision))
}

/// Where the key is found again: without what only belongs to this request.
pub(super) fn location(parts: &Parts) -> String {
    let key64 = parts.uri.query().unwrap_or_default();
    match key64.split('&').find(|pair| pair.starts_with("key64=")) {
        Some(key64) if !parts.uri.path().contains("/keys/") => {
            format!("{}?{key64}", parts.uri.path())
        }
        _ => parts.uri.path().to_owned(),
    }
}

/// Deletes a key.
#[utoipa::path(
    delete,
    path = "/v1/ns/{ns}/keys/{key}",
    operation_id = "delete_key",
    tag = "keys",
    params(KeyPath, ChangeQuery, ChangeHeaders),
    responses(
        (status = 200, description = "Deleted; the body says what was there", body = Changed),
        (status = 204, description = "Deleted"),
    )
)]
pub(super) async fn delete(
    State(front): State<Front>,
    Extension(asked): Extension<Asked>,
    request: Request,
) -> Response {
    let (parts, _) = request.into_parts();
    match delete_key(&front, &asked, &parts).await {
        Ok(response) => response,
        Err(failure) => failure.response(&front, &asked),
    }
}

async fn delete_key(front: &Front, asked: &Asked, parts: &Parts) -> Result<Response, Failure> {
    if let Some(here) = eventual::here(front, asked, &parts.uri).await? {
        return eventual::keys::delete(&here, parts).await;
    }
    let address = key_address(&parts.uri, &["prev"], &["prev", "key64"])?;
    let KeyAddress { namespace, key, query } = address;
    refuse_unknown_promises(&parts.headers)?;
    let require = etag::condition(&parts.headers)?;
    let previous = query.flag("prev")?;
    let give = if previous { Give::Before } else { Give::Nothing };
    let request = KeyRequest { require, op: WriteOp::Delete, give };
    let context = asked.context_once(once(parts, &[])?);
    let wrote = front.service.write(&namespace, key.clone(), request, context).await?;
    let KeyReply::Deleted { existed, revision, row, .. } = wrote.reply.clone() else {
        return Err(strange(&wrote));
    };
    if !existed {
        return Err(Failure::no_key(facts_of(&wrote)));
    }
    let response = if previous {
        json(StatusCode::OK, &changed(&key, &wrote, None, revision, false, row))
    } else {
        empty()
    };
    Ok(finished(response, front, asked, &wrote, revision))
}

/// Changes a key's value where it is.
#[utoipa::path(
    patch,
    path = "/v1/ns/{ns}/keys/{key}",
    operation_id = "patch_key",
    tag = "keys",
    params(KeyPath, PatchQuery, PatchHeaders),
    request_body(content(
        (crate::wire::KvOp = "application/kv-op+json"),
        (serde_json::Value = "application/merge-patch+json"),
        (Vec<serde_json::Value> = "application/json-patch+json"),
    )),
    responses(
        (status = 200, description = "The new value",
            content((Vec<u8> = "*/*"), (crate::wire::Envelope = "application/json"))),
        (status = 204, description = "Done, and the key holds nothing now"),
    )
)]
pub(super) async fn patch(
    State(front): State<Front>,
    Extension(asked): Extension<Asked>,
    request: Request,
) -> Response {
    match patch_key(&front, &asked, request).await {
        Ok(response) => response,
        Err(failure) => failure.response(&front, &asked),
    }
}

async fn patch_key(front: &Front, asked: &Asked, request: Request) -> Result<Response, Failure> {
    if let Some(here) = eventual::here(front, asked, request.uri()).await? {
        return eventual::keys::patch(&here, request).await;
    }
    let (parts, body) = request.into_parts();
    let KeyAddress { namespace, key, .. } = key_address(&parts.uri, &[], &["key64"])?;
    refuse_unknown_promises(&parts.headers)?;
    refuse_encodings(&parts.headers)?;
    let require = etag::condition(&parts.headers)?;
    let accept = Accept::of(&parts.headers)?;
    let kind = patch::Kind::of(&parts.headers)?;
    let limits = front.service.admit(&namespace, &key)?;
    let body = read_body((&parts.headers, body), limits.value_bytes_max, asked, front).await?;
    let patch = kind.read(&body)?;
    let context = asked.context_once(once(&parts, &body)?);
    let request = KeyRequest { require, op: WriteOp::Patch { patch }, give: Give::After };
    let wrote = front.service.write(&namespace, key.clone(), request, context).await?;
    let KeyReply::Patched { revision, row, .. } = wrote.reply.clone() else {
        return Err(strange(&wrote));
    };
    let enveloped = accept.wants_envelope(content_type(&row));
    let response = row_response(&key, wrote.group, &row, enveloped);
    Ok(finished(response, front, asked, &wrote, revision))
}

/// What the client would like to hear of a write.
#[derive(Debug)]
struct Wishes {
    previous: bool,
    representation: bool,
    accept: Accept,
}

impl Wishes {
    fn of(query: &Query<'_>, headers: &HeaderMap) -> Result<Self, Failure> {
        let previous = query.flag("prev")?;
        let representation = Prefer::of(headers)?.representation && !previous;
        Ok(Self { previous, representation, accept: Accept::of(headers)? })
    }

    fn give(&self) -> Give {
        match (self.previous, self.representation) {
            (true, _) => Give::Before,
            (false, true) => Give::After,
            (false, false) => Give::Nothing,
        }
    }

    /// The answer to a put: with the new value if the client prefers it.
    fn representation(&self, key: &[u8], wrote: &Wrote, row: Option<Row>) -> Response {
        let Some(row) = row.filter(|_| self.representation) else { return empty() };
        let enveloped = self.accept.wants_envelope(content_type(&row));
        let mut response = row_response(key, wrote.group, &row, enveloped);
        let applied = HeaderValue::from_static("return=representation");
        response.headers_mut().insert("preference-applied", applied);
        response
    }
}

fn changed(
    key: &[u8],
    wrote: &Wrote,
    tag: Option<EntityTag>,
    revision: u64,
    created: bool,
    before: Option<Row>,
) -> Changed {
    let previous = before.map(|row| envelope(key, wrote.group, &row, true));
    let (key, key64) = text_or_64(key);
    Changed { key, key64, etag: tag.map(etag::text), revision, created, previous }
}

/// What a key that is put hangs on: `?ttl=` or `KV-Lease`.
fn attach(query: &Query<'_>, headers: &HeaderMap) -> Result<Attach, Failure> {
    match (query.duration("ttl")?, text_header(headers, KV_LEASE)?) {
        (None, None) => Ok(Attach::None),
        (Some(ttl), None) => parse::ttl_ms("ttl", ttl).map(Attach::Ttl),
        (None, Some(lease)) => lease_id(lease).map(Attach::Lease),
        (Some(_), Some(_)) => Err(Failure::invalid("a key takes ttl= or KV-Lease, not both")),
    }
}

/// An encoding would be lost: only the content type is kept with a value.
pub(super) fn refuse_encodings(headers: &HeaderMap) -> Result<(), Failure> {
    match text_header(headers, header::CONTENT_ENCODING.as_str())? {
        None => Ok(()),
        Some(encoding) if encoding.eq_ignore_ascii_case("identity") => Ok(()),
        Some(encoding) => {
            let detail =
                format!("Content-Encoding {encoding} is not kept: send the bytes as they are");
            Err(Failure::unsupported(detail))
        }
    }
}

fn empty() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

fn finished(
    mut response: Response,
    front: &Front,
    asked: &Asked,
    wrote: &Wrote,
    revision: u64,
) -> Response {
    tracing::Span::current().record("group", wrote.group.0);
    let headers = response.headers_mut();
    headers.insert(KV_REVISION, HeaderValue::from(revision));
    facts_of(wrote).write(headers, front, asked);
    response
}

fn facts_of(wrote: &Wrote) -> Facts {
    Facts {
        group: Some(wrote.group),
        index: Some(wrote.index),
        leader: wrote.leader,
        served_by: wrote.leader,
        replayed: wrote.replayed,
        ..Facts::default()
    }
}

fn strange(wrote: &Wrote) -> Failure {
    let reason = format!("a write was answered by {:?}", wrote.reply);
    crate::service::ServiceError::from(crate::service::ErrorKind::Internal { reason }).into()
}
