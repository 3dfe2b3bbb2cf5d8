//! Why a node could not start or had to stop. Each says what to do where a person can do something.

use std::io;
use std::net::{IpAddr, SocketAddr};

use crate::consensus::founding::FoundingError;
use crate::consensus::groups::OpenError;
use crate::consensus::identity::IdentityError;
use crate::storage::StorageError;

/// The end of a node.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The address is taken or not ours.
    #[error("cannot listen on {address}: is another process using it? choose another --listen")]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// No connection can be made from the address.
    #[error("cannot connect from {address}: give --peer-source an address of this machine")]
    PeerSource {
        /// The address asked for.
        address: IpAddr,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The operating system gives no signals.
    #[error("cannot listen for signals")]
    Signals {
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The data directory cannot be used.
    #[error("cannot use the data directory {path}")]
    Directory {
        /// The directory.
        path: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The data directory is another node's, or damaged.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// Log or state cannot be opened or closed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The node may not take part.
    #[error(transparent)]
    Founding(#[from] FoundingError),
    /// A group cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The member that was asked did not let the node in.
    #[error("cannot join through {endpoint}: {reason}")]
    Join {
        /// The member that was asked.
        endpoint: String,
        /// Its words.
        reason: String,
    },
    /// A promise was broken; restart the node once the cause is gone.
    #[error("the node had to stop: {reason}")]
    Failed {
        /// The first thing that broke.
        reason: String,
    },
}
