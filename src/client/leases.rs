//! Leases: keys and locks that end when nobody renews.
//!
//! Promises: a [`LeaseKeeper`] renews at a third of the time to live, and says that the lease is lost
//! **before** anybody else may act on it: it counts from the moment at which the last successful
//! renewal was sent, and never from its answer. Renewals carry no idempotency key: renewing twice is
//! as good as once, and a repeated answer would be no renewal.
//!
//! ```no_run
//! use std::time::Duration;
//! use tetrarch::client::{Client, WriteOptions};
//!
//! # async fn tour(client: Client) -> Result<(), tetrarch::client::ClientError> {
//! let keeper = client.keep_lease(Duration::from_secs(10), None).await?;
//! let mine = WriteOptions { lease: Some(keeper.id().to_owned()), ..WriteOptions::default() };
//! client.put_with("default", b"workers/7", "here".into(), &mine).await?;
//! tokio::select! {
//!     lost = keeper.lost() => println!("stop working: {lost}"),
//!     _ = tokio::signal::ctrl_c() => keeper.revoke().await.map(drop)?,
//! }
//! # Ok(()) }
//! ```

use std::time::Duration;

use reqwest::Method;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::call::{Call, Idempotency, Repeat};
use super::coded::{duration_text, segment};
use super::{Client, ClientError};
use crate::runtime::Moment;
use crate::wire::{LEASES_PATH, LeaseEnded, LeaseGrant, LeaseNear, LeaseView};

/// What a keeper knows of its lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseState {
    /// It lives, at least until then.
    Live {
        /// By this process's clock.
        until: Moment,
    },
    /// It ended, or nobody can say that it did not.
    Lost {
        /// How that is known.
        reason: String,
    },
}

/// Renews a lease for as long as it is held; dropped, it lets the lease end by itself.
#[derive(Debug)]
pub struct LeaseKeeper {
    client: Client,
    id: String,
    ttl: Duration,
    state: watch::Receiver<LeaseState>,
    /// Ends the task.
    _stop: DropGuard,
}

impl Client {
    /// Makes a lease. `near` names a key that will end with it: the two then end in the same moment.
    ///
    /// # Errors
    ///
    /// As [`Client::put`].
    pub async fn grant_lease(
        &self,
        ttl: Duration,
        near: Option<(&str, &str)>,
    ) -> Result<LeaseView, ClientError> {
        let near = near.map(|(ns, key)| LeaseNear { ns: ns.to_owned(), key: key.to_owned() });
        let body = LeaseGrant { ttl: duration_text(ttl), near };
        let repeat = Idempotency::Generated.repeat(&self.inner.env);
        let call = Call::new(Method::POST, LEASES_PATH.to_owned(), repeat).json(&body);
        self.call(call).await?.json()
    }

    /// What is known of a lease.
    ///
    /// # Errors
    ///
    /// 404 `lease_not_found` when it ended.
    pub async fn lease(&self, id: &str) -> Result<LeaseView, ClientError> {
        self.call(Call::read(lease_path(id))).await?.json()
    }

    /// Lets a lease live for its whole time again.
    ///
    /// # Errors
    ///
    /// 404 `lease_not_found` when it ended.
    pub async fn renew_lease(&self, id: &str) -> Result<LeaseView, ClientError> {
        self.renew_within(id, self.inner.options.timeout).await
    }

    async fn renew_within(&self, id: &str, time: Duration) -> Result<LeaseView, ClientError> {
        let mut call = Call::new(Method::POST, format!("{}/renew", lease_path(id)), Repeat::Free);
        call.timeout = Some(time.min(self.inner.options.timeout));
        self.call(call).await?.json()
    }

    /// Ends a lease with all that it holds; tells how many keys of its home group ended with it.
    ///
    /// # Errors
    ///
    /// 404 `lease_not_found` when it had ended already.
    pub async fn revoke_lease(&self, id: &str) -> Result<u64, ClientError> {
        let repeat = Idempotency::Generated.repeat(&self.inner.env);
        let mut call = Call::new(Method::DELETE, lease_path(id), repeat);
        call.needs_body = true;
        Ok(self.call(call).await?.json::<LeaseEnded>()?.keys)
    }

