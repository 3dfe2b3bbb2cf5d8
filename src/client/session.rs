//! What this client has seen: the newest index of each group, as the server's `KV-Session` tells it.
//!
//! Promises: the session only grows, also when answers to simultaneous requests arrive in any order:
//! two sessions are joined group by group. A session of a form that is not known here replaces what
//! there was, which is right for one request after another.
//!
//! Relies on: the form of a session: base64 of a version byte, the groups' indices (postcard), and
//! eight bytes of xxh3 (big-endian) over both.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use xxhash_rust::xxh3::xxh3_64;

use super::coded::{from_base64, to_base64};

/// The version of the form that is read here.
const VERSION: u8 = 1;

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
    let mut groups = decode(one)?;
    for (group, index) in decode(other)? {
        let newest = groups.entry(group).or_default();
        *newest = index.max(*newest);
    }
    encode(&groups)
}

fn decode(token: &str) -> Option<BTreeMap<u64, u64>> {
    let bytes = from_base64(token)?;
    let (bytes, check) = bytes.split_last_chunk::<8>()?;
    let (version, groups) = bytes.split_first()?;
    let sound = *version == VERSION && xxh3_64(bytes).to_be_bytes() == *check;
    if sound { postcard::from_bytes(groups).ok() } else { None }
}

fn encode(groups: &BTreeMap<u64, u64>) -> Option<String> {
    let mut bytes = vec![VERSION];
    bytes.extend(postcard::to_stdvec(groups).ok()?);
    let check = xxh3_64(&bytes);
    bytes.extend(check.to_be_bytes());
    Some(to_base64(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(groups: &[(u64, u64)]) -> String {
        encode(&groups.iter().copied().collect()).unwrap()
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
