//! How many calls a second the peer room carries over loopback, and what one costs.
//!
//! Two nodes in one process, 200 bytes there and 16 bytes back, at 1, 32 and 256 calls in flight;
//! the CPU time is that of the whole process, so both ends together.
//! Run: `cargo run --release --example peer_rate [seconds per step]`.

#![allow(clippy::print_stdout, reason = "the table is what this program is for")]

use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tetrarch::model::{Incarnation, NodeId};
use tetrarch::peer::hello::PROTOCOL;
use tetrarch::peer::{
    Channel, Doorkeeper, Hello, Inbox, Lane, PEER_PATH, PeerMetrics, PeerStream, Peers, Refusal,
    Refused, Transport,
};
use tetrarch::runtime::Env;
use tetrarch::runtime::metrics::Metrics;
use tokio::sync::mpsc;

const TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug)]
struct Door {
    node: NodeId,
    other: String,
}

impl Doorkeeper for Door {
    fn hello(&self) -> Hello {
        Hello {
            protocol: PROTOCOL,
            cluster: None,
            node: self.node,
            incarnation: Incarnation(self.node.0),
            address: String::new(),
            recovered_lsn: 0,
            flushed_lsn: 0,
            run: 1,
            wanted: None,
        }
    }

    fn admit(&self, _theirs: &Hello) -> Result<(), Refusal> {
        Ok(())
    }

    fn refused(&self, _by: NodeId, _refusal: &Refusal) {}

    fn address(&self, _node: NodeId) -> Option<String> {
        Some(self.other.clone())
    }
}

#[derive(Debug)]
struct Short;

#[async_trait]
impl Inbox for Short {
    async fn call(&self, _: NodeId, _: Channel, _: Bytes) -> Result<Bytes, Refused> {
        Ok(Bytes::from_static(&[7; 16]))
    }

    async fn stream(&self, _: NodeId, _: Channel, _: Bytes, _: PeerStream) {}

    async fn bulk(
        &self,
        _: NodeId,
        _: Channel,
        _: Bytes,
        _: mpsc::Receiver<io::Result<Bytes>>,
    ) -> Result<Bytes, Refused> {
        Err(Refused::new("not measured"))
    }
}

fn peers(env: &Env, node: NodeId, other: String) -> Peers {
    let metrics = PeerMetrics::new(&Metrics::default());
    let peers = Peers::new(env.clone(), Arc::new(Door { node, other }), metrics);
    peers.set_inbox(Arc::new(Short));
    peers
}

/// User and system time of this process, from `/proc/self/stat` in ticks of 10 ms.
async fn cpu() -> Duration {
    let stat = tokio::fs::read_to_string("/proc/self/stat").await.unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|f| f.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

async fn step(env: &Env, peers: &Peers, in_flight: u64, time: Duration) {
    let started = env.clock.now();
    let until = started + time;
    let cpu_before = cpu().await;
    let callers = (0..in_flight).map(|_| {
        let (peers, env) = (peers.clone(), env.clone());
        let mut calls = 0u64;
        let (done, count) = tokio::sync::oneshot::channel();
        let tasks = env.tasks.clone();
        tasks.spawn("caller", async move {
            let body = Bytes::from(vec![1; 200]);
            while env.clock.now() < until {
                let call = peers.call(NodeId(2), Channel(1), Lane::Data, body.clone(), TIMEOUT);
                call.await.expect("a call over loopback is answered");
                calls += 1;
            }
            done.send(calls).expect("the count is waited for below");
        });
        count
    });
    let mut calls = 0;
    for count in callers.collect::<Vec<_>>() {
        calls += count.await.expect("every caller reports");
    }
    let spent = cpu().await.saturating_sub(cpu_before);
    let seconds = env.clock.now().since(started).as_secs_f64();
    #[allow(clippy::cast_precision_loss, reason = "figures for people")]
    let calls = calls as f64;
    println!(
        "{in_flight:>9} {:>12.0} {:>14.2} {:>12.1}",
        calls / seconds,
        spent.as_secs_f64() * 1e6 / calls,
        spent.as_secs_f64() / seconds * 100.0
    );
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let seconds = std::env::args().nth(1).and_then(|s| s.parse().ok()).unwrap_or(3);
    let env = Env::system();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    let answering = peers(&env, NodeId(2), String::new());
    let accept = axum::routing::get(move |request| async move { answering.accept(request).await });
    let router = axum::Router::new().route(PEER_PATH, accept);
    env.tasks.spawn("http", async move {
        axum::serve(listener, router).await.expect("the server runs until the process ends");
    });
    let asking = peers(&env, NodeId(1), address);
    println!("in flight      calls/s    CPU us/call   CPU % core");
    for in_flight in [1, 32, 256] {
        step(&env, &asking, in_flight, Duration::from_secs(seconds)).await;
    }
    env.tasks.stop();
    Ok(())
}
