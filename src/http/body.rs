//! Reading bodies: bounded in bytes and in time.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use crate::runtime::limits::{BODY_DISCARD_BYTES_MAX, HTTP_BODY_STALL_MAX};

use super::parse::{content_type, query};
use super::problem::Failure;
use super::{Asked, Front};

/// The body, if it is no longer than `limit` and arrives before the deadline.
pub(super) async fn read_body(
    (headers, body): (&HeaderMap, Body),
    limit: u64,
    asked: &Asked,
    front: &Front,
) -> Result<Bytes, Failure> {
    let slow = &front.places.slow_bodies;
    let said = headers.get(header::CONTENT_LENGTH);
    let said = said.and_then(|length| length.to_str().ok()).and_then(|l| l.parse::<u64>().ok());
    let remaining = asked.deadline.since(front.service.env().clock.now());
    if said.is_some_and(|length| length > limit) {
        // One that asks before it sends is told here; another is sending already.
        if !headers.contains_key(header::EXPECT) {
            drop(tokio::time::timeout(remaining, discard(body)).await);
        }
        return Err(Failure::too_large(limit));
    }
    let bound = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut reading = pin!(tokio::time::timeout(remaining, gather(body, bound)));
    // Most bodies come with their heads: those that do not are counted.
    let read = match reading.as_mut().now_or_never() {
        Some(read) => read,
        None => {
            let slow = slow.enter();
            tokio::select! {
                read = reading => read,
                () = slow.pushed_out() => return Err(late("others need its place")),
            }
        }
    };
    match read {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(Broken::TooLong)) => Err(Failure::too_large(limit)),
        Ok(Err(Broken::Stalled)) => Err(late("nothing of it came for a while")),
        Ok(Err(Broken::Unreadable(error))) => {
            Err(Failure::invalid(format!("the body cannot be read: {error}")))
        }
        Err(_) => Err(late("the request's deadline is over")),
    }
}

/// A JSON body of an administrative request, which takes no query.
pub(super) async fn read_json<T: DeserializeOwned>(
    front: &Front,
    asked: &Asked,
    request: Request,
    limit: usize,
) -> Result<T, Failure> {
    query(request.uri().query(), &[])?;
    let (value, _) = read_json_and_bytes(front, asked, request, limit).await?;
    Ok(value)
}

/// A JSON body and its bytes, for who needs their fingerprint.
pub(super) async fn read_json_and_bytes<T: DeserializeOwned>(
    front: &Front,
    asked: &Asked,
    request: Request,
    limit: usize,
) -> Result<(T, Bytes), Failure> {
    json_or_nothing(request.headers())?;
    let limit = u64::try_from(limit).unwrap_or(u64::MAX);
    let (parts, body) = request.into_parts();
    let read = read_body((&parts.headers, body), limit, asked, front).await;
    let body = read.map_err(|failure| {
        let detail = format!("the body is longer than the limit of {limit} bytes");
        if failure.code == "too_large" { Failure { detail, ..failure } } else { failure }
    })?;
    // What reads objects would take the members in a row as well.
    if body.iter().find(|byte| !byte.is_ascii_whitespace()).is_some_and(|first| *first != b'{') {
        return Err(Failure::invalid("the body must be a JSON object"));
    }
    let value = serde_json::from_slice(&body)
        .map_err(|error| Failure::invalid(format!("the body is not the JSON expected: {error}")))?;
    Ok((value, body))
}

/// Bodies are JSON also when nobody says so; what says that it is something else is refused.
fn json_or_nothing(headers: &HeaderMap) -> Result<(), Failure> {
    let said = content_type(headers)?;
    let essence = said.as_deref().and_then(|said| said.split(';').next()).unwrap_or_default();
    let json = essence.trim().to_ascii_lowercase();
    match json.as_str() {
        "" | "application/json" | "text/json" => Ok(()),
        // What curl says of `-d` when it is not told.
        "application/x-www-form-urlencoded" => Ok(()),
        other => {
            let detail = format!("the body must be application/json, not {other}");
            Err(Failure::unsupported(detail))
        }
    }
}

fn late(why: &str) -> Failure {
    let detail = format!("the body did not arrive in time: {why}");
    Failure::refused(StatusCode::REQUEST_TIMEOUT, "request_timeout", detail)
}

enum Broken {
    TooLong,
    Stalled,
    Unreadable(axum::Error),
}

/// All of a body, if it moves on at all.
async fn gather(body: Body, bound: usize) -> Result<Bytes, Broken> {
    let mut body = Limited::new(body, bound);
    let mut all = BytesMut::new();
    loop {
        let frame = tokio::time::timeout(HTTP_BODY_STALL_MAX, body.frame()).await;
        let Some(frame) = frame.map_err(|_late| Broken::Stalled)? else { return Ok(all.freeze()) };
        match frame {
            Ok(frame) => {
                let Ok(data) = frame.into_data() else { continue };
                all.extend_from_slice(&data);
            }
            Err(error) if error.is::<LengthLimitError>() => return Err(Broken::TooLong),
            Err(error) => return Err(Broken::Unreadable(axum::Error::new(error))),
        }
    }
}

/// The requests whose bodies do not come at once, oldest first.
#[derive(Clone, Debug)]
pub(super) struct SlowBodies {
    max: usize,
    waiting: Arc<Mutex<Waiting>>,
}

#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    bodies: BTreeMap<u64, CancellationToken>,
}

impl SlowBodies {
    pub(super) fn new(max: usize) -> Self {
        Self { max, waiting: Arc::default() }
    }

    /// One more; the oldest is pushed out when they are too many.
    fn enter(&self) -> SlowBody {
        let pushed = CancellationToken::new();
        let mut waiting = self.waiting.lock();
        if waiting.bodies.len() >= self.max
            && let Some((_, oldest)) = waiting.bodies.pop_first()
        {
            oldest.cancel();
        }
        waiting.next += 1;
        let number = waiting.next;
        waiting.bodies.insert(number, pushed.clone());
        SlowBody { number, pushed, all: self.clone() }
    }
}

struct SlowBody {
    number: u64,
    pushed: CancellationToken,
    all: SlowBodies,
}

impl SlowBody {
    async fn pushed_out(&self) {
        self.pushed.cancelled().await;
    }
}

impl Drop for SlowBody {
    fn drop(&mut self) {
        self.all.waiting.lock().bodies.remove(&self.number);
    }
}

/// Reads a body to nowhere, within a bound: who closes on a client that is still sending resets the
/// connection, and the client never sees why.
async fn discard(body: Body) {
    let mut body = Limited::new(body, BODY_DISCARD_BYTES_MAX);
    while let Some(Ok(_)) = body.frame().await {}
}
