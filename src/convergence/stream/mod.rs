//! How the replicas of eventual namespaces hear of each other's writes.
//!
//! ```text
//!   follow   the catalog's topology -> which streams there should be    verdict  converged, lagging,
//!     |                                                                          diverged?
//!   subscriber  (one for each namespace and source)                     clocks   who is ahead
//!     |   ^
//!     |   | message    ops, vectors, credit; or rows, when the log does not reach back
//!     v   |
//!   source   (one for each namespace and subscriber)        copy   the same in a file, for any cluster
//! ```
//!
//! Why it exists: *my log, minus what your vector covers* is all that replication needs; on any links,
//! in any order, after any cut.
//!
//! Promises: only what is flushed and applied is sent (R4); a log that does not reach back is never
//! streamed from (R2); a vector moves only at the end of a state sync (R1); whatever one replica has
//! comes to every other that links lead to. An idle namespace sends a few bytes twice a minute. Relies on the shard to
//! refuse what does not follow, and on `peer` for streams that break rather than have gaps.

mod clocks;
pub mod copy;
mod exchange;
mod follow;
mod hold;
mod inbox;
mod message;
mod metrics;
mod pace;
mod plant;
mod primary;
mod pulse;
mod relay;
mod rows;
mod skew;
mod source;
mod subscriber;
mod sums;
mod verdict;

#[cfg(test)]
mod tests;

pub use exchange::Exchange;
pub use follow::Streams;
pub use inbox::{CONVERGE_CALL, CONVERGE_STREAM, ConvergeInbox};
pub use metrics::StreamMetrics;
pub use skew::Skewed;
pub use verdict::{Convergence, Lag, MemberState, Verdict};
