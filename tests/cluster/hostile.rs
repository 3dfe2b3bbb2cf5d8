//! Slow, endless, broken and numerous clients: each costs little and harms no other.
//!
//! One scenario for each line of docs/api.md's bounds: thousands of connections that say nothing, heads
//! that never end, bodies that never end or never come, broken chunks, bytes that are not UTF-8, giant
//! and repeated headers. During each, an honest client at the same node must be served, and
//! afterwards the node's memory must be near where it was.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::support::api::Api;
use crate::support::cluster::{Cluster, Shape};
use crate::support::node::Node;
use crate::support::wait::wait_until;

/// More than a node keeps open.
const CONNECTIONS: usize = 10_000;

/// What hostile clients may cost in resident memory while they are there: 10,000 connections with
/// their buffers, and what an allocator keeps.
const GROWTH_MAX_MIB: u64 = 600;

/// Answers that an honest client must get during each scenario.
const SERVED: u64 = 30;

/// How long a hostile client waits for what the node says before it hangs up.
const LISTEN_FOR: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn hostile_clients_cost_little_and_harm_nobody() {
    raise_descriptors();
    let cluster = Cluster::start(&Shape::default()).await;
    cluster.wait_leaders_home(1).await;
    let honest = Honest::start(&cluster);
    honest.served("before anything happens").await;
    let before = resident_mib(cluster.node(1));
    slow_heads(&cluster, &honest).await;
    endless_and_slow_bodies(&cluster, &honest).await;
    broken_requests(&cluster).await;
    honest.served("after broken requests").await;
    thousands_of_connections(&cluster, &honest, before).await;
    honest.served("after it all").await;
    honest.stop().await;
}

/// Heads that come one byte at a time, or stop half way.
async fn slow_heads(cluster: &Cluster, honest: &Honest) {
    let mut open = Vec::new();
    for _ in 0..500 {
        let mut stream = connect(cluster).await;
        stream
            .write_all(b"GET /v1/ns/default/keys/a HTTP/1.1\r\nhost: x\r\nx-slow: ")
            .await
            .unwrap();
        open.push(stream);
    }
    for _ in 0..20 {
        for stream in &mut open {
            // The node may have hung up already, which is its right.
            drop(stream.write_all(b"a").await);
        }
    }
    honest.served("beside 500 heads that never end").await;
}

/// Bodies beyond the limit, bodies that never come, bodies that stop.
async fn endless_and_slow_bodies(cluster: &Cluster, honest: &Honest) {
    let mut endless = connect(cluster).await;
    let head =
        "PUT /v1/ns/default/keys/endless HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
    endless.write_all(head.as_bytes()).await.unwrap();
    let chunk = [b"10000\r\n".as_slice(), &vec![b'e'; 0x10000], b"\r\n"].concat();
    let mut sent = 0_usize;
    while sent < 64 << 20 && endless.write_all(&chunk).await.is_ok() {
        sent += chunk.len();
    }
    let said = listen(&mut endless).await;
    assert!(sent < 64 << 20 || said.contains(" 413 "), "an endless body was taken: {said}");
    let mut open = Vec::new();
    for _ in 0..300 {
        let mut stream = connect(cluster).await;
        let head = "PUT /v1/ns/default/keys/never HTTP/1.1\r\nhost: x\r\nrequest-timeout: 2s\r\n\
                    content-length: 1000000\r\n\r\nsome";
        stream.write_all(head.as_bytes()).await.unwrap();
        open.push(stream);
    }
    honest.served("beside 300 bodies that never come").await;
    let mut answered = 0;
    for mut stream in open {
        answered += u32::from(listen(&mut stream).await.contains(" 408 "));
    }
    assert!(answered == 300, "{answered} of 300 slow bodies got a 408");
    let url = cluster.url(1);
    for key in ["endless", "never"] {
        let answer = cluster.api.get(&url, key.as_bytes()).await.unwrap();
        assert!(answer.is_missing_key(), "{key}: half a value was written: {}", answer.text());
    }
}

