//! Eventual namespaces: what was lost, what became of a write, whether the nodes agree.
//!
//! Keys are read and written as everywhere ([`Client::get`], [`Client::put`], [`Client::patch`]); what
//! was read under several writers comes with the context to replace it by.
//!
//! Promises: whatever is told is as far as the answering node has heard. Does not promise that a write is
//! made once: an `Idempotency-Key` counts only at the node that did it, so a call that is repeated at
//! another endpoint may count twice (`add`), or leave a value beside its own copy (mv).
//!
//! ```no_run
//! use tetrarch::client::{Client, Patch, ReadMode, WriteOptions};
//!
//! # async fn tour(client: Client) -> Result<(), tetrarch::client::ClientError> {
//! client.patch("visits", b"home", &Patch::Add(1.into())).await?;
//! let edit = Patch::SetEdit { add: vec!["ada".into()], remove: vec!["bob".into()] };
//! client.patch("members", b"club", &edit).await?;
//! // Of a mv namespace: read all values, write the one that replaces them.
//! if let Some(got) = client.get("notes", b"n", ReadMode::Stale).await? {
//!     println!("{} values", got.siblings.map_or(1, |all| all.len()));
//!     let merges = WriteOptions { context: got.context, ..WriteOptions::default() };
//!     client.put_with("notes", b"n", "merged".into(), &merges).await?;
//! }
//! for lost in client.conflicts("notes", b"", None, None).await?.conflicts {
//!     println!("{} was lost to {}", lost.receipt, lost.by);
//! }
//! # Ok(()) }
//! ```

use reqwest::Method;

use super::call::{Call, Idempotency, Repeat};
use super::coded::{Query, segment};
use super::{Client, ClientError};
use crate::wire::{ConflictPage, Convergence, LossTotals, PassView, ReceiptView, Restored};

impl Client {
    /// What became of a write.
    ///
    /// # Errors
    ///
    /// When no endpoint answered within the timeout, or the request was refused.
    pub async fn receipt(
        &self,
        ns: &str,
        key: &[u8],
        receipt: &str,
    ) -> Result<ReceiptView, ClientError> {
        let mut query = Query::after(path(ns, &format!("receipts/{}", segment(receipt))));
        query.add_bytes("key", key);
        self.call(Call::read(query.path())).await?.json()
    }

    /// A page of the writes that were lost for good, the oldest first, of keys that begin so.
    ///
    /// # Errors
    ///
    /// As [`Client::receipt`].
    pub async fn conflicts(
        &self,
        ns: &str,
        prefix: &[u8],
        limit: Option<u64>,
        cursor: Option<&str>,
    ) -> Result<ConflictPage, ClientError> {
        let mut query = Query::after(path(ns, "conflicts"));
        query.add_bytes("prefix", prefix);
        if let Some(limit) = limit {
            query.add("limit", limit.to_string());
        }
        if let Some(cursor) = cursor {
            query.add("cursor", cursor);
        }
        self.call(Call::read(query.path())).await?.json()
    }

    /// How much was lost, of keys that begin so.
    ///
    /// # Errors
    ///
    /// As [`Client::receipt`].
    pub async fn conflict_totals(
        &self,
        ns: &str,
        prefix: &[u8],
    ) -> Result<LossTotals, ClientError> {
        let mut query = Query::after(path(ns, "conflicts/totals"));
        query.add_bytes("prefix", prefix);
        self.call(Call::read(query.path())).await?.json()
    }

    /// Writes a lost value once more.
    ///
    /// # Errors
    ///
    /// As [`Client::put`]; 409 `nothing_to_restore` when there is no such loss.
    pub async fn restore(
        &self,
        ns: &str,
        key: &[u8],
        receipt: &str,
    ) -> Result<Restored, ClientError> {
        let mut query = Query::after(path(ns, &format!("conflicts/{}/restore", segment(receipt))));
        query.add_bytes("key", key);
        // Restored twice it would stand twice: the server does not know such a request again.
        let repeat = Idempotency::Off.repeat(&self.inner.env);
        self.call(Call::new(Method::POST, query.path(), repeat)).await?.json()
    }

    /// Whether the nodes have the same.
    ///
    /// # Errors
    ///
    /// As [`Client::receipt`].
    pub async fn convergence(&self, ns: &str) -> Result<Convergence, ClientError> {
        self.call(Call::read(path(ns, "convergence"))).await?.json()
    }

    /// Asks for one pass over the link of mode `manual` from a node. The link must lead to the node
    /// that is asked: a client of one endpoint is meant.
    ///
    /// # Errors
    ///
    /// As [`Client::receipt`]; when there is no such link, or it carries by itself.
    pub async fn ask_pass(&self, ns: &str, from: u64) -> Result<PassView, ClientError> {
        let mut query = Query::after(path(ns, "convergence/pass"));
        query.add("from", from.to_string());
        // Asked twice it is the same pass, or one more that finds nothing new.
        self.call(Call::new(Method::POST, query.path(), Repeat::Free)).await?.json()
    }
}

fn path(ns: &str, rest: &str) -> String {
    format!("/v1/ns/{}/{rest}", segment(ns))
}
