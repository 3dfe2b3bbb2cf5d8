//! One key: GET, HEAD, PUT, DELETE with raw bodies.
//!
//! Promises: everything that can be refused is refused before the body is read, and a body is never
//! buffered beyond its namespace's limit. What this release does not know (conditions, idempotency
//! keys) is refused: ignoring it would break a promise that the client relies on.

use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::Response;

use crate::model::{Attach, KeyReply, WriteOp};
use crate::service::{Got, Wrote};

use super::body::read_body;
use super::facts::Facts;
use super::parse::{key_path, query, read_mode};
use super::problem::Failure;
use super::{Asked, Front};

/// `GET` and `HEAD`.
pub(super) async fn get(
    State(front): State<Front>,
    Extension(asked): Extension<Asked>,
    request: Request,
) -> Response {
    let (parts, _) = request.into_parts();
    match get_key(&front, &asked, &parts.uri).await {
        Ok(response) => response,
        Err(failure) => failure.response(&front, &asked),
    }
}

async fn get_key(front: &Front, asked: &Asked, uri: &Uri) -> Result<Response, Failure> {
    let (namespace, key) = key_path(uri.path())?;
    let mode = read_mode(uri.query())?;
    let got = front.service.get(&namespace, key, mode, asked.context()).await?;
    tracing::Span::current().record("group", got.group.0);
    let Got { row, group, index, read, staleness, served_by, leader } = got;
    let facts = Facts {
        group: Some(group),
        index: Some(index),
        read: Some((read, staleness)),
        leader,
        served_by: Some(served_by),
    };
    let Some(row) = row else {
        let detail = format!("the key does not exist as of index {index} of group {group}");
        return Err(Failure {
            facts: Box::new(facts),
            ..Failure::refused(StatusCode::NOT_FOUND, "key_not_found", detail)
        });
    };
    let mut response = Response::new(Body::from(row.value));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::ETAG, etag(group.0, row.at));
    facts.write(headers, front);
    Ok(response)
}

/// `PUT`.
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
    let (namespace, key) = key_path(request.uri().path())?;
    query(request.uri().query(), &[])?;
    refuse_unknown_promises(request.headers())?;
    let limits = front.service.admit(&namespace, &key)?;
    let location = HeaderValue::from_str(request.uri().path()).ok();
    let env = front.service.env();
    let value = read_body(request, limits.value_bytes_max, asked.deadline, env).await?;
    let op = WriteOp::Put { value, content_type: None, attach: Attach::None };
    let wrote = front.service.write(&namespace, key, op.into(), asked.context()).await?;
    let created = matches!(wrote.reply, KeyReply::Put { created: true, .. });
    let mut response = written(front, &wrote);
    let headers = response.headers_mut();
    headers.insert(header::ETAG, etag(wrote.group.0, wrote.index));
    if created {
        if let Some(location) = location {
            headers.insert(header::LOCATION, location);
        }
        *response.status_mut() = StatusCode::CREATED;
    }
    Ok(response)
}

/// `DELETE`.
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
    let (namespace, key) = key_path(parts.uri.path())?;
    query(parts.uri.query(), &[])?;
    refuse_unknown_promises(&parts.headers)?;
    let wrote =
        front.service.write(&namespace, key, WriteOp::Delete.into(), asked.context()).await?;
    if matches!(wrote.reply, KeyReply::Deleted { existed: false, .. }) {
        let detail =
            format!("the key did not exist at index {} of group {}", wrote.index, wrote.group);
        return Err(Failure {
            facts: Box::new(facts_of(&wrote)),
            ..Failure::refused(StatusCode::NOT_FOUND, "key_not_found", detail)
        });
    }
    Ok(written(front, &wrote))
}

fn written(front: &Front, wrote: &Wrote) -> Response {
    tracing::Span::current().record("group", wrote.group.0);
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    facts_of(wrote).write(response.headers_mut(), front);
    response
}

fn facts_of(wrote: &Wrote) -> Facts {
    Facts {
        group: Some(wrote.group),
        index: Some(wrote.index),
        read: None,
        leader: wrote.leader,
        served_by: wrote.leader,
    }
}

/// Strong: it names one write of one group's order.
fn etag(group: u64, revision: u64) -> HeaderValue {
    HeaderValue::try_from(format!("\"{group}-{revision}\""))
        .expect("digits and quotes are a header value")
}

fn refuse_unknown_promises(headers: &HeaderMap) -> Result<(), Failure> {
    for name in
        ["if-match", "if-none-match", "if-unmodified-since", "idempotency-key", "content-range"]
    {
        if headers.contains_key(name) {
            let detail = format!("the header {name} is not supported by this release");
            return Err(Failure::invalid(detail));
        }
    }
    Ok(())
}
