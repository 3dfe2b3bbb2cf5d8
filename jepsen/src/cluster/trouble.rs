//! What can be done to the processes and the links.
//!
//! Promises: a call says whether it did what it says; what did not bite is a [`Miss`], never silence.
//! A node is only touched while nothing else touches it.

use std::time::Duration;

use futures_util::future::join_all;
use rustix::process::Signal;
use tokio::sync::MutexGuard;
use tokio::time::{sleep, timeout};

use super::seat::Seat;
use super::{Block, ClockFault, Cluster, DiskFault, LinkCounts, Shape, ShimCounts};

/// Longest wait for a node to stop by itself; it gives up and aborts before.
const STOPPED_WITHIN: Duration = Duration::from_secs(60);
/// How often counts are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Miss {
    /// It does not apply now or here.
    #[error("{0}")]
    Skipped(String),
    /// It was tried and did not work.
    #[error("{0}")]
    Failed(String),
}

impl Miss {
    pub(super) fn skipped<T>(why: impl Into<String>) -> Result<T, Self> {
        Err(Self::Skipped(why.into()))
    }

    pub(super) fn failed<T>(why: impl Into<String>) -> Result<T, Self> {
        Err(Self::Failed(why.into()))
    }
}

impl Cluster {
    /// The seat of a node; of a cluster that others run there are none.
    pub(super) async fn seat(&self, node: u32) -> Result<MutexGuard<'_, Seat>, Miss> {
        match self.seats.get(&node) {
            Some(seat) => Ok(seat.lock().await),
            None => Miss::skipped(format!("node {node} is not ours to break")),
        }
    }

    /// Whether a node's process is there, paused or not.
    pub async fn runs(&self, node: u32) -> bool {
        match self.seat(node).await {
            Ok(mut seat) => seat.runs(),
            Err(_) => false,
        }
    }

    /// Whether a node's process is there and not paused.
    pub async fn is_awake(&self, node: u32) -> bool {
        match self.seat(node).await {
            Ok(mut seat) => seat.runs() && seat.process.as_ref().is_some_and(|p| !p.is_paused()),
            Err(_) => false,
        }
    }

    /// What a damaged node has told the others is how they know that it has forgotten something, and
    /// they keep most of it in memory: none of them may be stopped before it was judged. The store
    /// says that it promises no more (`src/consensus/witness.rs`), so that the history would show a
    /// loss that is none of its bugs.
    async fn spared(&self, node: u32) -> Result<(), Miss> {
        for (number, seat) in self.seats.iter().filter(|(number, _)| **number != node) {
            let mut seat = seat.lock().await;
            if self.is_doubtful(&mut seat).await {
                return Miss::skipped(format!("node {node} is a witness of damaged node {number}"));
            }
        }
        Ok(())
    }

    /// Whether it is not known yet what came of a node's damage. One that is ready has been accepted.
    pub(super) async fn is_doubtful(&self, seat: &mut Seat) -> bool {
        if seat.damage.is_some() && seat.runs() && self.asks.ready(&seat.url()).await.is_ok() {
            seat.damage = None;
        }
        seat.damage.is_some()
    }

    /// SIGKILL; the process is gone when this returns.
    ///
    /// # Errors
    ///
    /// When it does not run, or does not go.
    pub async fn kill(&self, node: u32) -> Result<(), Miss> {
        self.spared(node).await?;
        let mut seat = self.seat(node).await?;
        if !seat.runs() {
            return Miss::skipped(format!("node {node} does not run"));
        }
        if seat.kill().await { Ok(()) } else { Miss::failed(format!("node {node} does not die")) }
    }

    /// SIGTERM, as an operator stops a node: it hands what it leads to the others and ends.
    ///
    /// # Errors
    ///
    /// When it does not run, or does not end by itself.
    pub async fn terminate(&self, node: u32) -> Result<(), Miss> {
        self.spared(node).await?;
        let mut seat = self.seat(node).await?;
        if !seat.runs() {
            return Miss::skipped(format!("node {node} does not run"));
        }
        let Some(process) = &mut seat.process else { return Ok(()) };
        if process.is_paused() {
            return Miss::skipped(format!("node {node} is paused"));
        }
        process.signal(Signal::TERM);
        match process.gone(STOPPED_WITHIN).await {
            Some(_status) => {
                seat.process = None;
                Ok(())
            }
            None => Miss::failed(format!("node {node} does not stop")),
        }
    }

    /// Starts a node that does not run. Does not wait until it is ready.
    ///
    /// # Errors
    ///
    /// When it runs already or cannot be started.
    pub async fn start_node(&self, node: u32) -> Result<(), Miss> {
        let mut seat = self.seat(node).await?;
        if seat.runs() {
            return Miss::skipped(format!("node {node} runs already"));
        }
        if let Some(why) = seat.unfit() {
            return Miss::skipped(format!("node {node} waits to be replaced: {why}"));
        }
        let started = seat.start().await;
        started.or_else(|error| Miss::failed(format!("node {node} cannot be started: {error}")))
    }

    /// SIGSTOP; the process stands still when this returns.
    ///
    /// # Errors
    ///
    /// When it does not run, or is paused already, or does not stop.
    pub async fn pause(&self, node: u32) -> Result<(), Miss> {
        let mut seat = self.seat(node).await?;
        if !seat.runs() {
            return Miss::skipped(format!("node {node} does not run"));
        }
        let Some(process) = &mut seat.process else {
            return Miss::skipped(format!("node {node} does not run"));
        };
        if process.is_paused() {
            return Miss::skipped(format!("node {node} is paused already"));
        }
        if process.pause().await {
            Ok(())
        } else {
            Miss::failed(format!("node {node} does not stop"))
        }
    }

    /// SIGCONT. What is not paused goes on as it was.
    ///
    /// # Errors
    ///
    /// When it does not run.
    pub async fn resume(&self, node: u32) -> Result<(), Miss> {
        let mut seat = self.seat(node).await?;
        if !seat.runs() {
            return Miss::skipped(format!("node {node} does not run"));
        }
        if let Some(process) = &mut seat.process {
            process.resume();
        }
        Ok(())
    }

    /// Says what a node's disk does wrong from now on.
    ///
    /// # Errors
    ///
    /// When the node has no shim.
    pub async fn set_disk(&self, node: u32, fault: DiskFault) -> Result<(), Miss> {
        if fault != DiskFault::default() {
            self.spared(node).await?;
        }
        match &self.seat(node).await?.shim {
            Some(shim) => shim.set_disk(fault).or_else(|error| Miss::failed(error.to_string())),
            None => Miss::skipped("the nodes run without the fault shim"),
        }
    }

    /// Says what a node's wall clock does wrong from now on.
    ///
    /// # Errors
    ///
    /// When the node has no shim.
    pub async fn set_clock(&self, node: u32, fault: ClockFault) -> Result<(), Miss> {
        match &self.seat(node).await?.shim {
            Some(shim) => shim.set_clock(fault).or_else(|error| Miss::failed(error.to_string())),
            None => Miss::skipped("the nodes run without the fault shim"),
        }
    }

    /// How often a node's shim has done something.
    pub async fn shim_counts(&self, node: u32) -> ShimCounts {
        let counts = |seat: MutexGuard<'_, Seat>| Some(seat.shim.as_ref()?.counts());
        self.seat(node).await.ok().and_then(counts).unwrap_or_default()
    }

    /// Takes all room of a node's disk, or gives it back.
    ///
    /// # Errors
    ///
    /// When the node has no disk of its own, or there is still room.
    pub async fn set_full(&self, node: u32, full: bool) -> Result<(), Miss> {
        if full {
            self.spared(node).await?;
        }
        let seat = self.seat(node).await?;
        let Some(disk) = &seat.disk else {
            return Miss::skipped("the nodes have no disks of their own");
        };
        let done = if full { disk.fill() } else { disk.free() };
        done.or_else(Miss::failed)
    }

    /// Cuts the power of some nodes at once, and starts those that ran again when it is back: only
    /// what was synced is left.
    pub async fn cut_power(&self, nodes: &[u32]) -> Vec<(u32, Result<(), Miss>)> {
        let mut spared = Vec::new();
        for node in nodes {
            spared.push((*node, self.spared(*node).await));
        }
        let mut seats = Vec::new();
        for (node, spared) in spared {
            let seat = match spared {
                Ok(()) => self.seat(node).await,
                Err(miss) => Err(miss),
            };
            seats.push((node, seat));
        }
        let cutting = seats.into_iter().map(async |(node, seat)| match seat {
            Ok(mut seat) => (node, seat.lose_power().await),
            Err(miss) => (node, Err(miss)),
        });
        join_all(cutting).await
    }

    /// Blocks or opens a directed link.
    pub fn set_block(&self, from: u32, to: u32, block: Block) {
        if let Some(link) = self.links.get(from, to) {
            link.set_block(block);
        }
    }

    /// Says how a directed link treats what it passes.
    pub fn set_shape(&self, from: u32, to: u32, shape: Shape) {
        if let Some(link) = self.links.get(from, to) {
            link.set_shape(shape);
        }
    }

    /// Opens all links.
    pub fn open_links(&self) {
        self.links.iter().for_each(|(_, link)| link.set_block(Block::Open));
    }

    /// Lets all links treat everything as it is.
    pub fn plain_links(&self) {
        self.links.iter().for_each(|(_, link)| link.set_shape(Shape::default()));
    }

    /// What a directed link has done so far.
    pub fn link_counts(&self, from: u32, to: u32) -> LinkCounts {
        self.links.get(from, to).map(super::links::Link::counts).unwrap_or_default()
    }

    /// Whether packets can be lost, reordered and duplicated one by one.
    pub fn has_packets(&self) -> bool {
        self.backend == "namespaces"
    }

    /// Waits until one of the links has counted what is looked for, for at most so long.
    pub async fn links_show(
        &self,
        links: &[(u32, u32)],
        within: Duration,
        shows: impl Fn(LinkCounts, LinkCounts) -> bool,
    ) -> bool {
        let before: Vec<_> = links.iter().map(|(from, to)| self.link_counts(*from, *to)).collect();
        let seen = async {
            loop {
                for ((from, to), before) in links.iter().zip(&before) {
                    if shows(*before, self.link_counts(*from, *to)) {
                        return;
                    }
                }
                sleep(LOOK_EVERY).await;
            }
        };
        timeout(within, seen).await.is_ok()
    }
}

impl Seat {
    async fn lose_power(&mut self) -> Result<(), Miss> {
        if self.disk.is_none() {
            return Miss::skipped("the nodes have no disks of their own");
        }
        if !self.runs() {
            return Miss::skipped(format!("node {} does not run", self.number));
        }
        if !self.kill().await {
            return Miss::failed(format!("node {} does not die", self.number));
        }
        let Some(disk) = &mut self.disk else { return Ok(()) };
        let cut = disk.cut_power().await;
        let returned = disk.power_returns().await;
        let started = self.start().await.map_err(|error| error.to_string());
        cut.and(returned).and(started).or_else(Miss::failed)
    }
}
