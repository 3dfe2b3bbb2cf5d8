//! Keys that keep a repetition from having a second effect: the client's, and those the hall makes.
//!
//! Promises: what is derived from a client's key depends on nothing else, so that the client's own
//! repetition, at any node, finds what the first try left; derived and made keys begin with a zero
//! byte and can never be a client's, which are printable. Relies on the groups to remember.

use bytes::Bytes;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use crate::model::{Action, Command, NamespaceId, Once, Request};

use super::ask::OnceKey;
use super::error::{ErrorKind, ServiceError};
use super::forward::Work;
use super::pursue::Plan;
use super::route::{Map, Target};
use super::{Context, Hall};

/// Longest once key.
const KEY_BYTES_MAX: usize = 255;

/// First byte of a derived key.
const DERIVED: u8 = 0;

impl OnceKey {
    /// The key of one part of a request: what the part is for, and its number.
    pub(super) fn part(&self, what: &str, number: u64) -> Self {
        let mut hashed = Vec::with_capacity(self.key.len() + what.len() + 16);
        hashed.extend_from_slice(&self.key);
        hashed.push(0);
        hashed.extend_from_slice(what.as_bytes());
        hashed.push(0);
        hashed.extend_from_slice(&number.to_be_bytes());
        let mut key = vec![DERIVED];
        key.extend_from_slice(&xxh3_128(&hashed).to_be_bytes());
        Self { key: key.into(), fingerprint: self.fingerprint }
    }

    /// The same key for exactly this content.
    pub(super) fn of_content(mut self, content: &[u8]) -> Self {
        let mut hashed = self.fingerprint.to_vec();
        hashed.extend_from_slice(content);
        self.fingerprint = xxh3_128(&hashed).to_be_bytes();
        self
    }

    /// A number that depends on the key alone.
    pub(super) fn number(&self) -> u64 {
        xxh3_64(&self.key)
    }

    fn check(&self) -> Result<(), ServiceError> {
        if self.key.is_empty() || self.key.len() > KEY_BYTES_MAX {
            let reason = format!("an Idempotency-Key has 1 to {KEY_BYTES_MAX} bytes");
            return Err(ErrorKind::Invalid { reason }.into());
        }
        Ok(())
    }
}

impl Hall {
    /// The request's key, or one made for it: for what must be found again after a lost answer.
    pub(super) fn once(&self, context: &Context) -> OnceKey {
        context.once.clone().unwrap_or_else(|| {
            let mut key = vec![DERIVED];
            key.extend_from_slice(&self.env.rng.next().to_be_bytes());
            key.extend_from_slice(&self.env.rng.next().to_be_bytes());
            OnceKey { key: Bytes::from(key), fingerprint: [0; 16] }
        })
    }

    /// The plan of a proposal by this catalog. With a once key it may be repeated.
    pub(super) fn proposal(
        &self,
        map: &Map,
        target: Target,
        scope: NamespaceId,
        action: Action,
        once: Option<&OnceKey>,
    ) -> Result<Plan, ServiceError> {
        if let Some(once) = once {
            once.check()?;
        }
        let request = Request {
            epoch: map.catalog.epoch,
            at_ms: self.env.clock.wall_ms(),
            once: once.map(|once| Once {
                space: scope,
                key: once.key.clone(),
                fingerprint: once.fingerprint,
            }),
            action,
        };
        let work = Work::Propose(Command::Request(request).encode());
        Ok(Plan { target, work, repeatable: once.is_some() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_differ_by_purpose_and_number_and_are_no_clients_keys() {
        let once = OnceKey { key: Bytes::from_static(b"abc"), fingerprint: [1; 16] };
        let parts = [once.part("op", 1), once.part("op", 2), once.part("lease", 1)];
        for (n, part) in parts.iter().enumerate() {
            assert_eq!(part.key.first(), Some(&DERIVED));
            assert_eq!(parts.iter().filter(|other| other.key == part.key).count(), 1, "part {n}");
        }
        assert_eq!(once.part("op", 1), parts[0].clone(), "the same at every node");
        assert_ne!(once.clone().of_content(b"x"), once.clone().of_content(b"y"));
    }

    #[test]
    fn a_once_key_is_neither_empty_nor_too_long() {
        let check = |len| OnceKey { key: vec![b'k'; len].into(), fingerprint: [0; 16] }.check();
        assert_eq!([0, 1, 255, 256].map(|len| check(len).is_ok()), [false, true, true, false]);
    }
}
