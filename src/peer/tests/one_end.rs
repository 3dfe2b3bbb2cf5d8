//! One end of a connection against a pipe that the test holds: queues, lanes and verdicts.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use tokio::io::{DuplexStream, duplex, split};

use super::support::{B, ECHO, TIME, eventually};
use crate::peer::connection::{Connection, ReadHalf, WriteHalf};
use crate::peer::frame::{Frame, FrameReader, Kind};
use crate::peer::{Lane, PeerError, PeerMetrics, PeerOptions};
use crate::runtime::Env;
use crate::runtime::metrics::Metrics;

/// Our end runs; the other end is returned, unread.
fn end(options: &PeerOptions) -> (Arc<Connection>, DuplexStream, tokio::task::JoinHandle<()>) {
    let env = Env::system();
    let metrics = PeerMetrics::new(&Metrics::default());
    let connection = Connection::new(B, env.clone(), options, metrics);
    let (ours, theirs) = duplex(1_024);
    let (read, write) = split(ours);
    let (read, write): (ReadHalf, WriteHalf) = (Box::new(read), Box::new(write));
    let running = Arc::clone(&connection);
    let done = env.tasks.spawn_to_end("test-connection", async move {
        running.run(FrameReader::new(read, &[]), write, None).await;
    });
    (connection, theirs, done)
}

fn quiet() -> PeerOptions {
    let hour = Duration::from_secs(3_600);
    PeerOptions { ping_every: hour, silence_max: hour, ..PeerOptions::default() }
}

#[tokio::test]
async fn a_full_queue_refuses_at_once_and_a_break_tells_written_from_unwritten() {
    let options = PeerOptions { queue_frames: 8, ..quiet() };
    let (connection, theirs, done) = end(&options);
    let first = {
        let connection = Arc::clone(&connection);
        // Larger than the pipe: the writer is stuck inside this frame.
        async move { connection.call(ECHO, Lane::Data, vec![1; 5_000].into(), TIME).await }
    };
    let rest = async {
        eventually("the writer took the first", || connection.lanes.queued_bytes() == 0).await;
        let calls = (0..20).map(|_| connection.call(ECHO, Lane::Data, Bytes::new(), TIME));
        let cut = async {
            eventually("eight wait", || connection.lanes.queued_bytes() == 8 * 20).await;
            drop(theirs);
        };
        tokio::join!(join_all(calls), cut).0
    };
    let (first, rest) = tokio::join!(first, rest);
    assert!(matches!(first, Err(PeerError::Unknown { .. })), "{first:?}");
    let full = |r: &Result<_, PeerError>| r.as_ref().is_err_and(|e| e.to_string().contains("full"));
    assert_eq!(rest.iter().filter(|r| full(r)).count(), 12);
    assert!(rest.iter().all(|r| matches!(r, Err(PeerError::NotSent { .. }))), "{rest:?}");
    done.await.unwrap();
    let closed = connection.call(ECHO, Lane::Data, Bytes::new(), TIME).await;
    assert!(matches!(closed, Err(PeerError::NotSent { .. })), "{closed:?}");
}

#[tokio::test]
async fn control_overtakes_data_that_waits() {
    let (connection, theirs, _done) = end(&quiet());
    let call = |lane, size: usize| connection.call(ECHO, lane, vec![0; size].into(), TIME);
    let stuck = call(Lane::Data, 5_000);
    let rest = async {
        // The ping of the start and the first call are with the writer.
        eventually("the writer took the first", || connection.lanes.queued_bytes() == 0).await;
        let data = join_all((0..5).map(|_| call(Lane::Data, 10)));
        let control = call(Lane::Control, 10);
        let read = async {
            eventually("all wait", || connection.lanes.queued_bytes() == 6 * 30).await;
            let mut reader = FrameReader::new(theirs, &[]);
            let mut calls = Vec::new();
            while calls.len() < 7 {
                let frame = reader.next().await.unwrap().unwrap();
                if frame.kind == Kind::Call {
                    calls.push(frame.lane);
                }
            }
            connection.close();
            calls
        };
        tokio::join!(data, control, read).2
    };
    let (_, order) = tokio::join!(stuck, rest);
    let mut expected = vec![Lane::Data; 7];
    expected[1] = Lane::Control;
    assert_eq!(order, expected);
}

#[tokio::test]
async fn a_call_that_ran_out_of_time_in_the_queue_is_never_written() {
    let (connection, theirs, _done) = end(&quiet());
    let stuck = connection.call(ECHO, Lane::Data, vec![0; 5_000].into(), TIME);
    let rest = async {
        eventually("the writer took the first", || connection.lanes.queued_bytes() == 0).await;
        let short = Duration::from_millis(20);
        let late = connection.call(ECHO, Lane::Data, Bytes::from_static(b"late"), short).await;
        assert!(matches!(late, Err(PeerError::NotSent { .. })), "{late:?}");
        let mut reader = FrameReader::new(theirs, &[]);
        let last = connection.call(ECHO, Lane::Data, Bytes::from_static(b"last"), TIME);
        let read = async {
            loop {
                let frame = reader.next().await.unwrap().unwrap();
                assert_ne!(frame.payload, "late");
                if frame.payload == "last" {
                    connection.close();
                    return;
                }
            }
        };
        tokio::join!(last, read).0
    };
    let (stuck, last) = tokio::join!(stuck, rest);
    for call in [stuck, last] {
        assert!(matches!(call, Err(PeerError::Unknown { .. })), "{call:?}");
    }
}

#[tokio::test]
async fn a_silent_peer_is_dead() {
    let options = PeerOptions {
        ping_every: Duration::from_millis(5),
        silence_max: Duration::from_millis(40),
        ..PeerOptions::default()
    };
    let (connection, _theirs, done) = end(&options);
    let call = connection.call(ECHO, Lane::Data, Bytes::new(), TIME).await;
    assert!(matches!(call, Err(PeerError::Unknown { .. })), "{call:?}");
    done.await.unwrap();
    assert!(connection.lanes.closed().unwrap().contains("nothing heard"));
}

#[tokio::test]
async fn a_peer_that_breaks_the_rules_of_streams_is_cut_off() {
    use crate::peer::handshake::Wire;
    for kind in [Kind::StreamCredit, Kind::StreamData, Kind::Call] {
        let (connection, theirs, done) = end(&quiet());
        let stream = connection.open_stream(ECHO, Lane::Data, Bytes::new()).unwrap();
        let (read, write) = split(theirs);
        let (read, write): (ReadHalf, WriteHalf) = (Box::new(read), Box::new(write));
        let mut wire = Wire { reader: FrameReader::new(read, &[]), writer: write };
        let mut frame = Frame::bare(kind, Lane::Data, 1);
        frame.word = 1;
        // Far more messages than the window holds, none of which is taken.
        for _ in 0..5_000 {
            if wire.send(&frame).await.is_err() {
                break;
            }
        }
        done.await.unwrap();
        let reason = connection.lanes.closed().unwrap();
        assert!(reason.contains("the peer "), "{kind:?}: {reason}");
        drop(stream);
    }
}
