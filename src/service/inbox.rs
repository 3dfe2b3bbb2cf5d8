//! The hall's end of the corridor: work that other halls pass on, and questions for our status.
//!
//! Promises: executes here or declines; never passes anything on, so a request makes one hop at
//! most whatever the nodes believe of each other.

use std::time::Duration;

use bytes::Bytes;
use tracing::Instrument;

use crate::model::NodeId;
use crate::peer::Refused;
use crate::runtime::limits::PROPOSAL_GRACE;

use super::Service;
use super::act::{Site, act};
use super::feed::answer::answer;
use super::feed::ask::Asked;
use super::forward::{Decline, Done, Forwarded, encode_answer};

/// How often a request may have been passed on when it arrives.
const HOPS_MAX: u8 = 1;

/// Serves the channels `FORWARD` and `STATUS`; the node's inbox hands their calls to it.
#[derive(Clone, Debug)]
pub struct ForwardService {
    service: Service,
}

impl ForwardService {
    /// For this node's hall.
    pub fn new(service: Service) -> Self {
        Self { service }
    }

    /// Does forwarded work. Cancel-safe: a dropped proposal goes on by itself.
    pub async fn handle(&self, from: NodeId, body: Bytes) -> Result<Bytes, Refused> {
        let request = Forwarded::decode(&body).map_err(|error| Refused::new(error.to_string()))?;
        let span = tracing::debug_span!(
            "forwarded",
            node = %self.service.hall.node,
            %from,
            group = %request.group,
            request_id = request.request_id.as_str(),
        );
        let answer = self.execute(request).instrument(span).await;
        Ok(encode_answer(&answer))
    }

    async fn execute(&self, request: Forwarded) -> Result<Done, Decline> {
        if request.hops > HOPS_MAX {
            let reason = format!("passed on {} times", request.hops);
            return Err(Decline::Malformed { reason });
        }
        let hall = &self.service.hall;
        let deadline = hall.env.clock.now() + request.remaining;
        let site = Site { hall, group: request.group, epoch: request.epoch, deadline };
        let is_write = request.work.is_write();
        match tokio::time::timeout(request.remaining + 2 * PROPOSAL_GRACE, act(site, request.work))
            .await
        {
            Ok(answer) => answer,
            Err(_) if is_write => {
                Err(Decline::Unknown { reason: "no answer before the deadline".into() })
            }
            Err(_) => Err(Decline::TimedOut),
        }
    }

    /// Answers a question of a scan or a watch with this node's own replica. Cancel-safe.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub async fn feed(&self, body: Bytes) -> Result<Bytes, Refused> {
        let asked = Asked::decode(&body).map_err(|error| Refused::new(error.to_string()))?;
        let hall = &self.service.hall;
        let patience = Duration::from_millis(asked.patience_ms);
        let deadline = hall.env.clock.now() + patience;
        let work = answer(&hall.wing, &hall.env, asked.group, asked.ask, deadline);
        Ok(work.await.encode())
    }

    /// Answers a question about a switch to the other side. Cancel-safe.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub async fn switching(&self, body: Bytes) -> Result<Bytes, Refused> {
        self.service.switching_asked(&body).await
    }

    /// Answers with this node's own view of its groups.
    pub fn status(&self) -> Bytes {
        self.service.report().encode()
    }
}
