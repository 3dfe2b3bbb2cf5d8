//! The switch of one replica between quiet and awake, and the way from the one to the other.
//!
//! Promises: whoever proposes, changes members or hands leadership over through the gate finds a
//! leader whose lease is renewed by a quorum, or one that is refused as any deposed leader is. A touch
//! that comes while the leader falls quiet is never missed: either the touch sees the quiet, or the
//! falling quiet sees the touch.
//!
//! Relies on: openraft's lease, which refuses proposals when no quorum has confirmed it of late, and
//! its parked ticker, which costs nothing.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use openraft::LinearizerOption;

use crate::consensus::types::Raft;
use crate::model::GroupId;
use crate::runtime::limits::QUIET_RENEW_MAX;

/// A replica's switch.
#[derive(Debug)]
pub struct Gate {
    group: GroupId,
    raft: Raft,
    /// Half of the lease: one older than that is renewed, so that it does not end just afterwards.
    fresh: Duration,
    is_quiet: AtomicBool,
    is_ticking: AtomicBool,
    touched: AtomicU64,
    renewing: tokio::sync::Mutex<()>,
}

impl Gate {
    /// The switch of a replica that has just started, awake. A leader's lease lasts for `lease`.
    pub fn new(group: GroupId, raft: Raft, lease: Duration) -> Self {
        Self {
            group,
            raft,
            fresh: lease / 2,
            is_quiet: AtomicBool::new(false),
            is_ticking: AtomicBool::new(true),
            touched: AtomicU64::new(0),
            renewing: tokio::sync::Mutex::default(),
        }
    }

    /// The replica's group.
    pub fn group(&self) -> GroupId {
        self.group
    }

    /// Counts what was asked of the replica.
    pub fn touched(&self) -> u64 {
        self.touched.load(Ordering::SeqCst)
    }

    /// Whether its ticker runs.
    pub fn is_ticking(&self) -> bool {
        self.is_ticking.load(Ordering::SeqCst)
    }

    /// Starts or stops the ticker.
    pub fn tick(&self, on: bool) {
        self.is_ticking.store(on, Ordering::SeqCst);
        self.raft.runtime_config().tick(on);
    }

    /// A follower's ticker stops. Of a leader's quiet, which another leader may have ended, nothing is
    /// left: who asks this replica now must not start its ticker, for it would campaign.
    pub fn park(&self) {
        self.is_quiet.store(false, Ordering::SeqCst);
        self.tick(false);
    }

    /// The leader falls quiet, unless it was touched since that count.
    pub fn quieten(&self, touched: u64) {
        // In this order: who finds the leader quiet starts a ticker that has stopped already.
        self.tick(false);
        self.is_quiet.store(true, Ordering::SeqCst);
        if self.touched() != touched {
            self.tick(true);
            self.is_quiet.store(false, Ordering::SeqCst);
        }
    }

    /// Notes that the group is used, and returns when its leader may be asked: at once unless it is
    /// quiet. Must come before anything that openraft refuses without a lease.
    pub async fn wake(&self) {
        self.touched.fetch_add(1, Ordering::SeqCst);
        if self.is_quiet.load(Ordering::SeqCst) {
            self.renew().await;
        }
    }

    async fn renew(&self) {
        let _one_at_a_time = self.renewing.lock().await;
        if !self.is_quiet.load(Ordering::SeqCst) {
            return;
        }
        self.tick(true);
        let option = LinearizerOption::new(Some(self.fresh), true);
        let renewal = self.raft.get_read_linearizer(option.with_wait_timeout(QUIET_RENEW_MAX));
        // Without a quorum this leader is refused what it is asked for next, as it was before there
        // was any quiet.
        match tokio::time::timeout(QUIET_RENEW_MAX, renewal).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                tracing::info!(group = %self.group, %error, "woke up without a lease");
            }
            Err(_elapsed) => tracing::info!(group = %self.group, "woke up and nobody answers"),
        }
        self.is_quiet.store(false, Ordering::SeqCst);
    }
}
