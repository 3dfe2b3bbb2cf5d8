//! Locks: one holder at a time, in the order of asking, each with a token greater than those before.
//!
//! Promises: a [`LockGuard`] keeps its lease and says when that is lost; the token lets whatever the
//! lock protects refuse a holder that was overtaken. The lease is made before the lock is asked for
//! and kept while standing in line, so a place in line ends with the process. Dropping a guard without
//! [`LockGuard::release`] lets the lock end with its lease, some seconds later.
//!
//! ```no_run
//! use std::time::Duration;
//! use tetrarch::client::{Client, LockOptions};
//!
//! # async fn tour(client: Client) -> Result<(), tetrarch::client::ClientError> {
//! let options = LockOptions { wait: Duration::from_secs(30), ..LockOptions::default() };
//! let guard = client.lock("default", "reports/nightly", &options).await?;
//! println!("working with token {}", guard.token());
//! tokio::select! {
//!     lost = guard.lost() => println!("stop at once: {lost}"),
//!     () = tokio::time::sleep(Duration::from_secs(5)) => guard.release().await?,
//! }
//! # Ok(()) }
//! ```

use std::time::Duration;

use reqwest::Method;

use super::call::{Call, Idempotency};
use super::coded::{Query, duration_text, encode, space_path};
use super::{Client, ClientError, LeaseKeeper};
use crate::runtime::limits;
use crate::wire::{LockAcquire, LockHeld, LockView};

/// How a lock is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockOptions {
    /// How long it stays locked when its holder vanishes.
    pub ttl: Duration,
    /// How long to stand in line; zero for not at all.
    pub wait: Duration,
    /// Who asks, for people.
    pub owner: Option<String>,
}

impl Default for LockOptions {
    fn default() -> Self {
        Self { ttl: Duration::from_secs(10), wait: Duration::ZERO, owner: None }
    }
}

/// A lock that is held.
#[derive(Debug)]
pub struct LockGuard {
    client: Client,
    ns: String,
    name: String,
    held: LockHeld,
    keeper: LeaseKeeper,
}

impl Client {
    /// Takes a lock, standing in line for it if need be.
    ///
    /// # Errors
    ///
    /// 409 `lock_held` when somebody else has it at the end of the wait.
    pub async fn lock(
        &self,
        ns: &str,
        name: &str,
        options: &LockOptions,
    ) -> Result<LockGuard, ClientError> {
        lock_path(ns, name)?;
        let keeper = self.keep_lease(options.ttl, Some((ns, name))).await?;
        let asked = self.stand_in_line(ns, name, options, &keeper);
        let held = tokio::select! {
            held = asked => held,
            lost = keeper.lost() => Err(lost),
        };
        match held {
            Ok(held) => {
                let (client, ns, name) = (self.clone(), ns.to_owned(), name.to_owned());
                Ok(LockGuard { client, ns, name, held, keeper })
            }
            Err(error) => {
                // The lease takes our place in line along; if this fails too, time does it.
                drop(keeper.revoke().await);
                Err(error)
            }
        }
    }

    /// Asks until the wait is over; each request waits for a part of it.
    async fn stand_in_line(
        &self,
        ns: &str,
        name: &str,
        options: &LockOptions,
        keeper: &LeaseKeeper,
    ) -> Result<LockHeld, ClientError> {
        let clock = &self.inner.env.clock;
        let end = clock.now() + options.wait;
        loop {
            let wait = end.since(clock.now()).min(limits::CLIENT_LOCK_WAIT);
            let body = LockAcquire {
                ttl: None,
                lease: Some(keeper.id().to_owned()),
                owner: options.owner.clone(),
                wait: (!wait.is_zero()).then(|| duration_text(wait)),
            };
            let repeat = Idempotency::Generated.repeat(&self.inner.env);
            let mut call = Call::new(Method::POST, lock_path(ns, name)?, repeat).json(&body);
            call.timeout = Some(self.inner.options.timeout + wait);
            call.patience =
                Some((self.inner.options.timeout / 3).max(Duration::from_secs(1)) + wait);
            match self.call(call).await {
                Ok(answer) => return answer.json(),
                Err(error) if error.is_lock_held() && clock.now() < end => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Who holds a lock and how many wait.
    ///
    /// # Errors
    ///
    /// As [`Client::get`].
    pub async fn lock_state(&self, ns: &str, name: &str) -> Result<LockView, ClientError> {
        self.call(Call::read(lock_path(ns, name)?)).await?.json()
    }

    /// Gives a lock back by its token.
    ///
    /// # Errors
    ///
    /// 409 `lock_not_held` when the token's holder does not have it.
    pub async fn release_lock(&self, ns: &str, name: &str, token: u64) -> Result<(), ClientError> {
        let mut query = Query::after(lock_path(ns, name)?);
        query.add("token", token.to_string());
        let repeat = Idempotency::Generated.repeat(&self.inner.env);
        self.call(Call::new(Method::DELETE, query.path(), repeat)).await.map(drop)
    }
}

impl LockGuard {
    /// The fencing token: greater than that of every holder before.
    pub fn token(&self) -> u64 {
        self.held.token
    }

    /// The lease that holds the lock.
    pub fn lease(&self) -> &str {
        self.keeper.id()
    }

    /// Whether the lock is surely held at this moment.
    pub fn is_held(&self) -> bool {
        self.keeper.is_live()
    }

    /// Waits until the lock is lost, and says how. A release by somebody else's hand is not noticed.
    pub async fn lost(&self) -> ClientError {
        self.keeper.lost().await
    }

    /// Gives the lock back and ends its lease.
    ///
    /// # Errors
    ///
    /// As [`Client::put`]; that the lock was lost before is one too.
    pub async fn release(self) -> Result<(), ClientError> {
        let released = self.client.release_lock(&self.ns, &self.name, self.held.token).await;
        let revoked = self.keeper.revoke().await;
        released.and(revoked.map(drop))
    }
}

/// A lock's name stands in the path only.
fn lock_path(ns: &str, name: &str) -> Result<String, ClientError> {
    if matches!(name, "" | "." | "..") {
        return Err(ClientError::Key);
    }
    Ok(format!("{}/locks/{}", space_path(ns), encode(name.as_bytes())))
}
