//! Switching namespaces to the other side: what stands in the way, the job, its end.
//!
//! ```no_run
//! use std::time::Duration;
//! use tetrarch::client::Client;
//! use tetrarch::wire::SwitchRequest;
//!
//! # async fn tour(client: Client) -> Result<(), tetrarch::client::ClientError> {
//! let wanted = SwitchRequest { to: "linearizable".into(), ..SwitchRequest::default() };
//! for obstacle in client.check_switch("carts", &wanted).await?.named {
//!     println!("{:?}: {}", obstacle.key, obstacle.why);
//! }
//! client.begin_switch("carts", &wanted).await?;
//! while client.switch("carts").await?.phase != "done" {
//!     tokio::time::sleep(Duration::from_secs(1)).await;
//! }
//! # Ok(()) }
//! ```

use reqwest::Method;

use super::call::{Call, Idempotency};
use super::coded::segment;
use super::{Client, ClientError};
use crate::wire::{NAMESPACES_PATH, SwitchRequest, SwitchSurvey, SwitchView};

impl Client {
    /// What stands in the way of a switch; nothing is changed.
    ///
    /// # Errors
    ///
    /// 404 `namespace_not_found` when there is no such namespace.
    pub async fn check_switch(
        &self,
        name: &str,
        wanted: &SwitchRequest,
    ) -> Result<SwitchSurvey, ClientError> {
        self.switch_call(Method::POST, name, "/check", Some(wanted)).await?.json()
    }

    /// Begins to switch a namespace to the other side. The same again is harmless.
    ///
    /// # Errors
    ///
    /// 409 `switch_blocked` when keys stand in the way.
    pub async fn begin_switch(
        &self,
        name: &str,
        wanted: &SwitchRequest,
    ) -> Result<SwitchView, ClientError> {
        self.switch_call(Method::POST, name, "", Some(wanted)).await?.json()
    }

    /// How far a switch is, or how the newest one ended.
    ///
    /// # Errors
    ///
    /// 404 `no_switch` when there never was one.
    pub async fn switch(&self, name: &str) -> Result<SwitchView, ClientError> {
        self.call(Call::read(path(name, ""))).await?.json()
    }

    /// Gives up a switch that is not done yet.
    ///
    /// # Errors
    ///
    /// 404 `no_switch` when none is under way.
    pub async fn cancel_switch(&self, name: &str) -> Result<SwitchView, ClientError> {
        self.switch_call(Method::DELETE, name, "", None).await?.json()
    }

    async fn switch_call(
        &self,
        method: Method,
        name: &str,
        rest: &str,
        wanted: Option<&SwitchRequest>,
    ) -> Result<super::send::Answer, ClientError> {
        let repeat = Idempotency::Generated.repeat(&self.inner.env);
        let mut call = Call::new(method, path(name, rest), repeat);
        if let Some(wanted) = wanted {
            call = call.json(wanted);
        }
        self.call(call).await
    }
}

fn path(name: &str, rest: &str) -> String {
    format!("{NAMESPACES_PATH}/{}/switch{rest}", segment(name))
}
