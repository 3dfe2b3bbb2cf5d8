//! What is true of the real network only: the upgrade, garbage, overload, replaced connections.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::support::{A, B, Door, ECHO, HOLD, TIME, eventually, node, nodes};
use crate::model::NodeId;
use crate::peer::frame::{Frame, Kind};
use crate::peer::handshake::{ConnectError, Purpose, connect};
use crate::peer::{Doorkeeper, Lane, PeerError, PeerOptions, Transport};

#[tokio::test]
async fn garbage_and_long_frames_end_their_connection_and_nothing_else() {
    let (a, b) = nodes(PeerOptions::default()).await;
    a.peers.call(B, ECHO, Lane::Data, Bytes::new(), TIME).await.unwrap();
    let stranger = Door::new(NodeId(3));
    stranger.addresses.lock().insert(B, b.address.clone());
    let stranger: Arc<dyn Doorkeeper> = stranger;
    let mut long = BytesMut::new();
    Frame::bare(Kind::Call, Lane::Data, 1).put(&mut long);
    long[..4].copy_from_slice(&u32::MAX.to_le_bytes());
    let answer = [&[1, 0, 0, 0, 1, Kind::Answer as u8], &[0u8; 14][..], b"x"].concat();
    for bytes in [vec![0xee; 500], long.to_vec(), answer] {
        let mut wire =
            connect(&b.env.tasks, &stranger, B, Purpose::Frames, &PeerOptions::default())
                .await
                .unwrap();
        wire.writer.write_all(&bytes).await.unwrap();
        let end = wire.reader.next().await;
        assert!(matches!(end, Ok(None) | Err(_)), "{end:?}");
    }
    assert!(a.peers.call(B, ECHO, Lane::Data, Bytes::new(), TIME).await.is_ok());
    assert_eq!(a.peers.statuses()[0].1.connections, 1, "A's own connection was not touched");
}

#[tokio::test]
async fn a_request_without_the_upgrade_is_told_what_this_is() {
    let b = node(B, PeerOptions::default()).await;
    let mut stream = TcpStream::connect(&b.address).await.unwrap();
    stream
        .write_all(b"GET /internal/peer HTTP/1.1\r\nhost: b\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    assert!(text.starts_with("HTTP/1.1 426"), "{text}");
    assert!(text.contains("upgrade: tetrarch-peer"), "{text}");
}

#[tokio::test]
async fn an_address_that_leads_to_another_node_is_not_used() {
    let (a, b) = nodes(PeerOptions::default()).await;
    a.door.addresses.lock().insert(NodeId(3), b.address.clone());
    let wrong = a.peers.call(NodeId(3), ECHO, Lane::Data, Bytes::new(), TIME).await.unwrap_err();
    let expected =
        "not sent: refused by the peer: this is node 2, not node 3: its address is out of date";
    assert_eq!(wrong.to_string(), expected);
}

/// Elsewhere than on Linux only 127.0.0.1 itself is an address of the machine.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn connections_come_from_the_address_that_was_set() {
    let source = Some("127.0.1.9".parse().unwrap());
    let a = node(A, PeerOptions { source, ..PeerOptions::default() }).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    a.door.addresses.lock().insert(B, format!("localhost:{port}"));
    a.peers.ensure(B);
    let (_stream, from) = listener.accept().await.unwrap();
    assert_eq!(Some(from.ip()), source);
}

#[tokio::test]
async fn more_calls_than_may_run_are_refused_as_overload() {
    let options = PeerOptions { calls_running: 2, ..PeerOptions::default() };
    let (a, b) = nodes(options).await;
    let held = join_all((0..2).map(|_| a.peers.call(B, HOLD, Lane::Data, Bytes::new(), TIME)));
    let more = async {
        eventually("two run", || b.desk.started.load(Ordering::SeqCst) == 2).await;
        let refused = a.peers.call(B, ECHO, Lane::Data, Bytes::new(), TIME).await;
        b.desk.released.notify_waiters();
        refused
    };
    let (held, refused) = tokio::join!(held, more);
    assert!(held.iter().all(Result::is_ok));
    let PeerError::Refused { reason } = refused.unwrap_err() else { panic!("not refused") };
    assert!(reason.contains("overloaded"), "{reason}");
}

