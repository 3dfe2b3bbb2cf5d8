//! What `Transport` promises, on the real network and on the one in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, stream};

use super::support::{A, B, ECHO, HOLD, REFUSE, TIME, eventually, pairs};
use crate::model::NodeId;
use crate::peer::{Lane, PeerError, Refusal};

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

#[tokio::test]
async fn a_call_is_answered_and_a_refusal_is_told_apart() {
    for pair in pairs().await {
        for lane in [Lane::Control, Lane::Data] {
            let answer = pair.a.call(B, ECHO, lane, bytes("hi"), TIME).await;
            assert_eq!(answer.unwrap(), "hi", "{}", pair.name);
        }
        let big = Bytes::from(vec![9; 3_000_000]);
        assert_eq!(pair.a.call(B, ECHO, Lane::Data, big.clone(), TIME).await.unwrap(), big);
        let refused = pair.a.call(B, REFUSE, Lane::Data, bytes("hi"), TIME).await.unwrap_err();
        assert_eq!(refused, PeerError::Refused { reason: "not today".to_owned() });
        assert!(pair.a.is_connected(B) && pair.a.connected_since(B).is_some(), "{}", pair.name);
    }
}

#[tokio::test]
async fn what_cannot_be_sent_is_known_as_not_sent() {
    for pair in pairs().await {
        let nowhere = pair.a.call(NodeId(9), ECHO, Lane::Data, bytes("x"), TIME).await;
        assert!(matches!(nowhere, Err(PeerError::NotSent { .. })), "{}: {nowhere:?}", pair.name);
        assert!(!pair.a.is_connected(NodeId(9)));
        let long = Bytes::from(vec![0; 9_000_000]);
        let too_long = pair.a.call(B, ECHO, Lane::Data, long, TIME).await;
        assert!(matches!(too_long, Err(PeerError::NotSent { .. })), "{}: {too_long:?}", pair.name);
        assert_eq!(pair.desk.started.load(Ordering::SeqCst), 0, "{}", pair.name);
    }
}

#[tokio::test]
async fn a_call_without_an_answer_in_time_is_unknown() {
    for pair in pairs().await {
        pair.a.call(B, ECHO, Lane::Data, Bytes::new(), TIME).await.unwrap();
        let short = Duration::from_millis(200);
        let late = pair.a.call(B, HOLD, Lane::Data, bytes("x"), short).await;
        assert!(matches!(late, Err(PeerError::Unknown { .. })), "{}: {late:?}", pair.name);
        pair.desk.released.notify_one();
        // The answer that comes too late harms nobody.
        assert!(pair.a.call(B, ECHO, Lane::Data, bytes("y"), TIME).await.is_ok());
    }
}

#[tokio::test]
async fn a_stream_keeps_its_order_and_ends_when_its_sender_is_dropped() {
    for pair in pairs().await {
        let mut stream = pair.a.open_stream(B, ECHO, Lane::Data, bytes("header")).await.unwrap();
        assert_eq!(stream.recv.recv().await.unwrap(), "header");
        let send = async move {
            for n in 0..5_000u32 {
                let message = Bytes::from(n.to_le_bytes().repeat(1 + n as usize % 50));
                stream.send.send(message).await.unwrap();
            }
        };
        let receive = async {
            let mut next = 0u32;
            while let Some(message) = stream.recv.recv().await {
                assert_eq!(message[..4], next.to_le_bytes(), "{}", pair.name);
                assert_eq!(message.len(), 4 * (1 + next as usize % 50));
                next += 1;
            }
            next
        };
        let ((), received) = tokio::join!(send, receive);
        assert_eq!(received, 5_000, "{}", pair.name);
    }
}

#[tokio::test]
async fn dropping_the_reader_makes_the_other_side_fail_to_send() {
    for pair in pairs().await {
        let stream = pair.a.open_stream(B, HOLD, Lane::Data, Bytes::new()).await.unwrap();
        eventually("the stream arrives", || !pair.desk.held.lock().is_empty()).await;
        let theirs = pair.desk.held.lock().pop().unwrap();
        drop(theirs.recv);
        stream.send.closed().await;
        drop(stream);
        theirs.send.closed().await;
    }
}

#[tokio::test]
async fn a_slow_consumer_is_bounded_and_does_not_block_calls() {
    for pair in pairs().await {
        let stream = pair.a.open_stream(B, HOLD, Lane::Data, Bytes::new()).await.unwrap();
        eventually("the stream arrives", || !pair.desk.held.lock().is_empty()).await;
        let sent = Arc::new(AtomicUsize::new(0));
        let message = Bytes::from(vec![1; 64 * 1024]);
        let send = async {
            for _ in 0..2_000 {
                stream.send.send(message.clone()).await.unwrap();
                sent.fetch_add(1, Ordering::SeqCst);
            }
        };
        let mut send = std::pin::pin!(send);
        // Calls go on while the stream is stuck: 125 MiB would have to be buffered otherwise.
        for n in 0..500u32 {
            assert!(send.as_mut().now_or_never().is_none(), "{}: nothing held it", pair.name);
            let body = Bytes::copy_from_slice(&n.to_le_bytes());
            assert_eq!(pair.a.call(B, ECHO, Lane::Data, body.clone(), TIME).await.unwrap(), body);
        }
        let stuck = sent.load(Ordering::SeqCst);
        assert!(stuck < 300, "{}: {stuck} messages were absorbed", pair.name);
        let mut theirs = pair.desk.held.lock().pop().unwrap();
        let receive = async {
            for _ in 0..2_000 {
                assert_eq!(theirs.recv.recv().await.unwrap().len(), 64 * 1024);
            }
        };
        tokio::join!(send, receive);
    }
}

