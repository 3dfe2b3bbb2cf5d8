//! A cluster of real processes on loopback.
//!
//! Promises: at most two clusters run at a time in a test process, so that tests do not starve each
//! other; all processes are dead when the value is dropped; a test that did not fail otherwise fails
//! if a node's log mentions a panic. On failure the logs stay and their ends are shown.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::thread::panicking;

use rustix::process::Signal;
use tempfile::TempDir;
use tetrarch::wire::ClusterView;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::api::Api;
use super::node::Node;
use super::ports;
use super::wait::{wait_at_most, wait_until};

/// Much of a test is waiting for elections, so two share the machine well; more would starve one
/// another.
const CLUSTERS_AT_A_TIME: usize = 2;

static TURN: Semaphore = Semaphore::const_new(CLUSTERS_AT_A_TIME);

/// Starts before it is believed that ports are not the problem.
const STARTS_MAX: usize = 5;

/// What a node says when its port was taken in between.
const PORT_TAKEN: &str = "cannot listen on";

/// A word that no healthy log contains.
const PANIC: &str = "panicked";

/// What kind of cluster.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shape {
    /// Data groups; `None` leaves it to the node.
    pub(crate) groups: Option<u64>,
    /// More flags for every node.
    pub(crate) flags: Vec<&'static str>,
    /// Data directories of nodes that do not live beside the logs.
    pub(crate) data_dirs: BTreeMap<u64, PathBuf>,
}

/// A running cluster of three founders, and whoever joined it.
#[derive(Debug)]
pub(crate) struct Cluster {
    nodes: BTreeMap<u64, Node>,
    /// The client of this test.
    pub(crate) api: Api,
    dir: Option<TempDir>,
    _turn: SemaphorePermit<'static>,
}

impl Cluster {
    /// Starts three founders and waits until all are ready.
    pub(crate) async fn start(shape: &Shape) -> Self {
        let turn = TURN.acquire().await.expect("the semaphore is never closed");
        let mut tries = 0;
        let dir = TempDir::with_prefix("tetrarch-test-").unwrap();
        let mut cluster =
            Self { nodes: BTreeMap::new(), api: Api::new(), dir: Some(dir), _turn: turn };
        loop {
            tries += 1;
            cluster.found(shape);
            let lost = cluster.come_up(shape).await;
            match lost {
                None => return cluster,
                Some(node) if tries < STARTS_MAX => {
                    println!("node {node} lost its port; the cluster starts again");
                    cluster.clear();
                }
                Some(node) => panic!("node {node} found no port in {tries} tries"),
            }
        }
    }

    fn path(&self) -> &Path {
        self.dir.as_ref().expect("the directory is there until the end").path()
    }

    fn found(&mut self, shape: &Shape) {
        let ids: Vec<u64> = (1..=3).collect();
        let ports = ports::free(ids.len());
        let members: Vec<String> =
            ids.iter().zip(&ports).map(|(id, port)| format!("{id}=127.0.0.1:{port}")).collect();
        let mut flags = vec!["--founders".to_owned(), members.join(",")];
        if let Some(groups) = shape.groups {
            flags.extend(["--groups".to_owned(), groups.to_string()]);
        }
        flags.extend(shape.flags.iter().map(|flag| (*flag).to_owned()));
        for (id, port) in ids.into_iter().zip(ports) {
            let beside = self.path().join(format!("data-{id}"));
            let data_dir = shape.data_dirs.get(&id).cloned().unwrap_or(beside);
            let mut node = Node::new(id, port, &data_dir, self.path(), &flags);
            node.start();
            self.nodes.insert(id, node);
        }
    }

    /// Waits until all are ready; otherwise the node that lost its port.
    async fn come_up(&mut self, shape: &Shape) -> Option<u64> {
        // A thousand groups take their time to elect leaders on a small machine.
        let limit = std::time::Duration::from_secs(60 + shape.groups.unwrap_or(0));
        wait_at_most(limit, "the cluster is ready", async || {
            for node in self.nodes.values_mut() {
                if let Some(status) = node.exited() {
                    if node.said(PORT_TAKEN) > 0 {
                        return Ok(Some(node.id));
                    }
                    panic!("node {} ended with {status} at its start:\n{}", node.id, node.tail());
                }
            }
            for node in self.nodes.values() {
                let answer = self.api.get_path(&node.url(), "/readyz").await;
                match answer {
                    Ok(answer) if answer.status == 200 => {}
                    Ok(answer) => return Err(format!("node {}: {}", node.id, answer.text())),
                    Err(silence) => return Err(format!("node {}: {silence:?}", node.id)),
                }
            }
            Ok(None)
        })
        .await
    }

    fn clear(&mut self) {
        self.nodes.clear();
        self.dir = Some(TempDir::with_prefix("tetrarch-test-").unwrap());
    }

    /// Adds a node with an empty directory that joins through a member, and starts it.
    pub(crate) fn join(&mut self, id: u64, through: u64, flags: &[&str]) {
        let port = ports::free(1)[0];
        let mut all = vec!["--join".to_owned(), self.node(through).url()];
        all.extend(flags.iter().map(|flag| (*flag).to_owned()));
        let data_dir = self.path().join(format!("data-{id}"));
        let mut node = Node::new(id, port, &data_dir, self.path(), &all);
        node.start();
        self.nodes.insert(id, node);
    }

