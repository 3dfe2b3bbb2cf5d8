//! `GET` and `DELETE /v1/ns/{ns}/keys`: ranges of keys, in pages, as a stream, counted; and deleted.
//!
//! Promises: a stream holds a bounded part of the answer whatever its length, reads no faster than its
//! client takes it, and ends with a line that says that it is complete, or why it is not; a client that
//! takes nothing is cut off by its connection's bound. A prefix is deleted only by who says so twice.

use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use serde::Serialize;

use crate::runtime::limits::{DELIMITER_BYTES_MAX, SCAN_LIMIT_DEFAULT, SCAN_LIMIT_MAX};
use crate::service::{Item, KeyRange, ReadMode, ScanRequest, ScanStream, Session, Show};
use crate::wire::{
    KV_CONFIRM, NDJSON, PrefixDeleted, ScanEnd, ScanItem, ScanName, ScanPage, StreamError,
};

use super::doc::params::{PrefixHeaders, PrefixQuery, ScanQuery, SpacePath};
use super::envelope::{envelope, json, text_or_64};
use super::facts::Facts;
use super::parse::accept::Accept;
use super::parse::{Query, namespace_path, text_header};
use super::places::Place;
use super::problem::Failure;
use super::{Asked, Front, eventual};

const JSON: &str = "application/json";
/// How the bounds of a range are called.
pub(super) const RANGE: [&str; 6] = ["prefix", "prefix64", "start", "start64", "end", "end64"];

/// Lists keys in order.
///
/// In pages, or with `Accept: application/x-ndjson` all of them, one a line.
#[utoipa::path(
    get,
    path = "/v1/ns/{ns}/keys",
    operation_id = "scan",
    tag = "keys",
    params(SpacePath, ScanQuery),
    responses((status = 200, description = "A page, or a line for each item and one for the end",
        content((ScanPage = "application/json"), (ScanItem = "application/x-ndjson"))))
)]
pub(super) async fn list(
    State(front): State<Front>,
    Extension(asked): Extension<Asked>,
    request: Request,
) -> Response {
    let (parts, _) = request.into_parts();
    match scan(&front, &asked, &parts).await {
        Ok(response) => response,
        Err(failure) => failure.response(&front, &asked),
    }
}

/// What of each row is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fields {
    Rows(Show),
    Count,
}

struct Wanted {
    request: ScanRequest,
    fields: Fields,
    limit: Option<usize>,
    cursor: Option<String>,
}

/// The keys of a query's prefix and bounds, and how long its prefix is.
pub(super) fn range_of(query: &Query<'_>) -> Result<(KeyRange, usize), Failure> {
    let prefix = query.either("prefix", "prefix64")?.unwrap_or_default();
    let start = query.either("start", "start64")?.unwrap_or_default();
    let end = query.either("end", "end64")?;
    Ok((KeyRange::new(&prefix, &start, end.as_deref()), prefix.len()))
}

/// What keys are folded by.
pub(super) fn delimiter_of(query: &Query<'_>) -> Result<Option<Bytes>, Failure> {
    let delimiter = query.bytes("delimiter")?.filter(|delimiter| !delimiter.is_empty());
    if delimiter.as_ref().is_some_and(|delimiter| delimiter.len() > DELIMITER_BYTES_MAX) {
        let detail = format!("delimiter has at most {DELIMITER_BYTES_MAX} bytes");
        return Err(Failure::invalid(detail));
    }
    Ok(delimiter)
}

/// How many items a page may have.
pub(super) fn limit_of(query: &Query<'_>) -> Result<Option<usize>, Failure> {
    let limit = query.number("limit")?;
    let limit = limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
    if limit.is_some_and(|limit| limit == 0 || limit > SCAN_LIMIT_MAX) {
        return Err(Failure::invalid(format!("limit is between 1 and {SCAN_LIMIT_MAX}")));
    }
    Ok(limit)
}

