//! The front door: routes, headers, status codes, JSON.
//!
//! ```text
//!   serve ---> gate (id, deadline, bound, span, count) ---> keys | admin | probes ---> service
//! ```
//!
//! Promises: a bad request is refused before anything reaches a log; every error is a problem with a
//! code and an outcome (`problem`); every answer says what it reflects (`facts`).
//! Does not know: groups' leaders, peers' addresses, what is on disk.
//! Relies on: axum, hyper; [`Service`] for everything that is asked; [`crate::wire`] for names.

mod admin;
mod body;
mod facts;
mod gate;
mod keys;
mod metrics;
mod parse;
mod probes;
mod problem;
mod serve;
mod view;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Extension, State};
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::response::Response;
use axum::routing::{get, post};
use tokio::sync::Semaphore;

use crate::runtime::limits::HTTP_REQUESTS_MAX;
use crate::runtime::metrics::Metrics;
use crate::service::Service;
use crate::wire::{CLUSTER_PATH, NODES_PATH, REPLACE_PATH, ROUTE_PATH};

pub use metrics::HttpMetrics;
pub use serve::serve;

use gate::Asked;
use problem::Failure;

const KEYS: &str = "/v1/ns/{ns}/keys/{*key}";
/// The path of an empty key, which the pattern above does not take.
const EMPTY_KEY: &str = "/v1/ns/{ns}/keys/";
const LIVEZ: &str = "/livez";
const READYZ: &str = "/readyz";
const METRICS: &str = "/metrics";

/// All routes, by the names that they have in metrics.
const ROUTES: [&str; 9] =
    [KEYS, EMPTY_KEY, CLUSTER_PATH, NODES_PATH, REPLACE_PATH, ROUTE_PATH, LIVEZ, READYZ, METRICS];

/// What every handler stands on.
#[derive(Clone, Debug)]
struct Front {
    service: Service,
    metrics: HttpMetrics,
    registry: Metrics,
    places: Arc<Semaphore>,
}

/// Bounds of the front door that tests tighten; the defaults are those of `runtime::limits`.
#[derive(Clone, Copy, Debug)]
pub struct FrontOptions {
    /// Requests served at the same time.
    pub requests_max: usize,
}

impl Default for FrontOptions {
    fn default() -> Self {
        Self { requests_max: HTTP_REQUESTS_MAX }
    }
}

/// All that clients can ask. `internal` is mounted beside it, outside its bounds: the connections
/// of other nodes, which must get through when clients are turned away.
pub fn router(
    service: Service,
    registry: &Metrics,
    internal: Router,
    options: FrontOptions,
) -> Router {
    let front = Front {
        service,
        metrics: HttpMetrics::new(registry),
        registry: registry.clone(),
        places: Arc::new(Semaphore::new(options.requests_max)),
    };
    let key_methods = get(keys::get).put(keys::put).delete(keys::delete);
    Router::new()
        .route(KEYS, key_methods.clone())
        .route(EMPTY_KEY, key_methods)
        .route(CLUSTER_PATH, get(admin::cluster))
        .route(NODES_PATH, post(admin::join))
        .route(REPLACE_PATH, post(admin::replace))
        .route(ROUTE_PATH, get(admin::route))
        .route(LIVEZ, get(probes::livez))
        .route(READYZ, get(probes::readyz))
        .route(METRICS, get(probes::metrics))
        .method_not_allowed_fallback(wrong_method)
        .fallback(nowhere)
        .layer(from_fn_with_state(front.clone(), gate::gate))
        .with_state(front)
        .merge(internal)
}

async fn wrong_method(State(front): State<Front>, Extension(asked): Extension<Asked>) -> Response {
    let detail = "the Allow header names the methods that this resource knows";
    Failure::refused(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
        .response(&front, &asked)
}

async fn nowhere(State(front): State<Front>, Extension(asked): Extension<Asked>) -> Response {
    let detail = "docs/api.md lists all resources";
    Failure::refused(StatusCode::NOT_FOUND, "not_found", detail).response(&front, &asked)
}
