//! Namespaces: created, listed, described, changed, deleted.

use std::time::Duration;

use axum::extract::{Extension, Path, Request, State};
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::Response;

use crate::placement::{Layout, Mode, NamespaceLimits};
use crate::runtime::limits::{ADMIN_BODY_BYTES_MAX, HISTORY_MS_DEFAULT};
use crate::service::{self, NamespaceChange, NamespaceRequest};
use crate::wire::{self, NAMESPACES_PATH, NamespaceDeleted, NamespacesView};

use super::body::read_json_and_bytes;
use super::doc::params::{OnceHeaders, SpacePath};
use super::envelope::json;
use super::facts::Facts;
use super::once::once;
use super::parse::query;
use super::parse::time::{duration_of, duration_text};
use super::problem::Failure;
use super::{Asked, Front, topology};

/// Lists all namespaces.
#[utoipa::path(get, path = "/v1/namespaces", operation_id = "list_namespaces", tag = "namespaces",
    responses((status = 200, description = "All of them", body = NamespacesView)))]
pub(super) async fn list(
    State(front): State<Front>,
    Extension(asked): Extension<Asked>,
    uri: Uri,
) -> Response {
    let listed = async {
        query(uri.query(), &[])?;
        let namespaces = front.service.namespaces(asked.context()).await?;
        let namespaces = namespaces.iter().map(view).collect();
        Ok(told(StatusCode::OK, &NamespacesView { namespaces }, false, &front, &asked))
    };
    listed.await.unwrap_or_else(|failure: Failure| failure.response(&front, &asked))
}

/// Creates a namespace.
#[utoipa::path(post, path = "/v1/namespaces", operation_id = "create_namespace", tag = "namespaces",
    params(OnceHeaders),
    request_body = wire::NamespaceCreate,
    responses(
        (status = 201, description = "Created", body = wire::NamespaceView),
        (status = 200, description = "It was there, with the same settings", body = wire::NamespaceView),
    ))]
pub(super) async fn create(
    State(front): State<Front>,
    Extension(asked): Extension<Asked>,
    request: Request,
) -> Response {
    let created = async {
        query(request.uri().query(), &[])?;
        let (parts, body) = request.into_parts();
        let request = Request::from_parts(parts.clone(), body);
        let (wanted, body) =
            read_json_and_bytes(&front, &asked, request, ADMIN_BODY_BYTES_MAX).await?;
        let context = asked.context_once(once(&parts, &body)?);
        let made = front.service.create_namespace(wanted_space(wanted)?, context).await?;
        let status = if made.created { StatusCode::CREATED } else { StatusCode::OK };
        let mut response = told(status, &view(&made.view), made.replayed, &front, &asked);
        let location = HeaderValue::try_from(format!("{NAMESPACES_PATH}/{}", made.view.name));
        if let (true, Ok(location)) = (made.created, location) {
            response.headers_mut().insert(header::LOCATION, location);
        }
        Ok(response)
    };
    created.await.unwrap_or_else(|failure: Failure| failure.response(&front, &asked))
}

/// Describes a namespace.
#[utoipa::path(get, path = "/v1/namespaces/{ns}", operation_id = "get_namespace", tag = "namespaces",
    params(SpacePath),
    responses((status = 200, description = "The namespace", body = wire::NamespaceView)))]
pub(super) async fn describe(
    State(front): State<Front>,
    Extension(asked): Extension<Asked>,
    name: Result<Path<String>, axum::extract::rejection::PathRejection>,
    uri: Uri,
) -> Response {
    let described = async {
        query(uri.query(), &[])?;
        let found = front.service.namespace(&named(name)?, asked.context()).await?;
        Ok(told(StatusCode::OK, &view(&found), false, &front, &asked))
    };
    described.await.unwrap_or_else(|failure: Failure| failure.response(&front, &asked))
}

/// Changes limits, quota, history or topology of a namespace.
#[utoipa::path(patch, path = "/v1/namespaces/{ns}", operation_id = "change_namespace",
    tag = "namespaces",
    params(SpacePath, OnceHeaders),
    request_body = wire::NamespaceChange,
    responses((status = 200, description = "As it is now", body = wire::NamespaceView)))]
pub(super) async fn change(
    State(front): State<Front>,
    Extension(asked): Extension<Asked>,
    name: Result<Path<String>, axum::extract::rejection::PathRejection>,
    request: Request,
) -> Response {
    let changed = async {
        let name = named(name)?;
        query(request.uri().query(), &[])?;
        let (parts, body) = request.into_parts();
        let request = Request::from_parts(parts.clone(), body);
        let (wanted, body) =
            read_json_and_bytes(&front, &asked, request, ADMIN_BODY_BYTES_MAX).await?;
        let wanted = wanted_change(wanted)?;
        let context = asked.context_once(once(&parts, &body)?);
        let changed = front.service.change_namespace(&name, wanted, context).await?;
        Ok(told(StatusCode::OK, &view(&changed.view), changed.replayed, &front, &asked))
    };
    changed.await.unwrap_or_else(|failure: Failure| failure.response(&front, &asked))
}

