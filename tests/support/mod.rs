//! Real `tetrarch serve` processes for tests, load on them, and the ledger of what they promised.
//!
//! Why it exists: what the project claims about crashes has to hold for the shipped binary, so these
//! tests start it, kill it and look at it from outside, over HTTP and in its logs. Nothing of the
//! servers' insides is used; only the names of the wire contract are shared.
//!
//! Promises: whatever a test starts dies with the test; a log that mentions a panic fails the test;
//! every random choice comes from a seed that is printed.

pub(crate) mod api;
pub(crate) mod chance;
pub(crate) mod cluster;
pub(crate) mod command;
pub(crate) mod digests;
pub(crate) mod gaps;
pub(crate) mod ledger;
pub(crate) mod load;
pub(crate) mod mount;
pub(crate) mod node;
pub(crate) mod ports;
pub(crate) mod wait;
