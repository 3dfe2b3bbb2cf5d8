//! Locks: acquired (with a wait), looked at, released.
//!
//! Promises: who waits takes a place of the lock waits beside one of the requests, and no longer than
//! the request's deadline allows.

use std::time::Duration;

use axum::extract::{Extension, Request, State};
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use bytes::Bytes;

use crate::model::{GroupId, Holder};
use crate::runtime::limits::{
    ADMIN_BODY_BYTES_MAX, KEY_BYTES_MAX, LOCK_OWNER_BYTES_MAX, REQUEST_TIMEOUT_MAX,
};
use crate::service::{Life, LockRequest, ceil_ms};
use crate::wire::{LockAcquire, LockHeld, LockHolder, LockReleased, LockView};

use super::body::read_json_and_bytes;
use super::doc::params::{LockPath, LockReleaseQuery, OnceHeaders};
use super::envelope::json;
use super::facts::Facts;
use super::once::once;
use super::parse::time::duration_of;
use super::parse::{Query, lease_id, lock_path, query, ttl_ms};
use super::problem::Failure;
use super::{Asked, Front};

/// Acquires a lock, waiting in line if that is asked for.
#[utoipa::path(post, path = "/v1/ns/{ns}/locks/{name}", operation_id = "acquire_lock", tag = "locks",
    params(LockPath, OnceHeaders),
    request_body = LockAcquire,
    responses((status = 200, description = "Held", body = LockHeld)))]
pub(super) async fn acquire(
    State(front): State<Front>,
    Extension(asked): Extension<Asked>,
    request: Request,
) -> Response {
    match acquired(&front, &asked, request).await {
        Ok(response) => response,
        Err(failure) => failure.response(&front, &asked),
    }
}

async fn acquired(front: &Front, asked: &Asked, request: Request) -> Result<Response, Failure> {
    query(request.uri().query(), &[])?;
    let (namespace, name) = lock(request.uri().path())?;
    let (parts, body) = request.into_parts();
    let request = Request::from_parts(parts.clone(), body);
    let (wanted, body) = read_json_and_bytes(front, asked, request, ADMIN_BODY_BYTES_MAX).await?;
    let wanted = understood(wanted)?;
    let mut context = asked.context_once(once(&parts, &body)?);
    let waits = (!wanted.wait.is_zero()).then(|| front.places.lock_wait()).transpose()?;
    // The wait is part of what the client asked for: it comes on top of the time for the rest.
    context.deadline = context.deadline + wanted.wait;
    let owner = wanted.owner.clone();
    let name_bytes = Bytes::from(name.clone());
    let done = front.service.lock_acquire(&namespace, name_bytes, wanted, context).await?;
    drop(waits);
    let held = LockHeld {
        name,
        token: done.token,
        lease: done.lease.to_string(),
        ttl_ms: done.ttl.map(ceil_ms),
        owner,
    };
    let mut response = json(StatusCode::OK, &held);
    told(&mut response, (done.group, done.index, done.replayed), front, asked);
    Ok(response)
}

fn understood(wanted: LockAcquire) -> Result<LockRequest, Failure> {
    let LockAcquire { ttl, lease, owner, wait } = wanted;
    let life = match (ttl, lease) {
        (Some(ttl), None) => {
            let ttl = duration_of("ttl", &ttl)?;
            ttl_ms("ttl", ttl)?;
            Life::Ttl(ttl)
        }
        (None, Some(lease)) => Life::Lease(lease_id(&lease)?),
        _ => return Err(Failure::invalid("a lock needs ttl or lease, and not both")),
    };
    let owner = owner.unwrap_or_default();
    if owner.len() > LOCK_OWNER_BYTES_MAX {
        return Err(Failure::invalid(format!("owner has at most {LOCK_OWNER_BYTES_MAX} bytes")));
    }
    let wait = wait.map(|wait| duration_of("wait", &wait)).transpose()?.unwrap_or(Duration::ZERO);
    Ok(LockRequest { life, owner, wait: wait.min(REQUEST_TIMEOUT_MAX) })
}

/// Looks at a lock.
#[utoipa::path(get, path = "/v1/ns/{ns}/locks/{name}", operation_id = "get_lock", tag = "locks",
    params(LockPath),
    responses((status = 200, description = "The lock; without a holder when it is free",
        body = LockView)))]
pub(super) async fn look(
    State(front): State<Front>,
    Extension(asked): Extension<Asked>,
    uri: Uri,
) -> Response {
    let looked = async {
        query(uri.query(), &[])?;
        let (namespace, name) = lock(uri.path())?;
        let bytes = Bytes::from(name.clone());
        let found = front.service.lock_get(&namespace, bytes, asked.context()).await?;
        let holder = found.holder.map(|holder| LockHolder {
            lease: holder.lease.to_string(),
            token: holder.token,
            owner: holder.owner,
        });
        let waiting = u64::try_from(found.queue.len()).unwrap_or(u64::MAX);
        let mut response = json(StatusCode::OK, &LockView { name, holder, waiting });
        told(&mut response, (found.group, found.index, false), &front, &asked);
        Ok(response)
    };
    looked.await.unwrap_or_else(|failure: Failure| failure.response(&front, &asked))
}

/// Releases a lock, or leaves its line.
#[utoipa::path(delete, path = "/v1/ns/{ns}/locks/{name}", operation_id = "release_lock",
    tag = "locks",
    params(LockPath, LockReleaseQuery, OnceHeaders),
    responses((status = 200, description = "Released", body = LockReleased)))]
pub(super) async fn release(
    State(front): State<Front>,
    Extension(asked): Extension<Asked>,
    request: Request,
) -> Response {
    let released = async {
        let (namespace, name) = lock(request.uri().path())?;
        let (parts, _) = request.into_parts();
        let query = Query::of(parts.uri.query(), &["token", "lease"])?;
        let claim = match (query.number("token")?, query.text("lease")?) {
            (Some(token), None) => Holder::Token(token),
            (None, Some(lease)) => Holder::Lease(lease_id(&lease)?),
            _ => return Err(Failure::invalid("the query needs token= or lease=, and not both")),
        };
        let context = asked.context_once(once(&parts, &[])?);
        let bytes = Bytes::from(name.clone());
        let left = front.service.lock_release(&namespace, bytes, claim, context).await?;
        let mut response = json(StatusCode::OK, &LockReleased { name, released: true });
        told(&mut response, (left.group, left.index, left.replayed), &front, &asked);
        Ok(response)
    };
    released.await.unwrap_or_else(|failure: Failure| failure.response(&front, &asked))
}

fn lock(path: &str) -> Result<(String, String), Failure> {
    let (namespace, name) = lock_path(path)?;
    if name.len() > KEY_BYTES_MAX {
        let detail = format!("a lock's name has at most {KEY_BYTES_MAX} bytes");
        return Err(Failure::refused(StatusCode::URI_TOO_LONG, "key_too_long", detail));
    }
    Ok((namespace, name))
}

/// What is known of the answer: its group and index, and whether it is a first one again.
fn told(
    response: &mut Response,
    (group, index, replayed): (GroupId, u64, bool),
    front: &Front,
    asked: &Asked,
) {
    tracing::Span::current().record("group", group.0);
    let facts = Facts { group: Some(group), index: Some(index), replayed, ..Facts::default() };
    facts.write(response.headers_mut(), front, asked);
}
