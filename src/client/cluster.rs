//! Calls about the cluster itself: its state, its members, the way to a key, the server's bounds.
//!
//! Relies on: `send` for what is repeated.
//!
//! ```no_run
//! # async fn tour(client: tetrarch::client::Client) -> Result<(), tetrarch::client::ClientError> {
//! let view = client.cluster().await?;
//! let route = client.route("default", b"users/ada").await?;
//! assert!(view.groups.iter().any(|group| group.id == route.group));
//! for (name, limit) in client.limits().await?.limits {
//!     println!("{name}: {} {}", limit.value, limit.unit);
//! }
//! # Ok(()) }
//! ```

use reqwest::Method;

use super::call::{Call, Idempotency, Repeat};
use super::coded::{encode, segment};
use super::{Client, ClientError};
use crate::wire::{
    CLUSTER_PATH, ChangeReply, ClusterView, JoinRequest, LAB_PATH, LIMITS_PATH, LabOrder,
    LimitsView, NODES_PATH, REPLACE_PATH, ROUTE_PATH, ReplaceRequest, RouteView,
};

impl Client {
    /// The cluster as some node sees it.
    ///
    /// # Errors
    ///
    /// When no endpoint answered.
    pub async fn cluster(&self) -> Result<ClusterView, ClientError> {
        self.call(Call::read(CLUSTER_PATH.to_owned())).await?.json()
    }

    /// Where a key lives.
    ///
    /// # Errors
    ///
    /// When no endpoint answered.
    pub async fn route(&self, ns: &str, key: &[u8]) -> Result<RouteView, ClientError> {
        let (ns, key) = (segment(ns), encode(key));
        let path = format!("{ROUTE_PATH}?ns={ns}&key={key}");
        self.call(Call::read(path)).await?.json()
    }

    /// The bounds that the server keeps.
    ///
    /// # Errors
    ///
    /// When no endpoint answered.
    pub async fn limits(&self) -> Result<LimitsView, ClientError> {
        self.call(Call::read(LIMITS_PATH.to_owned())).await?.json()
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

    /// Tells a node that was started for a laboratory how long its lines are, which are cut, and how
    /// wrong its clock is.
    ///
    /// # Errors
    ///
    /// When it did not answer, or was not so started.
    pub async fn order_lab(&self, order: &LabOrder) -> Result<(), ClientError> {
        // Said twice it is the same.
        let call = Call::new(Method::PUT, LAB_PATH.to_owned(), Repeat::Free).json(order);
        self.call(call).await.map(drop)
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
        let repeat = Idempotency::Generated.repeat(&self.inner.env);
        let call = Call::new(Method::POST, path.to_owned(), repeat).json(request);
        self.call(call).await?.json()
    }
}
