//! The way back: everything undone, all nodes running and ready.
//!
//! Why it exists: final reads mean nothing while a fault is still there, and a cluster that does not
//! come back when all faults are over has a bug of its own. Promises: on success all links are whole,
//! no process is paused, all nodes are ready. A node whose directory is damaged for good is replaced,
//! as `docs/operations.md` tells an operator to do; nothing else is ever done to make it fit.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::disk::Disk;
use super::seat::{Entry, Seat};
use super::{ClockFault, Cluster, ClusterError, DiskFault};

/// Longest time from the end of all faults to a cluster that is ready.
const HEALED_WITHIN: Duration = Duration::from_secs(180);
/// How often nodes are asked.
const ASK_EVERY: Duration = Duration::from_millis(100);
/// How often a node that ends by itself is started again before that is called a failure.
const STARTS_MAX: u32 = 6;
/// What nodes say, by `docs/operations.md`, when only a replacement helps.
const UNFIT: &[&str] = &[
    "corrupt at offset",
    "data directory is not the one",
    "data directory is an old copy",
    "refused before and stays refused",
    "is damaged",
    "format version",
    "was removed from the cluster",
];

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
            seat.lock().await.undo()?;
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
            let (mut waiting, mut unfit, mut new) = (0, Vec::new(), Vec::new());
            for (number, seat) in &self.seats {
                let mut seat = seat.lock().await;
                if !seat.runs() && seat.unfit().is_some() {
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
                if seat.replaces.is_some() {
                    new.push(*number);
                    continue;
                }
                let url = seat.url();
                drop(seat);
                waiting += usize::from(self.asks.ready(&url).await.is_err());
            }
            // The others first: they must agree to a replacement.
            if waiting == 0 {
                match (unfit.first(), new.first()) {
                    (None, None) => break,
                    (Some(node), _) => self.vacate(*node).await?,
                    (None, Some(node)) => self.settle(*node).await?,
                }
            }
            sleep(ASK_EVERY).await;
        }
        for seat in self.seats.values() {
            seat.lock().await.damage = None;
        }
        Ok(())
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

    /// Empties a seat and starts a node with a new id there, which joins the cluster.
    pub(super) async fn vacate(&self, node: u32) -> Result<(), ClusterError> {
        let (mut newest, mut members) = (0, Vec::new());
        for (number, seat) in &self.seats {
            let mut seat = seat.lock().await;
            newest = newest.max(seat.server);
            if *number != node && seat.runs() && seat.replaces.is_none() {
                members.push(seat.url());
            }
        }
        for view in self.views().await {
            newest = view.nodes.iter().map(|known| known.id).fold(newest, u64::max);
        }
        if members.is_empty() {
            let words = format!("no other node runs through which node {node} could be replaced");
            return Err(ClusterError::Broken(words));
        }
        let Some(seat) = self.seats.get(&node) else { return Ok(()) };
        let mut seat = seat.lock().await;
        seat.kill().await;
        seat.wipe().map_err(ClusterError::io(format!("cannot empty node {node}")))?;
        // One that was itself not done with replacing: its predecessor is still the one to go.
        seat.replaces = Some(seat.replaces.unwrap_or(seat.server));
        seat.server = newest + 1;
        seat.damage = None;
        seat.entry = Entry::Join(members.join(","));
        seat.start().await.map_err(ClusterError::io(format!("cannot start node {node}")))
    }

    /// Lets the node of a vacated seat take over the replicas of the one before. May be dropped and
    /// begun again at any time: naming the same two again changes nothing.
    pub(super) async fn settle(&self, node: u32) -> Result<(), ClusterError> {
        let Some(seat) = self.seats.get(&node) else { return Ok(()) };
        let (old, new, url) = {
            let seat = seat.lock().await;
            let Some(old) = seat.replaces else { return Ok(()) };
            (old, seat.server, seat.url())
        };
        // It passes on what it is asked, and knows nobody before it has joined.
        self.until(&url, |view| view.nodes.iter().any(|known| known.id == new)).await;
        loop {
            match self.asks.replace(&url, old, new).await {
                Ok(()) => break,
                Err(why) if why.contains("\"refused\"") => {
                    return Err(ClusterError::Broken(format!(
                        "node {node} is not replaced: {why}"
                    )));
                }
                Err(_) => sleep(ASK_EVERY).await,
            }
        }
        let gone = |view: &super::View| {
            let removed =
                |known: &super::view::NodeView| known.id == old && known.state == "removed";
            view.moves_left == 0 && view.nodes.iter().any(removed)
        };
        self.until(&url, gone).await;
        while self.asks.ready(&url).await.is_err() {
            sleep(ASK_EVERY).await;
        }
        seat.lock().await.replaces = None;
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
    /// Undoes what concerns this seat alone.
    fn undo(&mut self) -> Result<(), ClusterError> {
        if let Some(process) = &mut self.process {
            process.resume();
        }
        if let Some(shim) = &self.shim {
            let undone = shim.set_disk(DiskFault::default());
            let undone = undone.and_then(|()| shim.set_clock(ClockFault::default()));
            undone.map_err(ClusterError::io("a fault shim cannot be told to stop"))?;
        }
        let freed = self.disk.as_ref().map_or(Ok(()), Disk::free);
        freed.map_err(|why| ClusterError::Broken(format!("a full disk stays full: {why}")))
    }

    /// Why the node can never start again in its directory, if that was its last word.
    pub(super) fn unfit(&self) -> Option<String> {
        let words = self.words();
        // What it says of others in its log lines does not count, only why it ended itself.
        let last = words.lines().rev().find(|line| line.starts_with("error:"))?;
        UNFIT.iter().any(|said| last.contains(said)).then(|| last.to_owned())
    }
}
