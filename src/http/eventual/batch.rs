//! The results of a batch in an eventual namespace as lines.
//!
//! Promises: each has the status that its operation would have had alone.

use axum::http::StatusCode;

use crate::model::eventual::{Context, Shown, What};
use crate::service::ServiceError;
use crate::service::eventual::{Held, Space, SpaceResult, SpaceWrote};
use crate::wire::BatchResult;

use super::super::batch::{empty_result, refused_result};
use super::super::envelope::text_or_64;
use super::super::parse::etag;
use super::shown;

/// The result of the operation of a line.
pub(in super::super) fn result(
    space: &Space,
    number: u64,
    done: Result<SpaceResult, ServiceError>,
) -> BatchResult {
    match done {
        Err(error) => refused_result(number, &error),
        Ok(SpaceResult::Missing) => missing(number),
        Ok(SpaceResult::Got(Held { shown, .. })) if shown.what == What::Missing => missing(number),
        Ok(SpaceResult::Got(Held { shown, .. })) => valued(space, number, &shown),
        Ok(SpaceResult::Wrote(done)) => wrote(space, number, &done),
    }
}

fn missing(number: u64) -> BatchResult {
    BatchResult {
        code: Some("key_not_found".to_owned()),
        detail: Some("the key does not exist, as far as this node has heard".to_owned()),
        ..empty_result(number, StatusCode::NOT_FOUND)
    }
}

fn wrote(space: &Space, number: u64, done: &SpaceWrote) -> BatchResult {
    let wrote = &done.wrote;
    let status = if done.created { StatusCode::CREATED } else { StatusCode::NO_CONTENT };
    let result = match &wrote.after {
        Some(after) => valued(space, number, after),
        None => {
            let context = Context { namespace: space.id(), dots: vec![wrote.dot] };
            BatchResult { context: Some(context.to_string()), ..empty_result(number, status) }
        }
    };
    BatchResult { receipt: Some(wrote.dot.to_string()), replayed: wrote.replayed, ..result }
}

fn valued(space: &Space, number: u64, shown: &Shown) -> BatchResult {
    let status = match &shown.what {
        What::Missing => StatusCode::NO_CONTENT,
        What::Siblings(_) => StatusCode::MULTIPLE_CHOICES,
        What::Value(_) | What::Text(_) | What::Json(_) => StatusCode::OK,
    };
    let mut result = BatchResult {
        etag: Some(etag::text(shown::tag(space.id(), shown))),
        context: (!shown.context.is_empty()).then(|| {
            let context = Context { namespace: space.id(), dots: shown.context.clone() };
            context.to_string()
        }),
        ..empty_result(number, status)
    };
    match &shown.what {
        What::Missing => result.etag = None,
        What::Value(value) => (result.value, result.value64) = text_or_64(&value.value),
        What::Text(text) => result.value = Some(text.clone()),
        What::Json(text) => (result.value, result.value64) = text_or_64(text),
        What::Siblings(all) => result.siblings = Some(all.iter().map(shown::sibling).collect()),
    }
    result
}
