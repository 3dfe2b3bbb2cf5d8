//! Errors as clients see them: RFC 9457 bodies, one table of statuses.
//!
//! Promises: every error carries a code and an outcome; what is broken inside is logged with the
//! request id and not told to the client. The table is contract: `docs/api.md` repeats it.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;

use crate::model::LockPlace;
use crate::model::eventual::Dot;
use crate::placement::RefusalCode;
use crate::service::{EntityTag, ErrorKind, Outcome, ServiceError};
use crate::wire::{self, KV_RECEIPT, KV_REVISION, PROBLEM_JSON, Problem};

use super::facts::Facts;
use super::{Asked, Front, parse};

/// An error on its way to the client.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) detail: String,
    pub(super) outcome: Outcome,
    /// Boxed, so that the way of an answer without error stays narrow.
    pub(super) facts: Box<Facts>,
    /// What only some errors say.
    pub(super) more: Box<More>,
}

/// Members and headers of single kinds of errors.
#[derive(Debug, Default)]
pub(super) struct More {
    pub(super) etag: Option<EntityTag>,
    pub(super) revision: Option<u64>,
    pub(super) groups: Option<Vec<u64>>,
    pub(super) restart: Option<String>,
    pub(super) holder: Option<wire::LockHolder>,
    /// The write that was done all the same.
    pub(super) receipt: Option<Dot>,
}

impl Failure {
    /// A refusal that surely had no effect.
    pub(super) fn refused(
        status: StatusCode,
        code: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        let (facts, more) = (Box::default(), Box::default());
        Self { status, code, detail: detail.into(), outcome: Outcome::NotApplied, facts, more }
    }

    /// A body of a media type that is not taken here.
    pub(super) fn unsupported(detail: impl Into<String>) -> Self {
        Self::refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail)
    }

    /// More than this node does at a time.
    pub(super) fn overloaded(detail: impl Into<String>) -> Self {
        Self::refused(StatusCode::SERVICE_UNAVAILABLE, "overloaded", detail)
    }

    /// The key does not exist.
    pub(super) fn no_key(facts: Facts) -> Self {
        let (group, index) = (facts.group.unwrap_or_default(), facts.index.unwrap_or_default());
        let detail = format!("the key does not exist as of index {index} of group {group}");
        let failure = Self::refused(StatusCode::NOT_FOUND, "key_not_found", detail);
        Self { facts: Box::new(facts), ..failure }
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

    /// The answer's body, where it cannot be an answer of its own any more.
    pub(super) fn problem(&self, front: &Front, asked: &Asked) -> Problem {
        if self.status == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::error!(request_id = &*asked.id, detail = self.detail, "request failed");
        }
        let retry_after = (self.status == StatusCode::SERVICE_UNAVAILABLE).then_some(1);
        Problem {
            kind: format!("urn:tetrarch:problem:{}", self.code),
            title: title(self.code).to_owned(),
            status: self.status.as_u16(),
            detail: self.public_detail(),
            code: self.code.to_owned(),
            outcome: wire_outcome(self.outcome),
            request_id: asked.id.to_string(),
            leader: self.facts.leader_url(front),
            retry_after,
            groups: self.more.groups.clone(),
            restart: self.more.restart.clone(),
            holder: self.more.holder.clone(),
        }
    }

    /// The answer's bytes.
    pub(super) fn response(self, front: &Front, asked: &Asked) -> Response {
        let problem = self.problem(front, asked);
        let More { etag, revision, receipt, .. } = *self.more;
        let body = serde_json::to_vec(&problem).expect("a problem holds only strings and numbers");
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if matches!(self.status, StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT) {
            // What is left of the body stands between this request and the next.
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if let Some(seconds) = problem.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(etag) = etag {
            headers.insert(header::ETAG, parse::etag::header_value(etag));
        }
        if let Some(revision) = revision {
            headers.insert(KV_REVISION, HeaderValue::from(revision));
        }
        if let Some(receipt) = receipt.and_then(|dot| HeaderValue::try_from(dot.to_string()).ok()) {
            headers.insert(KV_RECEIPT, receipt);
        }
        self.facts.write(headers, front, asked);
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
        let detail = match error.op {
            Some(op) => format!("operation {op}: {error}"),
            None => error.to_string(),
        };
        Self {
            status: status(&error.kind),
            code: error.code(),
            detail,
            outcome: error.outcome(),
            facts: Box::new(Facts {
                group: error.group,
                leader: error.leader,
                replayed: error.replayed,
                ..Facts::default()
            }),
            more: Box::new(more(error.kind)),
        }
    }
}

