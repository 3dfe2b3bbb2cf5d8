//! The typed client of the HTTP API, as our own command line, tests and load tool use it.
//!
//! Why it exists: what is safe to repeat is decided once, here. A request ends in one of three
//! outcomes; only what surely took no effect is repeated, reads freely. A write whose fate is
//! unknown is handed to the caller as such and **never** repeated.
//!
//! Promises: a call ends within its timeout; endpoints that cannot be reached rest for a moment;
//! requests go straight to the group's leader once the routes are known, to any endpoint before.
//! Relies on: [`crate::wire`] for words, `placement::slots` for the slot of a key, reqwest.

mod error;
mod routes;
mod send;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Method;

pub use error::ClientError;
use routes::Routes;
pub use send::Answer;
use send::{Call, Target};

use crate::runtime::{Env, limits};
use crate::wire::{
    CLUSTER_PATH, ChangeReply, ClusterView, JoinRequest, NODES_PATH, REPLACE_PATH, ROUTE_PATH,
    ReplaceRequest, RouteView,
};

/// What stays as it is in a path segment: everything else is percent-encoded.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// How a client behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// Base URLs of nodes; at least one.
    pub endpoints: Vec<String>,
    /// How long a call may take, with all its tries.
    pub timeout: Duration,
    /// Asks only the endpoints, in turn, and learns no leaders: to see what *this* node answers.
    pub pinned: bool,
}

/// How a read is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadMode {
    /// It sees every write acknowledged before it began.
    Linearizable,
    /// It answers at once from the node's own state.
    Stale,
}

/// A key that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Got {
    /// Its value; empty for a HEAD.
    pub value: Bytes,
    /// Its revision, as an entity tag.
    pub etag: Option<String>,
    /// What the read promises, in the server's words.
    pub read: Option<String>,
    /// The place in the group's order that the answer reflects.
    pub place: Place,
}

/// An acknowledged write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrote {
    /// Whether the key was there before.
    pub existed: bool,
    /// The new revision, as an entity tag.
    pub etag: Option<String>,
    /// The write's place in the group's order.
    pub place: Place,
}

/// Group and index that an answer reflects, and who answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The group.
    pub group: Option<u64>,
    /// The index in its log.
    pub index: Option<u64>,
    /// The node that did the work.
    pub served_by: Option<u64>,
}

/// A handle to a cluster; clones share connections and what was learnt.
#[derive(Clone, Debug)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    http: reqwest::Client,
    options: Options,
    routes: Routes,
    env: Env,
}

