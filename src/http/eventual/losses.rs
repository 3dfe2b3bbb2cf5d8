//! What was lost: `receipts`, `conflicts`, their totals, and restoring a loser.
//!
//! Promises: everything is as far as the answering node has heard; what is final is the same at every
//! node. A follower is told each loss at least once.

use std::convert::Infallible;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;

use crate::convergence::FateView;
use crate::model::eventual::{Content, Dot, Fate, LostRecord, Vector};
use crate::runtime::limits::{LOSSES_BOOKMARK_TICKS, LOSSES_FOLLOW_TICK, SCAN_LIMIT_DEFAULT};
use crate::service::ServiceError;
use crate::wire::{
    Conflict, ConflictBookmark, ConflictPage, LossTotals, NDJSON, ReceiptView, Restored,
    StreamError,
};

use super::super::doc::params::{
    ConflictQuery, FollowHeaders, LostKeyQuery, PrefixOnlyQuery, ReceiptPath, SpacePath,
};
use super::super::envelope::{json, text_or_64};
use super::super::parse::accept::Accept;
use super::super::parse::{Query, segment};
use super::super::places::Place;
use super::super::problem::Failure;
use super::super::scan::{limit_of, line};
use super::Here;
use super::shown::moment;

const JSON: &str = "application/json";

/// Says what became of a write.
#[utoipa::path(get, path = "/v1/ns/{ns}/receipts/{receipt}", operation_id = "get_receipt",
    tag = "eventual", params(ReceiptPath, LostKeyQuery),
    responses((status = 200, description = "Its fate, as far as this node has heard",
        body = ReceiptView)))]
pub(in super::super) async fn receipt(here: Here, parts: Parts) -> Response {
    let told = async {
        let (dot, key) = lost_write(&parts)?;
        let seen = here.space.fate(dot, &key, &here.asked.context()).await?;
        let response = json(StatusCode::OK, &fate(dot, &seen));
        Ok(here.read(response, &here.space.vector()))
    };
    here.answer(told).await
}

/// Lists writes that were lost for good.
///
/// In pages, or with `Accept: application/x-ndjson` all of them, one a line, and then those that
/// follow.
#[utoipa::path(get, path = "/v1/ns/{ns}/conflicts", operation_id = "list_conflicts",
    tag = "eventual", params(SpacePath, ConflictQuery, FollowHeaders),
    responses((status = 200, description = "A page, or a line for each loss",
        content((ConflictPage = "application/json"), (Conflict = "application/x-ndjson")))))]
pub(in super::super) async fn conflicts(here: Here, parts: Parts) -> Response {
    here.answer(list(&here, &parts)).await
}

/// Counts what was lost.
#[utoipa::path(get, path = "/v1/ns/{ns}/conflicts/totals", operation_id = "get_conflict_totals",
    tag = "eventual", params(SpacePath, PrefixOnlyQuery),
    responses((status = 200, description = "How much was lost", body = LossTotals)))]
pub(in super::super) async fn totals(here: Here, parts: Parts) -> Response {
    let told = async {
        let query = Query::of(parts.uri.query(), &["prefix", "prefix64"])?;
        let prefix = query.either("prefix", "prefix64")?.unwrap_or_default();
        let sum = here.space.totals(&prefix, &here.asked.context()).await?;
        let totals = LossTotals {
            lost: sum.lost,
            lost_bytes: sum.lost_bytes,
            pending: sum.open,
            effective: sum.without_effect,
        };
        Ok(here.read(json(StatusCode::OK, &totals), &here.space.vector()))
    };
    here.answer(told).await
}

/// Writes a lost value once more.
///
/// As a new write: in a map to its field, elsewhere to the key, beside what stands there if the type
/// is mv and in its place otherwise.
#[utoipa::path(post, path = "/v1/ns/{ns}/conflicts/{receipt}/restore",
    operation_id = "restore_conflict", tag = "eventual", params(ReceiptPath, LostKeyQuery),
    responses((status = 200, description = "Written", body = Restored)))]
pub(in super::super) async fn restore(here: Here, parts: Parts) -> Response {
    let told = async {
        let (dot, key) = lost_write(&parts)?;
        let wrote = here.space.restore(key, dot, &here.asked.context()).await?;
        let restored = Restored { receipt: wrote.dot.to_string(), restored: dot.to_string() };
        let seen = Vector([(wrote.dot.actor, wrote.dot.counter)].into());
        let response = json(StatusCode::OK, &restored);
        Ok(here.told(response, &wrote.vector, &seen, wrote.replayed))
    };
    here.answer(told).await
}

/// The write of a path, and the key that it was made to.
fn lost_write(parts: &Parts) -> Result<(Dot, Bytes), Failure> {
    let query = Query::of(parts.uri.query(), &["key", "key64"])?;
    let key = query.either("key", "key64")?.filter(|key| !key.is_empty());
    let key = key.ok_or_else(|| Failure::invalid("the query needs key= or key64="))?;
    let receipt = parts.uri.path().split('/').nth(5).unwrap_or_default();
    let dot = segment(receipt)?.parse::<Dot>();
    Ok((dot.map_err(|error| Failure::invalid(error.to_string()))?, key))
}

fn fate(dot: Dot, seen: &FateView) -> ReceiptView {
    let (fate, by) = match seen.fate {
        Fate::Unknown => ("unknown", None),
        Fate::Current => ("current", None),
        Fate::Superseded => ("superseded", None),
        Fate::Merged => ("merged", None),
        Fate::Lost { by } => ("lost", Some(by)),
    };
    ReceiptView {
        receipt: dot.to_string(),
        fate: fate.to_owned(),
        is_final: seen.is_final,
        by: by.map(|by| by.to_string()),
        written: seen.lost.as_ref().map(|lost| moment(lost.hlc)),
    }
}

