//! The table of all routes: the router, the labels of metrics and the tests of the description are
//! made from it, and from nothing else.
//!
//! Promises: a route that is not in the table does not exist.

use axum::routing::MethodRouter;

use crate::wire::{
    CLUSTER_PATH, DIGEST_PATH, LEASES_PATH, LIMITS_PATH, NAMESPACES_PATH, NODES_PATH, OPENAPI_PATH,
    REPLACE_PATH, ROUTE_PATH,
};

use super::eventual::{convergence, copies, losses};
use super::places::Bound;
use super::{
    Front, admin, batch, bounds, change, doc, keys, leases, locks, probes, scan, spaces, switching,
    trace, txn, watch,
};

/// The route of a key that stands in the path.
pub(super) const KEY_ROUTE: &str = "/v1/ns/{ns}/keys/{*key}";

/// One path and what answers there.
pub(super) struct Entry {
    /// The pattern, which is also its name in metrics.
    pub(super) path: &'static str,
    #[allow(dead_code, reason = "the tests hold the description against it")]
    /// Its methods, in small letters.
    pub(super) methods: &'static [&'static str],
    /// What its requests count against.
    pub(super) bound: Bound,
    /// What answers.
    pub(super) open: fn() -> MethodRouter<Front>,
}

impl Entry {
    /// The pattern for an empty rest, which `{*rest}` does not take: such requests are refused by
    /// the same handlers, with a reason.
    pub(super) fn without_rest(&self) -> Option<&'static str> {
        self.path.split_once("{*").map(|(before, _)| before)
    }
}

/// The entry of a pattern that axum has matched.
pub(super) fn entry(pattern: &str) -> Option<&'static Entry> {
    TABLE.iter().find(|entry| entry.path == pattern || entry.without_rest() == Some(pattern))
}

macro_rules! table {
    ($($path:expr, $bound:ident: $($method:ident $handler:path),+;)+) => {
        /// All routes.
        pub(super) const TABLE: &[Entry] = &[$(Entry {
            path: $path,
            methods: &[$(stringify!($method)),+],
            bound: Bound::$bound,
            open: || MethodRouter::new()$(.$method($handler))+,
        }),+];
    };
}

table! {
    KEY_ROUTE, Request:
        get keys::get, head keys::head, put change::put, delete change::delete, patch change::patch;
    "/v1/ns/{ns}/keys", Request: get scan::list, delete scan::delete_prefix;
    "/v1/ns/{ns}/watch", Own: get watch::watch;
    "/v1/ns/{ns}/trace", Own: get trace::trace;
    "/v1/ns/{ns}/key", Request:
        get keys::get, head keys::head, put change::put, delete change::delete, patch change::patch;
    "/v1/ns/{ns}/receipts/{receipt}", Request: get losses::receipt;
    "/v1/ns/{ns}/conflicts", Own: get losses::conflicts;
    "/v1/ns/{ns}/conflicts/totals", Request: get losses::totals;
    "/v1/ns/{ns}/conflicts/{receipt}/restore", Request: post losses::restore;
    "/v1/ns/{ns}/convergence", Request: get convergence::convergence;
    "/v1/ns/{ns}/convergence/pass", Request: post convergence::pass;
    "/v1/ns/{ns}/vector", Request: get copies::vector;
    "/v1/ns/{ns}/export", Own: post copies::export;
    "/v1/ns/{ns}/import", Own: post copies::import;
    "/v1/ns/{ns}/txn", Request: post txn::txn;
    "/v1/ns/{ns}/batch", Own: post batch::batch;
    "/v1/ns/{ns}/locks/{*name}", Request:
        get locks::look, post locks::acquire, delete locks::release;
    NAMESPACES_PATH, Request: get spaces::list, post spaces::create;
    "/v1/namespaces/{ns}", Request:
        get spaces::describe, patch spaces::change, delete spaces::delete;
    "/v1/namespaces/{ns}/switch", Request:
        get switching::look, post switching::begin, delete switching::cancel;
    "/v1/namespaces/{ns}/switch/check", Request: post switching::check;
    LEASES_PATH, Request: post leases::grant;
    "/v1/leases/{id}", Request: get leases::look, delete leases::end;
    "/v1/leases/{id}/renew", Request: post leases::renew;
    LIMITS_PATH, Request: get bounds::limits;
    OPENAPI_PATH, Request: get doc::openapi;
    CLUSTER_PATH, Request: get admin::cluster;
    DIGEST_PATH, Request: get admin::digest;
    NODES_PATH, Request: post admin::join;
    REPLACE_PATH, Request: post admin::replace;
    ROUTE_PATH, Request: get admin::route;
    "/livez", Probe: get probes::livez;
    "/readyz", Probe: get probes::readyz;
    "/metrics", Probe: get probes::metrics;
}
