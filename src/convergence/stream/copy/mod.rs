//! Copies: what one replica has, as a stream of bytes that any other replica can take in.
//!
//! ```text
//!   give   the log's operations that the other lacks, or all rows if the log does not reach back
//!     |
//!   form   magic, version | head | parts ... | end: all of it, and a hash over all before it
//!     |
//!   take   operations to the shard; rows, and only then the vector
//! ```
//!
//! Why it exists: a replica may be away for a year, or belong to another cluster of another release;
//! a file, or two requests, must do where no stream between nodes can be.
//!
//! Promises: the same merge as between nodes, so copies may be taken in any order, any number of
//! times, in both directions, whole or cut; what is taken by rows moves the vector only when all of
//! it is there and undamaged (R1), and never beside another state sync (R7); an operation that comes
//! in here goes on to the cluster's other nodes at once. Relies on the writer to be a replica of a
//! namespace of the same type, and on actors to be unique over clusters, which their data directory's
//! random number makes them; namespaces of one cluster share actors, and refuse each other's copies.

mod form;
mod give;
mod take;

#[cfg(test)]
mod tests;

pub use form::{COPY_VERSION, CopyHead, Damage, Origin};
pub use give::Giving;
pub use take::{Taken, Untaken, Untaking, take};
