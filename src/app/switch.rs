//! Sends what other nodes ask to the room that answers it: the hall's channels to the hall, each
//! wing's to the wing.

use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::mpsc;

use crate::consensus::inbox::RaftInbox;
use crate::consensus::{FEED, FORWARD, STATUS, SWITCH};
use crate::convergence::ConvergeInbox;
use crate::model::NodeId;
use crate::peer::{Channel, Inbox, PeerStream, Refused};
use crate::service::ForwardService;

/// The node's inbox.
#[derive(Debug)]
pub(super) struct Switch {
    /// Consensus's part.
    pub(super) raft: Arc<RaftInbox>,
    /// The hall's part.
    pub(super) hall: ForwardService,
    /// Convergence's part.
    pub(super) convergence: ConvergeInbox,
}

#[async_trait]
impl Inbox for Switch {
    async fn call(&self, from: NodeId, channel: Channel, body: Bytes) -> Result<Bytes, Refused> {
        match channel {
            FORWARD => self.hall.handle(from, body).await,
            STATUS => Ok(self.hall.status()),
            FEED => self.hall.feed(body).await,
            SWITCH => self.hall.switching(body).await,
            _ if ConvergeInbox::takes(channel) => self.convergence.call(from, channel, body).await,
            _ => self.raft.call(from, channel, body).await,
        }
    }

    async fn stream(&self, from: NodeId, channel: Channel, header: Bytes, stream: PeerStream) {
        if ConvergeInbox::takes(channel) {
            self.convergence.stream(from, channel, header, stream).await;
        } else {
            self.raft.stream(from, channel, header, stream).await;
        }
    }

    async fn bulk(
        &self,
        from: NodeId,
        channel: Channel,
        header: Bytes,
        body: mpsc::Receiver<io::Result<Bytes>>,
    ) -> Result<Bytes, Refused> {
        if ConvergeInbox::takes(channel) {
            return self.convergence.bulk(from, channel, header, body).await;
        }
        self.raft.bulk(from, channel, header, body).await
    }
}
