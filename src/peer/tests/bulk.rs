//! Both ends of a long body over a pipe, with a clock that the test moves.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, stream};
use tokio::io::{DuplexStream, duplex, split};
use tokio::sync::Semaphore;

use super::support::{A, Desk, HOLD};
use crate::peer::frame::{FrameReader, Kind};
use crate::peer::handshake::Wire;
use crate::peer::{PeerError, PeerOptions, bulk};
use crate::runtime::limits::{PEER_BULK_ANSWER_MAX, PEER_SILENCE_MAX};

fn wire(pipe: DuplexStream) -> Wire {
    let (read, write) = split(pipe);
    Wire { reader: FrameReader::new(Box::new(read), &[]), writer: Box::new(write) }
}

fn body() -> BoxStream<'static, std::io::Result<Bytes>> {
    stream::iter([Ok(Bytes::from("snapshot"))]).boxed()
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_is_gone_before_it_answers_is_given_up_like_any_silent_peer() {
    let (ours, theirs) = duplex(64 * 1024);
    let (options, mut theirs) = (PeerOptions::default(), wire(theirs));
    let send = bulk::send(wire(ours), &options, HOLD, Bytes::new(), body());
    // Without power: it took everything, and the socket is never closed.
    let receive = async {
        while theirs.reader.next().await.unwrap().unwrap().kind != Kind::BulkEnd {}
        std::future::pending::<()>().await;
    };
    tokio::select! {
        sent = send => {
            let PeerError::Unknown { reason } = sent.unwrap_err() else { panic!("not unknown") };
            assert!(reason.contains("nothing heard"), "{reason}");
        }
        () = receive => {}
    }
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_works_long_shows_life_and_is_waited_for() {
    let (ours, theirs) = duplex(64 * 1024);
    let (options, desk) = (PeerOptions::default(), Arc::new(Desk::default()));
    let permit = Arc::new(Semaphore::new(1)).try_acquire_owned().ok();
    let send = bulk::send(wire(ours), &options, HOLD, Bytes::from("head"), body());
    let receive = bulk::receive(wire(theirs), &options, A, desk.clone(), permit);
    let long = PEER_BULK_ANSWER_MAX / 2;
    assert!(long > PEER_SILENCE_MAX + Duration::from_secs(1), "or it proves nothing");
    let release = async {
        tokio::time::sleep(long).await;
        desk.released.notify_waiters();
    };
    let (sent, received, ()) = tokio::join!(send, receive, release);
    assert!(sent.unwrap().starts_with(b"head:"));
    received.unwrap();
}
