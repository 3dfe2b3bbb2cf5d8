//! The typed client of the HTTP API, as our own command line, tests and load tool use it.
//!
//! Why it exists: what is safe to repeat is decided once, here. A request ends in one of three
//! outcomes; what has no second effect is repeated, at other endpoints too, until the time is up. A
//! write carries a random `Idempotency-Key` unless told otherwise, by which the server recognises a
//! repetition: so it may be repeated even after its answer was lost, and is `unknown` only when the
//! time is up.
//!
//! Promises: a call ends within its timeout; endpoints that cannot be reached rest for a moment, and
//! one that says `Retry-After` is not asked before; requests go straight to the group's leader once
//! the routes are known, to any endpoint before.
//! Relies on: [`crate::wire`] for words, `placement::slots` for the slot of a key, reqwest.
//!
//! # A small guide
//!
//! ```no_run
//! use std::time::Duration;
//! use tetrarch::client::{Client, Options, ReadMode, WriteOptions};
//! use tetrarch::runtime::Env;
//!
//! # async fn tour() -> Result<(), tetrarch::client::ClientError> {
//! let options = Options {
//!     endpoints: vec!["http://127.0.0.1:7101".into(), "http://127.0.0.1:7102".into()],
//!     timeout: Duration::from_secs(5),
//!     pinned: false,
//! };
//! let client = Client::new(options, &Env::system())?;
//! let wrote = client.put("default", b"users/ada", "v1".into()).await?;
//! let got = client.get("default", b"users/ada", ReadMode::Linearizable).await?;
//! assert_eq!(got.and_then(|got| got.etag), wrote.etag);
//! // Only if nobody wrote it meanwhile:
//! let unchanged = WriteOptions { if_match: wrote.etag, ..WriteOptions::default() };
//! match client.put_with("default", b"users/ada", "v2".into(), &unchanged).await {
//!     Err(error) if error.is_unmet() => { /* read it again */ }
//!     other => drop(other?),
//! }
//! # Ok(()) }
//! ```
//!
//! | to | see |
//! |---|---|
//! | read, write, patch one key | [`Client::get`], [`Client::put_with`], [`Client::patch`] |
//! | list and count keys | [`Client::scan`], [`Client::count`] |
//! | change several keys at once, or none | [`Txn`], [`Client::txn`] |
//! | write many keys fast | [`Client::batch`] |
//! | follow changes | [`Client::watch`] |
//! | let keys end with a process | [`Client::grant_lease`], [`LeaseKeeper`] |
//! | let one process at a time work | [`Client::lock`], [`LockGuard`] |
//! | record what others ask | [`Client::trace`] |
//! | make and remove namespaces | [`Client::create_namespace`] |
//!
//! Every error says what became of the request: [`ClientError::outcome`].

mod batch;
mod call;
mod cluster;
mod coded;
mod copies;
mod error;
mod eventual;
mod keys;
mod leaders;
mod leases;
mod lines;
mod locks;
mod routes;
mod row;
mod scan;
mod send;
mod session;
mod spaces;
mod switching;
#[cfg(test)]
mod tests;
mod trace;
mod txn;
mod watch;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

pub use batch::{BatchOp, BatchResult};
pub use call::Idempotency;
pub use coded::{from_base64, from_text, to_base64, to_text};
pub use copies::{Copy, lacks};
pub use error::ClientError;
pub use keys::{Fetched, Got, Patch, ReadMode, WriteOptions, Wrote};
pub use leaders::Leaders;
pub use leases::{LeaseKeeper, LeaseState};
pub use locks::{LockGuard, LockOptions};
use routes::Routes;
pub use row::{Item, Row};
pub use scan::{Page, ScanRequest};
pub use send::Answer;
use session::Session;
pub use trace::TraceRequest;
pub use txn::{Txn, ops};
pub use watch::{Change, ChangeKind, Event, Since, WatchRequest};

use crate::runtime::{Env, limits};

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

/// A handle to a cluster; clones share connections, the session, and what was learnt.
#[derive(Clone, Debug)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    http: reqwest::Client,
    options: Options,
    routes: Routes,
    session: Session,
    env: Env,
}

impl Client {
    /// A client of the cluster that the endpoints belong to. Connects when first asked.
    ///
    /// # Errors
    ///
    /// When an endpoint is not an `http://` URL, or there is none.
    pub fn new(options: Options, env: &Env) -> Result<Self, ClientError> {
        Self::bound_to(None, options, env)
    }

    /// The same, whose connections come from this address of the machine; `None` leaves it to the
    /// system.
    ///
    /// # Errors
    ///
    /// As for [`Client::new`].
    pub fn bound_to(
        source: Option<IpAddr>,
        mut options: Options,
        env: &Env,
    ) -> Result<Self, ClientError> {
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
            .local_address(source)
            .build()
            .map_err(|error| ClientError::refused("start", &error))?;
        let routes = Routes::new(options.endpoints.clone());
        let (session, env) = (Session::default(), env.clone());
        Ok(Self { inner: Arc::new(Inner { http, options, routes, session, env }) })
    }

    /// The endpoints as given.
    pub fn endpoints(&self) -> &[String] {
        &self.inner.options.endpoints
    }

    /// What this client has seen, to hand on to another one ([`Client::adopt_session`]): a read there
    /// with [`ReadMode::Session`] is then not older than what was read and written here.
    pub fn session(&self) -> Option<String> {
        self.inner.session.get()
    }

    /// Takes over what another client has seen.
    pub fn adopt_session(&self, session: &str) {
        self.inner.session.take(session);
    }
}
