//! Where requests come in: the router, and a shorter way for what is asked most.
//!
//! Why it exists: matching a path, boxing a handler and its layers costs as much as reading or writing a
//! key does. GET and PUT of one key go straight to the same handlers, behind the same gate.
//!
//! Promises: an answer is the same on both ways. Relies on: `routes` for the entry of the short way.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::http::Method;
use axum::response::Response;
use tower::ServiceExt;

use super::routes::{Entry, KEY_ROUTE, entry};
use super::{Front, change, gate, keys};

/// All that a listener needs to answer requests.
#[derive(Clone, Debug)]
pub struct Entrance {
    /// What the short way stands on; a bare router has none.
    front: Option<Front>,
    router: Router,
}

impl Entrance {
    pub(super) fn new(front: Front, router: Router) -> Self {
        Self { front: Some(front), router }
    }

    /// Answers a request.
    pub async fn answer(&self, request: Request) -> Response {
        if let Some(front) = &self.front
            && let Some(entry) = short(&request)
        {
            let state = State(front.clone());
            return if request.method() == Method::GET {
                let serve = |asked, request| keys::get(state, Extension(asked), request);
                gate::through(front, Some(entry), request, serve).await
            } else {
                let serve = |asked, request| change::put(state, Extension(asked), request);
                gate::through(front, Some(entry), request, serve).await
            };
        }
        let Ok(response) = self.router.clone().oneshot(request).await;
        response
    }
}

/// The entry of a request that takes the short way.
fn short(request: &Request) -> Option<&'static Entry> {
    if !matches!(*request.method(), Method::GET | Method::PUT) {
        return None;
    }
    let (namespace, rest) = request.uri().path().strip_prefix("/v1/ns/")?.split_once('/')?;
    let key = rest.strip_prefix("keys/")?;
    (!namespace.is_empty() && !key.is_empty()).then(|| entry(KEY_ROUTE))?
}

impl From<Router> for Entrance {
    fn from(router: Router) -> Self {
        Self { front: None, router }
    }
}

impl tower::Service<Request<Body>> for Entrance {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move { Ok(this.answer(request).await) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_reads_and_puts_of_one_named_key_take_the_short_way() {
        let goes = |method: &str, uri: &str| {
            short(&Request::builder().method(method).uri(uri).body(Body::empty()).unwrap())
                .is_some()
        };
        assert!(goes("GET", "/v1/ns/default/keys/a/b?read=stale"));
        assert!(goes("PUT", "/v1/ns/default/keys/%2F"));
        for (method, uri) in [
            ("HEAD", "/v1/ns/default/keys/a"),
            ("DELETE", "/v1/ns/default/keys/a"),
            ("GET", "/v1/ns/default/keys"),
            ("GET", "/v1/ns/default/keys/"),
            ("GET", "/v1/ns//keys/a"),
            ("PUT", "/v1/ns/default/key?key64=YQ"),
            ("GET", "/v1/ns/default/locks/keys/a"),
            ("GET", "/v1/namespaces/default"),
        ] {
            assert!(!goes(method, uri), "{method} {uri}");
        }
    }
}
