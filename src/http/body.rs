//! Reading bodies: bounded in bytes and in time.

use std::error::Error;

use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::{StatusCode, header};
use bytes::Bytes;
use http_body_util::LengthLimitError;

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
    if said.is_some_and(|length| length > limit) {
        return Err(Failure::too_large(limit));
    }
    let bound = usize::try_from(limit).unwrap_or(usize::MAX);
    let remaining = deadline.since(env.clock.now());
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
