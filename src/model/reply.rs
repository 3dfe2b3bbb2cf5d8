//! What a command came to: the same at every replica, and small enough to keep.
//!
//! Promises: [`Reply::decode`] of [`Reply::encode`] is the same reply; decoding never panics. Relies
//! on [`codec`] for the envelope. Replies that later releases add go to the end of
//! `Header`.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::codec::{self, CodecError};
use super::tend::TendReply;

/// The deterministic result of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Of an `Own`: the group owns what the newest epoch says.
    Owned,
    /// Of a put: the value is set.
    Written {
        /// Whether the key did not exist before.
        created: bool,
    },
    /// Of a delete: the key does not exist now.
    Deleted {
        /// Whether it existed before.
        existed: bool,
    },
    /// The group does not own the command's slot: nothing was changed. Look the slot up in a newer
    /// catalog and ask again.
    NotOwner {
        /// The epoch by which the group knows what it owns.
        epoch: u64,
    },
    /// Of a catalog command, as placement encodes it.
    Catalog(Bytes),
    /// Of upkeep.
    Tended(TendReply),
    /// Of blank and membership entries.
    Nothing,
}

/// The part of a reply that postcard writes. New variants go to the end.
#[derive(Serialize, Deserialize)]
enum Header {
    Owned,
    Written { created: bool },
    Deleted { existed: bool },
    NotOwner { epoch: u64 },
    Catalog,
    Nothing,
    Tended(TendReply),
}

const WHAT: &str = "reply";

impl Reply {
    /// The reply's bytes.
    pub fn encode(&self) -> Bytes {
        let (header, tail) = match self {
            Self::Owned => (Header::Owned, None),
            Self::Written { created } => (Header::Written { created: *created }, None),
            Self::Deleted { existed } => (Header::Deleted { existed: *existed }, None),
            Self::NotOwner { epoch } => (Header::NotOwner { epoch: *epoch }, None),
            Self::Catalog(bytes) => (Header::Catalog, Some(bytes)),
            Self::Nothing => (Header::Nothing, None),
            Self::Tended(reply) => (Header::Tended(*reply), None),
        };
        codec::seal(&header, &[tail.map_or(&[], Bytes::as_ref)])
    }

    /// Reads a reply. Catalog bytes are a slice of `bytes`.
    pub fn decode(bytes: &Bytes) -> Result<Self, CodecError> {
        let (header, tail) = codec::open(WHAT, bytes)?;
        let reply = match header {
            Header::Catalog => return Ok(Self::Catalog(tail)),
            Header::Owned => Self::Owned,
            Header::Written { created } => Self::Written { created },
            Header::Deleted { existed } => Self::Deleted { existed },
            Header::NotOwner { epoch } => Self::NotOwner { epoch },
            Header::Nothing => Self::Nothing,
            Header::Tended(reply) => Self::Tended(reply),
        };
        codec::no_tail(WHAT, &tail)?;
        Ok(reply)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_reply() -> impl Strategy<Value = Reply> {
        prop_oneof![
            Just(Reply::Owned),
            any::<bool>().prop_map(|created| Reply::Written { created }),
            any::<bool>().prop_map(|existed| Reply::Deleted { existed }),
            any::<u64>().prop_map(|epoch| Reply::NotOwner { epoch }),
            any::<Vec<u8>>().prop_map(|bytes| Reply::Catalog(Bytes::from(bytes))),
            Just(Reply::Nothing),
        ]
    }

    proptest! {
        #[test]
        fn a_reply_reads_back_as_written(reply in any_reply()) {
            prop_assert_eq!(Reply::decode(&reply.encode()), Ok(reply));
        }

        #[test]
        fn any_bytes_are_a_reply_or_an_error(bytes: Vec<u8>, versioned: bool) {
            let mut bytes = bytes;
            if versioned {
                bytes.insert(0, codec::VERSION);
            }
            // Either outcome is fine; a panic is not.
            drop(Reply::decode(&Bytes::from(bytes)));
        }
    }

    #[test]
    fn bytes_behind_a_short_reply_are_refused() {
        let mut bytes = Reply::Owned.encode().to_vec();
        bytes.push(0);
        assert!(matches!(Reply::decode(&bytes.into()), Err(CodecError::Length { .. })));
    }

    #[test]
    fn the_bytes_of_replies_are_what_earlier_releases_wrote() {
        // A change here is a change of format: it needs a new version byte.
        assert_eq!(Reply::Owned.encode().as_ref(), [1, 0]);
        assert_eq!(Reply::Written { created: true }.encode().as_ref(), [1, 1, 1]);
        assert_eq!(Reply::Deleted { existed: false }.encode().as_ref(), [1, 2, 0]);
        assert_eq!(Reply::NotOwner { epoch: 300 }.encode().as_ref(), [1, 3, 0xac, 0x02]);
        assert_eq!(Reply::Catalog(Bytes::from_static(b"x")).encode().as_ref(), [1, 4, b'x']);
        assert_eq!(Reply::Nothing.encode().as_ref(), [1, 5]);
    }
}
