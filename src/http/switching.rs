//! Switches of namespaces to the other side: surveyed, begun, watched, cancelled.
//!
//! Promises: what is answered is as the catalog has it; progress is of whoever drives the switch, and
//! missing while that one does not answer.

use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, Path, Request, State};
use axum::http::{StatusCode, Uri};
use axum::response::Response;

use crate::placement::{Layout, Mode, Siblings, SwitchPhase, SwitchTo};
use crate::runtime::limits::{ADMIN_BODY_BYTES_MAX, HISTORY_MS_DEFAULT};
use crate::service::{self, ceil_ms};
use crate::wire;

use super::body::read_json_and_bytes;
use super::doc::params::{OnceHeaders, SpacePath};
use super::envelope::{json, text_or_64};
use super::once::once;
use super::parse::query;
use super::parse::time::duration_of;
use super::problem::Failure;
use super::spaces::named;
use super::{Asked, Front, topology};

/// Begins to switch a namespace to the other side.
#[utoipa::path(post, path = "/v1/namespaces/{ns}/switch", operation_id = "begin_switch",
    tag = "namespaces",
    params(SpacePath, OnceHeaders),
    request_body = wire::SwitchRequest,
    responses((status = 202, description = "It is under way", body = wire::SwitchView)))]
pub(super) async fn begin(
    State(front): State<Front>,
    Extension(asked): Extension<Asked>,
    name: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    let begun = async {
        let name = named(name)?;
        query(request.uri().query(), &[])?;
        let (parts, body) = request.into_parts();
        let request = Request::from_parts(parts.clone(), body);
        let (wanted, body) =
            read_json_and_bytes(&front, &asked, request, ADMIN_BODY_BYTES_MAX).await?;
        let to = wanted_switch(&front, wanted)?;
        let context = asked.context_once(once(&parts, &body)?);
        let found = front.service.switch_namespace(&name, to, context).await?;
        Ok(json(StatusCode::ACCEPTED, &view(name, found)))
    };
    begun.await.unwrap_or_else(|failure: Failure| failure.response(&front, &asked))
}

/// Says what stands in the way of a switch.
#[utoipa::path(post, path = "/v1/namespaces/{ns}/switch/check", operation_id = "check_switch",
    tag = "namespaces",
    params(SpacePath),
    request_body = wire::SwitchRequest,
    responses((status = 200, description = "What was found", body = wire::SwitchSurvey)))]
pub(super) async fn check(
    State(front): State<Front>,
    Extension(asked): Extension<Asked>,
    name: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    let checked = async {
        let name = named(name)?;
        query(request.uri().query(), &[])?;
        let (wanted, _) =
            read_json_and_bytes(&front, &asked, request, ADMIN_BODY_BYTES_MAX).await?;
        let to = wanted_switch(&front, wanted)?;
        let found = front.service.survey_switch(&name, &to, &asked.context()).await?;
        let service::Survey { keys, obstacles, named, is_complete } = found;
        let named = named.into_iter().map(|service::Obstacle { key, why }| {
            let (key, key64) = text_or_64(&key);
            wire::SwitchObstacle { key, key64, why }
        });
        let named = named.collect();
        let survey = wire::SwitchSurvey { keys, complete: is_complete, obstacles, named };
        Ok(json(StatusCode::OK, &survey))
    };
    checked.await.unwrap_or_else(|failure: Failure| failure.response(&front, &asked))
}

/// Says how far a switch is, or how the newest one ended.
#[utoipa::path(get, path = "/v1/namespaces/{ns}/switch", operation_id = "get_switch",
    tag = "namespaces",
    params(SpacePath),
    responses((status = 200, description = "The switch", body = wire::SwitchView)))]
pub(super) async fn look(
    State(front): State<Front>,
    Extension(asked): Extension<Asked>,
    name: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Response {
    let looked = async {
        let name = named(name)?;
        query(uri.query(), &[])?;
        let found = front.service.look_switch(&name, asked.context()).await?;
        Ok(json(StatusCode::OK, &view(name, found)))
    };
    looked.await.unwrap_or_else(|failure: Failure| failure.response(&front, &asked))
}

/// Gives up a switch that is not done yet.
#[utoipa::path(delete, path = "/v1/namespaces/{ns}/switch", operation_id = "cancel_switch",
    tag = "namespaces",
    params(SpacePath, OnceHeaders),
    responses((status = 200, description = "It is given up", body = wire::SwitchView)))]
pub(super) async fn cancel(
    State(front): State<Front>,
    Extension(asked): Extension<Asked>,
    name: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    let cancelled = async {
        let name = named(name)?;
        let (parts, _) = request.into_parts();
        query(parts.uri.query(), &[])?;
        let context = asked.context_once(once(&parts, &[])?);
        let found = front.service.cancel_switch(&name, context).await?;
        Ok(json(StatusCode::OK, &view(name, found)))
    };
    cancelled.await.unwrap_or_else(|failure: Failure| failure.response(&front, &asked))
}

fn wanted_switch(front: &Front, wanted: wire::SwitchRequest) -> Result<SwitchTo, Failure> {
    let wire::SwitchRequest { to, data_type, topology: plan, layout, history, siblings } = wanted;
    let (mode, usual) = match to.as_str() {
        "linearizable" => (Mode::Linearizable, HISTORY_MS_DEFAULT),
        "eventual" => (Mode::Eventual, 0),
        other => {
            let detail = format!("to {other:?} is not linearizable or eventual");
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
    let siblings = match siblings.as_deref() {
        None | Some("refuse") => Siblings::Refuse,
        Some("latest") => Siblings::Latest,
        Some(other) => {
            return Err(Failure::invalid(format!("siblings {other:?} is not refuse or latest")));
        }
    };
    let history = history.map(|text| duration_of("history", &text)).transpose()?;
    Ok(SwitchTo {
        mode,
        layout,
        history_ms: history.map_or(usual, ceil_ms),
        data_type: data_type.as_deref().map(topology::type_of).transpose()?,
        topology: plan.map(topology::plan).transpose()?.unwrap_or_default(),
        siblings,
        began_ms: front.service.env().clock.wall_ms(),
    })
}

fn view(namespace: String, found: service::SwitchView) -> wire::SwitchView {
    let service::SwitchView { switch, progress, keys, age_ms } = found;
    let (phase, reason) = match switch.phase {
        SwitchPhase::Freezing => ("freezing", None),
        SwitchPhase::Copying => ("copying", None),
        SwitchPhase::Sealing => ("sealing", None),
        SwitchPhase::Done => ("done", None),
        SwitchPhase::Stopped { reason } => ("stopped", Some(reason)),
    };
    let copied = match phase {
        "sealing" | "done" => Some(switch.keys),
        _ => progress.as_ref().map(|progress| progress.keys),
    };
    wire::SwitchView {
        namespace,
        job: switch.job,
        phase: phase.to_owned(),
        to: match switch.to.mode {
            Mode::Linearizable => "linearizable".to_owned(),
            Mode::Eventual => "eventual".to_owned(),
        },
        data_type: switch.to.data_type.map(|data_type| data_type.name().to_owned()),
        copied,
        keys,
        waits_for: progress.and_then(|progress| progress.waits_for),
        reason,
        age_ms,
    }
}
