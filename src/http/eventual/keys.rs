//! One key of an eventual namespace: GET, PUT, PATCH, DELETE.
//!
//! Promises: as `keys` and `change` on the other side, where this mode can; siblings are 300 with all
//! of them, and a context that a write can send to replace exactly those.

use axum::body::Body;
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;

use crate::model::eventual::{Ask, Context, DataType, Vector, What};
use crate::service::eventual::{Held, Order, SpaceWrote};
use crate::wire::{KV_CONTEXT, KV_RECEIPT, KV_SIBLINGS};

use super::super::body::read_body;
use super::super::change::{location, refuse_encodings};
use super::super::keys::{Conditions, Judgement, KeyAddress, key_address, refuse_unknown_promises};
use super::super::once::once;
use super::super::parse::accept::{Accept, Prefer};
use super::super::parse::content_type;
use super::super::problem::{Failure, More};
use super::{Here, ack, asks, parsed, read_query, refuse_promises, shown};

/// Reads a key.
pub(in super::super) async fn get(here: &Here, parts: &Parts) -> Result<Response, Failure> {
    let known = ["read", "max_staleness", "min_vector"];
    let known64 = ["read", "max_staleness", "min_vector", "key64"];
    let KeyAddress { key, query, .. } = key_address(&parts.uri, &known, &known64)?;
    refuse_unknown_promises(&parts.headers)?;
    let need = read_query(&query)?;
    let accept = Accept::of(&parts.headers)?;
    let conditions = Conditions::of(&parts.headers)?;
    let held = here.space.get(&key, need.as_ref(), &here.asked.context()).await?;
    let Held { shown, vector } = held;
    if shown.what == What::Missing {
        return Err(here.missing(&vector));
    }
    let id = here.space.id();
    let tag = shown::tag(id, &shown);
    let response = match conditions.judge(tag, shown::modified_ms(&shown).unwrap_or(0)) {
        Judgement::Send => {
            let enveloped = accept.wants_envelope(shown::kind(&shown));
            shown::response(&key, id, &shown, enveloped)
        }
        Judgement::NotModified => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            shown::headers(response.headers_mut(), id, &shown);
            response
        }
        Judgement::Unmet => {
            let more = More { etag: Some(tag), ..More::default() };
            let detail = "what is shown is none of those in If-Match";
            let status = StatusCode::PRECONDITION_FAILED;
            let failure = Failure::refused(status, "precondition_failed", detail);
            let facts = Box::new(here.facts(&vector, false));
            return Err(Failure { facts, more: Box::new(more), ..failure });
        }
    };
    Ok(here.read(response, &vector))
}

/// Sets a key.
pub(in super::super) async fn put(here: &Here, request: Request) -> Result<Response, Failure> {
    let (parts, body) = request.into_parts();
    let known = ["ttl", "prev", "ack"];
    let address = key_address(&parts.uri, &known, &["ttl", "prev", "ack", "key64"])?;
    let KeyAddress { key, query, .. } = address;
    refuse_unknown_promises(&parts.headers)?;
    refuse_encodings(&parts.headers)?;
    refuse_promises(&parts, &query)?;
    let (ack, seen) = (ack(&query)?, parsed::<Context>(&parts.headers, KV_CONTEXT)?);
    let content_type = content_type(&parts.headers)?;
    let accept = Accept::of(&parts.headers)?;
    let show = Prefer::of(&parts.headers)?.representation;
    here.space.admit(&key)?;
    let limit = here.space.limits().value_bytes_max;
    let value = read_body((&parts.headers, body), limit, &here.asked, &here.front).await?;
    let context = here.asked.context_once(once(&parts, &value)?);
    let order = Order { ask: Ask::Put { value, content_type }, seen, show, ack };
    let wrote = here.space.write(key.clone(), order, &context).await?;
    let mut response = match &wrote.wrote.after {
        Some(after) if show => {
            let enveloped = accept.wants_envelope(shown::kind(after));
            let mut response = shown::response(&key, here.space.id(), after, enveloped);
            let applied = HeaderValue::from_static("return=representation");
            response.headers_mut().insert("preference-applied", applied);
            response
        }
        _ => empty(),
    };
    if wrote.created && response.status() != StatusCode::MULTIPLE_CHOICES {
        *response.status_mut() = StatusCode::CREATED;
        if let Ok(location) = HeaderValue::from_str(&location(&parts)) {
            response.headers_mut().insert(header::LOCATION, location);
        }
    }
    Ok(here.wrote(response, &wrote))
}

