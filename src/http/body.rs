//! Reading bodies: bounded in bytes and in time.

use std::error::Error;

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{StatusCode, header};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};

use crate::runtime::limits::BODY_DISCARD_BYTES_MAX;
use crate::runtime::{Env, Moment};

use super::problem::Failure;

/// The body, if it is no longer than `limit` and arrives before the deadline.
pub(super) async fn read_body(
    request: Request,
    limit: u64,
    deadline: Moment,
    env: &Env,
) -> Result<Bytes, Failure> {
    let said = request.headers().get(header::CONTENT_LENGTH);
    let said = said.and_then(|length| length.to_str().ok()).and_then(|l| l.parse::<u64>().ok());
    let remaining = deadline.since(env.clock.now());
    if said.is_some_and(|length| length > limit) {
        // One that asks before it sends is told here; another is sending already.
        if !request.headers().contains_key(header::EXPECT) {
            drop(tokio::time::timeout(remaining, discard(request.into_body())).await);
        }
        return Err(Failure::too_large(limit));
    }
    let bound = usize::try_from(limit).unwrap_or(usize::MAX);
    match tokio::time::timeout(remaining, to_bytes(request.into_body(), bound)).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(error)) if error.source().is_some_and(|e| e.is::<LengthLimitError>()) => {
            Err(Failure::too_large(limit))
        }
        Ok(Err(error)) => Err(Failure::invalid(format!("the body cannot be read: {error}"))),
        Err(_) => {
            let detail = "the body did not arrive before the request's deadline";
            Err(Failure::refused(StatusCode::REQUEST_TIMEOUT, "request_timeout", detail))
        }
    }
}

/// Reads a body to nowhere, within a bound: who closes on a client that is still sending resets the
/// connection, and the client never sees why.
async fn discard(body: Body) {
    let mut body = Limited::new(body, BODY_DISCARD_BYTES_MAX);
    while let Some(Ok(_)) = body.frame().await {}
}
