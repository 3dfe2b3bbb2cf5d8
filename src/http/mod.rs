//! The front door: routes, headers, status codes, JSON.
//!
//! ```text
//!   serve ---> gate (id, deadline, session, bound, span, count) ---> a handler ---> service
//!   (pulse)      handlers: keys, change, txn, batch, spaces, leases, locks | admin, bounds, doc, probes
//! ```
//!
//! Promises: a bad request is refused before anything reaches a log; every error is a problem with a
//! code and an outcome (`problem`); every answer says what it reflects (`facts`).
//! Does not know: groups' leaders, peers' addresses, what is on disk.
//! Relies on: axum, hyper; [`Service`] for everything that is asked; [`crate::wire`] for names.

mod admin;
mod batch;
mod body;
mod bounds;
mod change;
mod doc;
mod entrance;
mod envelope;
mod eventual;
mod facts;
mod gate;
mod keys;
mod leases;
mod locks;
mod metrics;
mod once;
mod parse;
mod patch;
mod places;
mod probes;
mod problem;
mod pulse;
mod routes;
mod scan;
mod serve;
mod spaces;
mod steps;
mod switching;
mod topology;
mod trace;
mod txn;
mod view;
mod watch;

#[cfg(test)]
mod tests;

use axum::Router;
use axum::extract::{Extension, State};
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::response::Response;

use crate::runtime::limits::HTTP_REQUESTS_MAX;
use crate::runtime::metrics::Metrics;
use crate::service::Service;

pub use entrance::Entrance;
pub use metrics::HttpMetrics;
pub use serve::serve;

use gate::Asked;
use places::Places;
use problem::Failure;
use trace::Traces;

/// What every handler stands on.
#[derive(Clone, Debug)]
struct Front {
    service: Service,
    metrics: HttpMetrics,
    registry: Metrics,
    places: Places,
    traces: Traces,
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
) -> Entrance {
    let front = Front {
        service,
        metrics: HttpMetrics::new(registry),
        registry: registry.clone(),
        places: Places::new(options),
        traces: Traces::default(),
    };
    let mut router = Router::new();
    for entry in routes::TABLE {
        router = router.route(entry.path, (entry.open)());
        if let Some(empty) = entry.without_rest() {
            router = router.route(empty, (entry.open)());
        }
    }
    let router = router
        .method_not_allowed_fallback(wrong_method)
        .fallback(nowhere)
        .layer(from_fn_with_state(front.clone(), gate::gate))
        .with_state(front.clone())
        .merge(internal);
    Entrance::new(front, router)
}

async fn wrong_method(State(front): State<Front>, Extension(asked): Extension<Asked>) -> Response {
    let detail = "the Allow header names the methods that this resource knows";
    Failure::refused(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
        .response(&front, &asked)
}

async fn nowhere(State(front): State<Front>, Extension(asked): Extension<Asked>) -> Response {
    let detail = "/openapi.json lists all resources";
    Failure::refused(StatusCode::NOT_FOUND, "not_found", detail).response(&front, &asked)
}