    /// Makes a lease and keeps it.
    ///
    /// # Errors
    ///
    /// As [`Client::put`].
    pub async fn keep_lease(
        &self,
        ttl: Duration,
        near: Option<(&str, &str)>,
    ) -> Result<LeaseKeeper, ClientError> {
        let asked = self.inner.env.clock.now();
        let lease = self.grant_lease(ttl, near).await?;
        Ok(self.keeper(lease.id, Duration::from_millis(lease.ttl_ms), asked))
    }

    /// Keeps a lease that is there: renews it at once, to know how long it lives.
    ///
    /// # Errors
    ///
    /// 404 `lease_not_found` when it ended.
    pub async fn keep_lease_of(&self, id: &str) -> Result<LeaseKeeper, ClientError> {
        let asked = self.inner.env.clock.now();
        let lease = self.renew_lease(id).await?;
        Ok(self.keeper(lease.id, Duration::from_millis(lease.ttl_ms), asked))
    }

    fn keeper(&self, id: String, ttl: Duration, asked: Moment) -> LeaseKeeper {
        let stop = CancellationToken::new();
        let (sender, state) = watch::channel(LeaseState::Live { until: asked + ttl });
        let (client, lease, stopped) = (self.clone(), id.clone(), stop.clone());
        self.inner.env.tasks.spawn("lease-keeper", async move {
            tokio::select! {
                () = stopped.cancelled() => {}
                () = keep(&client, &lease, ttl, &sender) => {}
            }
        });
        LeaseKeeper { client: self.clone(), id, ttl, state, _stop: stop.drop_guard() }
    }
}

/// Renews until the lease is lost.
async fn keep(client: &Client, id: &str, ttl: Duration, state: &watch::Sender<LeaseState>) {
    let clock = &client.inner.env.clock;
    let lose = |reason: &str| {
        state.send_replace(LeaseState::Lost { reason: reason.to_owned() });
    };
    let mut pause = ttl / 3;
    loop {
        let LeaseState::Live { until } = state.borrow().clone() else { return };
        let left = until.since(clock.now());
        tokio::time::sleep(pause.min(left)).await;
        let asked = clock.now();
        let left = until.since(asked);
        if left.is_zero() {
            return lose("it could not be renewed in time");
        }
        let renewed = tokio::time::timeout(left, client.renew_within(id, left)).await;
        pause = match renewed {
            Ok(Ok(_)) => {
                state.send_replace(LeaseState::Live { until: asked + ttl });
                ttl / 3
            }
            Ok(Err(error)) if error.is_missing_lease() => return lose("the server ended it"),
            // What refuses now may serve in a moment; the time left decides.
            Ok(Err(_)) | Err(_) => ttl / 20,
        };
    }
}

impl LeaseKeeper {
    /// The lease.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// How long it lives without being renewed.
    pub fn ttl(&self) -> Duration {
        self.ttl
    }

    /// Whether the lease surely lives at this moment.
    pub fn is_live(&self) -> bool {
        let now = self.client.inner.env.clock.now();
        matches!(&*self.state.borrow(), LeaseState::Live { until } if *until > now)
    }

    /// Waits until the lease is lost, and says how.
    pub async fn lost(&self) -> ClientError {
        let mut state = self.state.clone();
        let reason = match state.wait_for(|state| matches!(state, LeaseState::Lost { .. })).await {
            Ok(state) => match &*state {
                LeaseState::Lost { reason } => reason.clone(),
                LeaseState::Live { .. } => "it is not kept any more".to_owned(),
            },
            Err(_ended) => "this process is stopping".to_owned(),
        };
        ClientError::LeaseLost { id: self.id.clone(), reason }
    }

    /// The lease's states as they change, for a program that watches many.
    pub fn states(&self) -> watch::Receiver<LeaseState> {
        self.state.clone()
    }

    /// Ends the lease with all that it holds. That it had ended already is no error.
    ///
    /// # Errors
    ///
    /// As [`Client::put`].
    pub async fn revoke(self) -> Result<u64, ClientError> {
        match self.client.revoke_lease(&self.id).await {
            Err(error) if error.is_missing_lease() => Ok(0),
            done => done,
        }
    }
}

fn lease_path(id: &str) -> String {
    format!("{LEASES_PATH}/{}", segment(id))
}
