//! Sites for a measurement: nodes of this same binary on this machine, with distance between them.
//!
//! Why it exists: what is measured must be what users run: real processes, real disks, real sockets.
//! Each node is a site; clients of a site ask its node alone.
//!
//! Promises: with a distance of zero and without faults the nodes are started as every user starts them,
//! with nothing of the laboratory in them. Dropped sites are killed; their data is removed by
//! [`Sites::stop`]. Relies on: [`crate::fleet`] for the processes, on `serve --lab-seed` for distance.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::{join_all, try_join_all};
use tokio::sync::Mutex;

use super::fault::{CLOCK_AHEAD_MS, Fault, Faulty};
use super::store;
use crate::client::Client;
use crate::fleet::{Birth, Child, FleetError, wait_ready};
use crate::runtime::{DirectoryLock, Env};
use crate::wire::{LabOrder, base_url};

/// What sites are wanted.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// How many nodes.
    pub nodes: u64,
    /// Groups of the linearizable namespaces; the server's default when not given.
    pub groups: Option<u64>,
    /// Time from one site to another and back.
    pub rtt: Duration,
    /// Whether things will go wrong.
    pub faults: bool,
    /// Where everything is kept.
    pub root: PathBuf,
    /// Decides what is left to chance.
    pub seed: u64,
}

/// Running nodes.
#[derive(Debug)]
pub struct Sites {
    wanted: Wanted,
    births: Vec<Birth>,
    clients: Arc<[Client]>,
    children: Mutex<Vec<Child>>,
    env: Env,
}

impl Sites {
    /// Starts nodes without any data and waits until they are ready.
    ///
    /// # Errors
    ///
    /// When they do not come up.
    pub async fn start(wanted: Wanted, env: &Env) -> Result<Self, FleetError> {
        let root = wanted.root.clone();
        let unwritten = |source| FleetError::File { path: root.clone(), source };
        std::fs::create_dir_all(&wanted.root).map_err(unwritten)?;
        let addresses = free_addresses(wanted.nodes).map_err(FleetError::Port)?;
        let births: Vec<_> =
            (1..=wanted.nodes).map(|node| birth(&wanted, node, &addresses)).collect();
        for birth in &births {
            let unwritten = |source| FleetError::File { path: birth.dir.clone(), source };
            clear(&birth.dir).map_err(unwritten)?;
        }
        let mut children: Vec<Child> = births.iter().map(Child::start).collect::<Result<_, _>>()?;
        let urls: Vec<_> = addresses.iter().map(|address| base_url(address)).collect();
        let clients = store::clients(&urls, env)
            .map_err(|source| FleetError::Disobeyed { node: 1, source })?;
        wait_ready(&clients, &mut children, env).await?;
        let sites =
            Self { wanted, births, clients, children: Mutex::new(children), env: env.clone() };
        if sites.is_lab() {
            // Only now: founding a cluster over a long way would take long and measure nothing.
            let delay_ms = sites.wanted.rtt.as_secs_f64() * 1_000.0 / 2.0;
            let order = LabOrder { delay_ms: Some(delay_ms), ..LabOrder::default() };
            try_join_all((1..=sites.wanted.nodes).map(|node| sites.order(node, order.clone())))
                .await?;
        }
        Ok(sites)
    }

    fn is_lab(&self) -> bool {
        is_lab(&self.wanted)
    }

    /// A client for each site.
    pub fn clients(&self) -> Arc<[Client]> {
        Arc::clone(&self.clients)
    }

    async fn order(&self, node: u64, order: LabOrder) -> Result<(), FleetError> {
        let at = usize::try_from(node - 1).unwrap_or(usize::MAX);
        let client = self.clients.get(at).expect("there is a client for each node");
        let told = client.order_lab(&order).await;
        told.map_err(|source| FleetError::Disobeyed { node, source })
    }

    /// Stops all nodes and removes their data; their logs stay.
    pub async fn stop(self) {
        let mut children = self.children.into_inner();
        join_all(children.iter_mut().map(Child::stop)).await;
        for birth in &self.births {
            // What is left is in the way of nobody.
            drop(std::fs::remove_dir_all(&birth.dir));
        }
    }

    /// The site that faults befall: the last one.
    fn victim(&self) -> u64 {
        self.wanted.nodes
    }

    /// Cuts the links of a partition; of anything else all links are whole.
    async fn cut(&self, fault: Fault) -> Result<(), FleetError> {
        let (nodes, victim) = (self.wanted.nodes, self.victim());
        let orders = (1..=nodes).map(|node| {
            let others = (1..=nodes).filter(|other| *other != node);
            let cut = others.filter(|other| match fault {
                Fault::Partition => node == victim || *other == victim,
                fault => fault == Fault::Shattered,
            });
            self.order(node, LabOrder { cut: Some(cut.collect()), ..LabOrder::default() })
        });
        try_join_all(orders).await.map(drop)
    }

    async fn clock(&self, ahead_ms: i64) -> Result<(), FleetError> {
        let order = LabOrder { clock_ms: Some(ahead_ms), ..LabOrder::default() };
        self.order(self.victim(), order).await
    }

