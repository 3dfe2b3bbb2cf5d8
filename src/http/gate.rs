//! What every request passes: a name, a deadline, a place among those being served, a span, a count.
//!
//! Promises: no answer without a `Request-Id`; no more requests at a time than the bound, except for
//! the probes, which must answer when nothing else does. Allocates a request id and a span, no more.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument;

use crate::runtime::Moment;
use crate::service::{Context, OnceKey, Outcome, Session};
use crate::wire;

use super::Front;
use super::parse::{request_id, request_timeout, text_header};
use super::places::Bound;
use super::problem::Failure;
use super::routes::{Entry, entry};
use super::trace;

const REQUEST_ID: HeaderName = HeaderName::from_static(wire::REQUEST_ID);

/// What is known of a request before it is looked at.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) id: Arc<str>,
    pub(super) deadline: Moment,
    /// How long the client waits, from which the deadline came.
    pub(super) patience: Duration,
    pub(super) session: Session,
}

impl Asked {
    /// What goes with a request to the hall.
    pub(super) fn context(&self) -> Context {
        self.context_once(None)
    }

    /// The same for a request that may be repeated.
    pub(super) fn context_once(&self, once: Option<OnceKey>) -> Context {
        let (deadline, request_id) = (self.deadline, self.id.clone());
        Context { deadline, request_id, once, session: self.session.clone() }
    }
}

fn session(headers: &HeaderMap) -> Result<Session, Failure> {
    let text = text_header(headers, wire::KV_SESSION)?.unwrap_or_default();
    Session::parse(text).map_err(|error| Failure::invalid(format!("KV-Session: {error}")))
}

/// Lets a request through to the router, or answers in its place.
pub(super) async fn gate(State(front): State<Front>, request: Request, next: Next) -> Response {
    let entry = request.extensions().get::<MatchedPath>().and_then(|path| entry(path.as_str()));
    let serve = |asked: Asked, mut request: Request| {
        request.extensions_mut().insert(asked);
        next.run(request)
    };
    through(&front, entry, request, serve).await
}

/// Lets a request through to whoever serves it, or answers in its place.
pub(super) async fn through<F: Future<Output = Response>>(
    front: &Front,
    entry: Option<&'static Entry>,
    mut request: Request,
    serve: impl FnOnce(Asked, Request) -> F,
) -> Response {
    let env = front.service.env();
    let began = env.clock.now();
    let running = front.metrics.began();
    let (id, id_value) = request_id(request.headers()).unwrap_or_else(|| made_id(env.rng.next()));
    let route = entry.map_or("unmatched", |entry| entry.path);
    let method = method_label(request.method());
    let said = request_timeout(request.headers())
        .and_then(|patience| Ok((patience, session(request.headers())?)));
    let (patience, seen) = said.as_ref().ok().cloned().unwrap_or_default();
    let asked = Asked { id: id.into(), deadline: began + patience, patience, session: seen };
    let bound = entry.map_or(Bound::Request, |entry| entry.bound);
    let place = front.places.of(bound);
    let under = trace::is_on().then(|| front.traces.look(route, &mut request)).flatten();
    let mut response = match (said, &place) {
        (Err(failure), _) => failure.response(front, &asked),
        (Ok(_), Ok(_)) => {
            // Not above: whoever does not look for single requests should not pay for their names.
            let span = tracing::debug_span!(
                "request",
                node = front.service.node().0,
                request_id = &*asked.id,
                group = tracing::field::Empty,
                route,
                method,
            );
            serve(asked, request).instrument(span).await
        }
        (Ok(_), Err(full)) => Failure::overloaded(*full).response(front, &asked),
    };
    response.headers_mut().insert(REQUEST_ID, id_value);
    let status = response.status();
    let outcome = response.extensions().get::<Outcome>().copied().unwrap_or(Outcome::Applied);
    let ended = env.clock.now();
    front.metrics.answered(route, method, status.as_u16(), outcome, ended.since(began));
    if let Some(under) = under {
        under.answered(&response, outcome, (began, ended));
    }
    drop((place, running));
    response
}

fn made_id(number: u64) -> (String, HeaderValue) {
    let id = format!("{number:016x}");
    let value = HeaderValue::from_str(&id).expect("hex digits are a header value");
    (id, value)
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
