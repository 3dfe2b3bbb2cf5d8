//! What the network in memory can do beyond the contract: one-way cuts and repeatable delays.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;

use super::support::{A, B, Desk, ECHO, TIME};
use crate::model::NodeId;
use crate::peer::memory::OpenDoor;
use crate::peer::{Lane, MemoryNetwork, MemoryTransport, PeerError, Transport};
use crate::runtime::Env;

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
