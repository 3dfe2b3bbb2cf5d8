//! The way back: everything undone, all nodes running and ready.
//!
//! Why it exists: final reads mean nothing while a fault is still there, and a cluster that does not
//! come back when all faults are over has a bug of its own. Promises: on success all links are whole,
//! no process is paused, all nodes are ready. A node whose directory is damaged for good is replaced,
//! as `docs/operations.md` tells an operator to do; nothing else is ever done to make it fit.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::seat::{Entry, Seat};
use super::{Cluster, ClusterError};

/// Longest time from the end of all faults to a cluster that is ready.
const HEALED_WITHIN: Duration = Duration::from_secs(180);
/// How often nodes are asked.
const ASK_EVERY: Duration = Duration::from_millis(100);
/// How often a node that ends by itself is started again before that is called a failure.
const STARTS_MAX: u32 = 6;
/// What nodes say, by `docs/operations.md`, when only a replacement helps.
const UNFIT: &[&str] =
    &["corrupt at offset", "data directory is not the one", "data directory is an old copy"];

impl Cluster {
    /// Undoes everything that was broken and waits until all nodes run and are ready.
    ///
    /// # Errors
    ///
    /// When they do not become ready, or the harness itself has failed.
    pub async fn heal(&self) -> Result<(), ClusterError> {
        self.own_failure()?;
        self.links.clear();
        for seat in self.seats.values() {
            let mut seat = seat.lock().await;
            if let Some(process) = &mut seat.process {
                process.resume();
            }
        }
        let healed = timeout(HEALED_WITHIN, self.all_ready()).await;
        match healed {
            Ok(result) => result?,
            Err(_late) => return Err(ClusterError::Broken(self.who_is_late().await)),
        }
        self.own_failure()
    }

    /// A task of the harness that panicked makes the run worthless.
    fn own_failure(&self) -> Result<(), ClusterError> {
        self.crew.failure().map_or(Ok(()), |why| Err(ClusterError::Broken(why)))
    }

    async fn all_ready(&self) -> Result<(), ClusterError> {
        let mut starts: BTreeMap<u32, u32> = BTreeMap::new();
        loop {
            let (mut waiting, mut unfit) = (0, Vec::new());
            for (number, seat) in &self.seats {
                let mut seat = seat.lock().await;
                if seat.unfit().is_some() && !seat.runs() {
                    unfit.push(*number);
                    continue;
                }
                if !seat.runs() {
                    let tries = starts.entry(*number).or_insert(0);
                    *tries += 1;
                    if *tries > STARTS_MAX {
                        let words = format!("node {number} ends again and again:\n{}", seat.tail());
                        return Err(ClusterError::Broken(words));
                    }
                    let what = format!("node {number} cannot be started");
                    seat.start().await.map_err(ClusterError::io(what))?;
                }
                let url = seat.url();
                drop(seat);
                waiting += usize::from(self.asks.ready(&url).await.is_err());
            }
            if waiting == 0 {
                match unfit.first() {
                    None => return Ok(()),
                    // The others first: they must agree to the replacement.
                    Some(node) => self.replace_unfit(*node).await?,
                }
            }
            sleep(ASK_EVERY).await;
        }
    }

    async fn who_is_late(&self) -> String {
        let mut words =
            vec![format!("not all nodes were ready {HEALED_WITHIN:?} after the faults:")];
        for (number, seat) in &self.seats {
            let mut seat = seat.lock().await;
            let said = match seat.runs() {
                true => self.asks.ready(&seat.url()).await.err(),
                false => Some(format!("it does not run:\n{}", seat.tail())),
            };
            words.extend(said.map(|said| format!("node {number}: {said}")));
        }
        words.join("\n")
    }

    /// Empties a seat and lets a node with a new id take it, and the old one's replicas.
    async fn replace_unfit(&self, node: u32) -> Result<(), ClusterError> {
        let (mut newest, mut members) = (0, Vec::new());
        for (number, seat) in &self.seats {
            let mut seat = seat.lock().await;
            newest = newest.max(seat.server);
            if *number != node && seat.runs() {
                members.push(seat.url());
            }
        }
        for view in self.views().await {
            newest = view.nodes.iter().map(|known| known.id).fold(newest, u64::max);
        }
        let broken =
            |why: String| ClusterError::Broken(format!("node {node} is not replaced: {why}"));
        let asked = members.first().ok_or_else(|| broken("no other node runs".to_owned()))?;
        let Some(seat) = self.seats.get(&node) else { return Ok(()) };
        let (old, new, url) = {
            let mut seat = seat.lock().await;
            let old = seat.server;
            seat.wipe().map_err(ClusterError::io(format!("cannot empty node {node}")))?;
            seat.server = newest + 1;
            seat.entry = Entry::Join(members.join(","));
            seat.start().await.map_err(ClusterError::io(format!("cannot start node {node}")))?;
            (old, seat.server, seat.url())
        };
        // Known to the others, but without a replica it has nothing to be ready for.
        self.until(asked, |view| view.nodes.iter().any(|known| known.id == new)).await;
        loop {
            match self.asks.replace(asked, old, new).await {
                Ok(()) => break,
                Err(why) if why.contains("\"refused\"") => return Err(broken(why)),
                // Asked again until the time for healing is over: naming the same two changes nothing.
                Err(_) => sleep(ASK_EVERY).await,
            }
        }
        let gone = |view: &super::View| {
            let removed =
                |known: &super::view::NodeView| known.id == old && known.state == "removed";
            view.moves_left == 0 && view.nodes.iter().any(removed)
        };
        self.until(asked, gone).await;
        while self.asks.ready(&url).await.is_err() {
            sleep(ASK_EVERY).await;
        }
        Ok(())
    }

    /// Waits until the cluster, as the node at `url` sees it, is as wanted. Bounded by the caller.
    async fn until(&self, url: &str, is_so: impl Fn(&super::View) -> bool) {
        loop {
            if let Ok(view) = self.asks.cluster(url).await
                && is_so(&view)
            {
                return;
            }
            sleep(ASK_EVERY).await;
        }
    }
}

impl Seat {
    /// Why the node can never start again in its directory, if it has said so.
    pub(super) fn unfit(&self) -> Option<String> {
        let words = self.words();
        let line = words.lines().rev().find(|line| UNFIT.iter().any(|said| line.contains(said)))?;
        Some(line.trim().to_owned())
    }
}
