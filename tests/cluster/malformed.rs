//! Whatever arrives on the port, the node stays healthy.

use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::chance::seeded;
use crate::support::cluster::{Cluster, Shape};

const UPGRADE: &str = "GET /internal/peer HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\n\
                       upgrade: tetrarch-peer\r\n\r\n";

/// Whatever a node says to garbage, it says it or hangs up within its own limits; the test does not
/// wait for that.
const LISTEN_FOR: Duration = Duration::from_millis(300);

#[tokio::test(flavor = "multi_thread")]
async fn a_node_stays_healthy_whatever_arrives_on_its_port() {
    let mut rng = seeded("a_node_stays_healthy_whatever_arrives_on_its_port");
    let mut cluster = Cluster::start(&Shape::default()).await;
    cluster.wait_leaders_home(1).await;
    let address = cluster.node(1).address();
    let mut pieces: Vec<(&str, Vec<u8>)> = vec![
        ("nothing", Vec::new()),
        ("half a request line", b"GET /v1/clu".to_vec()),
        ("half a body", b"PUT /v1/ns/default/keys/half HTTP/1.1\r\nhost: x\r\ncontent-length: 999\r\n\r\nabc".to_vec()),
        ("a bad chunk", b"PUT /v1/ns/default/keys/half HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n".to_vec()),
        ("a length that is none", b"PUT /v1/ns/default/keys/half HTTP/1.1\r\nhost: x\r\ncontent-length: -5\r\n\r\n".to_vec()),
        ("an endless header", [b"GET / HTTP/1.1\r\nx: ".to_vec(), vec![b'a'; 1 << 20]].concat()),
        ("another protocol", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec()),
        ("a peer without upgrade", b"GET /internal/peer HTTP/1.1\r\nhost: x\r\n\r\n".to_vec()),
        ("a peer that says nothing", UPGRADE.into()),
        ("a peer with an endless frame", [UPGRADE.as_bytes(), &[0xff; 64]].concat()),
        ("a peer with an empty frame", [UPGRADE.as_bytes(), &[0; 64]].concat()),
    ];
    for _ in 0..200 {
        pieces.push(("noise", noise(&mut rng)));
        let frame = [UPGRADE.as_bytes(), &noise(&mut rng)].concat();
        pieces.push(("a peer that talks noise", frame));
    }
    let sent = pieces.into_iter().map(|(what, bytes)| send(&address, what, bytes));
    futures_util::future::join_all(sent).await;

    assert!(cluster.node_mut(1).exited().is_none(), "node 1 lives");
    cluster.wait_ready(1).await;
    cluster.wait_leaders_home(1).await;
    let answer = cluster.api.get(&cluster.url(2), b"half").await.unwrap();
    assert!(answer.is_missing_key(), "half a request is no request: {}", answer.text());
    let put = cluster.api.put(&cluster.url(1), b"whole", Bytes::from_static(b"v")).await.unwrap();
    assert_eq!(put.status, 201, "{}", put.text());
}

fn noise(rng: &mut fastrand::Rng) -> Vec<u8> {
    let length = rng.usize(1..1000);
    std::iter::repeat_with(|| rng.u8(..)).take(length).collect()
}

/// Sends bytes, listens for a moment, hangs up in the middle of whatever it was.
async fn send(address: &str, what: &str, bytes: Vec<u8>) {
    let Ok(mut stream) = TcpStream::connect(address).await else {
        panic!("{what}: node 1 does not listen any more")
    };
    // A node that hangs up early is right to do so.
    if stream.write_all(&bytes).await.is_err() {
        return;
    }
    let mut answer = Vec::new();
    let heard = tokio::time::timeout(LISTEN_FOR, stream.read_to_end(&mut answer)).await;
    drop((heard, stream));
}
