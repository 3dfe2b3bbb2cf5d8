//! What orchestrators and monitoring ask: alive, ready, figures.

use axum::extract::{Extension, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::problem::Failure;
use super::{Asked, Front};

/// The text format of `prometheus-client`.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Whether the process answers at all.
#[utoipa::path(get, path = "/livez", operation_id = "livez", tag = "operations",
    responses((status = 200, description = "It does", body = String, content_type = "text/plain")))]
pub(super) async fn livez() -> &'static str {
    "alive\n"
}

/// Whether this node can serve: its catalog, its groups' leaders, its log.
#[utoipa::path(get, path = "/readyz", operation_id = "readyz", tag = "operations",
    responses((status = 200, description = "It can", body = String, content_type = "text/plain")))]
pub(super) async fn readyz(
    State(front): State<Front>,
    Extension(asked): Extension<Asked>,
) -> Response {
    let obstacles = front.service.obstacles();
    if obstacles.is_empty() {
        return "ready\n".into_response();
    }
    let status = StatusCode::SERVICE_UNAVAILABLE;
    Failure::refused(status, "not_ready", obstacles.join("; ")).response(&front, &asked)
}

/// All figures of this node.
#[utoipa::path(get, path = "/metrics", operation_id = "metrics", tag = "operations",
    responses((status = 200, description = "In the text format of OpenMetrics", body = String,
        content_type = "application/openmetrics-text")))]
pub(super) async fn metrics(State(front): State<Front>) -> Response {
    let mut response = front.registry.text().into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(OPENMETRICS));
    response
}