fn wanted(parts: &Parts) -> Result<Wanted, Failure> {
    let mut known = RANGE.to_vec();
    known.extend(["reverse", "limit", "fields", "delimiter", "cursor", "read"]);
    let query = Query::of(parts.uri.query(), &known)?;
    let (range, prefix_bytes) = range_of(&query)?;
    let fields = match query.text("fields")?.as_deref() {
        None | Some("value") => Fields::Rows(Show::Rows),
        Some("meta") => Fields::Rows(Show::Heads),
        Some("key") => Fields::Rows(Show::Keys),
        Some("count") => Fields::Count,
        Some(other) => {
            let detail = format!("fields={other} is not known (known: key, meta, value, count)");
            return Err(Failure::invalid(detail));
        }
    };
    let delimiter = delimiter_of(&query)?;
    let read = query.read_mode()?;
    if matches!(read, ReadMode::Bounded(_)) {
        return Err(Failure::invalid("a scan reads linearizable, stale or session"));
    }
    let limit = limit_of(&query)?;
    let show = match fields {
        Fields::Rows(show) => show,
        Fields::Count => Show::Keys,
    };
    let reverse = query.flag("reverse")?;
    let request = ScanRequest { range, prefix_bytes, reverse, show, delimiter, read };
    Ok(Wanted { request, fields, limit, cursor: query.text("cursor")? })
}

async fn scan(front: &Front, asked: &Asked, parts: &Parts) -> Result<Response, Failure> {
    if let Some(here) = eventual::here(front, asked, &parts.uri).await? {
        return eventual::scan::list(&here, parts).await;
    }
    let namespace = namespace_path(parts.uri.path())?;
    let Wanted { request, fields, limit, cursor } = wanted(parts)?;
    let form = Accept::of(&parts.headers)?.best(&[JSON, NDJSON])?;
    let read = request.read;
    let whole = limit.is_none() && cursor.is_none();
    if fields == Fields::Count {
        if !whole {
            return Err(Failure::invalid("fields=count takes no limit and no cursor"));
        }
        let counted = front.service.count(&namespace, request, asked.context()).await?;
        let view = counted.view.to_string();
        let page = ScanPage { count: Some(counted.count), view, ..ScanPage::default() };
        return Ok(answered(front, asked, json(StatusCode::OK, &page), read, counted.view));
    }
    if form == NDJSON {
        if !whole {
            let detail = "a stream gives out everything: it takes no limit and no cursor";
            return Err(Failure::invalid(detail));
        }
        let place = front.places.scan()?;
        let stream = front.service.scan_stream(&namespace, request, asked.context()).await?;
        let view = stream.view();
        let body = Body::from_stream(lines(front.clone(), asked.clone(), stream, place));
        let mut response = Response::new(body);
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(NDJSON));
        return Ok(answered(front, asked, response, read, view));
    }
    let limit = limit.unwrap_or(SCAN_LIMIT_DEFAULT);
    let scanned =
        front.service.scan(&namespace, request, limit, cursor.as_deref(), asked.context()).await?;
    let link = scanned.next.as_ref().and_then(|next| link(parts, next));
    let page = ScanPage {
        items: Some(scanned.items.iter().map(scan_item).collect()),
        count: None,
        next: scanned.next,
        view: scanned.view.to_string(),
    };
    let mut response = json(StatusCode::OK, &page);
    if let Some(link) = link {
        response.headers_mut().insert(header::LINK, link);
    }
    Ok(answered(front, asked, response, read, scanned.view))
}

fn answered(
    front: &Front,
    asked: &Asked,
    mut response: Response,
    read: ReadMode,
    seen: Session,
) -> Response {
    let facts = Facts { read: Some((read, None)), seen: Some(seen), ..Facts::default() };
    let headers = response.headers_mut();
    headers.insert(header::VARY, HeaderValue::from_static("accept"));
    facts.write(headers, front, asked);
    response
}

/// The same request with the next page's cursor (RFC 8288).
pub(super) fn link(parts: &Parts, next: &str) -> Option<HeaderValue> {
    let query = parts.uri.query().unwrap_or_default();
    let kept = query.split('&').filter(|pair| !pair.is_empty() && !pair.starts_with("cursor="));
    let mut all: Vec<&str> = kept.collect();
    let cursor = format!("cursor={next}");
    all.push(&cursor);
    HeaderValue::try_from(format!("<{}?{}>; rel=\"next\"", parts.uri.path(), all.join("&"))).ok()
}