/// Requests that are wrong in themselves get a 4xx or a closed connection.
async fn broken_requests(cluster: &Cluster) {
    let path = "/v1/ns/default/keys";
    let giant = format!("GET /livez HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "g".repeat(300_000));
    let many = format!("GET /livez HTTP/1.1\r\nhost: x\r\n{}\r\n", "a: b\r\n".repeat(5_000));
    let put = |rest: &str| format!("PUT {path}/broken HTTP/1.1\r\nhost: x\r\n{rest}").into_bytes();
    let scenarios: Vec<(&str, Vec<u8>)> = vec![
        ("a giant header", giant.into_bytes()),
        ("thousands of headers", many.into_bytes()),
        ("a chunk length that is none", put("transfer-encoding: chunked\r\n\r\nxyz\r\nabc\r\n0\r\n\r\n")),
        ("two lengths", put("content-length: 1\r\ncontent-length: 2\r\n\r\nab")),
        ("a negative length", put("content-length: -1\r\n\r\n")),
        ("a namespace that is not UTF-8", b"GET /v1/ns/%ff/keys/a HTTP/1.1\r\nhost: x\r\n\r\n".to_vec()),
        ("raw bytes in the path", b"GET /v1/ns/default/keys/\xff\xfe HTTP/1.1\r\nhost: x\r\n\r\n".to_vec()),
        ("raw bytes in a header", b"GET /v1/ns/default/keys/a HTTP/1.1\r\nhost: x\r\nrequest-timeout: \xff\r\n\r\n".to_vec()),
        ("a header twice", format!("GET {path}/a HTTP/1.1\r\nhost: x\r\nif-none-match: \"1-1\"\r\nidempotency-key: a\r\nidempotency-key: b\r\nrequest-timeout: x\r\n\r\n").into_bytes()),
        ("a broken escape", b"GET /v1/ns/default/keys/%zz HTTP/1.1\r\nhost: x\r\n\r\n".to_vec()),
        ("an unknown parameter", b"GET /v1/ns/default/keys/a?reed=stale HTTP/1.1\r\nhost: x\r\n\r\n".to_vec()),
        ("a long key", format!("GET {path}/{} HTTP/1.1\r\nhost: x\r\n\r\n", "k".repeat(5000)).into_bytes()),
        ("no HTTP at all", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".to_vec()),
        ("another version", b"GET /livez HTTP/9.9\r\nhost: x\r\n\r\n".to_vec()),
        ("a bad batch", b"POST /v1/ns/default/batch HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n[]".to_vec()),
        ("a txn that is no JSON", b"POST /v1/ns/default/txn HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 3\r\n\r\n{\"i".to_vec()),
        ("a cursor that is none", format!("GET {path}?cursor=abc HTTP/1.1\r\nhost: x\r\n\r\n").into_bytes()),
    ];
    for (what, bytes) in scenarios {
        let mut stream = connect(cluster).await;
        // A node that has seen enough may hang up while the rest is on its way.
        drop(stream.write_all(&bytes).await);
        let said = listen(&mut stream).await;
        let status = said.split(' ').nth(1).unwrap_or_default();
        assert!(
            said.is_empty()
                || status.starts_with('4')
                || (status == "505" && what == "another version"),
            "{what} was answered by {:?}",
            said.lines().next()
        );
    }
}

/// More connections than the node keeps, all silent.
async fn thousands_of_connections(cluster: &Cluster, honest: &Honest, before: u64) {
    let mut open = Vec::with_capacity(CONNECTIONS);
    let address = cluster.node(1).address();
    for _ in 0..CONNECTIONS {
        // The kernel's queue may be full for a moment; a refused one is no failure of the node.
        let connect = TcpStream::connect(&address);
        if let Ok(Ok(stream)) = tokio::time::timeout(Duration::from_secs(2), connect).await {
            open.push(stream);
        }
    }
    honest.served(&format!("beside {} silent connections", open.len())).await;
    let now = resident_mib(cluster.node(1));
    println!("  {} silent connections: {before} MiB resident before, {now} MiB now", open.len());
    assert!(open.len() > CONNECTIONS / 2, "only {} connections were made", open.len());
    assert!(now < before + GROWTH_MAX_MIB, "hostile clients took {} MiB", now - before);
}

async fn connect(cluster: &Cluster) -> TcpStream {
    let address = cluster.node(1).address();
    wait_until("a connection is taken", async || {
        TcpStream::connect(&address).await.map_err(|error| error.to_string())
    })
    .await
}

/// What the node says until it hangs up or nothing more comes.
async fn listen(stream: &mut TcpStream) -> String {
    let mut said = Vec::new();
    let mut buffer = [0_u8; 4096];
    while let Ok(Ok(count)) = tokio::time::timeout(LISTEN_FOR, stream.read(&mut buffer)).await {
        said.extend_from_slice(&buffer[..count]);
        if count == 0 || said.windows(4).any(|end| end == b"\r\n\r\n") {
            break;
        }
    }
    String::from_utf8_lossy(&said).into_owned()
}

/// A client that reads and writes at the attacked node all the time, on connections of its own.
struct Honest {
    answers: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Honest {
    fn start(cluster: &Cluster) -> Self {
        let (answers, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (api, url): (Api, String) = (Api::new(), cluster.url(1));
        let (counted, stopped) = (Arc::clone(&answers), Arc::clone(&stop));
        let task = tokio::spawn(async move {
            let mut number = 0_u64;
            while !stopped.load(Ordering::Relaxed) {
                number += 1;
                let key = format!("honest/{}", number % 100);
                let value = Bytes::from(number.to_string());
                let put = api.put(&url, key.as_bytes(), value.clone()).await.unwrap();
                assert!(put.status < 300, "{}", put.text());
                let got = api.get(&url, key.as_bytes()).await.unwrap();
                assert_eq!((got.status, got.body), (200, value));
                counted.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { answers, stop, task }
    }

    async fn served(&self, when: &str) {
        let goal = self.answers.load(Ordering::Relaxed) + SERVED;
        wait_until(&format!("an honest client is served {when}"), async || {
            assert!(!self.task.is_finished(), "an honest client was not served {when}");
            let now = self.answers.load(Ordering::Relaxed);
            if now >= goal { Ok(()) } else { Err(format!("{} answers are missing", goal - now)) }
        })
        .await;
    }

    async fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.expect("the honest client was always served");
    }
}

fn raise_descriptors() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).expect("the soft limit can be raised to the hard one");
}

/// Resident memory of a node's process.
fn resident_mib(node: &Node) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", node.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("Linux tells it");
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib / 1024
}