#[tokio::test]
async fn a_connection_broken_mid_call_gives_unknown_and_comes_back() {
    for pair in pairs().await {
        let mut stream = pair.a.open_stream(B, HOLD, Lane::Data, Bytes::new()).await.unwrap();
        let call = pair.a.call(B, HOLD, Lane::Data, bytes("x"), TIME);
        let break_it = async {
            eventually("the call arrives", || {
                pair.desk.started.load(Ordering::SeqCst) == 1 && pair.desk.held.lock().len() == 1
            })
            .await;
            (pair.break_now)();
        };
        let (broken, ()) = tokio::join!(call, break_it);
        assert!(matches!(broken, Err(PeerError::Unknown { .. })), "{}: {broken:?}", pair.name);
        assert!(stream.recv.recv().await.is_none(), "{}", pair.name);
        stream.send.closed().await;
        let mut theirs = pair.desk.held.lock().pop().unwrap();
        assert!(theirs.recv.recv().await.is_none(), "{}", pair.name);
        eventually("the connection comes back", || pair.a.is_connected(B)).await;
        assert!(pair.a.call(B, ECHO, Lane::Data, bytes("y"), TIME).await.is_ok(), "{}", pair.name);
    }
}

#[tokio::test]
async fn a_refused_node_hears_why_and_its_calls_are_not_sent() {
    for pair in pairs().await {
        let refusal = Refusal::Restored { seen_lsn: 8, found_lsn: 3 };
        *pair.doors.1.thinks.lock() = Err(refusal.clone());
        let refused = pair.a.call(B, ECHO, Lane::Data, bytes("x"), TIME).await.unwrap_err();
        let PeerError::NotSent { reason } = &refused else { panic!("{}: {refused}", pair.name) };
        assert!(reason.contains("old copy"), "{}: {reason}", pair.name);
        assert_eq!(pair.doors.0.heard.lock()[0], (B, refusal), "{}", pair.name);

        // The other way round: B is the one that A will not have, and B hears it.
        *pair.doors.1.thinks.lock() = Ok(());
        *pair.doors.0.thinks.lock() = Err(Refusal::Removed);
        let call = pair.a.call(B, ECHO, Lane::Data, bytes("x"), TIME).await;
        assert!(matches!(call, Err(PeerError::NotSent { .. })), "{}: {call:?}", pair.name);
        let heard = || pair.doors.1.heard.lock().first() == Some(&(A, Refusal::Removed));
        eventually("B hears the refusal", heard).await;
        assert_eq!(pair.desk.started.load(Ordering::SeqCst), 0, "{}", pair.name);
    }
}

#[tokio::test]
async fn a_long_body_arrives_whole_in_bounded_memory() {
    const PIECE: usize = 300_000;
    for pair in pairs().await {
        let produced = Arc::new(AtomicUsize::new(0));
        let ahead = Arc::new(AtomicUsize::new(0));
        let (counted, most, desk) = (produced.clone(), ahead.clone(), pair.desk.clone());
        let body = stream::iter(0..224u32).map(move |n| {
            let total = counted.fetch_add(PIECE, Ordering::SeqCst) + PIECE;
            most.fetch_max(total - desk.bulk_bytes.load(Ordering::SeqCst), Ordering::SeqCst);
            Ok(Bytes::from(vec![n.to_le_bytes()[0]; PIECE]))
        });
        let answer = pair.a.send_bulk(B, ECHO, bytes("snapshot"), body.boxed()).await.unwrap();
        let mut hash = xxhash_rust::xxh3::Xxh3::new();
        (0..224u32).for_each(|n| hash.update(&vec![n.to_le_bytes()[0]; PIECE]));
        assert_eq!(answer, format!("snapshot:{:016x}", hash.digest()), "{}", pair.name);
        assert_eq!(pair.desk.bulk_bytes.load(Ordering::SeqCst), 224 * PIECE);
        let ahead = ahead.load(Ordering::SeqCst);
        assert!(ahead < 24_000_000, "{}: the sender was {ahead} bytes ahead", pair.name);
    }
}

#[tokio::test]
async fn a_long_body_that_is_cut_is_an_error_on_both_sides() {
    for pair in pairs().await {
        let body = stream::iter((0..40).map(|_| Ok(Bytes::from(vec![5; 100_000]))))
            .chain(stream::once(async { Err(std::io::Error::other("the disk is gone")) }));
        let cut = pair.a.send_bulk(B, ECHO, Bytes::new(), body.boxed()).await.unwrap_err();
        let PeerError::Unknown { reason } = &cut else { panic!("{}: {cut}", pair.name) };
        assert!(reason.contains("the disk is gone"), "{}: {reason}", pair.name);
        let told = || pair.desk.bulk_errors.load(Ordering::SeqCst) == 1;
        eventually("the receiver hears of the cut", told).await;
    }
}

#[tokio::test]
async fn a_long_body_may_be_refused_before_it_is_read() {
    for pair in pairs().await {
        let body = stream::iter((0..400).map(|_| Ok(Bytes::from(vec![5; 100_000]))));
        let refused = pair.a.send_bulk(B, REFUSE, Bytes::new(), body.boxed()).await;
        let expected = PeerError::Refused { reason: "no room".to_owned() };
        assert_eq!(refused.unwrap_err(), expected, "{}", pair.name);
    }
}
