//! The two sides of a comparison with a peer: three local nodes of each, under one form.
//!
//! Promises: both run as child processes on the same disk with their usual settings, syncing every
//! acknowledged write; both are killed when they are dropped, and leave no data behind when stopped.
//! Relies on: [`super::super::sites`] for our own nodes, on an `etcd` program for the other.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::process::{Child, Command};
use tokio::time::sleep;

use super::calls::Calls;
use super::etcd::{Etcd, reach};
use super::gateway::Gateway;
use crate::bench::fault::{Fault, Faulty};
use crate::bench::lanes::ours::Manner;
use crate::bench::lanes::slow::OverTarget;
use crate::bench::lanes::{self, Lanes};
use crate::bench::mode::Mode;
use crate::bench::sites::{self, Sites};
use crate::bench::store::Store;
use crate::bench::target::Target;
use crate::client::{Client, Options};
use crate::runtime::Env;
use crate::runtime::limits::{BENCH_OP_MAX, BENCH_PEER_READY_MAX};

/// How many nodes each side has.
pub(in crate::bench) const NODES: u64 = 3;

/// One side.
#[async_trait]
pub(in crate::bench) trait Contender: Send + Sync {
    /// What load it takes, and through what.
    fn target(&self) -> Arc<dyn Target>;

    /// The processes that are still there.
    async fn pids(&self) -> Vec<u32>;

    /// Callers for one phase of a load.
    async fn lanes(&self) -> Result<Arc<dyn Lanes>, String>;

    /// Which site's death is looked at: one that leads.
    async fn victim(&self) -> Result<u64, String>;

    /// Which of these keys that site leads.
    async fn leads(&self, victim: u64, keys: &[String]) -> Result<Vec<bool>, String>;

    /// Kills a site's process without a warning.
    async fn kill(&mut self, site: u64) -> Result<(), String>;

    /// Ends it all and removes its data.
    async fn stop(self: Box<Self>);
}

/// Our own nodes.
#[derive(Debug)]
pub(in crate::bench) struct Ours {
    sites: Sites,
    clients: Arc<[Client]>,
    /// One that knows all nodes.
    all: Client,
    pinned: bool,
    env: Env,
}

impl Ours {
    /// Starts them. With `pinned`, clients ask the node of their site alone and leave the way to the
    /// leaders to it; else they go straight to the leaders, as the typed client does.
    pub(in crate::bench) async fn start(
        root: PathBuf,
        groups: u64,
        pinned: bool,
        env: &Env,
    ) -> Result<Self, String> {
        let rtt = std::time::Duration::ZERO;
        let wanted =
            sites::Wanted { nodes: NODES, groups: Some(groups), rtt, faults: false, root, seed: 1 };
        let sites = Sites::start(wanted, env).await.map_err(|error| error.to_string())?;
        let urls: Vec<String> =
            sites.clients().iter().flat_map(|client| client.endpoints().to_vec()).collect();
        let client = |at: usize| {
            let mut endpoints = urls.clone();
            endpoints.rotate_left(at);
            if pinned {
                endpoints.truncate(1);
            }
            Client::new(Options { endpoints, timeout: BENCH_OP_MAX, pinned }, env)
        };
        let clients = (0..urls.len()).map(client).collect::<Result<_, _>>();
        let clients = clients.map_err(|error| error.to_string())?;
        let options = Options { endpoints: urls, timeout: BENCH_OP_MAX, pinned };
        let all = Client::new(options, env).map_err(|error| error.to_string())?;
        Ok(Self { sites, clients, all, pinned, env: env.clone() })
    }

    fn first(&self) -> &Client {
        self.clients.first().expect("there are three of them")
    }
}

#[async_trait]
impl Contender for Ours {
    fn target(&self) -> Arc<dyn Target> {
        Arc::new(Store::new(Arc::clone(&self.clients), "default", Mode::Linearizable))
    }

    async fn pids(&self) -> Vec<u32> {
        self.sites.pids().await
    }

    async fn lanes(&self) -> Result<Arc<dyn Lanes>, String> {
        // As plain as the peer's calls, which have nothing of the kind.
        let manner = Manner { pinned: self.pinned, named: false };
        let lanes = lanes::ours::Ours::new(&self.all, manner, &self.env).await?;
        Ok(Arc::new(lanes))
    }

    async fn victim(&self) -> Result<u64, String> {
        // The one that the sites can stop; every node leads some of the groups.
        Ok(NODES)
    }

    async fn leads(&self, victim: u64, keys: &[String]) -> Result<Vec<bool>, String> {
        let mut all = Vec::new();
        for key in keys {
            let route = self.first().route("default", key.as_bytes()).await;
            all.push(route.map_err(|error| error.to_string())?.leader == Some(victim));
        }
        Ok(all)
    }

    async fn kill(&mut self, _site: u64) -> Result<(), String> {
        self.sites.strike(Fault::NodeDown).await
    }

    async fn stop(self: Box<Self>) {
        self.sites.stop().await;
    }
}

/// How etcd is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Interface {
    /// gRPC.
    #[default]
    Grpc,
    /// The JSON gateway.
    Json,
}

/// Members of an etcd.
#[derive(Debug)]
pub(super) struct Members {
    children: Vec<Child>,
    urls: Vec<String>,
    etcd: Arc<Etcd>,
    interface: Interface,
    root: PathBuf,
    env: Env,
    /// Its release.
    pub(super) version: String,
}

