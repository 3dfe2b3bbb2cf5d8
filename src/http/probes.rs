//! What orchestrators and monitoring ask: alive, ready, figures.

use axum::extract::{Extension, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::problem::Failure;
use super::{Asked, Front};

/// The text format of `prometheus-client`.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Whether the process answers at all.
pub(super) async fn livez() -> &'static str {
    "alive\n"
}

/// Whether this node can serve: its catalog, its groups' leaders, its log.
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
pub(super) async fn metrics(State(front): State<Front>) -> Response {
    let mut response = front.registry.text().into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(OPENMETRICS));
    response
}
