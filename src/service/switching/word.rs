//! What whoever drives a switch asks of the other nodes, and what they answer.
//!
//! Promises: both read back as written; new variants go to the end. Relies on [`codec`].

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::model::NamespaceId;
use crate::model::codec::{self, CodecError};
use crate::model::eventual::Vector;

use super::Progress;

/// A question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Asked {
    /// Close your replica for writes, in a way that survives your death, and say what it has.
    Close {
        /// Of which namespace.
        namespace: NamespaceId,
        /// As of which epoch of the catalog.
        epoch: u64,
        /// For reads, too.
        sealed: bool,
    },
    /// Say what your replica has, once that is all of this.
    Has {
        /// Of which namespace.
        namespace: NamespaceId,
        /// What it shall have.
        vector: Vector,
    },
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Said {
    /// It is so, and this is what the replica has.
    Has(Vector),
    /// It is not so.
    Not(String),
}

/// What is asked over the channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Call {
    /// Of whoever has a replica.
    Asked(Asked),
    /// How far a job is, of whoever drives it.
    Progress(u64),
}

const WHAT: &str = "a word about a switch";

impl Asked {
    pub(super) fn encode(&self) -> Bytes {
        Call::Asked(self.clone()).encode()
    }
}

macro_rules! coded {
    ($name:ty) => {
        impl $name {
            pub(super) fn encode(&self) -> Bytes {
                codec::seal_whole(self, 64)
            }

            pub(super) fn decode(bytes: &Bytes) -> Result<Self, CodecError> {
                codec::open_whole(WHAT, bytes)
            }
        }
    };
}

coded!(Call);
coded!(Said);
coded!(Progress);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_read_back_as_written() {
        let asked = Asked::Close { namespace: NamespaceId(3), epoch: 9, sealed: true };
        let call = Call::Asked(asked.clone());
        assert_eq!(Call::decode(&asked.encode()).unwrap(), call);
        let said = Said::Not("not yet".to_owned());
        assert_eq!(Said::decode(&said.encode()).unwrap(), said);
        assert!(Said::decode(&Bytes::from_static(&[9, 9])).is_err());
    }
}
