//! Ranges of keys of an eventual namespace: in pages, as a stream, counted, deleted.
//!
//! Promises: the same bodies as on the other side, with an eventual row for each key; a page is of what
//! this node holds while it is read, so that a key that is written between two pages may be in either.

use std::convert::Infallible;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;

use crate::model::NamespaceId;
use crate::model::eventual::Vector;
use crate::runtime::limits::{SCAN_LIMIT_DEFAULT, SCAN_LIMIT_MAX};
use crate::service::Session;
use crate::service::eventual::{SpaceItem, SpaceScan};
use crate::wire::{NDJSON, PrefixDeleted, ScanEnd, ScanItem, ScanName, ScanPage, StreamError};

use super::super::envelope::{json, text_or_64};
use super::super::parse::Query;
use super::super::parse::accept::Accept;
use super::super::places::Place;
use super::super::problem::Failure;
use super::super::scan::{RANGE, delimiter_of, limit_of, line, link, prefix_to_delete, range_of};
use super::{Here, read_query, shown};

const JSON: &str = "application/json";

/// What of each key is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fields {
    Value,
    Meta,
    Key,
    Count,
}

fn fields_of(query: &Query<'_>) -> Result<Fields, Failure> {
    match query.text("fields")?.as_deref() {
        None | Some("value") => Ok(Fields::Value),
        Some("meta") => Ok(Fields::Meta),
        Some("key") => Ok(Fields::Key),
        Some("count") => Ok(Fields::Count),
        Some(other) => Err(Failure::invalid(format!(
            "fields={other} is not known (known: key, meta, value, count)"
        ))),
    }
}

/// Lists keys.
pub(in super::super) async fn list(here: &Here, parts: &Parts) -> Result<Response, Failure> {
    let mut known = RANGE.to_vec();
    known.extend(["reverse", "limit", "fields", "delimiter", "cursor", "read", "max_staleness"]);
    known.push("min_vector");
    let query = Query::of(parts.uri.query(), &known)?;
    let (range, prefix_bytes) = range_of(&query)?;
    let fields = fields_of(&query)?;
    let need = read_query(&query)?;
    let limit = limit_of(&query)?;
    let cursor = query.text("cursor")?;
    let reverse = query.flag("reverse")?;
    let delimiter = delimiter_of(&query)?;
    let scan = SpaceScan { range, prefix_bytes, reverse, delimiter, need };
    let form = Accept::of(&parts.headers)?.best(&[JSON, NDJSON])?;
    let whole = limit.is_none() && cursor.is_none();
    let context = here.asked.context();
    if fields == Fields::Count {
        if !whole {
            return Err(Failure::invalid("fields=count takes no limit and no cursor"));
        }
        let (count, vector) = here.space.count(&scan, &context).await?;
        let view = view(here.space.id(), &vector);
        let page = ScanPage { count: Some(count), view, ..ScanPage::default() };
        return Ok(listed(here, json(StatusCode::OK, &page), &vector));
    }
    if form == NDJSON {
        if !whole {
            let detail = "a stream gives out everything: it takes no limit and no cursor";
            return Err(Failure::invalid(detail));
        }
        here.space.reach(scan.need.as_ref(), &context).await?;
        let place = here.front.places.scan()?;
        let vector = here.space.vector();
        let body = Body::from_stream(lines(here.clone(), scan, fields, place));
        let mut response = Response::new(body);
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(NDJSON));
        return Ok(listed(here, response, &vector));
    }
    let limit = limit.unwrap_or(SCAN_LIMIT_DEFAULT);
    let scanned = here.space.scan(&scan, limit, cursor.as_deref(), &context).await?;
    let link = scanned.next.as_ref().and_then(|next| link(parts, next));
    let item = |found: &SpaceItem| item(here.space.id(), found, fields);
    let page = ScanPage {
        items: Some(scanned.items.iter().map(item).collect()),
        count: None,
        next: scanned.next,
        view: view(here.space.id(), &scanned.vector),
    };
    let mut response = json(StatusCode::OK, &page);
    if let Some(link) = link {
        response.headers_mut().insert(header::LINK, link);
    }
    Ok(listed(here, response, &scanned.vector))
}

fn listed(here: &Here, mut response: Response, vector: &Vector) -> Response {
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
    here.read(response, vector)
}

/// What a page reflects, as a session.
fn view(namespace: NamespaceId, vector: &Vector) -> String {
    let mut seen = Session::default();
    seen.note_vector(namespace, vector);
    seen.to_string()
}

fn item(namespace: NamespaceId, found: &SpaceItem, fields: Fields) -> ScanItem {
    match found {
        SpaceItem::Folded { prefix } => {
            let (prefix, prefix64) = text_or_64(prefix);
            ScanItem::Name(ScanName { prefix, prefix64, ..ScanName::default() })
        }
        SpaceItem::Key { key, .. } if fields == Fields::Key => {
            let (key, key64) = text_or_64(key);
            ScanItem::Name(ScanName { key, key64, ..ScanName::default() })
        }
        SpaceItem::Key { key, shown } => {
            let with_value = fields == Fields::Value;
            ScanItem::Held(Box::new(shown::row(key, namespace, shown, with_value)))
        }
    }
}

fn lines(
    here: Here,
    scan: SpaceScan,
    fields: Fields,
    place: Place,
) -> impl futures_util::Stream<Item = Result<Bytes, Infallible>> {
    async_stream::stream! {
        let (mut count, mut cursor) = (0u64, None::<String>);
        loop {
            let mut text = Vec::new();
            // A stream as a whole has no end: each page has the time that a request has.
            let mut context = here.asked.context();
            context.deadline = here.front.service.env().clock.now() + here.asked.patience;
            let page =
                here.space.scan(&scan, SCAN_LIMIT_DEFAULT, cursor.as_deref(), &context).await;
            match page {
                Ok(page) => {
                    count += page.items.len() as u64;
                    for found in &page.items {
                        line(&mut text, &item(here.space.id(), found, fields));
                    }
                    cursor = page.next;
                    if cursor.is_none() {
                        line(&mut text, &ScanEnd { end: true, count });
                    }
                    yield Ok(text.into());
                    if cursor.is_none() {
                        break;
                    }
                }
                Err(error) => {
                    let error = Failure::from(error).problem(&here.front, &here.asked);
                    line(&mut text, &StreamError { error });
                    yield Ok(text.into());
                    break;
                }
            }
        }
        drop(place);
    }
}

/// Deletes all keys that begin with a prefix, as far as this node has heard of them.
pub(in super::super) async fn delete(here: &Here, parts: &Parts) -> Result<Response, Failure> {
    let range = prefix_to_delete(parts)?;
    let context = here.asked.context();
    let (deleted, vector) = here.space.delete_range(range, &context).await?;
    let response = json(StatusCode::OK, &PrefixDeleted { deleted });
    Ok(here.told(response, &vector, &vector, false))
}

const _: () = assert!(SCAN_LIMIT_DEFAULT <= SCAN_LIMIT_MAX, "a stream's pages are pages");
