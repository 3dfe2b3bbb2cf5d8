//! The results of a batch as lines: each with the status that its operation would have had alone.

use axum::http::StatusCode;

use crate::model::{KeyReply, Row};
use crate::service::{BatchDone, EntityTag, ErrorKind, Outcome, ServiceError};
use crate::wire::{self, BatchResult};

use super::super::envelope::text_or_64;
use super::super::parse::etag;
use super::super::problem::{status, wire_outcome};
use super::lines::Line;

/// The results of lines; those that were understood take the next one of the hall's.
pub(super) fn all<T>(
    lines: Vec<Line>,
    done: Vec<T>,
    said: impl Fn(u64, T) -> BatchResult,
) -> Vec<BatchResult> {
    let mut done = done.into_iter();
    let result = |Line { number, id, step }: Line| {
        let result = match step {
            Err(failure) => super::refusal(number, &failure),
            Ok(_) => match done.next() {
                Some(done) => said(number, done),
                None => {
                    let reason = "the hall gave too few results".to_owned();
                    refused(number, &ServiceError::from(ErrorKind::Internal { reason }))
                }
            },
        };
        BatchResult { id, ..result }
    };
    lines.into_iter().map(result).collect()
}

/// A result of which only the status is known.
pub(in super::super) fn empty(n: u64, status: StatusCode) -> BatchResult {
    let outcome =
        if status.is_success() { wire::Outcome::Applied } else { wire::Outcome::NotApplied };
    BatchResult {
        id: None,
        n,
        status: status.as_u16(),
        outcome,
        etag: None,
        revision: None,
        code: None,
        detail: None,
        value: None,
        value64: None,
        siblings: None,
        receipt: None,
        context: None,
        replayed: false,
    }
}

/// What an operation of a group came to.
pub(super) fn success(number: u64, done: BatchDone) -> BatchResult {
    let BatchDone { reply, group, replayed, .. } = done;
    let tag = |at| Some(etag::text(EntityTag { group, at }));
    let result = match reply {
        KeyReply::Put { created, at, revision, .. } => {
            let status = if created { StatusCode::CREATED } else { StatusCode::NO_CONTENT };
            BatchResult { etag: tag(at), revision: Some(revision), ..empty(number, status) }
        }
        KeyReply::Deleted { existed: true, revision, .. } => {
            BatchResult { revision: Some(revision), ..empty(number, StatusCode::NO_CONTENT) }
        }
        KeyReply::Patched { at, revision, row, .. } => {
            let valued = valued(number, &row);
            BatchResult { etag: tag(at), revision: Some(revision), ..valued }
        }
        KeyReply::Found(Some(row)) => {
            let valued = valued(number, &row);
            BatchResult { etag: tag(row.at), revision: Some(row.revision), ..valued }
        }
        KeyReply::Deleted { existed: false, .. } | KeyReply::Found(None) => BatchResult {
            code: Some("key_not_found".to_owned()),
            detail: Some("the key does not exist".to_owned()),
            ..empty(number, StatusCode::NOT_FOUND)
        },
        // Both are errors of the hall.
        KeyReply::Unmet { .. } | KeyReply::Denied(_) => empty(number, StatusCode::CONFLICT),
    };
    BatchResult { replayed, ..result }
}

fn valued(number: u64, row: &Row) -> BatchResult {
    let (value, value64) = text_or_64(&row.value);
    BatchResult { value, value64, ..empty(number, StatusCode::OK) }
}

/// An operation that failed.
pub(in super::super) fn refused(number: u64, error: &ServiceError) -> BatchResult {
    let tag = match &error.kind {
        ErrorKind::Unmet { tag, .. } => tag.map(etag::text),
        _ => None,
    };
    let inside = matches!(error.kind, ErrorKind::Internal { .. });
    let detail =
        if inside { "the cause is in the node's log".to_owned() } else { error.to_string() };
    let outcome: Outcome = error.outcome();
    BatchResult {
        etag: tag,
        outcome: wire_outcome(outcome),
        code: Some(error.code().to_owned()),
        detail: Some(detail),
        replayed: error.replayed,
        ..empty(number, status(&error.kind))
    }
}
