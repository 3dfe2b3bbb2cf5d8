//! Every setting of a link can be seen by those who talk over it.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{Instant, timeout};

use super::*;
use crate::cluster::links::{LinkCounts, Shape};

/// Longer than anything here takes; shorter than anybody wants to wait for a failure.
const SOON: Duration = Duration::from_secs(20);

/// Node 1 and node 2, which are this test, and the proxy of node 2 between them.
struct Pair {
    links: Links,
    port: u16,
    node: TcpListener,
    _crew: Crew,
}

impl Pair {
    async fn new() -> Self {
        let node = TcpListener::bind((own_address(2), 0)).await.unwrap();
        let port = node.local_addr().unwrap().port();
        let (crew, links) = (Crew::default(), Links::new(2));
        start(&crew, &links, 2, port).await.unwrap();
        Self { links, port, node, _crew: crew }
    }

    async fn dial(&self) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((own_address(1), 0).into()).unwrap();
        socket.connect((proxy_address(2), self.port).into()).await.unwrap()
    }

    /// A connection from 1 to 2 as both see it.
    async fn connect(&self) -> (TcpStream, TcpStream) {
        let dialled = self.dial().await;
        let (accepted, _) = timeout(SOON, self.node.accept()).await.unwrap().unwrap();
        (dialled, accepted)
    }

    fn block(&self, from: u32, to: u32, block: Block) {
        self.links.get(from, to).unwrap().set_block(block);
    }

    fn shape(&self, from: u32, to: u32, shape: Shape) {
        self.links.get(from, to).unwrap().set_shape(shape);
    }

    fn counts(&self, from: u32, to: u32) -> LinkCounts {
        self.links.get(from, to).unwrap().counts()
    }

    async fn counted(&self, from: u32, to: u32, is_so: impl Fn(LinkCounts) -> bool) {
        let seen = async {
            while !is_so(self.counts(from, to)) {
                tokio::task::yield_now().await;
            }
        };
        timeout(SOON, seen).await.unwrap();
    }
}

async fn says(from: &mut TcpStream, to: &mut TcpStream, text: &str) {
    from.write_all(text.as_bytes()).await.unwrap();
    hears(to, text).await;
}

async fn hears(to: &mut TcpStream, text: &str) {
    let mut bytes = vec![0; text.len()];
    timeout(SOON, to.read_exact(&mut bytes)).await.unwrap().unwrap();
    assert_eq!(String::from_utf8(bytes).unwrap(), text);
}

#[tokio::test]
async fn an_open_link_passes_both_ways_and_counts_both() {
    let pair = Pair::new().await;
    let (mut one, mut two) = pair.connect().await;
    says(&mut one, &mut two, "question").await;
    says(&mut two, &mut one, "an answer").await;
    pair.counted(1, 2, |counts| counts.passed == 8).await;
    pair.counted(2, 1, |counts| counts.passed == 9).await;
    assert_eq!(pair.counts(1, 2).withheld, 0);
    drop(one);
    assert_eq!(two.read(&mut [0; 8]).await.unwrap(), 0, "an end is an end on the other side");
}

#[tokio::test]
async fn a_stalled_link_holds_one_direction_and_delivers_it_when_it_opens() {
    let pair = Pair::new().await;
    let (mut one, mut two) = pair.connect().await;
    pair.block(1, 2, Block::Stall);
    one.write_all(b"held").await.unwrap();
    pair.counted(1, 2, |counts| counts.withheld > 0).await;
    says(&mut two, &mut one, "the other way is open").await;
    assert_eq!(pair.counts(1, 2).passed, 0);
    let late = Instant::now();
    pair.block(1, 2, Block::Open);
    hears(&mut two, "held").await;
    assert!(late.elapsed() < SOON);
}

