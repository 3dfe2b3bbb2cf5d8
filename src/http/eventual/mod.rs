//! Eventual namespaces at the front door: the routes of keys as on the other side, and those that
//! only this side has.
//!
//! ```text
//!   keys, change, scan, batch ---> here (is it eventual?) ---> keys, scan, batch of this page
//!   receipts, conflicts, convergence ---> losses, convergence
//!   vector, export, import ---> copies
//! ```
//!
//! Promises: what the mode cannot keep is refused with 422 `mode_unsupported` before anything is
//! written, never passed over; every answer says what its node had heard of (`KV-Vector`), and puts
//! it into the session. Relies on [`Space`] for everything that is asked.

pub(super) mod asks;
pub(super) mod batch;
pub(super) mod convergence;
pub(super) mod copies;
pub(super) mod keys;
pub(super) mod losses;
pub(super) mod scan;
mod shown;

use axum::extract::{Extension, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};

use crate::model::eventual::Vector;
use crate::service::eventual::Space;
use crate::service::{ReadMode, Session};
use crate::wire::{KV_LEASE, KV_READ, KV_VECTOR};

use super::facts::Facts;
use super::parse::{Query, namespace_path, text_header};
use super::problem::Failure;
use super::{Asked, Front};

/// What every request on this page stands on.
#[derive(Clone, Debug)]
pub(super) struct Here {
    pub(super) front: Front,
    pub(super) asked: Asked,
    pub(super) space: Space,
}

/// The eventual namespace that a request is about, if it is one.
pub(super) async fn here(front: &Front, asked: &Asked, uri: &Uri) -> Result<Option<Here>, Failure> {
    let namespace = namespace_path(uri.path())?;
    let space = front.service.eventual(&namespace, &asked.context()).await?;
    Ok(space.map(|space| Here { front: front.clone(), asked: asked.clone(), space }))
}

/// The same for routes that linearizable namespaces do not have.
impl FromRequestParts<Front> for Here {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, front: &Front) -> Result<Self, Response> {
        let asked = Extension::<Asked>::from_request_parts(parts, front).await;
        let Extension(asked) = asked.map_err(IntoResponse::into_response)?;
        let found = here(front, &asked, &parts.uri).await.and_then(|here| {
            here.ok_or_else(|| {
                unsupported(
                    "the namespace is linearizable: its writes are never lost to each other, and \
                     its replicas are compared by GET /v1/cluster/digest",
                )
            })
        });
        found.map_err(|failure| failure.response(front, &asked))
    }
}

/// What this mode does not promise.
pub(super) fn unsupported(reason: impl Into<String>) -> Failure {
    Failure::refused(StatusCode::UNPROCESSABLE_ENTITY, "mode_unsupported", reason)
}

impl Here {
    /// The answer of a route, or what was wrong.
    async fn answer(&self, told: impl Future<Output = Result<Response, Failure>>) -> Response {
        told.await.unwrap_or_else(|failure| failure.response(&self.front, &self.asked))
    }

    /// What an answer reflects.
    fn facts(&self, vector: &Vector, replayed: bool) -> Facts {
        let mut seen = Session::default();
        seen.note_vector(self.space.id(), vector);
        Facts { seen: Some(seen), replayed, ..Facts::default() }
    }

    /// An answer with what this node knew, and what of it the client has seen.
    fn told(
        &self,
        mut response: Response,
        vector: &Vector,
        seen: &Vector,
        replayed: bool,
    ) -> Response {
        let headers = response.headers_mut();
        if let Ok(text) = HeaderValue::try_from(vector.to_string()) {
            headers.insert(KV_VECTOR, text);
        }
        self.facts(seen, replayed).write(headers, &self.front, &self.asked);
        response
    }

    /// The same of a read.
    fn read(&self, mut response: Response, vector: &Vector) -> Response {
        response.headers_mut().insert(KV_READ, HeaderValue::from_static("eventual"));
        self.told(response, vector, vector, false)
    }
}

/// What a read must reflect at least, and that it asks for nothing that is not kept.
fn read_query(query: &Query<'_>) -> Result<Option<Vector>, Failure> {
    let asked = query.raw("read").is_some();
    match query.read_mode()? {
        ReadMode::Stale | ReadMode::Session => {}
        ReadMode::Linearizable if !asked => {}
        ReadMode::Linearizable | ReadMode::Bounded(_) => {
            return Err(unsupported(
                "a read of an eventual namespace is what this node has heard of: leave read= out, \
                 and send KV-Session or min_vector= to see at least what you have seen",
            ));
        }
    }
    min_vector(query)
}

/// `?min_vector=`.
fn min_vector(query: &Query<'_>) -> Result<Option<Vector>, Failure> {
    let text = query.text("min_vector")?;
    let read = text.map(|text| text.parse::<Vector>());
    read.transpose().map_err(|error| Failure::invalid(format!("min_vector: {error}")))
}

/// On how many nodes a write is to be flushed: `?ack=`.
fn ack(query: &Query<'_>) -> Result<usize, Failure> {
    let asked = query.number("ack")?.unwrap_or(1);
    Ok(usize::try_from(asked).unwrap_or(usize::MAX))
}

/// Refuses what a write can only be promised where its replicas agree first.
fn refuse_promises(parts: &Parts, query: &Query<'_>) -> Result<(), Failure> {
    for name in [header::IF_MATCH.as_str(), header::IF_NONE_MATCH.as_str()] {
        if parts.headers.contains_key(name) {
            let detail = "a condition holds on one node of an eventual namespace and not on another: \
                          leave If-Match and If-None-Match out; of a mv namespace KV-Context says \
                          what a write replaces";
            return Err(unsupported(detail));
        }
    }
    if parts.headers.contains_key(KV_LEASE) || query.raw("ttl").is_some() {
        let detail = "no node of an eventual namespace can end a key for all of them: it takes no \
                      ttl and no lease";
        return Err(unsupported(detail));
    }
    if query.flag("prev")? {
        let detail = "what a write replaces elsewhere is not known here: prev=1 needs a \
                      linearizable namespace";
        return Err(unsupported(detail));
    }
    Ok(())
}

/// A header of our own that must read back as it was printed.
fn parsed<T: std::str::FromStr<Err = crate::model::eventual::TextError>>(
    headers: &HeaderMap,
    name: &str,
) -> Result<Option<T>, Failure> {
    let read = |text: &str| {
        text.parse::<T>().map_err(|error| Failure::invalid(format!("{name}: {error}")))
    };
    text_header(headers, name)?.map(read).transpose()
}
