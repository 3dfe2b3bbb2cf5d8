//! The `KV-` headers: what an answer reflects, and who gave it.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};

use crate::model::{GroupId, NodeId};
use crate::service::{ReadMode, ceil_ms};
use crate::wire::{KV_GROUP, KV_INDEX, KV_LEADER, KV_READ, KV_SERVED_BY, base_url};

use super::Front;

const GROUP: HeaderName = HeaderName::from_static(KV_GROUP);
const INDEX: HeaderName = HeaderName::from_static(KV_INDEX);
const LEADER: HeaderName = HeaderName::from_static(KV_LEADER);
const READ: HeaderName = HeaderName::from_static(KV_READ);
const SERVED_BY: HeaderName = HeaderName::from_static(KV_SERVED_BY);

/// What is known about an answer.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    pub(super) group: Option<GroupId>,
    pub(super) index: Option<u64>,
    /// How it was read, and how old it can be.
    pub(super) read: Option<(ReadMode, Option<Duration>)>,
    pub(super) leader: Option<NodeId>,
    /// The node that did the work; this one when nothing else is said.
    pub(super) served_by: Option<NodeId>,
}

impl Facts {
    /// Adds the headers.
    pub(super) fn write(&self, headers: &mut HeaderMap, front: &Front) {
        if let Some(group) = self.group {
            headers.insert(GROUP, HeaderValue::from(group.0));
        }
        if let Some(index) = self.index {
            headers.insert(INDEX, HeaderValue::from(index));
        }
        if let Some((mode, age)) = self.read {
            headers.insert(READ, read_value(mode, age));
        }
        if let Some(url) = self.leader_url(front)
            && let Ok(url) = HeaderValue::try_from(url)
        {
            headers.insert(LEADER, url);
        }
        let served_by = self.served_by.unwrap_or_else(|| front.service.node());
        headers.insert(SERVED_BY, HeaderValue::from(served_by.0));
    }

    /// Where the leader is asked directly.
    pub(super) fn leader_url(&self, front: &Front) -> Option<String> {
        front.service.address(self.leader?).map(|address| base_url(&address))
    }
}

fn read_value(mode: ReadMode, age: Option<Duration>) -> HeaderValue {
    match (mode, age) {
        (ReadMode::Linearizable, _) => HeaderValue::from_static("linearizable"),
        (ReadMode::Stale | ReadMode::Session | ReadMode::Bounded(_), None) => {
            HeaderValue::from_static("stale; age=unknown")
        }
        (ReadMode::Stale | ReadMode::Session | ReadMode::Bounded(_), Some(age)) => {
            HeaderValue::try_from(format!("stale; age-ms={}", ceil_ms(age)))
                .expect("digits and letters are a header value")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_says_what_it_was_and_rounds_its_age_up() {
        let age = Some(Duration::from_micros(1_500));
        for (mode, age, text) in [
            (ReadMode::Linearizable, None, "linearizable"),
            (ReadMode::Stale, None, "stale; age=unknown"),
            (ReadMode::Stale, age, "stale; age-ms=2"),
        ] {
            assert_eq!(read_value(mode, age), text);
        }
    }
}