#[tokio::test]
async fn a_newer_connection_of_a_node_replaces_its_older_one() {
    let (a, b) = nodes(PeerOptions::default()).await;
    let door: Arc<dyn Doorkeeper> = a.door.clone();
    let mut older =
        connect(&a.env.tasks, &door, B, Purpose::Frames, &PeerOptions::default()).await.unwrap();
    a.peers.call(B, ECHO, Lane::Data, Bytes::new(), TIME).await.unwrap();
    assert!(matches!(older.reader.next().await, Ok(None) | Err(_)));
    assert!(a.peers.is_connected(B) && !b.peers.is_connected(A));
}

#[tokio::test]
async fn a_peer_that_returns_at_another_address_is_found() {
    let (a, b) = nodes(PeerOptions::default()).await;
    a.peers.set_peers(&[B]);
    let mut status = a.peers.watch(B);
    status.wait_for(|s| s.connected_since.is_some()).await.unwrap();
    b.env.tasks.stop();
    status.wait_for(|s| s.connected_since.is_none()).await.unwrap();
    assert!(status.borrow().last_error.is_some());
    let again = node(B, PeerOptions::default()).await;
    a.door.addresses.lock().insert(B, again.address.clone());
    status.wait_for(|s| s.connected_since.is_some()).await.unwrap();
    assert_eq!(status.borrow().connections, 2);
    a.peers.call(B, ECHO, Lane::Data, Bytes::new(), TIME).await.unwrap();
}

#[tokio::test]
async fn a_connection_that_never_greets_is_given_up() {
    let (a, b) = nodes(PeerOptions::default()).await;
    // A port that accepts and then says nothing at all.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    a.door.addresses.lock().insert(B, silent.local_addr().unwrap().to_string());
    let call = a.peers.call(B, ECHO, Lane::Data, Bytes::new(), TIME).await;
    assert!(matches!(call, Err(PeerError::NotSent { .. })), "{call:?}");
    let mut status = a.peers.watch(B);
    let timed_out = ConnectError::TimedOut.to_string();
    status.wait_for(|s| s.last_error.as_ref() == Some(&timed_out)).await.unwrap();
    a.door.addresses.lock().insert(B, b.address.clone());
    status.wait_for(|s| s.connected_since.is_some()).await.unwrap();
}

#[tokio::test]
async fn calls_under_way_end_when_the_node_stops() {
    let (a, b) = nodes(PeerOptions::default()).await;
    let hour = Duration::from_secs(3_600);
    let call = a.peers.call(B, HOLD, Lane::Data, Bytes::new(), hour);
    let stop = async {
        eventually("the call arrives", || b.desk.started.load(Ordering::SeqCst) == 1).await;
        a.env.tasks.stop();
    };
    let (ended, ()) = tokio::time::timeout(TIME, async { tokio::join!(call, stop) }).await.unwrap();
    assert!(matches!(ended, Err(PeerError::Unknown { .. })), "{ended:?}");
}

#[tokio::test]
async fn a_long_body_whose_connection_breaks_is_never_taken_for_whole() {
    let (a, b) = nodes(PeerOptions::default()).await;
    let door: Arc<dyn Doorkeeper> = a.door.clone();
    let mut wire =
        connect(&a.env.tasks, &door, B, Purpose::Bulk, &PeerOptions::default()).await.unwrap();
    wire.send(&Frame::bare(Kind::BulkOpen, Lane::Data, 0)).await.unwrap();
    let chunk = Frame::with(Kind::BulkData, Lane::Data, 0, vec![1; 10_000].into());
    wire.send(&chunk).await.unwrap();
    drop(wire);
    let told = || b.desk.bulk_errors.load(Ordering::SeqCst) == 1;
    eventually("the receiver hears of the cut", told).await;

    // The receiver dies in the middle of an endless body.
    let endless = futures_util::stream::repeat_with(|| Ok(Bytes::from(vec![1; 50_000])));
    let send = a.peers.send_bulk(B, ECHO, Bytes::new(), endless.boxed());
    let stop = async {
        eventually("it is under way", || b.desk.bulk_bytes.load(Ordering::SeqCst) > 500_000).await;
        b.env.tasks.stop();
    };
    let (cut, ()) = tokio::join!(send, stop);
    assert!(matches!(cut, Err(PeerError::Unknown { .. })), "{cut:?}");
}
