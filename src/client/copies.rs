//! Copies of eventual namespaces: read from one cluster, taken in by another.
//!
//! Promises: nothing is held but what is under way; what stands still for too long has failed. A copy
//! may be taken in as often as one likes, so whoever sees an error starts over.
//!
//! ```no_run
//! use tetrarch::client::{Client, ClientError};
//!
//! /// Brings `to` what `from` has and it lacks.
//! # async fn tour(from: Client, to: Client) -> Result<(), ClientError> {
//! let since = to.vector("carts").await?.vector;
//! let copy = from.export_copy("carts", Some(&since)).await?;
//! let came = to.import_copy("carts", copy.into_stream()).await?;
//! println!("{} writes were news", came.applied);
//! # Ok(()) }
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use reqwest::Method;

use super::call::{Call, Repeat};
use super::coded::{Query, segment};
use super::error::reason;
use super::send::{Answer, broken, silent};
use super::{Client, ClientError};
use crate::model::eventual::Vector;
use crate::runtime::limits;
use crate::wire::{COPY_TYPE, ImportView, VectorView};

/// A copy as it comes. It is whole if its end is there, which its taker sees.
#[derive(Debug)]
pub struct Copy {
    response: reqwest::Response,
    endpoint: String,
}

impl Copy {
    /// The next bytes; `None` when the answer is over.
    ///
    /// # Errors
    ///
    /// When the connection broke, or nothing came for too long.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        let next = tokio::time::timeout(limits::CLIENT_COPY_SILENCE_MAX, self.response.chunk());
        let next = next.await.map_err(|_elapsed| silent(&self.endpoint))?;
        next.map_err(|error| broken(&self.endpoint, &error))
    }

    /// The same as a stream.
    pub fn into_stream(
        mut self,
    ) -> impl Stream<Item = Result<Bytes, ClientError>> + Send + 'static {
        async_stream::try_stream! {
            while let Some(bytes) = self.next().await? {
                yield bytes;
            }
        }
    }
}

/// Whether who has this vector lacks something of another one; `None` if they are no vectors.
pub fn lacks(has: &str, other: &str) -> Option<bool> {
    let (has, other) = (has.parse::<Vector>().ok()?, other.parse::<Vector>().ok()?);
    Some(!has.includes(&other))
}

impl Client {
    /// What a node has heard of.
    ///
    /// # Errors
    ///
    /// When no endpoint answered within the timeout, or the request was refused.
    pub async fn vector(&self, ns: &str) -> Result<VectorView, ClientError> {
        self.call(Call::read(format!("/v1/ns/{}/vector", segment(ns)))).await?.json()
    }

    /// A copy of what a node has, without what a vector covers.
    ///
    /// # Errors
    ///
    /// As [`Client::vector`].
    pub async fn export_copy(&self, ns: &str, since: Option<&str>) -> Result<Copy, ClientError> {
        let mut query = Query::after(format!("/v1/ns/{}/export", segment(ns)));
        if let Some(since) = since {
            query.add("since", since);
        }
        let call = Call::new(Method::POST, query.path(), Repeat::Free).stream();
        let Answer { stream, endpoint, status, .. } = self.call(call).await?;
        let Some(response) = stream else { return Err(ClientError::Strange { endpoint, status }) };
        Ok(Copy { response, endpoint })
    }

    /// Has a node take a copy in; one try at one endpoint.
    ///
    /// # Errors
    ///
    /// When it was refused, or its stream failed, or nothing moved for too long. What was taken stays.
    pub async fn import_copy<E>(
        &self,
        ns: &str,
        copy: impl Stream<Item = Result<Bytes, E>> + Send + 'static,
    ) -> Result<ImportView, ClientError>
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>> + 'static,
    {
        let inner = &self.inner;
        let endpoint = inner.routes.next_but(inner.env.clock.now(), None);
        let moved = Arc::new(AtomicU64::new(0));
        let moving = Arc::clone(&moved);
        let counted = copy.inspect(move |_| {
            moving.fetch_add(1, Ordering::Relaxed);
        });
        let url = format!("{endpoint}/v1/ns/{}/import", segment(ns));
        let request = inner.http.post(url).header("content-type", COPY_TYPE);
        let sent = request.body(reqwest::Body::wrap_stream(counted)).send();
        let still = async {
            let mut before = None;
            loop {
                let now = moved.load(Ordering::Relaxed);
                if before == Some(now) {
                    return;
                }
                before = Some(now);
                tokio::time::sleep(limits::CLIENT_COPY_SILENCE_MAX).await;
            }
        };
        let response = tokio::select! {
            sent = sent => sent,
            () = still => return Err(silent(&endpoint)),
        };
        let response = response.map_err(|error| {
            inner.routes.rest(&endpoint, inner.env.clock.now());
            if error.is_connect() {
                ClientError::refused(&endpoint, &error)
            } else {
                ClientError::NoAnswer { endpoint: endpoint.clone(), reason: reason(&error) }
            }
        })?;
        let answer = Answer::read(response, &endpoint).await?;
        if answer.status < 400 { answer.json() } else { Err(ClientError::of(&answer, false)) }
    }
}
