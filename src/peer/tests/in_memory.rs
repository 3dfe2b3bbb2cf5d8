//! What the network in memory can do beyond the contract: one-way cuts and repeatable delays.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};

use super::support::{A, B, Desk, ECHO, TIME};
use crate::model::NodeId;
use crate::peer::memory::OpenDoor;
use crate::peer::{Lane, MemoryNetwork, MemoryTransport, PeerError, Transport};
use crate::runtime::Env;
use crate::runtime::limits::PEER_SILENCE_MAX;

fn attach(network: &MemoryNetwork, node: NodeId) -> (MemoryTransport, Arc<Desk>) {
    let desk = Arc::new(Desk::default());
    let door = Arc::new(OpenDoor { node });
    (network.attach(Env::system(), door, desk.clone()), desk)
}

#[tokio::test]
async fn a_one_way_cut_loses_answers_first_and_the_connection_later() {
    let network = MemoryNetwork::new(1);
    let ((a, _), (b, desk)) = (attach(&network, A), attach(&network, B));
    assert!(a.is_connected(B) && b.is_connected(A));
    network.cut(B, A);
    let second = Duration::from_secs(1);
    let lost = a.call(B, ECHO, Lane::Data, Bytes::new(), second).await;
    assert!(matches!(lost, Err(PeerError::Unknown { .. })), "{lost:?}");
    assert_eq!(desk.started.load(Ordering::SeqCst), 1, "the question arrived, its answer did not");
    let lost = b.call(A, ECHO, Lane::Data, Bytes::new(), TIME).await;
    assert!(matches!(lost, Err(PeerError::Unknown { .. })), "broken by silence: {lost:?}");
    let unsent = a.call(B, ECHO, Lane::Data, Bytes::new(), second).await;
    assert!(matches!(unsent, Err(PeerError::NotSent { .. })), "{unsent:?}");
    assert!(!a.is_connected(B) && !b.is_connected(A));
    network.heal(B, A);
    assert!(a.call(B, ECHO, Lane::Data, Bytes::new(), second).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn what_waits_at_a_short_cut_arrives_when_it_is_healed() {
    let network = MemoryNetwork::new(1);
    let ((a, _), (_b, desk)) = (attach(&network, A), attach(&network, B));
    let mut kept = a.open_stream(B, ECHO, Lane::Data, Bytes::from("head")).await.unwrap();
    assert_eq!(kept.recv.recv().await.unwrap(), "head");
    network.cut(B, A);
    kept.send.send(Bytes::from("under way")).await.unwrap();
    let body = stream::iter([Ok(Bytes::from("snapshot"))]).boxed();
    let sent = a.send_bulk(B, ECHO, Bytes::new(), body);
    let heal = async {
        // Long enough to be stuck, too short to be noticed.
        tokio::time::sleep(PEER_SILENCE_MAX / 2).await;
        assert_eq!(desk.bulk_bytes.load(Ordering::SeqCst), 8, "only the answer is missing");
        network.heal(B, A);
    };
    let (sent, ()) = tokio::time::timeout(PEER_SILENCE_MAX * 2, async { tokio::join!(sent, heal) })
        .await
        .unwrap();
    assert!(sent.is_ok(), "{sent:?}");
    let echoed = tokio::time::timeout(PEER_SILENCE_MAX, kept.recv.recv()).await;
    assert_eq!(echoed.unwrap().unwrap(), "under way");
}

#[tokio::test]
async fn a_node_that_is_taken_out_breaks_what_is_under_way() {
    let network = MemoryNetwork::new(1);
    network.set_delay(Duration::from_millis(50), Duration::from_millis(90));
    let ((a, _), (_b, _)) = (attach(&network, A), attach(&network, B));
    let call = a.call(B, ECHO, Lane::Data, Bytes::new(), TIME);
    let (broken, ()) = tokio::join!(call, async { network.detach(B) });
    assert!(matches!(broken, Err(PeerError::Unknown { .. })), "{broken:?}");
    let gone = a.call(B, ECHO, Lane::Data, Bytes::new(), TIME).await;
    assert!(matches!(gone, Err(PeerError::NotSent { .. })), "{gone:?}");
}
