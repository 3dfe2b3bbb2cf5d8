//! `GET /v1/ns/{ns}/watch`: changes as they happen, as SSE, as NDJSON, or by long polls.
//!
//! Promises: an event is sent when it is there, with the cursor to go on from; nothing is read for a
//! client that takes nothing, and its connection's bound cuts it off; the last event says why.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;

use crate::runtime::limits::{REQUEST_TIMEOUT_MAX, WATCH_POLL_BYTES, WATCH_POLL_EVENTS};
use crate::service::{Kinds, Since, Watch, WatchEvent, WatchRequest, Watched};
use crate::wire::{self, KV_CURSOR, NDJSON, WatchPoll, WatchRow};

use super::doc::params::{SpacePath, WatchHeaders, WatchQuery};
use super::envelope::{envelope, json, text_or_64};
use super::facts::Facts;
use super::parse::accept::{Accept, Prefer};
use super::parse::{Query, namespace_path, text_header};
use super::places::Place;
use super::problem::Failure;
use super::scan::{line, range_of};
use super::{Asked, Front};

const SSE: &str = "text/event-stream";
const CURSOR: HeaderName = HeaderName::from_static(KV_CURSOR);

/// How soon a client of SSE comes back, in milliseconds.
const RETRY_MS: u64 = 1_000;

/// Watches keys.
///
/// A stream of events, or with `Prefer: wait=30` those of one poll.
#[utoipa::path(
    get,
    path = "/v1/ns/{ns}/watch",
    operation_id = "watch",
    tag = "keys",
    params(SpacePath, WatchQuery, WatchHeaders),
    responses(
        (status = 200, description = "Events",
            content((String = "text/event-stream"), (wire::WatchEvent = "application/x-ndjson"),
                (WatchPoll = "application/json"))),
        (status = 204, description = "A poll in whose time nothing happened; see KV-Cursor"),
    )
)]
pub(super) async fn watch(
    State(front): State<Front>,
    Extension(asked): Extension<Asked>,
    request: Request,
) -> Response {
    let (parts, _) = request.into_parts();
    let begun = begin(&front, &asked, &parts).await;
    begun.unwrap_or_else(|failure| failure.response(&front, &asked))
}

fn wanted(parts: &Parts) -> Result<WatchRequest, Failure> {
    let known = [
        "prefix", "prefix64", "start", "start64", "end", "end64", "since", "initial", "prev",
        "kinds",
    ];
    let query = Query::of(parts.uri.query(), &known)?;
    let (range, _) = range_of(&query)?;
    // What a browser says when it comes back counts more than what it said at first.
    let last = text_header(&parts.headers, "last-event-id")?.filter(|last| !last.is_empty());
    let resumed = last.is_some();
    let since = last.map(str::to_owned).or(query.text("since")?);
    let since = match since.as_deref() {
        None | Some("now") => Since::Now,
        Some("start") => Since::Start,
        Some(cursor) => Since::Cursor(cursor.to_owned()),
    };
    let initial = query.flag("initial")? && !resumed;
    if initial && matches!(since, Since::Cursor(_)) {
        return Err(Failure::invalid("initial=1 goes with since=now: a cursor has had its own"));
    }
    let previous = query.flag("prev")?;
    let kinds = kinds(query.text("kinds")?.as_deref())?;
    Ok(WatchRequest { range, since, initial, previous, kinds })
}

fn kinds(text: Option<&str>) -> Result<Kinds, Failure> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(Kinds::ALL) };
    let mut kinds = Kinds { put: false, delete: false, expire: false };
    for name in text.split(',') {
        match name {
            "put" => kinds.put = true,
            "delete" => kinds.delete = true,
            "expire" => kinds.expire = true,
            other => {
                let detail = format!("kinds={other} is not known (known: put, delete, expire)");
                return Err(Failure::invalid(detail));
            }
        }
    }
    Ok(kinds)
}

async fn begin(front: &Front, asked: &Asked, parts: &Parts) -> Result<Response, Failure> {
    let namespace = namespace_path(parts.uri.path())?;
    let request = wanted(parts)?;
    let wait = Prefer::of(&parts.headers)?.wait;
    let offers: &[&str] = if wait.is_some() { &["application/json"] } else { &[SSE, NDJSON] };
    let form = Accept::of(&parts.headers)?.best(offers)?;
    let place = front.places.watch()?;
    let watch = front.service.watch(&namespace, request, asked.context()).await?;
    if let Some(wait) = wait {
        let polled = poll(watch, wait.min(REQUEST_TIMEOUT_MAX)).await;
        drop(place);
        return Ok(polled_response(front, asked, polled));
    }
    let kind = if form == SSE { SSE } else { NDJSON };
    let body = Body::from_stream(events(watch, kind == SSE, place));
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Proxies that gather answers would hold events back.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Facts::default().write(headers, front, asked);
    Ok(response)
}

