//! The harness: breaks real clusters on purpose, records what their clients saw, and judges it.
//!
//! Why it exists: a claim of consistency is worth what the tests could have found. Written as users
//! of Jepsen know it: a generator says what is to be done, clients do it, a nemesis breaks things
//! meanwhile, every invocation and completion goes into one history, checkers judge the history.
//!
//! Promises: a verdict is `valid` only when the checkers proved it and the faults really happened;
//! what is not known is `unknown`, never `valid`. Relies on: nothing of the server but its HTTP API
//! and its command line, so that any binary can be judged.

pub mod api;
pub mod checker;
pub mod cli;
pub mod clock;
pub mod cluster;
pub mod coverage;
pub mod generator;
pub mod history;
pub mod nemesis;
pub mod progress;
pub mod recovery;
pub mod report;
pub mod run;
pub mod store;
pub mod verdict;
pub mod workload;
