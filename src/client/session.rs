//! What this client has seen: the newest index of each group, and of eventual namespaces the newest
//! operation of each actor, as the server's `KV-Session` tells it.
//!
//! Promises: the session only grows, also when answers to simultaneous requests arrive in any order:
//! two sessions are joined group by group. A session of a form that is not known here replaces what
//! there was, which is right for one request after another.
//!
//! Relies on: the form of a session: base64 of a version byte, the groups' indices (postcard), in the
//! second version the vectors of eventual namespaces, and eight bytes of xxh3 (big-endian) over all.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use xxhash_rust::xxh3::xxh3_64;

use super::coded::{from_base64, to_base64};
use crate::model::eventual::Vector;
use crate::runtime::limits::{SESSION_SPACES_MAX, SESSION_TEXT_BYTES_MAX};

/// The versions of the form that are read here: without eventual namespaces, and with them.
const VERSION: u8 = 1;
const VERSION_WITH_SPACES: u8 = 2;

/// What was seen of the groups, and of eventual namespaces, of which the server keeps the last.
type Seen = (BTreeMap<u64, u64>, Vec<(u64, Vector)>);

#[derive(Debug, Default)]
pub(super) struct Session {
    token: Mutex<Option<String>>,
}

impl Session {
    pub(super) fn get(&self) -> Option<String> {
        self.token.lock().clone()
    }

    /// Adds what an answer says was seen.
    pub(super) fn take(&self, seen: &str) {
        let mut token = self.token.lock();
        if token.as_deref() == Some(seen) {
            return;
        }
        let joined = token.as_deref().and_then(|known| join(known, seen));
        *token = Some(joined.unwrap_or_else(|| seen.to_owned()));
    }
}

fn join(one: &str, other: &str) -> Option<String> {
    let (mut groups, mut spaces) = decode(one)?;
    let (more_groups, more_spaces) = decode(other)?;
    for (group, index) in more_groups {
        let newest = groups.entry(group).or_default();
        *newest = index.max(*newest);
    }
    for (space, seen) in more_spaces {
        let known = spaces.iter().position(|(known, _)| *known == space);
        let mut vector = known.map(|at| spaces.remove(at).1).unwrap_or_default();
        vector.join(&seen);
        if spaces.len() >= SESSION_SPACES_MAX {
            spaces.remove(0);
        }
        spaces.push((space, vector));
    }
    // What the server would refuse as too long is of no use.
    let mut seen = (groups, spaces);
    loop {
        let token = encode(&seen)?;
        if token.len() <= SESSION_TEXT_BYTES_MAX || seen.1.is_empty() {
            return Some(token);
        }
        seen.1.remove(0);
    }
}

fn decode(token: &str) -> Option<Seen> {
    let bytes = from_base64(token)?;
    let (bytes, check) = bytes.split_last_chunk::<8>()?;
    let (version, seen) = bytes.split_first()?;
    match *version {
        _ if xxh3_64(bytes).to_be_bytes() != *check => None,
        VERSION => postcard::from_bytes(seen).ok().map(|groups| (groups, Vec::new())),
        VERSION_WITH_SPACES => postcard::from_bytes(seen).ok(),
        _ => None,
    }
}

fn encode(seen: &Seen) -> Option<String> {
    let (groups, spaces) = seen;
    let mut bytes = if spaces.is_empty() {
        postcard::to_extend(groups, vec![VERSION]).ok()?
    } else {
        postcard::to_extend(seen, vec![VERSION_WITH_SPACES]).ok()?
    };
    let check = xxh3_64(&bytes);
    bytes.extend(check.to_be_bytes());
    Some(to_base64(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::eventual::Actor;

    fn token(groups: &[(u64, u64)]) -> String {
        encode(&(groups.iter().copied().collect(), Vec::new())).unwrap()
    }

    #[test]
    fn vectors_of_eventual_namespaces_are_joined_too() {
        let of = |counter| {
            let actor = Actor { node: 1, home: 2, run: 3 };
            let seen = vec![(4, Vector([(actor, counter)].into()))];
            encode(&([(1, counter)].into(), seen)).unwrap()
        };
        let session = Session::default();
        session.take(&token(&[(1, 9)]));
        session.take(&of(7));
        session.take(&of(5));
        let (groups, spaces) = decode(&session.get().unwrap()).unwrap();
        assert_eq!(groups, [(1, 9)].into());
        assert_eq!((spaces.len(), spaces[0].1.missing(&decode(&of(8)).unwrap().1[0].1)), (1, 1));
    }

    #[test]
    fn of_more_than_the_server_reads_the_oldest_goes() {
        let of = |space| {
            let actor = |run| Actor { node: 1 << 40, home: u32::MAX, run: u32::MAX - run };
            let all = Vector((0..200).map(|run| (actor(run), u64::MAX)).collect());
            encode(&([(1, 9)].into(), vec![(space, all)])).unwrap()
        };
        let session = Session::default();
        for space in 1..=5 {
            session.take(&of(space));
            assert!(session.get().unwrap().len() <= SESSION_TEXT_BYTES_MAX);
        }
        let (groups, spaces) = decode(&session.get().unwrap()).unwrap();
        assert_eq!((groups.len(), spaces.last().unwrap().0), (1, 5));
        assert!(spaces.iter().all(|(space, _)| *space != 1) && spaces.len() > 1);
    }

    #[test]
    fn sessions_of_simultaneous_requests_are_joined() {
        let session = Session::default();
        session.take(&token(&[(1, 5), (2, 9)]));
        session.take(&token(&[(1, 7), (2, 3), (4, 1)]));
        assert_eq!(session.get().unwrap(), token(&[(1, 7), (2, 9), (4, 1)]));
    }

    #[test]
    fn a_session_of_an_unknown_form_is_kept_as_it_is() {
        let session = Session::default();
        session.take(&token(&[(1, 5)]));
        session.take("of-another-release");
        assert_eq!(session.get().unwrap(), "of-another-release");
        session.take(&token(&[(1, 6)]));
        assert_eq!(session.get().unwrap(), token(&[(1, 6)]));
    }
}
