//! Leases: granted, looked at, renewed, ended.

use axum::extract::{Extension, Request, State};
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::Response;
use bytes::Bytes;

use crate::model::{GroupId, LeaseId};
use crate::runtime::limits::ADMIN_BODY_BYTES_MAX;
use crate::service::{LeaseGranted, LeaseView, ceil_ms};
use crate::wire::{self, LEASES_PATH, LeaseEnded, LeaseGrant};

use super::body::read_json_and_bytes;
use super::doc::params::{LeasePath, OnceHeaders};
use super::envelope::json;
use super::facts::Facts;
use super::once::once;
use super::parse::time::duration_of;
use super::parse::{lease_id, query, segment, ttl_ms};
use super::problem::Failure;
use super::{Asked, Front};

/// Grants a lease.
#[utoipa::path(post, path = "/v1/leases", operation_id = "grant_lease", tag = "leases",
    params(OnceHeaders),
    request_body = LeaseGrant,
    responses((status = 201, description = "Granted", body = wire::LeaseView)))]
pub(super) async fn grant(
    State(front): State<Front>,
    Extension(asked): Extension<Asked>,
    request: Request,
) -> Response {
    let granted = async {
        query(request.uri().query(), &[])?;
        let (parts, body) = request.into_parts();
        let request = Request::from_parts(parts.clone(), body);
        let (wanted, body) =
            read_json_and_bytes(&front, &asked, request, ADMIN_BODY_BYTES_MAX).await?;
        let LeaseGrant { ttl, near } = wanted;
        let ttl = duration_of("ttl", &ttl)?;
        ttl_ms("ttl", ttl)?;
        let near = near.as_ref().map(|near| (near.ns.as_str(), Bytes::from(near.key.clone())));
        let context = asked.context_once(once(&parts, &body)?);
        let granted = front.service.lease_grant(ttl, near, context).await?;
        let mut response = begun(StatusCode::CREATED, &granted, &front, &asked);
        if let Ok(location) = HeaderValue::try_from(format!("{LEASES_PATH}/{}", granted.id)) {
            response.headers_mut().insert(header::LOCATION, location);
        }
        Ok(response)
    };
    granted.await.unwrap_or_else(|failure: Failure| failure.response(&front, &asked))
}

/// Looks at a lease.
#[utoipa::path(get, path = "/v1/leases/{id}", operation_id = "get_lease", tag = "leases",
    params(LeasePath),
    responses((status = 200, description = "The lease", body = wire::LeaseView)))]
pub(super) async fn look(
    State(front): State<Front>,
    Extension(asked): Extension<Asked>,
    uri: Uri,
) -> Response {
    let looked = async {
        let lease = front.service.lease_get(id(&uri, "")?, asked.context()).await?;
        Ok(viewed(&lease, &front, &asked))
    };
    looked.await.unwrap_or_else(|failure: Failure| failure.response(&front, &asked))
}

/// Renews a lease: it lives for its whole time again from now.
#[utoipa::path(post, path = "/v1/leases/{id}/renew", operation_id = "renew_lease", tag = "leases",
    params(LeasePath),
    responses((status = 200, description = "Renewed", body = wire::LeaseView)))]
pub(super) async fn renew(
    State(front): State<Front>,
    Extension(asked): Extension<Asked>,
    uri: Uri,
) -> Response {
    let renewed = async {
        let id = id(&uri, "/renew")?;
        let lease = front.service.lease_renew(id, asked.context()).await?;
        Ok(begun(StatusCode::OK, &lease, &front, &asked))
    };
    renewed.await.unwrap_or_else(|failure: Failure| failure.response(&front, &asked))
}

/// Ends a lease, and with it the keys and locks that hang on it.
#[utoipa::path(delete, path = "/v1/leases/{id}", operation_id = "end_lease", tag = "leases",
    params(LeasePath, OnceHeaders),
    responses((status = 200, description = "Ended", body = LeaseEnded)))]
pub(super) async fn end(
    State(front): State<Front>,
    Extension(asked): Extension<Asked>,
    request: Request,
) -> Response {
    let ended = async {
        let id = id(request.uri(), "")?;
        let (parts, _) = request.into_parts();
        let context = asked.context_once(once(&parts, &[])?);
        let revoked = front.service.lease_revoke(id, context).await?;
        let mut response = json(StatusCode::OK, &LeaseEnded { keys: revoked.keys });
        let seen = (revoked.group, revoked.index, revoked.replayed);
        told(&mut response, seen, &front, &asked);
        Ok(response)
    };
    ended.await.unwrap_or_else(|failure: Failure| failure.response(&front, &asked))
}

/// The lease of a path.
fn id(uri: &Uri, behind: &str) -> Result<LeaseId, Failure> {
    query(uri.query(), &[])?;
    let path = uri.path();
    let rest = path.strip_prefix(LEASES_PATH).and_then(|rest| rest.strip_prefix('/'));
    let raw = rest.and_then(|rest| rest.strip_suffix(behind)).unwrap_or_default();
    lease_id(&segment(raw)?)
}

/// A lease whose whole time lies before it.
fn begun(status: StatusCode, lease: &LeaseGranted, front: &Front, asked: &Asked) -> Response {
    let view = wire::LeaseView {
        id: lease.id.to_string(),
        ttl_ms: ceil_ms(lease.ttl),
        expires_in_ms: Some(ceil_ms(lease.ttl)),
    };
    let mut response = json(status, &view);
    told(&mut response, (lease.group, lease.index, lease.replayed), front, asked);
    response
}

fn viewed(lease: &LeaseView, front: &Front, asked: &Asked) -> Response {
    let view = wire::LeaseView {
        id: lease.id.to_string(),
        ttl_ms: ceil_ms(lease.ttl),
        expires_in_ms: lease.remaining.map(ceil_ms),
    };
    let mut response = json(StatusCode::OK, &view);
    told(&mut response, (lease.group, lease.index, false), front, asked);
    response
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
