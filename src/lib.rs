//! Tetrarch: a replicated key-value store over HTTP in which every node leads part of the writes.
//!
//! The rooms, top to bottom; each imports only from those below it (`tests/tidy.rs` holds this):
//! [`cli`], [`client`], [`http`], [`service`], [`consensus`], [`convergence`], [`peer`], [`placement`], [`model`],
//! [`storage`], [`runtime`]. [`wire`] holds what clients and servers say to each other.

pub mod app;
pub mod bench;
pub mod cli;
pub mod client;
pub mod config;
pub mod consensus;
pub mod convergence;
pub mod fleet;
pub mod http;
pub mod model;
pub mod peer;
pub mod placement;
pub mod runtime;
pub mod service;
pub mod storage;
pub mod wire;