impl Client {
    /// A client of the cluster that the endpoints belong to. Connects when first asked.
    ///
    /// # Errors
    ///
    /// When an endpoint is not an `http://` URL, or there is none.
    pub fn new(mut options: Options, env: &Env) -> Result<Self, ClientError> {
        for endpoint in &mut options.endpoints {
            *endpoint = endpoint.trim().trim_end_matches('/').to_owned();
            let plain = endpoint.starts_with("http://") && reqwest::Url::parse(endpoint).is_ok();
            if !plain {
                return Err(ClientError::Endpoint { endpoint: endpoint.clone() });
            }
        }
        if options.endpoints.is_empty() {
            return Err(ClientError::Endpoint { endpoint: String::new() });
        }
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_millis(limits::CLIENT_CONNECT_MS))
            .pool_max_idle_per_host(limits::CLIENT_IDLE_CONNECTIONS_MAX)
            .tcp_nodelay(true)
            .build()
            .map_err(|error| ClientError::refused("start", &error))?;
        let routes = Routes::new(options.endpoints.clone());
        Ok(Self { inner: Arc::new(Inner { http, options, routes, env: env.clone() }) })
    }

    /// The endpoints as given.
    pub fn endpoints(&self) -> &[String] {
        &self.inner.options.endpoints
    }

    /// Reads a key; `None` when there is none.
    ///
    /// # Errors
    ///
    /// When no endpoint answered within the timeout, or the request was refused.
    pub async fn get(
        &self,
        ns: &str,
        key: &[u8],
        mode: ReadMode,
    ) -> Result<Option<Got>, ClientError> {
        self.read(Method::GET, ns, key, mode).await
    }

    /// Reads a key's revision without its value.
    ///
    /// # Errors
    ///
    /// As [`Client::get`].
    pub async fn head(
        &self,
        ns: &str,
        key: &[u8],
        mode: ReadMode,
    ) -> Result<Option<Got>, ClientError> {
        self.read(Method::HEAD, ns, key, mode).await
    }

    async fn read(
        &self,
        method: Method,
        ns: &str,
        key: &[u8],
        mode: ReadMode,
    ) -> Result<Option<Got>, ClientError> {
        let mut path = key_path(ns, key);
        if mode == ReadMode::Stale {
            path.push_str("?read=stale");
        }
        let answer = self.call(Call::new(method, path).target(Target::Key(ns, key))).await;
        match answer {
            Ok(answer) => Ok(Some(Got {
                etag: answer.etag(),
                read: answer.header(crate::wire::KV_READ),
                place: answer.place(),
                value: answer.body,
            })),
            Err(error) if error.is_missing_key() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes a key.
    ///
    /// # Errors
    ///
    /// [`ClientError::outcome`] says whether the write took effect.
    pub async fn put(&self, ns: &str, key: &[u8], value: Bytes) -> Result<Wrote, ClientError> {
        let call = Call::new(Method::PUT, key_path(ns, key)).target(Target::Key(ns, key));
        let answer = self.call(call.body(value)).await?;
        Ok(Wrote { existed: answer.status != 201, etag: answer.etag(), place: answer.place() })
    }

    /// Removes a key. A key that is not there is not an error.
    ///
    /// # Errors
    ///
    /// As [`Client::put`].
    pub async fn delete(&self, ns: &str, key: &[u8]) -> Result<Wrote, ClientError> {
        let call = Call::new(Method::DELETE, key_path(ns, key)).target(Target::Key(ns, key));
        match self.call(call).await {
            Ok(answer) => Ok(Wrote { existed: true, etag: None, place: answer.place() }),
            Err(error) if error.is_missing_key() => {
                Ok(Wrote { existed: false, etag: None, place: error.place() })
            }
            Err(error) => Err(error),
        }
    }

    /// The cluster as some node sees it.
    ///
    /// # Errors
    ///
    /// When no endpoint answered.
    pub async fn cluster(&self) -> Result<ClusterView, ClientError> {
        self.call(Call::new(Method::GET, CLUSTER_PATH.to_owned())).await?.json()
    }

    /// Where a key lives.
    ///
    /// # Errors
    ///
    /// When no endpoint answered.
    pub async fn route(&self, ns: &str, key: &[u8]) -> Result<RouteView, ClientError> {
        let (ns, key) = (utf8_percent_encode(ns, SEGMENT), encode(key));
        let path = format!("{ROUTE_PATH}?ns={ns}&key={key}");
        self.call(Call::new(Method::GET, path)).await?.json()
    }

    /// Whether the node at `endpoint` is ready; one try, no patience.
    pub async fn ready(&self, endpoint: &str) -> bool {
        self.ask_once(endpoint, "/readyz").await.is_ok()
    }

    /// The figures of the node at `endpoint`, in their text form; one try.
    ///
    /// # Errors
    ///
    /// When it did not answer.
    pub async fn metrics(&self, endpoint: &str) -> Result<String, ClientError> {
        let answer = self.ask_once(endpoint, "/metrics").await?;
        Ok(String::from_utf8_lossy(&answer.body).into_owned())
    }

    /// Makes a node known to the cluster.
    ///
    /// # Errors
    ///
    /// As [`Client::put`].
    pub async fn join(&self, request: &JoinRequest) -> Result<ChangeReply, ClientError> {
        self.change(NODES_PATH, request).await
    }

    /// Lets one node take over the replicas of another.
    ///
    /// # Errors
    ///
    /// As [`Client::put`].
    pub async fn replace(&self, request: &ReplaceRequest) -> Result<ChangeReply, ClientError> {
        self.change(REPLACE_PATH, request).await
    }

    async fn change<T: serde::Serialize + Sync>(
        &self,
        path: &str,
        request: &T,
    ) -> Result<ChangeReply, ClientError> {
        let body = serde_json::to_vec(request).expect("requests of the wire are plain JSON");
        let call = Call::new(Method::POST, path.to_owned()).body(body.into()).json();
        self.call(call).await?.json()
    }
}

fn key_path(ns: &str, key: &[u8]) -> String {
    format!("/v1/ns/{}/keys/{}", utf8_percent_encode(ns, SEGMENT), encode(key))
}

/// A key as one path segment.
fn encode(key: &[u8]) -> String {
    percent_encoding::percent_encode(key, NON_ALPHANUMERIC).to_string()
}
