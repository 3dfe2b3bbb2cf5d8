//! The measuring room: load, faults and figures, for the two questions that a user asks.
//!
//! Why it exists: "what does linearizability cost me here" and "what would I lose without it" are
//! answered by measuring both sides on the same machine with the same binary, storage, durability
//! and batching, and by checking afterwards what became of every acknowledged write.
//!
//! Promises: nothing here prints; results are values ([`figures`]). Relies on: [`crate::client`] for
//! the store, `runtime` for time, chance and tasks.

pub mod compare;
pub mod cost;
pub mod draw;
pub mod fault;
pub mod figures;
pub mod growth;
pub mod kept;
pub mod lanes;
pub mod ledger;
pub mod mode;
pub mod pace;
pub mod peer;
pub mod perform;
pub mod plan;
pub mod predict;
pub mod progress;
pub mod replay;
pub mod report;
mod round;
pub mod run;
pub mod sites;
pub mod store;
pub mod tally;
pub mod target;
pub mod trace;
pub mod verify;
pub mod visible;
pub mod wanted;
pub mod workload;
