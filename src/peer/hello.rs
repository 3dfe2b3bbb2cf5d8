//! The first words on a connection, and who may say them.
//!
//! Why it exists: a node whose data directory was wiped or restored from an old copy has forgotten
//! votes and entries, and must not speak under its old name. Both ends of every connection show who
//! they are before anything else, and both may refuse.
//!
//! Promises: nothing but a `Hello` or a `Refusal` is exchanged before both ends have admitted the
//! other. Relies on: a `Doorkeeper` from above, which knows the catalog.

use std::fmt::Debug;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::model::{ClusterId, Incarnation, NodeId};

/// The protocol that this build speaks.
pub const PROTOCOL: u16 = 2;

/// The version byte before the encoded `Hello` and `Refusal`.
const FORMAT: u8 = 1;

/// Who a node is, and how much it remembers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Protocol version, [`PROTOCOL`] for this build.
    pub protocol: u16,
    /// The cluster, once the node knows it.
    pub cluster: Option<ClusterId>,
    /// The node's id.
    pub node: NodeId,
    /// The id of its data directory.
    pub incarnation: Incarnation,
    /// Where others reach it, `host:port`.
    pub address: String,
    /// The last durable log batch that it found when it started.
    pub recovered_lsn: u64,
    /// The last durable log batch now.
    pub flushed_lsn: u64,
    /// Whom the greeter wants to reach; `None` in an answer. Addresses change hands, and a connection
    /// meant for another node must not take the place of a good one.
    pub wanted: Option<NodeId>,
    /// A random number of this process: hellos of one run may overtake one another.
    pub run: u64,
}

/// Why a node may not take part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// It belongs to another cluster.
    #[error(
        "this is cluster {ours}, the node belongs to {theirs}: check the address that it was given"
    )]
    WrongCluster {
        /// The refusing side's cluster.
        ours: ClusterId,
        /// The refused side's cluster.
        theirs: ClusterId,
    },
    /// Its id is known with another data directory: the old one is gone, and its votes with it.
    #[error(
        "the node's data directory is not the one that the cluster knows (known {known}, found \
         {found}): start a node with a new id and a new, empty --data-dir (`tetrarch serve --node NEW \
         --data-dir DIR --join http://MEMBER`), then run `tetrarch cluster replace OLD --with NEW`"
    )]
    Forgotten {
        /// The directory that the cluster knows.
        known: Incarnation,
        /// The directory that the node has now.
        found: Incarnation,
    },
    /// Its data directory is an older copy: it has forgotten what it once made durable.
    #[error(
        "the node's data directory is an old copy (it had written batch {seen_lsn}, now it ends at \
         {found_lsn}): start a node with a new id and a new, empty --data-dir (`tetrarch serve --node \
         NEW --data-dir DIR --join http://MEMBER`), then run `tetrarch cluster replace OLD --with NEW`"
    )]
    Restored {
        /// The newest durable batch that the node has shown before.
        seen_lsn: u64,
        /// The newest that it had when it started.
        found_lsn: u64,
    },
    /// It was removed from the cluster.
    #[error(
        "the node was removed from the cluster: start it with an empty directory under a new id"
    )]
    Removed,
    /// The two speak different protocols.
    #[error("protocol {theirs} is not spoken here, only {ours}: upgrade the older side")]
    Version {
        /// The refusing side's protocol.
        ours: u16,
        /// The refused side's protocol.
        theirs: u16,
    },
    /// The catalog does not know it.
    #[error("the cluster does not know this node: start it with an address of a member to join")]
    Unknown,
    /// Another node answers at this address than the one that was wanted.
    #[error("this is node {ours}, not node {wanted}: its address is out of date")]
    WrongNode {
        /// Who answers.
        ours: NodeId,
        /// Who was wanted.
        wanted: NodeId,
    },
    /// The refusing side cannot judge yet.
    #[error("the node is still starting: it will be tried again")]
    NotReady,
}

/// Decides who may talk to whom.
pub trait Doorkeeper: Send + Sync + Debug {
    /// What we say of ourselves, now.
    fn hello(&self) -> Hello;

    /// Whether the other side may take part. Asked on both ends, on every connection.
    fn admit(&self, theirs: &Hello) -> Result<(), Refusal>;

    /// The other side refused us. Told again with every attempt.
    fn refused(&self, by: NodeId, refusal: &Refusal);

    /// Where a node is reached, `host:port`; `None` when nothing is known of it.
    fn address(&self, node: NodeId) -> Option<String>;
}

/// Bytes that are neither a `Hello` nor a `Refusal` of a version that we know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HelloError {
    /// Another format than ours.
    #[error("greeting of unknown format {0:?}")]
    Format(Option<u8>),
    /// The bytes make no sense.
    #[error("greeting cannot be read: {0}")]
    Malformed(postcard::Error),
}

impl Hello {
    /// The bytes that go over the wire.
    pub fn encode(&self) -> Bytes {
        encode(self)
    }

    /// Reads what a peer sent.
    pub fn decode(bytes: &[u8]) -> Result<Self, HelloError> {
        decode(bytes)
    }
}

impl Refusal {
    /// The bytes that go over the wire.
    pub fn encode(&self) -> Bytes {
        encode(self)
    }

    /// Reads what a peer sent.
    pub fn decode(bytes: &[u8]) -> Result<Self, HelloError> {
        decode(bytes)
    }
}

fn encode<T: Serialize>(value: &T) -> Bytes {
    let bytes = postcard::to_extend(value, vec![FORMAT])
        .expect("plain numbers and strings always encode, and a vector always grows");
    Bytes::from(bytes)
}

fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, HelloError> {
    match bytes.split_first() {
        Some((&FORMAT, rest)) => postcard::from_bytes(rest).map_err(HelloError::Malformed),
        other => Err(HelloError::Format(other.map(|(format, _)| *format))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greetings_come_back_as_they_were() {
        let hello = Hello {
            protocol: PROTOCOL,
            cluster: Some(ClusterId(9)),
            node: NodeId(3),
            incarnation: Incarnation(77),
            address: "localhost:7103".to_owned(),
            recovered_lsn: 4,
            flushed_lsn: 900,
            run: 9,
            wanted: None,
        };
        assert_eq!(Hello::decode(&hello.encode()).unwrap(), hello);
        let refusal = Refusal::Restored { seen_lsn: 9, found_lsn: 4 };
        assert_eq!(Refusal::decode(&refusal.encode()).unwrap(), refusal);
        assert!(refusal.to_string().contains("cluster replace"));
    }

    #[test]
    fn other_formats_are_refused_by_name() {
        assert_eq!(Hello::decode(&[]).unwrap_err(), HelloError::Format(None));
        assert_eq!(Hello::decode(&[7, 1, 2]).unwrap_err(), HelloError::Format(Some(7)));
        assert!(matches!(Hello::decode(&[FORMAT, 1]), Err(HelloError::Malformed(_))));
    }
}