impl Members {
    /// Starts them and waits for a leader.
    pub(super) async fn start(
        program: &Path,
        root: PathBuf,
        interface: Interface,
        env: &Env,
    ) -> Result<Self, String> {
        std::fs::create_dir_all(&root).map_err(|error| format!("{}: {error}", root.display()))?;
        let ports = free_ports().map_err(|error| format!("no port is free: {error}"))?;
        let url = |port: &u16| format!("http://127.0.0.1:{port}");
        let (clients, peers) = ports.split_at(ports.len() / 2);
        let cluster: Vec<_> =
            (1..).zip(peers).map(|(n, port): (u64, _)| format!("m{n}={}", url(port))).collect();
        let cluster = cluster.join(",");
        let urls: Vec<String> = clients.iter().map(url).collect();
        let mut children = Vec::new();
        for (number, (client, peer)) in (1_u64..).zip(urls.iter().zip(peers)) {
            children.push(member(program, &root, number, (client, &url(peer)), &cluster)?);
        }
        let deadline = env.clock.now() + BENCH_PEER_READY_MAX;
        let (etcd, version) = loop {
            match reach(&urls).await {
                Ok(reached) => break reached,
                Err(error) if env.clock.now() > deadline => {
                    return Err(format!(
                        "etcd is not ready ({error}); its logs are in {}",
                        root.display()
                    ));
                }
                Err(_) => sleep(std::time::Duration::from_millis(100)).await,
            }
        };
        Ok(Self { children, urls, etcd, interface, root, env: env.clone(), version })
    }
}

/// Ports that nobody listens on now, one for clients and one for peers of each member.
fn free_ports() -> std::io::Result<Vec<u16>> {
    // All are held until all are known, or the system would give out the same one again.
    let held: Vec<TcpListener> =
        (0..NODES * 2).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
    held.iter().map(|listener| listener.local_addr().map(|at| at.port())).collect()
}

/// Whether the program is there at all: our own side is measured before its members are started.
pub(super) async fn is_there(program: &Path) -> Result<(), String> {
    let asked = Command::new(program).arg("--version").stdin(Stdio::null()).output().await;
    asked.map(drop).map_err(|error| not_started(program, &error))
}

fn not_started(program: &Path, error: &std::io::Error) -> String {
    format!("{} cannot be started: {error}; name another with --etcd", program.display())
}

#[allow(clippy::disallowed_methods, reason = "a log for people, not a node's data")]
fn member(
    program: &Path,
    root: &Path,
    number: u64,
    (client, peer): (&str, &str),
    cluster: &str,
) -> Result<Child, String> {
    let log = root.join(format!("m{number}.log"));
    let file =
        std::fs::File::create(&log).map_err(|error| format!("{}: {error}", log.display()))?;
    let errors = file.try_clone().map_err(|error| error.to_string())?;
    let dir = root.join(format!("m{number}"));
    // What members have left that were killed: a new one would look for the others where the old ones were.
    match std::fs::remove_dir_all(&dir) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(format!("{}: {error}", dir.display()));
        }
        _ => {}
    }
    let mut command = Command::new(program);
    // A reader's own settings would be settings of these members too.
    for (name, _) in
        std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ETCD_"))
    {
        command.env_remove(name);
    }
    command
        .arg("--name")
        .arg(format!("m{number}"))
        .arg("--data-dir")
        .arg(dir)
        .args(["--listen-client-urls", client, "--advertise-client-urls", client])
        .args(["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer])
        .args(["--initial-cluster", cluster, "--initial-cluster-state", "new"])
        .args(["--logger", "zap", "--log-level", "warn"])
        // Room for all that a measurement writes: its default of 2 GiB would end a long one.
        .args(["--quota-backend-bytes", "8589934592"])
        .stdin(Stdio::null())
        .stdout(file)
        .stderr(errors)
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| not_started(program, &error))
}

#[async_trait]
impl Contender for Members {
    fn target(&self) -> Arc<dyn Target> {
        match self.interface {
            Interface::Grpc => Arc::clone(&self.etcd) as Arc<dyn Target>,
            Interface::Json => match Gateway::new(&self.urls) {
                Ok(gateway) => Arc::new(gateway),
                // Without an HTTP client nothing of this program works.
                Err(_) => Arc::clone(&self.etcd) as Arc<dyn Target>,
            },
        }
    }

    async fn lanes(&self) -> Result<Arc<dyn Lanes>, String> {
        Ok(match self.interface {
            Interface::Grpc => Arc::new(Calls::new(&self.urls, &self.env)?),
            Interface::Json => Arc::new(OverTarget(self.target())),
        })
    }

    async fn pids(&self) -> Vec<u32> {
        self.children.iter().filter_map(Child::id).collect()
    }

    async fn victim(&self) -> Result<u64, String> {
        for site in 1..=self.etcd.sites() {
            if self.etcd.standing(site).await?.leads {
                return Ok(site);
            }
        }
        Err("no member leads".to_owned())
    }

    async fn leads(&self, _victim: u64, keys: &[String]) -> Result<Vec<bool>, String> {
        // One group has it all.
        Ok(vec![true; keys.len()])
    }

    async fn kill(&mut self, site: u64) -> Result<(), String> {
        let at = usize::try_from(site.saturating_sub(1)).unwrap_or(usize::MAX);
        let child =
            self.children.get_mut(at).ok_or_else(|| format!("there is no member {site}"))?;
        child.kill().await.map_err(|error| error.to_string())
    }

    async fn stop(mut self: Box<Self>) {
        for child in &mut self.children {
            // It may have ended just now.
            drop(child.kill().await);
        }
        // What is left is in the way of nobody.
        drop(std::fs::remove_dir_all(&self.root));
    }
}