fn more(kind: ErrorKind) -> More {
    match kind {
        ErrorKind::Unacknowledged { dot, .. } => More { receipt: Some(dot), ..More::default() },
        ErrorKind::Unmet { tag, revision } => More { etag: tag, revision, ..More::default() },
        ErrorKind::CrossGroup { groups } => {
            let groups = groups.iter().map(|group| group.0).collect();
            More { groups: Some(groups), ..More::default() }
        }
        ErrorKind::CursorGone { restart, .. } => More { restart, ..More::default() },
        ErrorKind::LockBusy { holder } => {
            let holder = holder.map(|LockPlace { token, lease, owner }| wire::LockHolder {
                lease: lease.to_string(),
                token,
                owner,
            });
            More { holder, ..More::default() }
        }
        _ => More::default(),
    }
}

/// The status of each error.
pub(super) fn status(kind: &ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::Invalid { .. } | ErrorKind::InvalidCursor { .. } => StatusCode::BAD_REQUEST,
        ErrorKind::NamespaceNotFound { .. }
        | ErrorKind::NoLease { .. }
        | ErrorKind::NoSwitch { .. } => StatusCode::NOT_FOUND,
        ErrorKind::ModeUnsupported { .. } => StatusCode::UNPROCESSABLE_ENTITY,
        ErrorKind::KeyTooLong { .. } => StatusCode::URI_TOO_LONG,
        ErrorKind::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorKind::Quota { .. } => StatusCode::INSUFFICIENT_STORAGE,
        ErrorKind::Unmet { .. } => StatusCode::PRECONDITION_FAILED,
        ErrorKind::CursorGone { .. } => StatusCode::GONE,
        ErrorKind::Refused { code: RefusalCode::Invalid, .. } => StatusCode::BAD_REQUEST,
        ErrorKind::Refused {
            code: RefusalCode::UnknownNode | RefusalCode::UnknownNamespace,
            ..
        } => StatusCode::NOT_FOUND,
        ErrorKind::Patch { conflict: true, .. }
        | ErrorKind::NamespaceExists { .. }
        | ErrorKind::NamespaceDeleted { .. }
        | ErrorKind::LockBusy { .. }
        | ErrorKind::LockNotHeld
        | ErrorKind::Denied { .. }
        | ErrorKind::Refused { .. } => StatusCode::CONFLICT,
        ErrorKind::Patch { conflict: false, .. }
        | ErrorKind::CrossGroup { .. }
        | ErrorKind::DuplicateKey { .. }
        | ErrorKind::OnceMismatch
        | ErrorKind::HistoryOff { .. } => StatusCode::UNPROCESSABLE_ENTITY,
        ErrorKind::Unavailable { .. }
        | ErrorKind::Switching
        | ErrorKind::Overloaded { .. }
        | ErrorKind::SessionBehind { .. }
        | ErrorKind::VectorBehind { .. }
        | ErrorKind::TooStale { .. }
        | ErrorKind::TooManyWatches { .. } => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::Undetermined { .. } | ErrorKind::Unacknowledged { .. } => {
            StatusCode::GATEWAY_TIMEOUT
        }
        ErrorKind::Internal { .. } => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// What a code means; one title per code, as RFC 9457 asks.
pub(super) fn title(code: &str) -> &'static str {
    match code {
        "invalid" => "The request makes no sense",
        "not_found" => "There is no such resource",
        "key_not_found" => "There is no such key",
        "namespace_not_found" => "There is no such namespace",
        "namespace_deleted" => "The namespace was deleted meanwhile",
        "not_acceptable" => "No form of the answer is acceptable",
        "unsupported_media_type" => "The body's media type is not taken here",
        "namespace_exists" => "There is another namespace of this name",
        "quota_exceeded" => "The namespace's quota is used up",
        "precondition_failed" => "The condition does not hold",
        "cross_group" => "The keys belong to several groups",
        "duplicate_key" => "A key is written twice",
        "view_gone" => "The view that the cursor belongs to is gone",
        "history_trimmed" => "Changes since the cursor are not kept any more",
        "invalid_cursor" => "The cursor is none, or not one for this request",
        "session_behind" => "No replica has reached what the session asks for",
        "too_stale" => "No replica can keep the bound on staleness",
        "idempotency_mismatch" => "The idempotency key was used for another request",
        "lease_not_found" => "There is no such lease",
        "lock_held" => "Another one holds the lock",
        "lock_not_held" => "The lock is not held by the one who asks",
        "lease_exists" => "The lease exists with another time",
        "lease_keys_exceeded" => "Too much hangs on the lease",
        "leases_exceeded" => "The group has too many leases",
        "lock_queue_full" => "Too many wait for the lock",
        "patch_conflict" => "The patch does not fit the value",
        "patch_invalid" => "The patch makes no sense",
        "watch_off" => "The namespace keeps no history",
        "too_many_watches" => "The node serves as many watches as it can",
        "confirmation_missing" => "The request needs a confirmation",
        "method_not_allowed" => "The resource does not know this method",
        "mode_unsupported" => "The namespace's mode or type does not promise this",
        "switching" => "The namespace is being switched to the other side",
        "switch_blocked" => "Keys stand in the way of the switch",
        "no_switch" => "No switch of the namespace is under way",
        "key_too_long" => "The key is too long",
        "too_large" => "The body is too large",
        "request_timeout" => "The request's body did not arrive in time",
        "refused" => "The cluster refused the change",
        "not_ready" => "The node is not ready",
        "unavailable" => "The request cannot be served now",
        "overloaded" => "The node has too much to do",
        "unacknowledged" => "The write is done here, and not confirmed by others in time",
        "too_many_siblings" => "The key has too many values beside each other",
        "nothing_to_restore" => "There is no such lost write",
        "copy_damaged" => "The copy is damaged, or of an unknown form",
        "copy_mismatch" => "The copy is of a namespace that does not fit",
        "copy_gap" => "The copy begins after what is here",
        "link_not_found" => "There is no such link to this node",
        "link_not_manual" => "The link does not wait to be asked",
        "read_replica" => "The node only reads this namespace",
        "undetermined" => "The request's fate is unknown",
        _ => "Something is broken in the node",
    }
}

pub(super) fn wire_outcome(outcome: Outcome) -> wire::Outcome {
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
            (ErrorKind::ModeUnsupported { reason: reason() }, 422, "mode_unsupported"),
            (ErrorKind::KeyTooLong { bytes: 2, limit: 1 }, 414, "key_too_long"),
            (ErrorKind::TooLarge { limit: 1 }, 413, "too_large"),
            (refused(RefusalCode::IdTaken), 409, "refused"),
            (refused(RefusalCode::UnknownNode), 404, "refused"),
            (refused(RefusalCode::Invalid), 400, "refused"),
            (ErrorKind::Unavailable { reason: reason() }, 503, "unavailable"),
            (ErrorKind::Overloaded { reason: reason() }, 503, "overloaded"),
            (ErrorKind::NamespaceDeleted { name: reason() }, 409, "namespace_deleted"),
            (ErrorKind::Undetermined { reason: reason() }, 504, "undetermined"),
            (ErrorKind::Internal { reason: reason() }, 500, "internal"),
        ];
        for (kind, status, code) in table {
            let failure = Failure::from(ServiceError::from(kind));
            assert_eq!((failure.status.as_u16(), failure.code), (status, code));
            let unknown = status == 504 || status == 500 || code == "namespace_deleted";
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