fn scan_item(item: &Item) -> ScanItem {
    match item {
        Item::Folded { prefix } => {
            let (prefix, prefix64) = text_or_64(prefix);
            ScanItem::Name(ScanName { prefix, prefix64, ..ScanName::default() })
        }
        Item::Key { key, row: None, .. } => {
            let (key, key64) = text_or_64(key);
            ScanItem::Name(ScanName { key, key64, ..ScanName::default() })
        }
        Item::Key { key, group, row: Some(row) } => {
            // Where only the rest is wanted, the value was left out on the way.
            ScanItem::Row(Box::new(envelope(key, *group, row, true)))
        }
    }
}

/// One line.
pub(super) fn line<T: Serialize>(to: &mut Vec<u8>, value: &T) {
    serde_json::to_writer(&mut *to, value).expect("wire types are written into memory");
    to.push(b'\n');
}

fn lines(
    front: Front,
    asked: Asked,
    mut stream: ScanStream,
    place: Place,
) -> impl futures_util::Stream<Item = Result<Bytes, std::convert::Infallible>> {
    async_stream::stream! {
        let mut count = 0u64;
        loop {
            let mut text = Vec::new();
            match stream.next().await {
                Ok(items) if items.is_empty() => {
                    line(&mut text, &ScanEnd { end: true, count });
                    yield Ok(text.into());
                    break;
                }
                Ok(items) => {
                    count += items.len() as u64;
                    for item in &items {
                        line(&mut text, &scan_item(item));
                    }
                    yield Ok(text.into());
                }
                Err(error) => {
                    let error = Failure::from(error).problem(&front, &asked);
                    line(&mut text, &StreamError { error });
                    yield Ok(text.into());
                    break;
                }
            }
        }
        drop(place);
    }
}

/// Deletes all keys that begin with a prefix.
///
/// Not one step: keys that are written meanwhile may stay. Repeating it is harmless in the same way.
#[utoipa::path(
    delete,
    path = "/v1/ns/{ns}/keys",
    operation_id = "delete_prefix",
    tag = "keys",
    params(SpacePath, PrefixQuery, PrefixHeaders),
    responses((status = 200, description = "All keys that were there are gone",
        body = PrefixDeleted))
)]
pub(super) async fn delete_prefix(
    State(front): State<Front>,
    Extension(asked): Extension<Asked>,
    request: Request,
) -> Response {
    let (parts, _) = request.into_parts();
    match delete(&front, &asked, &parts).await {
        Ok(response) => response,
        Err(failure) => failure.response(&front, &asked),
    }
}

const CONFIRM: HeaderName = HeaderName::from_static(KV_CONFIRM);

async fn delete(front: &Front, asked: &Asked, parts: &Parts) -> Result<Response, Failure> {
    if let Some(here) = eventual::here(front, asked, &parts.uri).await? {
        return eventual::scan::delete(&here, parts).await;
    }
    let namespace = namespace_path(parts.uri.path())?;
    let range = prefix_to_delete(parts)?;
    let deleted = front.service.delete_range(&namespace, range, asked.context()).await?;
    let mut response = json(StatusCode::OK, &PrefixDeleted { deleted: deleted.keys });
    let facts = Facts { seen: Some(deleted.seen), ..Facts::default() };
    facts.write(response.headers_mut(), front, asked);
    Ok(response)
}

/// The keys that are to go, if that is meant.
pub(super) fn prefix_to_delete(parts: &Parts) -> Result<KeyRange, Failure> {
    let query = Query::of(parts.uri.query(), &["prefix", "prefix64"])?;
    let prefix = query.either("prefix", "prefix64")?;
    let prefix =
        prefix.ok_or_else(|| Failure::invalid("the query needs prefix= (it may be empty)"))?;
    if text_header(&parts.headers, CONFIRM.as_str())? != Some("prefix") {
        let detail = "deleting many keys needs the header KV-Confirm: prefix";
        let status = StatusCode::PRECONDITION_REQUIRED;
        return Err(Failure::refused(status, "confirmation_missing", detail));
    }
    Ok(KeyRange::new(&prefix, b"", None))
}

#[cfg(test)]
mod tests;
