//! How many of each kind of request are served at the same time.
//!
//! Why it exists: what takes long must not fill the places of what is quick. Watches have a bound of
//! their own and take no place among requests; batches and streamed scans likewise, from their
//! answer's head on; who waits for a lock takes a place here and one among requests.
//! Promises: a place is held until it is dropped; asking for one never waits.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::runtime::limits::{
    BATCHES_MAX, COPIES_MAX, HTTP_SLOW_BODIES_MAX, LOCK_WAITS_MAX, SCAN_STREAMS_MAX, WATCHES_MAX,
};

use super::FrontOptions;
use super::body::SlowBodies;
use super::problem::Failure;

/// Which bound a route counts against before its handler runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bound {
    /// None: probes must answer when nothing else does.
    Probe,
    /// Requests.
    Request,
    /// None of the gate's: the handler takes a place of its own kind and keeps it while it streams.
    Own,
}

/// A place; dropped, it is free again.
pub(super) type Place = OwnedSemaphorePermit;

/// All places of the front door.
#[derive(Clone, Debug)]
pub(super) struct Places {
    requests: Arc<Semaphore>,
    #[allow(dead_code, reason = "for scans and watches")]
    watches: Arc<Semaphore>,
    batches: Arc<Semaphore>,
    #[allow(dead_code, reason = "for scans and watches")]
    scans: Arc<Semaphore>,
    lock_waits: Arc<Semaphore>,
    copies: Arc<Semaphore>,
    pub(super) slow_bodies: SlowBodies,
}

impl Places {
    pub(super) fn new(options: FrontOptions) -> Self {
        let of = |count| Arc::new(Semaphore::new(count));
        Self {
            requests: of(options.requests_max),
            watches: of(WATCHES_MAX),
            batches: of(BATCHES_MAX),
            scans: of(SCAN_STREAMS_MAX),
            lock_waits: of(LOCK_WAITS_MAX),
            copies: of(COPIES_MAX),
            slow_bodies: SlowBodies::new(HTTP_SLOW_BODIES_MAX.min(options.requests_max)),
        }
    }

    /// What the gate takes for a request; or why there is none.
    pub(super) fn of(&self, bound: Bound) -> Result<Option<Place>, &'static str> {
        match bound {
            Bound::Probe | Bound::Own => Ok(None),
            Bound::Request => {
                taken(&self.requests).map(Some).ok_or("this node serves as many requests as it can")
            }
        }
    }

    #[allow(dead_code, reason = "for scans and watches")]
    /// A place for a watch.
    pub(super) fn watch(&self) -> Result<Place, Failure> {
        taken(&self.watches).ok_or_else(|| Failure {
            code: "too_many_watches",
            ..Failure::overloaded("this node serves as many watches as it can")
        })
    }

    /// A place for a batch.
    pub(super) fn batch(&self) -> Result<Place, Failure> {
        taken(&self.batches)
            .ok_or_else(|| Failure::overloaded("this node serves as many batches as it can"))
    }

    #[allow(dead_code, reason = "for scans and watches")]
    /// A place for a scan that is streamed.
    pub(super) fn scan(&self) -> Result<Place, Failure> {
        taken(&self.scans)
            .ok_or_else(|| Failure::overloaded("this node streams as many scans as it can"))
    }

    /// A place for a copy that is taken in.
    pub(super) fn copy(&self) -> Result<Place, Failure> {
        taken(&self.copies)
            .ok_or_else(|| Failure::overloaded("this node takes in as many copies as it can"))
    }

    /// A place for who waits for a lock.
    pub(super) fn lock_wait(&self) -> Result<Place, Failure> {
        taken(&self.lock_waits)
            .ok_or_else(|| Failure::overloaded("as many as can be wait for locks at this node"))
    }
}

fn taken(semaphore: &Arc<Semaphore>) -> Option<Place> {
    Arc::clone(semaphore).try_acquire_owned().ok()
}
