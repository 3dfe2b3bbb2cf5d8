//! What can be done to the processes and the links.
//!
//! Promises: a call says whether it did what it says; what did not bite is a [`Miss`], never silence.
//! A node is only touched while nothing else touches it.

use std::time::Duration;

use tokio::sync::MutexGuard;
use tokio::time::{sleep, timeout};

use super::seat::Seat;
use super::{Block, Cluster, LinkCounts, Shape};

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

    /// SIGKILL; the process is gone when this returns.
    ///
    /// # Errors
    ///
    /// When it does not run, or does not go.
    pub async fn kill(&self, node: u32) -> Result<(), Miss> {
        let mut seat = self.seat(node).await?;
        if !seat.runs() {
            return Miss::skipped(format!("node {node} does not run"));
        }
        if seat.kill().await { Ok(()) } else { Miss::failed(format!("node {node} does not die")) }
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
