//! `vector`, `export` and `import`: what a node has, what another one lacks of it, and taking that in.
//!
//! Promises: a copy is streamed both ways, and neither side holds more than a part of it; an export
//! that breaks is cut off, which its reader notices; an import that fails says whether anything of it
//! was taken, and may be repeated as often as one likes.

use std::time::Duration;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use futures_util::{Stream, StreamExt};

use crate::convergence::copy::{Giving, Taken, Untaken, Untaking};
use crate::model::eventual::Vector;
use crate::runtime::limits::{BODY_DISCARD_BYTES_MAX, COPY_STALL_MAX, HTTP_BODY_STALL_MAX};
use crate::service::Outcome;
use crate::wire::{COPY_TYPE, ImportView, VectorView};

use super::super::doc::params::{ExportQuery, SpacePath};
use super::super::envelope::json;
use super::super::parse::{Query, content_type, namespace_path, query};
use super::super::places::Place;
use super::super::problem::Failure;
use super::Here;

/// Says what this node has heard of.
#[utoipa::path(get, path = "/v1/ns/{ns}/vector", operation_id = "get_vector", tag = "eventual",
    params(SpacePath),
    responses((status = 200, description = "What it has", body = VectorView)))]
pub(in super::super) async fn vector(here: Here, parts: Parts) -> Response {
    let told = async {
        query(parts.uri.query(), &[])?;
        let vector = here.space.vector();
        let view = VectorView {
            data_type: here.space.data_type().name().to_owned(),
            node: here.space.node().0,
            vector: vector.to_string(),
        };
        Ok(here.read(json(StatusCode::OK, &view), &vector))
    };
    here.answer(told).await
}

/// Writes a copy of what is here, or of what somebody else lacks of it.
#[utoipa::path(post, path = "/v1/ns/{ns}/export", operation_id = "export_copy", tag = "eventual",
    params(SpacePath, ExportQuery),
    responses((status = 200, description = "A copy: whole if its end is there",
        content((String = "application/vnd.tetrarch.copy")))))]
pub(in super::super) async fn export(here: Here, parts: Parts) -> Response {
    let told = async {
        let query = Query::of(parts.uri.query(), &["since"])?;
        let since = query.text("since")?.map(|text| text.parse::<Vector>()).transpose();
        let since = since.map_err(|error| Failure::invalid(format!("since: {error}")))?;
        let place = here.front.places.scan()?;
        let name = namespace_path(parts.uri.path())?;
        let giving = here.space.give_copy(&name, since.unwrap_or_default()).await?;
        let vector = giving.vector().clone();
        let mut response = Response::new(Body::from_stream(bytes_of(giving, place)));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(COPY_TYPE));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok(here.read(response, &vector))
    };
    here.answer(told).await
}

fn bytes_of(mut giving: Giving, place: Place) -> impl Stream<Item = Result<Bytes, std::io::Error>> {
    async_stream::try_stream! {
        while let Some(bytes) = giving.next().await.map_err(std::io::Error::other)? {
            yield bytes;
        }
        drop(place);
    }
}

/// Takes a copy in, of any replica of any namespace of the same type.
#[utoipa::path(post, path = "/v1/ns/{ns}/import", operation_id = "import_copy", tag = "eventual",
    params(SpacePath),
    request_body(content = String, content_type = "application/vnd.tetrarch.copy",
        description = "What an export has written"),
    responses((status = 200, description = "What came of it", body = ImportView)))]
pub(in super::super) async fn import(here: Here, parts: Parts, body: Body) -> Response {
    let told = async {
        query(parts.uri.query(), &[])?;
        copy_or_nothing(content_type(&parts.headers)?.as_deref())?;
        let place = here.front.places.copy()?;
        let taken = take(&here, body).await?;
        drop(place);
        let view = ImportView {
            applied: taken.applied,
            known: taken.known,
            waiting: taken.waiting,
            by_rows: taken.pages > 0,
            vector: taken.vector.to_string(),
        };
        Ok(here.told(json(StatusCode::OK, &view), &taken.vector, &taken.vector, false))
    };
    here.answer(told).await
}

async fn take(here: &Here, body: Body) -> Result<Taken, Failure> {
    let mut pieces = std::pin::pin!(pieces(body));
    let taken = here.space.take_copy(pieces.as_mut()).await;
    let Err(untaken) = taken else { return taken.map_err(failure) };
    // Who is still sending would never see why.
    let discard = async {
        let mut left = BODY_DISCARD_BYTES_MAX;
        while let Some(Ok(piece)) = pieces.next().await {
            left = left.saturating_sub(piece.len().max(1));
            if left == 0 {
                return;
            }
        }
    };
    drop(tokio::time::timeout(HTTP_BODY_STALL_MAX, discard).await);
    Err(failure(untaken))
}

/// The pieces of a body that moves on.
fn pieces(body: Body) -> impl Stream<Item = Result<Bytes, String>> {
    const STALL: Duration = COPY_STALL_MAX;
    async_stream::stream! {
        let mut body = body.into_data_stream();
        loop {
            match tokio::time::timeout(STALL, body.next()).await {
                Ok(Some(Ok(piece))) => yield Ok(piece),
                Ok(Some(Err(error))) => {
                    yield Err(error.to_string());
                    return;
                }
                Ok(None) => return,
                Err(_late) => {
                    yield Err(format!("nothing came for {STALL:?}"));
                    return;
                }
            }
        }
    }
}

fn copy_or_nothing(said: Option<&str>) -> Result<(), Failure> {
    let essence = said.unwrap_or_default().split(';').next().unwrap_or_default();
    match essence.trim().to_ascii_lowercase().as_str() {
        // The last is what curl says of `--data-binary` when it is not told.
        "" | COPY_TYPE | "application/octet-stream" | "application/x-www-form-urlencoded" => Ok(()),
        other => Err(Failure::unsupported(format!("the body must be {COPY_TYPE}, not {other}"))),
    }
}

fn failure(untaken: Untaken) -> Failure {
    let Untaken { why, partly } = untaken;
    let (status, code) = match &why {
        Untaking::Damaged(_) => (StatusCode::UNPROCESSABLE_ENTITY, "copy_damaged"),
        Untaking::Type { .. } | Untaking::Sister(_) => (StatusCode::CONFLICT, "copy_mismatch"),
        Untaking::Gap { .. } => (StatusCode::CONFLICT, "copy_gap"),
        Untaking::Reader => (StatusCode::CONFLICT, "read_replica"),
        Untaking::Full | Untaking::Busy => (StatusCode::SERVICE_UNAVAILABLE, "overloaded"),
        Untaking::Body(_) => (StatusCode::REQUEST_TIMEOUT, "request_timeout"),
        Untaking::Stop(_) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
    };
    let (detail, outcome) = if partly {
        let detail =
            format!("{why}; a part of it was taken before that, and stays: import it again");
        (detail, Outcome::Unknown)
    } else {
        (why.to_string(), Outcome::NotApplied)
    };
    Failure { outcome, ..Failure::refused(status, code, detail) }
}