/// Deletes a namespace with all that is in it.
#[utoipa::path(delete, path = "/v1/namespaces/{ns}", operation_id = "delete_namespace",
    tag = "namespaces",
    params(SpacePath, OnceHeaders),
    responses((status = 202, description = "Gone; its data goes in the background",
        body = NamespaceDeleted)))]
pub(super) async fn delete(
    State(front): State<Front>,
    Extension(asked): Extension<Asked>,
    name: Result<Path<String>, axum::extract::rejection::PathRejection>,
    request: Request,
) -> Response {
    let deleted = async {
        let (parts, _) = request.into_parts();
        query(parts.uri.query(), &[])?;
        let context = asked.context_once(once(&parts, &[])?);
        let gone = front.service.delete_namespace(&named(name)?, context).await?;
        let body = NamespaceDeleted { state: "deleting".to_owned() };
        Ok(told(StatusCode::ACCEPTED, &body, gone.replayed, &front, &asked))
    };
    deleted.await.unwrap_or_else(|failure: Failure| failure.response(&front, &asked))
}

pub(super) fn named(
    name: Result<Path<String>, axum::extract::rejection::PathRejection>,
) -> Result<String, Failure> {
    let name = name.map_err(|error| Failure::invalid(error.body_text()))?;
    Ok(name.0)
}

fn told<T: serde::Serialize>(
    status: StatusCode,
    body: &T,
    replayed: bool,
    front: &Front,
    asked: &Asked,
) -> Response {
    let mut response = json(status, body);
    let facts = Facts { replayed, ..Facts::default() };
    facts.write(response.headers_mut(), front, asked);
    response
}

fn wanted_space(wanted: wire::NamespaceCreate) -> Result<NamespaceRequest, Failure> {
    let wire::NamespaceCreate { name, mode, data_type, topology, layout, limits, quota, history } =
        wanted;
    let mode = match mode.as_deref() {
        None | Some("linearizable") => Mode::Linearizable,
        Some("eventual") => Mode::Eventual,
        Some(other) => {
            let detail = format!(
                "mode {other:?} is not linearizable or eventual; what an eventual one holds is its \
                 type: lww, mv, counter, set or map"
            );
            return Err(Failure::invalid(detail));
        }
    };
    let layout = match layout.as_deref() {
        None | Some("spread") => Layout::Spread,
        Some("ordered") => Layout::Ordered,
        Some(other) => {
            return Err(Failure::invalid(format!("layout {other:?} is not spread or ordered")));
        }
    };
    let history = history.map(|text| duration_of("history", &text)).transpose()?;
    let usual = match mode {
        Mode::Linearizable => Duration::from_millis(HISTORY_MS_DEFAULT),
        Mode::Eventual => Duration::ZERO,
    };
    Ok(NamespaceRequest {
        name,
        mode,
        layout,
        limits: merged(limits.unwrap_or_default(), NamespaceLimits::default()),
        quota,
        history: history.unwrap_or(usual),
        data_type: data_type.as_deref().map(topology::type_of).transpose()?,
        topology: topology.map(topology::plan).transpose()?.unwrap_or_default(),
    })
}

fn wanted_change(wanted: wire::NamespaceChange) -> Result<NamespaceChange, Failure> {
    let wire::NamespaceChange { limits, quota, history, topology } = wanted;
    let history = history.map(|text| duration_of("history", &text)).transpose()?;
    let limits = limits.unwrap_or_default();
    let (key_bytes_max, value_bytes_max) = (limits.key_bytes, limits.value_bytes);
    let topology = topology.map(topology::plan).transpose()?;
    Ok(NamespaceChange { key_bytes_max, value_bytes_max, quota, history, topology, if_epoch: None })
}

/// What is said, and for the rest what was.
fn merged(said: wire::NamespaceLimits, before: NamespaceLimits) -> NamespaceLimits {
    NamespaceLimits {
        key_bytes_max: said.key_bytes.unwrap_or(before.key_bytes_max),
        value_bytes_max: said.value_bytes.unwrap_or(before.value_bytes_max),
    }
}

fn view(space: &service::NamespaceView) -> wire::NamespaceView {
    wire::NamespaceView {
        name: space.name.clone(),
        id: space.id,
        mode: match space.mode {
            Mode::Linearizable => "linearizable".to_owned(),
            Mode::Eventual => "eventual".to_owned(),
        },
        layout: match space.layout {
            Layout::Spread => "spread".to_owned(),
            Layout::Ordered => "ordered".to_owned(),
        },
        limits: wire::NamespaceLimits {
            key_bytes: Some(space.limits.key_bytes_max),
            value_bytes: Some(space.limits.value_bytes_max),
        },
        quota: space.quota,
        history: duration_text(space.history),
        keys: space.keys,
        bytes: space.bytes,
        groups: space.groups,
        data_type: space.data_type.map(|data_type| data_type.name().to_owned()),
        topology: space.topology.as_ref().map(topology::shown),
    }
}
