//! The `KV-` headers: what an answer reflects, and who gave it.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};

use crate::model::{GroupId, NodeId};
use crate::service::{ReadMode, Session, ceil_ms};
use crate::wire::{
    KV_GROUP, KV_INDEX, KV_LEADER, KV_READ, KV_REPLAYED, KV_SERVED_BY, KV_SESSION, base_url,
};

use super::{Asked, Front};

const GROUP: HeaderName = HeaderName::from_static(KV_GROUP);
const INDEX: HeaderName = HeaderName::from_static(KV_INDEX);
const LEADER: HeaderName = HeaderName::from_static(KV_LEADER);
const READ: HeaderName = HeaderName::from_static(KV_READ);
const SERVED_BY: HeaderName = HeaderName::from_static(KV_SERVED_BY);
const SESSION: HeaderName = HeaderName::from_static(KV_SESSION);
const REPLAYED: HeaderName = HeaderName::from_static(KV_REPLAYED);

/// About as many headers as an answer has.
pub(super) const HEADERS: usize = 12;

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
    /// What the answer reflects beside its group and index: of answers from several groups.
    pub(super) seen: Option<Session>,
    /// Whether it is the answer of an earlier request.
    pub(super) replayed: bool,
}

impl Facts {
    /// Adds the headers. The client's session comes back with what this answer shows.
    pub(super) fn write(&self, headers: &mut HeaderMap, front: &Front, asked: &Asked) {
        headers.reserve(HEADERS);
        let mut session = asked.session.clone();
        if let Some(seen) = &self.seen {
            session.merge(seen);
        }
        if let (Some(group), Some(index)) = (self.group, self.index) {
            session.note(group, index);
        }
        if !session.is_empty()
            && let Ok(session) = HeaderValue::try_from(session.to_string())
        {
            headers.insert(SESSION, session);
        }
        if self.replayed {
            headers.insert(REPLAYED, HeaderValue::from_static("?1"));
        }
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
    let name = match mode {
        ReadMode::Linearizable => return HeaderValue::from_static("linearizable"),
        ReadMode::Stale => "stale",
        ReadMode::Bounded(_) => "bounded",
        ReadMode::Session => "session",
    };
    let age = age.map_or("age=unknown".to_owned(), |age| format!("age-ms={}", ceil_ms(age)));
    HeaderValue::try_from(format!("{name}; {age}")).expect("digits and letters are a header value")
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
            (ReadMode::Bounded(Duration::ZERO), age, "bounded; age-ms=2"),
            (ReadMode::Session, None, "session; age=unknown"),
        ] {
            assert_eq!(read_value(mode, age), text);
        }
    }
}
