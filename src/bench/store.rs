//! Our own store as a [`Target`]: one namespace in one mode, through the typed client.
//!
//! Promises: each site's client asks its own node alone (a client that knows the leaders would pass
//! by the distance between sites); conditions are entity tags where there is one order, and contexts
//! where there is none. Writes carry an idempotency key, as those of every user of the client do.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::{Value, json};

use super::mode::Mode;
use super::target::{Acked, Agreement, Change, Failed, Fate, Metered, Over, Seen, Shown, Target};
use crate::client::{
    Client, ClientError, Got, Options, Patch, ReadMode, WriteOptions, Wrote, from_text,
};
use crate::runtime::Env;
use crate::runtime::limits::BENCH_OP_MAX;
use crate::wire::Outcome;

/// A namespace of a cluster.
#[derive(Clone, Debug)]
pub struct Store {
    clients: Arc<[Client]>,
    namespace: String,
    mode: Mode,
}

/// A client for each node, which asks that node alone.
///
/// # Errors
///
/// When an endpoint is none.
pub fn clients(endpoints: &[String], env: &Env) -> Result<Arc<[Client]>, ClientError> {
    let pinned = |endpoint: &String| {
        let endpoints = vec![endpoint.clone()];
        Client::new(Options { endpoints, timeout: BENCH_OP_MAX, pinned: true }, env)
    };
    endpoints.iter().map(pinned).collect()
}

impl Store {
    /// A namespace, which must be there.
    pub fn new(clients: Arc<[Client]>, namespace: &str, mode: Mode) -> Self {
        Self { clients, namespace: namespace.to_owned(), mode }
    }

    fn client(&self, site: u64) -> &Client {
        let at = usize::try_from(site.saturating_sub(1)).unwrap_or(usize::MAX);
        self.clients.get(at).expect("a site has the number of one of the nodes")
    }

    fn read_mode(&self) -> ReadMode {
        match self.mode {
            Mode::Linearizable => ReadMode::Linearizable,
            Mode::LinearizableSession => ReadMode::Session,
            // There is no other one.
            _ => ReadMode::Stale,
        }
    }

    async fn get(&self, site: u64, key: &str, mode: ReadMode) -> Result<Seen, Failed> {
        let got = self.client(site).get(&self.namespace, key.as_bytes(), mode).await;
        let got = got.map_err(|error| Failed::NotApplied(error.to_string()))?;
        Ok(got.map(|got| self.seen(got)).unwrap_or_default())
    }

    fn seen(&self, got: Got) -> Seen {
        let token = if self.mode.is_strong() { got.etag } else { got.context };
        let values = match got.siblings {
            Some(siblings) => siblings
                .into_iter()
                .map(|one| {
                    let value = from_text(one.value.as_deref(), one.value64.as_deref());
                    Shown { value: value.unwrap_or_default(), name: Some(one.receipt) }
                })
                .collect(),
            None => vec![Shown { value: got.value, name: got.receipt }],
        };
        Seen { values, token }
    }

    fn options(&self, over: Over<'_>) -> WriteOptions {
        let mut options = WriteOptions { ack: self.mode.ack(), ..WriteOptions::default() };
        match over {
            Over::Anything => {}
            Over::Seen(seen) if !self.mode.is_strong() => options.context.clone_from(&seen.token),
            Over::Seen(seen) if seen.values.is_empty() => {
                options.if_none_match = Some("*".to_owned());
            }
            Over::Seen(seen) => options.if_match.clone_from(&seen.token),
        }
        options
    }
}

fn acked(wrote: Wrote) -> Acked {
    Acked { name: wrote.receipt, order: wrote.revision, proof: wrote.session }
}

fn failed(error: &ClientError) -> Failed {
    match error.outcome() {
        _ if error.is_unmet() => Failed::Unmet,
        Outcome::NotApplied => Failed::NotApplied(error.to_string()),
        // Kept here, but not on as many disks as was asked for: no acknowledgement.
        Outcome::Applied | Outcome::Unknown => Failed::Unknown(error.to_string()),
    }
}

#[async_trait]
impl Target for Store {
    fn sites(&self) -> u64 {
        u64::try_from(self.clients.len()).unwrap_or(u64::MAX)
    }

    async fn read(&self, site: u64, key: &str) -> Result<Seen, Failed> {
        self.get(site, key, self.read_mode()).await
    }

    async fn write(
        &self,
        site: u64,
        key: &str,
        value: Bytes,
        over: Over<'_>,
    ) -> Result<Acked, Failed> {
        let options = self.options(over);
        let put = self.client(site).put_with(&self.namespace, key.as_bytes(), value, &options);
        put.await.map(acked).map_err(|error| failed(&error))
    }

    async fn change(&self, site: u64, key: &str, change: &Change) -> Result<Acked, Failed> {
        let patch = match change {
            Change::Add(amount) => Patch::Add(Value::from(*amount)),
            Change::Edit { add, remove } => {
                Patch::SetEdit { add: add.clone(), remove: remove.clone() }
            }
            Change::Field { name, value } => Patch::Merge(json!({ name.as_str(): value })),
        };
        let options = self.options(Over::Anything);
        let call = self.client(site).patch_with(&self.namespace, key.as_bytes(), &patch, &options);
        call.await.map(acked).map_err(|error| failed(&error))
    }

    async fn shows(
        &self,
        site: u64,
        key: &str,
        write: &Acked,
        patience: Duration,
    ) -> Result<bool, Failed> {
        let Some(proof) = &write.proof else { return Ok(false) };
        let key = key.as_bytes();
        let got = self.client(site).get_after(&self.namespace, key, proof, patience).await;
        // Refused because the node had not heard of it in time, or nobody answered: not shown.
        Ok(got.is_ok_and(|got| got.is_some()))
    }

    async fn read_back(&self, site: u64, key: &str) -> Result<Seen, Failed> {
        let mode = if self.mode.is_strong() { ReadMode::Linearizable } else { ReadMode::Stale };
        self.get(site, key, mode).await
    }

    async fn fate(&self, key: &str, name: &str) -> Result<Option<Fate>, Failed> {
        if self.mode.is_strong() {
            return Ok(None);
        }
        let view = self.client(1).receipt(&self.namespace, key.as_bytes(), name).await;
        let view = view.map_err(|error| Failed::NotApplied(error.to_string()))?;
        Ok(Some(match view.fate.as_str() {
            "current" => Fate::Current,
            "superseded" => Fate::Superseded,
            "merged" => Fate::Merged,
            "lost" => Fate::Lost,
            _ => Fate::Unknown,
        }))
    }

    async fn metered(&self) -> Result<Option<Metered>, Failed> {
        if self.mode.is_strong() {
            return Ok(None);
        }
        let totals = self.client(1).conflict_totals(&self.namespace, b"").await;
        let totals = totals.map_err(|error| Failed::NotApplied(error.to_string()))?;
        let direct = totals.lost + totals.pending;
        Ok(Some(Metered { direct, effective: totals.effective }))
    }

    async fn agreement(&self) -> Agreement {
        if self.mode.is_strong() {
            return Agreement::Reached;
        }
        match self.client(1).convergence(&self.namespace).await {
            Ok(told) if told.state == "diverged" => Agreement::Broken,
            Ok(told) => {
                let all = told.members.iter().all(|member| member.reachable);
                if told.state == "converged" && all {
                    Agreement::Reached
                } else {
                    Agreement::NotYet
                }
            }
            Err(_) => Agreement::NotYet,
        }
    }
}
