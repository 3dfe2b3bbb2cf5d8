//! `tetrarch dev`: a local cluster of real child processes.
//!
//! Why it exists: one command from a clone to a running cluster, with processes that can be killed.
//! Each child is `tetrarch serve` of the same executable and ends when `dev` ends, however that
//! happens (its standard input is held open by `dev`).
//!
//! Promises: waits until every node is ready before it prints the table; when a child exits the
//! others go on and `dev` says how it ended and how to start it again; on Ctrl-C or SIGTERM all
//! are asked to stop, and killed only after a bound. A directory remembers its cluster
//! (`dev.toml`) and refuses another shape.

mod shape;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use futures_util::future::{join_all, select_all};
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};

use self::shape::Shape;
use super::{Failure, print};
use crate::client::{Client, Options};
use crate::fleet::{Child, FleetError, wait_ready};
use crate::runtime::{Env, limits};
use crate::wire::{ClusterView, base_url};

#[derive(Debug, Args)]
pub(super) struct DevArgs {
    /// How many nodes [default: 3, or as the directory has it].
    #[arg(long)]
    nodes: Option<u64>,
    /// Number of groups [default: 8 a node, at least 16].
    #[arg(long)]
    groups: Option<u64>,
    /// Node N listens on this port plus N - 1 [default: 7101].
    #[arg(long)]
    base_port: Option<u16>,
    /// Where everything is kept.
    #[arg(long, default_value = "./dev-data")]
    data_dir: PathBuf,
    /// Prints the table as one JSON line.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: DevArgs, env: &Env) -> Result<(), Failure> {
    let shape = Shape::settle(&args.data_dir, args.nodes, args.groups, args.base_port)?;
    let _lock = shape::lock(&args.data_dir)?;
    shape.check_ports()?;
    shape.remember(&args.data_dir)?;
    // Registered before the first child exists, so that no signal finds children without a keeper.
    let mut stop = Stop::listen()?;
    let mut children = Vec::new();
    for node in 1..=shape.nodes {
        children.push(Child::start(&shape.birth(node, &args.data_dir)).map_err(failed)?);
    }
    let client = client(&shape, env)?;
    let result = tokio::select! {
        () = stop.asked() => Ok(()),
        result = ready_then_watch(&client, &shape, &mut children, args.json, env) => result,
    };
    print::note("stopping");
    let stopped = join_all(children.iter_mut().map(Child::stop)).await;
    for (child, in_time) in children.iter().zip(stopped) {
        if !in_time {
            let (node, seconds) = (child.node, limits::DEV_STOP_SECONDS);
            print::note(format!("node {node} did not stop within {seconds} s and was killed"));
        }
    }
    let dir = args.data_dir.display();
    print::note(format!(
        "stopped; the data is in {dir}, `tetrarch dev` with it goes on from there"
    ));
    result
}

/// Signals that end `dev`.
struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    fn listen() -> Result<Self, Failure> {
        let on = |kind| signal(kind).map_err(|e| Failure::failed(format!("no signals: {e}")));
        Ok(Self {
            interrupt: on(SignalKind::interrupt())?,
            terminate: on(SignalKind::terminate())?,
        })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

fn client(shape: &Shape, env: &Env) -> Result<Client, Failure> {
    let options = Options {
        endpoints: (1..=shape.nodes).map(|node| base_url(&shape.address(node))).collect(),
        timeout: Duration::from_secs(5),
        pinned: false,
    };
    Client::new(options, env).map_err(|error| Failure::usage(error.to_string()))
}

async fn ready_then_watch(
    client: &Client,
    shape: &Shape,
    children: &mut [Child],
    as_json: bool,
    env: &Env,
) -> Result<(), Failure> {
    wait_ready(std::slice::from_ref(client), children, env).await.map_err(failed)?;
    let view = client.cluster().await.map_err(|error| Failure::read(&error))?;
    table(&view, shape, children, as_json);
    watch(children).await
}

#[allow(clippy::needless_pass_by_value, reason = "it stands where errors are turned into others")]
fn failed(error: FleetError) -> Failure {
    Failure::failed(error.to_string())
}

fn table(view: &ClusterView, shape: &Shape, children: &[Child], as_json: bool) {
    let groups = view.groups.len();
    let leads = |node: u64| view.groups.iter().filter(|g| g.leader == Some(node)).count();
    let url = |node| base_url(&shape.address(node));
    if as_json {
        let nodes: Vec<_> = children
            .iter()
            .map(|c| {
                json!({"node": c.node, "url": url(c.node), "pid": c.pid, "leads": leads(c.node),
                    "log": c.log, "data_dir": c.dir})
            })
            .collect();
        print::json(&json!({"nodes": nodes, "groups": groups, "cluster": view.cluster}));
        return;
    }
    let mut table = comfy_table::Table::new();
    table.load_preset(comfy_table::presets::NOTHING);
    table.set_header(["node", "URL", "pid", "groups led"]);
    for child in children {
        let led = format!("{} of {groups}", leads(child.node));
        table.add_row([child.node.to_string(), url(child.node), child.pid.to_string(), led]);
    }
    print::line(table);
    let first = url(1);
    print::line(format!(
        "\nThe cluster is ready. Try\n  tetrarch kv put --endpoint {first} hello world\n  \
         tetrarch cluster status --endpoint {first}\nCtrl-C stops it."
    ));
}

/// Says which child ended and how; returns when none is left.
async fn watch(children: &mut [Child]) -> Result<(), Failure> {
    loop {
        let mut living: Vec<_> = children.iter_mut().filter(|child| !child.is_over()).collect();
        if living.is_empty() {
            return Err(Failure::failed("all nodes have ended"));
        }
        let waits = living.iter_mut().map(|child| Box::pin(child.wait()));
        let (how, which, _) = select_all(waits).await;
        if let Some(child) = living.get(which) {
            print::note(child.obituary(&how.map_err(failed)?));
        }
    }
}
