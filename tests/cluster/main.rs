//! Whole clusters of real processes: what clients see, and what survives crashes.
//!
//! Each file is one claim of the project. `docs/testing.md` says which command demonstrates which.
//! Nothing here asserts a time: durations are printed, order and content are asserted.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, talks to whoever runs it, and is no part of a node"
)]

#[allow(dead_code, reason = "each test target uses its part of the support")]
#[path = "../support/mod.rs"]
mod support;

mod any_node;
mod bridge;
mod compare;
mod eventual;
mod everyone_dies;
mod forgetful;
mod full_disk;
mod hostile;
mod increments;
mod late_follower;
mod leader_dies;
mod leases;
mod malformed;
mod many_groups;
mod namespaces;
mod no_bugs;
mod quiet;
mod replace;
mod replay;
mod stop;
mod switching;
mod watchers;