/// A loss as clients see it.
fn conflict(lost: &LostRecord) -> Conflict {
    let (key, key64) = text_or_64(&lost.key);
    let (content, content_type) = match &lost.content {
        Some(Content::Value { value, content_type }) => (Some(value), content_type.clone()),
        _ => (None, None),
    };
    let (value, value64) = content.map_or((None, None), |value| text_or_64(value));
    let name = |name: &Bytes| String::from_utf8_lossy(name).into_owned();
    Conflict {
        receipt: lost.dot.to_string(),
        key,
        key64,
        field: lost.field.path.iter().map(name).collect(),
        value,
        value64,
        content_type,
        written: moment(lost.hlc),
        by: lost.by.to_string(),
    }
}

async fn list(here: &Here, parts: &Parts) -> Result<Response, Failure> {
    let known = ["prefix", "prefix64", "limit", "cursor", "follow"];
    let query = Query::of(parts.uri.query(), &known)?;
    let prefix = query.either("prefix", "prefix64")?.unwrap_or_default();
    let (limit, cursor) = (limit_of(&query)?, query.text("cursor")?);
    let follow = query.flag("follow")?;
    let form = Accept::of(&parts.headers)?.best(&[JSON, NDJSON])?;
    let vector = here.space.vector();
    if follow || form == NDJSON {
        if limit.is_some() {
            return Err(Failure::invalid("a stream gives out everything: it takes no limit"));
        }
        let place = here.front.places.watch()?;
        let losses = Following { here: here.clone(), prefix, cursor, follow, place };
        let mut response = Response::new(Body::from_stream(losses.lines()));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(NDJSON));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        return Ok(here.read(response, &vector));
    }
    let limit = limit.unwrap_or(SCAN_LIMIT_DEFAULT);
    let context = here.asked.context();
    let page = here.space.losses(&prefix, limit, cursor.as_deref(), &context).await?;
    let page =
        ConflictPage { conflicts: page.records.iter().map(conflict).collect(), next: page.next };
    Ok(here.read(json(StatusCode::OK, &page), &vector))
}

/// A stream of losses.
struct Following {
    here: Here,
    prefix: Bytes,
    cursor: Option<String>,
    follow: bool,
    place: Place,
}

impl Following {
    fn lines(mut self) -> impl futures_util::Stream<Item = Result<Bytes, Infallible>> {
        async_stream::stream! {
            // Before the first page: what comes on record meanwhile is told after them.
            let mut at = self.here.space.losses_from_now();
            let place = self.cursor.as_deref();
            let place = place.and_then(|text| self.here.space.losses_place(&self.prefix, text));
            let mut more = place.is_none();
            at = place.unwrap_or(at);
            while more {
                match self.page().await {
                    Ok((text, has_more)) => {
                        yield Ok(text);
                        more = has_more;
                    }
                    Err(error) => {
                        yield Ok(self.broken(error));
                        return;
                    }
                }
            }
            let tasks = self.here.front.service.env().tasks.clone();
            let mut quiet = LOSSES_BOOKMARK_TICKS;
            while self.follow && !tasks.is_stopping() {
                match self.here.space.losses_since(at).await {
                    Ok(since) => {
                        let is_behind = since.next > at && !self.is_told(since.next);
                        at = since.next;
                        quiet += 1;
                        let text = self.told(&since.records, at, &mut quiet);
                        if !text.is_empty() {
                            yield Ok(text);
                        }
                        if is_behind {
                            continue;
                        }
                    }
                    Err(error) => {
                        yield Ok(self.broken(error));
                        return;
                    }
                }
                tokio::time::sleep(LOSSES_FOLLOW_TICK).await;
            }
            drop(self.place);
        }
    }

    /// Whether nothing stands behind a place in the log.
    fn is_told(&self, at: u64) -> bool {
        at >= self.here.space.losses_from_now()
    }

    /// The lines of what came on record, and now and then where one can go on behind them.
    fn told(&self, records: &[LostRecord], at: u64, quiet: &mut u32) -> Bytes {
        let mut text = Vec::new();
        for lost in records.iter().filter(|lost| lost.key.starts_with(&self.prefix)) {
            line(&mut text, &conflict(lost));
        }
        if *quiet >= LOSSES_BOOKMARK_TICKS {
            *quiet = 0;
            let bookmark = self.here.space.losses_bookmark(&self.prefix, at);
            line(&mut text, &ConflictBookmark { bookmark });
        }
        text.into()
    }

    /// The lines of the next page, and whether there are more.
    async fn page(&mut self) -> Result<(Bytes, bool), ServiceError> {
        let mut context = self.here.asked.context();
        context.deadline = self.here.front.service.env().clock.now() + self.here.asked.patience;
        let cursor = self.cursor.take();
        let space = &self.here.space;
        let page =
            space.losses(&self.prefix, SCAN_LIMIT_DEFAULT, cursor.as_deref(), &context).await?;
        let mut text = Vec::new();
        for lost in &page.records {
            line(&mut text, &conflict(lost));
        }
        self.cursor = page.next;
        Ok((text.into(), self.cursor.is_some()))
    }

    fn broken(&self, error: ServiceError) -> Bytes {
        let error = Failure::from(error).problem(&self.here.front, &self.here.asked);
        let mut text = Vec::new();
        line(&mut text, &StreamError { error });
        text.into()
    }
}