    pub(crate) fn node(&self, id: u64) -> &Node {
        self.nodes.get(&id).expect("the node exists")
    }

    pub(crate) fn node_mut(&mut self, id: u64) -> &mut Node {
        self.nodes.get_mut(&id).expect("the node exists")
    }

    pub(crate) fn ids(&self) -> Vec<u64> {
        self.nodes.keys().copied().collect()
    }

    pub(crate) fn url(&self, id: u64) -> String {
        self.node(id).url()
    }

    /// Base URLs of these nodes.
    pub(crate) fn urls(&self, ids: &[u64]) -> Vec<String> {
        ids.iter().map(|id| self.url(*id)).collect()
    }

    /// Base URLs of all nodes.
    pub(crate) fn all_urls(&self) -> Vec<String> {
        self.urls(&self.ids())
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self, id: u64) {
        self.node_mut(id).kill();
    }

    /// SIGKILL to all before any is waited for.
    pub(crate) fn kill_all(&mut self) {
        for node in self.nodes.values().filter(|node| node.runs()) {
            node.signal(Signal::KILL);
        }
        for node in self.nodes.values_mut() {
            node.kill();
        }
    }

    /// SIGTERM to all, and waits until each has ended well.
    pub(crate) async fn terminate_all(&mut self) {
        for node in self.nodes.values().filter(|node| node.runs()) {
            node.signal(Signal::TERM);
        }
        for node in self.nodes.values_mut().filter(|node| node.runs()) {
            let status = node.wait_exit().await;
            assert!(status.success(), "node {} ended with {status}:\n{}", node.id, node.tail());
        }
    }

    /// SIGSTOP: the process hangs.
    pub(crate) fn pause(&self, id: u64) {
        self.node(id).signal(Signal::STOP);
    }

    /// SIGCONT.
    pub(crate) fn resume(&self, id: u64) {
        self.node(id).signal(Signal::CONT);
    }

    /// Starts a node again, with its old command line.
    pub(crate) fn restart(&mut self, id: u64) {
        self.node_mut(id).start();
    }

    /// Starts all nodes again.
    pub(crate) fn restart_all(&mut self) {
        for id in self.ids() {
            self.restart(id);
        }
    }

    /// Waits until a node says that it is ready; a node that ends instead fails the test.
    pub(crate) async fn wait_ready(&mut self, id: u64) {
        let (api, url) = (self.api.clone(), self.url(id));
        wait_until(&format!("node {id} is ready"), async || {
            let node = self.node_mut(id);
            if let Some(status) = node.exited() {
                panic!("node {id} ended with {status}:\n{}", node.tail());
            }
            match api.get_path(&url, "/readyz").await {
                Ok(answer) if answer.status == 200 => Ok(()),
                Ok(answer) => Err(format!("status {}: {}", answer.status, answer.text())),
                Err(silence) => Err(format!("{silence:?}")),
            }
        })
        .await;
    }

    pub(crate) async fn wait_all_ready(&mut self) {
        for id in self.ids() {
            self.wait_ready(id).await;
        }
    }

    /// Waits until every group is led by the node that should lead it, as node `at` sees it.
    pub(crate) async fn wait_leaders_home(&self, at: u64) -> ClusterView {
        self.wait_view(at, "every group is led by its preferred node", |view| {
            let away: Vec<_> = view
                .groups
                .iter()
                .filter(|group| group.leader != Some(group.preferred))
                .map(|group| (group.id, group.leader, group.preferred))
                .collect();
            if view.groups.is_empty() {
                return Err("there are no groups".to_owned());
            }
            if away.is_empty() {
                Ok(())
            } else {
                Err(format!("(group, leader, preferred): {away:?}"))
            }
        })
        .await
    }

    /// Waits until the cluster, as node `at` sees it, is as wanted.
    pub(crate) async fn wait_view(
        &self,
        at: u64,
        what: &str,
        is_so: impl Fn(&ClusterView) -> Result<(), String>,
    ) -> ClusterView {
        let url = self.url(at);
        wait_until(what, async || {
            let view = self.api.cluster(&url).await?;
            is_so(&view)?;
            Ok(view)
        })
        .await
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for node in self.nodes.values_mut() {
            node.kill();
        }
        let doubtful: Vec<&Node> =
            self.nodes.values().filter(|node| node.said(PANIC) > 0).collect();
        if !panicking() && doubtful.is_empty() {
            return;
        }
        for node in self.nodes.values() {
            println!("--- end of the log of node {}:\n{}", node.id, node.tail());
        }
        if let Some(dir) = self.dir.take() {
            println!("--- logs and data stay in {}", dir.keep().display());
        }
        if !panicking() {
            let ids: Vec<u64> = doubtful.iter().map(|node| node.id).collect();
            panic!("nodes {ids:?} panicked; see their logs");
        }
    }
}