fn events(
    mut watch: Watch,
    sse: bool,
    place: Place,
) -> impl futures_util::Stream<Item = Result<Bytes, std::convert::Infallible>> {
    async_stream::stream! {
        if sse {
            yield Ok(Bytes::from(format!("retry: {RETRY_MS}\n\n")));
        }
        while let Some(event) = watch.next().await {
            let event = wire_event(&event);
            let mut text = Vec::new();
            if sse {
                text.extend_from_slice(b"event: ");
                text.extend_from_slice(event.kind.as_bytes());
                text.extend_from_slice(b"\nid: ");
                text.extend_from_slice(event.cursor.as_bytes());
                // JSON on one line has no line breaks in it.
                text.extend_from_slice(b"\ndata: ");
                line(&mut text, &event);
                text.push(b'\n');
            } else {
                line(&mut text, &event);
            }
            yield Ok(Bytes::from(text));
        }
        drop(place);
    }
}

/// Events of a poll: those that are there, or the first that comes, and no bookmarks.
async fn poll(mut watch: Watch, wait: Duration) -> (Vec<wire::WatchEvent>, String) {
    let mut events: Vec<wire::WatchEvent> = Vec::new();
    let mut bytes = 0;
    let end = tokio::time::Instant::now() + wait;
    while events.len() < WATCH_POLL_EVENTS && bytes < WATCH_POLL_BYTES {
        // Once there is one, only what comes at once goes with it.
        let until = if events.is_empty() { end } else { tokio::time::Instant::now() };
        let Ok(Some(event)) = tokio::time::timeout_at(until, watch.next()).await else { break };
        match event {
            WatchEvent::Bookmark { .. } => {}
            event => {
                bytes += size(&event);
                events.push(wire_event(&event));
            }
        }
    }
    (events, watch.cursor().to_string())
}

fn size(event: &WatchEvent) -> usize {
    match event {
        WatchEvent::Change(change) => {
            let value = |row: &Option<crate::model::Row>| row.as_ref().map_or(0, |r| r.value.len());
            change.key.len() + value(&change.row) + value(&change.previous)
        }
        _ => 0,
    }
}

fn polled_response(
    front: &Front,
    asked: &Asked,
    (events, cursor): (Vec<wire::WatchEvent>, String),
) -> Response {
    let value = HeaderValue::try_from(&cursor).expect("base64url is a header value");
    let mut response = if events.is_empty() {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        response
    } else {
        json(StatusCode::OK, &WatchPoll { events, cursor })
    };
    let headers = response.headers_mut();
    headers.insert(CURSOR, value);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("preference-applied", HeaderValue::from_static("wait"));
    Facts::default().write(headers, front, asked);
    response
}

fn wire_event(event: &WatchEvent) -> wire::WatchEvent {
    let plain = |kind: &str, cursor: &str| wire::WatchEvent {
        kind: kind.to_owned(),
        cursor: cursor.to_owned(),
        ..wire::WatchEvent::default()
    };
    match event {
        WatchEvent::Change(change) => changed(change),
        WatchEvent::Synced { cursor } => plain("synced", cursor),
        WatchEvent::Bookmark { cursor } => plain("bookmark", cursor),
        WatchEvent::End { reason, cursor } => {
            wire::WatchEvent { reason: Some(reason.name().to_owned()), ..plain("end", cursor) }
        }
    }
}

fn changed(change: &Watched) -> wire::WatchEvent {
    let (key, key64) = text_or_64(&change.key);
    let row = change.row.as_ref().map(|row| {
        let full = envelope(&[], change.group, row, true);
        WatchRow {
            value: full.value,
            value64: full.value64,
            etag: full.etag,
            revision: full.revision,
            created: full.created,
            version: full.version,
            modified: full.modified,
            content_type: full.content_type,
            lease: full.lease,
        }
    });
    let previous =
        change.previous.as_ref().map(|row| envelope(&change.key, change.group, row, true));
    wire::WatchEvent {
        kind: change.kind.name().to_owned(),
        key,
        key64,
        group: Some(change.group.0),
        index: Some(change.index),
        seq: (!change.initial).then_some(change.seq),
        row,
        previous,
        initial: change.initial,
        reason: None,
        cursor: change.cursor.to_string(),
    }
}

#[cfg(test)]
mod tests;
