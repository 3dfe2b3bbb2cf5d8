//! Errors as clients see them: RFC 9457 bodies, one table of statuses.
//!
//! Promises: every error carries a code and an outcome; what is broken inside is logged with the
//! request id and not told to the client. The table is contract: `docs/api.md` repeats it.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;

use crate::placement::RefusalCode;
use crate::service::{ErrorKind, Outcome, ServiceError};
use crate::wire::{self, PROBLEM_JSON, Problem};

use super::facts::Facts;
use super::{Asked, Front};

/// An error on its way to the client.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) detail: String,
    pub(super) outcome: Outcome,
    /// Boxed, so that the way of an answer without error stays narrow.
    pub(super) facts: Box<Facts>,
}

impl Failure {
    /// A refusal that surely had no effect.
    pub(super) fn refused(
        status: StatusCode,
        code: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        let (outcome, facts) = (Outcome::NotApplied, Box::default());
        Self { status, code, detail: detail.into(), outcome, facts }
    }

    /// A request that makes no sense.
    pub(super) fn invalid(detail: impl Into<String>) -> Self {
        Self::refused(StatusCode::BAD_REQUEST, "invalid", detail)
    }

    /// A value or body that is too long.
    pub(super) fn too_large(limit: u64) -> Self {
        let kind = ErrorKind::TooLarge { limit };
        ServiceError::from(kind).into()
    }

    /// The answer's bytes.
    pub(super) fn response(self, front: &Front, asked: &Asked) -> Response {
        if self.status == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::error!(request_id = asked.id, detail = self.detail, "request failed");
        }
        let retry_after = (self.status == StatusCode::SERVICE_UNAVAILABLE).then_some(1);
        let problem = Problem {
            kind: format!("urn:tetrarch:problem:{}", self.code),
            title: title(self.code).to_owned(),
            status: self.status.as_u16(),
            detail: self.public_detail(),
            code: self.code.to_owned(),
            outcome: wire_outcome(self.outcome),
            request_id: asked.id.clone(),
            leader: self.facts.leader_url(front),
            retry_after,
        };
        let body = serde_json::to_vec(&problem).expect("a problem holds only strings and numbers");
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if matches!(self.status, StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT) {
            // What is left of the body stands between this request and the next.
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        self.facts.write(headers, front);
        response.extensions_mut().insert(self.outcome);
        response
    }

    fn public_detail(&self) -> String {
        if self.status == StatusCode::INTERNAL_SERVER_ERROR {
            "the cause is in the node's log, under the request id".to_owned()
        } else {
            self.detail.clone()
        }
    }
}

impl From<ServiceError> for Failure {
    fn from(error: ServiceError) -> Self {
        Self {
            status: status(&error.kind),
            code: error.code(),
            detail: error.to_string(),
            outcome: error.outcome(),
            facts: Box::new(Facts { group: error.group, leader: error.leader, ..Facts::default() }),
        }
    }
}

/// The status of each error.
fn status(kind: &ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::Invalid { .. } => StatusCode::BAD_REQUEST,
        ErrorKind::NamespaceNotFound { .. } => StatusCode::NOT_FOUND,
        ErrorKind::ModeUnsupported { .. } => StatusCode::NOT_IMPLEMENTED,
        ErrorKind::KeyTooLong { .. } => StatusCode::URI_TOO_LONG,
        ErrorKind::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorKind::Refused { code: RefusalCode::Invalid, .. } => StatusCode::BAD_REQUEST,
        ErrorKind::Refused { code: RefusalCode::UnknownNode, .. } => StatusCode::NOT_FOUND,
        ErrorKind::Refused { .. } => StatusCode::CONFLICT,
        ErrorKind::Unavailable { .. } | ErrorKind::Overloaded { .. } => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        ErrorKind::CursorGone { .. } => StatusCode::GONE,
        ErrorKind::InvalidCursor { .. } => StatusCode::BAD_REQUEST,
        ErrorKind::HistoryOff { .. } => StatusCode::UNPROCESSABLE_ENTITY,
        ErrorKind::TooManyWatches { .. } => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::Undetermined { .. } => StatusCode::GATEWAY_TIMEOUT,
        ErrorKind::Internal { .. } => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// What a code means; one title per code, as RFC 9457 asks.
fn title(code: &str) -> &'static str {
    match code {
        "invalid" => "The request makes no sense",
        "not_found" => "There is no such resource",
        "key_not_found" => "There is no such key",
        "namespace_not_found" => "There is no such namespace",
        "method_not_allowed" => "The resource does not know this method",
        "mode_unsupported" => "The namespace's mode is not served by this release",
        "key_too_long" => "The key is too long",
        "too_large" => "The body is too large",
        "request_timeout" => "The request's body did not arrive in time",
        "refused" => "The cluster refused the change",
        "not_ready" => "The node is not ready",
        "unavailable" => "The request cannot be served now",
        "overloaded" => "The node has too much to do",
        "undetermined" => "The request's fate is unknown",
        _ => "Something is broken in the node",
    }
}

fn wire_outcome(outcome: Outcome) -> wire::Outcome {
    match outcome {
        Outcome::Applied => wire::Outcome::Applied,
        Outcome::NotApplied => wire::Outcome::NotApplied,
        Outcome::Unknown => wire::Outcome::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_its_status_code_and_outcome() {
        let reason = || "r".to_owned();
        let refused = |code| ErrorKind::Refused { code, reason: reason() };
        let table = [
            (ErrorKind::Invalid { reason: reason() }, 400, "invalid"),
            (ErrorKind::NamespaceNotFound { name: reason() }, 404, "namespace_not_found"),
            (ErrorKind::ModeUnsupported { name: reason() }, 501, "mode_unsupported"),
            (ErrorKind::KeyTooLong { bytes: 2, limit: 1 }, 414, "key_too_long"),
            (ErrorKind::TooLarge { limit: 1 }, 413, "too_large"),
            (refused(RefusalCode::IdTaken), 409, "refused"),
            (refused(RefusalCode::UnknownNode), 404, "refused"),
            (refused(RefusalCode::Invalid), 400, "refused"),
            (ErrorKind::Unavailable { reason: reason() }, 503, "unavailable"),
            (ErrorKind::Overloaded { reason: reason() }, 503, "overloaded"),
            (ErrorKind::Undetermined { reason: reason() }, 504, "undetermined"),
            (ErrorKind::Internal { reason: reason() }, 500, "internal"),
        ];
        for (kind, status, code) in table {
            let failure = Failure::from(ServiceError::from(kind));
            assert_eq!((failure.status.as_u16(), failure.code), (status, code));
            let unknown = status == 504 || status == 500;
            assert_eq!(failure.outcome == Outcome::Unknown, unknown, "{code}");
        }
    }

    #[test]
    fn what_is_broken_inside_stays_inside() {
        let kind = ErrorKind::Internal { reason: "secret".into() };
        let failure = Failure::from(ServiceError::from(kind));
        assert!(!failure.public_detail().contains("secret"));
    }
}
