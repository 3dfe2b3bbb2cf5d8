//! What every request passes: a name, a deadline, a place among those being served, a span, a count.
//!
//! Promises: no answer without a `Request-Id`; no more requests at a time than the bound, except for
//! the probes, which must answer when nothing else does. Allocates a request id and a span, no more.

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument;

use crate::runtime::Moment;
use crate::service::{Context, Outcome, Session};
use crate::wire;

use super::Front;
use super::parse::{request_id, request_timeout};
use super::problem::Failure;

const REQUEST_ID: HeaderName = HeaderName::from_static(wire::REQUEST_ID);

/// What is known of a request before it is looked at.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) id: String,
    pub(super) deadline: Moment,
}

impl Asked {
    pub(super) fn context(&self) -> Context {
        Context { deadline: self.deadline, request_id: self.id.clone(), session: Session::default() }
    }
}

/// Lets a request through, or answers in its place.
pub(super) async fn gate(State(front): State<Front>, mut request: Request, next: Next) -> Response {
    let env = front.service.env();
    let began = env.clock.now();
    let running = front.metrics.began();
    let (id, id_value) = request_id(request.headers()).unwrap_or_else(|| made_id(env.rng.next()));
    let route =
        request.extensions().get::<MatchedPath>().map_or("unmatched", |p| label(p.as_str()));
    let method = method_label(request.method());
    let timeout = request_timeout(request.headers());
    let deadline = began + timeout.as_ref().copied().unwrap_or_default();
    let asked = Asked { id, deadline };
    let place =
        if is_probe(route) { Some(None) } else { front.places.try_acquire().ok().map(Some) };
    let mut response = match (timeout, &place) {
        (Err(failure), _) => failure.response(&front, &asked),
        (Ok(_), None) => {
            let detail = "this node serves as many requests as it can";
            let status = StatusCode::SERVICE_UNAVAILABLE;
            Failure::refused(status, "overloaded", detail).response(&front, &asked)
        }
        (Ok(_), Some(_)) => {
            let span = tracing::info_span!(
                "request",
                node = front.service.node().0,
                request_id = asked.id.as_str(),
                group = tracing::field::Empty,
                route,
                method,
            );
            request.extensions_mut().insert(asked);
            next.run(request).instrument(span).await
        }
    };
    response.headers_mut().insert(REQUEST_ID, id_value);
    let status = response.status();
    let outcome = response.extensions().get::<Outcome>().copied().unwrap_or(Outcome::Applied);
    let time = env.clock.now().since(began);
    front.metrics.answered(route, method, status.as_u16(), outcome, time);
    drop((place, running));
    response
}

fn made_id(number: u64) -> (String, HeaderValue) {
    let id = format!("{number:016x}");
    let value = HeaderValue::from_str(&id).expect("hex digits are a header value");
    (id, value)
}

/// A route's name in metrics: a bounded set, whatever clients ask for.
fn label(pattern: &str) -> &'static str {
    super::ROUTES.iter().copied().find(|route| *route == pattern).unwrap_or("unmatched")
}

fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::POST => "POST",
        Method::PATCH => "PATCH",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

fn is_probe(route: &str) -> bool {
    matches!(route, super::LIVEZ | super::READYZ | super::METRICS)
}