#[tokio::test]
async fn answers_on_the_other_nodes_connection_take_the_same_link() {
    let pair = Pair::new().await;
    let (mut one, mut two) = pair.connect().await;
    // What node 2 sends is held although node 1 made the connection.
    pair.block(2, 1, Block::Stall);
    says(&mut one, &mut two, "question").await;
    two.write_all(b"answer").await.unwrap();
    pair.counted(2, 1, |counts| counts.withheld > 0).await;
    assert_eq!(pair.counts(2, 1).passed, 0);
    pair.block(2, 1, Block::Open);
    hears(&mut one, "answer").await;
}

#[tokio::test]
async fn a_connection_is_made_only_when_both_directions_are_open() {
    let pair = Pair::new().await;
    pair.block(2, 1, Block::Stall);
    let mut one = pair.dial().await;
    one.write_all(b"hello?").await.unwrap();
    pair.counted(2, 1, |counts| counts.withheld > 0).await;
    // One that nobody waits for any more never reaches the node.
    let given_up = pair.dial().await;
    drop(given_up);
    pair.block(2, 1, Block::Open);
    let (mut two, _) = timeout(SOON, pair.node.accept()).await.unwrap().unwrap();
    hears(&mut two, "hello?").await;
}

#[tokio::test]
async fn a_cut_link_resets_what_is_there_and_refuses_what_is_new() {
    let pair = Pair::new().await;
    let (mut one, mut two) = pair.connect().await;
    says(&mut one, &mut two, "before").await;
    pair.block(1, 2, Block::Cut);
    for stream in [&mut one, &mut two] {
        let error = timeout(SOON, stream.read(&mut [0; 8])).await.unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }
    let mut new = pair.dial().await;
    assert!(timeout(SOON, new.read(&mut [0; 8])).await.unwrap().is_err());
    pair.counted(1, 2, |counts| counts.withheld > 0).await;
    pair.block(1, 2, Block::Open);
    let (mut one, mut two) = pair.connect().await;
    says(&mut one, &mut two, "after").await;
}

#[tokio::test]
async fn delay_takes_time_and_keeps_the_order() {
    let pair = Pair::new().await;
    let (mut one, mut two) = pair.connect().await;
    let delay = Duration::from_millis(60);
    pair.shape(1, 2, Shape { delay, jitter: delay / 2, seed: 1, ..Shape::default() });
    let sent = Instant::now();
    for text in ["first ", "second ", "third"] {
        one.write_all(text.as_bytes()).await.unwrap();
        tokio::task::yield_now().await;
    }
    hears(&mut two, "first second third").await;
    assert!(sent.elapsed() >= delay / 2);
    assert!(pair.counts(1, 2).treated >= 18);
}

#[tokio::test]
async fn loss_is_seen_as_the_time_that_a_retransmission_takes() {
    let pair = Pair::new().await;
    let (mut one, mut two) = pair.connect().await;
    pair.shape(1, 2, Shape { loss: 1000, seed: 1, ..Shape::default() });
    let sent = Instant::now();
    says(&mut one, &mut two, "again").await;
    assert!(sent.elapsed() >= Duration::from_millis(200));
}

#[tokio::test]
async fn bandwidth_holds_up_what_follows() {
    let pair = Pair::new().await;
    let (mut one, mut two) = pair.connect().await;
    pair.shape(1, 2, Shape { bytes_per_second: Some(100_000), seed: 1, ..Shape::default() });
    let sent = Instant::now();
    let much = "x".repeat(50_000);
    says(&mut one, &mut two, &much).await;
    // All but the last piece had to be paid for.
    assert!(sent.elapsed() >= Duration::from_millis(300), "{:?}", sent.elapsed());
}

#[tokio::test]
async fn strangers_are_let_through() {
    let pair = Pair::new().await;
    pair.block(1, 2, Block::Cut);
    pair.block(2, 1, Block::Stall);
    let mut client = TcpStream::connect((proxy_address(2), pair.port)).await.unwrap();
    let (mut two, _) = timeout(SOON, pair.node.accept()).await.unwrap().unwrap();
    says(&mut client, &mut two, "from nowhere").await;
}
