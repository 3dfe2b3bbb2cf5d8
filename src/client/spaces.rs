//! Namespaces: made, listed, changed, removed.
//!
//! Promises: making the same one again is no error, another one by the same name is.
//!
//! ```no_run
//! use tetrarch::client::Client;
//! use tetrarch::wire::NamespaceCreate;
//!
//! # async fn tour(client: Client) -> Result<(), tetrarch::client::ClientError> {
//! let wanted = NamespaceCreate { name: "carts".into(), ..NamespaceCreate::default() };
//! let space = client.create_namespace(&wanted).await?;
//! println!("{} holds {} keys", space.name, space.keys.unwrap_or_default());
//! client.delete_namespace("carts").await?;
//! # Ok(()) }
//! ```

use reqwest::Method;

use super::call::{Call, Idempotency};
use super::coded::segment;
use super::{Client, ClientError};
use crate::wire::{
    NAMESPACES_PATH, NamespaceChange, NamespaceCreate, NamespaceView, NamespacesView,
};

impl Client {
    /// All namespaces, by name.
    ///
    /// # Errors
    ///
    /// When no endpoint answered.
    pub async fn namespaces(&self) -> Result<Vec<NamespaceView>, ClientError> {
        let answer = self.call(Call::read(NAMESPACES_PATH.to_owned())).await?;
        Ok(answer.json::<NamespacesView>()?.namespaces)
    }

    /// One namespace.
    ///
    /// # Errors
    ///
    /// 404 `namespace_not_found` when there is none.
    pub async fn namespace(&self, name: &str) -> Result<NamespaceView, ClientError> {
        self.call(Call::read(path(name))).await?.json()
    }

    /// Makes a namespace.
    ///
    /// # Errors
    ///
    /// 409 `namespace_exists` when there is one by this name with other settings.
    pub async fn create_namespace(
        &self,
        wanted: &NamespaceCreate,
    ) -> Result<NamespaceView, ClientError> {
        let call = self.space_call(Method::POST, NAMESPACES_PATH.to_owned());
        self.call(call.json(wanted)).await?.json()
    }

    /// Changes a namespace's settings.
    ///
    /// # Errors
    ///
    /// As [`Client::put`].
    pub async fn change_namespace(
        &self,
        name: &str,
        change: &NamespaceChange,
    ) -> Result<NamespaceView, ClientError> {
        let mut call = self.space_call(Method::PATCH, path(name)).json(change);
        call.needs_body = true;
        self.call(call).await?.json()
    }

    /// Removes a namespace with all its keys. When this returns nobody sees it any more; its rows
    /// are cleared away after that.
    ///
    /// # Errors
    ///
    /// As [`Client::put`].
    pub async fn delete_namespace(&self, name: &str) -> Result<(), ClientError> {
        self.call(self.space_call(Method::DELETE, path(name))).await.map(drop)
    }

    fn space_call(&self, method: Method, path: String) -> Call<'static> {
        Call::new(method, path, Idempotency::Generated.repeat(&self.inner.env))
    }
}

fn path(name: &str) -> String {
    format!("{NAMESPACES_PATH}/{}", segment(name))
}
