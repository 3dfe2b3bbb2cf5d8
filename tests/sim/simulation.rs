//! Whole clusters in one thread: the real rooms over virtual time, a simulated network and disks.
//!
//! Why it exists: in real processes the interleaving that breaks a promise comes once in a million
//! runs and never again. Here a seed draws the cluster, the faults, the delays and what clients ask, so
//! that a run costs a second, a million of them can be made, and each can be made again.
//!
//! ```text
//!   plan (drawn from the seed) -> world (nodes, disks, network) <- faults (as the plan has them)
//!                                   |            ^
//!                       invariants (each look)   clients with an oracle (each answer)
//! ```
//!
//! Promises: everything from the front door's router down to the bytes on the disk is the code that
//! `tetrarch serve` runs; what differs is `app::Ground` and `runtime::Env`, and sled, for which the
//! engine in memory stands. Relies on: tokio's paused clock, `peer::MemoryNetwork`, `storage::SimDisk`.

pub mod ask;
pub mod child;
pub mod clients;
pub mod draw;
pub mod entropy;
pub mod faults;
pub mod invariants;
pub mod life;
pub mod look;
pub mod mirror;
pub mod oracle;
pub mod plan;
pub mod run;
pub mod shrink;
pub mod sweep;
pub mod trace;
pub mod world;