    /// Kills the victim, or starts it again.
    async fn down(&self, down: bool) -> Result<(), FleetError> {
        let mut children = self.children.lock().await;
        let Some((child, birth)) = children.last_mut().zip(self.births.last()) else {
            return Ok(());
        };
        if down {
            child.kill().await;
            return Ok(());
        }
        *child = Child::start(birth)?;
        wait_ready(&self.clients, &mut children, &self.env).await?;
        let delay_ms = Some(self.wanted.rtt.as_secs_f64() * 1_000.0 / 2.0);
        self.order(self.victim(), LabOrder { delay_ms, ..LabOrder::default() }).await
    }

    async fn all_ready(&self) -> Result<(), FleetError> {
        let mut children = self.children.lock().await;
        wait_ready(&self.clients, &mut children, &self.env).await
    }
}

fn is_lab(wanted: &Wanted) -> bool {
    wanted.faults || !wanted.rtt.is_zero()
}

fn birth(wanted: &Wanted, node: u64, addresses: &[String]) -> Birth {
    let dir = wanted.root.join(format!("node-{node}"));
    let founders: Vec<_> =
        (1..).zip(addresses).map(|(node, address)| format!("{node}={address}")).collect();
    let own = usize::try_from(node - 1).ok().and_then(|at| addresses.get(at));
    let mut args = vec!["serve".to_owned()];
    let mut add = |flag: &str, value: String| args.extend([format!("--{flag}"), value]);
    add("node", node.to_string());
    add("data-dir", dir.display().to_string());
    add("listen", own.cloned().unwrap_or_default());
    add("founders", founders.join(","));
    add("log-level", "warn".to_owned());
    if let Some(groups) = wanted.groups {
        add("groups", groups.to_string());
    }
    if is_lab(wanted) {
        add("lab-seed", wanted.seed.wrapping_add(node).to_string());
    }
    let unset = vec!["JOIN", "ADVERTISE", "CONFIG", "REPLICAS", "GROUPS", "HEARTBEAT_MS"];
    Birth { node, args, unset, log: log_file(&wanted.root, node), dir }
}

/// Removes what nodes have left who were killed with their starter: new ones would go on with it, and look
/// for each other where the old ones were.
fn clear(dir: &Path) -> std::io::Result<()> {
    if !dir.exists() {
        return Ok(());
    }
    // Not from under somebody who still runs.
    let held = DirectoryLock::take(dir)?;
    std::fs::remove_dir_all(dir)?;
    drop(held);
    Ok(())
}

fn log_file(root: &Path, node: u64) -> PathBuf {
    root.join(format!("node-{node}.log"))
}

/// So many addresses of this machine that nobody listens on now.
fn free_addresses(nodes: u64) -> std::io::Result<Vec<String>> {
    // All are held until all are known, or the system would give out the same one again.
    let held: Vec<TcpListener> =
        (0..nodes).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
    held.iter().map(|listener| listener.local_addr().map(|at| at.to_string())).collect()
}

#[async_trait]
impl Faulty for Sites {
    fn sites_of(&self, fault: Fault) -> Vec<u64> {
        match fault {
            Fault::None => Vec::new(),
            Fault::Shattered => (1..=self.wanted.nodes).collect(),
            _ => vec![self.victim()],
        }
    }

    async fn strike(&self, fault: Fault) -> Result<(), String> {
        match fault {
            Fault::None => Ok(()),
            Fault::Partition | Fault::Shattered => self.cut(fault).await,
            Fault::NodeDown => self.down(true).await,
            Fault::ClockOff => self.clock(CLOCK_AHEAD_MS).await,
        }
        .map_err(|error| error.to_string())
    }

    async fn heal(&self, fault: Fault) -> Result<(), String> {
        let healed = match fault {
            Fault::None => return Ok(()),
            Fault::Partition | Fault::Shattered => self.cut(Fault::None).await,
            Fault::NodeDown => self.down(false).await,
            Fault::ClockOff => self.clock(0).await,
        };
        healed.map_err(|error| error.to_string())?;
        self.all_ready().await.map_err(|error| error.to_string())
    }

    async fn pids(&self) -> Vec<u32> {
        let children = self.children.lock().await;
        children.iter().filter(|child| !child.is_over()).map(|child| child.pid).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(rtt_ms: u64, faults: bool) -> Wanted {
        let rtt = Duration::from_millis(rtt_ms);
        let root = PathBuf::from("x");
        Wanted { nodes: 3, groups: Some(6), rtt, faults, root, seed: 1 }
    }

    #[test]
    fn without_distance_and_faults_nodes_are_started_as_by_everybody() {
        let addresses = ["a:1", "b:2", "c:3"].map(str::to_owned);
        let plain = birth(&wanted(0, false), 2, &addresses).args.join(" ");
        assert!(plain.contains("--listen b:2 --founders 1=a:1,2=b:2,3=c:3"), "{plain}");
        assert!(!plain.contains("lab"), "{plain}");
        for (rtt, faults) in [(10, false), (0, true)] {
            assert!(birth(&wanted(rtt, faults), 2, &addresses).args.join(" ").contains("lab-seed"));
        }
    }

    #[test]
    fn what_dead_nodes_have_left_is_removed_and_what_is_in_use_is_not() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("node-1");
        clear(&dir).unwrap();
        let running = DirectoryLock::take(&dir).unwrap();
        clear(&dir).unwrap_err();
        assert!(dir.exists());
        drop(running);
        clear(&dir).unwrap();
        assert!(!dir.exists());
    }

    #[test]
    fn addresses_differ() {
        let found: std::collections::BTreeSet<_> = free_addresses(5).unwrap().into_iter().collect();
        assert_eq!(found.len(), 5);
    }
}