/// Changes what a key holds.
pub(in super::super) async fn patch(here: &Here, request: Request) -> Result<Response, Failure> {
    let (parts, body) = request.into_parts();
    let KeyAddress { key, query, .. } = key_address(&parts.uri, &["ack"], &["ack", "key64"])?;
    refuse_unknown_promises(&parts.headers)?;
    refuse_encodings(&parts.headers)?;
    refuse_promises(&parts, &query)?;
    let (ack, seen) = (ack(&query)?, parsed::<Context>(&parts.headers, KV_CONTEXT)?);
    let accept = Accept::of(&parts.headers)?;
    here.space.admit(&key)?;
    let limit = here.space.limits().value_bytes_max;
    let body = read_body((&parts.headers, body), limit, &here.asked, &here.front).await?;
    let ask = asks::patch(&parts.headers, &body)?;
    let context = here.asked.context_once(once(&parts, &body)?);
    let order = Order { ask, seen, show: true, ack };
    let wrote = here.space.write(key.clone(), order, &context).await?;
    let response = match &wrote.wrote.after {
        Some(after) => {
            let enveloped = accept.wants_envelope(shown::kind(after));
            shown::response(&key, here.space.id(), after, enveloped)
        }
        None => empty(),
    };
    Ok(here.wrote(response, &wrote))
}

/// Deletes a key.
pub(in super::super) async fn delete(here: &Here, parts: &Parts) -> Result<Response, Failure> {
    let known64 = ["prev", "ack", "key64"];
    let KeyAddress { key, query, .. } = key_address(&parts.uri, &["prev", "ack"], &known64)?;
    refuse_unknown_promises(&parts.headers)?;
    refuse_promises(parts, &query)?;
    let (ack, seen) = (ack(&query)?, parsed::<Context>(&parts.headers, KV_CONTEXT)?);
    let context = here.asked.context_once(once(parts, &[])?);
    let order = Order { ask: Ask::Delete, seen, show: false, ack };
    match here.space.delete(key, order, &context).await? {
        Some(wrote) => Ok(here.wrote(empty(), &wrote)),
        None => Err(here.missing(&here.space.vector())),
    }
}

fn empty() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

impl Here {
    /// The key does not exist, as far as this node has heard.
    fn missing(&self, vector: &Vector) -> Failure {
        let detail = "the key does not exist, as far as this node has heard";
        let failure = Failure::refused(StatusCode::NOT_FOUND, "key_not_found", detail);
        Failure { facts: Box::new(self.facts(vector, false)), ..failure }
    }

    /// The answer to a write: its receipt, and the context of who goes on from it.
    fn wrote(&self, mut response: Response, done: &SpaceWrote) -> Response {
        let wrote = &done.wrote;
        let headers = response.headers_mut();
        let mut put = |name: &'static str, value: String| {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        };
        put(KV_RECEIPT, wrote.dot.to_string());
        if matches!(self.space.data_type(), DataType::Lww | DataType::Mv) {
            let context = Context { namespace: self.space.id(), dots: vec![wrote.dot] };
            put(KV_CONTEXT, context.to_string());
            if wrote.siblings > 1 {
                put(KV_SIBLINGS, shown::siblings(wrote.siblings));
            }
        }
        // Without the key in the answer the client has seen nothing of what else is known here.
        let seen = match wrote.after {
            Some(_) => Vector::clone(&wrote.vector),
            None => Vector([(wrote.dot.actor, wrote.dot.counter)].into()),
        };
        self.told(response, &wrote.vector, &seen, wrote.replayed)
    }
}
